// SPDX-License-Identifier: CECILL-B
//! What can go wrong, each with what to do about it in the sentence.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use knem_core::uapi;
use nix::errno::Errno;
use nix::sys::resource::{getrlimit, Resource, RLIM_INFINITY};

use crate::node::Obstacle;

/// Why a KNEM operation did not succeed.
#[derive(Debug)]
pub enum Error {
    /// There is no device to talk to.
    NoDevice {
        /// Node that was tried.
        path: PathBuf,
        /// What is missing.
        obstacle: Obstacle,
    },
    /// The device may not be opened.
    Permission {
        /// Node that was tried.
        path: PathBuf,
        /// What is in the way.
        obstacle: Obstacle,
    },
    /// The driver speaks another version of the interface.
    WrongAbi {
        /// The driver's version.
        driver: u32,
    },
    /// The node is not a KNEM device, or it does not answer as one.
    NotKnem {
        /// What it answered.
        errno: Errno,
    },
    /// A region could not be created because its memory could not be pinned.
    PinRefused {
        /// Size of the region.
        bytes: u64,
        /// The caller's limit of locked memory; `None` without a limit.
        limit: Option<u64>,
    },
    /// The kernel has no memory for the request.
    OutOfMemory,
    /// Memory of the caller is not mapped, or not mapped for this kind of access.
    BadAddress,
    /// No region has this cookie: it was destroyed, used up, or never there.
    NoSuchRegion,
    /// The device has no DMA engine, or no region has this cookie.
    NoDmaOrRegion,
    /// The region belongs to another user, who has not shared it with all.
    OtherUser,
    /// The region may not be read, or may not be written.
    Protection,
    /// The copy stopped early.
    CopyFailed,
    /// No region has this cookie, there is no such slot, or flags and worker do not go together.
    NotSubmitted,
    /// The driver has as many requests or events as it takes.
    QueueFull,
    /// The driver reported a state that a synchronous request cannot have.
    UnexpectedStatus {
        /// The state.
        status: u32,
    },
    /// A list of segments is longer than the interface can express.
    TooManySegments {
        /// Length of the list.
        count: usize,
    },
    /// The statistics of the driver are written by its administrator only.
    ClearRefused {
        /// What the driver answered.
        errno: Errno,
    },
    /// The device's text is not that of a KNEM driver.
    StatisticsFormat {
        /// The line that was not understood.
        line: String,
    },
    /// The driver keeps no finer statistics and no lists.
    NoProfile,
    /// A text below `/proc/driver/knem` is not as this library knows it.
    ProfileFormat {
        /// The line that was not understood.
        line: String,
    },
    /// Anything else the system reported.
    System {
        /// What was being done.
        what: String,
        /// What the system reported.
        source: io::Error,
    },
}

impl Error {
    /// What the system said when something was done.
    pub(crate) fn of(what: &str, errno: Errno) -> Self {
        Self::System { what: what.to_owned(), source: errno.into() }
    }

    /// The reason of a refused copy.
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

    /// The reason of a refused creation of a region of `bytes`.
    pub(crate) fn of_create(errno: Errno, bytes: u64) -> Self {
        match errno {
            Errno::ENOMEM => Self::PinRefused { bytes, limit: locked_memory_limit() },
            Errno::EFAULT => Self::BadAddress,
            other => Self::System { what: "creating a region".to_owned(), source: other.into() },
        }
    }

    /// The reason of a refused destruction.
    pub(crate) fn of_destroy(errno: Errno) -> Self {
        match errno {
            Errno::EINVAL => Self::NoSuchRegion,
            other => Self::System { what: "destroying a region".to_owned(), source: other.into() },
        }
    }
}

/// The caller's limit of locked memory in bytes, if there is one.
fn locked_memory_limit() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice { path, obstacle: Obstacle::NoNode } if path != Path::new(uapi::DEVICE_FILENAME) => {
                write!(f, "cannot open {}: there is no such file; the driver's node is {}", path.display(), uapi::DEVICE_FILENAME)
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
                    "this is not a KNEM device ({answer}): give the path of its node, as a rule {}; if that is what was given, it is \
                     left from before: remove it, and reload the module (modprobe -r knem; modprobe knem)",
                    uapi::DEVICE_FILENAME
                )
            }
            Self::PinRefused { bytes, limit: Some(limit) } => write!(
                f,
                "cannot pin {bytes} bytes: the limit of locked memory is {limit} bytes; raise RLIMIT_MEMLOCK \
                 (ulimit -l; for good: a memlock line for group rdma in /etc/security/limits.d, or LimitMEMLOCK= of the service)"
            ),
            Self::PinRefused { bytes, limit: None } => write!(
                f,
                "cannot pin {bytes} bytes: the machine has no memory left for it, or the module's own ceiling is reached"
            ),
            Self::OutOfMemory => f.write_str("the kernel has no memory for the request: use smaller regions or fewer segments"),
            Self::BadAddress => f.write_str("memory of this process is not mapped, or not mapped for this kind of access"),
            Self::NoSuchRegion => {
                f.write_str("no region has this cookie: it was destroyed, used up, its owner ended, or the cookie is wrong")
            }
            Self::NoDmaOrRegion => f.write_str(
                "the device has no DMA engine, or no region has this cookie: leave the DMA flag out unless knem info lists the feature",
            ),
            Self::OtherUser => f.write_str(
                "the region belongs to another user: run both processes as the same user, or have the owner create it with ANY_USER_ACCESS",
            ),
            Self::Protection => f.write_str(
                "the region does not allow this direction: the owner must create it with PROT_READ to be read, PROT_WRITE to be written",
            ),
            Self::CopyFailed => f.write_str(
                "the copy stopped early: memory of this process is not mapped for it, or the request was interrupted; \
                 the destination's contents are unspecified",
            ),
            Self::NotSubmitted => f.write_str(
                "no region has this cookie, the status array has no such slot, an event was asked for without the thread, \
                 or a DMA engine where there is none",
            ),
            Self::QueueFull => {
                f.write_str("too many requests are under way, or too many events unread: wait for some, or read the events")
            }
            Self::UnexpectedStatus { status } => write!(
                f,
                "the driver reported state {status} for a synchronous copy: look for forced flags in the output of knem info"
            ),
            Self::TooManySegments { count } => {
                write!(f, "{count} segments are more than a request can have ({}): join them or use several requests", u32::MAX)
            }
            Self::ClearRefused { errno: Errno::EPERM | Errno::EACCES } => {
                f.write_str("only the administrator may clear the statistics: run it as root (sudo knem stat --clear)")
            }
            Self::ClearRefused { errno } => write!(f, "cannot clear the statistics: {}", errno.desc()),
            Self::StatisticsFormat { line } => write!(
                f,
                "the device's text is not that of a KNEM driver of release 0.9.6 or later (at {line:?}): is the path right?"
            ),
            Self::NoProfile => f.write_str(
                "this driver has no /proc/driver/knem: it is older than these tools, or not of this project (knem info tells its \
                 version); install the package knem2-dkms of the same release and reload the module, or see what it has: knem stat",
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
            // Its text is part of the sentence already.
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
        let told = [
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
        for (sentence, remedy) in told {
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
