//! The `buf.validate` rules of every field as code.
//!
//! A rule that is not known here is an error: no rule stands in a .proto file and is not enforced.

use std::fmt::Write;

use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value,
};

pub(crate) fn checks(pool: &DescriptorPool, packages: &[&str]) -> String {
    let mut code = String::from("use crate::validate::{Path, Validate, Violation};\n");
    for message in messages(pool, packages) {
        let body = body(pool, &message);
        let unused = if body.contains("path") { "path" } else { "_" };
        write!(
            code,
            "impl Validate for crate::{}::{} {{
                fn validate_at(&self, {unused}: &Path<'_>) -> Result<(), Violation> {{ {body} Ok(()) }}
            }}\n",
            message.package_name().replace('.', "::"),
            message.name(),
        )
        .unwrap();
    }
    by_name(pool, packages, &mut code);
    code
}

/// The messages that have a type: the entries of a map have none.
fn messages(pool: &DescriptorPool, packages: &[&str]) -> impl Iterator<Item = MessageDescriptor> {
    let ours = pool.all_messages().filter(|message| packages.contains(&message.package_name()));
    ours.filter(|message| !message.is_map_entry())
}

/// For the test that breaks every rule: an encoded message, checked as what its name says.
fn by_name(pool: &DescriptorPool, packages: &[&str], code: &mut String) {
    let mut arms = String::new();
    for message in messages(pool, packages) {
        let path = format!("crate::{}::{}", message.package_name().replace('.', "::"), message.name());
        write!(
            arms,
            "{:?} => <{path} as ::prost::Message>::decode(bytes).expect(\"protobuf\").validate(),",
            message.full_name()
        )
        .unwrap();
    }
    write!(
        code,
        "#[cfg(test)]
        pub(crate) fn validate_by_name(name: &str, bytes: &[u8]) -> Result<(), Violation> {{
            match name {{ {arms} other => panic!(\"no message {{other}}\") }}
        }}"
    )
    .unwrap();
}

fn body(pool: &DescriptorPool, message: &MessageDescriptor) -> String {
    let mut code = String::new();
    for field in message.fields().filter(|field| field.containing_oneof().is_none_or(|o| o.is_synthetic())) {
        code.push_str(&field_checks(pool, &field));
    }
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let required = extension(pool, &oneof.options(), "buf.validate.oneof").is_some_and(|rules| {
            rules.get_field_by_name("required").is_some_and(|v| v.as_bool() == Some(true))
        });
        let module =
            format!("crate::{}::{}", message.package_name().replace('.', "::"), snake(message.name()));
        let name = oneof.name();
        write!(code, "match &self.{name} {{").unwrap();
        for field in oneof.fields() {
            write!(
                code,
                "Some({module}::{}::{}(value)) => value.validate_at(&path.field({:?}))?,",
                camel(name),
                camel(field.name()),
                field.name(),
            )
            .unwrap();
        }
        if required {
            write!(code, "None => return Err(path.field({name:?}).missing()),").unwrap();
        } else {
            code.push_str("None => {}");
        }
        code.push('}');
    }
    code
}

fn field_checks(pool: &DescriptorPool, field: &FieldDescriptor) -> String {
    let name = field.name();
    let at = format!("path.field({name:?})");
    let rules = extension(pool, &field.options(), "buf.validate.field");
    let required = rules
        .as_ref()
        .and_then(|rules| rules.get_field_by_name("required").map(|v| v.as_bool() == Some(true)))
        .unwrap_or(false);
    let typed = rules.as_ref().and_then(|rules| {
        let (field, value) = rules.fields().find(|(field, _)| field.name() != "required")?;
        Some((field.name().to_owned(), value.as_message().expect("rules are messages").clone()))
    });

    if field.is_map() {
        // Of the services of others alone, which have no rules.
        let Kind::Message(entry) = field.kind() else { panic!("{} is no map", field.full_name()) };
        let value = entry.map_entry_value_field();
        assert!(
            rules.is_none() && entry.map_entry_key_field().kind() == Kind::String,
            "{}",
            field.full_name()
        );
        assert!(matches!(value.kind(), Kind::Message(_)), "{}: no check for scalars", field.full_name());
        return format!("for value in self.{name}.values() {{ value.validate_at(&{at})?; }}");
    }

    if field.is_list() {
        let mut code = String::new();
        let mut element = String::new();
        for (rule, value) in
            typed.iter().inspect(|(kind, _)| assert_eq!(kind, "repeated")).flat_map(|(_, r)| fields(r))
        {
            match rule.as_str() {
                "min_items" | "max_items" => {}
                "items" => {
                    let items = value.as_message().unwrap();
                    let (kind, rules) = items.fields().next().expect("rules of the items");
                    element = scalar(field, kind.name(), rules.as_message().unwrap(), "at", "item");
                }
                other => panic!("{}: no check for repeated.{other}", field.full_name()),
            }
        }
        if let Some((_, rules)) = &typed {
            let bound = |name: &str| rules.get_field_by_name(name).and_then(|v| v.as_u64()).unwrap_or(0);
            let max = if rules.has_field_by_name("max_items") {
                bound("max_items").to_string()
            } else {
                "u64::MAX".into()
            };
            write!(code, "{at}.items(self.{name}.len(), {}, {max})?;", bound("min_items")).unwrap();
        }
        if matches!(field.kind(), Kind::Message(_)) {
            element = "item.validate_at(&at)?;".into();
        }
        if !element.is_empty() {
            write!(
                code,
                "for (index, item) in self.{name}.iter().enumerate() {{
                    let parent = {at};
                    let at = parent.index(index);
                    {element}
                }}"
            )
            .unwrap();
        }
        return code;
    }

    if let Kind::Message(message) = field.kind() {
        let mut code = String::new();
        let known = matches!(message.full_name(), "google.protobuf.Timestamp" | "google.protobuf.Duration");
        let inner = match (message.full_name(), &typed) {
            ("google.protobuf.Timestamp", None) => format!("{at}.timestamp(value)?;"),
            ("google.protobuf.Duration", Some((kind, rules))) => {
                assert_eq!(kind, "duration");
                let seconds = |name: &str| {
                    let value = rules.get_field_by_name(name).unwrap();
                    let seconds = value.as_message().unwrap().get_field_by_name("seconds").unwrap();
                    seconds.as_i64().unwrap()
                };
                assert!(rules.fields().all(|(f, _)| ["gte", "lte"].contains(&f.name())));
                format!("{at}.duration(value, {}, {})?;", seconds("gte"), seconds("lte"))
            }
            (_, None) if !known => format!("value.validate_at(&{at})?;"),
            (name, _) => panic!("{}: no check for {name}", field.full_name()),
        };
        write!(code, "match &self.{name} {{ Some(value) => {{ {inner} }}").unwrap();
        if required {
            write!(code, "None => return Err({at}.missing()), }}").unwrap();
        } else {
            code.push_str("None => {} }");
        }
        return code;
    }

    assert!(!required, "{}: required is for messages and oneofs", field.full_name());
    let Some((kind, rules)) = typed else { return String::new() };
    if field.supports_presence() {
        let check = scalar(field, &kind, &rules, &at, "value");
        format!("if let Some(value) = &self.{name} {{ {check} }}")
    } else {
        let check = scalar(field, &kind, &rules, &at, "value");
        format!("{{ let value = &self.{name}; {check} }}")
    }
}

/// The checks of one value, which is a reference.
fn scalar(field: &FieldDescriptor, kind: &str, rules: &DynamicMessage, at: &str, value: &str) -> String {
    let number = |name: &str| {
        rules.get_field_by_name(name).filter(|_| rules.has_field_by_name(name)).map(|v| v.into_owned())
    };
    let known = |names: &[&str]| {
        for (rule, _) in rules.fields() {
            assert!(
                names.contains(&rule.name()),
                "{}: no check for {kind}.{}",
                field.full_name(),
                rule.name()
            );
        }
    };
    match kind {
        "string" | "bytes" => {
            known(&["len", "min_len", "max_len"]);
            let bound = |name: &str| number(name).and_then(|v| v.as_u64());
            let min = bound("len").or_else(|| bound("min_len")).unwrap_or(0);
            let max = bound("len").or_else(|| bound("max_len")).expect("an upper bound");
            let check = if kind == "string" { "chars" } else { "bytes" };
            format!("{at}.{check}({value}, {min}, {max})?;")
        }
        "int64" | "int32" | "uint32" => {
            known(&["gte", "lte"]);
            let bound = |name: &str| {
                number(name).map(|v| match v {
                    Value::I64(v) => v,
                    Value::I32(v) => v.into(),
                    Value::U32(v) => v.into(),
                    other => panic!("{}: {other:?}", field.full_name()),
                })
            };
            let min = bound("gte").map_or_else(|| "i64::MIN".into(), |v| v.to_string());
            let max = bound("lte").map_or_else(|| "i64::MAX".into(), |v| v.to_string());
            format!("{at}.integer((*{value}).into(), {min}, {max})?;")
        }
        "double" => {
            known(&["finite", "gte"]);
            let min = number("gte")
                .and_then(|v| v.as_f64())
                .map_or_else(|| "None".into(), |v| format!("Some({v:?})"));
            assert_eq!(number("finite").and_then(|v| v.as_bool()), Some(true), "{}", field.full_name());
            format!("{at}.finite(*{value}, {min})?;")
        }
        "enum" => {
            known(&["defined_only", "not_in"]);
            let Kind::Enum(descriptor) = field.kind() else { panic!("{} is no enum", field.full_name()) };
            let path =
                format!("crate::{}::{}", descriptor.package_name().replace('.', "::"), descriptor.name());
            let zero = !rules.has_field_by_name("not_in");
            format!("{at}.defined({path}::try_from(*{value}).is_ok(), *{value}, {zero})?;")
        }
        other => panic!("{}: no check for {other}", field.full_name()),
    }
}

fn fields(message: &DynamicMessage) -> Vec<(String, Value)> {
    message.fields().map(|(field, value)| (field.name().to_owned(), value.clone())).collect()
}

fn extension(pool: &DescriptorPool, options: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    let extension = pool.get_extension_by_name(name).expect("buf.validate is compiled");
    options.has_extension(&extension).then(|| options.get_extension(&extension).as_message().unwrap().clone())
}

fn camel(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
