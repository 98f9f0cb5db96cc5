// SPDX-License-Identifier: CECILL-B
//! A whole benchmark in one process: both sides are threads, and the driver is a fake one.

use std::io::BufReader;
use std::os::unix::net::UnixStream;

use knem::fake::FakeDriver;
use nix::unistd::Pid;

use super::*;
use crate::bench::results::Row;

type Conversation = Line<BufReader<UnixStream>, UnixStream>;

fn pair() -> (Conversation, Conversation) {
    let (here, there) = UnixStream::pair().unwrap();
    let line = |stream: UnixStream| Line::new(BufReader::new(stream.try_clone().unwrap()), stream);
    (line(here), line(there))
}

fn plan(methods: &[Method], sizes: &[usize]) -> Plan {
    Plan {
        methods: methods.to_vec(),
        sizes: sizes.to_vec(),
        iterations: Some(3),
        quick: false,
        rounds: 2,
        warmup: 1,
        verify: true,
        seed: 1,
    }
}

/// All methods that a fake driver and one process can do.
const METHODS: [Method; 9] = [
    Method::KnemCached,
    Method::KnemOneshot,
    Method::KnemWrite,
    Method::KnemRegion,
    Method::KnemPinned,
    Method::VmRead,
    Method::VmWrite,
    Method::Shm,
    Method::Memcpy,
];

fn with_both<T>(driver: &FakeDriver, write: bool, work: impl FnOnce(&First<'_>, &mut Conversation) -> T) -> T {
    let (mut here, mut there) = pair();
    let shared = Shared::new().unwrap();
    let (device, second) = (Device::new(Box::new(driver.clone())), Device::new(Box::new(driver.clone())));
    let (device, second) = (device.unwrap(), second.unwrap());
    std::thread::scope(|scope| {
        let served = scope.spawn(|| {
            let evictor = Evictor::new(Path::new("/nowhere"), 0);
            peer::Second { device: Some(&second), shared: &shared, evictor }.serve(&mut there).unwrap();
        });
        let first = First {
            device: Some(&device),
            statuses: None,
            shared: &shared,
            peer: Pid::this(),
            flags: CopyFlags::NONE,
            write,
        };
        let outcome = work(&first, &mut here);
        drop(here);
        served.join().unwrap();
        outcome
    })
}

fn bench(driver: &FakeDriver, write: bool, plan: &Plan) -> Result<Vec<Row>, Failure> {
    with_both(driver, write, |first, line| measure::measure(first, line, plan, None, |_, _, _| {}))
}

#[test]
fn every_method_verifies_in_both_directions_and_leaves_nothing() {
    for write in [false, true] {
        let driver = FakeDriver::new();
        let sizes = [1, 4095, 4096, 300_001];
        let rows = bench(&driver, write, &plan(&METHODS, &sizes)).unwrap();
        assert_eq!(rows.len(), METHODS.len() * sizes.len());
        assert!(rows.iter().all(|row| row.verified && row.times.count == 3));
        assert_eq!(driver.region_count(), 0);
    }
}

#[test]
fn a_driver_that_copies_wrongly_is_caught() {
    for method in [Method::KnemCached, Method::KnemWrite, Method::KnemOneshot] {
        let driver = FakeDriver::new().with_wrong_last_byte();
        let failure = bench(&driver, false, &plan(&[method], &[5000])).unwrap_err();
        assert_eq!(failure.status(), 1);
        let sentence = failure.to_string();
        assert!(sentence.contains("byte 4999") && sentence.contains(method.name()), "{sentence}");
    }
}

#[test]
fn every_copy_is_reported() {
    let plan = plan(&METHODS, &[64]);
    let mut copies = 0;
    with_both(&FakeDriver::new(), false, |first, line| {
        measure::measure(first, line, &plan, None, |_, _, made| copies += made).unwrap();
    });
    assert_eq!(copies, plan.copies());
}

#[test]
fn cold_copies_are_right_too() {
    let mut evictor = Evictor::new(Path::new("/nowhere"), 0);
    let plan = Plan { rounds: 1, iterations: Some(1), ..plan(&[Method::KnemCached], &[4096]) };
    let rows = with_both(&FakeDriver::new(), false, |first, line| {
        measure::measure(first, line, &plan, Some(&mut evictor), |_, _, _| {})
    });
    assert_eq!(rows.unwrap()[0].times.count, 1);
}

#[test]
fn what_does_not_work_is_left_out_unless_it_was_named() {
    let understood = |options: &[&str]| {
        let line = ["knem", "bench"].iter().chain(options);
        match <crate::cli::Cli as clap::Parser>::parse_from(line).command {
            crate::cli::Command::Bench(arguments) => Options::parse(&arguments).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    // There is no status array here.
    with_both(&FakeDriver::new(), false, |first, line| {
        let (methods, skipped) = usable(first, line, &understood(&["-m", "knem"])).unwrap();
        assert_eq!(methods.len(), 5);
        assert_eq!(skipped[0].method, Method::KnemAsync);
        let failure = usable(first, line, &understood(&["-m", "knem-async"])).unwrap_err();
        assert!(failure.to_string().contains("knem-async"), "{failure}");
        // And it can go on.
        assert_eq!(usable(first, line, &understood(&["-m", "shm"])).unwrap().0, [Method::Shm]);
    });
}

#[test]
fn regions_are_measured_beside() {
    let driver = FakeDriver::new();
    let device = Device::new(Box::new(driver.clone())).unwrap();
    let cost = measure::region_cost(&device, 4096, 7).unwrap();
    assert_eq!((cost.size, cost.create.count, cost.destroy.count), (4096, 7, 7));
    assert_eq!(driver.region_count(), 0);
}
