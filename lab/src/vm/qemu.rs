// SPDX-License-Identifier: CECILL-B
//! The qemu process: its arguments, its accelerator, and its end with this process.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::firmware::Firmware;
use super::image::Image;
use crate::cache::Cache;
use crate::host;
use crate::run;

/// Time limit for a kernel under KVM to report that it runs: it needs two seconds if KVM works.
const PROBE: Duration = Duration::from_secs(20);

/// What executes the machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// KVM.
    Kvm,
    /// Emulation (TCG).
    Emulation,
    /// Emulation with one CPU whose time stamp counter counts executed instructions.
    Counting,
}

impl Accelerator {
    /// Returns the fastest that works here. KVM is tried by booting: the existence of its device does not suffice.
    pub fn best(image: &Image, cache: &Cache) -> Result<Self> {
        if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Self::Emulation);
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let version = run::output(host::command("qemu-system-x86_64").arg("--version"))?;
        let key = [boot.trim(), version.trim(), image.release.as_str()];
        let entry = cache.entry("kvm", &format!("trying kernel {} under KVM", image.release), &key, |entry| {
            let works = probe(image, &entry.join("console"))?;
            Ok(fs::write(entry.join("works"), if works { "yes" } else { "no" })?)
        })?;
        if fs::read_to_string(entry.join("works"))? == "yes" {
            Ok(Self::Kvm)
        } else {
            Ok(Self::Emulation)
        }
    }

    /// The arguments that choose it.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            // One thread: with several the kernel patching its own text races with the emulator, and it is no slower.
            // Without the fast string instructions the guest copies by words, which emulate eight times faster.
            Self::Emulation => &["-accel", "tcg,thread=single", "-cpu", "max,-fsrm,-erms"],
            Self::Counting => {
                &["-accel", "tcg,thread=single", "-cpu", "max,-fsrm,-erms", "-icount", "shift=0,sleep=off"]
            }
        }
    }

    /// For progress lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Emulation => "software emulation",
            Self::Counting => "software emulation that counts instructions",
        }
    }
}

/// Kernel command line. A panic ends qemu. Log level 5 shows warnings. KVM is blacklisted, since udev would load it for
/// two seconds in vain (hiding it from the CPU's features instead breaks programs with some versions of qemu). Before
/// Linux 6.5 secret memory must be enabled. On a busy host the emulated timer is late, and a kernel that checks it at
/// boot stops with "IO-APIC + timer doesn't work".
pub(crate) const KERNEL_ARGUMENTS: &str =
    "console=ttyS0 panic=-1 oops=panic loglevel=5 log_buf_len=4M module_blacklist=kvm_amd,kvm_intel secretmem.enable=1 no_timer_check";

/// A qemu command for the image's kernel, with nothing but a console that goes to a file.
pub fn command(accelerator: Accelerator, image: &Image, console: &Path, kernel_arguments: &str) -> Command {
    let mut command = plain(accelerator, "", console);
    command.arg("-kernel").arg(&image.vmlinuz);
    command.arg("-initrd").arg(&image.initramfs);
    command.args(["-append", &format!("{KERNEL_ARGUMENTS} {kernel_arguments}")]);
    command
}

/// The same for a machine whose firmware decides what it boots, from a disk of its own. What the firmware writes goes
/// to `variables`.
pub fn command_with_firmware(
    accelerator: Accelerator,
    firmware: &Firmware,
    console: &Path,
    variables: &Path,
) -> Command {
    // Only code in system management mode may write the variables that say what is trusted.
    let mut command = plain(accelerator, ",smm=on", console);
    command.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
    for (unit, file, access) in [(0, firmware.code.as_path(), "on"), (1, variables, "off")] {
        let file = escaped(file);
        command.arg("-drive").arg(format!("if=pflash,format=raw,unit={unit},readonly={access},file={file}"));
    }
    // Not a virtio disk: those are known by their order. Nothing in the booted machine looks at it.
    let file = escaped(&firmware.disk);
    command.arg("-drive").arg(format!("if=none,id=boot,format=raw,snapshot=on,file={file}"));
    command.args(["-device", "nvme,drive=boot,serial=boot,bootindex=0"]);
    command
}

/// What both have in common.
fn plain(accelerator: Accelerator, machine: &str, console: &Path) -> Command {
    // setpriv: if this process dies, the kernel kills qemu.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    // No unneeded hardware: udev would load a driver for each device.
    command.arg("-machine").arg(format!("q35,sata=off,smbus=off,i8042=off,vmport=off{machine}"));
    command.args(accelerator.arguments());
    command.arg("-chardev");
    command.arg(format!("file,id=console,path={}", escaped(console)));
    command.args(["-serial", "chardev:console"]);
    command.stdin(Stdio::null());
    command
}

/// A path inside a qemu option: a comma is doubled.
pub fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// Boots the kernel under KVM as far as its first program.
fn probe(image: &Image, console: &Path) -> Result<bool> {
    let mut child = command(Accelerator::Kvm, image, console, "knem_vm.probe quiet")
        .args(["-m", "512"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start qemu")?;
    let end = Instant::now() + PROBE;
    let mut works = false;
    while Instant::now() < end {
        let text = fs::read(console).unwrap_or_default();
        works = String::from_utf8_lossy(&text).contains("knem-vm: the kernel runs");
        if works || child.try_wait()?.is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    // It may have ended by itself.
    let _ = child.kill();
    child.wait()?;
    Ok(works)
}
