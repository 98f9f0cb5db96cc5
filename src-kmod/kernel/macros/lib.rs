// SPDX-License-Identifier: GPL-2.0-only
//! The two attributes of the `kernel` crate that the driver uses. They run where the driver is compiled.
//!
//! The stand-in initialises structures field by field and never projects a pinned structure to its fields. So
//! `#[pin_data]` has nothing to generate: it removes the `#[pin]` of the fields.

extern crate proc_macro;

use proc_macro::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// Removes `#[pin]` from the fields of a structure.
#[proc_macro_attribute]
pub fn pin_data(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    in_group(item, Delimiter::Brace, |fields| {
        let mut kept: Vec<TokenTree> = Vec::new();
        for token in fields {
            let is_pin = matches!(&token, TokenTree::Group(group)
                if group.delimiter() == Delimiter::Bracket && group.stream().to_string() == "pin");
            if is_pin {
                kept.pop(); // The `#` before it.
            } else {
                kept.push(token);
            }
        }
        kept.into_iter().collect()
    })
}

/// Turns `impl PinnedDrop for T { fn drop(self: Pin<&mut Self>) {..} }` into `impl Drop for T`.
#[proc_macro_attribute]
pub fn pinned_drop(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = item
        .into_iter()
        .map(|token| match token {
            TokenTree::Ident(name) if name.to_string() == "PinnedDrop" => Ident::new("Drop", name.span()).into(),
            other => other,
        })
        .collect();
    in_group(item, Delimiter::Brace, |body| {
        in_group(body, Delimiter::Parenthesis, |_| "&mut self".parse().expect("an argument"))
    })
}

/// Changes what is in the outermost groups of a kind.
fn in_group(tokens: TokenStream, kind: Delimiter, change: impl Fn(TokenStream) -> TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == kind => Group::new(kind, change(group.stream())).into(),
            other => other,
        })
        .collect()
}
