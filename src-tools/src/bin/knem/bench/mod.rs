// SPDX-License-Identifier: CECILL-B
//! `knem bench`: copies between two processes, measured and compared byte by byte.

mod buffer;
mod measure;
mod pattern;
mod peer;
mod protocol;
mod report;
mod times;

use std::io::{stdin, stdout, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use knem::{CopyFlags, Device};

use self::measure::Plan;
use self::protocol::{Line, Reply};
use self::report::Results;
use crate::cli::BenchArgs;
use crate::exit::Failure;
use crate::json::Document;
use crate::sizes::parse_sizes;

/// Runs the command.
pub(crate) fn run(path: &Path, arguments: &BenchArgs) -> Result<(), Failure> {
    let sizes = parse_sizes(&arguments.sizes).map_err(|reason| Failure::Usage(format!("--sizes: {reason}")))?;
    let plan = plan(arguments)?;
    let device = Device::open_at(path)?;
    let mut peer = Peer::start(path)?;
    let mut rows = Vec::new();
    if !arguments.json {
        write!(stdout(), "{}", report::heading())?;
    }
    for size in sizes {
        let row = measure::measure(&device, &mut peer.line, &plan, size)?;
        if !arguments.json {
            write!(stdout(), "{}", row.line())?;
            stdout().flush()?;
        }
        rows.push(row);
    }
    peer.finish()?;
    if arguments.json {
        Document::new("knem-bench", 1, Results::new(arguments.write, &rows)).print()?;
    }
    Ok(())
}

/// What the options ask for.
fn plan(arguments: &BenchArgs) -> Result<Plan, Failure> {
    if arguments.iterations == Some(0) {
        return Err(Failure::Usage("--iterations: 0 copies give no result; the smallest number is 1".to_owned()));
    }
    Ok(Plan {
        iterations: arguments.iterations,
        warmup: arguments.warmup,
        write: arguments.write,
        verify: !arguments.no_verify,
        region_cost: !arguments.no_region_cost,
        flags: if arguments.pin_local { CopyFlags::PIN_LOCAL } else { CopyFlags::NONE },
    })
}

/// Is the second process.
pub(crate) fn serve(path: &Path) -> Result<(), Failure> {
    let mut line = Line::new(stdin().lock(), stdout());
    match Device::open_at(path) {
        Ok(device) => peer::serve(&device, &mut line),
        Err(error) => {
            let failure = Failure::from(error);
            // The first process tells the user.
            line.reply(&Reply::Failed(failure.status(), failure.to_string()))
        }
    }
}

/// The second process, as the first one has it.
struct Peer {
    line: Line<BufReader<ChildStdout>, ChildStdin>,
    process: Child,
}

impl Peer {
    fn start(path: &Path) -> Result<Self, Failure> {
        let cannot = |error| Failure::Other(format!("cannot start the second process: {error}"));
        // This very program, also where an upgrade has put another in the place of its file.
        let program = "/proc/self/exe";
        let mut command = Command::new(program);
        command.arg("--device").arg(path).arg("__bench-peer").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(cannot)?;
        match (process.stdout.take(), process.stdin.take()) {
            (Some(from), Some(to)) => Ok(Self { line: Line::new(BufReader::new(from), to), process }),
            _ => Err(Failure::Other("the second process has no pipes".to_owned())),
        }
    }

    /// Waits for its end, which follows from nobody asking any more.
    fn finish(self) -> Result<(), Failure> {
        let Self { line, mut process } = self;
        drop(line);
        let ended =
            process.wait().map_err(|error| Failure::Other(format!("waiting for the second process: {error}")))?;
        if ended.success() {
            Ok(())
        } else {
            Err(Failure::Other(format!("the second process ended with {ended}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use knem::fake::FakeDriver;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Line<BufReader<UnixStream>, UnixStream>, Line<BufReader<UnixStream>, UnixStream>) {
        let (here, there) = UnixStream::pair().unwrap();
        let line = |stream: UnixStream| Line::new(BufReader::new(stream.try_clone().unwrap()), stream);
        (line(here), line(there))
    }

    fn plan(write: bool) -> Plan {
        Plan { iterations: Some(3), warmup: 1, write, verify: true, region_cost: true, flags: CopyFlags::NONE }
    }

    fn bench(driver: &FakeDriver, plan: &Plan, sizes: &[usize]) -> Result<Vec<report::Row>, Failure> {
        let (mut here, mut there) = pair();
        let second = driver.clone();
        let served = std::thread::spawn(move || {
            peer::serve(&Device::new(Box::new(second)).unwrap(), &mut there).unwrap();
        });
        let device = Device::new(Box::new(driver.clone())).unwrap();
        let rows = sizes.iter().map(|size| measure::measure(&device, &mut here, plan, *size)).collect();
        drop(here);
        served.join().unwrap();
        rows
    }

    #[test]
    fn both_directions_verify_and_leave_nothing() {
        for write in [false, true] {
            let driver = FakeDriver::new();
            let rows = bench(&driver, &plan(write), &[1, 4095, 4096, 200_001]).unwrap();
            assert!(rows.iter().all(|row| row.verified && row.region_cost.is_some()));
            assert_eq!(driver.region_count(), 0);
        }
    }

    #[test]
    fn a_driver_that_copies_wrongly_is_caught() {
        for write in [false, true] {
            let driver = FakeDriver::new().with_wrong_last_byte();
            let failure = bench(&driver, &plan(write), &[5000]).unwrap_err();
            assert_eq!(failure.status(), 1);
            assert!(failure.to_string().contains("byte 4999"), "{failure}");
        }
    }

    #[test]
    fn no_iterations_are_wrong_usage() {
        let arguments = BenchArgs {
            sizes: "4K".to_owned(),
            iterations: Some(0),
            warmup: 0,
            write: false,
            pin_local: false,
            no_verify: false,
            no_region_cost: false,
            json: false,
        };
        assert_eq!(super::plan(&arguments).unwrap_err().status(), 2);
    }
}
