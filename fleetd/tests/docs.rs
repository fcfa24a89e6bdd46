//! The documents: RFCs have their form, links lead somewhere, options that are named exist, and no text holds a character
//! that cannot be seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// What an RFC has, in this order; others may stand in between.
const HEADINGS: [&str; 8] = [
    "Motivation",
    "Design",
    "Security",
    "Schema impact",
    "Phases",
    "Drawbacks",
    "Alternatives",
    "Unresolved questions",
];
const STATES: [&str; 4] = ["draft", "accepted", "rejected", "superseded"];
/// Options in the documents that are those of other programs.
const FOREIGN_OPTIONS: [&str; 6] = ["all-features", "help", "locked", "open", "release", "workspace"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap()
}

/// Every file of the repository, but for what `.gitignore` names and git's own.
fn files() -> Vec<PathBuf> {
    fn walk(root: &Path, directory: &Path, found: &mut Vec<PathBuf>) {
        let mut entries: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let relative = path.strip_prefix(root).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_ignored = [".git", "target"].contains(&name.as_str())
                || name.ends_with(".profraw")
                || [Path::new("fuzz/artifacts"), Path::new("fuzz/coverage")].contains(&relative);
            if is_ignored || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a Markdown text, numbered from 1, without code: blocks are left out, spans are emptied.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut fence: Option<&str> = None;
    let mut may_indent = true;
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        if let Some(open) = fence {
            fence = if mark == Some(open) { None } else { fence };
            continue;
        }
        if mark.is_some() {
            fence = mark;
            continue;
        }
        // An indented block begins after an empty line.
        if line.starts_with("    ") && may_indent {
            continue;
        }
        may_indent = trimmed.is_empty();
        lines.push((number, without_spans(line)));
    }
    assert!(fence.is_none(), "a fence is not closed");
    lines
}

fn without_spans(line: &str) -> String {
    line.split('`').enumerate().map(|(i, part)| if i % 2 == 0 { part } else { "" }).collect()
}

/// The targets of the links of a Markdown text, with the numbers of their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let mut rest = line.as_str();
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let end = rest.find(')').unwrap_or_else(|| panic!("line {number}: a link is not closed"));
            // A title may follow the target.
            found.push((number, rest[..end].split(' ').next().unwrap().to_owned()));
            rest = &rest[end..];
        }
        let definition = line.strip_prefix('[').and_then(|line| line.split_once("]: "));
        if let Some((_, target)) = definition {
            found.push((number, target.trim().to_owned()));
        }
    }
    found
}

/// The headings of a Markdown text: level and text.
fn headings(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_fence = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        let level = line.bytes().take_while(|b| *b == b'#').count();
        if !in_fence && (1..=6).contains(&level) && line[level..].starts_with(' ') {
            found.push((level, line[level..].trim().to_owned()));
        }
    }
    found
}

/// The anchors that GitHub and its relatives make of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (_, heading) in headings(text) {
        let shown = shown(&heading);
        let slug: String = shown
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let count = seen.entry(slug.clone()).or_default();
        found.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
        *count += 1;
    }
    found
}

/// A heading without the targets of its links.
fn shown(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    text + rest
}

/// What is wrong with a link of `file`, if anything is.
fn check_link(root: &Path, file: &Path, target: &str) -> Result<(), String> {
    if ["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
        return Ok(());
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    if path.starts_with('/') {
        return Err("a link inside the repository is relative".to_owned());
    }
    let path = if path.is_empty() { file.to_owned() } else { plain(&file.parent().unwrap().join(path)) };
    if !path.starts_with(root) {
        return Err("it leads out of the repository".to_owned());
    }
    if !path.exists() {
        return Err(format!("there is no {}", path.strip_prefix(root).unwrap().display()));
    }
    let Some(anchor) = anchor else { return Ok(()) };
    if path.is_dir() {
        return Err("a directory has no anchors".to_owned());
    }
    let text = read(&path);
    if let Some(lines) = line_anchor(anchor) {
        let last = text.lines().count();
        return match lines {
            (from, to) if (1..=to).contains(&from) && to <= last => Ok(()),
            _ => Err(format!("it has {last} lines")),
        };
    }
    if !is_markdown(&path) {
        return Err("only lines can be named there, #L1 or #L1-L2".to_owned());
    }
    if anchors(&text).contains(anchor) { Ok(()) } else { Err("there is no such heading".to_owned()) }
}

/// `L3` and `L3-L5`.
fn line_anchor(anchor: &str) -> Option<(usize, usize)> {
    let number = |text: &str| text.strip_prefix('L')?.parse().ok();
    match anchor.split_once('-') {
        Some((from, to)) => Some((number(from)?, number(to)?)),
        None => number(anchor).map(|line| (line, line)),
    }
}

/// The path without `.` and `..`, links not followed.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(component),
        }
    }
    plain
}

/// The cells of a row of a table; `None` if the line is none.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// What the table at the top of an RFC says.
fn facts(text: &str) -> BTreeMap<String, String> {
    let top = text.lines().skip(1).skip_while(|line| line.is_empty()).map_while(cells);
    top.filter(|row| row.len() == 2 && !row[0].is_empty() && !row[0].starts_with('-'))
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect()
}

/// The text below a heading of the second level, up to the next.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let begin = format!("\n## {heading}\n");
    let at = text.find(&begin).unwrap_or_else(|| panic!("there is no section {heading}"));
    let rest = &text[at + begin.len()..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

/// Every RFC and the template: number, file name, text.
fn rfcs() -> Vec<(u32, String, String)> {
    let directory = root().join("docs/rfcs");
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        let number = name.split_once('-').map(|(number, _)| number);
        let number = number.filter(|number| number.len() == 4 && name.ends_with(".md"));
        let number = number.and_then(|number| number.parse().ok());
        let number = number.unwrap_or_else(|| panic!("docs/rfcs/{name}: must be NNNN-a-few-words.md"));
        let text = read(&directory.join(&name));
        found.push((number, name, text));
    }
    found.sort();
    found
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    matches!(parts.as_slice(), [y, m, d] if digits(y, 4) && digits(m, 2) && digits(d, 2))
}

#[test]
fn every_rfc_has_its_headings_in_order_and_something_below_each() {
    for (_, name, text) in rfcs() {
        let present: Vec<String> =
            headings(&text).into_iter().filter(|(level, _)| *level == 2).map(|(_, text)| text).collect();
        let required: Vec<&String> =
            present.iter().filter(|heading| HEADINGS.contains(&heading.as_str())).collect();
        assert_eq!(required, HEADINGS.iter().collect::<Vec<_>>(), "{name}");
        for heading in HEADINGS {
            assert!(section(&text, heading).trim().len() > 3, "{name}: nothing stands below {heading}");
        }
        assert_eq!(headings(&text).iter().filter(|(level, _)| *level == 1).count(), 1, "{name}: one title");
    }
}

#[test]
fn every_rfc_has_a_number_a_status_and_a_line_in_the_list() {
    let list = read(&root().join("docs/rfcs/README.md"));
    let listed: Vec<Vec<String>> = section(&list, "The RFCs").lines().filter_map(cells).skip(2).collect();
    let rfcs = rfcs();
    assert_eq!(rfcs[0].1, "0000-template.md");
    assert_eq!(listed.len(), rfcs.len() - 1, "the list has a row for each");
    for (expected, (number, name, text)) in (0..).zip(&rfcs) {
        assert_eq!(*number, expected, "{name}: numbers are counted up without gaps");
        let title = text.lines().next().unwrap().strip_prefix(&format!("# RFC {number:04}: "));
        let title = title.unwrap_or_else(|| panic!("{name}: the first line is # RFC {number:04}: Title"));
        let facts = facts(text);
        let status = facts.get("status").unwrap_or_else(|| panic!("{name}: has no status"));
        assert!(STATES.contains(&status.as_str()), "{name}: status {status}");
        let created = facts.get("created").unwrap_or_else(|| panic!("{name}: has no date"));
        if *number == 0 {
            assert_eq!((status.as_str(), created.as_str()), ("draft", "YYYY-MM-DD"), "{name}");
            continue;
        }
        assert!(is_date(created), "{name}: created {created}");
        let successor = facts.get("superseded by").is_some_and(|by| by.contains(".md)"));
        assert_eq!(status == "superseded", successor, "{name}: superseded, and by which");
        let row = [format!("[{number:04}]({name})"), title.to_owned(), status.clone()];
        assert!(listed.contains(&row.to_vec()), "{name}: the list has no row {row:?}");
    }
}

#[test]
fn the_first_rfc_says_what_every_phase_is_and_what_every_party_can_do() {
    let (_, name, text) = rfcs().swap_remove(1);
    let phases = section(&text, "Phases");
    for number in 1..=6 {
        let begin = format!("\n### Phase {number}: ");
        let phase = phases.split(&begin).nth(1).unwrap_or_else(|| panic!("{name}: phase {number}"));
        let phase = phase.split("\n### ").next().unwrap();
        for part in ["- *Goal:* ", "- *Scope:* ", "- *Behavior change:* ", "- *State:* "] {
            assert_eq!(phase.matches(part).count(), 1, "{name}: {part}of phase {number}");
        }
        // The table and the phase agree on how far it is.
        let state = phase.split("- *State:* ").nth(1).unwrap();
        let row = phases.lines().filter_map(cells).find(|row| row[0] == number.to_string()).unwrap();
        assert!(state.starts_with(&row[2]), "{name}: phase {number} is {}, or is it", row[2]);
    }
    let threats = section(&text, "Security");
    let parties = [
        "an agent",
        "a server with a managed root",
        "a server with an offline root",
        "a TLS terminator",
        "a reader of the database",
        "an operator's browser",
    ];
    for party in parties {
        let row = threats.lines().filter_map(cells).find(|row| row[0].starts_with(&format!("**{party}**")));
        let row = row.unwrap_or_else(|| panic!("{name}: what can {party} do"));
        assert!(row.len() == 3 && row.iter().all(|cell| cell.len() > 8), "{name}: {party}: {row:?}");
    }
    let diagrams = |kind: &str| text.matches(&format!("```mermaid\n{kind}")).count();
    assert!(diagrams("flowchart") >= 1 && diagrams("sequenceDiagram") >= 3, "{name}: the diagrams");
}

#[test]
fn every_link_and_anchor_leads_somewhere() {
    let root = root();
    let mut problems = Vec::new();
    let mut checked = 0;
    for file in files().iter().filter(|file| is_markdown(file)) {
        for (line, target) in links(&read(file)) {
            checked += 1;
            if let Err(problem) = check_link(&root, file, &target) {
                let file = file.strip_prefix(&root).unwrap();
                problems.push(format!("{}:{line}: {target}: {problem}", file.display()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(checked > 30, "only {checked} links were found");
}

/// Characters that reorder, join or hide what is around them.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{00AD}' | '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
    )
}

#[test]
fn no_text_holds_a_bidirectional_or_zero_width_character() {
    let root = root();
    let mut problems = Vec::new();
    let mut checked = 0;
    for file in files() {
        let relative = file.strip_prefix(&root).unwrap();
        // The corpora hold them on purpose; what is no UTF-8 is no text.
        if relative.starts_with("fuzz/corpus") {
            continue;
        }
        let Ok(text) = String::from_utf8(fs::read(&file).unwrap()) else { continue };
        checked += 1;
        for (number, line) in (1..).zip(text.lines()) {
            for c in line.chars().filter(|c| is_invisible(*c)) {
                let place = relative.display();
                problems.push(format!("{place}:{number}: U+{:04X}", u32::from(c)));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(checked > 100, "only {checked} texts were found");
}

/// Every option that a text names, without its dashes.
fn options(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let begins = |before: &str| before.chars().next_back().is_none_or(|c| " `([|\n".contains(c));
    for (at, _) in text.match_indices("--") {
        let name: String =
            text[at + 2..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        if begins(&text[..at]) && name.starts_with(|c: char| c.is_ascii_lowercase()) {
            found.insert(name.trim_end_matches('-').to_owned());
        }
    }
    found
}

#[test]
fn the_options_in_the_documents_are_those_of_the_programs() {
    let root = root();
    let sources = ["fleetd/src", "fleet-agent/src"].map(|directory| root.join(directory));
    let code: String = files()
        .iter()
        .filter(|file| sources.iter().any(|sources| file.starts_with(sources)))
        .map(|file| read(file))
        .collect();
    let mut problems = Vec::new();
    for name in ["README.md", "SECURITY.md", "docs/operations.md", "docs/architecture.md"] {
        for option in options(&read(&root.join(name))) {
            // Options are fields of what clap fills in.
            let field = format!("{}: ", option.replace('-', "_"));
            if !code.contains(&field) && !FOREIGN_OPTIONS.contains(&option.as_str()) {
                problems.push(format!("{name} names --{option}, which is in no command line"));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let operations = options(&read(&root.join("docs/operations.md")));
    let settings = settings(&read(&root.join("fleetd/src/config/layer.rs")));
    assert!(settings.len() >= 18, "{settings:?}");
    for setting in settings {
        assert!(operations.contains(&setting), "docs/operations.md says nothing of --{setting}");
    }
}

/// The settings of the server, as the table in its source has them.
fn settings(code: &str) -> Vec<String> {
    let table = code.split("pub const SETTINGS").nth(1).unwrap().split("];").next().unwrap();
    table.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let root = root();
    let here = root.join("docs/rfcs/README.md");
    for good in [
        "https://example.org/x",
        "0000-template.md",
        "0000-template.md#motivation",
        "#when-to-write-one",
        "../../README.md",
        "../../fleetd/tests/docs.rs#L1",
        "../../fleetd/tests/docs.rs#L1-L3",
        "../../fleet-proto/proto",
    ] {
        assert_eq!(check_link(&root, &here, good), Ok(()), "{good}");
    }
    for bad in [
        "0000-nothing.md",
        "0000-template.md#nothing",
        "#nothing",
        "/README.md",
        "../../../x",
        "../../fleetd/tests/docs.rs#L0",
        "../../fleetd/tests/docs.rs#L3-L1",
        "../../fleetd/tests/docs.rs#L99999",
        "../../fleetd/tests/docs.rs#main",
        "../../fleet-proto/proto#x",
    ] {
        assert!(check_link(&root, &here, bad).is_err(), "{bad}");
    }
}

#[test]
fn links_and_anchors_are_read_as_markdown_has_them() {
    let text = "# A `b` c\n\n[x](y) and ![z](w \"title\")\n`[no](code)` [`code`](yes)\n\n    [no](block)\n\n```sh\n# no\n\
                [no](fence)\n```\n\n[ref]: target\n## A b c\n## See [that](x), too\n";
    let targets: Vec<_> = links(text).into_iter().map(|(_, target)| target).collect();
    assert_eq!(targets, ["y", "w", "yes", "target", "x"]);
    let expected = ["a-b-c", "a-b-c-1", "see-that-too"].map(str::to_owned);
    assert_eq!(anchors(text), BTreeSet::from(expected));
    assert!(is_invisible('\u{202E}') && is_invisible('\u{200B}') && !is_invisible('ä') && !is_invisible(' '));
    assert_eq!(options("`--a-b`, --c=d x--y ---- --"), BTreeSet::from(["a-b", "c"].map(str::to_owned)));
}
