// SPDX-License-Identifier: CECILL-B
//! The worker thread of a context: its process, what it copies, and in which order.

use knem_core::uapi;
use nix::errno::Errno;
use nix::libc;

use crate::children::{become_user, in_child, with_open_node, STRANGER};
use crate::counters::{counts, nothing_is_pinned, OFFLOADED, PINNED, PROCESSED, SUBMITTED};
use crate::device::{Inline, Knem, READ, WRITE};
use crate::machine::{need_threads_of_processes, ControlGroup};
use crate::memory::{both, memory_file, Mapping, PAGE};
use crate::random::Random;
use crate::slots::{wait_events, Asynchronous, Plug, Slots, DONE, NOTIFY, PENDING, THREAD};
use crate::threads::Thread;

crate::trials![
    "6.4" thread_starts_with_the_first_request_and_ends_with_the_file,
    "6.4" one_thread_for_each_file,
    "6.4 R12" thread_shows_no_cookie,
    "R23" thread_is_one_of_the_process_that_asks,
    "R23" thread_has_the_nice_value_and_policy_of_its_process,
    "R23" thread_follows_its_process_to_another_control_group,
    "R23" threads_count_against_pids_max,
    "R23" threads_count_against_the_limit_of_processes,
    "R23" member_in_a_cpuset_has_a_thread,
    "R23" thread_is_held_by_the_quota_of_its_group,
    "R23" thread_freezes_with_its_group,
    "6.1" all_ways_of_a_copy_go_through_the_thread,
    "5.4" vectors_go_through_the_thread,
    "5.3" offsets_and_bounds_go_through_the_thread,
    "6.4" requests_are_done_in_their_order,
    "6.4" results_of_one_request_are_the_source_of_the_next,
    "R21" sixty_five_thousand_requests_can_wait,
    "R21" too_many_waiting_requests_are_ebusy,
    "6.4" poller_that_never_yields_gets_its_result,
    "5.5" destroyed_region_is_read_to_the_end,
    "5.6" unmapped_destination_does_no_harm,
    "R40" single_use_is_used_up_at_acceptance,
    "7.1" files_do_not_wait_for_each_other,
    "7.2" many_threads_submit_at_once,
    "R30" kinds_of_memory_through_the_thread,
    "R30" huge_pages_through_the_thread,
    "R33" forked_owner_is_seen_through_the_thread,
];

fn thread_starts_with_the_first_request_and_ends_with_the_file() {
    let knem = Knem::open();
    let before = Thread::all();
    let slots = Slots::map(&knem, 1).expect("mapped");
    let memory = Mapping::holding(b"contents");
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    let local = Mapping::new(8);
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(crate::device::SUCCESS));
    assert_eq!(Thread::all(), before, "none before the first request for it");
    crate::threads::start(&knem, &slots);
    let now = Thread::all();
    let thread = *now.difference(&before).next().expect("one more");
    slots.unmap();
    assert!(thread.exists(), "the mapping may go");
    drop(knem);
    crate::waiting::until("the thread ends", || !thread.exists());
}

fn one_thread_for_each_file() {
    let before = Thread::all().len();
    let files: Vec<Asynchronous> = (0..10).map(|_| Asynchronous::new(1, b"x")).collect();
    for file in &files {
        crate::threads::start(&file.knem, &file.slots);
        crate::threads::start(&file.knem, &file.slots);
    }
    crate::waiting::until("there are ten more threads", || Thread::all().len() == before + 10);
    drop(files);
    crate::waiting::until("they are gone", || Thread::all().len() == before);
}

fn thread_is_one_of_the_process_that_asks() {
    need_threads_of_processes();
    let knem = Knem::open();
    let (thread, slots) = Thread::of(&knem, 1);
    assert_eq!(thread.process(), std::process::id());
    // Another process finds the thread, and needs no other one.
    let before = Thread::all();
    in_child(|| {
        crate::threads::start(&knem, &slots);
        assert_eq!(Thread::all(), before);
    });
    // A process may submit to a context that another one has opened and mapped. The thread is its own then.
    let (knem, before) = (Knem::open(), Thread::all());
    let slots = Slots::map(&knem, 1).expect("mapped");
    in_child(|| {
        crate::threads::start(&knem, &slots);
        let now = Thread::all();
        assert_eq!(now.difference(&before).next().expect("one more").process(), std::process::id());
    });
    crate::waiting::until("the thread ends with its process", || Thread::all() == before);
}

/// Sets the nice value of the calling process, and a policy without realtime priorities.
fn run_at(nice: i32, policy: i32) {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: The call accesses no memory, and changes only this process.
    assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }, 0);
    // SAFETY: The call only reads the parameter, and changes only this process.
    assert_eq!(unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) }, 0);
}

fn thread_has_the_nice_value_and_policy_of_its_process() {
    let kernel_threads_policy = if crate::machine::kernel() < (5, 16) { 0 } else { 5 };
    in_child(|| {
        run_at(7, libc::SCHED_BATCH);
        let knem = Knem::open();
        let (thread, _slots) = Thread::of(&knem, 1);
        assert_eq!(thread.scheduling().0, 7);
    });
    in_child(|| {
        run_at(19, libc::SCHED_IDLE);
        let knem = Knem::open();
        let (thread, _slots) = Thread::of(&knem, 1);
        assert_eq!(thread.scheduling(), (19, kernel_threads_policy));
    });
}

fn thread_follows_its_process_to_another_control_group() {
    need_threads_of_processes();
    let group = ControlGroup::new(&[]);
    in_child(|| {
        let knem = Knem::open();
        let (thread, _slots) = Thread::of(&knem, 1);
        group.join();
        assert!(thread.read("cgroup").is_some_and(|text| text.lines().any(|line| line == group.name())));
    });
}

fn threads_count_against_pids_max() {
    need_threads_of_processes();
    let group = ControlGroup::new(&["pids"]);
    group.set("pids.max", "3");
    in_child(|| {
        group.join();
        let files: Vec<Asynchronous> = (0..3).map(|_| Asynchronous::new(1, b"contents")).collect();
        assert_eq!(files[0].read(0, THREAD), Ok(u32::from(PENDING)));
        assert_eq!(files[1].read(0, THREAD), Ok(u32::from(PENDING)));
        counts(&[(SUBMITTED, 1)], || assert_eq!(files[2].read(0, THREAD), Err(Errno::EAGAIN)));
        assert_eq!(files[2].read(0, 0), Ok(crate::device::SUCCESS), "without the thread");
        group.set("pids.max", "4");
        assert_eq!(files[2].read(0, THREAD), Ok(u32::from(PENDING)), "it may be tried again");
        assert_eq!(files[2].slots.wait(0), DONE);
    });
}

fn threads_count_against_the_limit_of_processes() {
    need_threads_of_processes();
    with_open_node(|| {
        in_child(|| {
            become_user(STRANGER);
            let setting = Asynchronous::new(1, b"contents");
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: The call only reads the limit, and changes only this process.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &none) }, 0);
            assert_eq!(setting.read(0, THREAD), Err(Errno::EAGAIN));
        });
    });
}

fn member_in_a_cpuset_has_a_thread() {
    let group = ControlGroup::new(&["cpuset"]);
    group.set("cpuset.cpus", "0");
    with_open_node(|| {
        in_child(|| {
            group.join();
            become_user(STRANGER);
            let setting = Asynchronous::new(1, b"contents");
            assert_eq!(setting.read(0, THREAD), Ok(u32::from(PENDING)));
            assert_eq!(setting.slots.wait(0), DONE);
            let all = Thread::all();
            assert!(all.iter().all(|thread| thread.processors() == "0"), "{all:?}");
        });
    });
}

/// Runs `work` beside a process in the group whose worker thread has this number of copies of 8 MiB to do.
fn with_busy_thread(group: &ControlGroup, copies: usize, work: impl FnOnce()) {
    let (ready, signal) = nix::unistd::pipe().expect("pipe");
    let child = crate::children::Child::start(|| {
        group.join();
        let knem = Knem::open();
        let _slots = Slots::map(&knem, 1).expect("mapped");
        let plug = Plug::new(&knem);
        plug.insert(&knem, 0, copies);
        nix::unistd::write(&signal, b"!").expect("written");
        loop {
            nix::unistd::pause();
        }
    });
    assert_eq!(nix::unistd::read(&ready, &mut [0]), Ok(1));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    nix::sys::signal::kill(child.id(), nix::sys::signal::Signal::SIGKILL).expect("killed");
    child.wait();
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    nothing_is_pinned();
}

fn thread_is_held_by_the_quota_of_its_group() {
    need_threads_of_processes();
    let group = ControlGroup::new(&["cpu"]);
    let usage = || -> u64 {
        let text = group.get("cpu.stat");
        let value = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).expect("cpu.stat");
        value.parse().expect("a number")
    };
    with_busy_thread(&group, 10_000, || {
        group.set("cpu.max", "10000 100000");
        // CPU time that was used before the quota is not counted.
        std::thread::sleep(std::time::Duration::from_millis(500));
        let (before, start) = (usage(), std::time::Instant::now());
        std::thread::sleep(std::time::Duration::from_secs(3));
        let (used, elapsed) = (u128::from(usage() - before), start.elapsed().as_micros());
        assert!(used > 0, "it has something to do");
        assert!(used * 100 < elapsed * 25, "10 % of a CPU are allowed; it had {used} of {elapsed} us");
        group.set("cpu.max", "max");
    });
}

fn thread_freezes_with_its_group() {
    need_threads_of_processes();
    let group = ControlGroup::new(&[]);
    with_busy_thread(&group, 1000, || {
        let frozen = |is: bool| group.get("cgroup.events").lines().any(|line| line == format!("frozen {}", u8::from(is)));
        group.set("cgroup.freeze", "1");
        crate::waiting::until("the group is frozen", || frozen(true));
        group.set("cgroup.freeze", "0");
        crate::waiting::until("the group goes on", || frozen(false));
    });
}

fn thread_shows_no_cookie() {
    let knem = Knem::open();
    let cookies: Vec<u64> = (0..8).map(|_| knem.create(&[], READ, 0).expect("created")).collect();
    let (thread, _slots) = Thread::of(&knem, 1);
    let name = thread.read("comm").expect("a name");
    let number = name.trim().strip_prefix("knem-ctx-").expect("the known name");
    assert!(!number.is_empty() && number.chars().all(|digit| digit.is_ascii_hexdigit()), "{name}");
    let number = u64::from_str_radix(number, 16).expect("a number");
    for cookie in cookies {
        // Neither half of the cookie, nor the half in which the original driver had the context, is the number.
        for part in [cookie & 0xffff_ffff, cookie >> 32, cookie & 0x7fff_ffff] {
            assert_ne!(part, number, "{cookie:#x} and {name}");
        }
    }
}

fn all_ways_of_a_copy_go_through_the_thread() {
    let data = Random::new(5).bytes(70_001);
    let mut setting = Asynchronous::new(1, &data);
    for flags in [THREAD, THREAD | uapi::FLAG_PINLOCAL] {
        setting.blank();
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (OFFLOADED, 1), (PINNED, 1)], || {
            assert_eq!(setting.read(1, flags), Ok(u32::from(PENDING)));
        });
        assert_eq!(setting.slots.wait(1), DONE);
        assert!(setting.local.bytes() == data);
        let other: Vec<u8> = data.iter().map(|byte| !byte).collect();
        setting.local.bytes_mut().copy_from_slice(&other);
        assert_eq!(setting.write(2, flags), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.wait(2), DONE);
        assert!(setting.memory.bytes() == other);
        setting.memory.bytes_mut().copy_from_slice(&data);
        setting.slots.set(1, PENDING);
        setting.slots.set(2, PENDING);
    }
    let target = Mapping::new(data.len());
    let destination = setting.knem.create(&[target.segment()], WRITE, 0).expect("created");
    for (index, bound) in [(3, None), (4, Some(10_000))] {
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (OFFLOADED, 1)], || {
            let outcome = setting.knem.copy_at((setting.region, 0), (destination, 0), bound, THREAD, index);
            assert_eq!(outcome, Ok(u32::from(PENDING)));
        });
        assert_eq!(setting.slots.wait(index), DONE);
        assert!(target.bytes() == data);
    }
}

fn vectors_go_through_the_thread() {
    let (from, to) = ([7usize, 253, 14567, 123_456], [123_456usize, 12345, 253, 86523, 7]);
    let (length, capacity) = (from.iter().sum::<usize>(), to.iter().sum::<usize>());
    let data = Random::new(6).bytes(length + 4 * from.len());
    let memory = Mapping::holding(&data);
    let setting = Asynchronous::new(1, b"x");
    // Three bytes between the segments, which must not be copied.
    let mut place = 0;
    let (mut segments, mut stream) = (Vec::new(), Vec::new());
    for part in from {
        segments.push(memory.part(place, part));
        stream.extend_from_slice(&data[place..place + part]);
        place += part + 3;
    }
    let region = setting.knem.create(&segments, READ, 0).expect("created");
    let local = Mapping::new(capacity);
    let mut place = 0;
    let into: Vec<_> = to
        .iter()
        .map(|part| {
            place += part;
            local.part(place - part, *part)
        })
        .collect();
    let request = Inline { cookie: region, segments: &into, flags: THREAD, ..Inline::default() };
    assert_eq!(setting.knem.inline_at(request, 0), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(0), DONE);
    assert!(local.bytes()[..length] == stream && local.bytes()[length..].iter().all(|byte| *byte == 0));
}

fn offsets_and_bounds_go_through_the_thread() {
    let setting = Asynchronous::new(1, b"0123456789");
    for (index, (offset, bound, expected)) in (0..).zip([
        (0, 3, &b"012......."[..]),
        (7, 100, b"789......."),
        (9, u64::MAX, b"9........."),
        (10, 5, b".........."),
        (u64::MAX, u64::MAX, b".........."),
        (2, 0, b".........."),
    ]) {
        let local = Mapping::holding(b"..........");
        let segments = &[local.segment()];
        let request =
            Inline { cookie: setting.region, offset, segments, bound: Some(bound), flags: THREAD, ..Inline::default() };
        assert_eq!(setting.knem.inline_at(request, index), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.wait(index), DONE);
        assert_eq!(local.bytes(), expected, "{offset} {bound}");
    }
}

fn requests_are_done_in_their_order() {
    const COUNT: u32 = 1000;
    let setting = Asynchronous::new(1, &[3; 100_000]);
    let (mut random, mut expected) = (Random::new(9), Vec::new());
    for _ in 0..COUNT {
        // Short copies behind long ones, to slots in any order.
        let length = [1, 64, 4096, 100_000][random.below(4)];
        let index = u32::try_from(random.below(4096)).expect("a slot");
        let outcome = setting.read_into(&[setting.local.part(0, length)], index, NOTIFY);
        assert_eq!(outcome, Ok(u32::from(PENDING)));
        expected.push(index);
    }
    assert_eq!(wait_events(&setting.knem, COUNT as usize), expected);
}

fn results_of_one_request_are_the_source_of_the_next() {
    const LENGTH: usize = 50_000;
    let data = Random::new(10).bytes(LENGTH);
    let setting = Asynchronous::new(1, &data);
    // A chain of copies, each from the destination of the previous one.
    let buffers: Vec<Mapping> = (0..40).map(|_| Mapping::new(LENGTH)).collect();
    let regions: Vec<u64> = std::iter::once(setting.region)
        .chain(buffers.iter().map(|buffer| setting.knem.create(&[buffer.segment()], READ | WRITE, 0).expect("created")))
        .collect();
    for (index, pair) in (0..).zip(regions.windows(2)) {
        let outcome = setting.knem.copy_at((pair[0], 0), (pair[1], 0), None, THREAD, index);
        assert_eq!(outcome, Ok(u32::from(PENDING)));
    }
    assert_eq!(setting.slots.wait(39), DONE);
    assert!((0..40).all(|index| setting.slots.get(index) == DONE), "the last one is the last one");
    assert!(buffers[39].bytes() == data);
}

fn sixty_five_thousand_requests_can_wait() {
    const COUNT: u32 = 65_536;
    const PLUGS: u32 = 16;
    let knem = Knem::open();
    let slots = Slots::map(&knem, COUNT as usize).expect("mapped");
    let (memory, plug) = (Mapping::holding(&[1; 64]), Plug::new(&knem));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    let source = (region, 0);
    // Long copies first, so that the short ones pile up.
    plug.insert(&knem, 0, PLUGS as usize);
    for index in PLUGS..COUNT {
        let outcome = knem.copy_at(source, (region, 32), Some(32), THREAD, index);
        assert_eq!(outcome, Ok(u32::from(PENDING)), "{index}");
    }
    assert_eq!(slots.wait(COUNT - 1), DONE);
    assert!((PLUGS..COUNT).all(|index| slots.get(index) == DONE));
    plug.remove(&knem);
}

fn too_many_waiting_requests_are_ebusy() {
    crate::parameters::with_parameter("max_queued", "4", || {
        let knem = Knem::open();
        let slots = Slots::map(&knem, 1).expect("mapped");
        let plug_memory = Mapping::holding(&vec![1; 16 << 20]);
        let source = knem.create(&[plug_memory.part(0, 8 << 20)], READ, 0).expect("created");
        let target = knem.create(&[plug_memory.part(8 << 20, 8 << 20)], WRITE, 0).expect("created");
        let submit = |index| knem.copy_at((source, 0), (target, 0), None, THREAD, index);
        let refused = (0..2000).map(|_| submit(1)).find(|outcome| *outcome != Ok(u32::from(PENDING)));
        assert_eq!(refused, Some(Err(Errno::EBUSY)));
        crate::waiting::until("there is room again", || submit(2).is_ok());
        assert_eq!(slots.wait(2), DONE);
    });
}

fn poller_that_never_yields_gets_its_result() {
    let cpu = crate::machine::processors()[0];
    crate::machine::on_processors(&[cpu], || {
        // By default the thread is bound to the CPUs of the process that maps the status array.
        let mut setting = Asynchronous::new(1, &[7; 300_000]);
        for index in 0..20 {
            setting.blank();
            assert_eq!(setting.read(index, THREAD), Ok(u32::from(PENDING)));
            let start = std::time::Instant::now();
            while setting.slots.get(index) == PENDING {
                assert!(start.elapsed().as_secs() < 120, "the thread never runs");
            }
            assert!(setting.local.bytes().iter().all(|byte| *byte == 7));
        }
    });
}

fn destroyed_region_is_read_to_the_end() {
    for _ in 0..20 {
        let mut setting = Asynchronous::new(1, &[5; 200_000]);
        setting.blank();
        assert_eq!(setting.read(0, THREAD), Ok(u32::from(PENDING)));
        assert_eq!(setting.knem.destroy(setting.region), Ok(()));
        assert_eq!(setting.read(1, THREAD), Err(Errno::EINVAL), "at once");
        assert_eq!(setting.slots.wait(0), DONE);
        assert!(setting.local.bytes().iter().all(|byte| *byte == 5));
    }
    nothing_is_pinned();
}

fn unmapped_destination_does_no_harm() {
    for _ in 0..20 {
        let setting = Asynchronous::new(1, &[5; 200_000]);
        let Asynchronous { knem, slots, region, local, memory } = setting;
        let segments = [local.segment()];
        let request = Inline { cookie: region, segments: &segments, flags: THREAD, ..Inline::default() };
        assert_eq!(knem.inline_at(request, 0), Ok(u32::from(PENDING)));
        drop(local);
        // New memory, most likely at the same address: it must not change.
        let fresh = Mapping::new(200_000);
        drop(memory);
        assert_eq!(slots.wait(0), DONE);
        assert!(fresh.bytes().iter().all(|byte| *byte == 0));
    }
    nothing_is_pinned();
}

fn single_use_is_used_up_at_acceptance() {
    let setting = Asynchronous::new(1, b"x");
    let single = setting.knem.create(&[setting.memory.segment()], READ, uapi::FLAG_SINGLEUSE).expect("created");
    let segments = &[setting.local.segment()];
    let request = Inline { cookie: single, segments, flags: THREAD, ..Inline::default() };
    assert_eq!(setting.knem.inline_at(request, 0), Ok(u32::from(PENDING)));
    assert_eq!(setting.knem.inline_at(request, 1), Err(Errno::EINVAL));
    assert_eq!(setting.knem.destroy(single), Err(Errno::EINVAL));
    assert_eq!(setting.slots.wait(0), DONE);
    assert_eq!(setting.local.bytes(), b"x");
}

fn files_do_not_wait_for_each_other() {
    let busy = Asynchronous::new(1, b"x");
    let plug = Plug::new(&busy.knem);
    plug.insert(&busy.knem, 0, 200);
    let idle = Asynchronous::new(1, b"x");
    assert_eq!(idle.read(0, THREAD), Ok(u32::from(PENDING)));
    assert_eq!(idle.slots.wait(0), DONE);
    plug.remove(&busy.knem);
}

fn many_threads_submit_at_once() {
    const EACH: u32 = 300;
    let setting = Asynchronous::new(1, &[8; 3000]);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let setting = &setting;
            scope.spawn(move || {
                let local = Mapping::new(3000);
                for n in 0..EACH {
                    let index = thread * EACH + n;
                    let segments = &[local.segment()];
                    assert_eq!(setting.read_into(segments, index, NOTIFY), Ok(u32::from(PENDING)));
                }
                assert_eq!(setting.slots.wait(thread * EACH + EACH - 1), DONE);
                assert!(local.bytes().iter().all(|byte| *byte == 8));
            });
        }
    });
    let mut seen = wait_events(&setting.knem, 6 * EACH as usize);
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..6 * EACH));
}

/// Reads the region into this memory with the worker thread, and writes it back changed.
fn there_and_back(memory: &mut Mapping) {
    let length = memory.len();
    let data = Random::new(length as u64).bytes(length);
    let setting = Asynchronous::new(1, &data);
    assert_eq!(setting.read_into(&[memory.segment()], 0, THREAD), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(0), DONE);
    assert!(memory.bytes() == data);
    memory.bytes_mut().reverse();
    let segments = &[memory.segment()];
    let request = Inline { cookie: setting.region, segments, flags: THREAD, write: 1, ..Inline::default() };
    assert_eq!(setting.knem.inline_at(request, 1), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(1), DONE);
    assert!(setting.memory.bytes().iter().eq(data.iter().rev()));
    // The same memory as a region.
    let region = setting.knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    let destination = (region, 0);
    assert_eq!(setting.knem.copy_at((setting.region, 0), destination, None, THREAD, 2), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(2), DONE);
    assert!(memory.bytes().iter().eq(data.iter().rev()));
}

fn kinds_of_memory_through_the_thread() {
    use nix::sys::mman::{MapFlags, MmapAdvise};
    there_and_back(&mut Mapping::new(5 * PAGE + 77));
    let file = memory_file(8 * PAGE);
    there_and_back(&mut Mapping::of_file(&file, 8 * PAGE, both(), MapFlags::MAP_SHARED));
    there_and_back(&mut Mapping::of_file(&file, 8 * PAGE, both(), MapFlags::MAP_PRIVATE));
    if let Ok(file) = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open("/dev/shm/knem-conformance")
    {
        let _ = std::fs::remove_file("/dev/shm/knem-conformance");
        file.set_len(3 * PAGE as u64).expect("ftruncate");
        there_and_back(&mut Mapping::of_file(&file, 3 * PAGE, both(), MapFlags::MAP_SHARED));
    }
    // The zero page, which all processes share until the memory is written.
    let zeros = Mapping::new(4 * PAGE);
    assert_eq!(zeros.bytes()[PAGE], 0);
    let mut setting = Asynchronous::new(1, &[1; 4 * PAGE]);
    let region = setting.knem.create(&[zeros.segment()], READ, 0).expect("created");
    let segments = &[setting.local.segment()];
    let request = Inline { cookie: region, segments, flags: THREAD, ..Inline::default() };
    setting.blank();
    assert_eq!(setting.knem.inline_at(request, 0), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(0), DONE);
    assert!(setting.local.bytes() == [0; 4 * PAGE]);
    drop((setting, zeros));
    let mut huge = Mapping::new(6 << 20);
    huge.advise(MmapAdvise::MADV_HUGEPAGE);
    there_and_back(&mut huge);
    nothing_is_pinned();
}

fn huge_pages_through_the_thread() {
    const HUGE: usize = 2 << 20;
    let pool = "/proc/sys/vm/nr_hugepages";
    if let Err(error) = std::fs::write(pool, "4") {
        crate::skip(format!("no pool of huge pages can be made: {error}"));
    }
    let file = nix::sys::memfd::memfd_create(c"knem-huge", nix::sys::memfd::MFdFlags::MFD_HUGETLB).expect("memfd");
    nix::unistd::ftruncate(&file, 2 * HUGE as i64).expect("ftruncate");
    there_and_back(&mut Mapping::of_file(&file, 2 * HUGE, both(), nix::sys::mman::MapFlags::MAP_SHARED));
    drop(file);
    nothing_is_pinned();
    std::fs::write(pool, "0").expect("the pool goes");
}

fn forked_owner_is_seen_through_the_thread() {
    let mut setting = Asynchronous::new(1, &[1; 4 * PAGE]);
    let (wait, go) = nix::unistd::pipe().expect("pipe");
    let child = crate::children::Child::start(|| {
        nix::unistd::read(&wait, &mut [0]).expect("a signal");
        assert!(setting.memory.bytes() == [1; 4 * PAGE] && setting.local.bytes() == [0; 4 * PAGE]);
    });
    setting.memory.bytes_mut().fill(2);
    assert_eq!(setting.read(0, THREAD), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(0), DONE);
    assert!(setting.local.bytes() == [2; 4 * PAGE], "what the parent has written since");
    nix::unistd::write(&go, b"!").expect("written");
    child.succeeds();
}
