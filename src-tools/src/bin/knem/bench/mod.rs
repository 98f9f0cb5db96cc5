// SPDX-License-Identifier: CECILL-B
//! `knem bench`: copies between two processes by KNEM and by its peers, measured and compared byte by byte.

mod buffer;
mod clock;
mod environment;
mod evict;
mod measure;
mod methods;
mod order;
mod output;
mod overlap;
mod pattern;
mod peer;
mod placement;
mod plan;
mod process;
mod progress;
mod protocol;
mod results;
mod room;
mod shared;
mod times;
mod transfer;
mod xpmem;

use std::io::{stdin, stdout, BufRead, Write};
use std::path::Path;

use knem::{statistics, CopyFlags, Device};

use self::environment::Environment;
use self::evict::Evictor;
use self::measure::Plan;
pub(crate) use self::methods::Method;
use self::placement::{Placement, TOPOLOGY};
use self::plan::Wishes;
use self::process::Process;
use self::protocol::{Line, Reply};
use self::results::{Beside, Results, Skipped};
use self::room::Room;
use self::shared::Shared;
use self::transfer::First;
use crate::cli::{BenchArgs, BenchPeerArgs};
use crate::exit::Failure;
use crate::style;

pub(crate) use self::process::own_program;

/// What is left without the driver.
const WITHOUT: &str = "without the driver, `--methods peers` shows what KNEM has to beat";

/// Bytes from which on it matters whether a copy is hidden behind work.
const SMALLEST_OVERLAP: usize = 64 << 10;

/// Runs the command.
pub(crate) fn run(path: &Path, arguments: &BenchArgs) -> Result<(), Failure> {
    let wishes = Wishes::understand(arguments)?;
    let placement = Placement::choose(Path::new(TOPOLOGY), &placement::allowed(), arguments.cpus.as_deref())?;
    let device = if wishes.needs_device() {
        Some(Device::open_at(path).map_err(|error| Failure::Hint(error, WITHOUT))?)
    } else {
        None
    };
    let shared = Shared::new()?;
    let mut process = Process::start(path, &shared, Some(placement.second), device.is_none())?;
    shared.close_on_exec()?;
    let results = benchmark(path, &wishes, &placement, device.as_ref(), &shared, &mut process)?;
    process.finish()?;
    // What was measured is told even if it cannot be drawn, and drawn even if nobody reads the rest.
    let told = tell(&results, arguments);
    for file in &arguments.plot {
        output::plot::write(&results, file)?;
    }
    told
}

/// Writes the results to standard output.
fn tell(results: &Results, arguments: &BenchArgs) -> Result<(), Failure> {
    if arguments.json {
        return output::json::document(results).print();
    }
    if arguments.csv {
        // It has no place for this, and there is nowhere to report that stderr takes no text.
        let _ = write!(std::io::stderr(), "{}", output::table::left_out(results));
        return Ok(stdout().write_all(output::csv::text(results).as_bytes())?);
    }
    Ok(style::output().write_all(output::table::text(results).as_bytes())?)
}

/// Measures everything that was asked for.
fn benchmark(
    path: &Path,
    wishes: &Wishes,
    placement: &Placement,
    device: Option<&Device>,
    shared: &Shared,
    process: &mut Process,
) -> Result<Results, Failure> {
    // A driver without a thread is no reason to fail: the method that needs it is left out.
    let wants_thread = wishes.methods.contains(&Method::KnemAsync);
    let statuses = device.filter(|_| wants_thread).and_then(|device| {
        // The thread works where the second process waits meanwhile. Elsewhere, if that is not allowed.
        let _ = device.place_thread(knem::Placement::Processors(&[placement.second]));
        device.map_status(1).ok()
    });
    placement::pin(placement.first)?;
    let first = First {
        device,
        statuses: statuses.as_ref(),
        shared,
        peer: process.pid(),
        flags: wishes.flags,
        write: wishes.write,
    };
    let mut evictor = wishes.cold.then(|| Evictor::new(Path::new(TOPOLOGY), placement.first));
    let (methods, skipped) = usable(&first, &mut process.line, wishes)?;
    let room = Room {
        available: std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| room::available(&text)),
        device: device.filter(|_| methods.iter().any(|method| method.is_knem())),
    };
    let (sizes, left_out) = room.choose(wishes.sizes(), &methods, wishes.sizes_named)?;
    let plan = wishes.plan(methods, sizes);
    let mut environment = environment(path, device, placement, &plan)?;
    environment.evicted_bytes = evictor.as_ref().map_or(0, Evictor::size);
    let progress = progress::Bar::new(plan.copies());
    let rows = measure::measure(&first, &mut process.line, &plan, evictor.as_mut(), |method, size, copies| {
        progress.add(method, size, copies);
    })?;
    let mut regions = Vec::new();
    if let Some(device) = device.filter(|_| wishes.region_cost && plan.methods.iter().any(|method| method.is_knem())) {
        for size in &plan.sizes {
            regions.push(measure::region_cost(device, *size, plan.iterations_of(*size))?);
        }
    }
    let mut overlaps = Vec::new();
    if plan.methods.contains(&Method::KnemAsync) && !wishes.write {
        for size in plan.sizes.iter().filter(|size| **size >= SMALLEST_OVERLAP) {
            overlaps.extend(overlap::measure(&first, &mut process.line, *size, plan.iterations_of(*size))?);
        }
    }
    progress.finish();
    Ok(Results::new(environment, (skipped, left_out), &rows, Beside { regions, overlaps }))
}

/// Those methods that work here. The others are left out, with the reason; unless they were asked for by name.
fn usable<R: BufRead, W: Write>(
    first: &First<'_>,
    line: &mut Line<R, W>,
    wishes: &Wishes,
) -> Result<(Vec<Method>, Vec<Skipped>), Failure> {
    let (mut usable, mut skipped) = (Vec::new(), Vec::new());
    for method in &wishes.methods {
        match measure::try_once(first, line, *method) {
            Ok(()) => usable.push(*method),
            Err(Failure::Other(reason)) if wishes.by_name => {
                return Err(Failure::Other(format!("--methods: {}: {reason}", method.name())));
            }
            // It has a status of its own.
            Err(failure) if wishes.by_name => return Err(failure),
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

fn environment(
    path: &Path,
    device: Option<&Device>,
    placement: &Placement,
    plan: &Plan,
) -> Result<Environment, Failure> {
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
        first_cpu: placement.first,
        second_cpu: placement.second,
        relation: placement.relation.clone(),
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

/// Bytes of the largest copy of [`exchange`].
pub(crate) const EXCHANGED: u64 = 1 << 20;

/// Exchanges some verified copies with a second process, both ways: for the self-test.
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

/// Is the second process.
pub(crate) fn serve(path: &Path, arguments: &BenchPeerArgs) -> Result<(), Failure> {
    process::end_with_parent()?;
    let mut line = Line::new(stdin().lock(), stdout());
    let outcome = prepare(path, arguments).and_then(|(device, shared)| {
        let evictor = Evictor::new(Path::new(TOPOLOGY), arguments.cpu.unwrap_or(0));
        peer::Second { device: device.as_ref(), shared: &shared, evictor }.serve(&mut line)
    });
    match outcome {
        Ok(()) => Ok(()),
        // The first process tells the user.
        Err(failure) => line.reply(&Reply::Failed(failure.status(), failure.to_string())),
    }
}

fn prepare(path: &Path, arguments: &BenchPeerArgs) -> Result<(Option<Device>, Shared), Failure> {
    let shared = Shared::inherited(arguments.shared)?;
    if let Some(cpu) = arguments.cpu {
        placement::pin(cpu)?;
    }
    let device = if arguments.without_device { None } else { Some(Device::open_at(path)?) };
    Ok((device, shared))
}

#[cfg(test)]
mod tests;
