// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! What the rules of `uapi` and `logic` report, and what they allow.

use crate::layer::Layer;

fn in_layer(source: &str, strict: bool) -> Vec<String> {
    let file = syn::parse_file(source).expect("Rust");
    Layer::violations(&file, strict).into_iter().map(|(_, what)| what).collect()
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
        assert!(!in_layer(source, false).is_empty(), "{source}");
        assert!(!in_layer(source, true).is_empty(), "{source}");
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
        assert!(!in_layer(source, true).is_empty(), "{source}");
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
        assert_eq!(in_layer(source, true), [""; 0], "{source}");
    }
}

#[test]
fn the_interface_may_depend_on_the_architecture() {
    let source = "#[cfg(target_arch = \"x86_64\")] const A: u32 = 1; fn f(a: u32) -> u32 { a + 1 }";
    assert_eq!(in_layer(source, false), [""; 0]);
}
