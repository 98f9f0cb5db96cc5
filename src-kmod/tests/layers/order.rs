// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The rule that a file of `glue` uses only files below it, and none that uses it in turn.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};

use crate::tokens::tokens_of;

/// The files that each file uses.
pub(crate) type Uses = BTreeMap<String, BTreeSet<String>>;

/// Returns the modules of `glue` that a source names, anywhere, by their paths from `crate`.
pub(crate) fn modules(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(tokens_of(source), &mut found);
    found
}

fn collect(tokens: TokenStream, found: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let is = |offset: usize, text: &str| tokens.get(index + offset).is_some_and(|token| token.to_string() == text);
        if is(0, "glue") && is(1, ":") && is(2, ":") {
            match tokens.get(index + 3) {
                Some(TokenTree::Ident(module)) => found.extend([module.to_string()]),
                Some(TokenTree::Group(list)) => found.extend(heads(list.stream())),
                _ => {}
            }
        }
        if let TokenTree::Group(group) = token {
            collect(group.stream(), found);
        }
    }
}

/// Returns the first name of each member of a list in `use`.
fn heads(list: TokenStream) -> Vec<String> {
    let tokens: Vec<String> = list.into_iter().map(|token| token.to_string()).collect();
    tokens.split(|token| token == ",").filter_map(|member| member.first().cloned()).collect()
}

/// Returns files that use each other, directly or indirectly: those that are left when files that only use lower files
/// are removed, from the bottom and from the top.
pub(crate) fn ring(mut uses: Uses) -> Vec<String> {
    loop {
        let used: BTreeSet<String> = uses.values().flatten().cloned().collect();
        let files: BTreeSet<String> = uses.keys().cloned().collect();
        let before = uses.len();
        uses.retain(|file, others| used.contains(file) && !others.is_disjoint(&files));
        if uses.len() == before {
            return uses.into_keys().collect();
        }
    }
}

#[test]
fn uses_are_found() {
    let source =
        "use crate::glue::a::A; use crate::glue::{b, c::{self, C}, d}; fn f() { crate::glue::e::g(); m!(glue::h) }";
    assert_eq!(modules(source).into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d", "e", "h"]);
}

#[test]
fn a_ring_is_noticed() {
    let uses = |list: &[(&str, &str)]| -> Uses {
        list.iter()
            .map(|(file, used)| ((*file).to_owned(), used.split_terminator(' ').map(str::to_owned).collect()))
            .collect()
    };
    assert!(ring(uses(&[("a", ""), ("b", "a"), ("c", "a b")])).is_empty());
    assert_eq!(ring(uses(&[("a", "c"), ("b", "a"), ("c", "b"), ("d", "c"), ("e", "")])), ["a", "b", "c"]);
}
