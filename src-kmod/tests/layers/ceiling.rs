// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! How often `unsafe` may stand in each directory of the driver. The numbers are those of today: one that falls is
//! lowered with the change, and one that rises has its reason in the commit that raises it.

use proc_macro2::TokenTree;

use crate::tokens::{token_rule, tokens_of};
use crate::tree::{rust_files, text};

/// Directories, and the most words `unsafe` in their code.
const CEILINGS: [(&str, usize); 3] = [("src-kmod/logic", 0), ("src-kmod/glue", 339), ("src-kmod/kernel", 185)];

/// Number of words `unsafe` in a source, macros included, comments and strings not.
fn count(source: &str) -> usize {
    token_rule(tokens_of(source), "", &|tokens| matches!(&tokens[0], TokenTree::Ident(word) if word == "unsafe")).len()
}

#[test]
fn unsafe_code_does_not_grow() {
    for (below, ceiling) in CEILINGS {
        let files = rust_files(&[below]);
        assert!(!files.is_empty(), "{below}");
        let there: usize = files.iter().map(|path| count(&text(path))).sum();
        assert!(there <= ceiling, "{below} has {there} times `unsafe`, and at most {ceiling} are allowed");
        assert!(there == ceiling, "{below} has {there} times `unsafe`: lower the ceiling, which is {ceiling}");
    }
}

#[test]
fn unsafe_code_is_counted() {
    assert_eq!(count("unsafe fn f() { unsafe { g() } } // unsafe\nm! { unsafe impl A for B {} }"), 3);
    assert_eq!(count("const TEXT: &str = \"unsafe\"; fn unsafe_one() {}"), 0);
}
