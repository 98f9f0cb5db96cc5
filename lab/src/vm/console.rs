// SPDX-License-Identifier: CECILL-B
//! Problems in the kernel's log, independent of the result of the command under test.

/// Marks at the start of a message, after its time.
const AT_START: &[&str] = &[
    "BUG:",
    "WARNING:",
    "Oops",
    "Kernel panic",
    "kernel BUG at",
    "general protection fault",
    "stack segment",
    "double fault",
    "invalid opcode",
    "int3:",
    "divide error",
    "watchdog: BUG:",
    "rust_kernel: panicked",
    "INFO: lockdep is turned off",
    "INFO: possible",
    "INFO: suspicious",
    "INFO: trying to register non-static key",
    "DEAD",
    "Unable to handle kernel",
    "Call Trace:",
];

/// Marks anywhere in a message.
const ANYWHERE: &[&str] = &[
    "KASAN:",
    "KCSAN:",
    "KFENCE:",
    "UBSAN:",
    "ODEBUG:",
    "kmemleak:",
    "knem: leak",
    "blocked for more than",
    "self-detected stall",
    "detected stalls",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "Bad page state",
    "Bad page map",
    "Bad rss-counter",
    "list_add corruption",
    "list_del corruption",
    "refcount_t:",
    "sleeping function called from invalid context",
    "scheduling while atomic",
    "SLUB:",
    "page_owner",
    "usercopy: Kernel memory",
];

/// Harmless messages that match the marks, each with its reason.
const HARMLESS: &[&str] = &[
    // The checks' own start-up messages.
    "kmemleak: Kernel memory leak detector initialized",
    "kmemleak: Automatic memory scanning thread started",
    // A scan's summary: the test that starts a scan reads and judges its reports.
    "(see /sys/kernel/debug/kmemleak)",
    "KFENCE: initialized",
    "kfence: initialized",
    "SLUB: HWalign=",
];

/// How many lines after the first of a problem are shown.
const FOLLOWING: usize = 45;

/// The problems of a kernel log: each as the lines it consists of.
pub fn problems(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().collect();
    let mut found: Vec<String> = Vec::new();
    let mut shown_to = 0;
    for (index, line) in lines.iter().enumerate() {
        if index < shown_to || !is_bad(line) {
            continue;
        }
        let end = lines.len().min(index + 1 + FOLLOWING);
        // A report ends with its trace; a single line is a report too.
        let last = lines[index..end]
            .iter()
            .position(|line| line.contains("---[ end ") || line.contains("</TASK>"))
            .map_or(end, |position| (index + position + 2).min(lines.len()));
        let start = if index > shown_to && lines[index - 1].contains("[ cut here ]") { index - 1 } else { index };
        found.push(lines[start..last].join("\n"));
        shown_to = last;
    }
    found
}

/// Whether a line is the start of a problem.
fn is_bad(line: &str) -> bool {
    let message = message(line);
    if HARMLESS.iter().any(|known| message.contains(known)) {
        return false;
    }
    AT_START.iter().any(|mark| message.starts_with(mark)) || ANYWHERE.iter().any(|mark| message.contains(mark))
}

/// A console line without level, time and caller: `<4>[    1.2][  T93] text`.
fn message(line: &str) -> &str {
    let mut rest = line.trim_start();
    if let Some(tail) = rest.strip_prefix('<') {
        rest = tail.split_once('>').map_or(rest, |(_, tail)| tail);
    }
    loop {
        let Some(tail) = rest.strip_prefix('[') else {
            return rest;
        };
        let Some((inside, tail)) = tail.split_once(']') else {
            return rest;
        };
        let stamp = inside.trim().trim_start_matches(['T', 'C']).chars().all(|c| c.is_ascii_digit() || c == '.');
        if !stamp {
            return rest;
        }
        rest = tail.trim_start();
    }
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_boot_is_no_problem() {
        let log = "[    0.000000] Linux version 7.2.12\n\
                   [    0.100000] Spectre V2 : WARNING: Unprivileged eBPF is enabled\n\
                   [    0.110000] SLUB: HWalign=64, Order=0-3\n\
                   [    1.000000] knem: loading out-of-tree module taints kernel.\n\
                   [    1.000000] knem: 2.0.0 ready\n";
        assert!(problems(log).is_empty());
    }

    #[test]
    fn an_oops_is_one_problem_with_its_trace() {
        let log = "[    3.000000] BUG: unable to handle page fault for address: ffff\n\
                   [    3.000001] #PF: supervisor read access in kernel mode\n\
                   [    3.000002] Oops: Oops: 0000 [#1] SMP\n\
                   [    3.000003] Call Trace:\n\
                   [    3.000004]  <TASK>\n\
                   [    3.000005]  filp_flush+0x12/0x80\n\
                   [    3.000006]  </TASK>\n\
                   [    3.000007] Modules linked in: knem(O)\n\
                   [    9.000000] fine again\n";
        let found = problems(log);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("filp_flush") && !found[0].contains("fine again"));
    }

    #[test]
    fn a_warning_shows_its_cut_line() {
        let log = "[    2.0] before\n[    2.1] ------------[ cut here ]------------\n\
                   [    2.1] WARNING: CPU: 0 PID: 9 at mm/gup.c:1\n[    2.1] ---[ end trace 0 ]---\n[ 2.2] more\n";
        let found = problems(log);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("cut here") && found[0].contains("end trace"), "{found:?}");
    }

    #[test]
    fn single_lines_count_whatever_is_before_them() {
        for line in [
            "<4>[    1.5][   T93] knem: leak: 3 regions",
            "[   60.1] INFO: task knem:93 blocked for more than 30 seconds.",
            "[   60.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[   60.1] rust_kernel: panicked at glue/ioctl.rs:1:1:",
            "[   60.1] general protection fault, probably for non-canonical address",
        ] {
            assert_eq!(problems(line).len(), 1, "{line}");
        }
    }

    #[test]
    fn the_time_is_taken_off() {
        assert_eq!(message("[    1.234567] BUG: x"), "BUG: x");
        assert_eq!(message("<1>[    1.234567][ T12] BUG: x"), "BUG: x");
        assert_eq!(message("[drm] x"), "[drm] x");
    }
}
