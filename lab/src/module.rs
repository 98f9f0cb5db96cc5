// SPDX-License-Identifier: CECILL-B
//! The module as built by DKMS: checks that its Rust code cannot panic.

use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use object::{Object, ObjectSection, ObjectSymbol};

use crate::run;
use crate::vm::initramfs::decompressed;

/// The module that DKMS has built in a tree, compressed if the kernel's own modules are.
pub fn find(tree: &Path, release: &str) -> Option<PathBuf> {
    let directory = tree.join("usr/lib/modules").join(release).join("updates/dkms");
    ["knem.ko", "knem.ko.xz", "knem.ko.zst"].iter().map(|name| directory.join(name)).find(|path| path.is_file())
}

/// Returns the first value of a field of the module's `.modinfo`.
pub fn information(path: &Path, name: &str) -> Result<Option<String>> {
    let (_, content) = decompressed(path)?;
    let file = object::File::parse(content.as_slice()).context("the module is no object file")?;
    let section = file.section_by_name(".modinfo").context("the module has no .modinfo")?;
    let text = String::from_utf8_lossy(section.data()?).into_owned();
    Ok(text.split('\0').find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned))
}

/// Returns the symbols that the module at `path` imports.
pub fn undefined_symbols(path: &Path) -> Result<Vec<String>> {
    let (_, content) = decompressed(path)?;
    let file = object::File::parse(content.as_slice()).context("the module is no object file")?;
    file.symbols()
        .filter(|symbol| symbol.is_undefined())
        .map(|symbol| Ok(symbol.name()?.to_owned()))
        .filter(|name| !matches!(name.as_deref(), Ok("")))
        .collect()
}

/// Fails if a symbol of Rust's panics is among them. A panic stops the machine, so none may be reachable. The compiler
/// removes panics that it can prove unreachable, and the driver is written so that it can.
pub fn demand_no_panic(symbols: &[String]) -> Result<()> {
    if symbols.is_empty() {
        bail!("the module takes nothing from the kernel: that cannot be");
    }
    let panics: Vec<&str> = symbols.iter().map(String::as_str).filter(|name| is_panic(name)).collect();
    if !panics.is_empty() {
        bail!("the module can panic; find out where with objdump -dr: {}", panics.join(", "));
    }
    run::step(&format!("the module takes {} names from the kernel, and no panic is among them", symbols.len()));
    Ok(())
}

/// Rust's mangled names keep the words of the paths: core::panicking, option::unwrap_failed, slice::index::..._fail.
pub fn is_panic(name: &str) -> bool {
    name == "rust_begin_unwind"
        || (name.starts_with("_R")
            && ["panic", "unwrap", "expect_failed", "_fail"].iter().any(|word| name.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(names: &[&str]) -> Result<()> {
        demand_no_panic(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn panics_are_found() {
        for name in [
            "_RNvNtNtNtCs2lKf6AS60Zg_4core9panicking11panic_const24panic_const_add_overflow",
            "_RNvNtCs2lKf6AS60Zg_4core9panicking18panic_bounds_check",
            "_RNvNtCs2lKf6AS60Zg_4core6option13unwrap_failed",
            "_RNvNtNtCs2lKf6AS60Zg_4core5slice5index26slice_start_index_len_fail",
            "rust_begin_unwind",
        ] {
            assert!(verdict(&["memmove", name]).is_err(), "{name}");
        }
    }

    #[test]
    fn other_names_are_fine() {
        assert!(verdict(&[
            "__stack_chk_fail",
            "_RNvNtCs2lKf6AS60Zg_4core3fmt5write",
            "_RNvMs1_NtCsb5MLIFMWygY_6kernel7uaccessNtB5_15UserSliceWriter16write_slice_file",
        ])
        .is_ok());
        assert!(verdict(&[]).is_err());
    }
}
