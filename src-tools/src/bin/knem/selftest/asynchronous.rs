// SPDX-License-Identifier: CECILL-B
//! Copies by the context's worker thread.

use std::io::IoSlice;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use knem::{CopyOptions, Device, Error, RegionFlags, Request, Status, StatusArray, Submission, Worker};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use super::copies::{bytes_of, compare, contents, memory_of};
use super::{demand, Outcome, Subject};

const SIZE: usize = 1 << 20;
/// Requests in flight at the same time.
const REQUESTS: u32 = 4;
/// Timeout of a copy.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the status array, or that the driver has none, such as the fake one.
fn array(device: &Device) -> Result<Result<StatusArray<'_>, Outcome>, Error> {
    match device.map_status(REQUESTS) {
        Ok(array) => Ok(Ok(array)),
        Err(Error::System { source, .. }) if source.kind() == std::io::ErrorKind::Unsupported => {
            Ok(Err(Outcome::Skipped("this driver copies synchronously only".to_owned())))
        }
        Err(error) => Err(error),
    }
}

/// Waits for the end of a request until the timeout.
fn finish(request: Request<'_>) -> Result<bool, Error> {
    let start = Instant::now();
    while request.status() == Status::Pending {
        if start.elapsed() > PATIENCE {
            return Ok(false);
        }
        yield_now();
    }
    request.wait().map(|()| true)
}

pub(super) fn status(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let device = subject.open()?;
    let array = match array(&device)? {
        Ok(array) => array,
        Err(skipped) => return Ok(skipped),
    };
    let data = contents(SIZE, 6);
    let region = device.share(&[IoSlice::new(&data)], RegionFlags::NONE)?;
    let memory = memory_of(&vec![0xa5; SIZE])?;
    let part = SIZE / REQUESTS as usize;
    let mut requests = Vec::new();
    for slot in 0..REQUESTS {
        let start = slot as usize * part;
        let options = CopyOptions { offset: start as u64, ..CopyOptions::default() };
        let submission = Submission { slot, worker: Worker::Thread, notify: false };
        requests.push(array.read(region.cookie(), &memory, start..start + part, options, submission)?);
    }
    for request in requests {
        if !finish(request)? {
            return Ok(Outcome::Failed(format!("a copy was still pending after {} s", PATIENCE.as_secs())));
        }
    }
    Ok(compare(&bytes_of(&memory), &data))
}

pub(super) fn events(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let device = subject.open()?;
    let array = match array(&device)? {
        Ok(array) => array,
        Err(skipped) => return Ok(skipped),
    };
    let data = contents(SIZE, 7);
    let region = device.share(&[IoSlice::new(&data)], RegionFlags::NONE)?;
    let memory = memory_of(&vec![0xa5; SIZE])?;
    let submission = Submission { slot: REQUESTS - 1, worker: Worker::Thread, notify: true };
    let request = array.read(region.cookie(), &memory, 0..SIZE, CopyOptions::default(), submission)?;
    let Some(fd) = array.fd() else {
        return Ok(Outcome::Skipped("this driver has no file descriptor".to_owned()));
    };
    let mut polled = [PollFd::new(fd, PollFlags::POLLIN)];
    let timeout = PollTimeout::from(u16::try_from(PATIENCE.as_millis()).unwrap_or(u16::MAX));
    if poll(&mut polled, timeout) != Ok(1) {
        return Ok(Outcome::Failed(format!("no event within {} s", PATIENCE.as_secs())));
    }
    let mut slots = [u32::MAX];
    let count = array.read_events(&mut slots)?;
    if (count, slots[0]) != (1, REQUESTS - 1) {
        return Ok(Outcome::Failed(format!("the event is for slot {}, not {}", slots[0], REQUESTS - 1)));
    }
    // The slot was final before its event came.
    match demand(request.status() == Status::Success, "the slot was not final when its event came") {
        Outcome::Passed => Ok(compare(&bytes_of(&memory), &data)),
        other => Ok(other),
    }
}
