// SPDX-License-Identifier: CECILL-B
//! Completion events: read and polled from the file.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use knem_core::uapi;
use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, OFlag};
use nix::libc;
use nix::poll::{PollFlags, PollTimeout};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::select::{select, FdSet};
use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};

use crate::children::{become_user, in_child, with_open_node, STRANGER};
use crate::device::{Inline, Knem, READ, SUCCESS};
use crate::memory::{hole, Mapping, PAGE};
use crate::random::Random;
use crate::slots::{events, poll_for, poll_now, wait_events, Asynchronous, Slots, DONE, NOTIFY, PENDING, POISON, THREAD};

crate::trials![
    "7.3" events_are_indices_in_completion_order,
    "7.3" slot_is_final_before_the_event,
    "7.3" requests_without_the_flag_have_no_event,
    "7.3" duplicate_indices_are_fine,
    "7.3" capacity_is_the_number_of_slots,
    "7.3" reading_frees_capacity,
    "7.3" queue_can_go_round_many_times,
    "7.3 R42 W10" empty_requests_have_events,
    "7.3" requests_done_in_the_caller_have_events,
    "7.3" lengths_that_are_no_multiple_of_four_are_einval,
    "7.3" nothing_is_read_into_nothing,
    "7.3 W6" reading_before_the_mapping_is_einval,
    "7.3" blocking_read_waits_until_its_buffer_is_full,
    "7.3" non_blocking_read_takes_what_is_there,
    "7.3" non_blocking_read_of_nothing_is_eagain,
    "7.3" mode_can_change_between_reads,
    "7.3" signal_ends_a_read_without_events_with_eintr,
    "7.3" reads_are_not_restarted,
    "7.3" signal_ends_a_read_with_the_events_so_far,
    "7.3 R42 W15" fault_loses_no_event,
    "7.3 R42" partial_fault_loses_no_event,
    "7.3 R42" readers_share_the_events,
    "7.3" poll_before_the_mapping_is_pollerr,
    "7.3" poll_tells_of_events_and_nothing_else,
    "7.3" poll_wakes_up,
    "7.3" select_wakes_up,
    "7.3" epoll_wakes_up,
    "7.3" epoll_edge_is_seen_for_each_event,
    "7.3" epoll_from_before_the_mapping_wakes_up,
    "7.3" epoll_edge_from_before_the_mapping_is_seen,
    "7.3" mapping_wakes_those_who_polled_before,
    "7.3" first_event_needs_memory_that_may_be_refused,
    "7.3" file_position_is_not_looked_at,
    "10" forked_process_reads_the_events,
    "7.3" killed_reader_loses_nothing_unread,
    "7.3 R42" events_are_conserved_under_load,
];

fn setting() -> Asynchronous {
    Asynchronous::new(1, b"contents")
}

/// Requests that complete at once, or soon, with these indices.
fn submit(setting: &Asynchronous, indices: impl IntoIterator<Item = u32>) {
    for index in indices {
        assert_eq!(setting.read(index, NOTIFY), Ok(u32::from(PENDING)));
    }
}

/// Waits until an event can be read.
fn readable(setting: &Asynchronous) {
    assert_eq!(poll_for(&setting.knem, PollTimeout::NONE), PollFlags::POLLIN);
}

fn set_blocking(knem: &Knem, blocking: bool) {
    let flags = OFlag::O_RDWR | if blocking { OFlag::empty() } else { OFlag::O_NONBLOCK };
    fcntl(knem.fd(), FcntlArg::F_SETFL(flags)).expect("fcntl");
}

fn events_are_indices_in_completion_order() {
    let setting = setting();
    let indices = [3, 4095, 0, 77, 4094, 1];
    submit(&setting, indices);
    assert_eq!(wait_events(&setting.knem, indices.len()), indices);
    assert_eq!(poll_now(&setting.knem), PollFlags::empty());
}

fn slot_is_final_before_the_event() {
    let setting = setting();
    for index in 0..300 {
        setting.slots.set(index, POISON);
        submit(&setting, [index]);
        assert_eq!(wait_events(&setting.knem, 1), [index]);
        assert_eq!(setting.slots.get(index), DONE);
    }
}

fn requests_without_the_flag_have_no_event() {
    let setting = setting();
    assert_eq!(setting.read(1, THREAD), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(1), DONE);
    assert_eq!(setting.read(0, 0), Ok(SUCCESS));
    submit(&setting, [2]);
    assert_eq!(wait_events(&setting.knem, 1), [2]);
    assert_eq!(poll_now(&setting.knem), PollFlags::empty());
}

fn duplicate_indices_are_fine() {
    let setting = setting();
    submit(&setting, [5, 5, 5]);
    assert_eq!(wait_events(&setting.knem, 3), [5, 5, 5]);
}

fn capacity_is_the_number_of_slots() {
    for (bytes, capacity) in [(1, 4096), (4097, 8192)] {
        let setting = Asynchronous::new(bytes, b"contents");
        submit(&setting, 0..capacity);
        assert_eq!(setting.read(0, NOTIFY), Err(Errno::EBUSY));
        // Also when all of them have completed.
        assert_eq!(setting.slots.wait(capacity - 1), DONE);
        assert_eq!(setting.read(0, NOTIFY), Err(Errno::EBUSY));
        let place = (setting.region, 0);
        assert_eq!(setting.knem.copy_at(place, place, None, NOTIFY, 0), Err(Errno::EBUSY));
        // Requests without an event are none of its business.
        assert_eq!(setting.read(0, THREAD), Ok(u32::from(PENDING)));
        assert_eq!(setting.read(0, 0), Ok(SUCCESS));
        assert!(wait_events(&setting.knem, capacity as usize).into_iter().eq(0..capacity));
    }
}

fn reading_frees_capacity() {
    let setting = setting();
    submit(&setting, 0..4096);
    for round in 0..10 {
        assert_eq!(setting.read(round, NOTIFY), Err(Errno::EBUSY));
        assert_eq!(wait_events(&setting.knem, 3).len(), 3);
        submit(&setting, [round, round, round]);
    }
    assert_eq!(setting.read(0, NOTIFY), Err(Errno::EBUSY));
    wait_events(&setting.knem, 4096);
}

fn queue_can_go_round_many_times() {
    let (setting, mut random) = (setting(), Random::new(4));
    let (mut submitted, mut expected) = (0u32, 0u32);
    while expected < 20_000 {
        let free = 4096 - (submitted - expected);
        let count = u32::try_from(random.below(free as usize + 1)).expect("small");
        submit(&setting, (submitted..submitted + count).map(|n| n % 4096));
        submitted += count;
        let count = u32::try_from(random.below((submitted - expected) as usize + 1)).expect("small");
        if count > 0 {
            let read = wait_events(&setting.knem, count as usize);
            assert!(read.into_iter().eq((expected..expected + count).map(|n| n % 4096)));
            expected += count;
        }
    }
}

fn empty_requests_have_events() {
    let setting = setting();
    for index in 0..5000 {
        let index = index % 4096;
        assert_eq!(setting.read_into(&[], index, NOTIFY), Ok(u32::from(PENDING)));
        assert_eq!(wait_events(&setting.knem, 1), [index], "and capacity does not leak");
        assert_eq!(setting.slots.get(index), DONE);
    }
}

fn requests_done_in_the_caller_have_events() {
    // A thread flag for an engine that is not there: the caller does it.
    let setting = setting();
    if setting.knem.info().features & uapi::FEATURE_DMA != 0 {
        crate::skip("there is a DMA engine");
    }
    assert_eq!(setting.read(9, uapi::FLAG_DMATHREAD | uapi::FLAG_NOTIFY_FD), Ok(SUCCESS));
    assert_eq!(setting.slots.get(9), DONE);
    assert_eq!(poll_now(&setting.knem), PollFlags::POLLIN);
    assert_eq!(wait_events(&setting.knem, 1), [9]);
}

fn lengths_that_are_no_multiple_of_four_are_einval() {
    let setting = setting();
    submit(&setting, [1, 2]);
    for length in [1, 2, 3, 5, 6, 7, 4095, 4097] {
        assert_eq!(events(&setting.knem, length), Err(Errno::EINVAL), "{length}");
    }
    assert_eq!(wait_events(&setting.knem, 2), [1, 2]);
}

fn nothing_is_read_into_nothing() {
    let setting = setting();
    assert_eq!(events(&setting.knem, 0), Ok(Vec::new()), "without waiting");
    submit(&setting, [1]);
    readable(&setting);
    assert_eq!(events(&setting.knem, 0), Ok(Vec::new()));
    assert_eq!(wait_events(&setting.knem, 1), [1]);
}

fn reading_before_the_mapping_is_einval() {
    let knem = Knem::open();
    for blocking in [true, false] {
        set_blocking(&knem, blocking);
        for length in [4, 8, 4096] {
            assert_eq!(events(&knem, length), Err(Errno::EINVAL));
        }
    }
}

/// A task of this process that a test waits for.
struct Sleeper(AtomicI32);

impl Sleeper {
    fn new() -> Self {
        Self(AtomicI32::new(0))
    }

    /// To be called by the task.
    fn is_me(&self) {
        self.0.store(nix::unistd::gettid().as_raw(), Ordering::Release);
    }

    /// Waits until it sleeps in the kernel.
    fn sleeps(&self) {
        crate::waiting::until("the other thread sleeps", || {
            let task = self.0.load(Ordering::Acquire);
            let stat = std::fs::read_to_string(format!("/proc/self/task/{task}/stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
        });
    }
}

fn blocking_read_waits_until_its_buffer_is_full() {
    let (setting, sleeper) = (setting(), Sleeper::new());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            sleeper.is_me();
            events(&setting.knem, 12)
        });
        for index in [7, 8, 9] {
            sleeper.sleeps();
            assert!(!reader.is_finished());
            submit(&setting, [index]);
        }
        assert_eq!(reader.join().expect("the reader"), Ok(vec![7, 8, 9]));
    });
}

fn non_blocking_read_takes_what_is_there() {
    let setting = setting();
    set_blocking(&setting.knem, false);
    submit(&setting, [1, 2, 3]);
    assert_eq!(setting.slots.wait(3), DONE);
    let mut got = Vec::new();
    crate::waiting::until("three events come", || {
        match events(&setting.knem, 4096 * 4) {
            Ok(more) => got.extend(more),
            Err(errno) => assert_eq!(errno, Errno::EAGAIN),
        }
        got.len() >= 3
    });
    assert_eq!(got, [1, 2, 3]);
}

fn non_blocking_read_of_nothing_is_eagain() {
    let setting = setting();
    set_blocking(&setting.knem, false);
    assert_eq!(events(&setting.knem, 4), Err(Errno::EAGAIN));
    assert_eq!(events(&setting.knem, 0), Ok(Vec::new()));
    assert_eq!(events(&setting.knem, 5), Err(Errno::EINVAL));
    submit(&setting, [1]);
    readable(&setting);
    assert_eq!(events(&setting.knem, 8), Ok(vec![1]));
    assert_eq!(events(&setting.knem, 8), Err(Errno::EAGAIN));
}

fn mode_can_change_between_reads() {
    let setting = setting();
    for round in 0..20 {
        submit(&setting, [round, round + 1, round + 2]);
        assert_eq!(wait_events(&setting.knem, 2), [round, round + 1]);
        readable(&setting);
        set_blocking(&setting.knem, false);
        assert_eq!(events(&setting.knem, 400), Ok(vec![round + 2]));
        assert_eq!(events(&setting.knem, 400), Err(Errno::EAGAIN));
        set_blocking(&setting.knem, true);
    }
}

extern "C" fn nothing(_: libc::c_int) {}

/// Has a signal come again and again during `work`, in a process with one thread.
fn with_signals(flags: SaFlags, work: impl FnOnce()) {
    in_child(|| {
        let action = SigAction::new(SigHandler::Handler(nothing), flags, SigSet::empty());
        // SAFETY: the handler does nothing.
        unsafe { sigaction(Signal::SIGALRM, &action) }.expect("sigaction");
        let every = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        // SAFETY: a timer of this process.
        let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
        assert_eq!(set, 0);
        work();
    });
}

fn signal_ends_a_read_without_events_with_eintr() {
    let setting = setting();
    with_signals(SaFlags::empty(), || assert_eq!(events(&setting.knem, 8), Err(Errno::EINTR)));
}

fn reads_are_not_restarted() {
    let setting = setting();
    with_signals(SaFlags::SA_RESTART, || assert_eq!(events(&setting.knem, 8), Err(Errno::EINTR)));
}

fn signal_ends_a_read_with_the_events_so_far() {
    let setting = setting();
    submit(&setting, [4, 5]);
    assert_eq!(setting.slots.wait(5), DONE);
    readable(&setting);
    with_signals(SaFlags::empty(), || {
        // A signal that comes before the read is lost; the next one is not.
        let mut got = Vec::new();
        while got.len() < 2 {
            match events(&setting.knem, 12) {
                Ok(some) => got.extend(some),
                Err(errno) => assert_eq!(errno, Errno::EINTR),
            }
        }
        assert_eq!(got, [4, 5]);
        assert_eq!(events(&setting.knem, 12), Err(Errno::EINTR));
    });
}

fn read_at(knem: &Knem, address: u64, length: usize) -> Result<usize, Errno> {
    let place = std::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: the kernel checks the address; where memory is, it is the test's own.
    let result = unsafe { libc::read(knem.fd().as_raw_fd(), place, length) };
    Errno::result(result).map(|length| usize::try_from(length).expect("a length"))
}

fn fault_loses_no_event() {
    let setting = setting();
    submit(&setting, 1..=4);
    assert_eq!(setting.slots.wait(4), DONE);
    readable(&setting);
    set_blocking(&setting.knem, false);
    for address in [hole(), 0, 1, 0xffff_8880_0000_0000] {
        for length in [4, 8, 4096] {
            assert_eq!(read_at(&setting.knem, address, length), Err(Errno::EFAULT), "{address:#x}");
        }
    }
    set_blocking(&setting.knem, true);
    assert_eq!(wait_events(&setting.knem, 4), [1, 2, 3, 4]);
}

fn partial_fault_loses_no_event() {
    let setting = setting();
    submit(&setting, 1..=4);
    assert_eq!(setting.slots.wait(4), DONE);
    readable(&setting);
    set_blocking(&setting.knem, false);
    // Room for two events, and half of one, before the hole.
    let (between, inside) = Mapping::between_holes(PAGE);
    let start = inside + PAGE as u64 - 10;
    let delivered = match read_at(&setting.knem, start, 16) {
        Ok(length) => {
            assert_eq!(length % 4, 0);
            length / 4
        }
        Err(errno) => {
            assert_eq!(errno, Errno::EFAULT);
            0
        }
    };
    assert!(delivered <= 2);
    let offset = usize::try_from(start - between.address()).expect("small");
    let bytes = between.part(offset, delivered * 4);
    let mut got: Vec<u32> = (0..delivered)
        .map(|n| {
            let place = std::ptr::with_exposed_provenance::<u32>(bytes.base as usize + n * 4);
            // SAFETY: inside the page between the holes.
            unsafe { place.read_unaligned() }
        })
        .collect();
    set_blocking(&setting.knem, true);
    got.extend(wait_events(&setting.knem, 4 - delivered));
    assert_eq!(got, [1, 2, 3, 4]);
}

fn readers_share_the_events() {
    const COUNT: u32 = 1200;
    let setting = setting();
    let mut all: Vec<u32> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let setting = &setting;
                scope.spawn(move || (0..30).flat_map(|_| wait_events(&setting.knem, 10)).collect::<Vec<u32>>())
            })
            .collect();
        submit(&setting, 0..COUNT);
        readers.into_iter().flat_map(|reader| reader.join().expect("a reader")).collect()
    });
    all.sort_unstable();
    assert!(all.into_iter().eq(0..COUNT), "each event once");
}

fn poll_before_the_mapping_is_pollerr() {
    assert_eq!(poll_now(&Knem::open()), PollFlags::POLLERR);
    let writer = Knem::open_as(OFlag::O_WRONLY).expect("opens");
    assert_eq!(poll_now(&writer), PollFlags::POLLERR);
}

fn poll_tells_of_events_and_nothing_else() {
    let setting = setting();
    assert_eq!(poll_now(&setting.knem), PollFlags::empty(), "never POLLOUT");
    submit(&setting, [1, 2]);
    readable(&setting);
    assert_eq!(wait_events(&setting.knem, 1), [1]);
    readable(&setting);
    assert_eq!(wait_events(&setting.knem, 1), [2]);
    assert_eq!(poll_now(&setting.knem), PollFlags::empty());
}

/// Runs `waiter` on a thread of its own, and completes a request as soon as it sleeps.
fn wakes_up(waiter: impl Fn(&Asynchronous) + Sync) {
    let setting = setting();
    for index in 0..10 {
        let sleeper = Sleeper::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                sleeper.is_me();
                waiter(&setting);
            });
            sleeper.sleeps();
            assert!(!waiting.is_finished());
            submit(&setting, [index]);
            waiting.join().expect("it wakes up");
        });
        assert_eq!(wait_events(&setting.knem, 1), [index]);
    }
}

fn poll_wakes_up() {
    wakes_up(readable);
}

fn select_wakes_up() {
    wakes_up(|setting| {
        let mut set = FdSet::new();
        set.insert(setting.knem.fd());
        assert_eq!(select(None, &mut set, None, None, None), Ok(1));
        assert!(set.contains(setting.knem.fd()));
    });
}

fn epoll_wakes_up() {
    wakes_up(|setting| {
        let epoll = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
        epoll.add(setting.knem.fd(), EpollEvent::new(EpollFlags::EPOLLIN, 42)).expect("added");
        let mut list = [EpollEvent::empty(); 4];
        assert_eq!(epoll.wait(&mut list, EpollTimeout::NONE), Ok(1));
        assert_eq!((list[0].events(), list[0].data()), (EpollFlags::EPOLLIN, 42));
    });
}

fn epoll_edge_is_seen_for_each_event() {
    let setting = setting();
    let epoll = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
    epoll.add(setting.knem.fd(), EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 1)).expect("added");
    let mut list = [EpollEvent::empty(); 4];
    for index in 0..20 {
        submit(&setting, [index]);
        assert_eq!(epoll.wait(&mut list, EpollTimeout::NONE), Ok(1), "nothing is read in between");
    }
    assert_eq!(wait_events(&setting.knem, 20).len(), 20);
}

/// A watch that begins before the array is mapped sees the events after it, one at a time.
fn watched_from_before(flags: EpollFlags) {
    let knem = Knem::open();
    let epoll = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
    epoll.add(knem.fd(), EpollEvent::new(flags, 7)).expect("added");
    let mut list = [EpollEvent::empty(); 4];
    assert_eq!(epoll.wait(&mut list, EpollTimeout::NONE), Ok(1), "there is no array");
    assert_eq!(list[0].events(), EpollFlags::EPOLLERR);
    let slots = Slots::map(&knem, 1).expect("mapped");
    assert_eq!(epoll.wait(&mut list, EpollTimeout::ZERO), Ok(0), "there is one, and no event");
    let region = knem.create(&[], READ, 0).expect("created");
    for index in 0..20 {
        let request = Inline { cookie: region, flags: NOTIFY, ..Inline::default() };
        assert_eq!(knem.inline_at(request, index), Ok(u32::from(PENDING)));
        assert_eq!(epoll.wait(&mut list, EpollTimeout::NONE), Ok(1), "event {index}");
        assert_eq!((list[0].events(), list[0].data()), (EpollFlags::EPOLLIN, 7));
        assert_eq!(wait_events(&knem, 1), [index]);
    }
    assert_eq!(epoll.wait(&mut list, EpollTimeout::ZERO), Ok(0));
    slots.unmap();
}

fn epoll_from_before_the_mapping_wakes_up() {
    watched_from_before(EpollFlags::EPOLLIN);
}

fn epoll_edge_from_before_the_mapping_is_seen() {
    watched_from_before(EpollFlags::EPOLLIN | EpollFlags::EPOLLET);
}

fn mapping_wakes_those_who_polled_before() {
    let knem = Knem::open();
    let epoll = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
    epoll.add(knem.fd(), EpollEvent::new(EpollFlags::EPOLLIN, 1)).expect("added");
    // A watch of the watch: it is ready as long as the file is in error, and no longer.
    let outer = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
    outer.add(&epoll.0, EpollEvent::new(EpollFlags::EPOLLIN, 2)).expect("added");
    let mut list = [EpollEvent::empty(); 4];
    assert_eq!(outer.wait(&mut list, EpollTimeout::NONE), Ok(1));
    let _slots = Slots::map(&knem, 1).expect("mapped");
    assert_eq!(outer.wait(&mut list, EpollTimeout::ZERO), Ok(0));
}

fn first_event_needs_memory_that_may_be_refused() {
    crate::parameters::with_parameter("max_slots_mb", "1", || {
        with_open_node(|| {
            in_child(|| {
                become_user(STRANGER);
                // Of 1 MiB, the array takes a half: its events would take two.
                let setting = Asynchronous::new(1 << 19, b"contents");
                assert_eq!(setting.read(1, NOTIFY), Err(Errno::ENOMEM));
                assert_eq!(poll_now(&setting.knem), PollFlags::empty());
                assert_eq!(setting.read(1, THREAD), Ok(u32::from(PENDING)));
                assert_eq!(setting.slots.wait(1), DONE);
                // A smaller file has room for both.
                let other = Asynchronous::new(1, b"contents");
                submit(&other, [3]);
                assert_eq!(wait_events(&other.knem, 1), [3]);
            });
        });
    });
}

fn file_position_is_not_looked_at() {
    let setting = setting();
    submit(&setting, [1, 2, 3]);
    let mut buffer = [0; 4];
    for index in 1u32..=3 {
        match nix::sys::uio::pread(setting.knem.fd(), &mut buffer, 1 << 40) {
            Ok(length) => assert_eq!((length, u32::from_ne_bytes(buffer)), (4, index)),
            // A stream, which has no positions.
            Err(errno) => {
                assert_eq!(errno, Errno::ESPIPE);
                assert_eq!(wait_events(&setting.knem, 1), [index]);
            }
        }
    }
}

fn forked_process_reads_the_events() {
    let setting = setting();
    submit(&setting, [1, 2]);
    in_child(|| {
        assert_eq!(wait_events(&setting.knem, 1), [1]);
        submit(&setting, [3]);
    });
    assert_eq!(wait_events(&setting.knem, 2), [2, 3]);
}

fn killed_reader_loses_nothing_unread() {
    let setting = setting();
    let child = crate::children::Child::start(|| {
        events(&setting.knem, 8).expect("never comes");
    });
    let stat = format!("/proc/{}/stat", child.id());
    crate::waiting::until("the reader sleeps", || {
        std::fs::read_to_string(&stat).is_ok_and(|text| text.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")))
    });
    nix::sys::signal::kill(child.id(), Signal::SIGKILL).expect("killed");
    child.wait();
    submit(&setting, [6, 7]);
    assert_eq!(wait_events(&setting.knem, 2), [6, 7]);
}

fn events_are_conserved_under_load() {
    const EACH: u32 = 1500;
    let setting = setting();
    let total: usize = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let local = Mapping::new(8);
                for n in 0..EACH {
                    let segments = if n % 3 == 0 { &[][..] } else { &[local.segment()][..] };
                    while setting.read_into(segments, n % 4096, NOTIFY) == Err(Errno::EBUSY) {
                        std::thread::yield_now();
                    }
                }
            });
        }
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let setting = &setting;
                scope.spawn(move || (0..EACH / 10 * 3 / 2).map(|_| wait_events(&setting.knem, 10).len()).sum::<usize>())
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader")).sum()
    });
    assert_eq!(total, 3 * EACH as usize);
    assert_eq!(poll_now(&setting.knem), PollFlags::empty());
}
