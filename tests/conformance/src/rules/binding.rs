// SPDX-License-Identifier: CECILL-B
//! The CPUs of a context's worker thread: BIND_OFFLOAD, the parameter `binding`, the caller's cpuset and control group.

use knem_core::uapi::{self, CmdBindOffload};
use nix::errno::Errno;

use crate::children::in_child;
use crate::device::Knem;
use crate::machine::{need_kernel, need_processors, on_processors, processors, ControlGroup};
use crate::memory::{hole, Mapping, PAGE};
use crate::parameters::{get, with_parameter};
use crate::slots::{Asynchronous, Slots, DONE, PENDING, THREAD};
use crate::threads::{list, Thread};

crate::trials![
    "2.2" flags_must_be_one_of_three,
    "2.2" bad_mask_is_efault_for_custom_only,
    "2.2" once_mapped_it_is_ebusy,
    "2.2" ebusy_comes_before_einval_and_efault_of_the_mask,
    "2.2 B21" refused_binding_changes_nothing,
    "2.2" custom_mask_is_where_the_thread_runs,
    "2.2" short_masks_are_extended_with_zeros,
    "2.2" long_masks_are_cut,
    "2.2" empty_mask_leaves_the_thread_unbound,
    "2.2" current_is_where_the_caller_may_run,
    "2.2" reversed_is_where_the_caller_may_not_run,
    "2.2" last_binding_wins,
    "6.4" by_default_the_thread_runs_where_the_caller_may,
    "6.4" parameter_binding_zero_is_everywhere,
    "6.4" parameter_binding_negative_is_elsewhere,
    "6.4" bound_threads_work,
    "R24 W21" thread_stays_in_the_callers_cpuset,
    "2.2 R24" custom_mask_outside_the_cpuset_stays_inside_it,
    "R23 W21" thread_is_in_the_callers_control_group,
    "R24" binding_and_mapping_do_not_race,
];

fn bind(knem: &Knem, flags: u32, mask: u64, length: u32) -> Result<(), Errno> {
    knem.command(uapi::CMD_BIND_OFFLOAD, &mut CmdBindOffload { flags, mask_len: length, mask_ptr: mask })
}

/// Binds to a mask of `length` bytes with these CPUs.
fn bind_custom(knem: &Knem, cpus: &[usize], length: usize) -> Result<(), Errno> {
    let mut mask = vec![0u8; length];
    cpus.iter().for_each(|cpu| mask[cpu / 8] |= 1 << (cpu % 8));
    let address = mask.as_ptr().expose_provenance() as u64;
    bind(knem, uapi::BIND_FLAG_CUSTOM, address, u32::try_from(length).expect("small"))
}

/// Maps the status array, and waits until the thread may run on exactly these CPUs.
fn runs_on(knem: &Knem, expected: &[usize]) {
    let (thread, _slots) = Thread::of(knem, 1);
    let came = crate::waiting::comes(|| thread.processors() == list(expected));
    assert!(came, "it runs on {}, not {}", thread.processors(), list(expected));
}

fn default_binding() {
    if get("binding").is_some_and(|binding| binding != "1") {
        crate::skip("the parameter binding is not 1");
    }
}

fn flags_must_be_one_of_three() {
    let (knem, mask) = (Knem::open(), Mapping::new(PAGE));
    for flags in [0, 3, 5, 6, 7, 8, 9, 1 << 31, u32::MAX] {
        assert_eq!(bind(&knem, flags, mask.address(), 128), Err(Errno::EINVAL), "{flags:#x}");
        assert_eq!(bind(&knem, flags, hole(), 128), Err(Errno::EINVAL), "before the mask is read: {flags:#x}");
    }
    for flags in [uapi::BIND_FLAG_CURRENT, uapi::BIND_FLAG_CURRENT_REVERSED] {
        assert_eq!(bind(&knem, flags, 0, 0), Ok(()));
    }
    assert_eq!(bind_custom(&knem, &processors(), 128), Ok(()));
}

fn bad_mask_is_efault_for_custom_only() {
    let knem = Knem::open();
    for mask in [0, hole(), 0xffff_8880_0000_0000] {
        assert_eq!(bind(&knem, uapi::BIND_FLAG_CUSTOM, mask, 8), Err(Errno::EFAULT), "{mask:#x}");
        assert_eq!(bind(&knem, uapi::BIND_FLAG_CURRENT, mask, 8), Ok(()));
        assert_eq!(bind(&knem, uapi::BIND_FLAG_CURRENT_REVERSED, mask, 8), Ok(()));
    }
}

fn once_mapped_it_is_ebusy() {
    let knem = Knem::open();
    let slots = Slots::map(&knem, 1).expect("mapped");
    for flags in [uapi::BIND_FLAG_CURRENT, uapi::BIND_FLAG_CURRENT_REVERSED] {
        assert_eq!(bind(&knem, flags, 0, 0), Err(Errno::EBUSY));
    }
    assert_eq!(bind_custom(&knem, &[0], 128), Err(Errno::EBUSY));
    slots.unmap();
    assert_eq!(bind(&knem, uapi::BIND_FLAG_CURRENT, 0, 0), Err(Errno::EBUSY), "for life");
}

fn ebusy_comes_before_einval_and_efault_of_the_mask() {
    let knem = Knem::open();
    assert_eq!(knem.command_at(uapi::CMD_BIND_OFFLOAD, hole()), Err(Errno::EFAULT));
    let _slots = Slots::map(&knem, 1).expect("mapped");
    assert_eq!(knem.command_at(uapi::CMD_BIND_OFFLOAD, hole()), Err(Errno::EFAULT), "reading it comes first");
    assert_eq!(bind(&knem, 0, 0, 0), Err(Errno::EBUSY));
    assert_eq!(bind(&knem, 7, 0, 0), Err(Errno::EBUSY));
    assert_eq!(bind(&knem, uapi::BIND_FLAG_CUSTOM, hole(), 8), Err(Errno::EBUSY));
}

fn refused_binding_changes_nothing() {
    let all = need_processors();
    let knem = Knem::open();
    assert_eq!(bind_custom(&knem, &all[1..2], 128), Ok(()));
    assert_eq!(bind(&knem, uapi::BIND_FLAG_CUSTOM, hole(), 8), Err(Errno::EFAULT));
    // The mask is readable at first and then not, where a copy would stop half way.
    let (_between, inside) = Mapping::between_holes(PAGE);
    let _ = bind(&knem, uapi::BIND_FLAG_CUSTOM, inside + PAGE as u64 - 1, 128);
    assert_eq!(bind(&knem, 3, 0, 0), Err(Errno::EINVAL));
    runs_on(&knem, &all[1..2]);
}

fn custom_mask_is_where_the_thread_runs() {
    let all = need_processors();
    for cpu in &all {
        let knem = Knem::open();
        assert_eq!(bind_custom(&knem, &[*cpu], 128), Ok(()));
        runs_on(&knem, &[*cpu]);
    }
    let knem = Knem::open();
    assert_eq!(bind_custom(&knem, &all, 128), Ok(()));
    runs_on(&knem, &all);
}

fn short_masks_are_extended_with_zeros() {
    let all = need_processors();
    for length in [1, 8] {
        let knem = Knem::open();
        assert_eq!(bind_custom(&knem, &all[..1], length), Ok(()));
        runs_on(&knem, &all[..1]);
    }
}

fn long_masks_are_cut() {
    let all = need_processors();
    let knem = Knem::open();
    let mut mask = Mapping::new(3 * PAGE);
    mask.bytes_mut().fill(0xff);
    mask.bytes_mut()[..1024].fill(0);
    mask.bytes_mut()[0] = 1 << all[1];
    assert_eq!(bind(&knem, uapi::BIND_FLAG_CUSTOM, mask.address(), 3 * PAGE as u32), Ok(()));
    runs_on(&knem, &all[1..2]);
    // Excess bytes are not even read.
    let (knem, (_between, inside)) = (Knem::open(), Mapping::between_holes(PAGE));
    assert_eq!(bind(&knem, uapi::BIND_FLAG_CUSTOM, inside, u32::MAX), Ok(()));
}

fn empty_mask_leaves_the_thread_unbound() {
    for length in [0, 128] {
        let knem = Knem::open();
        // The original driver reports nothing; a driver may refuse a mask that cannot be used.
        match bind_custom(&knem, &[], length) {
            Ok(()) => {
                let slots = Slots::map(&knem, 1).expect("mapped");
                let region = knem.create(&[], 1, 0).expect("created");
                let request = crate::device::Inline { cookie: region, flags: THREAD, ..Default::default() };
                assert_eq!(knem.inline_at(request, 0), Ok(u32::from(PENDING)));
                assert_eq!(slots.wait(0), DONE);
            }
            Err(errno) => assert_eq!(errno, Errno::EINVAL),
        }
    }
}

fn current_is_where_the_caller_may_run() {
    let all = need_processors();
    for cpu in &all {
        let knem = Knem::open();
        on_processors(&[*cpu], || assert_eq!(bind(&knem, uapi::BIND_FLAG_CURRENT, 0, 0), Ok(())));
        // The CPUs at the time of the command count, not those at the time of the mapping.
        runs_on(&knem, &[*cpu]);
    }
}

fn reversed_is_where_the_caller_may_not_run() {
    let all = need_processors();
    for cpu in &all {
        let knem = Knem::open();
        on_processors(&[*cpu], || assert_eq!(bind(&knem, uapi::BIND_FLAG_CURRENT_REVERSED, 0, 0), Ok(())));
        let others: Vec<usize> = all.iter().copied().filter(|other| other != cpu).collect();
        runs_on(&knem, &others);
    }
}

fn last_binding_wins() {
    let all = need_processors();
    let knem = Knem::open();
    assert_eq!(bind_custom(&knem, &all[..1], 128), Ok(()));
    assert_eq!(bind(&knem, uapi::BIND_FLAG_CURRENT, 0, 0), Ok(()));
    assert_eq!(bind_custom(&knem, &all[1..2], 128), Ok(()));
    runs_on(&knem, &all[1..2]);
}

fn by_default_the_thread_runs_where_the_caller_may() {
    default_binding();
    for cpu in need_processors() {
        on_processors(&[cpu], || runs_on(&Knem::open(), &[cpu]));
    }
}

fn parameter_binding_zero_is_everywhere() {
    let all = need_processors();
    with_parameter("binding", "0", || on_processors(&all[..1], || runs_on(&Knem::open(), &all)));
}

fn parameter_binding_negative_is_elsewhere() {
    let all = need_processors();
    with_parameter("binding", "-1", || on_processors(&all[..1], || runs_on(&Knem::open(), &all[1..])));
    // A binding of the context overrides the parameter.
    with_parameter("binding", "-1", || {
        let knem = Knem::open();
        assert_eq!(bind_custom(&knem, &all[..1], 128), Ok(()));
        runs_on(&knem, &all[..1]);
    });
}

fn bound_threads_work() {
    for cpu in processors() {
        on_processors(&[cpu], || {
            let setting = Asynchronous::new(1, b"contents");
            assert_eq!(setting.read(0, THREAD), Ok(u32::from(PENDING)));
            assert_eq!(setting.slots.wait(0), DONE);
            assert_eq!(setting.local.bytes(), b"contents");
        });
    }
}

/// Runs `work` in a process whose cpuset has one CPU; passes it that CPU and another one.
fn in_a_cpuset(work: impl FnOnce(usize, usize)) {
    let all = need_processors();
    let group = ControlGroup::new(&["cpuset"]);
    group.set("cpuset.cpus", &all[1].to_string());
    in_child(|| {
        group.join();
        assert_eq!(processors(), [all[1]]);
        work(all[1], all[0]);
    });
}

fn thread_stays_in_the_callers_cpuset() {
    in_a_cpuset(|inside, _outside| {
        for flags in [uapi::BIND_FLAG_CURRENT, uapi::BIND_FLAG_CURRENT_REVERSED] {
            let knem = Knem::open();
            assert_eq!(bind(&knem, flags, 0, 0), Ok(()));
            runs_on(&knem, &[inside]);
        }
        let knem = Knem::open();
        bind_custom(&knem, &[0, 1, 2, 3, 4, 5, 6, 7], 128).expect("some of them are in the cpuset");
        runs_on(&knem, &[inside]);
        runs_on(&Knem::open(), &[inside]);
    });
}

fn custom_mask_outside_the_cpuset_stays_inside_it() {
    in_a_cpuset(|inside, outside| {
        // An unusable mask is no error, and does not escape the cpuset.
        let knem = Knem::open();
        assert_eq!(bind_custom(&knem, &[outside], 128), Ok(()));
        runs_on(&knem, &[inside]);
    });
}

fn thread_is_in_the_callers_control_group() {
    need_kernel((5, 16), "a kernel thread cannot join a control group of the unified hierarchy");
    let group = ControlGroup::new(&[]);
    in_child(|| {
        group.join();
        let knem = Knem::open();
        let (thread, _slots) = Thread::of(&knem, 1);
        let name = group.name();
        let there = || thread.read("cgroup").is_some_and(|text| text.lines().any(|line| line == name));
        crate::waiting::until(&format!("the thread is in {name}"), there);
    });
}

fn binding_and_mapping_do_not_race() {
    let cpus = processors();
    for _ in 0..100 {
        let knem = Knem::open();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| loop {
                    match bind_custom(&knem, &cpus[..1], 128) {
                        Ok(()) => {}
                        Err(errno) => break assert_eq!(errno, Errno::EBUSY),
                    }
                });
            }
            let slots = Slots::map(&knem, 1).expect("mapped");
            let region = knem.create(&[], 1, 0).expect("created");
            let request = crate::device::Inline { cookie: region, flags: THREAD, ..Default::default() };
            assert_eq!(knem.inline_at(request, 0), Ok(u32::from(PENDING)));
            assert_eq!(slots.wait(0), DONE);
        });
    }
}
