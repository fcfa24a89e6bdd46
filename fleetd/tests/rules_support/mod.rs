//! What rules the .proto files state, messages that keep all of them, and messages that break one each.
#![allow(unreachable_pub, reason = "of a test")]

use std::collections::BTreeSet;

use fleet_proto::DESCRIPTORS;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value};

/// Fields of text, bytes or many values that no rule bounds, each with the reason.
const UNBOUNDED: [(&str, &str); 1] =
    [("agentgateway.v1.ControlAck.error_message", "sender and receiver cut it (protocol section 10)")];

// What rules there are.

/// The rules of a field: what kind of value they are for, and their values; and whether it is required.
fn rules_of(field: &FieldDescriptor) -> (Option<(String, DynamicMessage)>, bool) {
    let extension = DESCRIPTORS.get_extension_by_name("buf.validate.field").unwrap();
    let options = field.options();
    if !options.has_extension(&extension) {
        return (None, false);
    }
    let rules = options.get_extension(&extension).as_message().unwrap().clone();
    let (mut typed, mut required) = (None, false);
    for (rule, value) in rules.fields() {
        match (rule.name(), value) {
            ("required", value) => required = value.as_bool().unwrap(),
            (kind, Value::Message(rules)) => typed = Some((kind.to_owned(), rules.clone())),
            (other, _) => panic!("{}: a rule that this walk does not know: {other}", field.full_name()),
        }
    }
    (typed, required)
}

/// The rules of one kind by name, each of which must be known.
fn bounds(of: &str, rules: &DynamicMessage, known: &[&str]) -> Vec<(String, i64)> {
    let mut bounds = Vec::new();
    for (rule, value) in rules.fields() {
        assert!(known.contains(&rule.name()), "{of}: a rule that this walk does not know: {}", rule.name());
        let number = match value {
            Value::I64(value) => *value,
            Value::U64(value) => i64::try_from(*value).unwrap(),
            Value::I32(value) => (*value).into(),
            Value::U32(value) => (*value).into(),
            Value::F64(value) => {
                assert!(*value == 0.0, "{of}: a bound of fractions");
                0
            }
            Value::Bool(value) => (*value).into(),
            Value::Message(duration) if duration.descriptor().full_name() == "google.protobuf.Duration" => {
                duration.get_field_by_name("seconds").unwrap().as_i64().unwrap()
            }
            Value::List(values) => {
                assert_eq!(values, &[Value::I32(0)], "{of}: a list of values");
                0
            }
            Value::Message(_) => continue,
            other => panic!("{of}: {other:?}"),
        };
        bounds.push((rule.name().to_owned(), number));
    }
    bounds
}

fn bound(bounds: &[(String, i64)], name: &str) -> Option<i64> {
    bounds.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
}

fn scalar_bounds(of: &str, kind: &str, rules: &DynamicMessage) -> Vec<(String, i64)> {
    let known: &[&str] = match kind {
        "string" | "bytes" => &["len", "min_len", "max_len"],
        "int64" | "int32" | "uint32" => &["gte", "lte"],
        "double" => &["finite", "gte"],
        "enum" => &["defined_only", "not_in"],
        "duration" => &["gte", "lte"],
        other => panic!("{of}: a kind of rule that this walk does not know: {other}"),
    };
    bounds(of, rules, known)
}

fn text(kind: &str, length: i64) -> Value {
    let length = usize::try_from(length).unwrap();
    // Three bytes a character: a string's length is counted in characters.
    if kind == "string" { Value::String("€".repeat(length)) } else { Value::Bytes(vec![1; length].into()) }
}

fn integer(kind: &str, value: i64) -> Value {
    match kind {
        "int64" => Value::I64(value),
        "int32" => Value::I32(value.try_into().unwrap()),
        "uint32" => Value::U32(value.try_into().unwrap()),
        other => panic!("{other} is no kind of integer"),
    }
}

/// A `google.protobuf.Timestamp` or `Duration`.
fn time(kind: &MessageDescriptor, seconds: i64, nanos: i32) -> Value {
    let mut value = DynamicMessage::new(kind.clone());
    value.set_field_by_name("seconds", Value::I64(seconds));
    value.set_field_by_name("nanos", Value::I32(nanos));
    Value::Message(value)
}

// Messages that break none.

/// Messages with every field set as its rules want it: one for each alternative that they have, in them or within.
pub fn valid(descriptor: &MessageDescriptor) -> Vec<DynamicMessage> {
    let mut all = vec![DynamicMessage::new(descriptor.clone())];
    for field in descriptor.fields().filter(|field| real_oneof(field).is_none()) {
        all = with_each(&all, &field);
    }
    for oneof in descriptor.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        all = oneof.fields().flat_map(|field| with_each(&all, &field)).collect();
    }
    all
}

fn real_oneof(field: &FieldDescriptor) -> Option<prost_reflect::OneofDescriptor> {
    field.containing_oneof().filter(|oneof| !oneof.is_synthetic())
}

fn with_each(messages: &[DynamicMessage], field: &FieldDescriptor) -> Vec<DynamicMessage> {
    let values = valid_values(field);
    let with = |message: &DynamicMessage, value: &Value| {
        let mut message = message.clone();
        message.set_field(field, value.clone());
        message
    };
    // Not every combination: each value of this field once, and each message once.
    let count = messages.len().max(values.len());
    (0..count).map(|at| with(&messages[at % messages.len()], &values[at % values.len()])).collect()
}

fn valid_values(field: &FieldDescriptor) -> Vec<Value> {
    let (typed, _) = rules_of(field);
    let name = field.full_name();
    if field.is_map() {
        return vec![Value::Map(Default::default())];
    }
    if field.is_list() {
        let elements = match (field.kind(), &typed) {
            (Kind::Message(message), _) => valid(&message).into_iter().map(Value::Message).collect(),
            (kind, None) => vec![Value::default_value(&kind)],
            (kind, Some((_, rules))) => match items(rules) {
                None => vec![Value::default_value(&kind)],
                Some((kind, rules)) => vec![valid_scalar(name, &kind, &rules)],
            },
        };
        return elements.into_iter().map(|element| Value::List(vec![element])).collect();
    }
    match (field.kind(), typed) {
        (Kind::Message(message), typed) if message.full_name().starts_with("google.protobuf.") => {
            let least = typed.and_then(|(kind, rules)| bound(&scalar_bounds(name, &kind, &rules), "gte"));
            vec![time(&message, least.unwrap_or(0), 0)]
        }
        (Kind::Message(message), _) => valid(&message).into_iter().map(Value::Message).collect(),
        (_, Some((kind, rules))) => vec![valid_scalar(name, &kind, &rules)],
        // Without a rule zero would be as good as nothing, and a field with presence is there.
        (kind, None) => vec![Value::default_value(&kind)],
    }
}

/// The kind and the rules of the values of a list.
fn items(rules: &DynamicMessage) -> Option<(String, DynamicMessage)> {
    if !rules.has_field_by_name("items") {
        return None;
    }
    let items = rules.get_field_by_name("items").unwrap().into_owned();
    let (kind, rules) = items.as_message().unwrap().fields().next().unwrap();
    Some((kind.name().to_owned(), rules.as_message().unwrap().clone()))
}

fn valid_scalar(of: &str, kind: &str, rules: &DynamicMessage) -> Value {
    let bounds = scalar_bounds(of, kind, rules);
    match kind {
        "string" | "bytes" => {
            text(kind, bound(&bounds, "len").or_else(|| bound(&bounds, "min_len")).unwrap_or(0).max(1))
        }
        "double" => Value::F64(1.0),
        "enum" => Value::EnumNumber(1),
        _ => {
            let least = bound(&bounds, "gte").unwrap_or(0);
            integer(kind, least.max(1).min(bound(&bounds, "lte").unwrap_or(i64::MAX)))
        }
    }
}

// Messages that break one.

/// A message that breaks one rule, and what the refusal must say.
pub struct Broken {
    pub what: String,
    pub message: DynamicMessage,
    pub says: Vec<String>,
}

/// Each rule of each valid message of a kind, broken once.
pub fn broken(descriptor: &MessageDescriptor) -> Vec<Broken> {
    let mut seen = BTreeSet::new();
    let all = valid(descriptor).into_iter().flat_map(|good| broken_from(&good, ""));
    all.filter(|broken| seen.insert(broken.what.clone())).collect()
}

fn broken_from(good: &DynamicMessage, within: &str) -> Vec<Broken> {
    let mut all = Vec::new();
    for oneof in good.descriptor().oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let required = DESCRIPTORS.get_extension_by_name("buf.validate.oneof").unwrap();
        assert!(oneof.options().has_extension(&required), "{}: whether it is required", oneof.full_name());
        let mut message = good.clone();
        oneof.fields().for_each(|field| message.clear_field(&field));
        let path = format!("{within}{}", oneof.name());
        all.push(Broken { what: format!("{path} missing"), message, says: vec![format!("{path}: ")] });
    }
    for field in good.descriptor().fields() {
        if real_oneof(&field).is_some() && !good.has_field(&field) {
            continue;
        }
        let path = format!("{within}{}", field.name());
        let with = |value: Option<Value>| {
            let mut message = good.clone();
            match value {
                Some(value) => message.set_field(&field, value),
                None => message.clear_field(&field),
            }
            message
        };
        for Violation { what, value, at, says } in violations(&field) {
            let says = vec![format!("{path}{at}: "), says];
            all.push(Broken { what: format!("{path} {what}"), message: with(value), says });
        }
        let Kind::Message(kind) = field.kind() else { continue };
        if kind.full_name().starts_with("google.protobuf.") || field.is_map() {
            continue;
        }
        for inner in valid(&kind) {
            let (path, list) =
                if field.is_list() { (format!("{path}[1]."), true) } else { (path.clone() + ".", false) };
            all.extend(broken_from(&inner, &path).into_iter().map(|broken| {
                let value = Value::Message(broken.message);
                // The second of a list, so that its place is no accident.
                let value =
                    if list { Value::List(vec![Value::Message(inner.clone()), value]) } else { value };
                Broken { message: with(Some(value)), ..broken }
            }));
        }
    }
    all
}

/// A value that breaks one rule of a field.
struct Violation {
    what: String,
    /// `None` for absence.
    value: Option<Value>,
    /// Where in the field, if it is a list.
    at: &'static str,
    says: String,
}

fn violations(field: &FieldDescriptor) -> Vec<Violation> {
    let (typed, required) = rules_of(field);
    let name = field.full_name();
    let mut broken = Vec::new();
    let mut add = |what: &str, value: Option<Value>, says: String| {
        broken.push(Violation { what: what.to_owned(), value, at: "", says });
    };
    if required {
        add("missing", None, "is required".to_owned());
    }
    let is_bounded = typed.is_some() || UNBOUNDED.iter().any(|(known, _)| *known == name);
    let is_long = field.is_list() || field.is_map() || matches!(field.kind(), Kind::String | Kind::Bytes);
    assert!(is_bounded || !is_long, "{name} has no limit, and no reason why it has none");
    if let Kind::Message(kind) = field.kind()
        && kind.full_name() == "google.protobuf.Timestamp"
    {
        for (what, seconds, nanos) in [
            ("in microseconds", 0, 1000),
            ("before 1970", -1, 0),
            ("after the year 9999", 253_402_300_800, 0),
            ("of too many nanoseconds", 0, 1_000_000_000),
        ] {
            add(what, Some(time(&kind, seconds, nanos)), "must be a time of whole milliseconds".to_owned());
        }
    }
    let Some((kind, rules)) = typed else { return broken };
    if kind != "repeated" {
        let found = broken_scalars(name, &kind, &rules, &field.kind());
        // Where a field has presence, absence is no value.
        let found = found.into_iter().filter(|(_, value, _)| value.is_some() || !field.supports_presence());
        broken.extend(found.map(|(what, value, says)| Violation { what, value, at: "", says }));
        return broken;
    }
    let Value::List(valid) = valid_values(field).remove(0) else { panic!("{name}: no list") };
    for (bound, limit) in bounds(name, &rules, &["min_items", "max_items", "items"]) {
        let count = if bound == "max_items" { limit + 1 } else { limit - 1 };
        let values = vec![valid[0].clone(); usize::try_from(count).unwrap()];
        add(&bound, Some(Value::List(values)), format!("{limit}"));
    }
    if let Some((kind, rules)) = items(&rules) {
        let found = broken_scalars(name, &kind, &rules, &field.kind());
        let found = found.into_iter().filter_map(|(what, value, says)| Some((what, value?, says)));
        broken.extend(found.map(|(what, value, says)| Violation {
            what: format!("of one that is {what}"),
            value: Some(Value::List(vec![valid[0].clone(), value])),
            at: "[1]",
            says,
        }));
    }
    broken
}

fn broken_scalars(
    of: &str,
    kind: &str,
    rules: &DynamicMessage,
    field: &Kind,
) -> Vec<(String, Option<Value>, String)> {
    let bounds = scalar_bounds(of, kind, rules);
    let mut broken = Vec::new();
    let mut add =
        |what: &str, value: Option<Value>, says: String| broken.push((what.to_owned(), value, says));
    for (bound, limit) in &bounds {
        let says = if bound == "len" { format!("exactly {limit}") } else { limit.to_string() };
        match (kind, bound.as_str()) {
            ("string" | "bytes", "len" | "min_len") => {
                add("too short", Some(text(kind, limit - 1)), says.clone());
                add("missing", None, says.clone());
                if bound == "len" {
                    add("too long", Some(text(kind, limit + 1)), says);
                }
            }
            ("string" | "bytes", "max_len") => add("too long", Some(text(kind, limit + 1)), says),
            ("duration", bound) => {
                let Kind::Message(kind) = field else { panic!("{of}: no duration") };
                let by = if bound == "gte" { -1 } else { 1 };
                add(&format!("not {bound}"), Some(time(kind, limit + by, 0)), says);
            }
            ("double", "finite") => {
                add("not a number", Some(Value::F64(f64::NAN)), "finite".to_owned());
                add("infinite", Some(Value::F64(f64::INFINITY)), "finite".to_owned());
            }
            ("double", "gte") => add("too small", Some(Value::F64(-0.5)), "at least 0".to_owned()),
            ("enum", "defined_only") => add("undefined", Some(Value::EnumNumber(1000)), "1000".to_owned()),
            ("enum", "not_in") => add("unspecified", Some(Value::EnumNumber(0)), "defined".to_owned()),
            (_, "gte") if kind == "uint32" && *limit == 0 => {}
            (_, "gte") => add("too small", Some(integer(kind, limit - 1)), says),
            (_, "lte") => add("too large", Some(integer(kind, limit + 1)), says),
            (_, other) => panic!("{of}: {other}"),
        }
    }
    broken
}
