//! Writes `fleet-proto/src/generated` from the .proto files: `cargo run -p fleet-proto-generate`.
//!
//! Nobody needs protoc: protox compiles the files, prost-build writes the messages, and the two files beside this
//! one write the services and the checks of the `buf.validate` rules. A test compares what is checked in. This is a
//! tool for a developer's hands: it panics when something is wrong.

mod checks;
mod services;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use protox::prost_reflect::DescriptorPool;

const FILES: [&str; 7] = [
    "agentadmin/v1/agentadmin.proto",
    "agentgateway/v1/agentgateway.proto",
    "fleet/v1/command.proto",
    "fleet/v1/device.proto",
    "fleet/v1/identity.proto",
    "fleet/v1/operator.proto",
    "fleet/v1/telemetry.proto",
];

/// Of others, in `vendor`, and served.
const VENDORED: [&str; 1] = ["grpc/health/v1/health.proto"];

const PACKAGES: [&str; 4] = ["agentadmin.v1", "agentgateway.v1", "fleet.v1", "grpc.health.v1"];

fn main() {
    let root = root();
    let directory = root.join("src/generated");
    for (name, bytes) in generate(&root) {
        fs::write(directory.join(name), bytes).unwrap();
    }
}

/// The directory of fleet-proto.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn generate(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut compiler = protox::Compiler::new([root.join("proto"), root.join("vendor")]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(FILES.iter().chain(&VENDORED)).unwrap();
    let pool = compiler.descriptor_pool();
    let mut files = compiler.file_descriptor_set();

    let mut generated = BTreeMap::new();
    compiler.include_source_info(false);
    generated.insert("descriptors.bin".to_owned(), compiler.encode_file_descriptor_set());
    generated.insert("checks.rs".to_owned(), pretty(&checks::checks(&pool, &PACKAGES)).into_bytes());

    // buf.validate is used up by now; the types of Google's files are prost_types'.
    files.file.retain(|file| file.package() != "buf.validate");
    for (module, code) in messages(files, &pool) {
        generated.insert(module, pretty(&code).into_bytes());
    }
    generated
}

/// Messages and services, one file a package.
fn messages(files: prost_types::FileDescriptorSet, pool: &DescriptorPool) -> BTreeMap<String, String> {
    let mut config = prost_build::Config::new();
    config.service_generator(Box::new(services::Services)).bytes(["."]).format(false);
    let ours = pool.all_messages().filter(|message| PACKAGES.contains(&message.package_name()));
    for message in ours.filter(|message| !message.is_map_entry()) {
        let name = message.full_name();
        config.type_attribute(name, "#[derive(::prost_reflect::ReflectMessage)]").type_attribute(
            name,
            format!("#[prost_reflect(message_name = \"{name}\", descriptor_pool = \"crate::DESCRIPTORS\")]"),
        );
    }
    // A message with a secret has a Debug of its own.
    let secret = pool.all_messages().filter(|message| message.fields().any(|field| redacted(&field)));
    config.skip_debug(secret.map(|message| message.full_name().to_owned()));
    let requests = files
        .file
        .into_iter()
        .map(|file| (prost_build::Module::from_protobuf_package_name(file.package()), file))
        .collect();
    let code = config.generate(requests).unwrap();
    code.into_iter()
        .filter(|(module, _)| module.parts().next() != Some("google"))
        .map(|(module, mut code)| {
            let name = module.to_file_name_or("_");
            code.push_str(&debugs(pool, name.trim_end_matches(".rs")));
            (name, code)
        })
        .collect()
}

fn redacted(field: &protox::prost_reflect::FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

/// `Debug` of the messages with secrets, which shows everything else.
fn debugs(pool: &DescriptorPool, package: &str) -> String {
    let mut code = String::new();
    for message in pool.all_messages().filter(|m| m.package_name() == package) {
        if !message.fields().any(|field| redacted(&field)) {
            continue;
        }
        let name = message.name();
        let shown: String = message
            .fields()
            .filter(|field| !redacted(field))
            .map(|field| format!(".field(\"{0}\", &self.{0})", field.name()))
            .collect();
        code.push_str(&format!(
            "impl ::core::fmt::Debug for {name} {{
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
                    f.debug_struct(\"{name}\"){shown}.finish_non_exhaustive()
                }}
            }}\n"
        ));
    }
    code
}

fn pretty(code: &str) -> String {
    let file = syn::parse_file(code).unwrap_or_else(|error| panic!("{error}:\n{code}"));
    format!(
        "// Generated from the .proto files by tests/generate; do not edit.\n\n{}",
        prettyplease::unparse(&file)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_code_is_up_to_date() {
        let directory = root().join("src/generated");
        let generated = generate(&root());
        for (name, bytes) in &generated {
            let found = fs::read(directory.join(name)).unwrap_or_default();
            assert!(&found == bytes, "{name} is out of date: cargo run -p fleet-proto-generate");
        }
        let mut names: Vec<String> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, generated.keys().cloned().collect::<Vec<_>>(), "a file that nothing generates");
    }

    #[test]
    fn every_proto_file_is_compiled() {
        let root = root().join("proto");
        let mut found = Vec::new();
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        assert_eq!(found, FILES);
    }
}
