// SPDX-License-Identifier: CECILL-B
//! The tree: compilers for arm64, and the headers and images of arm64 kernels.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use knem_lab::chroot::Chroot;
use knem_lab::lab::Lab;
use knem_lab::run;
use knem_lab::userland::Stack;

/// Part of the cache keys. Raise it when the build of a layer changes in a way that its inputs do not show.
const RECIPE: &str = "1";

/// Flavours of Debian's kernels, after the ends of their names here: pages of 4 KiB and of 16 KiB.
pub(super) const FLAVOURS: [(&str, &str); 2] = [("", "arm64"), ("-16k", "arm64-16k")];

/// What compiles for arm64.
const COMPILERS: &[&str] = &["cargo", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "rustc"];

/// What is of arm64's own archive: Rust's library, and the guest's commands.
const FOREIGN: &[&str] = &["libstd-rust-dev:arm64", "busybox-static:arm64"];

/// Where files are that run on arm64.
const PLACE: &str = "opt/arm64";

/// Unpacks packages that apt-get has left in the tree's root. Of a kernel's image only the image is kept.
const UNPACK: &str = r#"
cd "/$1"
for deb in /*.deb; do
    case $deb in
    */linux-headers-*) dpkg -x "$deb" / ;;
    */libstd-rust-dev*) dpkg -x "$deb" / ;;
    */linux-image-*) dpkg --fsys-tarfile "$deb" | tar -x ./boot ;;
    *) dpkg -x "$deb" . ;;
    esac
    rm "$deb"
done
for image in boot/vmlinuz-*; do [ ! -f "$image" ] || mv "$image" .; done
for image in usr/lib/modules/*/vmlinuz.unsigned; do
    release=${image%/*}
    [ ! -f "$image" ] || mv "$image" "vmlinuz-${release##*/}"
done
rm -rf boot usr/lib usr/share
"#;

/// A tree, and the kernel that is built for in it.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) stack: Stack,
    /// As `uname -r` says it.
    pub(super) release: String,
}

impl Tree {
    /// The newest kernel of a series, as in `6.12-16k`. arm64's have the versions of amd64's, and are in the same
    /// suite.
    pub(super) fn of(lab: &Lab, name: &str) -> Result<Self> {
        let (series, end) = name.split_at(name.find('-').unwrap_or(name.len()));
        let flavour = FLAVOURS.iter().find(|flavour| flavour.0 == end);
        let (_, flavour) = flavour.with_context(|| format!("{name}: Debian's arm64 has no such kernel"))?;
        let userlands = lab.userlands();
        let key = [&[RECIPE, UNPACK], COMPILERS, FOREIGN].concat();
        let compilers =
            userlands.filled(&userlands.base()?, "arm64-compiler", "compilers for arm64", &key, |_, chroot| {
                let install = ["install", "-y", "-q", "--no-install-recommends"];
                run::quiet(&mut chroot.apt_get(&[install.as_slice(), COMPILERS].concat()))?;
                offer_arm64(chroot)?;
                run::quiet(&mut chroot.apt_get(&[&["download", "-q"], FOREIGN].concat()))?;
                unpack(chroot)
            })?;

        let kernel = lab.kernel(Some(series))?;
        let version = &kernel.version;
        let abi = kernel.release.strip_suffix("-amd64").context("the release names its architecture")?;
        let key = [RECIPE, UNPACK, abi, version];
        let what = format!("kernel {abi} of arm64");
        let stack = userlands.filled(&compilers, "arm64-kernel", &what, &key, |_, chroot| {
            // Programs that build modules run here, and are those of amd64.
            let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
            install.extend(kernel.backports().into_iter().flat_map(|suite| ["-t", suite]));
            let packages = [format!("linux-kbuild-{abi}={version}"), format!("linux-headers-{abi}-common={version}")];
            install.extend(packages.iter().map(String::as_str));
            run::quiet(&mut chroot.apt_get(&install))?;
            offer_arm64(chroot)?;
            for (_, flavour) in FLAVOURS {
                let headers = format!("linux-headers-{abi}-{flavour}:arm64={version}");
                run::quiet(&mut chroot.apt_get(&["download", "-q", &headers]))?;
                // Not the signed one, which reaches the archive later. Its name changed with Linux 7.1.
                let image = |name: &str| format!("{name}:arm64={version}");
                let (new, old) = (
                    image(&format!("linux-binary-unsigned-{abi}-{flavour}")),
                    image(&format!("linux-image-{abi}-{flavour}-unsigned")),
                );
                if run::quiet(&mut chroot.apt_get(&["download", "-q", &new])).is_err() {
                    run::quiet(&mut chroot.apt_get(&["download", "-q", &old]))?;
                }
            }
            unpack(chroot)
        })?;
        Ok(Self { stack, release: format!("{abi}-{flavour}") })
    }

    /// A file that runs on arm64, wherever the layers have it.
    pub(super) fn file(&self, name: &str) -> Result<PathBuf> {
        let places = self.stack.layers.iter().map(|layer| layer.join(PLACE).join(name));
        places.into_iter().find(|path| path.is_file()).with_context(|| format!("the tree has no {PLACE}/{name}"))
    }
}

/// Makes the packages of arm64 known to the tree's apt.
fn offer_arm64(chroot: &Chroot) -> Result<()> {
    run::quiet(chroot.command("dpkg").args(["--add-architecture", "arm64"]))?;
    run::quiet(&mut chroot.apt_get(&["update", "-q"]))
}

fn unpack(chroot: &Chroot) -> Result<()> {
    let place = Path::new("/").join(PLACE);
    run::quiet(chroot.command("mkdir").arg("-p").arg(&place))?;
    run::quiet(chroot.command("sh").args(["-euc", UNPACK, "sh", PLACE]))
}
