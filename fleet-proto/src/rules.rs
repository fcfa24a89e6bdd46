//! Every rule that stands in the .proto files is enforced: each is broken once, in a message that is valid
//! otherwise, and the violation must name the field.
#![allow(clippy::wildcard_enum_match_arm, reason = "a test: an unknown kind panics")]

use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};

use crate::DESCRIPTORS;
use crate::checks::validate_by_name;

const PACKAGES: [&str; 3] = ["agentadmin.v1", "agentgateway.v1", "fleet.v1"];

fn messages() -> impl Iterator<Item = MessageDescriptor> {
    DESCRIPTORS.all_messages().filter(|message| PACKAGES.contains(&message.package_name()))
}

fn check(message: &DynamicMessage) -> Result<(), crate::validate::Violation> {
    validate_by_name(message.descriptor().full_name(), &message.encode_to_vec())
}

#[test]
fn what_the_rules_ask_for_is_enough() {
    let mut count = 0;
    for descriptor in messages() {
        check(&valid(&descriptor)).unwrap_or_else(|error| panic!("{}: {error}", descriptor.full_name()));
        count += 1;
    }
    assert!(count > 60, "{count} messages");
}

#[test]
fn every_rule_is_enforced_and_names_its_field() {
    let mut broken = 0;
    for descriptor in messages() {
        for field in descriptor.fields() {
            for (rule, value) in violations(&field) {
                let mut message = valid(&descriptor);
                match value {
                    Some(value) => message.set_field(&field, value),
                    None => message.clear_field(&field),
                }
                let error =
                    check(&message).expect_err(&format!("{}: {rule} is not enforced", field.full_name()));
                assert!(
                    error.field == field.name() || error.field.starts_with(&format!("{}[", field.name())),
                    "{}: {rule}: the violation names {}",
                    field.full_name(),
                    error.field
                );
                broken += 1;
            }
        }
        for oneof in descriptor.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let mut message = valid(&descriptor);
            oneof.fields().for_each(|field| message.clear_field(&field));
            let error = check(&message).expect_err("a required oneof");
            assert_eq!(error.field, oneof.name());
            broken += 1;
        }
    }
    assert!(broken > 150, "{broken} rules");
}

#[test]
fn a_violation_within_a_list_names_its_place() {
    let descriptor = DESCRIPTORS.get_message_by_name("fleet.v1.TelemetryBatch").unwrap();
    let samples = descriptor.get_field_by_name("samples").unwrap();
    let good = valid(&DESCRIPTORS.get_message_by_name("fleet.v1.Sample").unwrap());
    let mut bad = good.clone();
    bad.set_field_by_name("endpoint", Value::String("x".repeat(200)));
    let mut batch = DynamicMessage::new(descriptor);
    batch.set_field(&samples, Value::List(vec![Value::Message(good), Value::Message(bad)]));
    let error = check(&batch).unwrap_err();
    assert_eq!(error.to_string(), "samples[1].endpoint: must be 4 to 131 characters, got 200");
}

/// The rules of a field: (kind, its rules, required).
fn rules(field: &FieldDescriptor) -> (Option<(String, DynamicMessage)>, bool) {
    let extension = DESCRIPTORS.get_extension_by_name("buf.validate.field").unwrap();
    let options = field.options();
    if !options.has_extension(&extension) {
        return (None, false);
    }
    let rules = options.get_extension(&extension).as_message().unwrap().clone();
    let required = rules.get_field_by_name("required").unwrap().as_bool().unwrap();
    let typed = rules.fields().find(|(field, _)| field.name() != "required");
    (typed.map(|(field, value)| (field.name().to_owned(), value.as_message().unwrap().clone())), required)
}

fn bound(rules: &DynamicMessage, name: &str) -> Option<i64> {
    if !rules.has_field_by_name(name) {
        return None;
    }
    Some(match rules.get_field_by_name(name).unwrap().into_owned() {
        Value::I64(v) => v,
        Value::U64(v) => v.try_into().unwrap(),
        Value::I32(v) => v.into(),
        Value::U32(v) => v.into(),
        Value::Message(duration) => duration.get_field_by_name("seconds").unwrap().as_i64().unwrap(),
        other => panic!("{name}: {other:?}"),
    })
}

fn length(rules: &DynamicMessage) -> (i64, i64) {
    let exact = bound(rules, "len");
    let min = exact.or_else(|| bound(rules, "min_len")).unwrap_or(0);
    (min, exact.or_else(|| bound(rules, "max_len")).unwrap())
}

fn text(kind: &str, length: i64) -> Value {
    let length = usize::try_from(length).unwrap();
    // Three bytes a character: lengths of strings are counted in characters.
    if kind == "string" { Value::String("€".repeat(length)) } else { Value::Bytes(vec![1; length].into()) }
}

fn integer(kind: &str, value: i64) -> Value {
    match kind {
        "int64" => Value::I64(value),
        "int32" => Value::I32(value.try_into().unwrap()),
        "uint32" => Value::U32(value.try_into().unwrap()),
        other => panic!("{other}"),
    }
}

/// A message with every field set, as its rules want it.
fn valid(descriptor: &MessageDescriptor) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if field.containing_oneof().is_some_and(|oneof| {
            !oneof.is_synthetic() && oneof.fields().any(|other| message.has_field(&other))
        }) {
            continue;
        }
        let value = valid_value(&field);
        message.set_field(&field, value);
    }
    message
}

fn valid_value(field: &FieldDescriptor) -> Value {
    let (typed, _) = rules(field);
    if field.is_list() {
        let items = typed.as_ref().and_then(|(_, rules)| bound(rules, "min_items")).unwrap_or(0).max(1);
        let element = match field.kind() {
            Kind::Message(message) => Value::Message(valid(&message)),
            kind => typed
                .and_then(|(_, rules)| {
                    let items = rules
                        .has_field_by_name("items")
                        .then(|| rules.get_field_by_name("items").unwrap())?;
                    let (kind, rules) = items.as_message()?.fields().next()?;
                    Some(valid_scalar(kind.name(), rules.as_message()?))
                })
                .unwrap_or_else(|| Value::default_value(&kind)),
        };
        return Value::List(vec![element; usize::try_from(items).unwrap()]);
    }
    match (field.kind(), typed) {
        (Kind::Message(message), typed) => {
            let mut value = if message.full_name().starts_with("google.") {
                DynamicMessage::new(message)
            } else {
                valid(&message)
            };
            if let Some((_, rules)) = typed {
                value.set_field_by_name("seconds", Value::I64(bound(&rules, "gte").unwrap()));
            }
            Value::Message(value)
        }
        (_, Some((kind, rules))) => valid_scalar(&kind, &rules),
        (kind, None) => Value::default_value(&kind),
    }
}

fn valid_scalar(kind: &str, rules: &DynamicMessage) -> Value {
    match kind {
        "string" | "bytes" => text(kind, length(rules).0),
        "double" => Value::F64(0.0),
        "enum" => Value::EnumNumber(1),
        _ => integer(kind, bound(rules, "gte").unwrap_or(0)),
    }
}

/// Values that break one rule each; `None` is absence.
fn violations(field: &FieldDescriptor) -> Vec<(String, Option<Value>)> {
    let (typed, required) = rules(field);
    let mut broken = Vec::new();
    if required {
        broken.push(("required".to_owned(), None));
    }
    if let Kind::Message(message) = field.kind()
        && message.full_name() == "google.protobuf.Timestamp"
        && !field.is_list()
    {
        for (seconds, nanos) in [(0, 1), (-1, 0), (0, 1_000_000_000)] {
            let mut time = DynamicMessage::new(message.clone());
            time.set_field_by_name("seconds", Value::I64(seconds));
            time.set_field_by_name("nanos", Value::I32(nanos));
            broken.push((format!("timestamp {seconds}.{nanos}"), Some(Value::Message(time))));
        }
    }
    let Some((kind, rules)) = typed else { return broken };
    if kind == "repeated" {
        let Value::List(valid) = valid_value(field) else { panic!("a list") };
        if let Some(max) = bound(&rules, "max_items") {
            let many = vec![valid[0].clone(); usize::try_from(max).unwrap() + 1];
            broken.push(("max_items".to_owned(), Some(Value::List(many))));
        }
        if bound(&rules, "min_items").is_some() {
            broken.push(("min_items".to_owned(), Some(Value::List(Vec::new()))));
        }
        if rules.has_field_by_name("items") {
            let items = rules.get_field_by_name("items").unwrap();
            let (kind, rules) = items.as_message().unwrap().fields().next().unwrap();
            for (rule, value) in broken_scalars(kind.name(), rules.as_message().unwrap()) {
                broken.push((format!("items.{rule}"), Some(Value::List(vec![valid[0].clone(), value]))));
            }
        }
        return broken;
    }
    if kind == "duration" {
        let Kind::Message(message) = field.kind() else { panic!("a duration") };
        for seconds in [bound(&rules, "gte").unwrap() - 1, bound(&rules, "lte").unwrap() + 1] {
            let mut value = DynamicMessage::new(message.clone());
            value.set_field_by_name("seconds", Value::I64(seconds));
            broken.push((format!("duration {seconds}"), Some(Value::Message(value))));
        }
        return broken;
    }
    broken.extend(broken_scalars(&kind, &rules).into_iter().map(|(rule, value)| (rule, Some(value))));
    broken
}

fn broken_scalars(kind: &str, rules: &DynamicMessage) -> Vec<(String, Value)> {
    let mut broken = Vec::new();
    match kind {
        "string" | "bytes" => {
            let (min, max) = length(rules);
            broken.push(("max_len".to_owned(), text(kind, max + 1)));
            if min > 0 {
                broken.push(("min_len".to_owned(), text(kind, min - 1)));
            }
        }
        "double" => {
            broken.push(("finite".to_owned(), Value::F64(f64::NAN)));
            broken.push(("finite".to_owned(), Value::F64(f64::INFINITY)));
            if rules.has_field_by_name("gte") {
                broken.push(("gte".to_owned(), Value::F64(-0.5)));
            }
        }
        "enum" => {
            broken.push(("defined_only".to_owned(), Value::EnumNumber(1000)));
            if rules.has_field_by_name("not_in") {
                broken.push(("not_in".to_owned(), Value::EnumNumber(0)));
            }
        }
        _ => {
            let below = bound(rules, "gte").map(|min| min - 1).filter(|min| kind != "uint32" || *min >= 0);
            broken.extend(below.map(|value| ("gte".to_owned(), integer(kind, value))));
            broken.extend(bound(rules, "lte").map(|max| ("lte".to_owned(), integer(kind, max + 1))));
        }
    }
    broken
}
