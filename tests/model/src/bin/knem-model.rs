// SPDX-License-Identifier: CECILL-B
//! Random sequences of commands, executed by the device and by the model side by side.
//!
//! Exit status: 0 if they agree, 1 if not, 2 for wrong usage, 3 if there is no device to test or it hangs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{self, exit, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use knem_core::uapi::DEVICE_FILENAME;
use knem_model::command::Command;
use knem_model::compare::{compare, Tally};
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
    /// Run for SECONDS instead of a number of sequences
    #[arg(long, value_name = "SECONDS", conflicts_with = "cases")]
    seconds: Option<u64>,
    /// Number of processes that use the device at once, with consecutive seeds; they compare neither counters nor
    /// pinned pages
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: u64,
    /// Compare neither counters nor pinned pages: other processes use the device
    #[arg(long)]
    shared: bool,
    /// Write the shortened failing sequence to FILE; the output has it as well, after `replay: `
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Run the sequence in FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cases", "seconds", "jobs", "first"])]
    replay: Option<PathBuf>,
    /// Device to test
    #[arg(long, default_value = DEVICE_FILENAME)]
    device: PathBuf,
}

/// Time limit of a command, after which it hangs. Nothing else depends on time.
const PATIENCE: Duration = Duration::from_secs(300);

/// The present command, and the time of its start.
type Present = Arc<Mutex<(Instant, String)>>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let device = &arguments.device;
    let ground = match Ground::new(device) {
        Ok(ground) => ground,
        Err(error) => {
            eprintln!("knem-model: {}: {error}", device.display());
            return ExitCode::from(3);
        }
    };
    if arguments.jobs > 1 {
        return several(&arguments);
    }
    let ground = if arguments.shared { ground.shared() } else { ground };
    let present: Present = Arc::new(Mutex::new((Instant::now(), String::new())));
    watch(&present);
    if let Some(file) = &arguments.replay {
        return replay(file, &ground, &present);
    }
    let Arguments { cases, seed, first, length, .. } = arguments;
    match arguments.seconds {
        None => {
            println!("knem-model: {cases} sequences from number {first} on, of up to {length} commands, seed {seed}")
        }
        Some(time) => {
            println!(
                "knem-model: sequences from number {first} on for {time} s, of up to {length} commands, seed {seed}"
            );
        }
    }
    println!("knem-model: {:?}", ground.settings());
    if pinned().is_none() {
        println!("knem-model: this kernel does not count pinned pages: they are not compared");
    }
    draw(&arguments, &ground, &present)
}

/// How many sequences there are between two looks at the clock.
const STEP: u64 = 10;

/// Compares sequences until there are enough.
fn draw(arguments: &Arguments, ground: &Ground, present: &Present) -> ExitCode {
    let (first, start) = (arguments.first, Instant::now());
    let observe = |case: u64, command: Option<&Command>| {
        begins(present, &format!("sequence {case}"), command);
        if command.is_none() && (case - first) % 50 == 0 && arguments.seconds.is_none() {
            println!("knem-model: sequence {case}");
            let _ = std::io::stdout().flush();
        }
    };
    let (mut total, mut cases) = (Tally::default(), 0);
    loop {
        let step = if arguments.seconds.is_some() { STEP } else { arguments.cases };
        let plan = Plan { seed: arguments.seed, first: first + cases, cases: step, length: arguments.length };
        match run(&plan, || Device::new(ground), observe) {
            Ok(tally) => total.add(tally),
            Err(failure) => {
                println!("knem-model: the device differs from the model in {failure}");
                keep(&failure.shortest, arguments.save.as_deref());
                return ExitCode::FAILURE;
            }
        }
        cases += step;
        if arguments.seconds.is_none_or(|seconds| start.elapsed().as_secs() >= seconds) {
            break;
        }
    }
    let Tally { commands, granted, events } = total;
    if arguments.seconds.is_some() {
        println!("counted {cases} sequences compared with the model");
        println!("counted {commands} operations compared with the model");
    }
    println!("knem-model: {cases} sequences, {commands} commands ({granted} granted), {events} events: no difference");
    ExitCode::SUCCESS
}

/// Notes what is being done.
fn begins(present: &Present, what: &str, command: Option<&Command>) {
    let now = command.map_or_else(|| what.to_owned(), |command| format!("{what}, {command:?}"));
    *present.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), now);
}

/// Runs processes with seeds that follow each other.
fn several(arguments: &Arguments) -> ExitCode {
    let Ok(program) = std::env::current_exe() else { return ExitCode::from(3) };
    let start = |job: u64| {
        let mut command = process::Command::new(&program);
        command.arg("--shared").arg("--device").arg(&arguments.device);
        command.args(["--seed", &(arguments.seed + job).to_string(), "--first", &arguments.first.to_string()]);
        command.args(["--length", &arguments.length.to_string()]);
        match arguments.seconds {
            Some(seconds) => command.args(["--seconds", &seconds.to_string()]),
            None => command.args(["--cases", &arguments.cases.to_string()]),
        };
        if let Some(file) = &arguments.save {
            command.arg("--save").arg(file.with_extension(format!("{job}.json")));
        }
        command.spawn()
    };
    let started: Vec<_> = (0..arguments.jobs).map(start).collect();
    let mut good = true;
    for child in started {
        good &= child.and_then(|mut child| child.wait()).is_ok_and(|status| status.success());
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Leaves a sequence to be carried out again.
fn keep(sequence: &[Command], file: Option<&Path>) {
    let Ok(text) = serde_json::to_string(sequence) else { return };
    if let Some(file) = file {
        if let Err(error) = fs::write(file, &text) {
            eprintln!("knem-model: {}: {error}", file.display());
        }
    }
    println!("replay: {text}");
}

/// Carries out a sequence that was kept.
fn replay(file: &Path, ground: &Ground, present: &Present) -> ExitCode {
    let read = fs::read_to_string(file).map_err(|error| error.to_string());
    let sequence: Result<Vec<Command>, String> =
        read.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
    let sequence = match sequence {
        Ok(sequence) => sequence,
        Err(error) => {
            eprintln!("knem-model: {}: {error}", file.display());
            return ExitCode::from(2);
        }
    };
    match compare(Device::new(ground), &sequence, |command| begins(present, "the file", Some(command))) {
        Ok(tally) => {
            println!("knem-model: {} commands: no difference", tally.commands);
            ExitCode::SUCCESS
        }
        Err(difference) => {
            println!("knem-model: the device differs from the model:\n{difference}");
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
