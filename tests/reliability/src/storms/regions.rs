// SPDX-License-Identifier: CECILL-B
//! Thousands of regions are closed at once while other processes copy from them.

use std::sync::atomic::Ordering;

use knem_conformance::device::{Knem, FAILED, READ, SUCCESS};
use knem_conformance::memory::{Mapping, PAGE};
use knem_conformance::random::Random;
use nix::errno::Errno;

use super::Weather;
use crate::crowd::Crowd;
use crate::report::count;
use crate::shared::Shared;

const REGIONS: usize = 4000;
const READERS: usize = 2;
/// Places of the two counts on the readers' page, behind the cookies.
const COPIES: usize = 0;
const LATE: usize = 1;

pub(super) fn run(weather: &Weather) {
    let (cookies, counts) = (Shared::new(), Shared::new());
    let mut closed = 0;
    {
        let readers = Crowd::start(READERS, |number| read(weather.seed + number as u64, &cookies, &counts));
        let memory = Mapping::holding(&[9; 2 * PAGE]);
        while !weather.is_over() {
            let knem = Knem::open();
            for number in 0..REGIONS {
                let cookie = knem.create(&[memory.part(number % PAGE, 1000)], READ, 0).expect("created");
                cookies.place(number).store(cookie, Ordering::Relaxed);
            }
            drop(knem);
            closed += REGIONS as u64;
        }
        readers.end();
    }
    count("regions closed thousands at once", closed);
    count("copies from regions that were being closed", counts.get(COPIES));
    count("copies that came too late", counts.get(LATE));
}

fn read(seed: u64, cookies: &Shared, counts: &Shared) {
    let (knem, local, mut random) = (Knem::open(), Mapping::new(PAGE), Random::new(seed));
    loop {
        let cookie = cookies.get(random.below(Shared::PLACES));
        match knem.read(cookie, 0, &[local.part(0, 1000)], 0) {
            Ok(SUCCESS) => {
                assert!(local.bytes()[..1000].iter().all(|byte| *byte == 9), "other bytes than the region's");
                counts.add(COPIES, 1);
            }
            Err(Errno::EINVAL) => counts.add(LATE, 1),
            Ok(FAILED) => panic!("a copy from memory that is there fails"),
            other => panic!("{other:?}"),
        }
    }
}
