// SPDX-License-Identifier: CECILL-B
//! Queues of a driver that holds requests until the test completes them.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};

use nix::poll::PollTimeout;

use super::shared::wait_readable;
use super::transfer::Unpark;
use super::*;
use crate::fake::FakeDriver;
use crate::{Access, CopyFlags, RegionFlags};

const NOW: CopyOptions = CopyOptions { offset: 0, bound: None, flags: CopyFlags::NONE };

fn device(driver: &FakeDriver) -> Arc<Device> {
    Arc::new(Device::new(Box::new(driver.clone())).unwrap())
}

fn driver() -> FakeDriver {
    FakeDriver::new().with_thread()
}

/// A driver that holds requests, with a queue, a region and memory.
struct Scene {
    driver: FakeDriver,
    queue: Queue,
    /// Three bytes to read, as long as there is the device.
    region: Cookie,
    /// As many.
    memory: Memory,
}

impl Scene {
    /// With a queue that is made in this way, for so many requests.
    fn new(make: fn(Arc<Device>, u32) -> Result<Queue, Error>, requests: u32) -> Self {
        let driver = driver().holding();
        let device = device(&driver);
        let shared = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE).unwrap();
        let region = shared.cookie();
        mem::forget(shared);
        Self { driver, queue: make(device, requests).unwrap(), region, memory: Memory::copy_of(b"...").unwrap() }
    }

    /// Asks for the region.
    fn read(&self) -> Result<Transfer<'_>, Error> {
        self.queue.read(self.region, &self.memory, 0..3, NOW)
    }
}

/// Waits for a future on this thread: what an executor does.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn futures_complete_in_any_order() {
    let device = device(&driver());
    let region = device.share(&[IoSlice::new(b"abcdef")], RegionFlags::NONE).unwrap();
    let queue = Queue::new(Arc::clone(&device), 8).unwrap();
    let memory = Memory::copy_of(b"......").unwrap();
    block_on(async {
        let first = queue.read(region.cookie(), &memory, 0..2, NOW).unwrap();
        let second = queue.read(region.cookie(), &memory, 4..6, CopyOptions { offset: 4, ..NOW }).unwrap();
        second.await.unwrap();
        first.await.unwrap();
    });
    assert_eq!(memory.to_vec(), b"ab..ef");
    assert_eq!(queue.in_use(), 0);
}

#[test]
fn writes_and_copies_between_regions() {
    let device = device(&driver());
    let shared = Memory::copy_of(b"........").unwrap();
    let region = device.share_memory(&shared, 0..8, Access::ReadWrite, RegionFlags::NONE).unwrap();
    let source = device.share(&[IoSlice::new(b"xyz")], RegionFlags::NONE).unwrap();
    let queue = Queue::new(Arc::clone(&device), 2).unwrap();
    let memory = Memory::copy_of(b"ab").unwrap();
    queue.write(region.cookie(), &memory, 0..2, NOW).unwrap().wait().unwrap();
    queue.copy(source.cookie(), region.cookie(), 5, NOW).unwrap().wait().unwrap();
    assert_eq!(shared.to_vec(), b"ab...xyz");
}

#[test]
fn a_waiting_task_is_woken_by_the_thread() {
    let scene = Scene::new(Queue::new, 1);
    let transfer = scene.read().unwrap();
    assert!(!transfer.is_finished());
    let later = scene.driver.clone();
    let helper = thread::spawn(move || {
        thread::sleep(std::time::Duration::from_millis(20));
        later.complete(0, true);
    });
    block_on(transfer).unwrap();
    helper.join().unwrap();
}

#[test]
fn failures_are_reported() {
    let scene = Scene::new(Queue::new, 1);
    let transfer = scene.read().unwrap();
    scene.driver.complete(0, false);
    assert!(matches!(transfer.wait(), Err(Error::CopyFailed)));
}

#[test]
fn callbacks_are_called_once() {
    let scene = Scene::new(Queue::new, 2);
    let (send, receive) = channel();
    let again = send.clone();
    scene.read().unwrap().on_completion(move |result| send.send(result.is_ok()).unwrap());
    scene.driver.complete(0, true);
    assert_eq!(receive.recv(), Ok(true));
    // One that has ended before.
    let transfer = scene.read().unwrap();
    let slot = transfer.slot;
    scene.driver.complete(slot, false);
    while !transfer.is_finished() {
        thread::yield_now();
    }
    transfer.on_completion(move |result| again.send(result.is_ok()).unwrap());
    assert_eq!(receive.recv(), Ok(false));
    assert_eq!(receive.recv().ok(), None, "both functions are gone");
    assert_eq!(scene.queue.in_use(), 0);
}

#[test]
fn an_event_loop_can_do_without_the_thread() {
    let scene = Scene::new(Queue::without_thread, 4);
    let (driver, queue) = (&scene.driver, &scene.queue);
    let mut transfer = scene.read().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut transfer).poll(&mut context).is_pending());
    assert_eq!(queue.dispatch().unwrap(), 0);
    assert!(!wait_readable(queue.as_fd(), PollTimeout::ZERO).unwrap());
    driver.complete(0, true);
    assert!(wait_readable(queue.as_fd(), PollTimeout::ZERO).unwrap());
    assert_eq!(queue.dispatch().unwrap(), 1);
    assert!(matches!(Pin::new(&mut transfer).poll(&mut context), Poll::Ready(Ok(()))));
    // Without a loop, waiting takes the events itself.
    let transfer = scene.read().unwrap();
    driver.complete(transfer.slot, true);
    transfer.wait().unwrap();
}

#[test]
fn a_full_queue_says_so_and_is_used_again() {
    let scene = Scene::new(Queue::without_thread, 1);
    let queue = &scene.queue;
    let dropped = scene.read().unwrap();
    assert!(matches!(scene.read(), Err(Error::QueueFull)));
    drop(dropped);
    assert_eq!(queue.in_use(), 1, "it is under way still");
    scene.driver.complete(0, true);
    queue.dispatch().unwrap();
    assert_eq!(queue.in_use(), 0);
    // A refused request takes no slot.
    let refused = queue.read(Cookie::from_raw(1), &scene.memory, 0..3, NOW);
    assert!(matches!(refused, Err(Error::NotSubmitted)));
    assert_eq!(queue.in_use(), 0);
}

#[test]
fn a_part_outside_of_the_memory_takes_no_slot() {
    let device = device(&driver());
    let queue = Queue::without_thread(device, 1).unwrap();
    let memory = Memory::copy_of(b"...").unwrap();
    let outside = std::panic::AssertUnwindSafe(|| drop(queue.read(Cookie::from_raw(1), &memory, 2..9, NOW)));
    assert!(std::panic::catch_unwind(outside).is_err());
    assert_eq!(queue.in_use(), 0);
}

#[test]
fn a_driver_that_breaks_down_is_reported() {
    let scene = Scene::new(Queue::new, 2);
    let (send, receive) = channel();
    let transfer = scene.read().unwrap();
    let other = scene.read().unwrap();
    other.on_completion(move |result| send.send(result.is_err()).unwrap());
    scene.driver.break_down();
    assert!(matches!(transfer.wait(), Err(Error::System { .. })));
    assert_eq!(receive.recv(), Ok(true));
    assert!(scene.read().is_err());
}

#[test]
fn a_queue_can_be_dropped_with_requests_under_way() {
    let scene = Scene::new(Queue::new, 2);
    drop(scene.read().unwrap());
    let Scene { driver, queue, memory, .. } = scene;
    drop(queue);
    drop(memory);
    driver.complete(0, true);
}

#[test]
fn a_driver_without_a_thread_says_so() {
    let device = Arc::new(Device::new(Box::new(FakeDriver::new())).unwrap());
    assert!(matches!(Queue::new(device, 1), Err(Error::System { .. })));
}
