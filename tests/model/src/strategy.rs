// SPDX-License-Identifier: CECILL-B
//! The generator of sequences, for cargo and for the device.

use knem_core::uapi::{
    FLAG_ANY_USER_ACCESS, FLAG_ASYNCDMACOMPLETE, FLAG_DMA, FLAG_DMATHREAD, FLAG_MEMCPYTHREAD, FLAG_NOTIFY_FD,
    FLAG_PINLOCAL, FLAG_SINGLEUSE,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use crate::command::{Argument, Bind, Command, Cookie, List, Mode, Offset, Request, Shape, Spot, FENCE_SLOT};
use crate::memory::{Place, Segment, ARENA, ARENAS, CONSTANT};

/// Generates sequences of up to `length` commands, after a few that open files and map arrays.
pub fn sequence(length: usize) -> BoxedStrategy<Vec<Command>> {
    let start = (vec(prop_oneof![4 => open(), 3 => map()], 1..7), vec(create(), 0..4));
    (start, vec(command(), 0..=length))
        .prop_map(|((mut start, regions), rest)| {
            start.extend(regions);
            start.extend(rest);
            start
        })
        .boxed()
}

fn command() -> BoxedStrategy<Command> {
    let files = prop_oneof![
        4 => open(),
        1 => pick().prop_map(|fd| Command::Duplicate { fd }),
        3 => (pick(), any::<bool>()).prop_map(|(fd, abrupt)| Command::Close { fd, abrupt }),
        5 => map(),
        1 => (pick(), any::<bool>()).prop_map(|(file, abrupt)| Command::Unmap { file, abrupt }),
        2 => (pick(), bind(), argument()).prop_map(|(fd, how, argument)| Command::Bind { fd, how, argument }),
        1 => (pick(), argument()).prop_map(|(fd, argument)| Command::Info { fd, argument }),
        1 => (pick(), number()).prop_map(|(fd, number)| Command::Unknown { fd, number }),
        1 => pick().prop_map(|fd| Command::Clear { fd }),
    ]
    .boxed();
    let regions = prop_oneof![
        4 => create(),
        1 => (pick(), cookie(), argument()).prop_map(|(fd, cookie, argument)| Command::Destroy { fd, cookie, argument }),
    ]
    .boxed();
    let requests = prop_oneof![
        6 => (request(), spot(), spot())
            .prop_map(|(request, source, destination)| Command::Copy { request, source, destination }),
        10 => (request(), list(), prop_oneof![Just(0), Just(1), 2..9u32], spot())
            .prop_map(|(request, local, write, remote)| Command::Inline { request, local, write, remote }),
        3 => (request(), list(), cookie(), any::<bool>()).prop_map(|(mut request, local, cookie, wait)| {
            request.bound = None;
            Command::Receive { request, local, cookie, wait }
        }),
    ]
    .boxed();
    let events = prop_oneof![
        8 => (pick(), event_bytes(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(fd, bytes, blocking, absent)| Command::Read { fd, bytes, blocking, absent }),
        4 => (pick(), any::<bool>()).prop_map(|(fd, wait)| Command::Poll { fd, wait }),
        2 => (pick(), 0..70usize, 0..5u8).prop_map(|(file, slot, value)| Command::Poke { file, slot, value }),
        2 => Just(Command::Settle),
    ]
    .boxed();
    let store = (0..CONSTANT, 1..600usize, any::<u8>()).prop_map(|(start, length, seed)| Command::Store {
        start,
        length,
        seed,
    });
    let burst = (pick(), prop_oneof![3 => 1..200u32, 1 => 4000..4200u32], prop::bool::weighted(0.2))
        .prop_map(|(fd, count, empty)| Command::Burst { fd, count, empty });
    prop_oneof![60 => files, 80 => regions, 190 => requests, 50 => events, 20 => store, 3 => burst].boxed()
}

/// Generates a number to choose one of several; mostly one of the first.
fn pick() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 0..3usize, 1 => 0..24usize]
}

fn user() -> impl Strategy<Value = usize> {
    prop_oneof![9 => Just(0), 1 => 0..5usize]
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0x1234_5678), Just(0x4010_4b12), Just(0), any::<u32>().prop_map(|number| number & !0xff00)]
}

fn argument() -> impl Strategy<Value = Argument> {
    prop_oneof![40 => Just(Argument::Good), 1 => Just(Argument::ReadOnly), 1 => Just(Argument::Absent)]
}

fn open() -> BoxedStrategy<Command> {
    let mode = prop_oneof![10 => Just(Mode::ReadWrite), 1 => Just(Mode::WriteOnly), 1 => Just(Mode::ReadOnly)];
    (mode, user()).prop_map(|(mode, user)| Command::Open { mode, user }).boxed()
}

fn map() -> BoxedStrategy<Command> {
    let length = prop_oneof![
        8 => prop_oneof![Just(1), Just(45), Just(4096), Just(4097), Just(12_000)],
        1 => prop_oneof![Just((1 << 24) + 1), Just(1u64 << 32), Just((1u64 << 32) + 1)],
    ];
    let offset = prop_oneof![12 => Just(0), 1 => 1..3u32];
    (pick(), length, offset, prop::bool::weighted(0.05), prop::bool::weighted(0.1))
        .prop_map(|(fd, length, offset, private, read_only)| {
            let shape = Shape { length, offset, private, read_only };
            Command::Map { fd, shape }
        })
        .boxed()
}

fn bind() -> BoxedStrategy<Bind> {
    prop_oneof![
        Just(Bind::Current),
        Just(Bind::Reversed),
        prop_oneof![Just(8), Just(128), Just(4096)].prop_map(Bind::All),
        Just(Bind::AbsentMask),
        prop_oneof![Just(0), Just(3), Just(5), Just(8), any::<u32>()].prop_map(Bind::Flags),
    ]
    .boxed()
}

fn create() -> BoxedStrategy<Command> {
    let protection = prop_oneof![6 => Just(3), 2 => Just(1), 2 => Just(2), 1 => Just(0), 1 => any::<u32>()];
    let flags = prop_oneof![
        10 => Just(0),
        3 => Just(FLAG_SINGLEUSE),
        2 => Just(FLAG_ANY_USER_ACCESS),
        1 => Just(FLAG_ANY_USER_ACCESS | FLAG_SINGLEUSE),
        1 => any::<u32>(),
    ];
    (pick(), user(), list(), protection, flags, argument(), prop::bool::weighted(0.1))
        .prop_map(|(fd, user, list, protection, flags, argument, old)| Command::Create {
            fd,
            user,
            list,
            protection,
            flags,
            argument,
            old,
        })
        .boxed()
}

/// Generates lists, most of them valid, long ones of short segments.
fn list() -> BoxedStrategy<List> {
    let good = prop_oneof![
        6 => (Just(0.0), 1..3usize, prop_oneof![Just(1u32), Just(100), Just(5000), Just(20_000)]),
        3 => (Just(0.0), 2..10usize, prop_oneof![Just(100u32), Just(4000)]),
        1 => (Just(0.0), 8..40usize, Just(600u32)),
        1 => (Just(0.2), 1..4usize, Just(3000u32)),
    ]
    .prop_flat_map(|(bad, count, longest)| vec(segment(bad, longest), 0..=count));
    prop_oneof![
        60 => good.prop_map(List::Of),
        1 => (1..20u32).prop_map(List::Absent),
        1 => Just(List::TooLong),
    ]
    .boxed()
}

/// Generates a segment, bad with some probability.
fn segment(bad: f64, longest: u32) -> BoxedStrategy<Segment> {
    let length = prop_oneof![8 => 1..=longest, 1 => Just(0)];
    let odd = prop_oneof![3 => Just(Place::Hole), 2 => Just(Place::Memory(CONSTANT as u32)), 1 => Just(Place::Kernel), 1 => Just(Place::Wrapping)];
    (0..ARENAS, 0..ARENA, length, prop::bool::weighted(bad), odd)
        .prop_map(|(arena, start, length, bad, odd)| {
            let start = start.min(ARENA - length as usize);
            let place = Place::Memory((arena * ARENA + start) as u32);
            Segment { place: if bad || (length == 0 && start % 2 == 1) { odd } else { place }, length }
        })
        .boxed()
}

fn cookie() -> BoxedStrategy<Cookie> {
    prop_oneof![
        40 => pick().prop_map(Cookie::Region),
        1 => (pick(), 0..64u32).prop_map(|(region, bit)| Cookie::Flipped(region, bit)),
        1 => prop_oneof![Just(0), any::<u64>()].prop_map(Cookie::Raw),
    ]
    .boxed()
}

fn spot() -> BoxedStrategy<Spot> {
    let offset = prop_oneof![
        8 => Just(Offset::At(0)),
        3 => pick().prop_map(Offset::Seam),
        3 => any::<u8>().prop_map(Offset::Part),
        1 => (0..3u64).prop_map(Offset::PastEnd),
        1 => prop_oneof![Just(u64::MAX), 0..9000u64].prop_map(Offset::At),
    ];
    (cookie(), offset).prop_map(|(cookie, offset)| Spot { cookie, offset }).boxed()
}

fn request() -> BoxedStrategy<Request> {
    let flags = prop_oneof![
        10 => Just(0),
        4 => Just(FLAG_PINLOCAL),
        10 => Just(FLAG_MEMCPYTHREAD),
        8 => Just(FLAG_MEMCPYTHREAD | FLAG_NOTIFY_FD),
        3 => Just(FLAG_ASYNCDMACOMPLETE),
        2 => Just(FLAG_DMATHREAD),
        2 => Just(FLAG_DMATHREAD | FLAG_NOTIFY_FD),
        1 => Just(FLAG_DMATHREAD | FLAG_MEMCPYTHREAD),
        1 => Just(FLAG_NOTIFY_FD),
        1 => Just(FLAG_NOTIFY_FD | FLAG_MEMCPYTHREAD | FLAG_ASYNCDMACOMPLETE),
        1 => Just(FLAG_DMA),
        1 => Just(!(FLAG_DMA | FLAG_ASYNCDMACOMPLETE)),
        1 => any::<u32>(),
    ];
    let slot = prop_oneof![
        10 => 0..6u32,
        2 => Just(4095),
        1 => prop_oneof![Just(4096), Just(8191), Just(FENCE_SLOT), any::<u32>()],
    ];
    let bound =
        prop_oneof![4 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(u64::MAX)), 3 => (0..9000u64).prop_map(Some)];
    (pick(), user(), flags, slot, bound, argument())
        .prop_map(|(fd, user, flags, slot, bound, argument)| Request { fd, user, flags, slot, bound, argument })
        .boxed()
}

/// Generates lengths of reads.
fn event_bytes() -> impl Strategy<Value = u32> {
    prop_oneof![
        5 => (1..5u32).prop_map(|events| 4 * events),
        2 => prop_oneof![Just(400), Just(4 * 4096), Just(4 * 5000)],
        1 => prop_oneof![Just(0), 1..20u32],
    ]
}
