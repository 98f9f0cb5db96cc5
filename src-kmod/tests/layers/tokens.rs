// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Rules about tokens, which also apply inside macros.

use proc_macro2::{TokenStream, TokenTree};

use crate::tree::Violations;

/// Reports every token for which `matches` returns true; that gets the token and those after it.
pub(crate) fn token_rule(tokens: TokenStream, what: &str, matches: &impl Fn(&[TokenTree]) -> bool) -> Violations {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if matches(&tokens[index..]) {
            found.push((token.span().start().line, what.to_owned()));
        }
        if let TokenTree::Group(group) = token {
            found.extend(token_rule(group.stream(), what, matches));
        }
    }
    found
}

pub(crate) fn tokens_of(source: &str) -> TokenStream {
    source.parse().expect("Rust")
}
