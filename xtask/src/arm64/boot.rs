// SPDX-License-Identifier: CECILL-B
//! The arm64 machine: Debian's kernel in qemu, with an initramfs that runs the test programs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};

use super::programs;
use super::tree::Tree;
use knem_lab::cache::elapsed;
use knem_lab::lab::Lab;
use knem_lab::vm::console;
use knem_lab::vm::initramfs::Archive;
use knem_lab::vm::machine::{Running, COMMON};
use knem_lab::{host, run};

const INIT: &str = include_str!("init.sh");

/// How the guest's own lines begin.
const MARK: &str = "knem-arm64: ";

/// Time for everything: the emulator is slow.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// Boots the kernel with the module and prints the counts of each program.
///
/// # Errors
/// When a test failed, or the kernel or the driver has problems.
pub(super) fn run(lab: &Lab, tree: &Tree, module: &Path) -> Result<()> {
    host::need(&["qemu-system-aarch64"])?;
    let directory = module.parent().context("a file is in a directory")?;
    let (initramfs, log) = (directory.join("initramfs"), directory.join("console.log"));
    write(&initramfs, lab, tree, module)?;
    run::step(&format!("booting kernel {} (software emulation)", tree.release));
    let start = Instant::now();
    // setpriv: if this process dies, the kernel kills qemu.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "qemu-system-aarch64", "-nodefaults", "-no-user-config", "-no-reboot"]);
    // Pointer authentication as Arm defines it takes the emulator half of its time.
    command.args(["-display", "none", "-machine", "virt", "-accel", "tcg", "-cpu", "max,pauth-impdef=on"]);
    command.args(["-smp", "2", "-m", "2048"]);
    command.arg("-serial").arg(format!("file:{}", log.display()));
    command.arg("-kernel").arg(tree.file(&format!("vmlinuz-{}", tree.release))?).arg("-initrd").arg(&initramfs);
    command.args(["-append", "console=ttyAMA0 panic=-1 oops=panic loglevel=5 log_buf_len=4M"]);
    let mut machine = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start qemu")?);
    while machine.0.try_wait()?.is_none() && start.elapsed() < TIMEOUT {
        thread::sleep(Duration::from_millis(200));
    }
    drop(machine);
    run::step(&format!("machine off after {}", elapsed(start.elapsed())));
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).replace('\r', "");
    let report = Report::read(&said);
    for line in &report.shown {
        println!("  kernel {}: {line}", tree.release);
    }
    let mut problems = console::problems(&said);
    problems.extend(report.problems);
    if !report.complete {
        problems.push(format!("the machine did not come to its end:\n{}", console::tail(&said, 40)));
    }
    if !problems.is_empty() {
        bail!("kernel {} (full log: {}):\n{}", tree.release, log.display(), problems.join("\n---\n"));
    }
    Ok(())
}

/// Writes the initramfs.
fn write(file: &Path, lab: &Lab, tree: &Tree, module: &Path) -> Result<()> {
    let mut archive = Archive::new(file)?;
    for directory in ["bin", "dev", "tests"] {
        archive.add(directory, 0o040_755, &[])?;
    }
    archive.add("bin/busybox", 0o100_755, &fs::read(tree.file("usr/bin/busybox")?)?)?;
    archive.add("init", 0o100_755, INIT.as_bytes())?;
    archive.add("common", 0o100_644, COMMON.as_bytes())?;
    archive.add("knem.ko", 0o100_644, &fs::read(module)?)?;
    for (number, program) in programs::build(lab, tree)?.iter().enumerate() {
        let name = program.file_name().context("a program has a name")?.to_string_lossy();
        archive.add(&format!("tests/{number}"), 0o040_755, &[])?;
        archive.add(&format!("tests/{number}/{name}"), 0o100_755, &fs::read(program)?)?;
    }
    archive.finish()
}

/// What the guest wrote on the console.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    /// Counts of each program, and its tests that failed or were skipped.
    shown: Vec<String>,
    problems: Vec<String>,
    complete: bool,
}

impl Report {
    fn read(console: &str) -> Self {
        let mut report = Self::default();
        let mut program = "";
        for line in console.lines() {
            let (word, rest) =
                line.strip_prefix(MARK).map_or(("", line), |said| said.split_once(' ').unwrap_or((said, "")));
            match word {
                "begin" => program = rest,
                "status" if rest != "0" => report.problems.push(format!("{program} ended with status {rest}")),
                "finding" => report.problems.push(rest.to_owned()),
                "end" => report.complete = true,
                "" if line.starts_with("not ok ") || line.contains(" # SKIP ") || line.starts_with("# ") => {
                    report.shown.push(format!("{program}: {line}"));
                }
                _ => {}
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_is_read() {
        let report = Report::read(
            "[ 1.0] x\nknem-arm64: begin t\nok 1 - a\nok 2 - b # SKIP c\nnot ok 3 - d\n# 1 passed, 1 failed, 1 skipped\n\
             knem-arm64: status 1\nknem-arm64: finding e\nknem-arm64: log\nknem-arm64: end\n",
        );
        assert_eq!(report.shown, ["t: ok 2 - b # SKIP c", "t: not ok 3 - d", "t: # 1 passed, 1 failed, 1 skipped"]);
        assert_eq!(report.problems, ["t ended with status 1", "e"]);
        assert!(report.complete && !Report::read("knem-arm64: log\n").complete);
    }
}
