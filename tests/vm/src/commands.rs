// SPDX-License-Identifier: CECILL-B
//! Commands: which there are, which there are not yet, and which flags they take.

use knem_core::uapi;
use nix::errno::Errno;

use crate::counters::{counts, BAD_FLAGS, PROCESSED, SUBMITTED};
use crate::device::{Inline, Knem, READ, SUCCESS, WRITE};
use crate::memory::Mapping;

crate::trials![
    info_tells_the_interface,
    unknown_numbers_are_enosys,
    other_sizes_are_enosys,
    what_is_not_there_yet_is_enosys,
    unknown_flags_are_ignored,
    asynchronous_flags_need_a_status_array,
    notification_needs_a_thread,
    dma_without_an_engine_is_invalid,
];

fn info_tells_the_interface() {
    let info = Knem::open().info();
    assert_eq!(info.abi, 0xd);
    assert_eq!(info.features, 0, "no DMA engine is offered");
    assert_eq!((info.ignored_flags, info.forced_flags), (0, 0));
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
    let known = [
        uapi::CMD_GET_INFO,
        uapi::CMD_CREATE_REGION,
        uapi::CMD_DESTROY_REGION,
        uapi::CMD_COPY,
        uapi::CMD_INLINE_COPY,
        uapi::CMD_COPY_BOUNDED,
        uapi::CMD_INLINE_COPY_BOUNDED,
    ];
    for number in known {
        for changed in [number ^ (8 << 16), number ^ (1 << 16), number ^ (1 << 30), number ^ (1 << 31)] {
            assert_eq!(knem.command_at(changed, 0), Err(Errno::ENOSYS), "{changed:#x}");
        }
    }
}

fn what_is_not_there_yet_is_enosys() {
    let knem = Knem::open();
    let cpus = &mut uapi::CmdBindOffload { flags: uapi::BIND_FLAG_CURRENT, ..Default::default() };
    assert_eq!(knem.command(uapi::CMD_BIND_OFFLOAD, cpus), Err(Errno::ENOSYS));
    assert_eq!(knem.command(uapi::CMD_INIT_SEND, &mut uapi::CmdInitSend::default()), Err(Errno::ENOSYS));
    assert_eq!(knem.command(uapi::CMD_INIT_ASYNC_RECV, &mut uapi::CmdInitAsyncRecv::default()), Err(Errno::ENOSYS));
    assert_eq!(knem.command(uapi::CMD_SYNC_RECV, &mut uapi::CmdSyncRecv::default()), Err(Errno::ENOSYS));
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
    /// Both inline commands and both others, with these flags.
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
    // Refused before the request counts.
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
    counts(&[(SUBMITTED, 4), (BAD_FLAGS, 4)], || {
        assert_eq!(setting.all(uapi::FLAG_DMA), [Err(Errno::EINVAL); 4]);
    });
    counts(&[(SUBMITTED, 4), (PROCESSED, 4)], || {
        assert_eq!(setting.all(0), [Ok(SUCCESS); 4]);
    });
}
