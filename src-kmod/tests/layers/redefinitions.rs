// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The rule that the interface is declared only in `uapi`.

use knem_core::uapi;
use proc_macro2::TokenTree;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::Expr;

use crate::tokens::{token_rule, tokens_of};
use crate::tree::Violations;

/// Finds constants of the interface that are declared again: by name, or by the number of a command.
pub(crate) fn redefinitions(source: &str) -> Violations {
    let file = syn::parse_file(source).expect("Rust");
    let mut constants = Constants(Vec::new());
    constants.visit_file(&file);
    let commands: Vec<u128> = uapi::CONSTANTS
        .iter()
        .filter(|(name, _)| name.starts_with("KNEM_CMD_") && *name != "KNEM_CMD_MAGIC")
        .map(|(_, value)| u128::from(*value))
        .collect();
    let numbers = token_rule(tokens_of(source), "the number of a command: use uapi's name", &|tokens| {
        let TokenTree::Literal(literal) = &tokens[0] else { return false };
        let Ok(number) = syn::parse_str::<syn::LitInt>(&literal.to_string()) else { return false };
        number.base10_parse::<u128>().is_ok_and(|number| commands.contains(&number))
    });
    constants.0.into_iter().chain(numbers).collect()
}

struct Constants(Violations);

impl Constants {
    fn check(&mut self, name: &syn::Ident, value: &Expr) {
        let plain = name.to_string();
        let plain = plain.strip_prefix("KNEM_").unwrap_or(&plain);
        let known = uapi::CONSTANTS.iter().map(|(name, _)| *name).chain(uapi::TEXTS.iter().map(|(name, _)| *name));
        let known = known.filter_map(|name| name.strip_prefix("KNEM_")).any(|known| known == plain);
        let text = value.span().source_text().unwrap_or_default();
        if known && !text.contains("uapi::") {
            self.0.push((name.span().start().line, format!("{name} is a constant of uapi")));
        }
    }
}

impl<'ast> Visit<'ast> for Constants {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.check(&item.ident, &item.expr);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.check(&item.ident, &item.expr);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.check(&item.ident, &item.expr);
    }
}

#[test]
fn redefinitions_are_noticed() {
    for source in [
        "const FLAG_DMA: u32 = 1;",
        "pub const KNEM_STATUS_SUCCESS: u8 = 1;",
        "static DEVICE_FILENAME: &str = \"/dev/knem\";",
        "impl T { const ABI_VERSION: u32 = 13; }",
        "fn f() { ioctl(0x4010_4B10); }",
        "fn f() { ioctl(1074809616u32 as i32) }",
    ] {
        // Spans of a file have their text, those of a snippet in a test do not: a constant without text counts as a
        // literal.
        assert!(!redefinitions(source).is_empty(), "{source}");
    }
    assert!(redefinitions("const READ: u32 = uapi::PROT_READ; const SIZE: u32 = 16;").is_empty());
}
