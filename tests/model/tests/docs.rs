// SPDX-License-Identifier: CECILL-B
//! Compares the documentation with what it documents: examples, parameters, the manual page.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use knem_core::uapi::CONSTANTS;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn text(path: &str) -> String {
    let path = repository(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the part of a C file between its marks, without the common indentation.
fn part(file: &str, name: &str) -> String {
    let source = text(file);
    let inside = source
        .lines()
        .skip_while(|line| line.trim() != format!("/* [{name}] */"))
        .skip(1)
        .take_while(|line| line.trim() != format!("/* [/{name}] */"));
    let lines: Vec<&str> = inside.collect();
    assert!(!lines.is_empty(), "{file} has no part {name}");
    let indentation = |line: &&str| line.len() - line.trim_start_matches('\t').len();
    let common = lines.iter().filter(|line| !line.is_empty()).map(indentation).min().unwrap_or(0);
    lines.iter().map(|line| format!("{}\n", line.get(common..).unwrap_or(""))).collect()
}

#[test]
fn the_guide_quotes_its_examples() {
    let guide = text("docs/guide.md");
    let mut quotes = 0;
    for (start, _) in guide.match_indices("<!-- examples/") {
        let rest = &guide[start + "<!-- ".len()..];
        let (mark, rest) = rest.split_once(" -->\n```c\n").expect("a mark stands before each quotation");
        let (file, name) = mark.split_once(": ").expect("FILE: PART");
        let (quoted, _) = rest.split_once("```\n").expect("the quotation ends");
        assert_eq!(quoted, part(&format!("docs/{file}"), name), "{mark}");
        quotes += 1;
    }
    assert_eq!(quotes, guide.matches("```c\n").count(), "C in the guide is quoted, hence compiled and run");
    assert!(quotes >= 5);
}

/// A parameter of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parameter {
    default: String,
    writable: bool,
}

/// Returns the parameters in the driver's C files.
fn parameters() -> BTreeMap<String, Parameter> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(repository("src-kmod")).expect("src-kmod") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !(name.starts_with("knem_") && name.ends_with(".c")) {
            continue;
        }
        let source = fs::read_to_string(&path).expect("a source");
        for line in source.lines() {
            let Some(inside) = line.strip_prefix("module_param_named(") else { continue };
            let fields: Vec<&str> = inside.trim_end_matches(");").split(", ").collect();
            let [parameter, variable, _, mode] = fields[..] else { panic!("{line}") };
            let declared = source
                .lines()
                .find(|line| !line.contains('(') && line.contains(&format!(" {variable}")))
                .unwrap_or_else(|| panic!("{variable} is not declared"));
            let value = declared.split_once(" = ").map_or("0", |(_, value)| value.trim_end_matches(';'));
            let default = match value.split_once(" << ") {
                Some((one, shift)) => (number(one) << number(shift)).to_string(),
                None => value.to_owned(),
            };
            found.insert(parameter.to_owned(), Parameter { default, writable: mode == "0644" });
        }
    }
    assert!(found.len() > 20, "{found:?}");
    found
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

#[test]
fn modprobe_d_has_every_parameter_with_its_default() {
    let file = text("modprobe.d/knem.conf");
    let mut listed = BTreeMap::new();
    // Paragraphs: the last lines are the parameters, and the comment before them has a mark if they can be changed.
    for paragraph in file.split("\n\n") {
        let writable = paragraph.starts_with("# * ");
        for line in paragraph.lines() {
            let Some(setting) = line.strip_prefix("#options knem ") else {
                assert!(line.starts_with('#'), "nothing is set here: {line}");
                continue;
            };
            let (name, value) = setting.split_once('=').expect("NAME=VALUE");
            let default = if name == "statslen" { "PAGE_SIZE".to_owned() } else { value.to_owned() };
            listed.insert(name.to_owned(), Parameter { default, writable });
        }
    }
    assert_eq!(listed, parameters());
}

#[test]
fn the_administrators_table_has_every_parameter() {
    let mut listed = BTreeMap::new();
    let page = text("docs/admin.md");
    let table = page.lines().skip_while(|line| *line != "| Name | Default | Meaning |").skip(2);
    for line in table.take_while(|line| line.starts_with('|')) {
        let (name, rest) = line.strip_prefix("| `").and_then(|row| row.split_once('`')).expect("a parameter's name");
        let fields: Vec<&str> = rest.split('|').map(str::trim).collect();
        let [star @ ("" | "*"), default, _, ""] = fields[..] else { panic!("{line}") };
        let default = if default == "a page" { "PAGE_SIZE" } else { default };
        listed.insert(name.to_owned(), Parameter { default: default.to_owned(), writable: star == "*" });
    }
    assert_eq!(listed, parameters());
}

#[test]
fn the_manual_page_has_every_parameter() {
    let page = text("docs/man/knem.4");
    let (_, section) = page.split_once(".SH PARAMETERS\n").expect("a section");
    let (section, _) = section.split_once("\n.SH ").expect("and one after it");
    let mut listed = BTreeMap::new();
    for entry in section.split(".TP\n").skip(1) {
        let head = entry.lines().next().unwrap_or_default();
        let words = head.strip_prefix(".BR ").unwrap_or_else(|| panic!("{head}"));
        let (names, rest) = words.split_once('"').unwrap_or_else(|| panic!("{head}"));
        // `.BR name "* (0)"`, or `.BR name ", " name " (0)"`.
        let (default, writable) = match words.rsplit_once('(') {
            Some((before, default)) => (default.trim_end_matches(")\""), before.ends_with("\"* ")),
            None => panic!("{head} lacks a default in {rest}"),
        };
        let default = if default == "page size" { "PAGE_SIZE" } else { default };
        let more = words.split('"').nth(2).filter(|_| words.contains("\", \"")).unwrap_or_default();
        for name in names.split_whitespace().chain(more.split_whitespace()) {
            listed.insert(name.to_owned(), Parameter { default: default.to_owned(), writable });
        }
    }
    assert_eq!(listed, parameters());
}

#[test]
fn the_manual_page_has_every_command_and_flag() {
    let page = text("docs/man/knem.4");
    let derived = ["_MASK", "_MAGIC"];
    for (name, _) in CONSTANTS.iter().filter(|(name, _)| !derived.iter().any(|end| name.ends_with(end))) {
        assert!(page.contains(name), "{name} is not in knem(4)");
    }
}

#[test]
fn the_manual_page_is_well_formed() {
    let page = repository("docs/man/knem.4");
    let formatters: [(&str, &[&str]); 2] =
        [("mandoc", &["-Tlint", "-Wwarning"]), ("groff", &["-man", "-t", "-ww", "-z", "-Tutf8"])];
    let mut tried = 0;
    for (program, options) in formatters {
        let Ok(output) = Command::new(program).args(options).arg(&page).output() else { continue };
        let said = [output.stdout, output.stderr].concat();
        assert!(said.is_empty(), "{program}: {}", String::from_utf8_lossy(&said));
        tried += 1;
    }
    if tried == 0 {
        eprintln!("neither mandoc nor groff is here: the page's form was not looked at");
    }
}
