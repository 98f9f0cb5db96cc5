// SPDX-License-Identifier: CECILL-B
//! `make demo`: builds the packages, boots a stock Debian kernel, and exchanges verified data between two processes.

use std::time::Duration;

use anyhow::{bail, Result};
use clap::Args;

use knem_lab::lab::{words, Lab};
use knem_lab::vm::{Options, Outcome};
use knem_lab::{namespace, run};
use knem_packages::apt_repository;

/// Arguments of `cargo xtask demo`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Boot this kernel: a series such as 7.3, or a full release [default: the kernel of Debian 13]
    #[arg(long, value_name = "KERNEL")]
    kernel: Option<String>,
}

/// The benchmark: KNEM and two of its peers, with few copies of each size because the machine is emulated.
const BENCH: &str = "knem bench --methods knem-cached,vmread,shm --sizes 4K..64M --iterations 5 --rounds 1";
/// Where the table of copies ends.
const AFTER_COPIES: &str = "\nCost of a region";

/// Builds, installs, boots, runs the benchmark, and checks its output.
pub fn run(arguments: &Arguments) -> Result<()> {
    namespace::enter()?;
    let lab = Lab::open()?;
    let kernel = lab.kernel(arguments.kernel.as_deref())?;
    run::step("building the packages");
    let packages = apt_repository(&lab.workspace)?;
    let (image, installed) = lab.image(kernel, &packages, None)?;
    println!("In Debian {}, after apt-get install knem-dkms knem-tools:", kernel.distribution);
    for line in installed.dkms_status.lines() {
        println!("  dkms status: {line}");
    }
    println!("  the module's Rust part: {}", installed.rust);

    let commands: Vec<Vec<String>> =
        ["uname -r", "dkms status", "ls -l /dev/knem", BENCH, "cat /dev/knem", "knem stat"]
            .iter()
            .map(|line| words(line))
            .collect();
    // Each command is printed before its output.
    let shown: Vec<Vec<String>> = commands
        .iter()
        .map(|command| {
            let line = command.join(" ");
            words("sh -c").into_iter().chain([format!("echo '# {line}'; exec {line}")]).collect()
        })
        .collect();
    let options = Options { timeout: Duration::from_secs(900), ..Options::default() };
    let report = lab.boot(&image, &shown, &options)?;
    report.demand_success()?;
    verify(&report.outcomes, &kernel.release)?;
    println!("demo: kernel {} loaded the driver from the package, and every byte was verified", kernel.release);
    Ok(())
}

/// Checks the output for the facts that the demonstration shows.
fn verify(outcomes: &[Outcome], release: &str) -> Result<()> {
    let texts: Vec<String> =
        outcomes.iter().map(|outcome| String::from_utf8_lossy(&outcome.stdout).into_owned()).collect();
    let [kernel, dkms, node, bench, statistics, stat] = texts.as_slice() else {
        bail!("the machine ran {} commands instead of six", texts.len());
    };
    if !kernel.lines().any(|line| line == release) {
        bail!("the machine runs another kernel than {release}: {kernel}");
    }
    let installed = |line: &str| line.contains(release) && line.ends_with("installed");
    if !dkms.lines().any(installed) {
        bail!("dkms status does not say installed for {release}: {dkms}");
    }
    let right_node = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.starts_with(&["crw-rw----", "1", "root", "rdma"]) && line.ends_with("/dev/knem")
    };
    if !node.lines().any(right_node) {
        bail!("/dev/knem is not crw-rw---- root rdma: {node}");
    }
    // Every line of a size ends in the word, and both ends of the range are there.
    let bench = bench.split(AFTER_COPIES).next().unwrap_or_default();
    let sizes: Vec<&str> =
        bench.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit())).collect();
    if let Some(line) = sizes.iter().find(|line| !line.trim_end().ends_with("verified")) {
        bail!("a size was not verified: {line}");
    }
    for size in ["4 KiB", "64 MiB"] {
        if !sizes.iter().any(|line| line.trim_start().starts_with(size)) {
            bail!("there is no line for {size}: {bench}");
        }
    }
    if statistics.lines().count() < 2 || stat.lines().count() < 2 {
        bail!("the statistics are empty");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(node: &str, bench: &str) -> Vec<Outcome> {
        let release = "7.2.12+deb13-amd64";
        [
            format!("# uname -r\n{release}\n"),
            format!("# dkms status\nknem/2.0.0, {release}, x86_64: installed\n"),
            format!("# ls\n{node}\n"),
            bench.to_owned(),
            "# cat\nrequests: 1\n".to_owned(),
            "# knem stat\nrequests 1\n".to_owned(),
        ]
        .map(|stdout| Outcome { status: 0, stdout: stdout.into_bytes(), stderr: Vec::new() })
        .into()
    }

    const NODE: &str = "crw-rw---- 1 root rdma 10, 262 Nov 21 01:00 /dev/knem";
    const SHOWN: &str = "size rate\n  4 KiB  1.0 verified\n  1 MiB  1.0 verified\n 64 MiB  1.0 verified\n\nCost of a region\n 4 KiB 1us\n";

    #[test]
    fn the_facts_are_looked_for() {
        assert!(verify(&outcomes(NODE, SHOWN), "7.2.12+deb13-amd64").is_ok());
        assert!(verify(&outcomes(NODE, SHOWN), "7.3.4+deb13-amd64").is_err());
        assert!(verify(&outcomes(&NODE.replace("rw----", "------"), SHOWN), "7.2.12+deb13-amd64").is_err());
        assert!(verify(&outcomes(&NODE.replace("rdma", "root"), SHOWN), "7.2.12+deb13-amd64").is_err());
        for bench in ["4 KiB 1.0 verified\n", &SHOWN.replace("1 MiB  1.0 verified", "1 MiB  1.0 different")] {
            assert!(verify(&outcomes(NODE, bench), "7.2.12+deb13-amd64").is_err());
        }
    }
}
