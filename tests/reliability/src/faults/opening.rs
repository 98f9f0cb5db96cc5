// SPDX-License-Identifier: CECILL-B
//! Opening the device, and what programs do with open files.

use std::os::fd::AsRawFd;

use knem_conformance::device::{Knem, READ};
use knem_conformance::memory::{Mapping, PAGE};
use knem_conformance::slots::Slots;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::wait::waitpid;
use nix::unistd::ForkResult;

use crate::nth::Nth;

super::scenarios![
    open_for_all,
    open_for_commands,
    open_for_statistics,
    open_and_close,
    open_three_files,
    fork_with_regions_and_an_array,
    pass_a_file_to_another_process,
];

fn open_for_all(nth: &Nth) {
    nth.call(|| Knem::open_as(OFlag::O_RDWR)).info();
}

fn open_for_commands(nth: &Nth) {
    nth.call(|| Knem::open_as(OFlag::O_WRONLY)).info();
}

fn open_for_statistics(nth: &Nth) {
    nth.call(|| Knem::open_as(OFlag::O_RDONLY));
}

fn open_and_close(nth: &Nth) {
    nth.call(|| Knem::open_as(OFlag::O_RDWR).map(drop));
}

fn open_three_files(nth: &Nth) {
    let open = || nth.call(|| Knem::open_as(OFlag::O_RDWR | OFlag::O_NONBLOCK));
    let files: [Knem; 3] = std::array::from_fn(|_| open());
    files[2].info();
}

fn fork_with_regions_and_an_array(nth: &Nth) {
    let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 8 * PAGE]));
    let _slots = Slots::map(&knem, 2 * PAGE).expect("mapped");
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    // SAFETY: The child only calls `_exit`, so that locks which other threads hold do not matter.
    let child = nth.call(|| match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Parent { child }) => Ok(child),
        // SAFETY: The call ends the child at once, so that no destructor of the parent's values runs here.
        Ok(ForkResult::Child) => unsafe { libc::_exit(0) },
        Err(errno) => Err(errno),
    });
    waitpid(child, None).expect("waitpid");
    assert_eq!(knem.destroy(region), Ok(()));
}

fn pass_a_file_to_another_process(nth: &Nth) {
    use nix::sys::socket::{recvmsg, sendmsg, socketpair, AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType};
    use std::io::{IoSlice, IoSliceMut};
    let (near, far) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).expect("a socket");
    let knem = Knem::open();
    let number = [knem.fd().as_raw_fd()];
    let (data, control) = ([IoSlice::new(b"!")], [ControlMessage::ScmRights(&number)]);
    // The space for control messages is allocated on the heap.
    nth.call(|| sendmsg::<()>(near.as_raw_fd(), &data, &control, MsgFlags::MSG_NOSIGNAL, None));
    drop(knem);
    let mut byte = [0];
    let mut place = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([i32; 4]);
    let received = recvmsg::<()>(far.as_raw_fd(), &mut place, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC);
    for message in received.expect("received").cmsgs().expect("control messages") {
        if let nix::sys::socket::ControlMessageOwned::ScmRights(numbers) = message {
            for number in numbers {
                Knem::inherited(number).info();
            }
        }
    }
}
