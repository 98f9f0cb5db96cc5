// SPDX-License-Identifier: CECILL-B
//! Prints how many instructions each of the driver's calls takes, a line for each: the number, and the call.
//!
//! It runs in an emulator whose time stamp counter counts instructions: `cargo xtask budget`. Both sides of a copy are
//! buffers of this process. On hardware the numbers are cycles, and vary.

mod call;
mod count;
mod memory;

use call::{cross_memory, segment, Knem};
use count::instructions;
use memory::{Buffer, Pages, PAGE};

/// Sizes of copies in bytes.
const SIZES: [usize; 6] = [8, 4 << 10, 8 << 10, 64 << 10, 256 << 10, 1 << 20];
/// Sizes of regions in pages.
const REGIONS: [usize; 5] = [1, 16, 33, 512, 2048];
/// Numbers of segments, of 8 bytes each.
const SEGMENTS: [usize; 5] = [1, 2, 8, 16, 256];
/// Size of the buffers, enough for the largest copy.
const LONGEST: usize = 8 << 20;

fn main() {
    let knem = Knem::open();
    // The cost of the measurement itself.
    let none = instructions(|| {});
    let report = |name: &str, call: &mut dyn FnMut()| println!("{:9}  {name}", instructions(call).saturating_sub(none));

    report("getppid", &mut || {
        nix::unistd::getppid();
    });
    report("GET_INFO", &mut || knem.info());
    for (kind, of) in [(Pages::Scattered, "scattered pages"), (Pages::Huge, "huge pages")] {
        let (local, remote) = (Buffer::new(LONGEST, kind), Buffer::new(LONGEST, kind));
        for size in SIZES {
            let (here, there) = ([segment(local, size)], [segment(remote, size)]);
            let (source, destination) = (knem.create(&there, false), knem.create(&here, false));
            let line = |what: &str, call: &mut dyn FnMut()| report(&format!("{what}, {size} bytes, {of}"), call);
            line("inline read", &mut || knem.inline(&here, false, source));
            line("inline write", &mut || knem.inline(&here, true, source));
            line("region to region", &mut || knem.copy(source, destination, u64::MAX));
            line("one-shot", &mut || {
                let cookie = knem.create(&there, true);
                knem.inline(&here, false, cookie);
            });
            line("process_vm_readv", &mut || cross_memory(local, remote, size, false));
            line("process_vm_writev", &mut || cross_memory(local, remote, size, true));
            knem.destroy(source);
            knem.destroy(destination);
        }
        for pages in REGIONS {
            let whole = [segment(remote, pages * PAGE)];
            report(&format!("create and destroy, {pages} * 4096 bytes, {of}"), &mut || {
                knem.destroy(knem.create(&whole, false));
            });
        }
    }
    let (local, remote) = (Buffer::new(LONGEST, Pages::Scattered), Buffer::new(LONGEST, Pages::Scattered));
    let source = knem.create(&[segment(remote, LONGEST)], false);
    for count in SEGMENTS {
        let segments: Vec<_> =
            (0..count).map(|n| knem_core::uapi::ParamIovec { base: local.address() + 16 * n as u64, len: 8 }).collect();
        report(&format!("inline read, {count} segments"), &mut || knem.inline(&segments, false, source));
        report(&format!("create and destroy, {count} segments"), &mut || knem.destroy(knem.create(&segments, false)));
    }
}
