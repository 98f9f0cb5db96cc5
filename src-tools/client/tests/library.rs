// SPDX-License-Identifier: CECILL-B
//! The library's documentation and its example are in step.

#[test]
fn the_documentation_shows_the_example_as_it_is() {
    let page = include_str!("../../../docs/library.md");
    let example = include_str!("../examples/two-processes.rs");
    let (_, program) = example.split_once('\n').expect("a first line, with the licence");
    assert!(page.contains(program.trim()), "docs/library.md has another program than examples/two-processes.rs");
}

#[test]
fn few_crates_come_with_it() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = std::process::Command::new(cargo)
        .args(["tree", "--offline", "-p", "knem", "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8(tree.stdout).expect("text");
    let crates: std::collections::BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains("nix") && crates.len() <= 14, "{crates:?}");
}
