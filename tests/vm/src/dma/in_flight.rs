// SPDX-License-Identifier: CECILL-B
//! Copies in flight, one or many.

use knem_conformance::random::Random;

use super::DETACHED;
use crate::device::SUCCESS;
use crate::memory::Mapping;
use crate::slots::{Asynchronous, DONE, PENDING};

/// Reads the whole region and returns the final status. If that is known at once, both the call and the slot report it.
pub(super) fn submit(one: &Asynchronous, index: u32, flags: u32) -> u32 {
    let status = one.read(index, flags).expect("accepted");
    let last = u32::from(one.slots.wait(index));
    assert!(status == u32::from(PENDING) || status == last, "{status} and {last}");
    last
}

/// Keeps many copies of one context in flight, each with its own destination.
pub(super) fn many_in_flight(count: u32, length: usize) {
    let mut random = Random::new(u64::from(count));
    let bytes = random.bytes(length);
    let many = Asynchronous::new(count as usize, &bytes);
    let places: Vec<Mapping> = (0..count).map(|_| Mapping::new(length)).collect();
    for (index, place) in (0..count).zip(&places) {
        let status = many.read_into(&[place.segment()], index, DETACHED).expect("accepted");
        assert!([u32::from(PENDING), SUCCESS].contains(&status), "{status}");
    }
    for (index, place) in (0..count).zip(&places) {
        assert_eq!(many.slots.wait(index), DONE, "{index}");
        assert!(place.bytes() == bytes, "{index}");
    }
}
