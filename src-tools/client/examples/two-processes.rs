// SPDX-License-Identifier: CECILL-B
//! Two processes: the first shares memory, the second copies from it and into it, now and in the background.
//!
//!     cargo run --example two-processes

use std::error::Error;
use std::io::{stdin, Write};
use std::num::NonZeroUsize;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::channel;
use std::sync::Arc;

use knem::{Access, Cookie, CopyOptions, Device, Memory, Queue, RegionFlags};

const LENGTH: usize = 4 << 20;
const PARTS: usize = 16;
const PART: usize = LENGTH / PARTS;

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some("peer") => peer(),
        _ => owner(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // The sentence says what to do.
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Shares memory, and sends its cookie to a second process.
fn owner() -> Result<(), Box<dyn Error>> {
    let device = Device::open()?;
    let memory = memory()?;
    let message: Vec<u8> = (0..LENGTH).map(|n| (n / 3) as u8).collect();
    memory.write_at(0, &message);
    let region = device.share_memory(&memory, 0..LENGTH, Access::ReadWrite, RegionFlags::NONE)?;

    let mut peer = Command::new(std::env::current_exe()?).arg("peer").stdin(Stdio::piped()).spawn()?;
    // Any process with the cookie can use the region: send it to the peer only, and not on a command line.
    if let Some(input) = &mut peer.stdin {
        writeln!(input, "{}", region.cookie())?;
    }
    let status = peer.wait()?;
    // The peer has ended, so none of its copies is under way.
    region.destroy()?;
    let turned: Vec<u8> = message.iter().map(|byte| !byte).collect();
    if !status.success() || memory.to_vec() != turned {
        return Err("the peer has not answered as it should".into());
    }
    println!("{LENGTH} bytes went over and came back");
    Ok(())
}

/// Copies what is shared, turns every bit, and writes it back.
fn peer() -> Result<(), Box<dyn Error>> {
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    let region: Cookie = line.trim().parse()?;
    let device = Arc::new(Device::open()?);

    // Now, by this thread, into memory of any kind.
    let mut first = [1; 3];
    device.read(region, &mut first, CopyOptions::default())?;
    assert_eq!(first, [0; 3]);

    // In the background, in parts that are all under way at the same time.
    let queue = Queue::new(device, PARTS as u32)?;
    let memory = memory()?;
    pollster::block_on(fetch(&queue, region, &memory))?;
    let turned: Vec<u8> = memory.to_vec().iter().map(|byte| !byte).collect();
    memory.write_at(0, &turned);

    // And with a callback, which runs in the queue's thread.
    let (sender, receiver) = channel();
    let send_result = move |result| drop(sender.send(result));
    queue.write(region, &memory, 0..LENGTH, CopyOptions::default())?.on_completion(send_result);
    receiver.recv()??;
    Ok(())
}

/// Fills the memory from the region: a task for any executor.
async fn fetch(queue: &Queue, region: Cookie, memory: &Memory) -> Result<(), knem::Error> {
    let mut transfers = Vec::new();
    for start in (0..LENGTH).step_by(PART) {
        let options = CopyOptions { offset: start as u64, ..CopyOptions::default() };
        transfers.push(queue.read(region, memory, start..start + PART, options)?);
    }
    for transfer in transfers {
        transfer.await?;
    }
    Ok(())
}

fn memory() -> Result<Memory, Box<dyn Error>> {
    Ok(Memory::new(NonZeroUsize::new(LENGTH).ok_or("there is nothing to copy")?)?)
}
