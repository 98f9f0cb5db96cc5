// SPDX-License-Identifier: CECILL-B
//! Cookies: exact, unpredictable, and never used twice.

use std::collections::HashSet;

use nix::errno::Errno;

use crate::counters::{counts, NO_COOKIE, SUBMITTED};
use crate::device::{Knem, READ, SUCCESS, WRITE};
use crate::memory::Mapping;

crate::trials![
    "R11 W4" every_bit_counts,
    "4" zero_is_never_a_region,
    "R10 W16" destroyed_cookies_stay_dead,
    "R10" cookies_look_random,
    "R12" cookies_are_not_shown_elsewhere,
    "R10" chosen_cookies_disturb_no_creation,
];

fn every_bit_counts() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"data"), Mapping::new(4));
    for flags in [0, knem_core::uapi::FLAG_SINGLEUSE] {
        let region = knem.create(&[memory.segment()], READ | WRITE, flags).expect("created");
        for bit in 0..64 {
            let forged = region ^ (1 << bit);
            counts(&[(SUBMITTED, 3), (NO_COOKIE, 3)], || {
                assert_eq!(knem.read(forged, 0, &[local.segment()], 0), Err(Errno::EINVAL), "bit {bit}");
                assert_eq!(knem.write(forged, 0, &[local.segment()], 0), Err(Errno::EINVAL), "bit {bit}");
                assert_eq!(knem.copy((forged, 0), (forged, 0), None, 0), Err(Errno::EINVAL), "bit {bit}");
            });
            assert_eq!(knem.destroy(forged), Err(Errno::EINVAL), "bit {bit}");
        }
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS), "the true one");
        assert_eq!(local.bytes(), b"data");
    }
}

fn zero_is_never_a_region() {
    let (knem, local) = (Knem::open(), Mapping::new(4));
    assert_eq!(knem.read(0, 0, &[local.segment()], 0), Err(Errno::EINVAL));
    assert_eq!(knem.copy((0, 0), (0, 0), None, 0), Err(Errno::EINVAL));
    assert_eq!(knem.destroy(0), Err(Errno::EINVAL));
}

fn destroyed_cookies_stay_dead() {
    let (knem, memory, local) = (Knem::open(), Mapping::new(4), Mapping::new(4));
    let mut seen = HashSet::new();
    let first = knem.create(&[memory.segment()], READ, 0).expect("created");
    assert_eq!(knem.destroy(first), Ok(()));
    for _ in 0..20_000 {
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        assert!(seen.insert(region), "{region:#x} came again");
        assert_eq!(knem.destroy(region), Ok(()));
    }
    assert!(!seen.contains(&first));
    assert_eq!(knem.read(first, 0, &[local.segment()], 0), Err(Errno::EINVAL));
}

fn cookies_look_random() {
    const COUNT: u32 = 4096;
    let knem = Knem::open();
    let cookies: Vec<u64> = (0..COUNT).map(|_| knem.create(&[], 0, 0).expect("created")).collect();
    for bit in 0..64 {
        let ones = cookies.iter().filter(|cookie| (*cookie >> bit) & 1 == 1).count();
        // 10 standard deviations of a fair coin: 4096 / 2 +- 320.
        assert!((1728..=2368).contains(&ones), "bit {bit} is set {ones} times of {COUNT}");
    }
    let near = cookies.windows(2).filter(|pair| (pair[0] ^ pair[1]).count_ones() < 8).count();
    assert_eq!(near, 0, "cookies that follow each other are alike");
}

/// A process may keep the regions whose cookies are alike in some bits. However the driver hashes them, only the limits
/// cause EBUSY.
fn chosen_cookies_disturb_no_creation() {
    let knem = Knem::open();
    let mut kept = 0;
    for round in 0..24_000 {
        let region = knem.create(&[], 0, 0).unwrap_or_else(|error| panic!("creation {round}: {error}"));
        if region & 0x3f == 0 {
            kept += 1;
        } else {
            assert_eq!(knem.destroy(region), Ok(()));
        }
    }
    // 8 standard deviations around 375.
    assert!((220..530).contains(&kept), "{kept} kept");
}

fn cookies_are_not_shown_elsewhere() {
    let knem = Knem::open();
    let region = knem.create(&[], READ, 0).expect("created");
    let halves = [region >> 32, region & 0xffff_ffff].map(|half| format!("{half:08x}"));
    let text = crate::counters::text();
    for half in halves {
        assert!(!text.contains(&half), "{half} in {text}");
    }
}
