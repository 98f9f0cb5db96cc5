// SPDX-License-Identifier: CECILL-B
//! Loading and unloading the module.

use std::ffi::CStr;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::process::Command;

use nix::errno::Errno;
use nix::libc;

use crate::waiting;

/// Unloads the module, if it is not in use.
pub(crate) fn unload() -> Result<(), Errno> {
    remove(c"knem")
}

/// Unloads any module, if it is not in use.
pub(crate) fn remove(module: &CStr) -> Result<(), Errno> {
    // SAFETY: The name is a NUL-terminated string that outlives the call, which only reads it.
    let result = unsafe { libc::syscall(libc::SYS_delete_module, module.as_ptr(), libc::O_NONBLOCK) };
    Errno::result(result).map(drop)
}

/// Returns the module's reference count.
pub(crate) fn users() -> u32 {
    let text = std::fs::read_to_string("/sys/module/knem/refcnt").expect("the module's users");
    text.trim().parse().expect("a number")
}

/// Loads the module and waits until udev has changed the group of its node. Returns modprobe's message if it does not
/// load.
pub(crate) fn load(parameters: &[&str]) -> Result<(), String> {
    let output = Command::new("modprobe").arg("knem").args(parameters).output().expect("modprobe runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let node = crate::device::node();
    waiting::until("the node is there", || node.exists());
    // Otherwise udev may change the node during the next test.
    let _ = Command::new("udevadm").args(["settle", "--timeout=60"]).status();
    Ok(())
}

/// Loads the module with other parameters during `work`.
pub(crate) fn loaded_with<R>(parameters: &[&str], work: impl FnOnce() -> R) -> R {
    waiting::until("the module is not in use", || unload().is_ok());
    let outcome = load(parameters).map(|()| catch_unwind(AssertUnwindSafe(work)));
    waiting::until("the module is not in use", || {
        unload().is_ok() || !std::path::Path::new("/sys/module/knem").exists()
    });
    load(&[]).expect("it loads without parameters");
    match outcome {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(said) => panic!("it does not load with {parameters:?}: {said}"),
    }
}
