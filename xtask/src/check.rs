// SPDX-License-Identifier: CECILL-B
//! `make check`: everything that has to hold before a change is taken, on the host and on every supported kernel.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::Args;

use crate::cache::elapsed;
use crate::kernels::Kernel;
use crate::lab::{words, Lab};
use crate::packages::{self, Built, Packages};
use crate::uml::run::Bench;
use crate::uml::{Flavour, DEFAULT_KERNEL};
use crate::vm::{Add, Options};
use crate::workspace::Workspace;
use crate::{host, kmodules, module, namespace, programs, run};

/// A series whose Debian kernels have no Rust: the module is skipped there, and nothing else suffers.
const WITHOUT_RUST: &str = "6.12";

/// What runs on the kernels, one after the other: the interface from Rust, as root and as a member of the group, and from C, for 64
/// and for 32 bits; the example of the guide; random sequences against a model; and last what loads and unloads the driver.
const TESTS: &[&str] = &[
    CONFORMANCE,
    MEMBER,
    "knem-conformance-c",
    "knem-conformance-c32",
    "knem-pingpong",
    "knem-pingpong32",
    "knem-model --cases 200 --seed 1",
    "knem-vm-tests",
];

/// A user who is not root leaves out what takes root. Nothing else is left out on our kernels.
const MEMBER: &str =
    "prlimit --memlock=unlimited setpriv --reuid=nobody --regid=rdma --clear-groups /usr/local/bin/knem-conformance";

/// Memory of the machine the tests run in.
const MEMORY: u32 = 4096;

/// The suite that runs on the debug kernel as well, and that kernel's memory: most of what it can have.
const CONFORMANCE: &str = "knem-conformance";
const DEBUG_MEMORY: u32 = 2560;

/// What to leave out when only a part matters.
#[derive(Debug, Args)]
pub struct Scope {
    /// Only what runs on the host.
    #[arg(long, conflicts_with = "kernels")]
    host: bool,
    /// Only what runs on the kernels.
    #[arg(long)]
    kernels: bool,
}

/// One finished step.
struct Step {
    name: String,
    time: Duration,
    error: Option<anyhow::Error>,
}

/// The steps so far. A failed one does not keep the others from running.
#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn run<T>(&mut self, name: &str, body: impl FnOnce() -> Result<T>) -> Option<T> {
        run::step(&format!("check: {name}"));
        let start = Instant::now();
        let (value, error) = match body() {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        let step = Step { name: name.to_owned(), time: start.elapsed(), error };
        run::step(&format!("check: {}", step.line()));
        if let Some(error) = &step.error {
            eprintln!("{error:#}");
        }
        self.0.push(step);
        value
    }

    fn summary(&self) -> Result<()> {
        println!("\nSummary");
        for step in &self.0 {
            println!("  {}", step.line());
        }
        let failed = self.0.iter().filter(|step| step.error.is_some()).count();
        if failed > 0 {
            bail!("{failed} of {} checks failed", self.0.len());
        }
        Ok(())
    }
}

impl Step {
    fn line(&self) -> String {
        let verdict = if self.error.is_none() { "ok    " } else { "FAILED" };
        format!("{verdict} {:>12}  {}", elapsed(self.time), self.name)
    }
}

/// Runs all steps and prints a summary.
pub fn run(scope: &Scope) -> Result<()> {
    if !scope.host {
        namespace::enter()?;
    }
    let workspace = Workspace::find()?;
    let mut steps = Steps::default();
    if !scope.kernels {
        on_the_host(&workspace, &mut steps);
    }
    if scope.host {
        steps.run("packages", || packages::build(&workspace));
    } else if let Some(lab) = steps.run("the archive", Lab::open) {
        if let Some(built) = steps.run("packages", || built(&workspace)) {
            if !scope.kernels {
                of_the_packages(&lab, &built, &mut steps);
            }
            if let Some(packages) = steps.run("repository", || packages::offered(&workspace, built)) {
                on_the_kernels(&lab, &packages, &mut steps);
            }
        }
    }
    steps.summary()
}

fn on_the_host(workspace: &Workspace, steps: &mut Steps) {
    let cargo = |arguments: &[&str]| run::run(cargo(workspace).args(arguments));
    steps.run("format", || {
        host::need(&["rustfmt"])?;
        cargo(&["fmt", "--all", "--check"])?;
        // The kernel's root is no target of cargo's; rustfmt follows its modules.
        run::run(Command::new("rustfmt").args(["--check", "src-kmod/knem_main.rs"]).current_dir(&workspace.root))
    });
    steps.run("lints", || {
        host::need(&["cargo-clippy"])?;
        cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    });
    steps.run("tests on the host", || {
        // The header is tried in C and in C++.
        host::need(&["cc", "c++"])?;
        cargo(&["test", "--workspace"])
    });
}

fn built(workspace: &Workspace) -> Result<Built> {
    let _lock = packages::lock(workspace)?;
    packages::build(workspace)
}

/// What has to hold of the packages themselves, and in a site's life.
fn of_the_packages(lab: &Lab, built: &Built, steps: &mut Steps) {
    steps.run("packages as lintian and rpmlint see them", || packages::lint(lab, built));
    steps.run("packages built elsewhere are the same", || packages::reproducible(&lab.workspace, built));
    steps.run("packages built as a distribution does", || packages::compare(lab, built));
    // Those were made by the step before.
    steps.run("source packages as lintian and rpmlint see them", || packages::lint_sources(lab));
    steps.run("drills, the fast ones", || {
        run::run(cargo(&lab.workspace).args(["run", "--quiet", "-p", "knem-drills", "--", "--fast", "--jobs", "2"]))
    });
}

fn on_the_kernels(lab: &Lab, packages: &Packages, steps: &mut Steps) {
    let programs = steps.run("building the test programs", || programs::build(&lab.workspace));
    // Each series by itself, so that one that left the archive does not hide how the others do.
    for series in &lab.workspace.series {
        let Some(kernel) = steps.run(&format!("kernel {series} is in the archive"), || lab.kernel(Some(series))) else {
            continue;
        };
        let Some(programs) = &programs else { continue };
        steps.run(&format!("driver on kernel {}", kernel.release), || driver(lab, kernel, packages, programs));
    }
    steps.run(&format!("kernel {WITHOUT_RUST} without Rust is skipped"), || skipped(lab, packages));
    if let Some(programs) = &programs {
        steps.run("driver on the debug kernel", || debug_kernel(lab, programs));
    }
}

/// Runs the conformance suite where KASAN, lockdep and kmemleak watch the driver.
fn debug_kernel(lab: &Lab, programs: &[Add]) -> Result<()> {
    let bench = Bench::prepare(lab, DEFAULT_KERNEL, Flavour::Debug)?;
    let options = Options {
        memory: DEBUG_MEMORY,
        timeout: Duration::from_secs(3600),
        adds: programs.to_vec(),
        ..Options::default()
    };
    let report = bench.run(&[words(CONFORMANCE)], &options, true)?;
    for outcome in &report.outcomes {
        println!("  debug kernel: {CONFORMANCE}: {}", counts(&outcome.stdout));
    }
    report.demand_success()
}

/// Installs, boots and runs the test programs; unloading is judged by the machine itself.
fn driver(lab: &Lab, kernel: &Kernel, packages: &Packages, programs: &[Add]) -> Result<()> {
    let (image, installed) = lab.image(kernel, packages)?;
    module::demand_no_panic(&installed.symbols)?;
    let mut adds = programs.to_vec();
    adds.push(kmodules::add(lab, kernel, kmodules::DMA_ENGINE)?);
    let options = Options { memory: MEMORY, timeout: Duration::from_secs(3600), adds, ..Options::default() };
    let commands: Vec<Vec<String>> = TESTS.iter().map(|line| words(line)).collect();
    let report = lab.boot(&image, &commands, &options)?;
    let mut left_out = Vec::new();
    for (line, outcome) in TESTS.iter().zip(&report.outcomes) {
        let counts = counts(&outcome.stdout);
        println!("  kernel {}: {line}: {counts}", kernel.release);
        if *line != MEMBER && counts.ends_with(" skipped") && !counts.ends_with(" 0 skipped") {
            left_out.push(*line);
        }
    }
    report.demand_success()?;
    if !left_out.is_empty() {
        bail!("tests were skipped that can run on this kernel: {}", left_out.join(", "));
    }
    Ok(())
}

/// The last line of a test program's output: as a rule, its counts.
fn counts(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.trim_end().lines().next_back().map_or_else(String::new, |line| line.trim_start_matches("# ").to_owned())
}

/// Beside a kernel that cannot carry the module, everything installs, is healthy, and says why there is no module.
fn skipped(lab: &Lab, packages: &Packages) -> Result<()> {
    let kernel = lab.kernel(Some(WITHOUT_RUST))?;
    let installed = lab.install(kernel, packages)?;
    installed.demand_healthy()?;
    if installed.dkms_status.lines().any(|line| line.contains(&kernel.release) && line.contains("installed")) {
        bail!("a module was built for {}", kernel.release);
    }
    let sentence = installed
        .log
        .lines()
        .find(|line| line.contains("knem: not built for kernel") && line.contains(&kernel.release))
        .context("the installation does not say why there is no module")?;
    println!("  said: {}", sentence.trim());
    Ok(())
}

/// The cargo that runs us.
fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&workspace.root);
    command
}
