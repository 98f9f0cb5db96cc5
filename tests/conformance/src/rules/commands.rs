// SPDX-License-Identifier: CECILL-B
//! Commands: which exist, which do not exist yet, and which flags they accept.

use knem_core::uapi;
use nix::errno::Errno;

use crate::counters::{counts, BAD_FLAGS, PROCESSED, SUBMITTED};
use crate::device::{Inline, Knem, COMMANDS, READ, SUCCESS, WRITE};
use crate::memory::Mapping;

crate::trials![
    "2.1" info_reports_the_interface,
    "2" unknown_numbers_are_enosys,
    "2" other_sizes_are_enosys,
    "3 R60" unknown_flags_are_ignored,
    "2.7" asynchronous_flags_need_a_status_array,
    "2.7" notification_needs_a_thread,
    "6.6" dma_without_an_engine_is_invalid,
];

fn info_reports_the_interface() {
    let info = Knem::open().info();
    assert_eq!(info.abi, 0xd);
    assert_eq!(info.features & !uapi::FEATURE_DMA, 0, "no other features are known");
    assert_eq!(info.ignored_flags & info.forced_flags, 0);
    let text = crate::counters::text();
    let flags = format!("\n Flags: forcing {:#x}, ignoring {:#x}\n", info.forced_flags, info.ignored_flags);
    assert!(text.contains(&flags), "{text}");
}

fn unknown_numbers_are_enosys() {
    let knem = Knem::open();
    let command = |nr: u32| (uapi::CMD_GET_INFO & !0xff) | nr;
    for number in (0..=255).map(command).filter(|number| *number != uapi::CMD_GET_INFO) {
        assert_eq!(knem.command_at(number, 0), Err(Errno::ENOSYS), "{number:#x}");
    }
    for number in [0, 1, u32::MAX, 0x1234_5678, uapi::CMD_GET_INFO ^ 0x100, 0x5401] {
        assert_eq!(knem.command_at(number, 0), Err(Errno::ENOSYS), "{number:#x}");
    }
}

fn other_sizes_are_enosys() {
    let knem = Knem::open();
    for number in COMMANDS {
        for changed in [number ^ (8 << 16), number ^ (1 << 16), number ^ (1 << 30), number ^ (1 << 31)] {
            assert_eq!(knem.command_at(changed, 0), Err(Errno::ENOSYS), "{changed:#x}");
        }
    }
}

/// A region, and memory for the other side.
struct Setting {
    knem: Knem,
    region: u64,
    _memory: Mapping,
    local: Mapping,
}

fn setting() -> Setting {
    let knem = Knem::open();
    let memory = Mapping::holding(b"contents");
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("a region");
    Setting { knem, region, _memory: memory, local: Mapping::new(8) }
}

impl Setting {
    /// Issues both inline commands and both others, with these flags.
    fn all(&self, flags: u32) -> [Result<u32, Errno>; 4] {
        let segments = &[self.local.segment()];
        let inline = Inline { cookie: self.region, segments, flags, ..Inline::default() };
        let place = (self.region, 0);
        [
            self.knem.inline(inline),
            self.knem.inline(Inline { bound: Some(u64::MAX), ..inline }),
            self.knem.copy(place, place, None, flags),
            self.knem.copy(place, place, Some(u64::MAX), flags),
        ]
    }
}

fn unknown_flags_are_ignored() {
    let setting = setting();
    for flags in [!uapi::FLAG_ANY_COPY_MASK, uapi::FLAG_SINGLEUSE, uapi::FLAG_ANY_USER_ACCESS, 0x100, 1 << 31] {
        assert_eq!(setting.all(flags), [Ok(SUCCESS); 4], "{flags:#x}");
    }
    assert_eq!(setting.local.bytes(), b"contents");
    let region = setting.knem.create(&[setting.local.segment()], READ, !uapi::FLAG_ANY_CREATE_MASK).expect("created");
    let read = || setting.knem.read(region, 0, &[setting._memory.segment()], 0);
    assert_eq!((read(), read()), (Ok(SUCCESS), Ok(SUCCESS)), "not single-use");
}

fn asynchronous_flags_need_a_status_array() {
    let setting = setting();
    let asynchronous = [uapi::FLAG_ASYNCDMACOMPLETE, uapi::FLAG_DMATHREAD, uapi::FLAG_MEMCPYTHREAD];
    // Refused before the request is counted.
    counts(&[], || {
        for flags in asynchronous {
            assert_eq!(setting.all(flags), [Err(Errno::EINVAL); 4], "{flags:#x}");
        }
    });
}

fn notification_needs_a_thread() {
    let setting = setting();
    counts(&[], || {
        for flags in [uapi::FLAG_NOTIFY_FD, uapi::FLAG_NOTIFY_FD | uapi::FLAG_PINLOCAL, 0x4e, 0xc0] {
            assert_eq!(setting.all(flags), [Err(Errno::EINVAL); 4], "{flags:#x}");
        }
    });
}

fn dma_without_an_engine_is_invalid() {
    let setting = setting();
    if setting.knem.info().features & uapi::FEATURE_DMA != 0 {
        crate::skip("there is a DMA engine");
    }
    if crate::counters::text().contains(" DMAEngine: NoKernelSupport\n") || setting.knem.info().ignored_flags != 0 {
        crate::skip("the flag is dropped where DMA is not built, or switched off");
    }
    counts(&[(SUBMITTED, 4), (BAD_FLAGS, 4)], || {
        assert_eq!(setting.all(uapi::FLAG_DMA), [Err(Errno::EINVAL); 4]);
    });
    counts(&[(SUBMITTED, 4), (PROCESSED, 4)], || {
        assert_eq!(setting.all(0), [Ok(SUCCESS); 4]);
    });
}
