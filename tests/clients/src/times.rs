// SPDX-License-Identifier: CECILL-B
//! Times of messages with KNEM, with CMA, and with two copies: in User Mode Linux, in one boot, in turns.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{bail, Context, Result};
use knem_report::page;
use knem_report::plot::{bandwidth, size, Line};
use knem_report::ratio::Quartiles;

use crate::site::Site;
use crate::uml::Machine;

/// How often each library runs with each method.
const TURNS: usize = 5;
/// Rounds of a run.
const ROUNDS: u32 = 5;
/// The kind of traffic that is plotted.
const DRAWN: &str = "ping-pong";

/// The methods to move messages.
const WAYS: [&str; 3] = ["KNEM", "CMA", "two copies"];

/// A library, and its options for each method.
struct Library {
    name: &'static str,
    file: &'static str,
    run: fn(usize) -> String,
}

const LIBRARIES: [Library; 2] = [
    Library { name: "Open MPI 5.0.7, ob1", file: "openmpi", run: openmpi },
    Library { name: "MPICH 4.0.2 over UCX 1.13.1", file: "mpich", run: mpich },
];

fn openmpi(way: usize) -> String {
    let smsc = ["knem", "cma", "^knem,cma,xpmem"][way];
    format!(
        "enter-tree /srv/trixie env HOME=/root OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun.openmpi -np 2 \
         --oversubscribe --bind-to core --mca pml ob1 --mca btl self,sm --mca smsc {smsc} knem-mpi knem-mpi-check.openmpi 1 {ROUNDS} times"
    )
}

fn mpich(way: usize) -> String {
    let tls = ["posix,self,knem", "posix,self,cma", "posix,self"][way];
    format!(
        "enter-tree /srv/bookworm env HOME=/root UCX_TLS={tls} mpiexec.mpich -n 2 -bind-to core knem-mpi knem-mpi-check.mpich 1 {ROUNDS} times"
    )
}

/// Times of a library: by kind of traffic and size, for each method, in microseconds, turn by turn.
type Times = BTreeMap<(String, u64), [Vec<f64>; 3]>;

/// Measures, and writes the part of docs/performance.md and the plots.
///
/// # Errors
/// If a program fails, or has not used the required method.
pub fn run(site: &Site) -> Result<()> {
    let machine = Machine::prepare(site)?;
    let mut commands = Vec::new();
    for library in &LIBRARIES {
        for _ in 0..TURNS {
            commands.extend((0..WAYS.len()).map(|way| {
                let read = "sed -n 's/^submitted //p' /proc/driver/knem/statistics";
                let line = format!("cd /tmp; {read}; {}; status=$?; {read}; exit $status", (library.run)(way));
                ["sh", "-c", &line].map(str::to_owned).to_vec()
            }));
        }
    }
    let report = machine.run(site, &commands)?;
    let mut text = String::new();
    let mut outcomes = report.outcomes.iter();
    for library in &LIBRARIES {
        let mut times = Times::new();
        for _ in 0..TURNS {
            for (way, name) in WAYS.iter().enumerate() {
                let outcome = outcomes.next().context("the machine ran fewer commands")?;
                let said = String::from_utf8_lossy(&outcome.stdout);
                read(&said, way, outcome.status, &mut times).with_context(|| {
                    format!("{}, {}:\n{said}{}", library.name, name, String::from_utf8_lossy(&outcome.stderr))
                })?;
            }
        }
        text.push_str(&table(library, &times)?);
        let place = site.lab.workspace.file("docs/images").join(format!("{}.svg", library.file));
        fs::write(&place, plot(library, &times)?).with_context(|| format!("cannot write {}", place.display()))?;
    }
    report.demand_health()?;
    println!("{text}");
    page::replace(&site.lab.workspace.file("docs/performance.md"), "clients", &text)
}

/// Parses the output of a run.
fn read(said: &str, way: usize, status: i32, times: &mut Times) -> Result<()> {
    if status != 0 {
        bail!("it ended with status {status}");
    }
    let counts: Vec<u64> = said.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let used = counts.len() == 2 && counts[0] != counts[1];
    if used != (way == 0) {
        bail!("the driver counted {counts:?} requests before and after");
    }
    let mut count = 0;
    for line in said.lines().filter_map(|line| line.strip_prefix("timed ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, bytes, time] = words.as_slice() else { bail!("it printed `timed {line}`") };
        times.entry(((*kind).to_owned(), bytes.parse()?)).or_default()[way].push(time.parse()?);
        count += 1;
    }
    if count == 0 {
        bail!("it printed no time");
    }
    Ok(())
}

fn median(values: &[f64]) -> Result<f64> {
    Ok(Quartiles::of(values).context("a time is missing")?.median)
}

/// Converts bytes in a microsecond to GB/s.
fn speed(bytes: u64, microseconds: f64) -> f64 {
    bytes as f64 / microseconds / 1000.0
}

fn table(library: &Library, times: &Times) -> Result<String> {
    let mut text = format!(
        "### {}\n\n![bandwidth of {}](images/{}.svg)\n\n\
         | Traffic | Size | KNEM, us | KNEM, GB/s | CMA / KNEM | two copies / KNEM |\n|---|---|---|---|---|---|\n",
        library.name, library.name, library.file
    );
    for ((kind, bytes), [knem, cma, copies]) in times {
        let time = median(knem)?;
        let ratio = |peer: &[f64]| -> Result<String> {
            let all = Quartiles::of_ratios(peer, knem).context("a time is missing")?;
            Ok(format!("{:.2} ({:.2} to {:.2})", all.median, all.low, all.high))
        };
        text.push_str(&format!(
            "| {kind} | {} | {time:.1} | {:.1} | {} | {} |\n",
            size(*bytes as f64),
            speed(*bytes, time),
            ratio(cma)?,
            ratio(copies)?
        ));
    }
    text.push('\n');
    Ok(text)
}

fn plot(library: &Library, times: &Times) -> Result<String> {
    let mut lines: Vec<Line> = WAYS.iter().map(|way| Line { name: (*way).to_owned(), points: Vec::new() }).collect();
    for ((_, bytes), ways) in times.iter().filter(|((kind, _), _)| kind == DRAWN) {
        for (line, way) in lines.iter_mut().zip(ways) {
            line.points.push((*bytes as f64, speed(*bytes, median(way)?)));
        }
    }
    bandwidth(&format!("{}: ping-pong in User Mode Linux", library.name), &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_and_must_have_used_its_way() {
        let said =
            |after: u32, time: &str| format!("5\ntimed ping-pong 8192 {time}\nverified 1 messages, 8 bytes\n{after}\n");
        let mut times = Times::new();
        read(&said(9, "4.000"), 0, 0, &mut times).expect("a good run");
        read(&said(5, "8.000"), 1, 0, &mut times).expect("without requests");
        assert!(read(&said(9, "8.000"), 1, 0, &mut times).is_err(), "requests though it is CMA's turn");
        assert!(read(&said(5, "4.000"), 0, 0, &mut times).is_err(), "no requests");
        assert!(read(&said(9, "4.000"), 0, 1, &mut times).is_err(), "status");
        assert!(read("5\n9\n", 0, 0, &mut times).is_err(), "no times");
        assert!(times[&("ping-pong".to_owned(), 8192)][0] == [4.0]);
    }
}
