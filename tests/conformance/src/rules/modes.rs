// SPDX-License-Identifier: CECILL-B
//! What each way of opening the device allows.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use knem_core::uapi;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::mman::{MapFlags, ProtFlags};
use nix::unistd::{read, write};

use crate::device::Knem;
use crate::memory::{both, Mapping, PAGE};

crate::trials![
    "1" node_is_a_misc_device,
    "1 R5" reader_gets_statistics_only,
    "1" writer_has_a_context,
    "1" client_has_a_context,
    "1" neither_reading_nor_writing_gives_nothing,
    "1" thousand_files_at_once,
    "R26" probing_is_cheap_and_repeatable,
];

const UNKNOWN: u32 = 0x1234_5678;

fn map(knem: &Knem, protection: ProtFlags) -> Result<(), Errno> {
    Mapping::try_of_file(knem.fd(), PAGE, protection, MapFlags::MAP_SHARED, 0).map(drop)
}

fn poll_now(knem: &Knem) -> PollFlags {
    let mut list = [PollFd::new(knem.fd(), PollFlags::POLLIN | PollFlags::POLLOUT)];
    poll(&mut list, PollTimeout::ZERO).expect("poll");
    list[0].revents().expect("known events")
}

fn get_info(knem: &Knem) -> Result<(), Errno> {
    knem.command(uapi::CMD_GET_INFO, &mut uapi::CmdInfo::default())
}

fn node_is_a_misc_device() {
    let node = std::fs::metadata(crate::device::node()).expect("the node");
    assert!(node.file_type().is_char_device());
    assert_eq!(nix::sys::stat::major(node.rdev()), 10);
    let list = std::fs::read_to_string("/proc/misc").expect("/proc/misc");
    let minor = nix::sys::stat::minor(node.rdev()).to_string();
    let entry = list.lines().find(|line| line.split_whitespace().nth(1) == Some(uapi::DEVICE_NAME));
    assert_eq!(entry.and_then(|line| line.split_whitespace().next()), Some(&*minor), "{list}");
}

fn reader_gets_statistics_only() {
    let knem = Knem::open_as(OFlag::O_RDONLY).expect("opens");
    assert!(read(knem.fd(), &mut [0; 64]).is_ok_and(|length| length == 64));
    assert_eq!(write(knem.fd(), b"1"), Err(Errno::EBADF));
    assert_eq!(get_info(&knem), Err(Errno::EBADF));
    assert_eq!(knem.command_at(UNKNOWN, 0), Err(Errno::EBADF), "before anything else");
    assert_eq!(map(&knem, ProtFlags::PROT_READ), Err(Errno::EBADF));
    assert_eq!(map(&knem, both()), Err(Errno::EACCES));
    assert_eq!(poll_now(&knem), PollFlags::POLLIN);
}

fn writer_has_a_context() {
    let knem = Knem::open_as(OFlag::O_WRONLY).expect("opens");
    assert_eq!(read(knem.fd(), &mut [0; 4]), Err(Errno::EBADF));
    assert_eq!(get_info(&knem), Ok(()));
    assert_eq!(knem.command_at(UNKNOWN, 0), Err(Errno::ENOSYS));
    assert_eq!(map(&knem, ProtFlags::PROT_READ), Err(Errno::EACCES));
    assert_eq!(poll_now(&knem), PollFlags::POLLERR);
    let cookie = knem.create(&[], 0, 0).expect("a region");
    assert_eq!(knem.destroy(cookie), Ok(()));
}

fn client_has_a_context() {
    let knem = Knem::open();
    for length in [1, 4, 4096] {
        assert_eq!(read(knem.fd(), &mut vec![0; length]), Err(Errno::EINVAL), "{length}");
    }
    assert_eq!(get_info(&knem), Ok(()));
    assert_eq!(knem.command_at(UNKNOWN, 0), Err(Errno::ENOSYS));
    assert_eq!(poll_now(&knem), PollFlags::POLLERR, "there is no status array yet");
    assert_eq!(map(&knem, both()), Ok(()));
    assert_eq!(poll_now(&knem), PollFlags::empty());
}

fn neither_reading_nor_writing_gives_nothing() {
    let knem = Knem::open_as(OFlag::O_ACCMODE).expect("opens");
    assert_eq!(read(knem.fd(), &mut [0; 4]), Err(Errno::EBADF));
    assert_eq!(write(knem.fd(), b"1"), Err(Errno::EBADF));
    assert_eq!(get_info(&knem), Err(Errno::EBADF));
}

fn thousand_files_at_once() {
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (soft, hard) = nix::sys::resource::getrlimit(limit).expect("getrlimit");
    nix::sys::resource::setrlimit(limit, hard.min(4096), hard).expect("setrlimit");
    let files: Vec<Knem> = (0..1000).map(|_| Knem::open()).collect();
    let cookies: Vec<u64> = files.iter().map(|knem| knem.create(&[], 0, 0).expect("a region")).collect();
    for (knem, cookie) in files.iter().zip(cookies) {
        assert_eq!(knem.destroy(cookie), Ok(()));
    }
    drop(files);
    nix::sys::resource::setrlimit(limit, soft, hard).expect("setrlimit");
}

fn probing_is_cheap_and_repeatable() {
    // As UCX does: open, query, declare one byte of the stack, close.
    let byte = 0u8;
    for _ in 0..2000 {
        let knem = Knem::open();
        assert_eq!(knem.info().abi, uapi::ABI_VERSION);
        let segment = crate::device::segment((&raw const byte).expose_provenance() as u64, 1);
        knem.create(&[segment], crate::device::READ | crate::device::WRITE, 0).expect("a region");
    }
}
