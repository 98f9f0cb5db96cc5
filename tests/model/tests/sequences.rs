// SPDX-License-Identifier: CECILL-B
//! Tests the generator with the model alone, with a driver in miniature, and with each of its bugs.

use std::collections::VecDeque;

use knem_core::uapi;
use knem_model::command::{burst_slot, Argument, Command, Cookie};
use knem_model::counters::{Counter, Counters};
use knem_model::memory;
use knem_model::model::Model;
use knem_model::outcome::Outcome;
use knem_model::run::{run, sequence_of, Plan};
use knem_model::system::{Settings, System};
use knem_model::threads::{Threads, BUGS};
use nix::errno::Errno;

const SEED: u64 = 20_261_121;

fn settings() -> [Settings; 4] {
    [
        Settings::default(),
        Settings { pin_reads: false, ..Settings::default() },
        Settings { forced: uapi::FLAG_PINLOCAL, ignored: uapi::FLAG_NOTIFY_FD, ..Settings::default() },
        Settings { ignored: uapi::FLAG_ANY_ASYNC_MASK, ..Settings::default() },
    ]
}

#[test]
fn two_drivers_agree() {
    for settings in settings() {
        let plan = Plan { seed: SEED, first: 0, cases: 100, length: 150 };
        let tally = run(&plan, || Threads::new(settings.clone(), None), |_, _| {}).unwrap_or_else(|f| panic!("{f}"));
        // Otherwise the sequences would test nothing.
        assert!(tally.commands > 4000 && tally.granted * 3 > tally.commands, "{tally:?}");
        assert!(tally.events > 200 || settings.ignored != 0, "{tally:?}");
    }
}

#[test]
fn every_bug_is_found_and_its_sequence_made_short() {
    for bug in BUGS {
        let plan = Plan { seed: SEED, first: 0, cases: 600, length: 120 };
        let found = run(&plan, || Threads::new(Settings::default(), Some(bug)), |_, _| {});
        let failure = found.err().unwrap_or_else(|| panic!("{bug:?} goes unnoticed"));
        assert!(failure.shortest.len() <= 24, "{bug:?}: {failure}");
        // The same seed finds the same sequence.
        let again = Plan { first: failure.case, cases: 1, ..plan };
        assert_eq!(sequence_of(&again, failure.case), sequence_of(&plan, failure.case));
    }
}

#[test]
fn a_seed_always_draws_the_same() {
    let plan = Plan { seed: 1, first: 0, cases: 1, length: 50 };
    assert_eq!(sequence_of(&plan, 7), sequence_of(&plan, 7));
    assert_ne!(sequence_of(&plan, 7), sequence_of(&plan, 8));
    assert_ne!(sequence_of(&plan, 7), sequence_of(&Plan { seed: 2, ..plan }, 7));
}

#[test]
fn sequences_survive_a_file() {
    let plan = Plan { seed: 3, first: 0, cases: 20, length: 150 };
    for case in 0..plan.cases {
        let sequence = sequence_of(&plan, case);
        let text = serde_json::to_string(&sequence).expect("written");
        assert_eq!(serde_json::from_str::<Vec<Command>>(&text).expect("read"), sequence);
    }
}

/// Properties of any driver, checked from outside.
#[derive(Default)]
struct Witness {
    /// By file: events that were accepted and not read.
    promised: Vec<VecDeque<u32>>,
    /// By region: requests that were accepted.
    uses: Vec<u32>,
    busy: u64,
}

impl Witness {
    fn saw(&mut self, model: &Model, before: &Model, command: &Command, outcome: &Outcome) {
        let refused = matches!(outcome, Outcome::Refused(_));
        if let (Command::Open { .. }, false) = (command, refused) {
            self.promised.push(VecDeque::new());
        }
        self.uses.resize(model.regions(), 0);

        // Only the bytes of the destination change, and none if a request is refused.
        let changed: Vec<usize> =
            (0..memory::TOTAL).filter(|&byte| model.memory()[byte] != before.memory()[byte]).collect();
        let may_change = match command {
            Command::Copy { .. } | Command::Inline { .. } | Command::Receive { .. } => {
                let undelivered = matches!(outcome, Outcome::Refused(Errno::EFAULT));
                !refused || undelivered
            }
            Command::Store { .. } => true,
            _ => false,
        };
        assert!(may_change || changed.is_empty(), "{command:?} -> {outcome:?} changes memory");
        for byte in changed {
            assert!(byte < memory::CONSTANT, "{command:?} changes what cannot be written");
        }

        // An accepted request uses its regions; a refused one does not.
        let (fd, cookies, argument) = match command {
            Command::Copy { request, source, destination } => {
                (request.fd, vec![source.cookie, destination.cookie], request.argument)
            }
            Command::Inline { request, remote, .. } => (request.fd, vec![remote.cookie], request.argument),
            Command::Receive { request, cookie, .. } => (request.fd, vec![*cookie], request.argument),
            Command::Read { fd, .. } => {
                if let (Outcome::Events(events), Some(file)) = (outcome, before.file_of(*fd)) {
                    for event in events {
                        assert_eq!(self.promised[file].pop_front(), Some(*event), "events come once, in order");
                    }
                }
                return;
            }
            Command::Burst { fd, .. } => {
                if let (Outcome::Burst(accepted, refused), Some(file)) = (outcome, before.file_of(*fd)) {
                    self.promised[file].extend((0..*accepted).map(burst_slot));
                    self.busy += u64::from(*refused);
                }
                return;
            }
            _ => return,
        };
        if outcome == &Outcome::Refused(Errno::EBUSY) {
            self.busy += 1;
        }
        let processed = |model: &Model| model.counters().get(Counter::Processed);
        let pins = |model: &Model| model.counters().get(Counter::RejectedPin);
        let accepted = processed(model) > processed(before) && pins(model) == pins(before);
        assert!(accepted != refused || argument == Argument::ReadOnly, "{command:?} -> {outcome:?}");
        for cookie in cookies {
            let Cookie::Region(region) = cookie else { continue };
            self.uses[region] += u32::from(accepted);
            let (alive, once) = model.region(region).expect("it was created");
            assert!(!once || self.uses[region] <= 1, "single use");
            assert!(!once || self.uses[region] == 0 || !alive, "a region that was used up is gone");
            let was_alive = before.region(region).is_some_and(|(alive, _)| alive);
            assert!(accepted || was_alive == alive, "a request that is refused consumes nothing");
            assert!(!accepted || was_alive, "what is gone cannot be used");
        }
        let file = before.file_of(fd).expect("resolved");
        if accepted && model.outstanding(file) > before.outstanding(file) {
            let (Command::Copy { request, .. } | Command::Inline { request, .. } | Command::Receive { request, .. }) =
                command
            else {
                return;
            };
            self.promised[file].push_back(request.slot);
        }
    }

    fn judge(&self, model: &Model, cleared: bool) {
        for (file, promised) in self.promised.iter().enumerate() {
            assert_eq!(promised.len(), model.outstanding(file), "accepted = read + outstanding");
            assert!(promised.len() <= model.slots(file), "no more events than slots");
        }
        if cleared {
            return;
        }
        let totals: Counters = model.counters();
        let sum = |counters: &[Counter]| counters.iter().map(|counter| totals.get(*counter)).sum::<u64>();
        let ends = sum(&[
            Counter::Processed,
            Counter::RejectedFlags,
            Counter::RejectedMemory,
            Counter::RejectedArgument,
            Counter::RejectedCookie,
        ]);
        assert_eq!(totals.get(Counter::Submitted), ends + self.busy, "every request that is submitted has one end");
        let least = sum(&[Counter::RejectedPin]);
        assert!(totals.get(Counter::Processed) >= least);
        assert!(totals.get(Counter::ProcessedPinned) + least <= totals.get(Counter::Processed));
        assert!(totals.get(Counter::ProcessedThread) + least <= totals.get(Counter::Processed));
    }
}

#[test]
fn the_model_conserves_events_uses_and_counts() {
    let plan = Plan { seed: SEED + 1, first: 0, cases: 40, length: 150 };
    for settings in settings() {
        for case in 0..plan.cases {
            let (mut model, mut witness, mut cleared) = (Model::new(settings.clone()), Witness::default(), false);
            for command in sequence_of(&plan, case) {
                for definite in model.resolve(&command) {
                    let before = model.clone();
                    let outcome = model.act(&definite, None);
                    let own = model.memory().to_vec();
                    model.adopt(&own);
                    cleared |= matches!((&definite, &outcome), (Command::Clear { .. }, Outcome::Done));
                    witness.saw(&model, &before, &definite, &outcome);
                    witness.judge(&model, cleared);
                }
            }
        }
    }
}

#[test]
fn slots_become_final_once() {
    let plan = Plan { seed: SEED + 2, first: 0, cases: 80, length: 150 };
    for case in 0..plan.cases {
        let mut model = Model::new(Settings::default());
        for command in sequence_of(&plan, case) {
            for definite in model.resolve(&command) {
                let before: Vec<_> = model.mapped().map(|file| (file, model.array(file).to_vec())).collect();
                let _ = model.act(&definite, None);
                let touches = matches!(
                    definite,
                    Command::Copy { .. }
                        | Command::Inline { .. }
                        | Command::Receive { .. }
                        | Command::Burst { .. }
                        | Command::Poke { .. }
                        | Command::Fence { .. }
                );
                for (file, slots) in before {
                    assert!(touches || model.array(file) == slots, "{definite:?} changes slots");
                }
            }
        }
    }
}

/// Checks which refusals and outcomes sequences reach: a generator that misses one tests nothing about it.
#[test]
fn sequences_reach_everything() {
    let plan = Plan { seed: SEED + 3, first: 0, cases: 250, length: 150 };
    let mut errnos = std::collections::BTreeSet::new();
    let mut statuses = std::collections::BTreeSet::new();
    let (mut longest, mut sums) = (0, Counters::default());
    for case in 0..plan.cases {
        let mut system = Threads::new(Settings { pin_reads: case % 2 == 0, ..Settings::default() }, None);
        let mut model = Model::new(system.settings());
        for command in sequence_of(&plan, case) {
            for definite in model.resolve(&command) {
                let outcome = model.act(&definite, Some(&system.carry_out(&definite)));
                match outcome {
                    Outcome::Refused(errno) => drop(errnos.insert(errno as i32)),
                    Outcome::Status(status) => drop(statuses.insert(status)),
                    Outcome::Events(events) => longest = longest.max(events.len()),
                    _ => {}
                }
            }
        }
        for (sum, value) in sums.0.iter_mut().zip(model.counters().0) {
            *sum += value;
        }
    }
    assert_eq!(Vec::from_iter(statuses), [0, 1, 2]);
    assert!(longest >= 4000, "full queues are read: {longest}");
    for errno in [
        Errno::EPERM,
        Errno::EBADF,
        Errno::EAGAIN,
        Errno::ENOMEM,
        Errno::EACCES,
        Errno::EFAULT,
        Errno::EBUSY,
        Errno::EINVAL,
        Errno::ENOSYS,
    ] {
        assert!(errnos.contains(&(errno as i32)), "{errno} is never the answer");
    }
    for counter in 0..11 {
        assert!(counter == Counter::ProcessedDma as usize || sums.0[counter] > 0, "counter {counter} stays 0");
    }
}
