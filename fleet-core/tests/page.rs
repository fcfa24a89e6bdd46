//! The first page of the crate begins with an enrollment and a handshake that fit on it. The example itself runs as a
//! doc test.
#![allow(clippy::unwrap_used)]

/// The most lines of the example that are shown.
const MOST_LINES: usize = 30;

#[test]
fn the_page_begins_with_an_enrollment_and_a_handshake_in_thirty_lines() {
    let page =
        include_str!("../src/lib.rs").lines().map_while(|line| line.strip_prefix("//!")).map(str::trim_start);
    let mut lines = page.skip_while(|line| !line.starts_with("```"));
    let before = include_str!("../src/lib.rs").lines().position(|line| line == "//! ```").unwrap();
    assert!(before <= 2, "{before} lines stand before the example");
    assert_eq!(lines.next(), Some("```"));
    let example: Vec<_> =
        lines.take_while(|line| *line != "```").filter(|line| !line.starts_with("# ")).collect();
    assert!(example.len() <= MOST_LINES, "{} lines, at most {MOST_LINES} are good", example.len());
    for call in
        [".create_code()", ".enroll(", ".poll()", ".join()", ".confirm(", ".handshake()", ".authenticate("]
    {
        assert!(example.iter().any(|line| line.contains(call)), "{call} is not shown");
    }
}
