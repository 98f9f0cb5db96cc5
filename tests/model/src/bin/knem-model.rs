// SPDX-License-Identifier: CECILL-B
//! Random sequences of commands, executed by the device and by the model side by side.
//!
//! Exit status: 0 if they agree, 1 if not, 2 for wrong usage, 3 if there is no device to test or it hangs.

use std::io::Write;
use std::path::PathBuf;
use std::process::{exit, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use knem_core::uapi::DEVICE_FILENAME;
use knem_model::command::Command;
use knem_model::device::{pinned, Device, Ground};
use knem_model::run::{run, Plan};

/// Compare a KNEM device with a model of it, over random sequences of commands. No other program may use the device
/// meanwhile
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Number of sequences
    #[arg(long, default_value_t = 100)]
    cases: u64,
    /// Seed of the random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of the first sequence
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Most commands in a sequence
    #[arg(long, default_value_t = 150)]
    length: usize,
    /// Device to test
    #[arg(long, default_value = DEVICE_FILENAME)]
    device: PathBuf,
}

/// Time limit of a command, after which it hangs. Nothing else depends on time.
const PATIENCE: Duration = Duration::from_secs(300);

/// The present command, and the time of its start.
type Present = Arc<Mutex<(Instant, String)>>;

fn main() -> ExitCode {
    let Arguments { cases, seed, first, length, device } = Arguments::parse();
    let ground = match Ground::new(&device) {
        Ok(ground) => ground,
        Err(error) => {
            eprintln!("knem-model: {}: {error}", device.display());
            return ExitCode::from(3);
        }
    };
    println!("knem-model: {cases} sequences from number {first} on, of up to {length} commands, seed {seed}");
    println!("knem-model: {:?}", ground.settings());
    if pinned().is_none() {
        println!("knem-model: this kernel does not count pinned pages: they are not compared");
    }
    let present: Present = Arc::new(Mutex::new((Instant::now(), String::new())));
    watch(&present);
    let observe = |case: u64, command: Option<&Command>| {
        let now = command.map_or_else(|| format!("sequence {case}"), |command| format!("sequence {case}, {command:?}"));
        *present.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), now);
        if command.is_none() && (case - first) % 50 == 0 {
            println!("knem-model: sequence {case}");
            let _ = std::io::stdout().flush();
        }
    };
    let plan = Plan { seed, first, cases, length };
    match run(&plan, || Device::new(&ground), observe) {
        Ok(tally) => {
            let (commands, granted, events) = (tally.commands, tally.granted, tally.events);
            println!("knem-model: {cases} sequences, {commands} commands ({granted} granted), {events} events: no difference");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("knem-model: the device differs from the model in {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the program if it makes no progress, and prints where.
fn watch(present: &Present) {
    let present = Arc::clone(present);
    thread::spawn(move || loop {
        thread::sleep(Duration::from_secs(5));
        let (since, what) = &*present.lock().unwrap_or_else(PoisonError::into_inner);
        if since.elapsed() > PATIENCE {
            println!("knem-model: nothing has happened for {} s in {what}", PATIENCE.as_secs());
            exit(3);
        }
    });
}
