// SPDX-License-Identifier: CECILL-B
//! `knem bench`: measures copies between two processes by KNEM and by its peers, and compares every byte.

mod buffer;
mod capacity;
mod clock;
mod cpus;
mod environment;
mod evict;
mod measure;
mod methods;
mod order;
mod output;
mod overlap;
mod pattern;
mod peer;
mod plan;
mod process;
mod progress;
mod protocol;
mod results;
mod shared;
mod times;
mod transfer;
mod xpmem;

use std::io::{stdin, stdout, BufRead, Write};
use std::path::Path;

use knem::{statistics, CopyFlags, Device};

use self::capacity::Capacity;
use self::cpus::{CpuPair, TOPOLOGY};
use self::environment::Environment;
use self::evict::Evictor;
use self::measure::Plan;
pub(crate) use self::methods::Method;
use self::plan::Options;
use self::process::Process;
use self::protocol::{Line, Reply};
use self::results::{Beside, Results, Skipped};
use self::shared::Shared;
use self::transfer::First;
use crate::cli::{BenchArgs, BenchPeerArgs};
use crate::exit::Failure;
use crate::style;

pub(crate) use self::process::own_program;

/// Hint for machines without the driver.
const WITHOUT: &str = "`--methods peers` measures the alternatives without the driver";

/// Bytes from which on it matters whether a copy is hidden behind work.
const SMALLEST_OVERLAP: usize = 64 << 10;

/// Runs the command.
pub(crate) fn run(path: &Path, arguments: &BenchArgs) -> Result<(), Failure> {
    let options = Options::parse(arguments)?;
    let cpus = CpuPair::choose(Path::new(TOPOLOGY), &cpus::allowed(), arguments.cpus.as_deref())?;
    let device = if options.needs_device() {
        Some(Device::open_at(path).map_err(|error| Failure::Hint(error, WITHOUT))?)
    } else {
        None
    };
    let shared = Shared::new()?;
    let mut process = Process::start(path, &shared, Some(cpus.second), device.is_none())?;
    shared.close_on_exec()?;
    let results = benchmark(path, &options, &cpus, device.as_ref(), &shared, &mut process)?;
    process.finish()?;
    // The results are printed even if they cannot be plotted, and plotted even if the output is closed.
    let printed = print(&results, arguments);
    for file in &arguments.plot {
        output::plot::write(&results, file)?;
    }
    printed
}

/// Writes the results to standard output.
fn print(results: &Results, arguments: &BenchArgs) -> Result<(), Failure> {
    if arguments.json {
        return output::json::document(results).print();
    }
    if arguments.csv {
        // CSV has no field for this. If stderr cannot be written, nothing is left to report to.
        let _ = write!(std::io::stderr(), "{}", output::table::left_out(results));
        return Ok(stdout().write_all(output::csv::text(results).as_bytes())?);
    }
    Ok(style::output().write_all(output::table::text(results).as_bytes())?)
}

/// Measures everything that was requested.
fn benchmark(
    path: &Path,
    options: &Options,
    cpus: &CpuPair,
    device: Option<&Device>,
    shared: &Shared,
    process: &mut Process,
) -> Result<Results, Failure> {
    // Without a worker thread the method that needs it is skipped.
    let wants_thread = options.methods.contains(&Method::KnemAsync);
    let statuses = device.filter(|_| wants_thread).and_then(|device| {
        // The thread uses the CPU on which the second process waits, or any other if that is not allowed.
        let _ = device.place_thread(knem::Placement::Processors(&[cpus.second]));
        device.map_status(1).ok()
    });
    cpus::pin(cpus.first)?;
    let first = First {
        device,
        statuses: statuses.as_ref(),
        shared,
        peer: process.pid(),
        flags: options.flags,
        write: options.write,
    };
    let mut evictor = options.cold.then(|| Evictor::new(Path::new(TOPOLOGY), cpus.first));
    let (methods, skipped) = usable(&first, &mut process.line, options)?;
    let capacity = Capacity {
        available: std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| capacity::available(&text)),
        device: device.filter(|_| methods.iter().any(|method| method.is_knem())),
    };
    let (sizes, left_out) = capacity.choose(options.sizes(), &methods, options.sizes_named)?;
    let plan = options.plan(methods, sizes);
    let mut environment = environment(path, device, cpus, &plan)?;
    environment.evicted_bytes = evictor.as_ref().map_or(0, Evictor::size);
    let progress = progress::Bar::new(plan.copies());
    let rows = measure::measure(&first, &mut process.line, &plan, evictor.as_mut(), |method, size, copies| {
        progress.add(method, size, copies);
    })?;
    let mut regions = Vec::new();
    if let Some(device) = device.filter(|_| options.region_cost && plan.methods.iter().any(|method| method.is_knem())) {
        for size in &plan.sizes {
            regions.push(measure::region_cost(device, *size, plan.iterations_of(*size))?);
        }
    }
    let mut overlaps = Vec::new();
    if plan.methods.contains(&Method::KnemAsync) && !options.write {
        for size in plan.sizes.iter().filter(|size| **size >= SMALLEST_OVERLAP) {
            overlaps.extend(overlap::measure(&first, &mut process.line, *size, plan.iterations_of(*size))?);
        }
    }
    progress.finish();
    Ok(Results::new(environment, (skipped, left_out), &rows, Beside { regions, overlaps }))
}

/// Returns the methods that work here, and the others with the reason. A method that was given by name must work.
fn usable<R: BufRead, W: Write>(
    first: &First<'_>,
    line: &mut Line<R, W>,
    options: &Options,
) -> Result<(Vec<Method>, Vec<Skipped>), Failure> {
    let (mut usable, mut skipped) = (Vec::new(), Vec::new());
    for method in &options.methods {
        match measure::try_once(first, line, *method) {
            Ok(()) => usable.push(*method),
            Err(Failure::Other(reason)) if options.by_name => {
                return Err(Failure::Other(format!("--methods: {}: {reason}", method.name())));
            }
            // It has its own exit status.
            Err(failure) if options.by_name => return Err(failure),
            Err(failure) if failure.to_string().starts_with("WRONG DATA") => return Err(failure),
            Err(failure) => skipped.push(Skipped { method: *method, reason: failure.to_string() }),
        }
    }
    if usable.is_empty() {
        let reasons: Vec<String> =
            skipped.iter().map(|skipped| format!("{}: {}", skipped.method.name(), skipped.reason)).collect();
        return Err(Failure::Other(format!("no method works here: {}", reasons.join("; "))));
    }
    Ok((usable, skipped))
}

fn environment(path: &Path, device: Option<&Device>, cpus: &CpuPair, plan: &Plan) -> Result<Environment, Failure> {
    let (host, kernel) = environment::host_and_kernel();
    let (processor, virtual_machine) =
        environment::processor(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default());
    let module_version =
        if device.is_some() { statistics::read(path).ok().map(|statistics| statistics.module_version) } else { None };
    Ok(Environment {
        host,
        kernel,
        processor,
        virtual_machine,
        module_version,
        command_version: env!("CARGO_PKG_VERSION").to_owned(),
        started: environment::now(),
        first_cpu: cpus.first,
        second_cpu: cpus.second,
        relation: cpus.relation.clone(),
        evicted_bytes: 0,
        seed: plan.seed,
        rounds: plan.rounds,
        warmup: plan.warmup,
        clock: clock::name(),
        clock_ns: clock::cost(),
        null_call_ns: device.map(measure::null_call).transpose()?,
        shm_chunk_bytes: shared::CHUNK,
        shm_chunks: shared::CHUNKS,
    })
}

/// Size of the largest copy of [`exchange`].
pub(crate) const EXCHANGED: u64 = 1 << 20;

/// Makes verified copies with a second process in both directions, for the self-test.
pub(crate) fn exchange(path: &Path) -> Result<(), Failure> {
    let device = Device::open_at(path)?;
    let shared = Shared::new()?;
    let mut process = Process::start(path, &shared, None, false)?;
    shared.close_on_exec()?;
    let first = First {
        device: Some(&device),
        statuses: None,
        shared: &shared,
        peer: process.pid(),
        flags: CopyFlags::NONE,
        write: false,
    };
    let plan = Plan {
        methods: vec![Method::KnemCached, Method::KnemOneshot, Method::KnemWrite, Method::KnemRegion],
        sizes: vec![1, 4097, EXCHANGED as usize],
        iterations: Some(2),
        quick: true,
        rounds: 1,
        warmup: 0,
        verify: true,
        seed: 0,
    };
    measure::measure(&first, &mut process.line, &plan, None, |_, _, _| {})?;
    process.finish()
}

/// Runs as the second process.
pub(crate) fn serve(path: &Path, arguments: &BenchPeerArgs) -> Result<(), Failure> {
    process::end_with_parent()?;
    let mut line = Line::new(stdin().lock(), stdout());
    let outcome = prepare(path, arguments).and_then(|(device, shared)| {
        let evictor = Evictor::new(Path::new(TOPOLOGY), arguments.cpu.unwrap_or(0));
        peer::Second { device: device.as_ref(), shared: &shared, evictor }.serve(&mut line)
    });
    match outcome {
        Ok(()) => Ok(()),
        // The first process reports it.
        Err(failure) => line.reply(&Reply::Failed(failure.status(), failure.to_string())),
    }
}

fn prepare(path: &Path, arguments: &BenchPeerArgs) -> Result<(Option<Device>, Shared), Failure> {
    let shared = Shared::inherited(arguments.shared)?;
    if let Some(cpu) = arguments.cpu {
        cpus::pin(cpu)?;
    }
    let device = if arguments.without_device { None } else { Some(Device::open_at(path)?) };
    Ok((device, shared))
}

#[cfg(test)]
mod tests;
