// SPDX-License-Identifier: CECILL-B
//! What another user, and a user without privileges, must not be able to do: tried by a separate process.
//!
//! That process inherits a file descriptor of the device, because its user may not be allowed to open the node.

use std::fs::File;
use std::io::{stdin, stdout, IoSlice, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use knem::{Access, Cookie, CopyOptions, Device, Error, KernelDriver, Memory, RegionFlags};
use nix::sys::resource::{getrlimit, setrlimit, Resource};
use nix::unistd::geteuid;

use super::{Outcome, Subject};
use crate::bench::own_program;
use crate::exit::Failure;

/// User and group id of "nobody".
const NOBODY_ID: u32 = 65_534;
/// Environment variable that passes the cookie to the process: its arguments could be read by every user.
const COOKIE: &str = "KNEM_SELFTEST_COOKIE";
/// A limit of locked memory that a region exceeds.
const LIMIT: u64 = 64 << 10;
const REGION: usize = 1 << 20;

/// Output of that process if the request was refused rightly.
const REFUSED: &str = "refused";

pub(super) fn foreign_cookie(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let Some(path) = subject.path else {
        return Ok(Outcome::Skipped("this driver knows one user".to_owned()));
    };
    if !geteuid().is_root() {
        return Ok(Outcome::Skipped("only root can run a process as another user".to_owned()));
    }
    let device = subject.open()?;
    let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE)?;
    Ok(as_nobody(path, Some(region.cookie())))
}

pub(super) fn limit(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let Some(path) = subject.path else {
        return Ok(Outcome::Skipped("this driver pins nothing".to_owned()));
    };
    if geteuid().is_root() {
        // The limit does not apply to root.
        return Ok(as_nobody(path, None));
    }
    let device = subject.open()?;
    let before = getrlimit(Resource::RLIMIT_MEMLOCK);
    let outcome = exceed_limit(&device);
    if let Ok((soft, hard)) = before {
        // Restoring the previous limit cannot fail.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard);
    }
    Ok(match outcome {
        Ok(()) => Outcome::Passed,
        Err(sentence) => judged(&sentence),
    })
}

/// Converts a limit that is not enforced: skipped if the administrator has disabled it, else failed.
fn judged(sentence: &str) -> Outcome {
    let lifted = std::fs::read_to_string("/sys/module/knem/parameters/memlock").is_ok_and(|value| value.trim() == "0");
    if lifted {
        Outcome::Skipped("the module's parameter memlock is 0: the limit is not enforced".to_owned())
    } else {
        Outcome::Failed(sentence.to_owned())
    }
}

/// Runs the process and converts its output.
fn as_nobody(path: &Path, cookie: Option<Cookie>) -> Outcome {
    let skipped = |error: std::io::Error| Outcome::Skipped(format!("cannot run as another user: {error}"));
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) => return skipped(error),
    };
    let mut command = own_program();
    command.arg("__selftest-other").uid(NOBODY_ID).gid(NOBODY_ID).stdin(Stdio::from(file)).current_dir("/");
    if let Some(cookie) = cookie {
        command.env(COOKIE, cookie.to_string());
    }
    match command.output() {
        Err(error) => skipped(error),
        Ok(output) => match String::from_utf8_lossy(&output.stdout).trim() {
            REFUSED => Outcome::Passed,
            "" => {
                Outcome::Failed(format!("the process of another user wrote nothing and ended with {}", output.status))
            }
            sentence if cookie.is_none() => judged(sentence),
            sentence => Outcome::Failed(sentence.to_owned()),
        },
    }
}

/// Runs as the process of another user: tries the request and writes the outcome.
pub(crate) fn be_other_user() -> Result<(), Failure> {
    let outcome = try_as_other_user().unwrap_or_else(|error| Err(error.to_string()));
    let said = match outcome {
        Ok(()) => REFUSED.to_owned(),
        Err(sentence) => sentence,
    };
    Ok(writeln!(stdout(), "{said}")?)
}

fn try_as_other_user() -> Result<Result<(), String>, Failure> {
    let cannot = |error: std::io::Error| Failure::Other(format!("cannot use the device: {error}"));
    let file: OwnedFd = stdin().as_fd().try_clone_to_owned().map_err(cannot)?;
    let device = Device::new(Box::new(KernelDriver::from(File::from(file))))?;
    let Ok(cookie) = std::env::var(COOKIE) else {
        return Ok(exceed_limit(&device));
    };
    let cookie: Cookie = cookie.parse().map_err(|error| Failure::Other(format!("{COOKIE}: {error}")))?;
    let mut copy = *b"...";
    Ok(match device.read(cookie, &mut copy, CopyOptions::default()) {
        Err(Error::OtherUser) if &copy == b"..." => Ok(()),
        Err(error) => Err(format!("it was refused for another reason: {error}")),
        Ok(()) => Err("another user has read a region".to_owned()),
    })
}

/// Lowers the limit and creates a larger region: it must be refused with the limit, or be unpinned.
fn exceed_limit(device: &Device) -> Result<(), String> {
    let (_, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(|errno| errno.desc().to_owned())?;
    setrlimit(Resource::RLIMIT_MEMLOCK, LIMIT.min(hard), hard).map_err(|errno| errno.desc().to_owned())?;
    let length = NonZeroUsize::MIN.saturating_add(REGION - 1);
    let memory = Memory::new(length).map_err(|error| error.to_string())?;
    // The file may have been opened by another user: this user may use the region only with the flag.
    let region = device.share_memory(&memory, 0..REGION, Access::Read, RegionFlags::ANY_USER_ACCESS);
    match region {
        Err(Error::PinRefused { limit: Some(limit), .. }) if limit <= LIMIT => Ok(()),
        Err(error) => Err(format!("a region beyond the limit was refused for another reason: {error}")),
        Ok(region) => unpinned(device, &region),
    }
}

/// Checks that a region beyond the limit can be read and is not pinned.
fn unpinned(device: &Device, region: &knem::Region<'_>) -> Result<(), String> {
    let mut copy = vec![1; REGION];
    device
        .read(region.cookie(), &mut copy, CopyOptions::default())
        .map_err(|error| format!("a region beyond the limit cannot be read: {error}"))?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let pinned = status.lines().find_map(|line| line.strip_prefix("VmPin:")).and_then(|size| {
        let kibibytes: u64 = size.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kibibytes << 10)
    });
    match pinned {
        Some(bytes) if bytes > LIMIT => Err(format!("{bytes} bytes are pinned with a limit of {LIMIT}")),
        _ => Ok(()),
    }
}
