// SPDX-License-Identifier: CECILL-B
//! The quick test vectors of section 15, by their letters.

use knem_core::uapi;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{setresuid, Uid};

use crate::children::{in_child, STRANGER};
use crate::counters::{counts, NO_PIN, PROCESSED, SUBMITTED, USER_COPY};
use crate::device::{segment, Inline, Knem, READ, WRITE};
use crate::memory::{hole, Mapping};
use crate::slots::{Asynchronous, Slots, PENDING, THREAD};

crate::trials![
    "15" a_unmapped_buffer_of_an_inline_read_fails_the_copy,
    "15" b_unmapped_buffer_that_is_pinned_is_efault,
    "15" c_offset_at_the_end_moves_nothing,
    "15" d_single_use_region_is_read_once,
    "15" e_refused_use_is_no_use,
    "15" f_one_byte_of_slots_is_a_page_of_them,
    "15" g_bits_outside_the_mask_are_nothing,
    "15" h_notify_alone_is_einval,
    "15" i_notify_with_asyncdmacomplete_is_einval,
    "15" j_destroying_with_bit_31_flipped_is_einval,
    "15" k_unknown_command_is_ebadf_or_enosys,
    "15" l_changed_user_loses_its_own_region,
    "15" m_second_mapping_after_munmap_is_ebusy,
];

fn region(contents: &[u8], protection: u32, flags: u32) -> (Knem, Mapping, u64, Mapping) {
    let (knem, memory) = (Knem::open(), Mapping::holding(contents));
    let region = knem.create(&[memory.segment()], protection, flags).expect("created");
    (knem, memory, region, Mapping::new(contents.len()))
}

fn a_unmapped_buffer_of_an_inline_read_fails_the_copy() {
    let (knem, _memory, region, _) = region(b"contents", READ, 0);
    counts(&[(SUBMITTED, 1), (PROCESSED, 1), (USER_COPY, 1)], || {
        assert_eq!(knem.read(region, 0, &[segment(hole(), 8)], 0), Ok(2));
    });
}

fn b_unmapped_buffer_that_is_pinned_is_efault() {
    let (knem, memory, region, _) = region(b"contents", READ | WRITE, 0);
    counts(&[(SUBMITTED, 2), (PROCESSED, 2), (NO_PIN, 2)], || {
        assert_eq!(knem.read(region, 0, &[segment(hole(), 8)], uapi::FLAG_PINLOCAL), Err(Errno::EFAULT));
        assert_eq!(knem.write(region, 0, &[segment(hole(), 8)], 0), Err(Errno::EFAULT));
    });
    assert_eq!(memory.bytes(), b"contents", "nothing moved");
}

fn c_offset_at_the_end_moves_nothing() {
    let (knem, memory, region, mut local) = region(b"contents", READ | WRITE, 0);
    local.bytes_mut().fill(b'.');
    assert_eq!(knem.read(region, 8, &[local.segment()], 0), Ok(1));
    assert_eq!(knem.write(region, 8, &[local.segment()], 0), Ok(1));
    assert_eq!((memory.bytes(), local.bytes()), (&b"contents"[..], &b"........"[..]));
}

fn d_single_use_region_is_read_once() {
    let (knem, _memory, region, local) = region(b"contents", READ, uapi::FLAG_SINGLEUSE);
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(1));
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Err(Errno::EINVAL));
}

fn e_refused_use_is_no_use() {
    let (knem, memory, region, local) = region(b"contents", WRITE, uapi::FLAG_SINGLEUSE);
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Err(Errno::EACCES));
    assert_eq!(knem.write(region, 0, &[local.segment()], 0), Ok(1));
    assert_eq!(memory.bytes(), [0; 8]);
}

fn f_one_byte_of_slots_is_a_page_of_them() {
    let setting = Asynchronous::new(1, b"contents");
    assert_eq!(setting.read(4095, THREAD), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(4095), 1);
    assert_eq!(setting.read(4096, THREAD), Err(Errno::EINVAL));
}

fn g_bits_outside_the_mask_are_nothing() {
    let (knem, _memory, region, local) = region(b"contents", READ, 0);
    counts(&[(SUBMITTED, 1), (PROCESSED, 1)], || {
        assert_eq!(knem.read(region, 0, &[local.segment()], 0xffff_ffa0), Ok(1));
    });
    assert_eq!(local.bytes(), b"contents");
}

fn h_notify_alone_is_einval() {
    let setting = Asynchronous::new(1, b"contents");
    assert_eq!(setting.read(0, 0x40), Err(Errno::EINVAL));
}

fn i_notify_with_asyncdmacomplete_is_einval() {
    let setting = Asynchronous::new(1, b"contents");
    assert_eq!(setting.read(0, 0x4c | 0x02), Err(Errno::EINVAL));
}

fn j_destroying_with_bit_31_flipped_is_einval() {
    let (knem, _memory, region, local) = region(b"contents", READ, 0);
    assert_eq!(knem.destroy(region ^ (1 << 31)), Err(Errno::EINVAL));
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(1));
}

fn k_unknown_command_is_ebadf_or_enosys() {
    let reader = Knem::open_as(OFlag::O_RDONLY).expect("opens");
    assert_eq!(reader.command_at(0x1234_5678, 0), Err(Errno::EBADF));
    assert_eq!(Knem::open().command_at(0x1234_5678, 0), Err(Errno::ENOSYS));
}

fn l_changed_user_loses_its_own_region() {
    crate::machine::need_root();
    in_child(|| {
        let (knem, _memory, region, local) = region(b"contents", READ, 0);
        let stranger = Uid::from_raw(STRANGER);
        setresuid(stranger, stranger, stranger).expect("setresuid");
        let request = Inline { cookie: region, segments: &[local.segment()], ..Inline::default() };
        assert_eq!(knem.inline(request), Err(Errno::EPERM));
    });
}

fn m_second_mapping_after_munmap_is_ebusy() {
    let knem = Knem::open();
    Slots::map(&knem, 1).expect("mapped").unmap();
    assert_eq!(Slots::map(&knem, 1).err(), Some(Errno::EBUSY));
}
