// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! What belongs into one file of `glue`: looking at the kernel's version, and declaring functions of C.

use proc_macro2::{Delimiter, TokenTree};

use crate::tokens::{token_rule, tokens_of};
use crate::tree::Violations;

/// Version cfgs, anywhere in the source, macros included.
pub(crate) fn version_cfgs(source: &str) -> Violations {
    let what = "a cfg for kernel versions belongs into glue/compat.rs";
    token_rule(tokens_of(source), what, &|tokens| {
        let TokenTree::Ident(ident) = &tokens[0] else { return false };
        let name = ident.to_string();
        name.strip_prefix("knem_k").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    })
}

/// Blocks of foreign functions. Functions with a body for C to call are something else.
pub(crate) fn foreign_blocks(source: &str) -> Violations {
    token_rule(tokens_of(source), "foreign functions belong into glue/ffi.rs", &|tokens| {
        let is_extern = matches!(&tokens[0], TokenTree::Ident(ident) if ident == "extern");
        let block = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace);
        is_extern
            && (block(tokens.get(1)) || matches!(tokens.get(1), Some(TokenTree::Literal(_))) && block(tokens.get(2)))
    })
}

#[test]
fn version_cfgs_are_noticed() {
    for source in ["#[cfg(knem_k7_3)] fn f() {}", "m! { #[cfg(not(knem_k7_3))] x: 1 }", "fn f() { cfg!(knem_k8_0); }"] {
        assert_eq!(version_cfgs(source).len(), 1, "{source}");
    }
    assert!(version_cfgs("fn knem_kernel() {}").is_empty());
}

#[test]
fn foreign_blocks_are_noticed() {
    for source in [
        "extern \"C\" { fn f(); }",
        "unsafe extern \"C\" {}",
        "extern {}",
        "mod m { extern \"C\" {} }",
        "m! { extern \"C\" {} }",
    ] {
        assert_eq!(foreign_blocks(source).len(), 1, "{source}");
    }
    assert!(foreign_blocks("unsafe extern \"C\" fn open(a: u8) -> u8 { a } type F = extern \"C\" fn();").is_empty());
}
