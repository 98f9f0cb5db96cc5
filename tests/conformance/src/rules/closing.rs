// SPDX-License-Identifier: CECILL-B
//! The end of a context: closed while mapped, with requests in progress, or because its process was killed.

use nix::errno::Errno;
use nix::sys::signal::{kill, Signal};
use nix::sys::wait::WaitStatus;

use knem_core::uapi;
use knem_core::uapi::STATUS_FAILED as FAILED;

use crate::children::{in_child, Child};
use crate::counters::nothing_is_pinned;
use crate::device::{Inline, Knem, READ, SUCCESS, WRITE};
use crate::memory::{Mapping, PAGE};
use crate::random::Random;
use crate::slots::{wait_events, Asynchronous, Plug, Slots, DONE, NOTIFY, PENDING, THREAD};
use crate::threads::Thread;

crate::trials![
    "7.1" mapping_keeps_the_file_alive,
    "7.1" mapping_keeps_requests_going,
    "7.1" unmapping_after_closing_ends_it,
    "10 R29" closing_with_requests_queued_releases_everything,
    "10 R28" closing_does_not_wait_for_the_queue,
    "10" dropped_requests_take_no_effect_later,
    "5.5" foreign_copies_of_a_closed_file_complete,
    "10" exec_ends_the_mapping,
    "10 R29" killed_submitters_leave_nothing,
    "R29 G4" killed_at_any_moment,
    "R28" killed_while_it_waits_for_events,
    "2.4" destroying_never_waits,
    "5.5" destroying_under_a_synchronous_copy,
    "R38" files_come_and_go,
    "10" requests_fail_when_the_process_of_the_thread_ends,
    "10" requests_fail_when_the_process_of_the_thread_is_killed,
    "10" requests_fail_when_the_process_of_the_thread_executes,
    "10" context_is_closed_while_the_process_of_the_thread_is_stopped,
];

fn mapping_keeps_the_file_alive() {
    let Asynchronous { knem, slots, region, memory, .. } = Asynchronous::new(1, b"contents");
    drop(knem);
    let (other, local) = (Knem::open(), Mapping::new(8));
    assert_eq!(other.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"contents");
    slots.unmap();
    assert_eq!(other.read(region, 0, &[local.segment()], 0), Err(Errno::EINVAL), "at once");
    drop(memory);
}

fn mapping_keeps_requests_going() {
    let setting = Asynchronous::new(1, &[4; 100_000]);
    for index in 0..100 {
        assert_eq!(setting.read(index, THREAD), Ok(u32::from(PENDING)));
    }
    let Asynchronous { knem, slots, local, .. } = setting;
    drop(knem);
    for index in 0..100 {
        assert_eq!(slots.wait(index), DONE);
    }
    assert!(local.bytes().iter().all(|byte| *byte == 4));
}

fn unmapping_after_closing_ends_it() {
    nothing_is_pinned();
    let knem = Knem::open();
    let (thread, slots) = Thread::of(&knem, 1);
    let memory = Mapping::holding(&[1; 50 * PAGE]);
    knem.create(&[memory.segment()], READ, 0).expect("created");
    drop(knem);
    crate::counters::pinned_pages_become(50);
    assert!(thread.exists());
    slots.unmap();
    nothing_is_pinned();
    crate::waiting::until("the thread ends", || !thread.exists());
}

/// Creates a context with much work: `long` long copies, and 500 behind them.
fn busy(long: usize) -> (Asynchronous, Plug) {
    let setting = Asynchronous::new(1, &[4; 300_000]);
    let plug = Plug::new(&setting.knem);
    plug.insert(&setting.knem, 4000, long);
    for index in 0..500 {
        assert_eq!(setting.read(index, NOTIFY), Ok(u32::from(PENDING)));
    }
    (setting, plug)
}

fn closing_with_requests_queued_releases_everything() {
    nothing_is_pinned();
    let before = Thread::all();
    for _ in 0..5 {
        drop(busy(60));
    }
    nothing_is_pinned();
    crate::waiting::until("the threads end", || Thread::all() == before);
}

fn closing_does_not_wait_for_the_queue() {
    // How much the thread copies while requests are made depends on the machine: each attempt has more work.
    for attempt in 0..10 {
        let (setting, _plug) = busy(60 << attempt);
        let Asynchronous { knem, slots, local, region: _, memory } = setting;
        let waiting = (0..500).filter(|index| slots.get(*index) == PENDING).count();
        drop(knem);
        slots.unmap();
        // The pages are unpinned already. They were pinned for queued requests, which were dropped without being
        // executed.
        let untouched = local.bytes().iter().all(|byte| *byte == 0);
        drop((local, memory));
        nothing_is_pinned();
        if waiting > 0 && untouched {
            return;
        }
    }
    panic!("no close came before the end of the queue");
}

fn dropped_requests_take_no_effect_later() {
    let before = Thread::all();
    for _ in 0..5 {
        let (setting, plug) = busy(60);
        let Asynchronous { knem, slots, mut local, .. } = setting;
        drop((knem, plug));
        slots.unmap();
        crate::waiting::until("the thread ends", || Thread::all() == before);
        nothing_is_pinned();
        local.bytes_mut().fill(9);
        assert!(local.bytes().iter().all(|byte| *byte == 9));
    }
}

fn foreign_copies_of_a_closed_file_complete() {
    for _ in 0..20 {
        let (owner, mut reader) = (Knem::open(), Asynchronous::new(1, &[0; 500_000]));
        let memory = Mapping::holding(&[6; 500_000]);
        let region = owner.create(&[memory.segment()], READ, 0).expect("created");
        reader.blank();
        let request =
            Inline { cookie: region, segments: &[reader.local.segment()], flags: THREAD, ..Inline::default() };
        assert_eq!(reader.knem.inline_at(request, 0), Ok(u32::from(PENDING)));
        drop(owner);
        drop(memory);
        assert_eq!(reader.slots.wait(0), DONE);
        assert!(reader.local.bytes().iter().all(|byte| *byte == 6));
    }
    nothing_is_pinned();
}

fn exec_ends_the_mapping() {
    nothing_is_pinned();
    let before = Thread::all();
    in_child(|| {
        let (setting, _plug) = busy(60);
        let _keep = std::mem::ManuallyDrop::new(setting);
        let words = [c"sh", c"-c", c"exit 0"];
        let error = nix::unistd::execvp(c"sh", &words).expect_err("only if it fails");
        panic!("sh: {error}");
    });
    nothing_is_pinned();
    crate::waiting::until("the thread ends", || Thread::all() == before);
}

fn killed_submitters_leave_nothing() {
    nothing_is_pinned();
    let before = Thread::all();
    for _ in 0..5 {
        let (ready, signal) = nix::unistd::pipe().expect("pipe");
        let child = Child::start(|| {
            let _busy = std::mem::ManuallyDrop::new(busy(60));
            nix::unistd::write(&signal, b"!").expect("written");
            loop {
                nix::unistd::pause();
            }
        });
        assert_eq!(nix::unistd::read(&ready, &mut [0]), Ok(1));
        kill(child.id(), Signal::SIGKILL).expect("killed");
        assert!(matches!(child.wait(), WaitStatus::Signaled(_, Signal::SIGKILL, _)));
        nothing_is_pinned();
    }
    crate::waiting::until("the threads end", || Thread::all() == before);
}

fn killed_at_any_moment() {
    let before = Thread::all();
    let mut random = Random::new(77);
    for _ in 0..40 {
        let child = Child::start(|| loop {
            let setting = Asynchronous::new(1, &[1; 200_000]);
            let single = setting.knem.create(&[setting.memory.segment()], READ, uapi::FLAG_SINGLEUSE).expect("created");
            for index in 0..20 {
                assert_eq!(setting.read(index, NOTIFY), Ok(u32::from(PENDING)));
                assert_eq!(setting.write(index + 100, THREAD), Ok(u32::from(PENDING)));
            }
            assert_eq!(setting.knem.destroy(single), Ok(()));
            wait_events(&setting.knem, 3);
        });
        std::thread::sleep(std::time::Duration::from_millis(random.below(60) as u64));
        kill(child.id(), Signal::SIGKILL).expect("killed");
        child.wait();
    }
    nothing_is_pinned();
    crate::waiting::until("the threads end", || Thread::all() == before);
}

fn killed_while_it_waits_for_events() {
    let before = Thread::all();
    let (ready, signal) = nix::unistd::pipe().expect("pipe");
    let child = Child::start(|| {
        let setting = Asynchronous::new(1, b"x");
        nix::unistd::write(&signal, b"!").expect("written");
        wait_events(&setting.knem, 1);
    });
    assert_eq!(nix::unistd::read(&ready, &mut [0]), Ok(1));
    kill(child.id(), Signal::SIGKILL).expect("killed");
    child.wait();
    crate::waiting::until("the thread ends", || Thread::all() == before);
    nothing_is_pinned();
}

fn destroying_never_waits() {
    // The thread is copying the region: the command returns, and the copy continues.
    for _ in 0..10 {
        let knem = Knem::open();
        let slots = Slots::map(&knem, 1).expect("mapped");
        let plug = Plug::new(&knem);
        plug.insert(&knem, 0, 50);
        plug.insert(&knem, 1, 1);
        plug.remove(&knem);
        let pending = slots.get(1) == PENDING;
        assert_eq!(slots.wait(1), DONE);
        if pending {
            nothing_is_pinned_after(knem, slots);
            return;
        }
    }
    panic!("the copies were always over before");
}

fn nothing_is_pinned_after(knem: Knem, slots: Slots) {
    drop(knem);
    slots.unmap();
    nothing_is_pinned();
}

fn destroying_under_a_synchronous_copy() {
    const LENGTH: usize = 4 << 20;
    let (knem, memory) = (Knem::open(), Mapping::holding(&vec![3; LENGTH]));
    for _ in 0..20 {
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        std::thread::scope(|scope| {
            let copier = scope.spawn(|| {
                let local = Mapping::new(LENGTH);
                let outcome = knem.read(region, 0, &[local.segment()], uapi::FLAG_PINLOCAL);
                match outcome {
                    Ok(SUCCESS) => assert!(local.bytes().iter().all(|byte| *byte == 3)),
                    Err(Errno::EINVAL) => {}
                    other => panic!("{other:?}"),
                }
            });
            std::thread::yield_now();
            assert_eq!(knem.destroy(region), Ok(()));
            copier.join().expect("the copier");
        });
    }
    drop(knem);
    nothing_is_pinned();
}

fn files_come_and_go() {
    let before = Thread::all();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let mut random = Random::new(seed + 500);
                for _ in 0..100 {
                    let setting = Asynchronous::new(1 + random.below(20_000), &[1; 5000]);
                    let target = Mapping::new(5000);
                    let to = setting.knem.create(&[target.segment()], WRITE, 0).expect("created");
                    for index in 0..u32::try_from(random.below(10)).expect("small") {
                        let outcome = setting.knem.copy_at((setting.region, 0), (to, 0), None, NOTIFY, index);
                        assert_eq!(outcome, Ok(u32::from(PENDING)));
                    }
                    if random.one_in(2) {
                        assert_eq!(setting.knem.destroy(to), Ok(()));
                    }
                }
            });
        }
    });
    nothing_is_pinned();
    crate::waiting::until("the threads end", || Thread::all() == before);
}

/// How the process of the worker thread ends.
#[derive(Clone, Copy)]
enum End {
    Exits,
    IsKilled,
    Executes,
}

/// A process starts the thread, requests many copies, and ends. Another process that has the context sees each request
/// end, with its event, and starts another thread.
fn others_go_on_after(end: End) {
    crate::machine::need_threads_of_processes();
    nothing_is_pinned();
    let before = Thread::all();
    let mut seen_failed = false;
    for attempt in 0..8 {
        let setting = Asynchronous::new(1, b"contents");
        let (ready, signal) = nix::unistd::pipe().expect("pipe");
        let child = Child::start(|| {
            let plug = std::mem::ManuallyDrop::new(Plug::new(&setting.knem));
            plug.insert(&setting.knem, 4000, 20 << attempt);
            for index in 0..100 {
                assert_eq!(setting.read(index, NOTIFY), Ok(u32::from(PENDING)));
            }
            nix::unistd::write(&signal, b"!").expect("written");
            match end {
                End::Exits => {}
                End::IsKilled => loop {
                    nix::unistd::pause();
                },
                End::Executes => {
                    let error = nix::unistd::execvp(c"true", &[c"true"]).expect_err("only if it fails");
                    panic!("true: {error}");
                }
            }
        });
        assert_eq!(nix::unistd::read(&ready, &mut [0]), Ok(1));
        if let End::IsKilled = end {
            kill(child.id(), Signal::SIGKILL).expect("killed");
        }
        child.wait();
        let mut events = wait_events(&setting.knem, 100);
        events.sort_unstable();
        assert!(events.iter().copied().eq(0..100), "each has its event");
        let ends: Vec<u8> = (0..100).map(|index| setting.slots.wait(index)).collect();
        let failed = ends.iter().filter(|end| **end == FAILED).count();
        assert_eq!(ends.iter().filter(|end| **end == DONE).count() + failed, 100);
        // The next request finds no thread and starts one.
        assert_eq!(setting.read(200, NOTIFY), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.wait(200), DONE);
        assert_eq!(setting.local.bytes(), b"contents");
        assert_eq!(Thread::all().difference(&before).count(), 1);
        drop(setting);
        seen_failed = seen_failed || failed > 0;
        if seen_failed {
            break;
        }
    }
    assert!(seen_failed, "no process ended before its requests");
    nothing_is_pinned();
    crate::waiting::until("the threads end", || Thread::all() == before);
}

fn requests_fail_when_the_process_of_the_thread_ends() {
    others_go_on_after(End::Exits);
}

fn requests_fail_when_the_process_of_the_thread_is_killed() {
    others_go_on_after(End::IsKilled);
}

fn requests_fail_when_the_process_of_the_thread_executes() {
    others_go_on_after(End::Executes);
}

fn context_is_closed_while_the_process_of_the_thread_is_stopped() {
    nothing_is_pinned();
    let before = Thread::all();
    let Asynchronous { knem, slots, .. } = Asynchronous::new(1, b"contents");
    let (ready, signal) = nix::unistd::pipe().expect("pipe");
    let child = Child::start(|| {
        let plug = std::mem::ManuallyDrop::new(Plug::new(&knem));
        plug.insert(&knem, 1, 50);
        // The thread keeps neither the descriptor nor the mapping, and the regions are the context's.
        let (address, length) = (slots.memory().address() as usize, slots.count());
        // SAFETY: The mapping belongs to `slots`, which this process does not use any more.
        let gone = unsafe { nix::libc::munmap(std::ptr::with_exposed_provenance_mut(address), length) };
        assert_eq!(gone, 0);
        nix::unistd::close(std::os::fd::AsRawFd::as_raw_fd(&knem.fd())).expect("closed");
        nix::unistd::write(&signal, b"!").expect("written");
        loop {
            nix::unistd::pause();
        }
    });
    assert_eq!(nix::unistd::read(&ready, &mut [0]), Ok(1));
    kill(child.id(), Signal::SIGSTOP).expect("stopped");
    let stopped = nix::sys::wait::waitpid(child.id(), Some(nix::sys::wait::WaitPidFlag::WUNTRACED));
    assert!(matches!(stopped, Ok(WaitStatus::Stopped(..))), "{stopped:?}");
    // Closing the last descriptor and the last mapping does not wait for the process that is stopped.
    drop(knem);
    slots.unmap();
    nothing_is_pinned();
    kill(child.id(), Signal::SIGCONT).expect("continued");
    kill(child.id(), Signal::SIGKILL).expect("killed");
    child.wait();
    crate::waiting::until("the thread ends", || Thread::all() == before);
}
