// SPDX-License-Identifier: CECILL-B
//! Reasons why the device node cannot be opened, and their remedies.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use knem_core::uapi::DEVICE_FILENAME;
use nix::errno::Errno;
use nix::unistd::{getegid, geteuid, getgroups, Gid, Group, Uid, User};

use crate::Error;

/// Reason why a process cannot use the device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// The module is not loaded.
    NoModule,
    /// The module is loaded, but the node does not exist.
    NoNode,
    /// The module is loaded, but the node has another device number.
    StaleNode,
    /// The path is not a device, such as the directory that a container runtime creates for a volume whose source is
    /// missing.
    NotADevice {
        /// Kind of the file.
        kind: Kind,
        /// Its path.
        path: PathBuf,
    },
    /// The node belongs to a group that the user is not in.
    NotInGroup {
        /// Permission bits of the node.
        mode: u32,
        /// The node's group.
        group: String,
        /// The calling user.
        user: String,
    },
    /// The user is in the node's group, but this process was started before the membership was added.
    StaleGroups {
        /// The node's group.
        group: String,
    },
    /// The node is open to its owner only.
    OwnerOnly {
        /// Permission bits of the node.
        mode: u32,
        /// The node's owner.
        owner: String,
        /// The node's group.
        group: String,
    },
    /// The permission bits allow it, but a security policy does not.
    Policy {
        /// Error of `open`.
        errno: Errno,
    },
}

/// Kind of a file that is not a character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file with contents.
    File,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block device.
    BlockDevice,
}

impl Kind {
    /// Returns the kind of the file at `path`; `None` if it is a character device or does not exist.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let kind = std::fs::metadata(path).ok()?.file_type();
        if kind.is_dir() {
            Some(Self::Directory)
        } else if kind.is_fifo() {
            Some(Self::Fifo)
        } else if kind.is_socket() {
            Some(Self::Socket)
        } else if kind.is_block_device() {
            Some(Self::BlockDevice)
        } else if kind.is_char_device() {
            None
        } else {
            Some(Self::File)
        }
    }

    /// Returns the command that removes it.
    fn removal(self) -> &'static str {
        match self {
            Self::Directory => "rmdir",
            _ => "rm",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "a directory",
            Self::File => "an ordinary file",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::BlockDevice => "a block device",
        })
    }
}

impl Obstacle {
    /// Returns the commands that replace another file with the device; `None` for any other obstacle.
    #[must_use]
    pub fn removal(&self) -> Option<String> {
        let Self::NotADevice { kind, path } = self else { return None };
        Some(format!("{} {}; modprobe -r knem; modprobe knem", kind.removal(), path.display()))
    }
}

/// Fails if `path` exists and is not a character device: opening a pipe would block. With `text`, an ordinary file is
/// accepted as well: a copy of the statistics.
///
/// # Errors
/// [`Error::NoDevice`].
pub(crate) fn demand_device(path: &Path, text: bool) -> Result<(), Error> {
    match Kind::of(path) {
        None => Ok(()),
        Some(Kind::File) if text => Ok(()),
        Some(kind) => {
            let path = path.to_owned();
            Err(Error::NoDevice { path: path.clone(), obstacle: Obstacle::NotADevice { kind, path } })
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADevice { kind, .. } => write!(
                f,
                "it is {kind}, not a device: use --device with the path of the node; start a container with --device {DEVICE_FILENAME} \
                 instead of a volume; on the host, as root: `{}`",
                self.removal().unwrap_or_default()
            ),
            Self::NoModule => f.write_str(
                "the module knem is not loaded: run `modprobe knem`; if there is no such module, install the package knem2-dkms",
            ),
            Self::NoNode => f.write_str(
                "the module knem is loaded, but its node is missing: reload it, which creates the node (modprobe -r knem; modprobe knem); \
                 start a container with the device (docker run --device /dev/knem)",
            ),
            Self::StaleNode => f.write_str(
                "the module knem is loaded, but this node is stale, from before it was loaded: remove it, and reload the module \
                 (modprobe -r knem; modprobe knem), or start the container again",
            ),
            Self::NotInGroup { mode, group, user } => write!(
                f,
                "permission denied: its mode is {mode:04o} for group {group}, and user {user} is not in that group: \
                 `sudo usermod -aG {group} {user}`, then log in again"
            ),
            Self::StaleGroups { group } => write!(
                f,
                "permission denied: this session is older than the membership of group {group}: log in again, or use `newgrp {group}`"
            ),
            Self::OwnerOnly { mode, owner, group } => write!(
                f,
                "permission denied: its mode is {mode:04o} {owner}:{group}, so group {group} has no access: install the package \
                 knem-tools (its udev rule sets group rdma) and run `udevadm trigger --settle --action=add --name-match=knem`"
            ),
            Self::Policy { errno } => write!(
                f,
                "{}: the node's mode allows it, so check the security policy (SELinux, AppArmor, the container's device rules)",
                errno.desc()
            ),
        }
    }
}

/// Permissions of a node, and groups of the calling process and user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Permission bits.
    pub mode: u32,
    /// Name of the owner, or its number.
    pub owner: String,
    /// Name of the group, or its number.
    pub group: String,
    /// Name of the calling user, or its number.
    pub user: String,
    /// The process has the node's group.
    pub process_in_group: bool,
    /// The user database lists the user as a member of the node's group.
    pub user_in_group: bool,
}

impl NodeFacts {
    /// Reads them for a node and the calling process.
    ///
    /// # Errors
    ///
    /// The errno of stat(2): ENOENT, EACCES.
    pub fn gather(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let group_id = Gid::from_raw(metadata.gid());
        let group = Group::from_gid(group_id).ok().flatten();
        let user = User::from_uid(geteuid()).ok().flatten();
        let listed = match (&group, &user) {
            (Some(group), Some(user)) => group.mem.contains(&user.name) || user.gid == group_id,
            _ => false,
        };
        let owner_id = Uid::from_raw(metadata.uid());
        let owner = User::from_uid(owner_id).ok().flatten();
        Ok(Self {
            mode: metadata.mode() & 0o7777,
            owner: owner.map_or_else(|| owner_id.to_string(), |user| user.name),
            group: group.map_or_else(|| group_id.to_string(), |group| group.name),
            user: user.map_or_else(|| geteuid().to_string(), |user| user.name),
            process_in_group: getegid() == group_id || getgroups().is_ok_and(|groups| groups.contains(&group_id)),
            user_in_group: listed,
        })
    }

    /// Returns the reason why opening the node failed with `errno`.
    pub fn obstacle(self, errno: Errno) -> Obstacle {
        const GROUP_MAY_READ_AND_WRITE: u32 = 0o060;
        const ALL_MAY_READ_AND_WRITE: u32 = 0o006;
        let group_may = self.mode & GROUP_MAY_READ_AND_WRITE == GROUP_MAY_READ_AND_WRITE;
        let all_may = self.mode & ALL_MAY_READ_AND_WRITE == ALL_MAY_READ_AND_WRITE;
        if all_may || (group_may && self.process_in_group) {
            Obstacle::Policy { errno }
        } else if !group_may || self.group == "root" {
            Obstacle::OwnerOnly { mode: self.mode, owner: self.owner, group: self.group }
        } else if self.user_in_group {
            Obstacle::StaleGroups { group: self.group }
        } else {
            Obstacle::NotInGroup { mode: self.mode, group: self.group, user: self.user }
        }
    }
}

/// Converts the error of opening `path`.
pub(crate) fn explain(path: &Path, error: io::Error) -> Error {
    let path_buf = path.to_owned();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno @ (Errno::ENOENT | Errno::ENXIO | Errno::ENODEV)) if Path::new("/sys/module/knem").exists() => {
            let obstacle = if errno == Errno::ENOENT { Obstacle::NoNode } else { Obstacle::StaleNode };
            Error::NoDevice { path: path_buf, obstacle }
        }
        Some(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV) => {
            Error::NoDevice { path: path_buf, obstacle: Obstacle::NoModule }
        }
        Some(errno @ (Errno::EACCES | Errno::EPERM)) => {
            let obstacle = NodeFacts::gather(path).map_or(Obstacle::Policy { errno }, |facts| facts.obstacle(errno));
            Error::Permission { path: path_buf, obstacle }
        }
        _ => Error::System { what: format!("cannot open {}", path.display()), source: error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(mode: u32, group: &str) -> NodeFacts {
        NodeFacts {
            mode,
            owner: "root".to_owned(),
            group: group.to_owned(),
            user: "alice".to_owned(),
            process_in_group: false,
            user_in_group: false,
        }
    }

    #[test]
    fn a_stranger_is_shown_which_group_to_join() {
        let sentence = facts(0o660, "rdma").obstacle(Errno::EACCES).to_string();
        assert_eq!(
            sentence,
            "permission denied: its mode is 0660 for group rdma, and user alice is not in that group: \
             `sudo usermod -aG rdma alice`, then log in again"
        );
    }

    #[test]
    fn a_new_member_is_told_to_log_in_again() {
        let sentence = NodeFacts { user_in_group: true, ..facts(0o660, "rdma") }.obstacle(Errno::EACCES).to_string();
        assert!(sentence.contains("log in again") && !sentence.contains("usermod"), "{sentence}");
    }

    #[test]
    fn nobody_is_told_to_join_root() {
        for facts in [facts(0o600, "root"), facts(0o660, "root"), facts(0o600, "rdma")] {
            let sentence = facts.obstacle(Errno::EACCES).to_string();
            assert!(sentence.contains("knem-tools") && !sentence.contains("usermod"), "{sentence}");
        }
    }

    #[test]
    fn open_nodes_point_at_policy() {
        let member = NodeFacts { process_in_group: true, ..facts(0o660, "rdma") };
        assert_eq!(member.obstacle(Errno::EPERM), Obstacle::Policy { errno: Errno::EPERM });
        assert_eq!(facts(0o666, "root").obstacle(Errno::EACCES), Obstacle::Policy { errno: Errno::EACCES });
    }

    #[test]
    fn a_missing_node_names_the_package() {
        let error = explain(Path::new("/nowhere/knem"), io::Error::from_raw_os_error(Errno::ENXIO as i32));
        let sentence = error.to_string();
        assert!(sentence.contains("modprobe knem") && sentence.contains("knem2-dkms"), "{sentence}");
        assert!(sentence.starts_with("cannot open /nowhere/knem: "), "{sentence}");
    }

    #[test]
    fn what_is_no_device_is_named_with_its_removal() {
        let directory = tempfile::tempdir().unwrap();
        let (file, pipe) = (directory.path().join("file"), directory.path().join("pipe"));
        std::fs::write(&file, "x").unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, kind, command) in [
            (directory.path(), "a directory", "rmdir "),
            (&*file, "an ordinary file", "rm "),
            (&*pipe, "a named pipe", "rm "),
        ] {
            let sentence = demand_device(path, false).unwrap_err().to_string();
            assert!(
                sentence.contains(kind) && sentence.contains(&format!("`{command}{}", path.display())),
                "{sentence}"
            );
        }
        assert!(demand_device(&file, true).is_ok());
        assert!(demand_device(Path::new("/dev/null"), false).is_ok());
        assert!(demand_device(Path::new("/nowhere/knem"), false).is_ok());
    }

    #[test]
    fn the_calling_process_can_be_looked_at() {
        let facts = NodeFacts::gather(Path::new("/dev/null")).unwrap();
        assert_eq!(facts.owner, "root");
        assert!(!facts.user.is_empty());
    }
}
