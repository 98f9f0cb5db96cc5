// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Rules about constructs that are allowed in one file, or in none: conditions, functions of C, the kernel's
//! structures, kernel versions.

use proc_macro2::{Delimiter, TokenTree};

use crate::tokens::{token_rule, tokens_of};
use crate::tree::Violations;

/// Finds conditional compilation, anywhere in the source, macros included.
pub(crate) fn conditions(source: &str) -> Violations {
    any_of(source, &["cfg", "cfg_attr"], "one source for every kernel has no condition")
}

/// Finds the kernel's structures, by the module that names them.
pub(crate) fn bindings(source: &str) -> Violations {
    any_of(source, &["bindings"], "the kernel's structures are for glue and the stand-in")
}

/// Finds names of the driver, in the stand-in.
pub(crate) fn driver_names(source: &str) -> Violations {
    let mut found = any_of(source, &["glue", "logic", "uapi"], "the stand-in knows nothing of the driver");
    found.extend(driver_prefixes(source));
    found
}

/// Finds names with the driver's prefix, in Rust or C, also in comments.
pub(crate) fn driver_prefixes(source: &str) -> Violations {
    let lines = source.lines().enumerate().filter(|(_, line)| line.to_lowercase().contains("knem"));
    lines.map(|(number, _)| (number + 1, "the stand-in knows nothing of the driver".to_owned())).collect()
}

/// Finds kernel versions, and probes of a kernel's headers, in C.
pub(crate) fn kernel_versions(source: &str) -> Violations {
    const SIGNS: [&str; 3] = ["LINUX_VERSION_CODE", "KERNEL_VERSION(", "COMPAT_HAVE_"];
    let lines = source.lines().enumerate().filter(|(_, line)| SIGNS.iter().any(|sign| line.contains(sign)));
    lines.map(|(number, _)| (number + 1, "what kernels differ in belongs into compat.h".to_owned())).collect()
}

fn any_of(source: &str, names: &[&str], what: &str) -> Violations {
    token_rule(
        tokens_of(source),
        what,
        &|tokens| matches!(&tokens[0], TokenTree::Ident(ident) if names.iter().any(|name| ident == name)),
    )
}

/// Finds blocks of foreign functions. Functions with a body for C to call are allowed.
pub(crate) fn foreign_blocks(source: &str) -> Violations {
    token_rule(tokens_of(source), "foreign functions belong into ffi.rs", &|tokens| {
        let is_extern = matches!(&tokens[0], TokenTree::Ident(ident) if ident == "extern");
        let block = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace);
        is_extern
            && (block(tokens.get(1)) || matches!(tokens.get(1), Some(TokenTree::Literal(_))) && block(tokens.get(2)))
    })
}

#[test]
fn conditions_are_noticed() {
    for source in ["#[cfg(x)] fn f() {}", "m! { #[cfg_attr(not(x), y)] x: 1 }", "fn f() { cfg!(CONFIG_X); }"] {
        assert_eq!(conditions(source).len(), 1, "{source}");
    }
    assert!(conditions("fn config() {}").is_empty());
}

#[test]
fn names_of_others_are_noticed() {
    assert_eq!(bindings("use kernel::bindings;").len(), 1);
    assert_eq!(driver_names("use crate::glue;\nfn knem_x() {}").len(), 2);
    assert_eq!(driver_prefixes("#include \"knem_shim.h\"\n#define KNEM_X").len(), 2);
    assert!(driver_names("fn standin_load() {}").is_empty());
    assert_eq!(kernel_versions("#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)\n#ifdef COMPAT_HAVE_X").len(), 2);
    assert!(kernel_versions("return compat_vm_insert_page(vma);").is_empty());
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
