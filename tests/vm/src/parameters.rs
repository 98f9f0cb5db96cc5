// SPDX-License-Identifier: CECILL-B
//! The module's parameters: their names, defaults and permissions, and the effect of each.

use std::fs;
use std::os::unix::fs::MetadataExt;

use knem_core::uapi;
use nix::errno::Errno;

use crate::counters::{counts, text, OFFLOADED, PINNED, PROCESSED, SUBMITTED, USER_COPY};
use crate::device::{segment, Knem, FAILED, READ, SUCCESS, WRITE};
use crate::loaded::{load, loaded_with, unload};
use crate::memory::{hole, Mapping};
use crate::slots::{Asynchronous, Slots, DONE, NOTIFY, PENDING, THREAD};
use crate::threads::Thread;

crate::trials![
    "9" parameters_have_their_names_defaults_and_permissions,
    "9" module_has_its_version,
    "3" contradictions_do_not_load,
    "3" forced_and_ignored_flags_read_back_complete,
    "3" sync_makes_every_request_synchronous,
    "3" thread_zero_ignores_the_thread_flags,
    "3" dma_zero_drops_the_dma_flag,
    "3" pinlocal_pins_everything,
    "6.1" pinlocalread_zero_copies_through_the_mapping,
    "3" forced_async_flag_needs_the_status_array,
    "3" forced_notify_is_einval_without_a_thread,
    "3" ignored_single_use,
    "2.8" sending_is_single_use_even_if_that_is_ignored,
    "8.3" statslen_bounds_the_text,
    "8.3 B19 W26" statslen_zero_is_harmless,
    "8.2" statsverbose_lists_contexts_and_regions,
    "6.4" binding_can_be_given_at_load,
    "R21" caps_can_be_given_at_load,
    "R21" cap_of_regions_is_ebusy,
    "R21" cap_of_contexts_is_enospc_for_users,
    "R9" cap_of_segments_is_enomem,
    "9" nonsense_does_not_load,
    "R45" debug_logs_refusals,
];

/// Name, default (`None` if it depends on the machine), permissions.
const PARAMETERS: &[(&str, Option<&str>, u32)] = &[
    ("debug", Some("0"), 0o644),
    ("thread", Some("1"), 0o444),
    ("binding", Some("1"), 0o644),
    ("dma", Some("1"), 0o444),
    ("dmamin", Some("1024"), 0o644),
    ("pinlocal", Some("0"), 0o444),
    ("pinlocalread", Some("1"), 0o444),
    ("sync", Some("0"), 0o444),
    ("forceflags", Some("0"), 0o444),
    ("ignoreflags", Some("0"), 0o444),
    ("statslen", Some("4096"), 0o644),
    ("statsverbose", Some("0"), 0o644),
    // Parameters of this driver only.
    ("memlock", Some("2"), 0o644),
    ("unpinned", Some("1"), 0o644),
    ("max_user_pinned_mb", Some("0"), 0o644),
    ("max_pinned_mb", Some("0"), 0o644),
    ("max_segments", Some("1048576"), 0o644),
    ("max_regions", Some("1048576"), 0o644),
    ("max_contexts", Some("4096"), 0o644),
    ("max_queued", Some("65536"), 0o644),
    ("max_slots", Some("16777216"), 0o644),
    ("max_slots_mb", Some("0"), 0o644),
    ("strict_ns", Some("0"), 0o644),
    ("strict_dumpable", Some("0"), 0o644),
    ("dmachannels", Some("0"), 0o644),
    ("dmatimeout", Some("5000"), 0o644),
];

const DIRECTORY: &str = "/sys/module/knem/parameters";

fn get(name: &str) -> String {
    fs::read_to_string(format!("{DIRECTORY}/{name}")).expect("a parameter").trim().to_owned()
}

fn set(name: &str, value: &str) {
    fs::write(format!("{DIRECTORY}/{name}"), value).expect("a parameter that can be changed");
}

fn parameters_have_their_names_defaults_and_permissions() {
    loaded_with(&[], || {
        let mut wrong = Vec::new();
        for (name, default, mode) in PARAMETERS {
            let Ok(metadata) = fs::metadata(format!("{DIRECTORY}/{name}")) else {
                wrong.push(format!("{name} is missing"));
                continue;
            };
            if metadata.mode() & 0o777 != *mode {
                wrong.push(format!("{name} has mode {:o}, not {mode:o}", metadata.mode() & 0o777));
            }
            if let Some(default) = default.filter(|default| get(name) != **default) {
                wrong.push(format!("{name} is {}, not {default}", get(name)));
            }
        }
        for entry in fs::read_dir(DIRECTORY).expect("parameters") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            if !PARAMETERS.iter().any(|(known, _, _)| *known == name) {
                wrong.push(format!("{name} is not known here"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("; "));
    });
}

fn module_has_its_version() {
    let version = fs::read_to_string("/sys/module/knem/version").expect("a version");
    assert_eq!(text().lines().next(), Some(&*format!("knem {}", version.trim())));
}

fn contradictions_do_not_load() {
    for parameters in [
        &["forceflags=0x10", "ignoreflags=0x10"][..],
        &["pinlocal=1", "ignoreflags=0x10"],
        &["sync=1", "forceflags=0x8"],
        &["sync=1", "forceflags=0x2"],
        &["thread=0", "forceflags=0x4"],
        &["dma=0", "forceflags=0x1"],
    ] {
        assert_eq!(unload(), Ok(()));
        let outcome = load(parameters);
        if outcome.is_ok() {
            assert_eq!(unload(), Ok(()));
        }
        load(&[]).expect("it loads without parameters");
        let said = outcome.expect_err("contradictions are refused");
        assert!(said.contains("Invalid argument"), "{parameters:?}: {said}");
    }
}

fn forced_and_ignored_flags_read_back_complete() {
    for (parameters, forced, ignored) in [
        (&["sync=1"][..], 0, 0x0e),
        (&["thread=0"], 0, 0x0c),
        (&["dma=0"], 0, 0x01),
        (&["pinlocal=1"], 0x10, 0),
        (&["pinlocal=3", "thread=0", "forceflags=0x80", "ignoreflags=0x20"], 0x90, 0x2c),
    ] {
        loaded_with(parameters, || {
            assert_eq!(get("forceflags"), forced.to_string(), "{parameters:?}");
            assert_eq!(get("ignoreflags"), ignored.to_string(), "{parameters:?}");
            let info = Knem::open().info();
            assert_eq!((info.forced_flags, info.ignored_flags), (forced, ignored));
            assert!(text().contains(&format!("\n Flags: forcing {forced:#x}, ignoring {ignored:#x}\n")), "{}", text());
        });
    }
}

fn sync_makes_every_request_synchronous() {
    loaded_with(&["sync=1"], || {
        let (knem, memory, local) = (Knem::open(), Mapping::holding(b"contents"), Mapping::new(8));
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        for flags in [THREAD, uapi::FLAG_ASYNCDMACOMPLETE, uapi::FLAG_DMATHREAD] {
            counts(&[(SUBMITTED, 1), (PROCESSED, 1)], || {
                assert_eq!(knem.read(region, 0, &[local.segment()], flags), Ok(SUCCESS), "no status array is needed");
            });
        }
        assert_eq!(local.bytes(), b"contents");
        assert_eq!(knem.read(region, 0, &[], NOTIFY), Err(Errno::EINVAL), "no thread is left to notify");
        // The old command always has a slot.
        let _slots = Slots::map(&knem, 1).expect("mapped");
    });
}

fn thread_zero_ignores_the_thread_flags() {
    loaded_with(&["thread=0"], || {
        let setting = Asynchronous::new(1, b"contents");
        counts(&[(SUBMITTED, 1), (PROCESSED, 1)], || assert_eq!(setting.read(5000, THREAD), Ok(SUCCESS)));
        assert_eq!(setting.read(3, uapi::FLAG_ASYNCDMACOMPLETE), Ok(SUCCESS));
        assert_eq!(setting.slots.get(3), DONE, "this one is asynchronous still");
        assert_eq!(setting.read(3, NOTIFY), Err(Errno::EINVAL));
    });
}

fn dma_zero_drops_the_dma_flag() {
    loaded_with(&["dma=0"], || {
        let (knem, memory, local) = (Knem::open(), Mapping::holding(b"contents"), Mapping::new(8));
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        counts(&[(SUBMITTED, 1), (PROCESSED, 1)], || {
            assert_eq!(knem.read(region, 0, &[local.segment()], uapi::FLAG_DMA), Ok(SUCCESS));
        });
        assert_eq!(local.bytes(), b"contents");
        assert_eq!(knem.info().features, 0);
        let text = text();
        let line = text.lines().nth(3).expect("the engines");
        assert!([" DMAEngine: KernelSupported Disabled", " DMAEngine: NoKernelSupport"].contains(&line), "{line}");
    });
}

fn pinlocal_pins_everything() {
    loaded_with(&["pinlocal=1"], || {
        let (knem, memory, local) = (Knem::open(), Mapping::holding(b"contents"), Mapping::new(8));
        let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
        let expected = [(SUBMITTED, 1), (PROCESSED, 1), (PINNED, 1)];
        counts(&expected, || assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS)));
        counts(&expected, || assert_eq!(knem.write(region, 0, &[local.segment()], 0), Ok(SUCCESS)));
        assert_eq!(knem.read(region, 0, &[segment(hole(), 1)], 0), Err(Errno::EFAULT));
    });
}

fn pinlocalread_zero_copies_through_the_mapping() {
    loaded_with(&["pinlocalread=0"], || {
        let (knem, memory, local) = (Knem::open(), Mapping::new(8), Mapping::holding(b"contents"));
        let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
        counts(&[(SUBMITTED, 1), (PROCESSED, 1)], || {
            assert_eq!(knem.write(region, 0, &[local.segment()], 0), Ok(SUCCESS));
        });
        assert_eq!(memory.bytes(), b"contents");
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (USER_COPY, 1)], || {
            assert_eq!(knem.write(region, 0, &[segment(hole(), 8)], 0), Ok(FAILED));
        });
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (PINNED, 1)], || {
            assert_eq!(knem.write(region, 0, &[local.segment()], uapi::FLAG_PINLOCAL), Ok(SUCCESS));
        });
    });
}

fn forced_async_flag_needs_the_status_array() {
    loaded_with(&["forceflags=0x8"], || {
        let (knem, local) = (Knem::open(), Mapping::new(8));
        let region = knem.create(&[local.segment()], READ, 0).expect("created");
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Err(Errno::EINVAL));
        let setting = Asynchronous::new(1, b"contents");
        let before = crate::counters::counters()[OFFLOADED];
        assert_eq!(setting.read(2, 0), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.wait(2), DONE);
        assert_eq!(crate::counters::counters()[OFFLOADED], before + 1);
    });
}

fn forced_notify_is_einval_without_a_thread() {
    loaded_with(&["forceflags=0x40"], || {
        let setting = Asynchronous::new(1, b"contents");
        assert_eq!(setting.read(0, 0), Err(Errno::EINVAL));
        let mut command = uapi::CmdSyncRecv { send_cookie: setting.region, ..uapi::CmdSyncRecv::default() };
        assert_eq!(setting.knem.command(uapi::CMD_SYNC_RECV, &mut command), Err(Errno::EINVAL));
        assert_eq!(setting.read(7, THREAD), Ok(u32::from(PENDING)));
        assert_eq!(crate::slots::wait_events(&setting.knem, 1), [7]);
    });
}

fn ignored_single_use() {
    loaded_with(&["ignoreflags=0x20"], || {
        let (knem, memory, local) = (Knem::open(), Mapping::new(8), Mapping::new(8));
        let region = knem.create(&[memory.segment()], READ, uapi::FLAG_SINGLEUSE).expect("created");
        for _ in 0..3 {
            assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
        }
    });
}

fn sending_is_single_use_even_if_that_is_ignored() {
    loaded_with(&["ignoreflags=0x20"], || {
        let knem = Knem::open();
        let mut command = uapi::CmdInitSend::default();
        assert_eq!(knem.command(uapi::CMD_INIT_SEND, &mut command), Ok(()));
        assert_eq!(knem.read(command.send_cookie, 0, &[], 0), Ok(SUCCESS));
        assert_eq!(knem.read(command.send_cookie, 0, &[], 0), Err(Errno::EINVAL));
    });
}

fn statslen_bounds_the_text() {
    let whole = text();
    for length in [1usize, 10, 100, 500, whole.len() - 1, whole.len(), whole.len() + 1, 100_000] {
        loaded_with(&[&format!("statslen={length}")], || {
            let text = text();
            assert!(text.len() <= length, "{} bytes, statslen is {length}", text.len());
            // The original driver ends a truncated text with a NUL.
            let kept = text.trim_end_matches('\0');
            let shown = kept.lines().next().unwrap_or_default();
            assert!(whole.starts_with(shown) && whole.len().min(length) - kept.len() <= 1, "{text:?}");
        });
    }
}

fn statslen_zero_is_harmless() {
    loaded_with(&["statslen=0"], || {
        for _ in 0..100 {
            assert_eq!(text(), "");
        }
    });
    loaded_with(&[], || {
        set("statslen", "18446744073709551615");
        let outcome = std::fs::read(crate::device::node());
        assert!(matches!(outcome, Ok(_) | Err(_)), "whatever it is, it comes back");
        set("statslen", "4096");
        assert!(text().starts_with("knem "));
    });
}

fn statsverbose_lists_contexts_and_regions() {
    loaded_with(&["statsverbose=1"], || {
        assert!(text().contains("\n Listed 0 contexts\n"), "{}", text());
        let knem = Knem::open();
        let cookie = knem.create(&[], READ, 0).expect("created");
        knem.create(&[], READ, uapi::FLAG_SINGLEUSE).expect("created");
        let text = text();
        let verbose: Vec<&str> = text.lines().skip_while(|line| !line.starts_with(" Context ")).take(5).collect();
        assert_eq!(verbose.len(), 5, "{text}");
        let hexadecimal = |word: &str| word.len() == 8 && word.chars().all(|digit| digit.is_ascii_hexdigit());
        assert!(verbose[0].strip_prefix(" Context ").is_some_and(hexadecimal), "{text}");
        let mut regions = [verbose[1], verbose[2]];
        regions.sort_by_key(|line| line.len());
        assert!(regions[0].strip_prefix("  Region ").is_some_and(hexadecimal), "{text}");
        let single = regions[1].strip_prefix("  Region ").and_then(|rest| rest.strip_suffix(" SingleUse"));
        assert!(single.is_some_and(hexadecimal), "{text}");
        assert_eq!(verbose[3..], ["  Listed 2 regions", " Listed 1 contexts"]);
        for part in [cookie >> 32, cookie & 0xffff_ffff] {
            assert!(!text.contains(&format!("{part:08x}")), "{cookie:#x} in {text}");
        }
    });
}

fn binding_can_be_given_at_load() {
    for binding in ["0", "1", "-1"] {
        loaded_with(&[&format!("binding={binding}")], || {
            assert_eq!(get("binding"), binding);
            let knem = Knem::open();
            let (thread, _slots) = Thread::of(&knem, 1);
            assert!(!thread.processors().is_empty());
        });
    }
}

fn caps_can_be_given_at_load() {
    loaded_with(&["max_slots=4096", "max_queued=9", "max_regions=3", "max_contexts=5", "max_segments=7"], || {
        assert_eq!(
            ["max_slots", "max_queued", "max_regions", "max_contexts", "max_segments"].map(get),
            ["4096", "9", "3", "5", "7"]
        );
        assert_eq!(Slots::map(&Knem::open(), 4097).err(), Some(Errno::ENOMEM));
    });
}

fn cap_of_regions_is_ebusy() {
    loaded_with(&["max_regions=3"], || {
        let knem = Knem::open();
        let regions: Vec<u64> = (0..3).map(|_| knem.create(&[], READ, 0).expect("created")).collect();
        assert_eq!(knem.create(&[], READ, 0), Err(Errno::EBUSY));
        Knem::open().create(&[], READ, 0).expect("another file has its own");
        assert_eq!(knem.destroy(regions[1]), Ok(()));
        let single = knem.create(&[], READ, uapi::FLAG_SINGLEUSE).expect("there is room again");
        assert_eq!(knem.create(&[], READ, 0), Err(Errno::EBUSY));
        assert_eq!(knem.read(single, 0, &[], 0), Ok(SUCCESS));
        knem.create(&[], READ, 0).expect("a region that was used up does not count");
    });
}

fn cap_of_contexts_is_enospc_for_users() {
    use nix::fcntl::OFlag;
    loaded_with(&["max_contexts=3"], || {
        let root: Vec<Knem> = (0..5).map(|_| Knem::open()).collect();
        crate::children::with_open_node(|| {
            crate::children::in_child(|| {
                crate::children::become_user(crate::children::STRANGER);
                let files: Vec<Knem> = (0..3).map(|_| Knem::open()).collect();
                assert_eq!(Knem::open_as(OFlag::O_RDWR).err(), Some(Errno::ENOSPC));
                Knem::open_as(OFlag::O_RDONLY).expect("statistics are no context");
                drop(files);
                crate::waiting::until("there is room again", || Knem::open_as(OFlag::O_RDWR).is_ok());
            });
        });
        drop(root);
    });
}

fn cap_of_segments_is_enomem() {
    loaded_with(&["max_segments=7"], || {
        let (knem, memory) = (Knem::open(), Mapping::new(64));
        let list = vec![memory.part(0, 1); 8];
        assert_eq!(knem.create(&list, READ, 0), Err(Errno::ENOMEM));
        let region = knem.create(&list[..7], READ, 0).expect("up to the cap");
        assert_eq!(knem.read(region, 0, &list, 0), Err(Errno::ENOMEM));
        assert_eq!(knem.read(region, 0, &list[..7], 0), Ok(SUCCESS));
    });
}

fn nonsense_does_not_load() {
    for parameter in ["sync=yes", "dmamin=-1", "binding=somewhere", "forceflags=0x100000000"] {
        assert_eq!(unload(), Ok(()));
        let outcome = load(&[parameter]);
        if outcome.is_ok() {
            assert_eq!(unload(), Ok(()));
        }
        load(&[]).expect("it loads without parameters");
        assert!(outcome.is_err(), "{parameter}");
    }
}

fn debug_logs_refusals() {
    loaded_with(&["debug=1"], || {
        assert!(text().contains("\n Debug: BuiltIn Enabled\n"), "{}", text());
        assert_eq!(Knem::open().read(0, 0, &[], 0), Err(Errno::EINVAL));
        let log = std::process::Command::new("dmesg").output().expect("dmesg");
        let log = String::from_utf8_lossy(&log.stdout).into_owned();
        assert!(log.lines().rev().take(50).any(|line| line.contains("knem")), "nothing in the log");
    });
    loaded_with(&["debug=0"], || assert!(text().contains("\n Debug: BuiltIn Disabled\n"), "{}", text()));
}
