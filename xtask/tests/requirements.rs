// SPDX-License-Identifier: CECILL-B
//! docs/requirements.md explains each name of a requirement that a test has.

use std::collections::BTreeMap;
use std::fs;

use knem_lab::workspace::Workspace;
use walkdir::WalkDir;

/// The names in a line of `trials!`, such as `"7.3 R42" events_are_kept,`.
fn names(line: &str) -> Vec<&str> {
    let trial = line.trim().strip_prefix('"').and_then(|rest| rest.split_once("\" "));
    let Some((names, function)) = trial else { return Vec::new() };
    let identifier =
        function.strip_suffix(',').is_some_and(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_'));
    if identifier {
        names.split([' ', ',']).filter(|name| !name.is_empty()).collect()
    } else {
        Vec::new()
    }
}

#[test]
fn each_name_in_a_test_is_explained() {
    let root = Workspace::find().expect("the workspace").root;
    let text = fs::read_to_string(root.join("docs/requirements.md")).expect("readable");
    let explained: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()).collect();
    let mut used: BTreeMap<String, String> = BTreeMap::new();
    for entry in ["conformance", "limits", "vm"].iter().flat_map(|place| WalkDir::new(root.join("tests").join(place))) {
        let entry = entry.expect("listed");
        let Ok(source) = fs::read_to_string(entry.path()) else { continue };
        for name in source.lines().flat_map(names) {
            used.entry(name.to_owned()).or_insert_with(|| entry.path().display().to_string());
        }
    }
    assert!(used.len() > 80, "only {} names were found", used.len());
    for (name, path) in used {
        assert!(explained.contains(&name.as_str()), "docs/requirements.md does not explain {name} of {path}");
    }
}

#[test]
fn names_are_those_of_trials() {
    assert_eq!(names("    \"R26, 7.3 W1\" a_b2,"), ["R26", "7.3", "W1"]);
    assert_eq!(names("    (\"ab\", \"cd\") a,"), [""; 0]);
    assert_eq!(names("\"some text\" => x"), [""; 0]);
}
