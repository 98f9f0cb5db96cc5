// SPDX-License-Identifier: CECILL-B
//! Firmware with Secure Boot enabled, and the boot chain of a sold machine with Debian.
//!
//! OVMF with Microsoft's certificates starts Debian's shim, which starts Debian's GRUB, which starts Debian's kernel:
//! each verifies the signature of the next, and all are files of the archive. An administrator's own certificate is
//! added where enrolling stores it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::image::Image;
use super::qemu::KERNEL_ARGUMENTS;
use crate::namespace::directory;
use crate::run;
use crate::userland::Userlands;

/// What has the firmware and the boot loaders, and writes the firmware's variables and a FAT file system without
/// mounting it.
const TOOLS: &[&str] = &["grub-efi-amd64-signed", "mtools", "openssl", "ovmf", "python3-virt-firmware", "shim-signed"];

/// The firmware that keeps its variables to itself.
const CODE: &str = "usr/share/OVMF/OVMF_CODE_4M.secboot.fd";

/// Its variables with Microsoft's certificates in them, and Secure Boot on.
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";

/// Where we work in the tree.
const PLACE: &str = "root/firmware";

/// Owner of the certificates in the variables: any GUID.
const OWNER: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";

/// What the machine trusts beyond Microsoft's and Debian's certificates.
#[derive(Debug, Clone, Copy)]
pub enum Trusted<'a> {
    /// A certificate in shim's list: what `mokutil --import` and a confirmation at the next boot come to.
    Enrolled(&'a Path),
    /// A certificate in the firmware's own list, `db`: what a site does in its machines' set-up.
    InFirmware(&'a Path),
}

/// Firmware for a machine.
#[derive(Debug, Clone)]
pub struct Firmware {
    /// Its code.
    pub code: PathBuf,
    /// The variables it begins with.
    pub variables: PathBuf,
    /// The disk it boots: shim, GRUB, the kernel and the initramfs.
    pub disk: PathBuf,
}

impl Firmware {
    /// Firmware with Secure Boot on that boots `image`, whose kernel has to be signed by Debian; in the directory
    /// `place`.
    ///
    /// # Errors
    /// When the tools cannot be installed, or a certificate is none.
    pub fn secure(userlands: &Userlands<'_>, image: &Image, trusted: &[Trusted<'_>], place: &Path) -> Result<Self> {
        directory(place)?;
        let made = Self { code: place.join("code"), variables: place.join("variables"), disk: place.join("boot-disk") };
        let stack = userlands.with_debian("firmware", "firmware and boot loaders for Secure Boot", TOOLS)?;
        userlands.in_passing(&stack, |tree, chroot| {
            let inside = tree.join(PLACE);
            directory(&inside)?;
            for (from, name) in [(&image.vmlinuz, "vmlinuz"), (&image.initramfs, "initramfs")] {
                fs::copy(from, inside.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
            }
            fs::write(inside.join("grub.cfg"), grub_configuration())?;
            let mut lists = String::new();
            for (number, trusted) in trusted.iter().enumerate() {
                let (list, certificate) = match trusted {
                    Trusted::Enrolled(certificate) => ("--add-mok", certificate),
                    Trusted::InFirmware(certificate) => ("--add-db", certificate),
                };
                let name = format!("certificate.{number}");
                fs::copy(certificate, inside.join(&name))
                    .with_context(|| format!("cannot copy {}", certificate.display()))?;
                lists.push_str(&format!(" {list} {OWNER} {name}.pem"));
            }
            run::quiet(chroot.command("sh").args(["-euc", &script(&lists)]))?;
            for (from, to) in [
                (tree.join(CODE), &made.code),
                (inside.join("variables"), &made.variables),
                (inside.join("disk"), &made.disk),
            ] {
                fs::copy(&from, to).with_context(|| format!("cannot copy {}", from.display()))?;
            }
            Ok(())
        })?;
        Ok(made)
    }
}

/// What GRUB is to do. Where the signature is not right it says so on the console and switches the machine off.
fn grub_configuration() -> String {
    format!(
        "serial --unit=0 --speed=115200\n\
         terminal_output serial\n\
         if linux /vmlinuz {KERNEL_ARGUMENTS}; then\n\
         initrd /initramfs\n\
         boot\n\
         fi\n\
         halt\n"
    )
}

/// Writes the variables, and the disk with the files where shim and GRUB look for them.
fn script(lists: &str) -> String {
    format!(
        "cd /{PLACE}
        for certificate in certificate.*; do
            [ ! -e \"$certificate\" ] || openssl x509 -in \"$certificate\" -out \"$certificate.pem\"
        done
        virt-fw-vars --input {VARIABLES} --output variables --secure-boot{lists}
        room=$(du -cm vmlinuz initramfs | tail -n 1 | cut -f 1)
        truncate -s $((room + 48))M disk
        mformat -i disk -F ::
        mmd -i disk ::/EFI ::/EFI/BOOT ::/EFI/debian
        mcopy -i disk /usr/lib/shim/shimx64.efi.signed ::/EFI/BOOT/BOOTX64.EFI
        mcopy -i disk /usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed ::/EFI/BOOT/grubx64.efi
        mcopy -i disk grub.cfg ::/EFI/debian/
        mcopy -i disk vmlinuz initramfs ::/"
    )
}
