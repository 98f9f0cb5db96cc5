// SPDX-License-Identifier: CECILL-B
//! Requests that must be refused.

use std::io::IoSlice;

use knem::{Access, Cookie, CopyOptions, Error, RegionFlags};

use super::copies::{bytes_of, memory_of};
use super::{demand, refused, Outcome, Subject};

fn no_such_region(error: &Error) -> bool {
    matches!(error, Error::NoSuchRegion)
}

pub(super) fn single_use(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let device = subject.open()?;
    let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::SINGLE_USE)?;
    let mut copy = [0; 3];
    device.read(region.cookie(), &mut copy, CopyOptions::default())?;
    if &copy != b"abc" {
        return Ok(Outcome::Failed("WRONG DATA in the first use".to_owned()));
    }
    let again = device.read(region.cookie(), &mut copy, CopyOptions::default());
    Ok(refused(again, no_such_region, "the second use"))
}

pub(super) fn withdrawn(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let device = subject.open()?;
    let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE)?;
    let cookie = region.cookie();
    region.destroy()?;
    let mut copy = *b"...";
    let outcome = refused(device.read(cookie, &mut copy, CopyOptions::default()), no_such_region, "its use");
    Ok(if &copy == b"..." { outcome } else { Outcome::Failed("its bytes were copied nevertheless".to_owned()) })
}

pub(super) fn unknown(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let device = subject.open()?;
    let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE)?;
    // One bit of a valid cookie is wrong.
    let cookie = Cookie::from_raw(region.cookie().as_raw() ^ 1 << 40);
    Ok(refused(device.read(cookie, &mut [0; 3], CopyOptions::default()), no_such_region, "its use"))
}

pub(super) fn protection(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let device = subject.open()?;
    let memory = memory_of(b"abc")?;
    let protected = |error: &Error| matches!(error, Error::Protection);
    {
        let region = device.share_memory(&memory, 0..3, Access::Read, RegionFlags::NONE)?;
        let written = device.write(region.cookie(), b"xyz", CopyOptions::default());
        let outcome = refused(written, protected, "writing into a region that may only be read");
        if outcome != Outcome::Passed {
            return Ok(outcome);
        }
    }
    let region = device.share_memory(&memory, 0..3, Access::Write, RegionFlags::NONE)?;
    let read = device.read(region.cookie(), &mut [0; 3], CopyOptions::default());
    let outcome = refused(read, protected, "reading a region that may only be written");
    if outcome != Outcome::Passed {
        return Ok(outcome);
    }
    Ok(demand(bytes_of(&memory) == b"abc", "the memory was changed nevertheless"))
}
