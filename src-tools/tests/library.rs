// SPDX-License-Identifier: CECILL-B
//! The library's documentation and its example are in step.

#[test]
fn the_documentation_shows_the_example_as_it_is() {
    let page = include_str!("../../docs/library.md");
    let example = include_str!("../examples/two-processes.rs");
    let (_, program) = example.split_once('\n').expect("a first line, with the licence");
    assert!(page.contains(program.trim()), "docs/library.md has another program than examples/two-processes.rs");
}
