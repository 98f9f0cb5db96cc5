// SPDX-License-Identifier: CECILL-B
//! The worker thread of a context is subject to the limits of its process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{setrlimit, Resource};

use crate::children::{become_user, in_child, with_open_node};
use crate::device::{Inline, Knem, READ, WRITE};
use crate::machine::{need_kernel, need_threads_of_processes, ControlGroup};
use crate::mapping::Mapping;
use crate::party::{limit, Attacker, Shared, ATTACKER};
use crate::slots::{Slots, THREAD};

crate::trials![
    "A1" member_in_a_cpuset_has_a_thread,
    "A7" threads_count_among_a_users_processes,
    "A7" threads_count_among_a_groups_tasks,
    "R23 A2" quota_holds_the_thread,
    "A3" threads_move_no_task_between_groups,
];

/// Maps a context's status array, and makes a request for its worker thread.
fn request(knem: &Knem) -> Result<Slots, Errno> {
    let slots = Slots::map(knem, 1).expect("mapped");
    let region = knem.create(&[], READ, 0).expect("created");
    knem.inline_at(Inline { cookie: region, flags: THREAD, ..Inline::default() }, 0)?;
    Ok(slots)
}

fn member_in_a_cpuset_has_a_thread() {
    with_open_node(|| {
        let group = ControlGroup::new(&["cpuset"]);
        group.set("cpuset.cpus", &crate::machine::need_processors()[1].to_string());
        in_child(|| {
            group.join();
            become_user(ATTACKER);
            request(&Knem::open()).expect("accepted");
        });
    });
}

/// Number of contexts, and the most that may have a thread: of 5 tasks one is the process itself.
const FILES: usize = 40;
const TASKS: u64 = 5;

/// Requests a thread for each of many contexts, and returns for how many there was one.
fn threads_for_many() -> usize {
    let mut kept = Vec::new();
    for _ in 0..FILES {
        let knem = Knem::open();
        match request(&knem) {
            Ok(slots) => kept.push((knem, slots)),
            Err(errno) => assert_eq!(errno, Errno::EAGAIN, "as for any thread beyond the limit"),
        }
    }
    kept.len()
}

fn threads_count_among_a_users_processes() {
    with_open_node(|| {
        in_child(|| {
            become_user(ATTACKER);
            setrlimit(Resource::RLIMIT_NPROC, TASKS, TASKS).expect("setrlimit");
            let threads = threads_for_many();
            assert!(threads <= TASKS as usize, "{threads} threads");
            assert!(threads > 0, "no thread");
        });
    });
}

fn threads_count_among_a_groups_tasks() {
    need_threads_of_processes();
    with_open_node(|| {
        let group = ControlGroup::new(&["pids"]);
        group.set("pids.max", &TASKS.to_string());
        in_child(|| {
            group.join();
            become_user(ATTACKER);
            let threads = threads_for_many();
            assert!(threads < TASKS as usize, "{threads} threads beside the process");
            assert!(threads > 0, "no thread");
        });
    });
}

/// Returns the microseconds of CPU time that a group has used.
fn used(group: &Path) -> u64 {
    let text = fs::read_to_string(group.join("cpu.stat")).expect("cpu.stat");
    let line = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).expect("usage_usec");
    line.parse().expect("a number")
}

fn quota_holds_the_thread() {
    need_kernel((5, 16), "a kernel thread cannot join a control group of the unified hierarchy");
    with_open_node(|| {
        let group = ControlGroup::new(&["cpu"]);
        let path = Path::new("/sys/fs/cgroup").join(group.name().trim_start_matches("0::/"));
        let attacker = Attacker::start_in(&group, |begun| {
            let bytes = 16 << 20;
            let (from, to) = (Mapping::holding(&vec![1; bytes]), Mapping::holding(&vec![2; bytes]));
            let knem = Knem::open();
            let slots = Slots::map(&knem, 2000).expect("mapped");
            let source = knem.create(&[from.segment()], READ, 0).expect("created");
            let target = knem.create(&[to.segment()], WRITE, 0).expect("created");
            for slot in 0..2000 {
                knem.copy_at((source, 0), (target, 0), None, THREAD, slot).expect("accepted");
            }
            begun();
            let _kept = (from, to, knem, slots);
            loop {
                nix::unistd::pause();
            }
        });
        group.set("cpu.max", "10000 100000");
        std::thread::sleep(Duration::from_secs(2));
        let (start, before) = (std::time::Instant::now(), used(&path));
        std::thread::sleep(Duration::from_secs(8));
        let (time, spent) = (start.elapsed(), used(&path) - before);
        group.set("cpu.max", "max");
        let share = spent as f64 / time.as_micros() as f64;
        assert!(share <= 0.15, "{:.0} % of a CPU under a quota of 10 %", share * 100.0);
        assert!(spent > 0, "the thread works");
        drop(attacker);
    });
}

/// The kernel's tracing directory.
const TRACING: &str = "/sys/kernel/tracing";

fn threads_move_no_task_between_groups() {
    let event = format!("{TRACING}/events/cgroup/cgroup_attach_task/enable");
    let _ = nix::mount::mount(Some("none"), TRACING, Some("tracefs"), nix::mount::MsFlags::empty(), None::<&str>);
    if !Path::new(&event).exists() {
        crate::runner::skip("this kernel does not trace moves between control groups");
    }
    // A move stops every fork, exec and exit of the machine.
    let mapped = moves(&event, || drop(Slots::map(&Knem::open(), 1).expect("mapped")));
    assert_eq!(mapped, 0, "moves while status arrays are mapped");
    need_threads_of_processes();
    let requested = moves(&event, || drop(request(&Knem::open()).expect("accepted")));
    assert_eq!(requested, 0, "moves while threads are started");
}

/// Runs `action` a hundred times as a member in a control group, and returns how many tasks were moved between groups.
fn moves(event: &str, action: impl Fn()) -> usize {
    with_open_node(|| {
        let group = ControlGroup::new(&["cpu"]);
        let (joined, go) = (Shared::new(), Shared::new());
        let child = crate::children::Child::start(|| {
            group.join();
            limit(crate::party::LIMIT);
            become_user(ATTACKER);
            joined.set(1);
            crate::waiting::until("tracing", || go.get() != 0);
            (0..100).for_each(|_| action());
        });
        crate::waiting::until("the member has joined", || joined.get() != 0);
        fs::write(format!("{TRACING}/trace"), "").expect("trace");
        fs::write(event, "1").expect("enabled");
        go.set(1);
        child.succeeds();
        fs::write(event, "0").expect("disabled");
        let trace = fs::read_to_string(format!("{TRACING}/trace")).expect("trace");
        trace.lines().filter(|line| line.contains("cgroup_attach_task:")).count()
    })
}
