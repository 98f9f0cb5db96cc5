// SPDX-License-Identifier: CECILL-B
//! What runs, where, and for how long.

use knem_lab::lab::words;
use knem_lab::uml::Flavour;

/// What is run in one boot of a kernel.
#[derive(Debug)]
pub(crate) struct Boot {
    pub(crate) name: &'static str,
    pub(crate) flavour: Flavour,
    pub(crate) commands: Vec<Vec<String>>,
    /// Seconds that the commands are asked to take, together; what they take beyond that is bounded by the machine's
    /// time limit.
    pub(crate) seconds: u64,
}

/// Prints the driver's counters, whose lines of refused calls show which error returns were executed.
const COUNTERS: &str = "cat /proc/driver/knem/statistics";

/// What a scenario of `faults` takes on a quiet processor, all of them together.
const FAULTS: u64 = 600;

/// Storms, but `failing`, in which User Mode Linux itself panics, with the share of the time of each, in hundredths.
/// The module is loaded again and again in `cycles`, which loses its counters: it is the last.
const STORMS: [(&str, u64); 6] =
    [("kills", 30), ("contexts", 4), ("regions", 6), ("stalls", 6), ("chaos", 14), ("cycles", 20)];
/// Share of the sequences compared with the model.
const MODEL: u64 = 20;

/// All of it, in `seconds`.
pub(crate) fn full(seconds: u64, seed: u64) -> Vec<Boot> {
    let rest = seconds.saturating_sub(FAULTS).max(300);
    let (debug, plain) = (rest / 3, rest - rest / 3);
    vec![
        Boot {
            name: "every point fails",
            flavour: Flavour::Debug,
            commands: lines(&["knem-reliability faults", COUNTERS, "knem-reliability faults load_the_module"]),
            seconds: FAULTS,
        },
        storms("storms, with the detectors", Flavour::Debug, debug, seed),
        Boot {
            name: "error returns",
            flavour: Flavour::Plain,
            // Without the rules that clear the counters.
            commands: lines(&["knem-conformance --skip statistics --skip clear", COUNTERS, "knem-limits", COUNTERS]),
            seconds: 300,
        },
        storms("storms, at speed", Flavour::Plain, plain, seed + 1000),
    ]
}

/// The part that runs with every change: some minutes.
pub(crate) fn short(seed: u64) -> Vec<Boot> {
    let mut boot = storms("every point fails, and a little of each storm", Flavour::Debug, 100, seed);
    boot.commands.insert(0, words("knem-reliability faults"));
    boot.seconds += FAULTS;
    vec![boot]
}

fn storms(name: &'static str, flavour: Flavour, seconds: u64, seed: u64) -> Boot {
    let mut commands = Vec::new();
    let mut storm = |name: &str, share: u64| {
        let time = (seconds * share / 100).max(5);
        commands.push(words(&format!("knem-reliability storm {name} --seconds {time} --seed {seed}")));
    };
    for (name, share) in STORMS {
        storm(name, share);
    }
    let time = (seconds * MODEL / 100).max(5);
    // Alone: with counters; several at a time: with races.
    let model = |jobs: u64, time: u64| {
        words(&format!("knem-model --seconds {} --jobs {jobs} --seed {}", time.max(5), seed + jobs))
    };
    commands.insert(0, model(1, time / 2));
    commands.insert(1, model(3, time / 2));
    commands.insert(commands.len() - 1, words(COUNTERS));
    Boot { name, flavour, commands, seconds }
}

fn lines(lines: &[&str]) -> Vec<Vec<String>> {
    lines.iter().map(|line| words(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_the_whole() {
        assert_eq!(STORMS.iter().map(|storm| storm.1).sum::<u64>() + MODEL, 100);
    }

    #[test]
    fn the_time_is_kept() {
        for hours in [1, 3, 12] {
            let seconds: u64 = full(hours * 3600, 1).iter().map(|boot| boot.seconds).sum();
            assert!(seconds.abs_diff(hours * 3600) <= 300, "{hours} hours became {seconds} seconds");
        }
        let asked = |boot: &Boot| -> u64 {
            let time = |command: &Vec<String>| {
                let place = command.iter().position(|word| word == "--seconds")?;
                command.get(place + 1)?.parse::<u64>().ok()
            };
            boot.commands.iter().filter_map(time).sum()
        };
        let boot = storms("x", Flavour::Plain, 1000, 1);
        assert!(asked(&boot).abs_diff(1000) < 20, "{}", asked(&boot));
        assert!(asked(&short(1)[0]) < 150);
    }
}
