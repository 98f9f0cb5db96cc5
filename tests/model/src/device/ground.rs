// SPDX-License-Identifier: CECILL-B
//! The setup for sequences: the node, accessible to every user of the sequences, and the ids of the process.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use knem_core::uapi::{self, CmdInfo, FLAG_ASYNCDMACOMPLETE, FLAG_DMA, FLAG_NOTIFY_FD};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::resource::{setrlimit, Resource, RLIM_INFINITY};
use nix::unistd::{getegid, geteuid, getuid, setgroups, Gid};

use crate::system::{users, Settings, User};

/// Directory of the module's parameters.
const PARAMETERS: &str = "/sys/module/knem/parameters";

/// A device that is set up for sequences, until this is dropped.
#[derive(Debug)]
pub struct Ground {
    path: PathBuf,
    settings: Settings,
    max_segments: u32,
    /// The node's mode, to be restored.
    mode: Option<u32>,
    alone: bool,
}

impl Ground {
    /// Sets up the device: root may become every user, other users are only themselves.
    ///
    /// # Errors
    /// The reason why the device cannot be tested.
    pub fn new(path: &Path) -> io::Result<Self> {
        let info = info(path)?;
        if info.forced_flags & (FLAG_DMA | FLAG_ASYNCDMACOMPLETE | FLAG_NOTIFY_FD) != 0 || info.features != 0 {
            return Err(io::Error::other("the model knows neither DMA engines nor forced notification"));
        }
        let root = geteuid().is_root() && getuid().is_root();
        let mut mode = None;
        let users = if root {
            setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)?;
            let node = fs::metadata(path)?;
            // The users of the sequences have the group of the node, and the process's own.
            setgroups(&[Gid::from_raw(node.gid()), getegid()])?;
            if node.mode() & 0o060 != 0o060 {
                fs::set_permissions(path, fs::Permissions::from_mode(node.mode() | 0o060))?;
                mode = Some(node.mode());
            }
            users()
        } else {
            vec![User { real: getuid().as_raw(), effective: geteuid().as_raw() }]
        };
        let defaults = Settings::default();
        let settings = Settings {
            forced: info.forced_flags,
            ignored: info.ignored_flags,
            pin_reads: parameter("pinlocalread") != Some(0),
            max_slots: parameter("max_slots").unwrap_or(defaults.max_slots),
            page: nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.map_or(defaults.page, |page| page as u64),
            users,
        };
        let max_segments = parameter("max_segments").and_then(|most| u32::try_from(most).ok()).unwrap_or(1 << 20);
        Ok(Self { path: path.to_owned(), settings, max_segments, mode, alone: true })
    }

    /// The same beside other processes that use the device.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.alone = false;
        self
    }

    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the settings that behaviour depends on.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn max_segments(&self) -> u32 {
        self.max_segments
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(mode) = self.mode {
            // If this fails, the node stays accessible to its group, in a machine for tests.
            let _ = fs::set_permissions(&self.path, fs::Permissions::from_mode(mode));
        }
    }
}

fn parameter(name: &str) -> Option<u64> {
    fs::read_to_string(Path::new(PARAMETERS).join(name)).ok()?.trim().parse().ok()
}

fn info(path: &Path) -> io::Result<CmdInfo> {
    let file = super::open_at(path, OFlag::O_RDWR)?;
    let mut info = CmdInfo::default();
    // SAFETY: The structure is the one that the command fills.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), uapi::CMD_GET_INFO.into(), &raw mut info) })?;
    Ok(info)
}

/// Calls a function as another user, in this thread: the driver checks the ids of a task.
pub(super) fn being<R>(settings: &Settings, user: usize, work: impl FnOnce() -> R) -> R {
    let (home, away) = (settings.users[0], settings.users[user]);
    if home == away {
        return work();
    }
    /// Restores the ids even after a panic.
    struct Away(User);
    impl Drop for Away {
        fn drop(&mut self) {
            become_user(self.0);
        }
    }
    become_user(away);
    let _away = Away(home);
    work()
}

/// Issues the system call directly, since the library's function would change all threads.
fn become_user(User { real, effective }: User) {
    // SAFETY: The call has only numbers as arguments. The saved id remains root's, so that the ids can be restored.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, real, effective, 0) };
    Errno::result(result).expect("setresuid");
}
