// SPDX-License-Identifier: CECILL-B
//! The identity of a process: ids at open, at creation and at use; descriptors that are passed on; namespaces.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use knem_core::uapi;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{unshare, CloneFlags};
use nix::sys::socket::{
    recvmsg, sendmsg, socketpair, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
};
use nix::unistd::{setresgid, setresuid, Gid, Uid};

use crate::children::{become_user, in_child, with_open_node, Child, STRANGER};
use crate::device::{Knem, READ, SUCCESS};
use crate::machine::need_root;
use crate::memory::Mapping;
use crate::parameters::with_parameter;
use crate::slots::{Asynchronous, Slots, DONE, PENDING, THREAD};

crate::trials![
    "4 R13 W23" every_pair_of_ids,
    "4" changed_ids_lose_private_regions,
    "4" destroying_asks_for_no_id,
    "10 R14" passed_file_works_for_its_user,
    "10 R14 W23" regions_of_another_creator_are_for_any_user_only,
    "10" passed_file_shares_slots_and_events,
    "R15" memory_that_is_not_dumpable,
    "4 R16" user_namespaces_make_no_difference,
    "R16" strict_namespaces_are_asked_for,
    "R16" strictest_namespaces_are_refused_at_open,
    "R44 T22" privileged_writer_is_the_opener_not_the_caller,
    "8.2 R43" verbose_statistics_hide_other_users,
];

/// A further user id, neither root's nor that of [`STRANGER`].
const OTHER_USER: u32 = 61_000;

/// Sets real and effective user id; the saved one stays root's.
fn be(real: u32, effective: u32) {
    let root = Uid::from_raw(0);
    setresuid(root, root, root).expect("back to root");
    setresuid(Uid::from_raw(real), Uid::from_raw(effective), root).expect("setresuid");
}

fn every_pair_of_ids() {
    need_root();
    let people: Vec<(u32, u32)> =
        [0, STRANGER, OTHER_USER].into_iter().flat_map(|real| [0, STRANGER, OTHER_USER].map(|effective| (real, effective))).collect();
    in_child(|| {
        let group = Gid::from_raw(std::fs::metadata(crate::device::node()).expect("the node").st_gid());
        setresgid(group, group, group).expect("setresgid");
        with_open_node(|| {
            let (memory, local) = (Mapping::new(4), Mapping::new(4));
            for owner in &people {
                be(owner.0, owner.1);
                let knem = Knem::open();
                let private = knem.create(&[memory.segment()], READ, 0).expect("created");
                let public = knem.create(&[memory.segment()], READ, uapi::FLAG_ANY_USER_ACCESS).expect("created");
                for caller in &people {
                    be(caller.0, caller.1);
                    let expected = if owner == caller { Ok(SUCCESS) } else { Err(Errno::EPERM) };
                    let what = format!("{owner:?} owns it, {caller:?} reads");
                    assert_eq!(knem.read(private, 0, &[local.segment()], 0), expected, "{what}");
                    assert_eq!(knem.read(public, 0, &[local.segment()], 0), Ok(SUCCESS), "{what}");
                    assert_eq!(knem.write(public, 0, &[local.segment()], 0), Err(Errno::EACCES), "{what}");
                }
                be(0, 0);
            }
        });
    });
}

/// Returns the group of a file.
trait GroupOf {
    fn st_gid(&self) -> u32;
}

impl GroupOf for std::fs::Metadata {
    fn st_gid(&self) -> u32 {
        std::os::unix::fs::MetadataExt::gid(self)
    }
}

fn changed_ids_lose_private_regions() {
    need_root();
    in_child(|| {
        let setting = Asynchronous::new(1, b"contents");
        be(STRANGER, STRANGER);
        for flags in [0, uapi::FLAG_PINLOCAL, THREAD] {
            assert_eq!(setting.read(0, flags), Err(Errno::EPERM), "{flags:#x}");
        }
        be(0, 0);
        assert_eq!(setting.read(0, THREAD), Ok(u32::from(PENDING)));
        be(STRANGER, STRANGER);
        assert_eq!(setting.slots.wait(0), DONE, "what was accepted is done");
        be(0, 0);
    });
}

fn destroying_asks_for_no_id() {
    need_root();
    in_child(|| {
        let knem = Knem::open();
        let region = knem.create(&[], READ, 0).expect("created");
        be(STRANGER, STRANGER);
        assert_eq!(knem.destroy(region), Ok(()));
        be(0, 0);
    });
}

/// Sends a descriptor to another process.
fn pass(knem: &Knem, socket: &OwnedFd) {
    let number = [knem.fd().as_raw_fd()];
    let control = [ControlMessage::ScmRights(&number)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b"!")], &control, MsgFlags::empty(), None).expect("sendmsg");
}

fn receive(socket: &OwnedFd) -> Knem {
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut byte = [0];
    let mut place = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut place, Some(&mut space), MsgFlags::empty()).expect("recvmsg");
    for control in message.cmsgs().expect("control messages") {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: The descriptor was received just now, and nothing else owns it.
            return Knem::from(unsafe { OwnedFd::from_raw_fd(numbers[0]) });
        }
    }
    panic!("no descriptor came");
}

/// Passes a descriptor of this process to another one, which runs `theirs` as `user`; `ours` runs meanwhile.
fn passed_to(user: Option<u32>, knem: &Knem, theirs: impl FnOnce(&Knem) -> u64, ours: impl FnOnce(u64)) {
    let (here, there) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty()).expect("socketpair");
    let (answer, say) = nix::unistd::pipe().expect("pipe");
    let (wait, go) = nix::unistd::pipe().expect("pipe");
    let child = Child::start(|| {
        if let Some(user) = user {
            become_user(user);
        }
        let passed = receive(&there);
        let number = theirs(&passed);
        nix::unistd::write(&say, &number.to_ne_bytes()).expect("said");
        nix::unistd::read(&wait, &mut [0]).expect("a signal");
    });
    pass(knem, &here);
    let mut number = [0; 8];
    assert_eq!(nix::unistd::read(&answer, &mut number), Ok(8));
    ours(u64::from_ne_bytes(number));
    nix::unistd::write(&go, b"!").expect("written");
    child.succeeds();
}

fn passed_file_works_for_its_user() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"parent's"));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    let theirs = |passed: &Knem| {
        let local = Mapping::new(8);
        assert_eq!(passed.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
        assert_eq!(local.bytes(), b"parent's");
        let memory = std::mem::ManuallyDrop::new(Mapping::holding(b"child's!"));
        passed.create(&[memory.segment()], READ, 0).expect("created")
    };
    passed_to(None, &knem, theirs, |cookie| {
        let local = Mapping::new(8);
        assert_eq!(knem.read(cookie, 0, &[local.segment()], 0), Ok(SUCCESS));
        assert_eq!(local.bytes(), b"child's!");
        assert_eq!(knem.destroy(cookie), Ok(()));
    });
}

fn regions_of_another_creator_are_for_any_user_only() {
    need_root();
    for (flags, expected) in [(0, Err(Errno::EPERM)), (uapi::FLAG_ANY_USER_ACCESS, Ok(SUCCESS))] {
        let knem = Knem::open();
        let theirs = |passed: &Knem| {
            let memory = std::mem::ManuallyDrop::new(Mapping::holding(b"theirs"));
            let cookie = passed.create(&[memory.segment()], READ, flags).expect("created");
            let local = Mapping::new(6);
            assert_eq!(passed.read(cookie, 0, &[local.segment()], 0), expected, "the creator");
            cookie
        };
        passed_to(Some(STRANGER), &knem, theirs, |cookie| {
            let local = Mapping::new(6);
            assert_eq!(knem.read(cookie, 0, &[local.segment()], 0), expected, "the opener");
            let other = Knem::open();
            assert_eq!(other.read(cookie, 0, &[local.segment()], 0), expected, "the opener's user");
            assert_eq!(knem.destroy(cookie), Ok(()));
        });
    }
}

fn passed_file_shares_slots_and_events() {
    let setting = Asynchronous::new(1, b"contents");
    let theirs = |passed: &Knem| {
        assert_eq!(Slots::map(passed, 1).err(), Some(Errno::EBUSY));
        let local = Mapping::new(8);
        let segments = &[local.segment()];
        let request = crate::device::Inline {
            cookie: setting.region,
            segments,
            flags: crate::slots::NOTIFY,
            ..Default::default()
        };
        assert_eq!(passed.inline_at(request, 12), Ok(u32::from(PENDING)));
        assert_eq!(crate::slots::wait_events(passed, 1), [12]);
        assert_eq!(local.bytes(), b"contents");
        assert_eq!(passed.inline_at(request, 13), Ok(u32::from(PENDING)));
        0
    };
    passed_to(None, &setting.knem, theirs, |_| {
        assert_eq!(crate::slots::wait_events(&setting.knem, 1), [13]);
        assert_eq!(setting.slots.get(12), DONE);
    });
}

fn memory_that_is_not_dumpable() {
    let undumpable = || {
        // SAFETY: The call accesses no memory; it only sets a flag of this process.
        assert_eq!(unsafe { nix::libc::prctl(nix::libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }, 0);
    };
    // By default daemons, which are not dumpable, may share their memory.
    in_child(|| {
        let (knem, memory) = (Knem::open(), Mapping::new(4));
        undumpable();
        knem.create(&[memory.segment()], READ, 0).expect("created");
    });
    with_parameter("strict_dumpable", "1", || {
        in_child(|| {
            let (knem, memory) = (Knem::open(), Mapping::new(4));
            knem.create(&[memory.segment()], READ, 0).expect("created");
            undumpable();
            assert_eq!(knem.create(&[memory.segment()], READ, 0), Err(Errno::EPERM));
            knem.create(&[memory.segment()], READ, uapi::FLAG_ANY_USER_ACCESS).expect("created");
        });
    });
}

/// Runs `work` in a child with its own namespaces, with a context that it opened before, and one that it opened after.
fn in_namespaces(work: impl FnOnce(&Knem, &Knem)) {
    in_child(|| {
        let before = Knem::open();
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWUSER) {
            panic!("unshare: {errno}");
        }
        // Root in the child's namespace is the same user: the kernel's ids do not change.
        let Ok(after) = Knem::open_as(OFlag::O_RDWR) else { return };
        work(&before, &after);
    });
}

fn need_namespaces() {
    let able = nix::unistd::geteuid().is_root() && std::path::Path::new("/proc/self/ns/user").exists();
    if !able {
        crate::skip("it takes root, and user namespaces");
    }
}

fn user_namespaces_make_no_difference() {
    need_namespaces();
    let (knem, memory) = (Knem::open(), Mapping::holding(b"contents"));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    in_namespaces(|before, after| {
        let local = Mapping::new(8);
        for theirs in [before, after] {
            assert_eq!(theirs.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
            assert_eq!(local.bytes(), b"contents");
        }
    });
}

fn strict_namespaces_are_asked_for() {
    need_namespaces();
    with_parameter("strict_ns", "1", || {
        let (knem, memory) = (Knem::open(), Mapping::holding(b"contents"));
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        let local = Mapping::new(8);
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS), "in the same namespaces");
        in_child(|| {
            let theirs = Knem::open();
            let local = Mapping::new(8);
            assert_eq!(theirs.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
            unshare(CloneFlags::CLONE_NEWUSER).expect("unshare");
            assert_eq!(theirs.read(region, 0, &[local.segment()], 0), Err(Errno::EPERM));
        });
        in_child(|| {
            unshare(CloneFlags::CLONE_NEWPID).expect("unshare");
            // The next child is in the new pid namespace.
            in_child(|| {
                let (theirs, local) = (Knem::open(), Mapping::new(8));
                assert_eq!(theirs.read(region, 0, &[local.segment()], 0), Err(Errno::EPERM));
            });
        });
    });
}

fn strictest_namespaces_are_refused_at_open() {
    need_namespaces();
    with_parameter("strict_ns", "2", || {
        let (knem, memory) = (Knem::open(), Mapping::holding(b"contents"));
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        let local = Mapping::new(8);
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS), "in the machine's own namespaces");
        let open = |flags| Knem::open_as(flags).map(|_| ());
        let refused = move || {
            assert_eq!(open(OFlag::O_RDWR), Err(Errno::EPERM));
            assert_eq!(open(OFlag::O_WRONLY), Err(Errno::EPERM));
            assert_eq!(open(OFlag::O_RDONLY), Ok(()), "statistics can be read");
        };
        in_child(|| {
            let before = Knem::open();
            unshare(CloneFlags::CLONE_NEWUSER).expect("unshare");
            refused();
            let local = Mapping::new(8);
            assert_eq!(before.read(region, 0, &[local.segment()], 0), Err(Errno::EPERM));
        });
        in_child(|| {
            unshare(CloneFlags::CLONE_NEWPID).expect("unshare");
            assert_eq!(open(OFlag::O_RDWR), Ok(()), "the next process is in the new namespace");
            in_child(refused);
        });
    });
}

fn privileged_writer_is_the_opener_not_the_caller() {
    need_root();
    // A program of root whose standard error another user has redirected to the device must not clear the statistics.
    let _ = Knem::open().read(0, 0, &[], 0);
    let before = crate::counters::counters();
    with_open_node(|| {
        let (here, there) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::empty()).expect("socketpair");
        Child::start(|| {
            become_user(STRANGER);
            pass(&Knem::open_as(OFlag::O_WRONLY).expect("opens"), &there);
        })
        .succeeds();
        let theirs = receive(&here);
        assert_eq!(nix::unistd::write(theirs.fd(), b"1"), Err(Errno::EPERM));
    });
    assert_eq!(crate::counters::counters(), before);
}

fn verbose_statistics_hide_other_users() {
    need_root();
    with_parameter("statsverbose", "1", || {
        let (knem, memory) = (Knem::open(), Mapping::new(4));
        let cookies: Vec<u64> = (0..4).map(|_| knem.create(&[memory.segment()], READ, 0).expect("created")).collect();
        knem.create(&[], READ, uapi::FLAG_SINGLEUSE).expect("created");
        let text = crate::counters::text();
        assert!(text.contains("\n  Listed 5 regions\n"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("  Region ")).count(), 5, "{text}");
        assert_eq!(text.lines().filter(|line| line.ends_with(" SingleUse")).count(), 1, "{text}");
        assert!(text.lines().any(|line| line.starts_with(" Context ")) && text.contains("\n Listed 1 contexts\n"), "{text}");
        for cookie in cookies {
            for part in [cookie >> 32, cookie & 0xffff_ffff, cookie & 0x7fff_ffff] {
                assert!(!text.contains(&format!("{part:08x}")), "{cookie:#x} in {text}");
            }
        }
        with_open_node(|| {
            in_child(|| {
                become_user(STRANGER);
                let text = crate::counters::text();
                assert!(text.contains("\n Listed 0 contexts (1 hidden)\n"), "{text}");
                assert!(!text.contains("Region"), "{text}");
            });
        });
    });
}
