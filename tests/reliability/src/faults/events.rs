// SPDX-License-Identifier: CECILL-B
//! Events: a failed read loses none, and waiting for them.

use std::os::fd::AsFd;

use knem_conformance::device::Knem;
use knem_conformance::memory::PAGE;
use knem_conformance::slots::{Asynchronous, Slots, DONE, NOTIFY, PENDING};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::asking::closes;
use crate::nth::Nth;

super::scenarios![
    read_an_event,
    read_many_events,
    read_no_event,
    poll_for_nothing,
    poll_for_an_event,
    poll_several_files,
    epoll_for_an_event,
    epoll_until_the_file_is_closed,
];

/// With so many events to be read.
fn with_events(count: u32) -> Asynchronous {
    let setting = Asynchronous::new(PAGE, b"contents");
    for slot in 1..=count {
        assert_eq!(setting.read(slot, NOTIFY), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.wait(slot), DONE);
    }
    let mut list = [PollFd::new(setting.knem.fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut list, PollTimeout::NONE), Ok(1));
    setting
}

fn read(nth: &Nth, count: u32) {
    let setting = with_events(count);
    let mut buffer = [0u8; 4 * 64];
    let wanted = 4 * count as usize;
    let mut got = 0;
    while got < wanted {
        got += nth.call(|| nix::unistd::read(setting.knem.fd(), &mut buffer[got..wanted]));
    }
    let events: Vec<u32> =
        buffer[..wanted].chunks(4).map(|event| u32::from_ne_bytes(event.try_into().expect("four"))).collect();
    assert_eq!(events, (1..=count).collect::<Vec<u32>>(), "each event once, in order");
}

fn read_an_event(nth: &Nth) {
    read(nth, 1);
}

fn read_many_events(nth: &Nth) {
    read(nth, 64);
}

fn read_no_event(nth: &Nth) {
    let knem = Knem::open_as(nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NONBLOCK).expect("opens");
    let _slots = Slots::map(&knem, PAGE).expect("mapped");
    let mut buffer = [0; 4];
    let answer = nth.during(|| nix::unistd::read(knem.fd(), &mut buffer));
    assert_eq!(answer, Err(Errno::EAGAIN));
}

fn polls(nth: &Nth, files: &[&Knem], ready: i32) {
    let mut list: Vec<PollFd<'_>> = files.iter().map(|knem| PollFd::new(knem.fd(), PollFlags::POLLIN)).collect();
    assert_eq!(nth.call(|| poll(&mut list, PollTimeout::ZERO)), ready);
}

fn poll_for_nothing(nth: &Nth) {
    let knem = Knem::open();
    let _slots = Slots::map(&knem, PAGE).expect("mapped");
    polls(nth, &[&knem], 0);
}

fn poll_for_an_event(nth: &Nth) {
    polls(nth, &[&with_events(1).knem], 1);
}

fn poll_several_files(nth: &Nth) {
    let (idle, ready) = (Asynchronous::new(PAGE, b"contents"), with_events(1));
    // More than poll has room for on its stack.
    let files: Vec<&Knem> = (0..100).map(|n| if n % 2 == 0 { &idle.knem } else { &ready.knem }).collect();
    polls(nth, &files, 50);
}

fn epoll_for_an_event(nth: &Nth) {
    let setting = with_events(1);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll");
    nth.call(|| epoll.add(setting.knem.fd().as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 1)));
    let mut found = [EpollEvent::empty()];
    assert_eq!(nth.call(|| epoll.wait(&mut found, EpollTimeout::from(1000u16))), 1);
}

fn epoll_until_the_file_is_closed(nth: &Nth) {
    let setting = with_events(1);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll");
    epoll.add(setting.knem.fd().as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, 1)).expect("added");
    closes(nth, setting.knem, setting.slots);
}
