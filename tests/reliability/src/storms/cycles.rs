// SPDX-License-Identifier: CECILL-B
//! The module is unloaded and loaded again while processes use it: as soon as no file is open, for a moment.

use std::time::{Duration, Instant};

use knem_conformance::device::{node, segment, Inline, Knem, READ, SUCCESS, WRITE};
use knem_conformance::memory::{Mapping, PAGE};
use knem_conformance::random::Random;
use knem_conformance::slots::{Slots, NOTIFY};
use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::Weather;
use crate::crowd::Crowd;
use crate::module::Module;
use crate::report::count;
use crate::shared::Shared;

/// Processes at a time.
const CROWD: usize = 2;
/// An unload that waits as long for a moment without open files waits for one that is never closed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that are shared.
const TRANSFERS: usize = 0;
const ABSENT: usize = 1;

pub(super) fn run(weather: &Weather) {
    let (module, shared) = (Module::find(), Shared::new());
    let crowd = Crowd::start(CROWD, |number| traffic(Random::new(weather.seed + number as u64), &shared));
    let (mut cycles, mut refused) = (0u64, 0u64);
    while !weather.is_over() {
        let start = Instant::now();
        loop {
            match Module::unload() {
                Ok(()) => break,
                Err(Errno::EAGAIN | Errno::EBUSY) => refused += 1,
                Err(errno) => panic!("it does not unload: {errno}"),
            }
            assert!(start.elapsed() < PATIENCE, "it is in use all the time");
            std::thread::sleep(Duration::from_micros(100));
        }
        module.load().expect("it loads");
        cycles += 1;
    }
    // The node may not be there yet: the kernel makes it a moment later.
    knem_conformance::waiting::until("the node is there", || node().exists());
    // Its mode is udev's work, which follows.
    let _ = std::process::Command::new("udevadm").args(["settle", "--timeout=60"]).status();
    crowd.end();
    count("load and unload cycles under traffic", cycles);
    count("unloads refused because of open files", refused);
    count("transfers between cycles", shared.get(TRANSFERS));
    count("openings while the module was away", shared.get(ABSENT));
}

/// Opens the device when it is there, and uses it.
fn traffic(mut random: Random, shared: &Shared) {
    let (memory, local) = (Mapping::holding(&[3; 3 * PAGE]), Mapping::new(3 * PAGE));
    loop {
        std::thread::sleep(Duration::from_micros(random.below(3000) as u64));
        let knem = match Knem::open_as(OFlag::O_RDWR) {
            Ok(knem) => knem,
            // There is no node, or no driver behind it.
            Err(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => {
                shared.add(ABSENT, 1);
                continue;
            }
            Err(errno) => panic!("it does not open: {errno}"),
        };
        let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
        if random.one_in(2) {
            let slots = Slots::map(&knem, PAGE).expect("mapped");
            let segments = &[segment(local.address(), 3 * PAGE as u64)];
            let request = Inline { cookie: region, segments, flags: NOTIFY, ..Inline::default() };
            knem.inline_at(request, 1).expect("queued");
            if random.one_in(2) {
                slots.wait(1);
            }
        }
        shared.add(TRANSFERS, 1);
    }
}
