// SPDX-License-Identifier: CECILL-B
//! Several processes: transfers, sudden ends, and everything at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::mman::MapFlags;
use nix::sys::signal::{kill, Signal};
use nix::sys::wait::WaitStatus;

use crate::children::{exec, Child};
use crate::counters::nothing_is_pinned;
use crate::device::{Knem, READ, SUCCESS, WRITE};
use crate::memory::{both, memory_file, Mapping, PAGE};
use crate::random::Random;

crate::trials![
    "4" another_program_reads,
    "4" processes_send_both_ways,
    "10" owner_may_end_first,
    "R29" killed_copies_leave_nothing,
    "R27 W14" long_copies_can_be_killed,
    "10" threads_share_a_file,
    "R40" storm,
];

fn another_program_reads() {
    let data = Random::new(1).bytes(300_001);
    let (knem, memory) = (Knem::open(), Mapping::holding(&data));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    let output = exec(&["read".to_owned(), region.to_string(), data.len().to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == data);
}

fn processes_send_both_ways() {
    let (cookies, sender) = nix::unistd::pipe().expect("pipe");
    let (done, say) = nix::unistd::pipe().expect("pipe");
    let (question, answer) = (Random::new(2).bytes(100_000), Random::new(3).bytes(100_000));
    let child = Child::start(|| {
        let (knem, mut memory) = (Knem::open(), Mapping::holding(&question));
        let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
        nix::unistd::write(&sender, &region.to_ne_bytes()).expect("written");
        nix::unistd::read(&done, &mut [0]).expect("a signal");
        assert!(memory.bytes() == answer);
        memory.bytes_mut().fill(0);
    });
    let mut number = [0; 8];
    assert_eq!(nix::unistd::read(&cookies, &mut number), Ok(8));
    let region = u64::from_ne_bytes(number);
    let (knem, mut local) = (Knem::open(), Mapping::new(100_000));
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert!(local.bytes() == question);
    local.bytes_mut().copy_from_slice(&answer);
    assert_eq!(knem.write(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    nix::unistd::write(&say, b"!").expect("said");
    child.succeeds();
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Err(Errno::EINVAL), "it has ended");
}

fn owner_may_end_first() {
    // The descriptor is inherited, so that the region exists after the process that owns its memory has exited.
    let knem = Knem::open();
    let (cookies, sender) = nix::unistd::pipe().expect("pipe");
    Child::start(|| {
        let memory = Mapping::holding(b"testament");
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        nix::unistd::write(&sender, &region.to_ne_bytes()).expect("written");
    })
    .succeeds();
    let mut number = [0; 8];
    assert_eq!(nix::unistd::read(&cookies, &mut number), Ok(8));
    let local = Mapping::new(9);
    assert_eq!(knem.read(u64::from_ne_bytes(number), 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"testament");
    drop(knem);
    nothing_is_pinned();
}

fn killed_copies_leave_nothing() {
    const LENGTH: usize = 16 << 20;
    let (knem, memory) = (Knem::open(), Mapping::holding(&vec![1; LENGTH]));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    let mut random = Random::new(7);
    for round in 0..30 {
        let child = Child::start(|| {
            let (knem, local) = (Knem::open(), Mapping::holding(&vec![1; LENGTH]));
            loop {
                let own = knem.create(&[local.segment()], READ | WRITE, 0).expect("created");
                let flags = if round % 2 == 0 { 0 } else { knem_core::uapi::FLAG_PINLOCAL };
                assert_eq!(knem.read(region, 0, &[local.segment()], flags), Ok(SUCCESS));
                assert_eq!(knem.write(region, 0, &[local.segment()], flags), Ok(SUCCESS));
                assert_eq!(knem.copy((region, 0), (own, 0), None, 0), Ok(SUCCESS));
                assert_eq!(knem.destroy(own), Ok(()));
            }
        });
        std::thread::sleep(Duration::from_millis(20 + random.below(150) as u64));
        kill(child.id(), Signal::SIGKILL).expect("killed");
        assert!(matches!(child.wait(), WaitStatus::Signaled(_, Signal::SIGKILL, _)));
    }
    assert!(memory.bytes().iter().all(|byte| *byte == 1));
    assert_eq!(knem.destroy(region), Ok(()));
    nothing_is_pinned();
}

fn long_copies_can_be_killed() {
    const PIECE: usize = 1 << 20;
    const LENGTH: usize = 256 * PIECE;
    let memory = Mapping::holding(&vec![1; PIECE]);
    // Whether the child is killed within a request is a matter of chance, which ten attempts make likely.
    for _ in 0..10 {
        let file = memory_file(LENGTH);
        let shared = Mapping::of_file(&file, LENGTH, both(), MapFlags::MAP_SHARED);
        let child = Child::start(|| {
            let knem = Knem::open();
            let region = knem.create(&vec![memory.segment(); LENGTH / PIECE], READ, 0).expect("created");
            assert_eq!(knem.read(region, 0, &[shared.segment()], 0), Ok(SUCCESS));
        });
        while shared.peek(0) == 0 && child.is_running() {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(child.id(), Signal::SIGKILL).expect("killed");
        child.wait();
        nothing_is_pinned();
        if shared.peek(0) == 1 && shared.peek(LENGTH - 1) == 0 {
            return;
        }
    }
    panic!("every copy went on to its end");
}

fn threads_share_a_file() {
    const LENGTH: usize = 1 << 18;
    let (knem, memory) = (Knem::open(), Mapping::holding(&Random::new(8).bytes(LENGTH)));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (knem, memory) = (&knem, memory.bytes());
            scope.spawn(move || {
                let mut random = Random::new(1000 + thread);
                for _ in 0..100 {
                    let offset = random.below(LENGTH);
                    let length = 1 + random.below(LENGTH - offset);
                    let local = Mapping::new(length);
                    assert_eq!(knem.read(region, offset as u64, &[local.segment()], 0), Ok(SUCCESS));
                    assert!(local.bytes() == &memory[offset..offset + length]);
                }
            });
        }
    });
}

/// Cookies that the processes of a storm exchange.
struct Board(Mapping);

impl Board {
    const PLACES: usize = 32;

    fn place(&self, index: usize) -> &AtomicU64 {
        let address = self.0.part(index % Self::PLACES * 8, 8).base;
        // SAFETY: The number is aligned and inside the mapping, and all processes access it atomically.
        unsafe { AtomicU64::from_ptr(address as usize as *mut u64) }
    }
}

/// Processes and threads create, copy and destroy each other's regions. All bytes of a region have one value, so that
/// the bytes that are read must all be equal.
fn storm() {
    const LENGTH: usize = 8 * PAGE;
    let file = memory_file(PAGE);
    let board = Board(Mapping::of_file(&file, PAGE, both(), MapFlags::MAP_SHARED));
    let children: Vec<Child> = (1..=4u8)
        .map(|process| {
            Child::start(|| {
                let knem = Knem::open();
                std::thread::scope(|scope| {
                    for thread in 1..=3u8 {
                        let (knem, board) = (&knem, &board);
                        scope.spawn(move || weather(knem, board, process * 16 + thread, LENGTH));
                    }
                });
            })
        })
        .collect();
    for child in children {
        child.succeeds();
    }
    nothing_is_pinned();
}

fn weather(shared: &Knem, board: &Board, value: u8, length: usize) {
    let mut random = Random::new(u64::from(value) * 77_777);
    let (memory, local) = (Mapping::holding(&vec![value; length]), Mapping::new(length));
    let mut own = Vec::new();
    let private = Knem::open();
    for _ in 0..1500 {
        let knem = if random.one_in(2) { shared } else { &private };
        let place = board.place(random.below(Board::PLACES));
        let cookie = place.load(Ordering::Relaxed);
        let flags = if random.one_in(3) { knem_core::uapi::FLAG_PINLOCAL } else { 0 };
        match random.below(6) {
            0 => {
                let single = if random.one_in(4) { knem_core::uapi::FLAG_SINGLEUSE } else { 0 };
                let region = shared.create(&[memory.segment()], READ, single).expect("created");
                place.store(region, Ordering::Relaxed);
                own.push(region);
            }
            1 => {
                if let Some(region) = own.pop() {
                    // A single-use region may have been consumed.
                    assert!(matches!(shared.destroy(region), Ok(()) | Err(Errno::EINVAL)));
                }
            }
            2 => {
                let into = knem.create(&[local.segment()], WRITE, 0).expect("created");
                let status = knem.copy((cookie, 0), (into, 0), None, 0);
                assert_eq!(knem.destroy(into), Ok(()));
                check(status, &local, length);
            }
            _ => {
                let offset = random.below(length);
                let part = length - offset;
                check(knem.read(cookie, offset as u64, &[local.part(0, part)], flags), &local, part);
            }
        }
    }
}

/// Checks that the first `length` bytes are equal, if they were read.
fn check(status: Result<u32, Errno>, local: &Mapping, length: usize) {
    match status {
        Ok(SUCCESS) => {
            let bytes = &local.bytes()[..length];
            assert!(bytes[0] != 0 && bytes.iter().all(|byte| *byte == bytes[0]), "a mixture was copied");
        }
        Err(Errno::EINVAL) => {}
        other => panic!("{other:?}"),
    }
}
