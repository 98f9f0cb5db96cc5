// SPDX-License-Identifier: CECILL-B
//! `make check`: all checks that a change must pass, on the host and on every supported kernel; and `make check-all`:
//! the same with each kernel in both ways and every flavour.

use std::cmp::Ordering;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};
use clap::Args;

use crate::uml::{Bench, DEFAULT_KERNEL};
use crate::{arm64, budget, programs, words};
use knem_lab::cache::elapsed;
use knem_lab::kernels::{compare, Kernel};
use knem_lab::lab::{words, Lab};
use knem_lab::packages::Packages;
use knem_lab::uml::Flavour;
use knem_lab::userland::{Installed, Way};
use knem_lab::vm::{Add, Options};
use knem_lab::workspace::Workspace;
use knem_lab::{host, kmodules, module, namespace, run};
use knem_packages::object;
use knem_packages::{self as packages, Built};

/// One boot of a kernel with the driver, and the programs that run there.
struct Lane {
    /// Series, or flavour of one.
    kernel: &'static str,
    /// How the driver is built.
    way: Way,
    /// The programs, which run one after the other.
    tests: &'static [&'static str],
    /// Whether it takes `--all`.
    extra: bool,
}

const fn lane(kernel: &'static str, way: Way, tests: &'static [&'static str], extra: bool) -> Lane {
    Lane { kernel, way, tests, extra }
}

/// All lanes; docs/development.md has this table. Each series of Cargo.toml has one in each way that Debian's kernel
/// allows.
const LANES: &[Lane] = &[
    lane("5.10", Way::Object, CORE, false),
    lane("6.1", Way::Object, SUITE, false),
    lane("6.12", Way::Object, WHOLE, false),
    lane("7.3", Way::Object, SUITE, false),
    lane("7.3", Way::Kernel, WHOLE, false),
    lane("6.12", Way::Compile, CORE, true),
    lane("6.12-cloud", Way::Object, CORE, true),
    lane("6.12-rt", Way::Object, CORE, true),
    lane("7.2", Way::Object, SUITE, true),
    lane("7.2", Way::Kernel, WHOLE, true),
    lane("7.3-cloud", Way::Object, CORE, true),
    lane("7.3-rt", Way::Object, CORE, true),
];

/// The driver implements the interface and protects members of the group from each other.
const CORE: &[&str] = &["knem selftest", CONFORMANCE, LIMITS];

/// The interface from Rust, as root and as a member of the group with limits, and from C, for 64 and for 32 bits; one
/// member against another; the example of the guide; random sequences against a model.
const SUITE: &[&str] = WHOLE.split_at(WHOLE.len() - 1).0;

/// The same, then the tests that load and unload the driver, with parameters and DMA engines.
const WHOLE: &[&str] = &[
    "knem selftest",
    CONFORMANCE,
    MEMBER,
    LIMITS,
    "knem-conformance-c",
    "knem-conformance-c32",
    "knem-pingpong",
    "knem-pingpong32",
    "knem-model --cases 200 --seed 1",
    LIFE,
];

const LIFE: &str = "knem-vm-tests";

/// What else runs on kernels, by the names of the checks.
const INSTRUCTIONS: &str = "instructions of the driver's calls";
const CLIENTS: &str = "MPI libraries over the driver, the short form";
const DEBUG: &str = "driver on the debug kernel";
const RELIABILITY: &str = "failures and storms on the debug kernel, the short form";

/// The suite as a batch system runs a job: an ordinary member, in a control group with cpuset, cpu.max, pids.max and
/// memory.max. It leaves out what takes root.
const MEMBER: &str = "knem-limits confine /usr/local/bin/knem-conformance";

/// Attackers beside a victim of another user.
const LIMITS: &str = "knem-limits";

/// What judges the crates by deny.toml, and the release that is used.
const DENY: (&str, &str) = ("cargo-deny", "0.20.2");

/// Why a test may be skipped on a kernel. Everything else that is skipped is a failure.
struct Excuse {
    /// The start of the test's name.
    test: &'static str,
    /// What it says it is skipped for, from its start.
    reason: &'static str,
    /// Kernels before this series only; those with PREEMPT_RT if empty.
    before: &'static str,
}

const EXCUSES: &[Excuse] = &[
    // cgroup_attach_task_all leaves the unified hierarchy out.
    excuse("binding::thread_is_in_the_callers_control_group", "kernel ", "5.16"),
    // Threads of processes for drivers report since 6.10 that they are killed.
    excuse("offload::thread", "kernel ", "6.12"),
    excuse("closing::requests_fail_when_the_process_of_the_thread", "kernel ", "6.12"),
    // A page that is pinned for reading alone is copied by its owner's next write, where memory was read-only in
    // between.
    excuse("kinds::read_only_memory_follows_its_owner", "kernel ", "5.19"),
    excuse("kinds::memory_whose_protection_changes_follows_its_owner", "kernel ", "5.19"),
    // A long-term pin of what userfaultfd has not filled in yet fails at once.
    excuse("stalls::pinning_stalled_memory_blocks_no_other", "kernel ", "6.3"),
    excuse("kinds::secret_memory_is_efault", "no secret memory", "5.14"),
    // Kernels without vhost_task have kernel threads instead.
    excuse("thread::threads_count_among_a_groups_tasks", "kernel ", "6.10"),
    excuse("thread::threads_move_no_task_between_groups", "kernel ", "6.10"),
    excuse("thread::quota_holds_the_thread", "kernel ", "5.16"),
    // Debian 11, where knem-tools is not installed.
    excuse("weaknesses::w", "the packages are not installed", "6.1"),
    // PREEMPT_RT has none.
    excuse("kinds::transparent_huge_pages", "this kernel has no transparent huge pages", ""),
    excuse("kinds::private_mapping_of_huge_pages_can_be_read", "files in memory cannot have huge pages", ""),
    // Before Linux 6.13 the hypervisor's clock has no mapping of its own.
    excuse("kinds::special_mappings_are_efault", "no clock's pages", "7.2"),
];

const fn excuse(test: &'static str, reason: &'static str, before: &'static str) -> Excuse {
    Excuse { test, reason, before }
}

/// Memory in MiB and processors of the machine the tests run in: one processor is outside of the member's cpuset, which
/// still has two.
const MEMORY: u32 = 4096;
const PROCESSORS: u32 = 3;

/// The suite that runs on the debug kernel as well, and that kernel's memory: most of what it can have.
const CONFORMANCE: &str = "knem-conformance";
const DEBUG_MEMORY: u32 = 2560;

/// Arguments of `cargo xtask check`.
#[derive(Debug, Args)]
pub struct Scope {
    /// Run only the checks on the host.
    #[arg(long, conflicts_with_all = ["packages", "kernels", "all"])]
    host: bool,
    /// Run only the checks of the packages: lintian and rpmlint, reproducibility, the fast drills.
    #[arg(long, conflicts_with_all = ["kernels", "all"])]
    packages: bool,
    /// Run only the checks on the kernels.
    #[arg(long)]
    kernels: bool,
    /// Run every series in both ways and all flavours as well, which takes about twenty minutes more.
    #[arg(long)]
    all: bool,
    /// Run only the checks on kernels with one of these words in their names, such as 6.12, "7.3 (object)", MPI or
    /// debug.
    #[arg(long = "lane", value_name = "WORD", requires = "kernels")]
    lanes: Vec<String>,
}

/// One finished step.
struct Step {
    name: String,
    time: Duration,
    error: Option<anyhow::Error>,
}

/// The steps so far. After a failed step the others still run.
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
    if !scope.kernels && !scope.packages {
        on_the_host(&workspace, &mut steps);
    }
    if scope.host {
        steps.run("packages", || packages::build(&workspace));
    } else if let Some(lab) = steps.run("the archive", Lab::open) {
        steps.run("the Rust object", || object::check(&lab));
        if let Some(built) = steps.run("packages", || built(&workspace)) {
            if !scope.kernels {
                of_the_packages(&lab, &built, &mut steps);
            }
            if !scope.packages {
                if let Some(packages) = steps.run("repository", || packages::offered(&workspace, built)) {
                    on_the_kernels(&lab, &packages, scope, &mut steps);
                }
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
    steps.run("words and columns", || words::demand_none(workspace));
    steps.run("lints", || {
        host::need(&["cargo-clippy"])?;
        cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    });
    steps.run("licences of the files", || {
        host::need(&["reuse"])?;
        run::run(host::command("reuse").args(["lint", "--quiet"]).current_dir(&workspace.root))
    });
    steps.run("licences, duplicates and sources of the crates", || {
        let program = knem_packages::cargo_tool::get(workspace, DENY.0, DENY.1)?;
        run::run(Command::new(program).args(["check", "licenses", "bans", "sources"]).current_dir(&workspace.root))
    });
    steps.run("documentation of the crates", || {
        let mut command = self::cargo(workspace);
        run::run(command.args(["doc", "--quiet", "--no-deps", "--workspace"]).env("RUSTDOCFLAGS", "-D warnings"))
    });
    steps.run("tests on the host", || {
        // The header is tried in C and in C++, manual pages with mandoc, statistics with Prometheus' library.
        host::need(&["cc", "c++", "mandoc", host::PROMETHEUS_CLIENT])?;
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

fn on_the_kernels(lab: &Lab, packages: &Packages, scope: &Scope, steps: &mut Steps) {
    let Some(programs) = steps.run("building the test programs", || programs::build(&lab.workspace)) else { return };
    for lane in LANES.iter().filter(|lane| scope.takes(lane)) {
        // A distribution past its end leaves the mirrors some day. A series that a distribution has lost is a failure
        // of its lane.
        let gone = lab.missing().join(" and ");
        if !gone.is_empty() && lab.kernel(Some(lane.kernel)).is_err() {
            run::step(&format!("check: {} is SKIPPED: the mirror has nothing of Debian {gone} any more", lane.name()));
            continue;
        }
        steps.run(&lane.name(), || lane.run(lab, packages, &programs));
    }
    if scope.all && scope.lanes.is_empty() {
        for kernel in arm64::kernels(lab) {
            steps.run(&format!("driver on kernel {kernel} of arm64 (object)"), || arm64::run_on(lab, &kernel, true));
        }
    }
    if scope.names(INSTRUCTIONS) {
        steps.run(INSTRUCTIONS, || budget::check(lab, packages));
    }
    if scope.names(CLIENTS) {
        steps.run(CLIENTS, || {
            run::run(cargo(&lab.workspace).args(["run", "--quiet", "-p", "knem-clients", "--", "--short"]))
        });
    }
    if scope.names(DEBUG) {
        steps.run(DEBUG, || debug_kernel(lab, &programs));
    }
    if scope.names(RELIABILITY) {
        steps.run(RELIABILITY, || {
            run::run(cargo(&lab.workspace).args(["run", "--quiet", "-p", "knem-soak", "--", "--short"]))
        });
    }
}

impl Scope {
    fn takes(&self, lane: &Lane) -> bool {
        if self.lanes.is_empty() {
            return self.all || !lane.extra;
        }
        self.names(&lane.name())
    }

    /// Whether a check of this name on the kernels is to be run.
    fn names(&self, name: &str) -> bool {
        self.lanes.is_empty() || self.lanes.iter().any(|word| name.contains(word.as_str()))
    }
}

/// Runs the conformance suite on the debug kernel with KASAN, lockdep and kmemleak.
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

impl Lane {
    fn name(&self) -> String {
        format!("driver on kernel {} ({})", self.kernel, self.way.name())
    }

    /// Installs, boots and runs the test programs; unloading is judged by the machine itself.
    fn run(&self, lab: &Lab, packages: &Packages, programs: &[Add]) -> Result<()> {
        let kernel = lab.kernel(Some(self.kernel))?;
        let (image, installed) = lab.image(kernel, packages, self.forced(kernel))?;
        self.demand_way(&installed)?;
        module::demand_no_panic(&installed.symbols)?;
        let mut adds = programs.to_vec();
        adds.extend(programs::of_the_tools(&lab.workspace, &installed)?);
        if self.tests.contains(&LIFE) {
            adds.push(kmodules::add(lab, kernel, kmodules::DMA_ENGINE)?);
        }
        let options = Options {
            memory: MEMORY,
            cpus: PROCESSORS,
            timeout: Duration::from_secs(3600),
            adds,
            ..Options::default()
        };
        let commands: Vec<Vec<String>> = self.tests.iter().map(|line| words(line)).collect();
        let report = lab.boot(&image, &commands, &options)?;
        let mut left_out = Vec::new();
        for (line, outcome) in self.tests.iter().zip(&report.outcomes) {
            println!("  kernel {}: {line}: {}", kernel.release, counts(&outcome.stdout));
            for (test, reason) in skipped(&outcome.stdout) {
                if *line == MEMBER || excused(kernel, &test, &reason) {
                    println!("    skipped: {test}: {reason}");
                } else {
                    left_out.push(format!("{test}: {reason}"));
                }
            }
        }
        report.demand_success()?;
        if !left_out.is_empty() {
            bail!("tests were skipped that can run on this kernel:\n{}", left_out.join("\n"));
        }
        Ok(())
    }

    /// The way, where it is not the one that a site gets anyhow.
    fn forced(&self, kernel: &Kernel) -> Option<Way> {
        let default = if kernel.has_rust() { Way::Kernel } else { Way::Object };
        (self.way != default).then_some(self.way)
    }

    /// Fails unless the module is built in this way, and says so.
    fn demand_way(&self, installed: &Installed) -> Result<()> {
        let expected = if self.way == Way::Kernel { "kernel: " } else { "object: " };
        if !installed.rust.starts_with(expected) {
            bail!("the module says it is built as `{}`, and `{expected}` was expected", installed.rust);
        }
        run::step(&format!("the module's Rust part: {}", installed.rust));
        Ok(())
    }
}

/// The tests that a program's output says were skipped, and why.
fn skipped(output: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(output);
    let tests = text.lines().filter_map(|line| {
        let (test, reason) = line.strip_prefix("ok ")?.split_once(" # SKIP ")?;
        let (_number, name) = test.split_once(" - ")?;
        Some((name.to_owned(), reason.to_owned()))
    });
    tests.collect()
}

fn excused(kernel: &Kernel, test: &str, reason: &str) -> bool {
    EXCUSES.iter().any(|excuse| {
        test.starts_with(excuse.test)
            && reason.starts_with(excuse.reason)
            && match excuse.before {
                "" => kernel.flavour.starts_with("rt-"),
                before => compare(&kernel.series, before) == Ordering::Less,
            }
    })
}

/// Returns the last line of a test program's output: usually its counts.
fn counts(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.trim_end().lines().next_back().map_or_else(String::new, |line| line.trim_start_matches("# ").to_owned())
}

/// Returns the path of the running cargo.
fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&workspace.root).env(host::INSTALL, "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use knem_lab::kernels::offered;

    #[test]
    fn every_series_has_its_lanes() {
        let workspace = Workspace::find().expect("the workspace");
        for series in &workspace.series {
            assert!(LANES.iter().any(|lane| lane.kernel == series), "no lane for {series}");
        }
        for lane in LANES {
            let series = lane.kernel.split('-').next().expect("a series");
            assert!(workspace.series.iter().any(|known| known == series), "{} is not in Cargo.toml", lane.kernel);
        }
    }

    /// The jobs of the workflow together are `make check`: each lane and check on the kernels belongs to exactly one of
    /// them.
    #[test]
    fn the_workflow_leaves_nothing_out() {
        let workspace = Workspace::find().expect("the workspace");
        let workflow = std::fs::read_to_string(workspace.file(".github/workflows/check.yml")).expect("readable");
        let words: Vec<&str> = workflow
            .lines()
            .filter_map(|line| line.trim().strip_prefix("lane: ["))
            .flat_map(|list| list.trim_end_matches(']').split(", "))
            .map(|word| word.trim_matches('"'))
            .collect();
        let lanes = LANES.iter().filter(|lane| !lane.extra).map(Lane::name);
        let others = [INSTRUCTIONS, CLIENTS, DEBUG, RELIABILITY].map(str::to_owned);
        for name in lanes.chain(others) {
            let jobs = words.iter().filter(|word| name.contains(**word)).count();
            assert_eq!(jobs, 1, "{name} is in {jobs} of the workflow's jobs: {words:?}");
        }
        assert!(
            workflow.contains(&format!("install --locked {} --version {}\n", DENY.0, DENY.1)),
            "another cargo-deny"
        );
        for part in ["host", "packages", "kernels"] {
            assert!(workflow.contains(&format!(".ci/run {part}")), "no job for {part}");
        }
    }

    #[test]
    fn what_is_skipped_is_found_by_name() {
        let output = b"TAP version 14\n1..3\nok 1 - a::b (W1)\nok 2 - c::d (2.3) # SKIP kernel 5.10: none\nok 3 - e # SKIP it is\n";
        let found = skipped(output);
        assert_eq!(found[0], ("c::d (2.3)".to_owned(), "kernel 5.10: none".to_owned()));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn excuses_end_with_a_series() {
        let test = "binding::thread_is_in_the_callers_control_group (R23 W21)";
        let kernel = |release: &str| {
            let text = |part: &str| format!("Package: linux-{part}-{release}\nVersion: 1\nSuite: s\n\n");
            offered("s", &(text("headers") + &text("image"))).pop().expect("a kernel")
        };
        let (old, new, rt) = ("5.10.0-32-amd64", "6.1.0-50-amd64", "6.12.117+deb13-rt-amd64");
        assert!(excused(&kernel(old), test, "kernel 5.10: x"));
        assert!(!excused(&kernel(new), test, "kernel 5.10: x"));
        assert!(!excused(&kernel(old), test, "it takes root"));
        assert!(!excused(&kernel(old), "copies::x", "kernel 5.10: x"));
        let huge = "this kernel has no transparent huge pages";
        assert!(excused(&kernel(rt), "kinds::transparent_huge_pages (R30)", huge));
        assert!(!excused(&kernel(new), "kinds::transparent_huge_pages (R30)", huge));
    }
}
