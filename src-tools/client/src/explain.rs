// SPDX-License-Identifier: CECILL-B
//! What a refusal means, and what to do about it: a sentence each, for every reason and error that the driver has.
//!
//! ```
//! let told = knem::explain::refused("CREATE_REGION", "ENOMEM");
//! assert!(told.remedy.contains("ulimit -l"));
//! ```

use serde::Serialize;

/// A refusal in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Why.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

const fn told(meaning: &'static str, remedy: &'static str) -> Explanation {
    Explanation { meaning, remedy }
}

/// What it means that this call ended with this error (`CREATE_REGION`, `ENOMEM`).
#[must_use]
pub fn refused(call: &str, errno: &str) -> Explanation {
    match (call, errno) {
        (_, "EBADF") => reason("no_context"),
        (_, "ENOSYS") => reason("unknown_command"),
        ("open", "ENOSPC") => reason("too_many_contexts"),
        ("write", "EPERM") => reason("not_privileged"),
        ("open", "EPERM") => told(
            "The process is in a container, or another user or pid namespace of its own, and strict_ns=2 keeps the device for the \
             machine's.",
            "Start the container as root in the machine's namespaces (--userns=host --pid=host), or set the parameter strict_ns to 0 or 1.",
        ),
        ("mmap", "ENOMEM") => told(
            "The status array has more slots than max_slots, the user's arrays and events more memory than max_slots_mb, or the \
             kernel had no memory.",
            "Ask for fewer slots, close files, or raise the module's parameters max_slots and max_slots_mb.",
        ),
        ("mmap", "EBUSY") => told(
            "The status array of this file was mapped before; that can be done once.",
            "Map it once for each open file.",
        ),
        ("mmap", _) => told(
            "The status array was to be mapped in a way it cannot be.",
            "Map it with MAP_SHARED, at offset 0, without PROT_EXEC.",
        ),
        ("CREATE_REGION" | "INIT_SEND", "ENOMEM") => told(
            "The region had too many segments, or the kernel had no memory for it. With the parameter unpinned=0 also: a limit forbade \
             to pin its memory.",
            "Use fewer segments. With unpinned=0: set that to 1, or raise the limit (ulimit -l; a memlock line in /etc/security/limits.d; \
             LimitMEMLOCK= of the batch system's service).",
        ),
        ("CREATE_REGION" | "INIT_SEND", "EFAULT") => told(
            "Memory of the region is not mapped, not writable, or of a kind that cannot be pinned (a device, a shared file that \
             is to be written).",
            "Have the program share ordinary memory that it may itself access as it lets others.",
        ),
        ("CREATE_REGION" | "INIT_SEND", "EPERM") => told(
            "The process is not dumpable, and strict_dumpable is set.",
            "Create the region with ANY_USER_ACCESS, or set the parameter strict_dumpable to 0.",
        ),
        ("CREATE_REGION" | "INIT_SEND", "EBUSY") => told(
            "The file has max_regions regions.",
            "Destroy regions that are not needed (a registration cache without a bound?), or raise the parameter max_regions.",
        ),
        ("CREATE_REGION" | "INIT_SEND", "EINVAL") => reason("length_overflow"),
        ("DESTROY_REGION", "EINVAL") => told(
            "The file has no region with this cookie: it was destroyed before, used up, or belongs to another file.",
            "Harmless for a single-use region that was used; otherwise the program destroys it twice, or through another file.",
        ),
        ("BIND_OFFLOAD", "EBUSY") => told(
            "The thread was to be bound after the status array was mapped.",
            "Bind before mapping.",
        ),
        ("BIND_OFFLOAD", "EINVAL") => {
            told("The flags are not exactly one of the three kinds.", "Use one of CUSTOM, CURRENT and CURRENT_REVERSED.")
        }
        ("open", "ENODEV") => reason("unavailable"),
        (_, "EINTR") => told(
            "A signal ended the call, or the process was being killed.",
            "Nothing, unless it is frequent; the program may repeat the call.",
        ),
        (_, "EAGAIN") => reason("no_thread"),
        (_, "EPERM") => reason("other_user"),
        (_, "EACCES") => reason("protection"),
        (_, "ENODEV") => reason("unavailable"),
        (_, "EBUSY") => reason("busy"),
        (_, "ENOMEM") => told(
            "There were too many segments, or the kernel had no memory for the request. With the parameter unpinned=0 also: a limit forbade \
             to pin local memory.",
            "Use fewer segments. With unpinned=0: set that to 1, or raise the limit (ulimit -l; a memlock line in \
             /etc/security/limits.d).",
        ),
        (_, "EFAULT") => told(
            "An argument or the local memory of a request is not mapped, or not mapped for this kind of access.",
            "A matter of the program: a wrong address or length.",
        ),
        (_, "EINVAL") => told(
            "No region has the cookie (any more), or the flags are wrong: no such slot, an event without a thread, DMA without \
             an engine.",
            "The reasons below tell which; if it is the cookie, the owner ended or destroyed the region too early.",
        ),
        _ => told("The kernel reported an error of its own.", "Set the module's parameter debug to 1 and look at dmesg."),
    }
}

/// What a reason of the driver means (`pin_limit`).
#[must_use]
pub fn reason(name: &str) -> Explanation {
    match name {
        "no_context" => told(
            "The file was opened for reading only; such a file can read the statistics, and nothing else.",
            "Have the program open the device with O_RDWR.",
        ),
        "unknown_command" => told(
            "No command has this number.",
            "The program is newer than the driver, or uses the node for something else: compare knem info on both sides.",
        ),
        "unavailable" => told(
            "Something that this driver or machine does not have was asked for; or the module was being unloaded.",
            "Leave DMA out unless knem info lists it.",
        ),
        "bad_flags" => told(
            "Flags contradict each other: an asynchronous request without a valid slot, or an event without a thread.",
            "Map the status array first, and use slots within it.",
        ),
        "no_such_cookie" => told(
            "No region has this cookie: it was destroyed, used up, or its owner ended.",
            "Owners should keep a region until the peer says that it is done.",
        ),
        "other_user" => told(
            "The region belongs to another user, or its process changed its user after opening the device.",
            "Run both processes as the same user, or create the region with ANY_USER_ACCESS; with strict_ns also in the same \
             namespaces.",
        ),
        "protection" => told(
            "The region does not allow this direction.",
            "Its owner must create it with PROT_READ to be read, with PROT_WRITE to be written.",
        ),
        "bad_address" => told("A segment is no part of user memory.", "A matter of the program: a wrong address or length."),
        "length_overflow" => told(
            "The lengths of the segments add up to 2^63 bytes or more.",
            "A matter of the program: a wrong length.",
        ),
        "too_many_segments" => told(
            "A list has more segments than the driver takes.",
            "Use fewer segments, or raise the module's parameter max_segments.",
        ),
        "pin_limit" => told(
            "More memory would be pinned than a limit allows: RLIMIT_MEMLOCK of the user, or max_user_pinned_mb or max_pinned_mb of the module.",
            "Raise the limit (ulimit -l; a memlock line in /etc/security/limits.d; LimitMEMLOCK= of the batch system's \
             service), or the parameter; or set the parameter unpinned to 1.",
        ),
        "not_privileged" => told(
            "Only an administrator may clear the statistics; with strict_ns=2 only the machine's own namespaces may open the device.",
            "sudo knem stat --clear; for containers set the parameter strict_ns to 0 or 1.",
        ),
        "busy" => told(
            "Too many requests or unread events of one file, too many regions, or its thread is set up already.",
            "Have the program read its events; or raise the parameters max_queued and max_regions.",
        ),
        "wrong_state" => told(
            "The call needs a status array, which the file does not have, or has already.",
            "Map the array once, before the first asynchronous request.",
        ),
        "no_thread" => told(
            "The worker thread may not start: a limit on the number of processes and threads.",
            "Raise pids.max of the control group (TasksMax= of the service) or RLIMIT_NPROC (ulimit -u).",
        ),
        "too_many_contexts" => told(
            "The user has max_contexts files of the device open.",
            "Close some (knem regions lists them), or raise the module's parameter max_contexts.",
        ),
        "slot_limit" => told(
            "A status array has more slots than max_slots, or the user's arrays and events more memory than max_slots_mb.",
            "Ask for fewer slots, close files, or raise the module's parameter that is in the way.",
        ),
        _ => told("This command is older than the driver, and does not know the reason.", "Install knem-tools of the driver's release."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use knem_core::logic::refusal::Refusal;
    use knem_core::logic::statistics::{CALLS, ERRNOS};

    fn reads_well(told: Explanation, what: &str) {
        assert!(told.meaning.ends_with('.') && told.meaning.len() > 20, "{what}: {}", told.meaning);
        assert!(told.remedy.len() > 15, "{what}: {}", told.remedy);
    }

    #[test]
    fn every_reason_is_explained() {
        for (_, name) in Refusal::NAMES {
            reads_well(reason(name), name);
            assert_ne!(reason(name), reason("news"), "{name}");
        }
    }

    #[test]
    fn every_call_is_explained_with_every_error() {
        for (_, call) in CALLS {
            for (_, errno) in ERRNOS {
                reads_well(refused(call, errno), &format!("{call} {errno}"));
            }
        }
    }

    #[test]
    fn the_common_ones_name_their_remedy() {
        for (call, errno, remedy) in [
            ("CREATE_REGION", "ENOMEM", "memlock"),
            ("INLINE_COPY", "EPERM", "ANY_USER_ACCESS"),
            ("INLINE_COPY_BOUNDED", "EACCES", "PROT_WRITE"),
            ("open", "ENOSPC", "max_contexts"),
            ("open", "EPERM", "strict_ns"),
            ("INLINE_COPY", "ENOMEM", "ulimit -l"),
        ] {
            let told = refused(call, errno);
            assert!(told.remedy.contains(remedy), "{call} {errno}: {}", told.remedy);
        }
    }
}
