// SPDX-License-Identifier: CECILL-B
//! Keeps `include/knem_io.h` equal to `src-kmod/uapi.rs`, in both directions.
//!
//! Forward: every number, text, size and offset of uapi.rs is asserted in C and C++, for 64 and 32 bits, by the
//! compilers. Back: everything the header defines is in uapi.rs.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use knem_core::uapi::{CONSTANTS, LAYOUTS, TEXTS};
use regex::Regex;

fn include_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include")
}

fn header() -> String {
    std::fs::read_to_string(include_directory().join("knem_io.h")).expect("include/knem_io.h is there")
}

/// The header without comments, which may mention anything.
fn code() -> String {
    Regex::new(r"(?s)/\*.*?\*/").expect("a pattern").replace_all(&header(), " ").replace("\\\n", " ")
}

fn line(source: &mut String, text: fmt::Arguments<'_>) {
    source.push_str(&text.to_string());
    source.push('\n');
}

/// A translation unit that asserts all of uapi.rs.
fn assertions(assert: &str) -> String {
    // Included twice: it must bear that.
    let mut source = String::from("#include <knem_io.h>\n#include <knem_io.h>\n#include <stddef.h>\n");
    for (name, value) in CONSTANTS {
        // As an unsigned int, because some architectures' direction bits make a number negative.
        line(&mut source, format_args!("{assert}((unsigned int)({name}) == {value:#x}U, \"{name}\");"));
    }
    for (name, text) in TEXTS {
        line(&mut source, format_args!("{assert}(sizeof({name}) == {}, \"{name}\");", text.len() + 1));
        // Their bytes are compared below: indexing a literal is no constant expression in C.
    }
    for layout in LAYOUTS {
        let name = layout.name;
        line(&mut source, format_args!("{assert}(sizeof({name}) == {}, \"{name}\");", layout.size));
        for (field, offset, size) in layout.fields {
            line(&mut source, format_args!("{assert}(offsetof({name}, {field}) == {offset}, \"{name} {field}\");"));
            line(&mut source, format_args!("{assert}(sizeof((({name} *)0)->{field}) == {size}, \"{name} {field}\");"));
        }
    }
    for (name, size) in [("knem_cookie_t", 8), ("knem_flags", 4), ("knem_bind_flags", 4), ("knem_status_t", 1)] {
        line(&mut source, format_args!("{assert}(sizeof({name}) == {size}, \"{name}\");"));
        line(&mut source, format_args!("{assert}(({name})-1 > 0, \"{name} has no sign\");"));
    }
    line(&mut source, format_args!("enum knem_status_e knem_test_status;"));
    source
}

/// Directory of the 64-bit headers' machine part; the 32-bit compilation uses it too, for want of its own.
fn machine_headers() -> PathBuf {
    let output = compiler("cc", "gcc").arg("-print-multiarch").output().expect("cc runs");
    let triplet = String::from_utf8(output.stdout).expect("a triplet");
    Path::new("/usr/include").join(triplet.trim())
}

fn compiler(program: &str, package: &str) -> Command {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(found, "{program} is missing: install the package {package}");
    Command::new(program)
}

fn compile(program: &str, package: &str, extension: &str, assert: &str, options: &[&str]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join(format!("header_in_step.{extension}"));
    std::fs::write(&file, assertions(assert)).expect("the source can be written");
    // glibc asks for it in a 32-bit compilation, and says with it what is not implemented: nothing here.
    let stubs = directory.path().join("gnu");
    std::fs::create_dir(&stubs).and_then(|()| std::fs::write(stubs.join("stubs-32.h"), "")).expect("written");
    let mut command = compiler(program, package);
    command.arg("-isystem").arg(directory.path());
    command.args(["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]).args(options);
    let output = command.arg("-I").arg(include_directory()).arg(&file).output().expect("the compiler runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {options:?} refuses the header:\n{said}");
}

/// Whether the machine's compilers have a 32-bit sibling that needs no other headers.
fn options_for_32_bits() -> Option<Vec<String>> {
    cfg!(target_arch = "x86_64")
        .then(|| vec!["-m32".to_owned(), "-isystem".to_owned(), machine_headers().display().to_string()])
}

#[test]
fn c_agrees() {
    compile("cc", "gcc", "c", "_Static_assert", &["-std=c11"]);
}

#[test]
fn c_of_1990_agrees() {
    // It has no static assertions, and its comments are the old ones only.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("old.c");
    std::fs::write(&file, "#include <knem_io.h>\nint x = sizeof(struct knem_cmd_info);\n").expect("written");
    let output = compiler("cc", "gcc")
        .args(["-fsyntax-only", "-std=c90", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
        .arg(include_directory())
        .arg(&file)
        .output()
        .expect("the compiler runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn cpp_agrees() {
    compile("c++", "g++", "cpp", "static_assert", &["-std=c++17"]);
}

#[test]
fn c_of_32_bits_agrees() {
    if let Some(options) = options_for_32_bits() {
        let options: Vec<&str> = options.iter().map(String::as_str).chain(["-std=c11"]).collect();
        compile("cc", "gcc", "c", "_Static_assert", &options);
    }
}

#[test]
fn cpp_of_32_bits_agrees() {
    if let Some(options) = options_for_32_bits() {
        let options: Vec<&str> = options.iter().map(String::as_str).chain(["-std=c++17"]).collect();
        compile("c++", "g++", "cpp", "static_assert", &options);
    }
}

#[test]
fn a_difference_is_noticed() {
    let result = std::panic::catch_unwind(|| {
        compile("cc", "gcc", "c", "_Static_assert", &["-std=c11", "-Dknem_flags=knem_cookie_t"]);
    });
    assert!(result.is_err());
}

#[test]
fn texts_are_equal() {
    for (name, text) in TEXTS {
        let line = format!("#define {name} \"{text}\"");
        assert!(code().contains(&line), "the header lacks {line}");
    }
}

/// Macros of the header that are not part of the interface.
const OWN_MACROS: [&str; 3] = ["KNEM_IO_H", "KNEM_IO_U32", "KNEM_IO_U64"];

#[test]
fn every_name_of_the_header_is_known() {
    let known: BTreeSet<&str> =
        CONSTANTS.iter().map(|(name, _)| *name).chain(TEXTS.iter().map(|(name, _)| *name)).chain(OWN_MACROS).collect();
    let code = code();
    for found in Regex::new(r"\bKNEM_\w+").unwrap().find_iter(&code) {
        assert!(known.contains(found.as_str()), "{} is in the header and not in uapi.rs", found.as_str());
    }
    let defined: BTreeSet<&str> = Regex::new(r"(?m)^#define\s+(\w+)")
        .unwrap()
        .captures_iter(&code)
        .map(|found| found.extract::<1>().1[0])
        .collect();
    for name in defined {
        assert!(name.starts_with("KNEM_"), "the header defines {name}, which another header may define");
    }
}

#[test]
fn every_structure_of_the_header_is_known() {
    let code = code();
    let structures = Regex::new(r"struct (\w+) \{([^}]*)\}").unwrap();
    let field = Regex::new(r"\w+\s+(\w+);").unwrap();
    let mut seen = BTreeSet::new();
    for found in structures.captures_iter(&code) {
        let (_, [name, body]) = found.extract();
        let name = format!("struct {name}");
        let layout = LAYOUTS.iter().find(|layout| layout.name == name);
        let layout = layout.unwrap_or_else(|| panic!("{name} is in the header and not in uapi.rs"));
        let fields: Vec<&str> = field.captures_iter(body).map(|found| found.extract::<1>().1[0]).collect();
        let expected: Vec<&str> = layout.fields.iter().map(|(name, _, _)| *name).collect();
        assert_eq!(fields, expected, "{name}");
        seen.insert(name);
    }
    assert_eq!(seen.len(), LAYOUTS.len(), "{seen:?}");
}
