//! Every public type has its `Debug` pinned.

use core::cell::RefCell;
use std::{collections::BTreeSet, fs, path::Path};

thread_local! {
    /// The types that the tests of this thread have pinned.
    static PINNED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Public types that have none: they hold nothing but secrets.
const WITHOUT: [&str; 1] = ["Secrets"];
static_assertions::assert_not_impl_any!(fleet_core::testing::Secrets: core::fmt::Debug);

/// Notes that a type's `Debug` is pinned, and what it is made of with it.
pub(crate) fn pinned<T>() {
    let name = std::any::type_name::<T>();
    let names = name.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    let types =
        names.filter(|path| path.starts_with("fleet_core::")).filter_map(|path| path.rsplit("::").next());
    PINNED.with_borrow_mut(|pinned| pinned.extend(types.map(ToOwned::to_owned)));
}

/// One test, because it can see only what its own thread has pinned.
#[test]
fn the_debug_of_every_public_type_is_pinned() {
    super::strings_that_people_handle();
    super::secret_keys_show_their_public_half();
    super::an_enrollment_at_the_agent();
    super::an_enrollment_at_the_server();
    super::a_handshake_at_both_ends();
    super::stores_and_drivers();
    super::an_enrollment_that_a_driver_runs();
    super::values::all();
    let pinned = PINNED.with_borrow(BTreeSet::clone);
    let mut public = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut public);
    assert!(public.len() > 130, "these are not all public types: {public:?}");
    let without = WITHOUT.map(ToOwned::to_owned).into();
    assert!(public.is_superset(&without));
    let missing: Vec<_> = public.difference(&pinned).filter(|name| !without.contains(*name)).collect();
    assert!(missing.is_empty(), "no snapshot of the Debug of {missing:?}");
}

fn collect(directory: &Path, public: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // Schedules and the model that judges them hold what a test made up, and nobody else has them.
        if path.ends_with("testing/simulation") {
            continue;
        }
        if path.is_dir() {
            collect(&path, public);
        } else {
            public.extend(types_in(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The public types of a file as rustfmt writes it: those that it declares, and those that its macros make. A macro
/// that declares n types is given their names as its first n arguments.
fn types_in(source: &str) -> Vec<String> {
    let mut types = Vec::new();
    let mut macros: Vec<(&str, usize)> = Vec::new();
    for line in source.lines() {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("macro_rules! ") {
            macros.push((rest.trim_end_matches(" {"), 0));
        }
        let declared =
            ["pub struct ", "pub enum ", "pub union "].iter().find_map(|kind| line.strip_prefix(kind));
        let Some(declared) = declared else { continue };
        if declared.starts_with('$') {
            macros.last_mut().unwrap().1 += 1;
        } else {
            types.push(word(declared));
        }
    }
    for (name, count) in macros.into_iter().filter(|(_, count)| *count > 0) {
        for call in source.split(&format!("\n{name}!(")).skip(1) {
            let arguments = call.lines().map(str::trim).filter(|line| !line.starts_with("//"));
            let arguments = arguments.collect::<Vec<_>>().join(" ");
            types.extend(arguments.split(',').take(count).map(|argument| word(argument.trim())));
        }
    }
    types
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn declared_types_and_those_of_macros_are_found() {
    let source = "
pub struct Plain;
pub(crate) struct Hidden;
struct Private;
pub enum Many<T> {
macro_rules! role {
    ($public:ident, $secret:ident, $what:literal) => {
        pub struct $public(VerifyingKey);
        pub struct $secret(Box<SigningKey>);
    };
}
role!(APublicKey, ASecretKey, \"a\");
role!(
    /// With words.
    BPublicKey,
    BSecretKey,
    \"b\"
);
";
    let expected = ["Plain", "Many", "APublicKey", "ASecretKey", "BPublicKey", "BSecretKey"];
    assert_eq!(types_in(source), expected);
}
