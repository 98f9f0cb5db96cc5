// SPDX-License-Identifier: CECILL-B
//! The meaning and the remedy of every refusal: of each reason and error that the driver counts.
//!
//! ```
//! let explanation = knem::explain::refused("CREATE_REGION", "ENOMEM");
//! assert!(explanation.remedy.contains("ulimit -l"));
//! ```

use serde::Serialize;

/// The explanation of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Cause.
    pub meaning: &'static str,
    /// Remedy.
    pub remedy: &'static str,
}

const fn explain(meaning: &'static str, remedy: &'static str) -> Explanation {
    Explanation { meaning, remedy }
}

/// Explains an error of a call (`CREATE_REGION`, `ENOMEM`).
#[must_use]
pub fn refused(call: &str, errno: &str) -> Explanation {
    match (call, errno) {
        (_, "EBADF") => reason("no_context"),
        (_, "ENOSYS") => reason("unknown_command"),
        ("open", "ENOSPC") => reason("too_many_contexts"),
        ("write", "EPERM") => reason("not_privileged"),
        ("open", "EPERM") => explain(
            "The process is in a container or in another user or pid namespace, and strict_ns=2 limits the device to the \
             initial namespaces.",
            "Start the container as root in the host's namespaces (--userns=host --pid=host), or set the parameter strict_ns to 0 or 1.",
        ),
        ("mmap", "ENOMEM") => explain(
            "The status array exceeds max_slots, the user's arrays and events exceed max_slots_mb, or the kernel had no memory.",
            "Request fewer slots, close contexts, or raise the module's parameters max_slots and max_slots_mb.",
        ),
        ("mmap", "EBUSY") => explain(
            "The status array of this context was mapped before.",
            "Map it only once per open file.",
        ),
        ("mmap", _) => explain(
            "The status array was mapped with invalid arguments.",
            "Map it with MAP_SHARED, at offset 0, without PROT_EXEC.",
        ),
        ("CREATE_REGION" | "INIT_SEND", "ENOMEM") => explain(
            "The region had too many segments, or the kernel had no memory for it. With the parameter unpinned=0 also: pinning its \
             memory exceeded a limit.",
            "Use fewer segments. With unpinned=0: set that to 1, or raise the limit (ulimit -l; a memlock line in /etc/security/limits.d; \
             LimitMEMLOCK= of the batch system's service).",
        ),
        ("CREATE_REGION" | "INIT_SEND", "EFAULT") => explain(
            "Memory of the region is not mapped, not writable, or of a kind that cannot be pinned (device memory, a shared file \
             mapping for writing).",
            "Change the program to share ordinary memory to which it has the access that it grants.",
        ),
        ("CREATE_REGION" | "INIT_SEND", "EPERM") => explain(
            "The process is not dumpable, and strict_dumpable is set.",
            "Create the region with ANY_USER_ACCESS, or set the parameter strict_dumpable to 0.",
        ),
        ("CREATE_REGION" | "INIT_SEND", "EBUSY") => explain(
            "The number of the context's regions has reached max_regions.",
            "Destroy regions that are not needed (check for an unbounded registration cache), or raise the parameter max_regions.",
        ),
        ("CREATE_REGION" | "INIT_SEND", "EINVAL") => reason("length_overflow"),
        ("DESTROY_REGION", "EINVAL") => explain(
            "The context has no region with this cookie: it was destroyed before, used up, or belongs to another context.",
            "Harmless for a single-use region that was used; otherwise the program destroys it twice, or through another open file.",
        ),
        ("BIND_OFFLOAD", "EBUSY") => explain(
            "The worker thread was bound after the status array was mapped.",
            "Bind it before mapping the status array.",
        ),
        ("BIND_OFFLOAD", "EINVAL") => {
            explain("The flags are not exactly one of the three kinds.", "Use one of CUSTOM, CURRENT and CURRENT_REVERSED.")
        }
        ("open", "ENODEV") => reason("unavailable"),
        (_, "EINTR") => explain(
            "A signal interrupted the call, or the process was being killed.",
            "None is needed unless it is frequent; the program may repeat the call.",
        ),
        (_, "EAGAIN") => reason("no_thread"),
        (_, "EPERM") => reason("other_user"),
        (_, "EACCES") => reason("protection"),
        (_, "ENODEV") => reason("unavailable"),
        (_, "EBUSY") => reason("busy"),
        (_, "ENOMEM") => explain(
            "There were too many segments, or the kernel had no memory for the request. With the parameter unpinned=0 also: pinning local \
             memory exceeded a limit.",
            "Use fewer segments. With unpinned=0: set that to 1, or raise the limit (ulimit -l; a memlock line in \
             /etc/security/limits.d).",
        ),
        (_, "EFAULT") => explain(
            "An argument or the local memory of a request is not mapped, or not mapped for this access.",
            "Fix the program: an address or length is wrong.",
        ),
        (_, "EINVAL") => explain(
            "No region has the cookie (any more), or the flags are wrong: no such slot, an event without a thread, DMA without \
             an engine.",
            "The reasons below show which; if it is the cookie, the owner exited or destroyed the region too early.",
        ),
        _ => explain("The kernel reported another error.", "Set the module's parameter debug to 1 and read dmesg."),
    }
}

/// Explains a reason of the driver (`pin_limit`).
#[must_use]
pub fn reason(name: &str) -> Explanation {
    match name {
        "no_context" => explain(
            "The file was opened for reading only; such a file can only read the statistics.",
            "Change the program to open the device with O_RDWR.",
        ),
        "unknown_command" => explain(
            "No command has this number.",
            "The program is newer than the driver, or expects another device: compare its version with knem info.",
        ),
        "unavailable" => explain(
            "The request needs a feature that this driver or machine does not have, or the module was being unloaded.",
            "Do not request DMA unless knem info lists it.",
        ),
        "bad_flags" => explain(
            "Flags contradict each other: an asynchronous request without a valid slot, or an event without a thread.",
            "Map the status array first, and use slots within it.",
        ),
        "no_such_cookie" => explain(
            "No region has this cookie: it was destroyed or used up, or its owner exited.",
            "Owners should keep a region until the peer reports that it is done.",
        ),
        "other_user" => explain(
            "The region belongs to another user, or its process changed its user after opening the device.",
            "Run both processes as the same user, or create the region with ANY_USER_ACCESS; with strict_ns also in the same \
             namespaces.",
        ),
        "protection" => explain(
            "The region does not allow this direction.",
            "Its owner must create it with PROT_READ to be read, with PROT_WRITE to be written.",
        ),
        "bad_address" => explain("A segment is not in user memory.", "Fix the program: an address or length is wrong."),
        "length_overflow" => explain(
            "The lengths of the segments add up to 2^63 bytes or more.",
            "Fix the program: a length is wrong.",
        ),
        "too_many_segments" => explain(
            "A list has more segments than the driver accepts.",
            "Use fewer segments, or raise the module's parameter max_segments.",
        ),
        "pin_limit" => explain(
            "Pinning the memory would exceed a limit: RLIMIT_MEMLOCK of the user, or max_user_pinned_mb or max_pinned_mb of the module.",
            "Raise the limit (ulimit -l; a memlock line in /etc/security/limits.d; LimitMEMLOCK= of the batch system's \
             service), or the parameter; or set the parameter unpinned to 1.",
        ),
        "not_privileged" => explain(
            "Only root may clear the statistics; with strict_ns=2 only processes in the initial namespaces may open the device.",
            "sudo knem stat --clear; for containers set the parameter strict_ns to 0 or 1.",
        ),
        "busy" => explain(
            "The context has too many requests, unread events or regions, or its worker thread exists already.",
            "Change the program to read its events, or raise the parameters max_queued and max_regions.",
        ),
        "wrong_state" => explain(
            "The call needs a status array, which the context does not have, or has already.",
            "Map the array once, before the first asynchronous request.",
        ),
        "no_thread" => explain(
            "The worker thread could not be started: a limit on the number of processes and threads was reached.",
            "Raise pids.max of the control group (TasksMax= of the service) or RLIMIT_NPROC (ulimit -u).",
        ),
        "too_many_contexts" => explain(
            "The number of the user's contexts has reached max_contexts.",
            "Close some (knem regions lists them), or raise the module's parameter max_contexts.",
        ),
        "slot_limit" => explain(
            "A status array exceeds max_slots, or the user's arrays and events exceed max_slots_mb.",
            "Request fewer slots, close contexts, or raise the module's parameter that was reached.",
        ),
        _ => explain("This command is older than the driver and does not know the reason.", "Install knem-tools of the driver's release."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use knem_core::logic::refusal::Refusal;
    use knem_core::logic::statistics::{CALLS, ERRNOS};

    fn is_complete(explanation: Explanation, what: &str) {
        assert!(
            explanation.meaning.ends_with('.') && explanation.meaning.len() > 20,
            "{what}: {}",
            explanation.meaning
        );
        assert!(explanation.remedy.len() > 15, "{what}: {}", explanation.remedy);
    }

    #[test]
    fn every_reason_is_explained() {
        for (_, name) in Refusal::NAMES {
            is_complete(reason(name), name);
            assert_ne!(reason(name), reason("news"), "{name}");
        }
    }

    #[test]
    fn every_call_is_explained_with_every_error() {
        for (_, call) in CALLS {
            for (_, errno) in ERRNOS {
                is_complete(refused(call, errno), &format!("{call} {errno}"));
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
            let explanation = refused(call, errno);
            assert!(explanation.remedy.contains(remedy), "{call} {errno}: {}", explanation.remedy);
        }
    }
}
