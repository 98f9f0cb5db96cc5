// SPDX-License-Identifier: CECILL-B
//! The order of the checks of a copy: of two reasons to refuse it, the first one is returned and counted.

use knem_core::uapi::{self, CmdInitAsyncRecv, CmdInlineCopy};
use nix::errno::Errno;

use crate::counters::{counts, BAD_ARGUMENT, BAD_FLAGS, NO_COOKIE, NO_PIN, PROCESSED, SUBMITTED};
use crate::device::{segment, Knem, READ, WRITE};
use crate::memory::{hole, Mapping};
use crate::slots::{wait_events, Asynchronous, DONE, NOTIFY, PENDING, POISON, THREAD};

crate::trials![
    "2.7" unknown_bits_vanish_before_anything_is_asked,
    "2.7" index_is_checked_before_the_request_counts,
    "2.7" notify_without_a_thread_comes_before_the_count,
    "2.7" notify_with_asyncdmacomplete_comes_before_the_count,
    "2.7" dma_comes_before_the_events_capacity,
    "2.7" events_capacity_comes_before_the_segments,
    "2.7" events_capacity_comes_before_the_region,
    "2.7" segments_come_before_the_region,
    "2.7" source_comes_before_the_destination,
    "2.7" region_comes_before_pinning,
    "2.7" protection_comes_before_pinning,
    "2.7 R40" refused_requests_leave_the_slot,
    "2.7" reservations_are_undone_by_every_later_error,
];

const SLOTS: u32 = 4096;

fn setting() -> Asynchronous {
    Asynchronous::new(1, b"contents")
}

/// Reserves all entries of the event queue.
fn fill(setting: &Asynchronous, count: u32) {
    for index in 0..count {
        assert_eq!(setting.read_into(&[], index, NOTIFY), Ok(u32::from(PENDING)));
    }
}

fn unknown_bits_vanish_before_anything_is_asked() {
    let knem = Knem::open();
    // Bits for creation only and undefined bits never make a request asynchronous.
    assert_eq!(knem.read(0, 0, &[], !uapi::FLAG_ANY_COPY_MASK), Err(Errno::EINVAL), "cookie 0, and nothing else");
    counts(&[(SUBMITTED, 1), (NO_COOKIE, 1)], || knem.read(0, 0, &[], !uapi::FLAG_ANY_COPY_MASK).err());
}

fn index_is_checked_before_the_request_counts() {
    let setting = setting();
    let place = (0xbad, 0);
    counts(&[], || {
        for flags in [uapi::FLAG_ASYNCDMACOMPLETE, uapi::FLAG_DMATHREAD, THREAD, NOTIFY] {
            for index in [SLOTS, SLOTS + 1, 1 << 31, u32::MAX] {
                assert_eq!(setting.read_into(&[segment(hole(), 1)], index, flags), Err(Errno::EINVAL));
                assert_eq!(setting.knem.copy_at(place, place, None, flags, index), Err(Errno::EINVAL));
                assert_eq!(setting.knem.copy_at(place, place, Some(1), flags, index), Err(Errno::EINVAL));
            }
        }
    });
}

fn notify_without_a_thread_comes_before_the_count() {
    let setting = setting();
    counts(&[], || {
        assert_eq!(setting.read(0, uapi::FLAG_NOTIFY_FD | uapi::FLAG_DMA), Err(Errno::EINVAL));
        assert_eq!(setting.knem.copy((0xbad, 0), (0xbad, 0), None, uapi::FLAG_NOTIFY_FD), Err(Errno::EINVAL));
    });
}

fn notify_with_asyncdmacomplete_comes_before_the_count() {
    let setting = setting();
    let flags = NOTIFY | uapi::FLAG_ASYNCDMACOMPLETE;
    counts(&[], || {
        assert_eq!(setting.read(0, flags), Err(Errno::EINVAL));
        assert_eq!(setting.read(0, flags | uapi::FLAG_DMA), Err(Errno::EINVAL));
        assert_eq!(setting.knem.copy_at((0xbad, 0), (0xbad, 0), None, flags, 0), Err(Errno::EINVAL));
    });
}

fn dma_comes_before_the_events_capacity() {
    let setting = setting();
    if setting.knem.info().features & uapi::FEATURE_DMA != 0 {
        crate::skip("there is a DMA engine");
    }
    if crate::counters::text().contains(" DMAEngine: NoKernelSupport\n") || setting.knem.info().ignored_flags != 0 {
        crate::skip("the flag is dropped where DMA is not built, or switched off");
    }
    fill(&setting, SLOTS);
    counts(&[(SUBMITTED, 1), (BAD_FLAGS, 1)], || {
        assert_eq!(setting.read(0, NOTIFY | uapi::FLAG_DMA), Err(Errno::EINVAL));
    });
}

fn events_capacity_comes_before_the_segments() {
    let setting = setting();
    fill(&setting, SLOTS);
    let mut request = CmdInlineCopy {
        local_iovec_array: hole(),
        local_iovec_nr: 1,
        remote_cookie: setting.region,
        flags: NOTIFY,
        ..CmdInlineCopy::default()
    };
    counts(&[(SUBMITTED, 1)], || {
        assert_eq!(setting.knem.command(uapi::CMD_INLINE_COPY, &mut request), Err(Errno::EBUSY));
    });
    wait_events(&setting.knem, 1);
    counts(&[(SUBMITTED, 1), (BAD_ARGUMENT, 1)], || {
        assert_eq!(setting.knem.command(uapi::CMD_INLINE_COPY, &mut request), Err(Errno::EFAULT));
    });
}

fn events_capacity_comes_before_the_region() {
    let setting = setting();
    fill(&setting, SLOTS);
    let bad = (0xbad, 0);
    counts(&[(SUBMITTED, 1)], || {
        assert_eq!(setting.knem.copy_at(bad, bad, None, NOTIFY, 0), Err(Errno::EBUSY));
    });
    wait_events(&setting.knem, 1);
    counts(&[(SUBMITTED, 1), (NO_COOKIE, 1)], || {
        assert_eq!(setting.knem.copy_at(bad, bad, None, NOTIFY, 0), Err(Errno::EINVAL));
    });
}

fn segments_come_before_the_region() {
    let setting = setting();
    for flags in [0, THREAD, NOTIFY] {
        let mut request =
            CmdInlineCopy { local_iovec_array: hole(), local_iovec_nr: 1, flags, ..CmdInlineCopy::default() };
        counts(&[(SUBMITTED, 1), (BAD_ARGUMENT, 1)], || {
            assert_eq!(setting.knem.command(uapi::CMD_INLINE_COPY, &mut request), Err(Errno::EFAULT));
        });
    }
    let mut request = CmdInitAsyncRecv { recv_iovec_array: hole(), recv_iovec_nr: 1, ..Default::default() };
    counts(&[(SUBMITTED, 1), (BAD_ARGUMENT, 1)], || {
        assert_eq!(setting.knem.command(uapi::CMD_INIT_ASYNC_RECV, &mut request), Err(Errno::EFAULT));
    });
}

fn source_comes_before_the_destination() {
    let (knem, memory) = (Knem::open(), Mapping::new(8));
    let (reads, writes) =
        [READ, WRITE].map(|protection| knem.create(&[memory.segment()], protection, 0).expect("created")).into();
    let refused = |source, destination| {
        counts(&[(SUBMITTED, 1), (NO_COOKIE, 1)], || knem.copy((source, 0), (destination, 0), None, 0))
    };
    assert_eq!(refused(0xbad, reads), Err(Errno::EINVAL), "no source, and no right to write the destination");
    assert_eq!(refused(writes, 0xbad), Err(Errno::EACCES), "no right to read the source, and no destination");
    assert_eq!(refused(reads, 0xbad), Err(Errno::EINVAL));
    assert_eq!(refused(reads, reads), Err(Errno::EACCES));
}

fn region_comes_before_pinning() {
    let setting = setting();
    let nowhere = &[segment(hole(), 8)];
    for (flags, index) in [(uapi::FLAG_PINLOCAL, 0), (THREAD, 0), (NOTIFY, 1)] {
        let request = crate::device::Inline { cookie: 0xbad, segments: nowhere, flags, ..Default::default() };
        counts(&[(SUBMITTED, 1), (NO_COOKIE, 1)], || {
            assert_eq!(setting.knem.inline_at(request, index), Err(Errno::EINVAL));
        });
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (NO_PIN, 1)], || {
            assert_eq!(setting.read_into(nowhere, index, flags), Err(Errno::EFAULT));
        });
    }
}

fn protection_comes_before_pinning() {
    let (knem, memory) = (Knem::open(), Mapping::new(8));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    counts(&[(SUBMITTED, 1), (NO_COOKIE, 1)], || {
        assert_eq!(knem.write(region, 0, &[segment(hole(), 8)], uapi::FLAG_PINLOCAL), Err(Errno::EACCES));
    });
}

/// Makes requests that are refused, each at a later check than the one before.
fn refusals(setting: &Asynchronous, index: u32, flags: u32) {
    let mut unreadable = CmdInlineCopy {
        local_iovec_array: hole(),
        local_iovec_nr: 1,
        remote_cookie: setting.region,
        flags,
        async_status_index: index,
        ..CmdInlineCopy::default()
    };
    assert_eq!(setting.knem.command(uapi::CMD_INLINE_COPY, &mut unreadable), Err(Errno::EFAULT));
    let (bad, good) = ((0xbad, 0), (setting.region, 0));
    assert_eq!(setting.knem.copy_at(bad, good, None, flags, index), Err(Errno::EINVAL));
    assert_eq!(setting.knem.copy_at(good, bad, None, flags, index), Err(Errno::EINVAL));
    assert_eq!(setting.read_into(&[segment(hole(), 8)], index, flags), Err(Errno::EFAULT));
}

fn refused_requests_leave_the_slot() {
    let setting = setting();
    setting.slots.set(7, POISON);
    refusals(&setting, 7, THREAD);
    refusals(&setting, 7, NOTIFY);
    assert_eq!(setting.slots.get(7), POISON);
    assert_eq!(setting.read(7, THREAD), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(7), DONE);
}

fn reservations_are_undone_by_every_later_error() {
    let setting = setting();
    fill(&setting, SLOTS - 1);
    for _ in 0..5 {
        refusals(&setting, 7, NOTIFY);
    }
    assert_eq!(setting.read_into(&[], 1, NOTIFY), Ok(u32::from(PENDING)), "the last place");
    assert_eq!(setting.read_into(&[], 1, NOTIFY), Err(Errno::EBUSY));
}
