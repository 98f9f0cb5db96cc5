// SPDX-License-Identifier: CECILL-B
//! `make check`: everything that has to hold before a change is taken, on the host and on every supported kernel.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use clap::Args;

use crate::cache::elapsed;
use crate::kernels::Kernel;
use crate::lab::Lab;
use crate::packages::{self, Packages};
use crate::vm::{Add, Options};
use crate::workspace::Workspace;
use crate::{host, module, namespace, run};

/// A series whose Debian kernels have no Rust: the module is skipped there, and nothing else suffers.
const WITHOUT_RUST: &str = "6.12";

/// The test program that runs on the kernels.
const TESTS: &str = "knem-vm-tests";

/// Memory of the machine the tests run in.
const MEMORY: u32 = 4096;

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
        if let Some(packages) = steps.run("packages", || lab.packages()) {
            on_the_kernels(&lab, &packages, &mut steps);
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

fn on_the_kernels(lab: &Lab, packages: &Packages, steps: &mut Steps) {
    let program = steps.run("building the test program", || test_program(&lab.workspace));
    // Each series by itself, so that one that left the archive does not hide how the others do.
    for series in &lab.workspace.series {
        let Some(kernel) = steps.run(&format!("kernel {series} is in the archive"), || lab.kernel(Some(series))) else {
            continue;
        };
        let Some(program) = &program else { continue };
        steps.run(&format!("driver on kernel {}", kernel.release), || driver(lab, kernel, packages, program));
    }
    steps.run(&format!("kernel {WITHOUT_RUST} without Rust is skipped"), || skipped(lab, packages));
}

/// Installs, boots and runs the test program; unloading is judged by the machine itself.
fn driver(lab: &Lab, kernel: &Kernel, packages: &Packages, program: &Path) -> Result<()> {
    let (image, installed) = lab.image(kernel, packages)?;
    module::demand_no_panic(&installed.symbols)?;
    let options = Options {
        memory: MEMORY,
        timeout: Duration::from_secs(1200),
        adds: vec![Add { path: program.to_owned(), destination: PathBuf::from("/usr/local/bin").join(TESTS) }],
        ..Options::default()
    };
    lab.boot(&image, &[vec![TESTS.to_owned()]], &options)?.demand_success()
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

/// Builds the program that runs on the kernels.
fn test_program(workspace: &Workspace) -> Result<PathBuf> {
    run::run(cargo(workspace).args(["build", "--release", "--bin", TESTS]))?;
    Ok(workspace.target().join("release").join(TESTS))
}

/// The cargo that runs us.
fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&workspace.root);
    command
}
