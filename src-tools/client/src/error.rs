// SPDX-License-Identifier: CECILL-B
//! Errors of the library. Each message includes the cause and the remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use knem_core::uapi;
use nix::errno::Errno;
use nix::sys::resource::{getrlimit, Resource, RLIM_INFINITY};

use crate::node::Obstacle;

/// The error of a KNEM operation.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no device: `ENOENT`, `ENXIO` or `ENODEV` at `open`, or another kind of file at the path.
    NoDevice {
        /// Path that was opened.
        path: PathBuf,
        /// Reason.
        obstacle: Obstacle,
    },
    /// The device may not be opened: `EACCES` or `EPERM`.
    Permission {
        /// Path that was opened.
        path: PathBuf,
        /// Reason.
        obstacle: Obstacle,
    },
    /// The driver speaks another version of the interface.
    WrongAbi {
        /// The driver's version.
        driver: u32,
    },
    /// The node is not a KNEM device, or it does not answer as one.
    NotKnem {
        /// Error of `KNEM_CMD_GET_INFO`.
        errno: Errno,
    },
    /// A region could not be created because its memory could not be pinned: `ENOMEM`.
    PinRefused {
        /// Size of the region.
        bytes: u64,
        /// The caller's limit of locked memory; `None` without a limit.
        limit: Option<u64>,
    },
    /// The kernel has no memory for the request: `ENOMEM`.
    OutOfMemory,
    /// Memory of the caller is not mapped, or not mapped for this access: `EFAULT`.
    BadAddress,
    /// No region has this cookie, because it was destroyed, used up, or never existed: `EINVAL`.
    NoSuchRegion,
    /// The device has no DMA engine, or no region has this cookie: `EINVAL`.
    NoDmaOrRegion,
    /// The region belongs to another user and was created without `ANY_USER_ACCESS`: `EPERM`.
    OtherUser,
    /// The region does not allow this direction: `EACCES`.
    Protection,
    /// The copy stopped early: status `KNEM_STATUS_FAILED`.
    CopyFailed,
    /// No region has this cookie, the slot does not exist, or flags and worker contradict each other: `EINVAL`.
    NotSubmitted,
    /// The queue of requests or of unread events is full: `EBUSY`.
    QueueFull,
    /// The driver reported a status that a synchronous request cannot have.
    UnexpectedStatus {
        /// The status.
        status: u32,
    },
    /// A list of segments is longer than the interface can express.
    TooManySegments {
        /// Length of the list.
        count: usize,
    },
    /// The statistics could not be cleared: `EPERM` or `EACCES` without the privilege.
    ClearRefused {
        /// Error of the driver.
        errno: Errno,
    },
    /// The device's text is not that of a KNEM driver.
    StatisticsFormat {
        /// First line that could not be parsed.
        line: String,
    },
    /// The driver has neither detailed statistics nor lists.
    NoProfile,
    /// A text in `/proc/driver/knem` is of a version that this library does not know.
    ProfileFormat {
        /// First line that could not be parsed.
        line: String,
    },
    /// Any other error of a system call.
    System {
        /// Operation that failed.
        what: String,
        /// Error of the system call.
        source: io::Error,
    },
}

impl Error {
    /// Creates an error of a system call.
    pub(crate) fn of(what: &str, errno: Errno) -> Self {
        Self::System { what: what.to_owned(), source: errno.into() }
    }

    /// Maps the errno of a copy.
    pub(crate) fn of_copy(errno: Errno, with_dma: bool) -> Self {
        match errno {
            Errno::EINVAL if with_dma => Self::NoDmaOrRegion,
            Errno::EINVAL => Self::NoSuchRegion,
            Errno::EPERM => Self::OtherUser,
            Errno::EACCES => Self::Protection,
            Errno::EFAULT => Self::BadAddress,
            Errno::ENOMEM => Self::OutOfMemory,
            other => Self::System { what: "copying".to_owned(), source: other.into() },
        }
    }

    /// Maps the errno of creating a region of `bytes`.
    pub(crate) fn of_create(errno: Errno, bytes: u64) -> Self {
        match errno {
            Errno::ENOMEM => Self::PinRefused { bytes, limit: locked_memory_limit() },
            Errno::EFAULT => Self::BadAddress,
            other => Self::System { what: "creating a region".to_owned(), source: other.into() },
        }
    }

    /// Maps the errno of destroying a region.
    pub(crate) fn of_destroy(errno: Errno) -> Self {
        match errno {
            Errno::EINVAL => Self::NoSuchRegion,
            other => Self::System { what: "destroying a region".to_owned(), source: other.into() },
        }
    }
}

/// Returns the caller's limit of locked memory in bytes, if there is one.
fn locked_memory_limit() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice { path, obstacle: Obstacle::NoNode } if path != Path::new(uapi::DEVICE_FILENAME) => {
                write!(f, "cannot open {}: no such file; the driver's node is {}", path.display(), uapi::DEVICE_FILENAME)
            }
            Self::NoDevice { path, obstacle } | Self::Permission { path, obstacle } => {
                write!(f, "cannot open {}: {obstacle}", path.display())
            }
            Self::WrongAbi { driver } => write!(
                f,
                "the driver speaks version {driver:#x} of the interface, this program {:#x}: \
                 install knem2-dkms and knem-tools of the same release, then reload the module (modprobe -r knem; modprobe knem)",
                uapi::ABI_VERSION
            ),
            Self::NotKnem { errno } => {
                let answer = io::Error::from(*errno);
                write!(
                    f,
                    "not a KNEM device ({answer}): use the path of its node, usually {}; if this is that path, the node is \
                     stale: remove it, and reload the module (modprobe -r knem; modprobe knem)",
                    uapi::DEVICE_FILENAME
                )
            }
            Self::PinRefused { bytes, limit: Some(limit) } => write!(
                f,
                "cannot pin {bytes} bytes: the limit of locked memory is {limit} bytes; raise RLIMIT_MEMLOCK \
                 (ulimit -l; permanently: a memlock line for group rdma in /etc/security/limits.d, or LimitMEMLOCK= of the service)"
            ),
            Self::PinRefused { bytes, limit: None } => write!(
                f,
                "cannot pin {bytes} bytes: the machine has no memory left for it, or the module's ceiling is reached; see knem doctor --check limits"
            ),
            Self::OutOfMemory => f.write_str("the kernel has no memory for the request: use smaller regions or fewer segments"),
            Self::BadAddress => f.write_str("memory of this process is not mapped, or not mapped for this access: check addresses and lengths"),
            Self::NoSuchRegion => {
                f.write_str("no region has this cookie: it was destroyed or used up, its owner exited, or the cookie is wrong")
            }
            Self::NoDmaOrRegion => f.write_str(
                "the device has no DMA engine, or no region has this cookie: leave the DMA flag out unless knem info lists the feature",
            ),
            Self::OtherUser => f.write_str(
                "the region belongs to another user: run both processes as the same user, or create it with ANY_USER_ACCESS",
            ),
            Self::Protection => f.write_str(
                "the region does not allow this direction: the owner must create it with PROT_READ to be read, PROT_WRITE to be written",
            ),
            Self::CopyFailed => f.write_str(
                "the copy stopped early: memory of this process is not mapped for it, or the request was interrupted; \
                 the contents of the destination are unspecified",
            ),
            Self::NotSubmitted => f.write_str(
                "no region has this cookie, the status array has no such slot, an event was requested without the thread, \
                 or a DMA engine where there is none: check cookie, slot and flags",
            ),
            Self::QueueFull => {
                f.write_str("too many requests are in flight, or too many events are unread: wait for requests, or read the events")
            }
            Self::UnexpectedStatus { status } => write!(
                f,
                "the driver reported status {status} for a synchronous copy: check knem info for forced flags"
            ),
            Self::TooManySegments { count } => {
                write!(f, "{count} segments exceed the maximum of a request ({}): merge them or use several requests", u32::MAX)
            }
            Self::ClearRefused { errno: Errno::EPERM | Errno::EACCES } => {
                f.write_str("only root may clear the statistics: sudo knem stat --clear")
            }
            Self::ClearRefused { errno } => write!(f, "cannot clear the statistics: {}", errno.desc()),
            Self::StatisticsFormat { line } => write!(
                f,
                "the device's text is not that of a KNEM driver of release 0.9.6 or later (at {line:?}): check the path"
            ),
            Self::NoProfile => f.write_str(
                "this driver has no /proc/driver/knem: it is older than these tools, or another driver (knem info shows its \
                 version); install the package knem2-dkms of the same release and reload the module, or use knem stat without these options",
            ),
            Self::ProfileFormat { line } => write!(
                f,
                "the driver's statistics in /proc/driver/knem are of another release (at {line:?}): install knem-tools of the \
                 release that knem info names as the module's"
            ),
            Self::System { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its text is part of the message already.
            Self::System { source, .. } => source.source(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn say_what_to_do() {
        let remedies = [
            (Error::WrongAbi { driver: 0xc }.to_string(), "knem2-dkms"),
            (Error::PinRefused { bytes: 65536, limit: Some(8192) }.to_string(), "ulimit -l"),
            (Error::PinRefused { bytes: 65536, limit: Some(8192) }.to_string(), "limits.d"),
            (Error::OtherUser.to_string(), "ANY_USER_ACCESS"),
            (Error::NotKnem { errno: Errno::ENOTTY }.to_string(), "/dev/knem"),
            (Error::NoDevice { path: "/x".into(), obstacle: Obstacle::NoNode }.to_string(), "node is /dev/knem"),
            (Error::NoDevice { path: "/dev/knem".into(), obstacle: Obstacle::NoNode }.to_string(), "modprobe -r knem"),
            (
                Error::NoDevice { path: "/dev/knem".into(), obstacle: Obstacle::StaleNode }.to_string(),
                "modprobe -r knem",
            ),
            (Error::ClearRefused { errno: Errno::EPERM }.to_string(), "sudo"),
        ];
        for (sentence, remedy) in remedies {
            assert!(sentence.contains(remedy), "{sentence}");
        }
    }

    #[test]
    fn copies_are_refused_for_distinct_reasons() {
        assert!(matches!(Error::of_copy(Errno::EINVAL, false), Error::NoSuchRegion));
        assert!(matches!(Error::of_copy(Errno::EINVAL, true), Error::NoDmaOrRegion));
        assert!(matches!(Error::of_copy(Errno::EPERM, false), Error::OtherUser));
        assert!(matches!(Error::of_copy(Errno::EACCES, false), Error::Protection));
        assert!(matches!(Error::of_copy(Errno::EIO, false), Error::System { .. }));
    }

    #[test]
    fn a_refused_pin_tells_the_limit() {
        let sentence = Error::PinRefused { bytes: 65536, limit: Some(8192) }.to_string();
        assert!(sentence.contains("65536") && sentence.contains("8192"), "{sentence}");
    }
}
