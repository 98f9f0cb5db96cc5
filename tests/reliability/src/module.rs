// SPDX-License-Identifier: CECILL-B
//! Loading and unloading the module with the system calls themselves, which is many times faster than modprobe.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;

/// The module's file, as this kernel has it, and the flags to load it with.
pub(crate) struct Module(File, u32);

/// `MODULE_INIT_COMPRESSED_FILE` of <linux/module.h>: the kernel decompresses it.
const COMPRESSED: u32 = 4;
/// Where depmod would look, below the kernel's directory.
const PLACES: [(&str, u32); 4] =
    [("knem.ko", 0), ("dkms/knem.ko", 0), ("dkms/knem.ko.xz", COMPRESSED), ("dkms/knem.ko.zst", COMPRESSED)];

impl Module {
    /// Looks for it.
    pub(crate) fn find() -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
        let directory = format!("/lib/modules/{}/updates", release.trim());
        let open = |(name, flags): &(&str, u32)| Some(Self(File::open(format!("{directory}/{name}")).ok()?, *flags));
        PLACES.iter().find_map(open).unwrap_or_else(|| panic!("there is no knem.ko below {directory}"))
    }

    /// Loads it.
    pub(crate) fn load(&self) -> Result<(), Errno> {
        // SAFETY: The descriptor is open and the string is static; the call only reads both.
        let result = unsafe { libc::syscall(libc::SYS_finit_module, self.0.as_raw_fd(), c"".as_ptr(), self.1) };
        Errno::result(result).map(drop)
    }

    /// Unloads it, unless it is used.
    pub(crate) fn unload() -> Result<(), Errno> {
        // SAFETY: The name is a static NUL-terminated string, which the call only reads.
        let result = unsafe { libc::syscall(libc::SYS_delete_module, c"knem".as_ptr(), libc::O_NONBLOCK) };
        Errno::result(result).map(drop)
    }
}
