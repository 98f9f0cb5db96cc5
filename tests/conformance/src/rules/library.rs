// SPDX-License-Identifier: CECILL-B
//! The client library against the device, as a Rust program uses it.

use std::io::IoSlice;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::channel;
use std::sync::Arc;

use knem::{
    Access, CopyOptions, Device, Error, Memory, Placement, Queue, RegionFlags, Status, StatusArray, Submission, Worker,
};

use crate::random::Random;

crate::trials![
    "11.6" regions_are_shared_and_read,
    "11.6" regions_are_written,
    "11.6" copies_in_the_background,
    "11.6" copies_between_regions_in_the_background,
    "11.6" every_worker_does_its_requests,
    "7.3" completions_are_events,
    "7.3" descriptor_can_be_polled,
    "2.2" thread_can_be_placed,
    "R40" refusals_are_distinguished,
    "7.1" device_has_one_status_array,
    "R29" forgotten_requests_do_no_harm,
    "11.6" queue_copies_both_ways_and_between_regions,
    "7.3" queue_calls_back_from_its_thread,
    "7.3" queue_serves_an_event_loop,
    "R29" dropped_transfers_leave_the_queue_usable,
];

fn device() -> Device {
    Device::open_at(crate::device::node()).expect("the device opens")
}

fn memory(bytes: &[u8]) -> Memory {
    let memory = Memory::new(NonZeroUsize::new(bytes.len()).expect("some")).expect("mapped");
    memory.write_at(0, bytes);
    memory
}

fn contents(memory: &Memory) -> Vec<u8> {
    let mut bytes = vec![0; memory.size()];
    memory.read_at(0, &mut bytes);
    bytes
}

fn regions_are_shared_and_read() {
    let (device, data) = (device(), Random::new(1).bytes(100_000));
    let region = device.share(&[IoSlice::new(&data)], RegionFlags::NONE).expect("shared");
    let mut copy = vec![0; 100_000];
    device.read(region.cookie(), &mut copy, CopyOptions::default()).expect("read");
    assert!(copy == data);
}

fn regions_are_written() {
    let (device, data) = (device(), Random::new(2).bytes(100_000));
    let target = memory(&[0; 100_000]);
    let region = device.share_memory(&target, 0..100_000, Access::Write, RegionFlags::NONE).expect("shared");
    device.write(region.cookie(), &data, CopyOptions::default()).expect("written");
    assert!(contents(&target) == data);
}

fn to_slot(slot: u32) -> Submission {
    Submission { slot, ..Submission::default() }
}

fn copies_in_the_background() {
    let (device, data) = (device(), Random::new(3).bytes(200_000));
    let array = device.map_status(10).expect("mapped");
    let source = memory(&data);
    let region = device.share_memory(&source, 0..200_000, Access::ReadWrite, RegionFlags::NONE).expect("shared");
    let local = memory(&[0; 200_000]);
    let options = CopyOptions::default();
    array.read(region.cookie(), &local, 0..200_000, options, to_slot(3)).expect("submitted").wait().expect("copied");
    assert_eq!(array.status(3), Status::Success);
    assert!(contents(&local) == data);
    let other = Random::new(4).bytes(1000);
    local.write_at(500, &other);
    let options = CopyOptions { offset: 77, bound: Some(900), ..options };
    array.write(region.cookie(), &local, 500..1500, options, to_slot(4)).expect("submitted").wait().expect("copied");
    let now = contents(&source);
    assert!(now[77..977] == other[..900] && now[..77] == data[..77] && now[977..] == data[977..]);
}

fn copies_between_regions_in_the_background() {
    let (device, data) = (device(), Random::new(5).bytes(50_000));
    let array = device.map_status(1).expect("mapped");
    let (source, target) = (memory(&data), memory(&[0; 50_000]));
    let from = device.share_memory(&source, 0..50_000, Access::Read, RegionFlags::NONE).expect("shared");
    let to = device.share_memory(&target, 0..50_000, Access::Write, RegionFlags::NONE).expect("shared");
    let requests: Vec<_> = (0..10)
        .map(|n| {
            let options = CopyOptions { offset: u64::from(n) * 5000, bound: Some(5000), ..CopyOptions::default() };
            array.copy(from.cookie(), to.cookie(), u64::from(n) * 5000, options, to_slot(n)).expect("submitted")
        })
        .collect();
    for request in requests {
        request.wait().expect("copied");
    }
    assert!(contents(&target) == data);
}

fn every_worker_does_its_requests() {
    let device = device();
    let array = device.map_status(1).expect("mapped");
    let (source, local) = (memory(b"contents"), memory(b"........"));
    let region = device.share_memory(&source, 0..8, Access::Read, RegionFlags::NONE).expect("shared");
    for (slot, worker) in (0..).zip([Worker::Thread, Worker::EngineByThread, Worker::Engine]) {
        local.write_at(0, b"........");
        let submission = Submission { slot, worker, notify: false };
        let request = array.read(region.cookie(), &local, 0..8, CopyOptions::default(), submission);
        request.expect("submitted").wait().expect("copied");
        assert_eq!(contents(&local), b"contents");
    }
}

fn notified(array: &StatusArray<'_>, device: &Device, slots: &[u32]) {
    let (source, local) = (memory(b"contents"), memory(b"........"));
    let region = device.share_memory(&source, 0..8, Access::Read, RegionFlags::NONE).expect("shared");
    for slot in slots {
        let submission = Submission { slot: *slot, notify: true, ..Submission::default() };
        let request = array.read(region.cookie(), &local, 0..8, CopyOptions::default(), submission);
        assert_eq!(request.expect("submitted").slot(), *slot);
    }
}

fn completions_are_events() {
    let device = device();
    let array = device.map_status(4096).expect("mapped");
    notified(&array, &device, &[5, 4095, 0x123]);
    let mut events = [0; 3];
    assert_eq!(array.read_events(&mut events).expect("read"), 3);
    assert_eq!(events, [5, 4095, 0x123]);
    assert!([5, 4095, 0x123].iter().all(|slot| array.status(*slot) == Status::Success));
}

fn descriptor_can_be_polled() {
    use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
    let device = device();
    let array = device.map_status(1).expect("mapped");
    let fd = array.fd().expect("a file");
    assert!(fd.as_raw_fd() >= 0);
    let ready = |timeout| poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout).expect("poll");
    assert_eq!(ready(PollTimeout::ZERO), 0);
    notified(&array, &device, &[1]);
    assert_eq!(ready(PollTimeout::NONE), 1);
    assert_eq!(array.read_events(&mut [0]).expect("read"), 1);
}

fn thread_can_be_placed() {
    for placement in [Placement::Here, Placement::Elsewhere, Placement::Processors(&crate::machine::processors())] {
        let device = device();
        device.place_thread(placement).expect("placed");
        let array = device.map_status(1).expect("mapped");
        notified(&array, &device, &[1]);
        assert_eq!(array.read_events(&mut [0]).expect("read"), 1);
        let late = device.place_thread(placement);
        assert!(matches!(&late, Err(Error::System { .. })), "{late:?}");
    }
}

fn refusals_are_distinguished() {
    let device = device();
    let array = device.map_status(1).expect("mapped");
    let (source, local) = (memory(b"contents"), memory(b"........"));
    let writable = device.share_memory(&source, 0..8, Access::Write, RegionFlags::NONE).expect("shared");
    let cookie = writable.cookie();
    let read = |cookie, submission| array.read(cookie, &local, 0..8, CopyOptions::default(), submission).map(drop);
    assert!(matches!(read(cookie, to_slot(0)), Err(Error::Protection)));
    let beyond = u32::try_from(array.slots()).expect("few");
    assert!(matches!(read(cookie, to_slot(beyond)), Err(Error::NotSubmitted)));
    let alone = Submission { notify: true, worker: Worker::Engine, ..Submission::default() };
    assert!(matches!(read(cookie, alone), Err(Error::NotSubmitted)));
    drop(writable);
    assert!(matches!(read(cookie, to_slot(0)), Err(Error::NotSubmitted)));
    assert_eq!(array.status(0), Status::Pending, "nothing has happened to the slot");
}

fn device_has_one_status_array() {
    let device = device();
    drop(device.map_status(1).expect("mapped"));
    assert!(device.map_status(1).is_err());
}

fn forgotten_requests_do_no_harm() {
    for _ in 0..20 {
        let device = device();
        let array = device.map_status(1).expect("mapped");
        let source = memory(&[7; 300_000]);
        let region = device.share_memory(&source, 0..300_000, Access::Read, RegionFlags::NONE).expect("shared");
        let local = memory(&[0; 300_000]);
        let request = array.read(region.cookie(), &local, 0..300_000, CopyOptions::default(), to_slot(0));
        let _forgotten = request.expect("submitted");
        // Everything is dropped while the copy is in progress.
    }
    crate::counters::nothing_is_pinned();
}

fn queue_copies_both_ways_and_between_regions() {
    const PART: usize = 10_000;
    let (device, data) = (Arc::new(device()), Random::new(7).bytes(10 * PART));
    let (source, local, target) = (memory(&data), memory(&[0; 10 * PART]), memory(&[0; 10 * PART]));
    let from = device.share_memory(&source, 0..10 * PART, Access::Read, RegionFlags::NONE).expect("shared");
    let to = device.share_memory(&target, 0..10 * PART, Access::Write, RegionFlags::NONE).expect("shared");
    let queue = Queue::new(Arc::clone(&device), 10).expect("a queue");
    let options = |part| CopyOptions { offset: (part * PART) as u64, ..CopyOptions::default() };
    let mut transfers = Vec::new();
    for part in 0..10 {
        let place = part * PART..(part + 1) * PART;
        transfers.push(queue.read(from.cookie(), &local, place, options(part)).expect("submitted"));
    }
    assert!(matches!(queue.read(from.cookie(), &local, 0..1, options(0)), Err(Error::QueueFull)));
    for transfer in transfers.into_iter().rev() {
        transfer.wait().expect("copied");
    }
    assert!(contents(&local) == data);
    let half = CopyOptions { bound: Some(5 * PART as u64), ..CopyOptions::default() };
    queue.write(to.cookie(), &local, 0..10 * PART, half).expect("submitted").wait().expect("copied");
    let rest = queue.copy(from.cookie(), to.cookie(), 5 * PART as u64, options(5));
    rest.expect("submitted").wait().expect("copied");
    assert!(contents(&target) == data);
    assert_eq!(queue.in_use(), 0);
}

fn queue_calls_back_from_its_thread() {
    let device = Arc::new(device());
    let (source, local) = (memory(b"contents"), memory(b"........"));
    let region = device.share_memory(&source, 0..8, Access::Read, RegionFlags::NONE).expect("shared");
    let queue = Queue::new(Arc::clone(&device), 4).expect("a queue");
    let (sender, receiver) = channel();
    for _ in 0..100 {
        let sender = sender.clone();
        let transfer = queue.read(region.cookie(), &local, 0..8, CopyOptions::default()).expect("submitted");
        transfer.on_completion(move |result| sender.send(result.is_ok()).expect("a receiver"));
        assert_eq!(receiver.recv(), Ok(true));
    }
    assert_eq!(contents(&local), b"contents");
}

fn queue_serves_an_event_loop() {
    use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
    let device = Arc::new(device());
    let (source, local) = (memory(b"contents"), memory(b"........"));
    let region = device.share_memory(&source, 0..8, Access::Read, RegionFlags::NONE).expect("shared");
    let queue = Queue::without_thread(Arc::clone(&device), 4).expect("a queue");
    assert_eq!(queue.dispatch().expect("nothing yet"), 0);
    let first = queue.read(region.cookie(), &local, 0..4, CopyOptions::default()).expect("submitted");
    let none = queue.read(region.cookie(), &local, 8..8, CopyOptions::default()).expect("submitted");
    while !(first.is_finished() && none.is_finished()) {
        poll(&mut [PollFd::new(queue.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).expect("poll");
        queue.dispatch().expect("dispatched");
    }
    first.wait().expect("copied");
    none.wait().expect("nothing to copy");
    assert_eq!(contents(&local), b"cont....");
}

fn dropped_transfers_leave_the_queue_usable() {
    let device = Arc::new(device());
    let source = memory(&Random::new(8).bytes(1 << 20));
    let region = device.share_memory(&source, 0..1 << 20, Access::Read, RegionFlags::NONE).expect("shared");
    let queue = Queue::new(Arc::clone(&device), 2).expect("a queue");
    for _ in 0..20 {
        let local = memory(&[0; 1 << 20]);
        loop {
            match queue.read(region.cookie(), &local, 0..1 << 20, CopyOptions::default()) {
                // The memory is dropped, too: the kernel keeps its pages until the copy has ended.
                Ok(transfer) => break drop(transfer),
                Err(Error::QueueFull) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }
    let local = memory(&[0; 1 << 20]);
    let last = loop {
        match queue.read(region.cookie(), &local, 0..1 << 20, CopyOptions::default()) {
            Err(Error::QueueFull) => std::thread::yield_now(),
            outcome => break outcome.expect("submitted"),
        }
    };
    last.wait().expect("copied");
    assert!(contents(&local) == contents(&source));
}
