// SPDX-License-Identifier: CECILL-B
//! What commands write back, and what happens when they cannot.

use knem_core::uapi::{
    self, CmdBindOffload, CmdCreateRegion, CmdInitAsyncRecv, CmdInitSend, CmdSyncRecv, ParamIovec,
};
use nix::errno::Errno;
use nix::sys::mman::ProtFlags;

use crate::counters::nothing_is_pinned;
use crate::device::{Knem, GARBAGE, READ, SUCCESS};
use crate::memory::{Mapping, PAGE};
use crate::slots::{address, Asynchronous, DONE};

crate::trials![
    "2.1" info_is_written_whole,
    "2.3" creation_writes_the_cookie_alone,
    "2.8" sending_writes_the_cookie_alone,
    "2.10" receiving_writes_the_status_alone,
    "2" errors_write_nothing_back,
    "2" commands_without_results_take_read_only_memory,
    "R3 W2" undelivered_results_are_efault_and_undone,
];

fn info_is_written_whole() {
    // `info` fills the structure with garbage first.
    let info = Knem::open().info();
    let fields = [info.abi, info.features, info.ignored_flags, info.forced_flags];
    assert!(fields.iter().all(|field| *field != GARBAGE), "{info:?}");
    assert_eq!(info.abi, 0x0d);
}

/// A command's argument in memory that can be made read-only.
struct Argument(Mapping);

impl Argument {
    fn of<T: Copy>(value: T) -> Self {
        let mapping = Mapping::new(PAGE);
        let place = std::ptr::with_exposed_provenance_mut::<T>(mapping.address() as usize);
        // SAFETY: The start of a page is aligned for every argument, and a page is large enough for it.
        unsafe { place.write(value) };
        mapping.protect(0, PAGE, ProtFlags::PROT_READ);
        Self(mapping)
    }

    fn command(&self, knem: &Knem, command: u32) -> Result<(), Errno> {
        let before = self.0.bytes().to_vec();
        let outcome = knem.command_at(command, self.0.address());
        assert!(self.0.bytes() == before, "it cannot have been written");
        outcome
    }
}

fn creation_writes_the_cookie_alone() {
    let (knem, memory) = (Knem::open(), Mapping::new(8));
    let list = [memory.segment()];
    let before = CmdCreateRegion {
        iovec_array: address(&list),
        iovec_nr: 1,
        flags: !uapi::FLAG_ANY_CREATE_MASK,
        protection: READ | 0x100,
        pad1: GARBAGE,
        cookie: u64::MAX,
    };
    let mut after = before;
    assert_eq!(knem.command(uapi::CMD_CREATE_REGION, &mut after), Ok(()));
    assert!(after.cookie != 0 && after.cookie != u64::MAX);
    assert_eq!(CmdCreateRegion { cookie: u64::MAX, ..after }, before);
}

fn sending_writes_the_cookie_alone() {
    let (knem, memory) = (Knem::open(), Mapping::new(8));
    let list = [memory.segment()];
    let before = CmdInitSend { send_iovec_array: address(&list), send_iovec_nr: 1, flags: 0x100, send_cookie: 0 };
    let mut after = before;
    assert_eq!(knem.command(uapi::CMD_INIT_SEND, &mut after), Ok(()));
    assert_ne!(after.send_cookie, 0);
    assert_eq!(CmdInitSend { send_cookie: 0, ..after }, before);
}

fn receiving_writes_the_status_alone() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"contents"), Mapping::new(8));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    let list = [local.segment()];
    let before = CmdSyncRecv {
        recv_iovec_array: address(&list),
        recv_iovec_nr: 1,
        status: GARBAGE,
        send_cookie: region,
        flags: 0x100,
        pad: GARBAGE,
    };
    let mut after = before;
    assert_eq!(knem.command(uapi::CMD_SYNC_RECV, &mut after), Ok(()));
    assert_eq!(after, CmdSyncRecv { status: SUCCESS, ..before });
}

fn errors_write_nothing_back() {
    let knem = Knem::open();
    // Lists that cannot be read, which is the first thing that all of these check.
    let (array, nr) = (crate::memory::hole(), 1);
    let create = CmdCreateRegion { iovec_array: array, iovec_nr: nr, cookie: 77, ..CmdCreateRegion::default() };
    let mut after = create;
    assert_eq!(knem.command(uapi::CMD_CREATE_REGION, &mut after), Err(Errno::EFAULT));
    assert_eq!(after, create);
    let send = CmdInitSend { send_iovec_array: array, send_iovec_nr: nr, flags: 0, send_cookie: 77 };
    let mut after = send;
    assert_eq!(knem.command(uapi::CMD_INIT_SEND, &mut after), Err(Errno::EFAULT));
    assert_eq!(after, send);
    let receive = CmdSyncRecv { recv_iovec_array: array, recv_iovec_nr: nr, status: GARBAGE, ..CmdSyncRecv::default() };
    let mut after = receive;
    assert_eq!(knem.command(uapi::CMD_SYNC_RECV, &mut after), Err(Errno::EFAULT));
    assert_eq!(after, receive);
    // The wrappers of the copy commands compare the structures in every test.
    assert_eq!(knem.read(0, 0, &[], 0), Err(Errno::EINVAL));
    assert_eq!(knem.copy((0, 0), (0, 0), Some(1), 0), Err(Errno::EINVAL));
}

fn commands_without_results_take_read_only_memory() {
    let setting = Asynchronous::new(1, b"contents");
    let (knem, list) = (&setting.knem, [setting.local.segment()]);
    let receive = CmdInitAsyncRecv {
        recv_iovec_array: address(&list),
        recv_iovec_nr: 1,
        status_index: 3,
        send_cookie: setting.region,
        flags: 0,
        pad: GARBAGE,
    };
    assert_eq!(Argument::of(receive).command(knem, uapi::CMD_INIT_ASYNC_RECV), Ok(()));
    assert_eq!(setting.slots.wait(3), DONE);
    assert_eq!(setting.local.bytes(), b"contents");
    assert_eq!(Argument::of(setting.region).command(knem, uapi::CMD_DESTROY_REGION), Ok(()));
    let bind = CmdBindOffload { flags: uapi::BIND_FLAG_CURRENT, ..CmdBindOffload::default() };
    assert_eq!(Argument::of(bind).command(&Knem::open(), uapi::CMD_BIND_OFFLOAD), Ok(()));
}

fn undelivered_results_are_efault_and_undone() {
    nothing_is_pinned();
    let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 4 * PAGE]));
    let list: [ParamIovec; 1] = [memory.segment()];
    let send = CmdInitSend { send_iovec_array: address(&list), send_iovec_nr: 1, ..CmdInitSend::default() };
    for _ in 0..10 {
        assert_eq!(Argument::of(send).command(&knem, uapi::CMD_INIT_SEND), Err(Errno::EFAULT));
    }
    nothing_is_pinned();
    let region = knem.create(&list, READ, 0).expect("created");
    let local = Mapping::new(4 * PAGE);
    let into = [local.segment()];
    let receive = CmdSyncRecv {
        recv_iovec_array: address(&into),
        recv_iovec_nr: 1,
        send_cookie: region,
        ..CmdSyncRecv::default()
    };
    assert_eq!(Argument::of(receive).command(&knem, uapi::CMD_SYNC_RECV), Err(Errno::EFAULT));
    assert_eq!(knem.destroy(region), Ok(()));
    nothing_is_pinned();
}
