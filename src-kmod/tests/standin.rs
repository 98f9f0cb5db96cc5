// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Compiles the driver on the stand-in for the `kernel` crate: it must compile without a warning, and the stand-in must
//! have nothing that the driver does not use.

use std::env;
use std::path::Path;
use std::process::Command;

fn compile(out: &Path, arguments: &[&str]) {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // For the unstable features that the kernel uses.
        .env("RUSTC_BOOTSTRAP", "1")
        .arg("--out-dir")
        .arg(out)
        .args(["--edition", "2021"])
        .args(arguments)
        .output()
        .expect("rustc runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_stand_in_has_what_the_driver_uses_and_no_more() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"));
    compile(out, &["--crate-name", "macros", "--crate-type", "proc-macro", "kernel/macros/lib.rs"]);
    let macros = format!(
        "macros={}",
        out.join(format!("{}macros{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX)).display()
    );
    let common = ["--emit", "metadata", "--crate-type", "rlib", "-Cpanic=abort", "-Dwarnings", "--extern", &macros];

    // As the crate that glue uses, whose public items must be documented.
    let mut library = common.to_vec();
    library.extend(["--crate-name", "kernel", "-Dmissing_docs", "-Dunsafe_op_in_unsafe_fn", "kernel/lib.rs"]);
    compile(out, &library);

    // As one crate with the driver, in which public items count as unused if nothing uses them.
    let mut unused = common.to_vec();
    unused.extend(["--crate-name", "unused", "-Zcrate-attr=feature(arbitrary_self_types)", "kernel/unused.rs"]);
    compile(out, &unused);
}
