// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The rules of the rooms, as the design document has them: what each part of the tree may use.
//!
//! Every source file is parsed, and each rule is a function from a file to its violations. At the end
//! stands a test for each rule that a violation is noticed, so that a rule cannot fall asleep.

use knem_core::uapi;
use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use std::fs;
use std::path::{Path, PathBuf};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, Token};

// The tree.

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below a directory of the tree that are the project's own, by their paths in the tree.
fn files(below: &str) -> Vec<PathBuf> {
    const NOT_OURS: [&str; 3] = ["target", "dist", "Cargo.lock"];
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from(below)];
    while let Some(path) = waiting.pop() {
        let Ok(entries) = fs::read_dir(root().join(&path)) else { continue };
        for entry in entries {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name");
            let path = path.join(&name);
            let kind = entry.file_type().expect("a kind");
            if name.starts_with('.') && name != ".ci" || NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn rust_files(below: &[&str]) -> Vec<PathBuf> {
    let all = below.iter().flat_map(|below| files(below));
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(path: &Path) -> syn::File {
    syn::parse_file(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is wrong in a file, and in which line.
type Violations = Vec<(usize, String)>;

/// Fails with every violation that a rule finds in these files.
fn enforce(paths: &[PathBuf], rule: impl Fn(&Path) -> Violations) {
    assert!(!paths.is_empty(), "the rule has files to look at");
    let found: Vec<String> = paths
        .iter()
        .flat_map(|path| {
            rule(path).into_iter().map(|(line, what)| format!("{}:{line}: {what}", path.display())).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

// Rules.

/// The rules of `uapi` and `logic`: `core` only, and for `logic` nothing that can panic, allocate or be unsafe.
struct Room {
    strict: bool,
    found: Violations,
}

/// Crates that do not exist in the kernel, and the kernel's own, which do not exist in cargo.
const FOREIGN_CRATES: [&str; 7] = ["kernel", "bindings", "std", "alloc", "macros", "pin_init", "libc"];
/// Types that allocate.
const ALLOCATING_TYPES: [&str; 9] = ["Vec", "Box", "String", "Rc", "Arc", "KVec", "KBox", "KString", "VecDeque"];
/// Methods that allocate or panic.
const BAD_METHODS: [&str; 11] = [
    "unwrap",
    "expect",
    "unwrap_err",
    "expect_err",
    "to_vec",
    "to_string",
    "to_owned",
    "into_boxed_slice",
    "copy_from_slice",
    "clone_from_slice",
    "split_at",
];
/// Macros whose arguments are looked into like other code; all others must not be used.
const GOOD_MACROS: [&str; 4] = ["write", "writeln", "matches", "stringify"];

impl Room {
    fn violations(file: &syn::File, strict: bool) -> Violations {
        let mut room = Self { strict, found: Vec::new() };
        // Macros of the file itself are looked at where they are defined.
        room.visit_file(file);
        room.found
    }

    fn report(&mut self, place: Span, what: impl Into<String>) {
        self.found.push((place.start().line, what.into()));
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

    /// Tokens that could not be parsed as anything in particular.
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

/// Whether an attribute takes its item out of the module: it is for tests.
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

impl<'ast> Visit<'ast> for Room {
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
            // Below a first segment other than a foreign crate, these names are modules of ours.
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

    // At compile time a panic is an error message.
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

impl Room {
    /// Arguments of a macro are parsed anew, so that they live shorter than the file.
    fn visit_expr_in_macro(&mut self, expression: &Expr) {
        let mut inner = Room { strict: self.strict, found: Vec::new() };
        inner.visit_expr(expression);
        self.found.append(&mut inner.found);
    }

    fn check_expression(&mut self, expression: &Expr) {
        if !self.strict {
            return;
        }
        match expression {
            Expr::Unsafe(block) => self.report(block.unsafe_token.span(), "unsafe"),
            Expr::Index(index) => self.report(index.span(), "indexing may panic"),
            Expr::MethodCall(call) if BAD_METHODS.contains(&call.method.to_string().as_str()) => {
                self.report(call.method.span(), format!("{}() may allocate or panic", call.method));
            }
            Expr::Binary(binary) => match binary.op {
                BinOp::Add(_) | BinOp::Sub(_) | BinOp::Mul(_) => self.report(binary.op.span(), "unchecked arithmetic"),
                BinOp::AddAssign(_) | BinOp::SubAssign(_) | BinOp::MulAssign(_) => {
                    self.report(binary.op.span(), "unchecked arithmetic");
                }
                BinOp::Div(_) | BinOp::Rem(_) | BinOp::DivAssign(_) | BinOp::RemAssign(_)
                    if !is_constant(&binary.right) =>
                {
                    self.report(binary.op.span(), "division by what may be 0");
                }
                BinOp::Shl(_) | BinOp::Shr(_) | BinOp::ShlAssign(_) | BinOp::ShrAssign(_)
                    if !is_constant(&binary.right) =>
                {
                    self.report(binary.op.span(), "shift by what may be too far");
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// A literal or a constant: the compiler itself sees a division by zero.
fn is_constant(expression: &Expr) -> bool {
    match expression {
        Expr::Lit(_) => true,
        Expr::Path(path) => path.path.segments.last().is_some_and(|last| {
            last.ident
                .to_string()
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        }),
        _ => false,
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

/// Reports every token that `matches` says, with what stands after it.
fn token_rule(tokens: TokenStream, what: &str, matches: &impl Fn(&[TokenTree]) -> bool) -> Violations {
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

fn tokens_of(source: &str) -> TokenStream {
    source.parse().expect("Rust")
}

/// Version cfgs, anywhere in the source, macros included.
fn version_cfgs(source: &str) -> Violations {
    let what = "a cfg for kernel versions belongs into glue/compat.rs";
    token_rule(tokens_of(source), what, &|tokens| {
        let TokenTree::Ident(ident) = &tokens[0] else { return false };
        let name = ident.to_string();
        name.strip_prefix("knem_k").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    })
}

/// Blocks of foreign functions. Functions with a body for C to call are something else.
fn foreign_blocks(source: &str) -> Violations {
    token_rule(tokens_of(source), "foreign functions belong into glue/ffi.rs", &|tokens| {
        let is_extern = matches!(&tokens[0], TokenTree::Ident(ident) if ident == "extern");
        let block = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace);
        is_extern
            && (block(tokens.get(1)) || matches!(tokens.get(1), Some(TokenTree::Literal(_))) && block(tokens.get(2)))
    })
}

/// Constants of the interface that are declared anew: by name, or by the number of a command.
fn redefinitions(source: &str) -> Violations {
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
    fn look(&mut self, name: &syn::Ident, value: &Expr) {
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
        self.look(&item.ident, &item.expr);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.look(&item.ident, &item.expr);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.look(&item.ident, &item.expr);
    }
}

/// The project's one version number.
fn version() -> String {
    let manifest = text(Path::new("Cargo.toml"));
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \"")).expect("a version in Cargo.toml");
    line.trim_end_matches('"').to_owned()
}

/// Lines that contain the version.
fn version_literals(source: &str, version: &str) -> Violations {
    let lines = source.lines().enumerate().filter(|(_, line)| line.contains(version));
    lines.map(|(index, _)| (index + 1, format!("the version {version}: it is read from Cargo.toml"))).collect()
}

/// A licence line near the start.
fn licence(source: &str) -> Violations {
    if source.lines().take(5).any(|line| line.contains("SPDX-License-Identifier: ")) {
        Vec::new()
    } else {
        vec![(1, "has no line SPDX-License-Identifier".to_owned())]
    }
}

// The tree obeys.

#[test]
fn the_interface_uses_core_only() {
    enforce(&["src-kmod/uapi.rs".into()], |path| Room::violations(&parse(path), false));
}

#[test]
fn logic_uses_core_and_cannot_panic() {
    enforce(&rust_files(&["src-kmod/logic"]), |path| Room::violations(&parse(path), true));
}

fn driver_files(except: &str) -> Vec<PathBuf> {
    let mut paths = rust_files(&["src-kmod/glue", "src-kmod/logic"]);
    paths.extend(["src-kmod/knem_main.rs".into(), "src-kmod/uapi.rs".into()]);
    paths.retain(|path| path != Path::new(except));
    paths
}

#[test]
fn kernel_versions_are_looked_at_in_one_file() {
    enforce(&driver_files("src-kmod/glue/compat.rs"), |path| version_cfgs(&text(path)));
}

#[test]
fn foreign_functions_are_in_one_file() {
    enforce(&driver_files("src-kmod/glue/ffi.rs"), |path| foreign_blocks(&text(path)));
}

#[test]
fn glue_is_only_built_for_the_kernel() {
    // What is mounted in both roots is shared; glue must not be.
    assert!(!text(Path::new("src-kmod/host.rs")).contains("mod glue"));
}

#[test]
fn programs_and_tests_take_the_interface_from_uapi() {
    let paths = rust_files(&["src-tools", "tests", "xtask"]);
    enforce(&paths, |path| redefinitions(&text(path)));
}

#[test]
fn packages_read_the_version() {
    let paths: Vec<PathBuf> = ["debian", "dkms", "rpm", "udev", "modprobe.d", "include"]
        .iter()
        .flat_map(|below| files(below))
        // A changelog is about versions; that its first one is the right one is checked below.
        .filter(|path| path != Path::new("debian/changelog"))
        .collect();
    enforce(&paths, |path| version_literals(&text(path), &version()));
}

#[test]
fn the_changelog_starts_with_the_version() {
    let first = text(Path::new("debian/changelog")).lines().next().unwrap_or_default().to_owned();
    let version = version();
    assert!(first.starts_with(&format!("knem ({version}")), "{first:?} is not about {version}");
}

#[test]
fn every_source_has_a_licence() {
    const SOURCES: [&str; 10] = ["rs", "c", "h", "S", "sh", "toml", "in", "conf", "rules", "mk"];
    const NAMES: [&str; 5] = ["Makefile", "Kbuild", "run", "rules", "control"];
    let is_source = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let name = path.file_name().and_then(|name| name.to_str());
        extension.is_some_and(|extension| SOURCES.contains(&extension))
            || name.is_some_and(|name| NAMES.contains(&name))
    };
    // Debian's copyright file has a format of its own for the same.
    let paths = files("").into_iter().filter(is_source).filter(|path| path != Path::new("debian/copyright.in"));
    let paths: Vec<PathBuf> = paths.collect();
    enforce(&paths, |path| licence(&text(path)));
}

// The rules bite.

fn in_room(source: &str, strict: bool) -> Vec<String> {
    let file = syn::parse_file(source).expect("Rust");
    Room::violations(&file, strict).into_iter().map(|(_, what)| what).collect()
}

#[test]
fn foreign_crates_are_noticed() {
    for source in [
        "use kernel::prelude::*;",
        "use std::vec::Vec as V;",
        "use {core::fmt, alloc::vec};",
        "extern crate std;",
        "fn f() { kernel::pr_info!(\"x\") }",
        "fn f() -> bindings::c_int { 0 }",
        "type T = ::std::ffi::c_int;",
    ] {
        assert!(!in_room(source, false).is_empty(), "{source}");
        assert!(!in_room(source, true).is_empty(), "{source}");
    }
}

#[test]
fn panics_and_allocations_are_noticed() {
    for source in [
        "fn f(a: &[u8]) -> u8 { a[0] }",
        "fn f(a: &[u8]) -> &[u8] { &a[1..] }",
        "fn f(a: Option<u8>) -> u8 { a.unwrap() }",
        "fn f(a: Option<u8>) -> u8 { a.expect(\"b\") }",
        "fn f() { panic!() }",
        "fn f() { assert!(true) }",
        "fn f() { debug_assert_eq!(1, 1) }",
        "fn f() { unreachable!() }",
        "fn f() { core::todo!() }",
        "fn f(a: u8) -> u8 { a + 1 }",
        "fn f(a: u8) -> u8 { a - 1 }",
        "fn f(a: u8) -> u8 { 2 * a }",
        "fn f(mut a: u8) { a += 1 }",
        "fn f(mut a: u8) { a -= 1 }",
        "fn f(mut a: u8) { a *= 2 }",
        "fn f(a: u8, b: u8) -> u8 { a / b }",
        "fn f(a: u8, b: u8) -> u8 { a << b }",
        "fn f(a: u8) -> bool { matches!(a + 1, 2) }",
        "impl T { fn f(&self) -> u8 { self.a + 1 } }",
        "const fn f(a: u8) -> u8 { a + 1 }",
        "fn f(a: Vec<u8>) {}",
        "fn f() -> Box<u8> { todo() }",
        "fn f() { String::new(); }",
        "fn f() { format!(\"\"); }",
        "fn f() { vec![1]; }",
        "fn f(a: &[u8]) { a.to_vec(); }",
        "fn f(a: f64) {}",
        "fn f() { let _ = 1.5; }",
        "fn f() { unsafe { g() } }",
        "unsafe fn f() {}",
        "unsafe impl Send for T {}",
        "fn f(mut w: W) { write!(w, \"{}\", unsafe { g() }); }",
        "#[cfg(knem_k7_3)] fn f() {}",
        "#[cfg(target_arch = \"x86_64\")] fn f() {}",
        "#[cfg_attr(CONFIG_RUST, inline)] fn f() {}",
        "#[cfg(not(test))] mod m { fn f() { panic!() } }",
    ] {
        assert!(!in_room(source, true).is_empty(), "{source}");
    }
}

#[test]
fn what_is_allowed_is_not_noticed() {
    for source in [
        "#[cfg(test)] mod tests { extern crate std; fn f() { assert_eq!(1 + 1, 2); vec![1][0]; } }",
        "#[cfg_attr(not(test), deny(clippy::panic))] fn f() {}",
        "const A: u8 = 1 + 1; const _: () = assert!(A == 2);",
        "fn f(a: u8) -> Option<u8> { a.checked_add(1) }",
        "fn f(a: u64) -> u64 { a >> 1 }",
        "fn f(a: u64) -> u64 { a / SIZE }",
        "fn f<T: Copy + Clone>(a: &T) -> bool { !matches!(*a, B) }",
        "fn f(a: &[u8]) -> Option<&u8> { a.get(0) }",
        "fn f(w: &mut impl core::fmt::Write) -> core::fmt::Result { writeln!(w, \"{}\", 1) }",
        "use crate::logic::kernel; use core::fmt::{self, Write};",
    ] {
        assert_eq!(in_room(source, true), [""; 0], "{source}");
    }
}

#[test]
fn the_interface_may_depend_on_the_architecture() {
    let source = "#[cfg(target_arch = \"x86_64\")] const A: u32 = 1; fn f(a: u32) -> u32 { a + 1 }";
    assert_eq!(in_room(source, false), [""; 0]);
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
        // A file of its own has the text of its spans, a snippet in a test has not: no value means literal.
        assert!(!redefinitions(source).is_empty(), "{source}");
    }
    assert!(redefinitions("const READ: u32 = uapi::PROT_READ; const SIZE: u32 = 16;").is_empty());
}

#[test]
fn versions_and_licences_are_noticed() {
    assert_eq!(
        version_literals("a\nVersion: 9.8.7\n", "9.8.7"),
        [(2, "the version 9.8.7: it is read from Cargo.toml".to_owned())]
    );
    assert!(version_literals("Version: @VERSION@\n", "9.8.7").is_empty());
    assert_eq!(licence("// nothing\n").len(), 1);
    assert!(licence("#!/bin/sh\n# SPDX-License-Identifier: CECILL-B\n").is_empty());
}
