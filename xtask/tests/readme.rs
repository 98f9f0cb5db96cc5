// SPDX-License-Identifier: CECILL-B
//! README.md quotes what was counted and what the command prints: the budget's record and the snapshots of its tests.
//! It and the documents for contributors name files that exist.

use std::fs;

use knem_lab::workspace::Workspace;
use walkdir::WalkDir;

fn read(path: &str) -> String {
    let path = Workspace::find().expect("the workspace").file(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The number of instructions of the line of this name in the budget's record.
fn instructions(record: &str, name: &str) -> u64 {
    let line = record.lines().find_map(|line| line.trim().split_once("  ").filter(|(_, rest)| *rest == name));
    let (number, _) = line.unwrap_or_else(|| panic!("{name} is not in the record"));
    number.parse().expect("a number")
}

#[test]
fn ratios_are_those_of_the_record() {
    let record = read("tests/budget/budget.txt");
    let rows = [
        ("inline read", "process_vm_readv", "8 bytes, scattered pages"),
        ("inline read", "process_vm_readv", "65536 bytes, scattered pages"),
        ("inline read", "process_vm_readv", "1048576 bytes, huge pages"),
        ("one-shot", "process_vm_readv", "65536 bytes, scattered pages"),
    ];
    let readme = read("README.md");
    let table = readme.split("| Call | Bytes | KNEM | CMA | Ratio |").nth(1).expect("the table");
    let table: Vec<Vec<&str>> = table
        .trim_start()
        .lines()
        .skip(1)
        .map_while(|line| line.strip_prefix('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(table.len(), rows.len());
    for ((knem, cma, what), row) in rows.iter().zip(&table) {
        let counts = [knem, cma].map(|call| instructions(&record, &format!("{call}, {what}")));
        let shown = [2, 3].map(|column: usize| row[column].replace(',', "").parse().unwrap_or(0));
        // A change of the driver within what the budget allows leaves the table as it is.
        for (count, shown) in counts.iter().zip(&shown) {
            assert!(count.abs_diff(*shown) * 100 <= count * 3, "{knem}, {what}: {shown} is shown, {count} recorded");
        }
        let ratio = format!("{}.{:02}", shown[0] / shown[1], (shown[0] * 100 + shown[1] / 2) / shown[1] % 100);
        assert_eq!(row[4], ratio, "{knem}, {what}");
    }
}

#[test]
fn outputs_are_those_of_the_command() {
    let root = Workspace::find().expect("the workspace").file("src-tools/src");
    let snapshots: Vec<String> = WalkDir::new(root)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "snap"))
        .map(|entry| fs::read_to_string(entry.path()).expect("readable"))
        .collect();
    let readme = read("README.md");
    let examples: Vec<&str> = readme.split("```").filter(|block| block.starts_with("\n$ ")).collect();
    assert_eq!(examples.len(), 2, "doctor and stat");
    for example in examples {
        for part in example.trim().lines().skip(1).collect::<Vec<_>>().join("\n").split("...") {
            let part = part.trim_matches('\n');
            assert!(snapshots.iter().any(|snapshot| snapshot.contains(part)), "no snapshot has:\n{part}");
        }
    }
}

#[test]
fn files_that_are_named_exist() {
    let root = Workspace::find().expect("the workspace").root;
    let top: Vec<String> = fs::read_dir(&root)
        .expect("listed")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !["build", "dist", "target", "vendor"].contains(&name.as_str()))
        .collect();
    let named =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/requirements.md", "docs/releasing.md", "docs/decisions"];
    let mut seen = 0;
    for file in named.iter().flat_map(|path| WalkDir::new(root.join(path))).filter_map(Result::ok) {
        let Ok(text) = fs::read_to_string(file.path()) else { continue };
        let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
        for path in spans.filter(|span| top.iter().any(|name| span.starts_with(&format!("{name}/")))) {
            assert!(root.join(path).exists(), "{}: `{path}` is not there", file.path().display());
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}
