// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The rules of `uapi` and `logic`: which names and constructs their files may use.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, Token};

use crate::tree::Violations;

/// The rules of `uapi` and `logic`: `core` only, and for `logic` nothing that can panic, allocate or be unsafe.
pub(crate) struct Layer {
    pub(crate) strict: bool,
    found: Violations,
}

/// Crates that do not exist in the kernel, and the kernel's own, which do not exist in cargo.
const FOREIGN_CRATES: [&str; 7] = ["kernel", "bindings", "std", "alloc", "macros", "pin_init", "libc"];
/// Types that allocate.
const ALLOCATING_TYPES: [&str; 9] = ["Vec", "Box", "String", "Rc", "Arc", "KVec", "KBox", "KString", "VecDeque"];
/// Macros whose arguments are checked like other code; all others must not be used.
const GOOD_MACROS: [&str; 4] = ["write", "writeln", "matches", "stringify"];

impl Layer {
    /// Returns the violations in a file.
    pub(crate) fn violations(file: &syn::File, strict: bool) -> Violations {
        let mut layer = Self { strict, found: Vec::new() };
        // Macros of the file itself are checked where they are defined.
        layer.visit_file(file);
        layer.found
    }

    pub(crate) fn report(&mut self, span: Span, what: impl Into<String>) {
        self.found.push((span.start().line, what.into()));
    }

    fn name(&mut self, ident: &syn::Ident, first: bool) {
        let name = ident.to_string();
        if first && FOREIGN_CRATES.contains(&name.as_str()) {
            self.report(ident.span(), format!("uses the crate {name}"));
        }
        if self.strict && ALLOCATING_TYPES.contains(&name.as_str()) {
            self.report(ident.span(), format!("{name} allocates"));
        }
    }

    /// Checks tokens that could not be parsed as an expression.
    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) => {
                    self.name(&ident, true);
                    if self.strict && ident == "unsafe" {
                        self.report(ident.span(), "unsafe");
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

/// Whether an attribute removes its item from the module: it is for tests.
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

fn item_attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Layer {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_for_tests(item_attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let conditional = attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr");
        if self.strict && conditional {
            let list = attribute.parse_args_with(Punctuated::<TokenStreamUntilComma, Token![,]>::parse_terminated);
            let predicate = list.ok().and_then(|list| list.into_iter().next()).map(|first| first.0.to_string());
            let predicate = predicate.unwrap_or_default().replace(' ', "");
            if predicate != "test" && predicate != "not(test)" {
                self.report(attribute.span(), format!("cfg({predicate})"));
            }
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.report(item.span(), format!("extern crate {}", item.ident));
    }

    fn visit_use_tree(&mut self, tree: &'ast syn::UseTree) {
        let first = match tree {
            syn::UseTree::Path(path) => Some(&path.ident),
            syn::UseTree::Name(name) => Some(&name.ident),
            syn::UseTree::Rename(rename) => Some(&rename.ident),
            syn::UseTree::Glob(_) | syn::UseTree::Group(_) => None,
        };
        if let Some(first) = first {
            // Below a first segment other than a foreign crate, these names are the project's own modules.
            self.name(first, true);
        }
        match tree {
            syn::UseTree::Path(path) if path.ident != "crate" && path.ident != "core" => {}
            _ => visit::visit_use_tree(self, tree),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        for (index, segment) in path.segments.iter().enumerate() {
            self.name(&segment.ident, index == 0);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if self.strict && name != "macro_rules" && !GOOD_MACROS.contains(&name.as_str()) {
            self.report(call.path.span(), format!("{name}! may allocate or panic"));
        }
        self.visit_path(&call.path);
        match call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated) {
            Ok(arguments) => arguments.iter().for_each(|argument| self.visit_expr_in_macro(argument)),
            Err(_) => self.tokens(call.tokens.clone()),
        }
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        self.check_expression(expression);
        visit::visit_expr(self, expression);
    }

    // At compile time a panic is a compiler error.
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.visit_type(&item.ty);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.visit_type(&item.ty);
    }

    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let (true, Some(token)) = (self.strict, &signature.unsafety) {
            self.report(token.span(), "unsafe");
        }
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let (true, Some(token)) = (self.strict, &item.unsafety) {
            self.report(token.span(), "unsafe");
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        if let (true, Some(token)) = (self.strict, &item.unsafety) {
            self.report(token.span(), "unsafe");
        }
        visit::visit_item_trait(self, item);
    }

    fn visit_type_path(&mut self, path: &'ast syn::TypePath) {
        if self.strict && (path.path.is_ident("f32") || path.path.is_ident("f64")) {
            self.report(path.span(), "a float");
        }
        visit::visit_type_path(self, path);
    }

    fn visit_lit_float(&mut self, literal: &'ast syn::LitFloat) {
        if self.strict {
            self.report(literal.span(), "a float");
        }
    }
}

impl Layer {
    /// Arguments of a macro are parsed again, so that their lifetime is shorter than the file's.
    fn visit_expr_in_macro(&mut self, expression: &Expr) {
        let mut inner = Layer { strict: self.strict, found: Vec::new() };
        inner.visit_expr(expression);
        self.found.append(&mut inner.found);
    }
}

/// Tokens up to a comma.
struct TokenStreamUntilComma(TokenStream);

impl syn::parse::Parse for TokenStreamUntilComma {
    fn parse(input: syn::parse::ParseStream<'_>) -> syn::Result<Self> {
        let mut tokens = Vec::<TokenTree>::new();
        while !input.is_empty() && !input.peek(Token![,]) {
            tokens.push(input.parse()?);
        }
        Ok(Self(tokens.into_iter().collect()))
    }
}
