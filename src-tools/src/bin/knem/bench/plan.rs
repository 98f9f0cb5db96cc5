// SPDX-License-Identifier: CECILL-B
//! The options of `knem bench`.

use std::path::Path;

use knem::CopyFlags;
use nix::unistd::{access, AccessFlags};

use super::measure::Plan;
use super::methods::Method;
use super::order::any_seed;
use super::output::plot;
use crate::cli::BenchArgs;
use crate::exit::Failure;
use crate::sizes::parse_sizes;

/// Default sizes.
const SIZES: &str = "4K..64M";
/// Sizes with `--quick`.
const QUICK_SIZES: &str = "4K,64K,1M,16M";
/// Maximum number of rounds with `--quick`.
const QUICK_ROUNDS: u32 = 3;

/// The parsed options.
#[derive(Debug)]
pub(crate) struct Options {
    /// Methods to try.
    pub(crate) methods: Vec<Method>,
    /// The methods were given by name, so each must work.
    pub(crate) by_name: bool,
    /// Copy from the first process to the second.
    pub(crate) write: bool,
    /// Empty the caches before each copy.
    pub(crate) cold: bool,
    /// Measure creating and destroying a region as well.
    pub(crate) region_cost: bool,
    /// Flags of KNEM copies.
    pub(crate) flags: CopyFlags,
    /// The sizes were given, so each must fit.
    pub(crate) sizes_named: bool,
    plan: Plan,
}

impl Options {
    /// Parses the options.
    pub(crate) fn parse(arguments: &BenchArgs) -> Result<Self, Failure> {
        let usual_sizes = if arguments.quick { QUICK_SIZES } else { SIZES };
        let sizes = parse_sizes(arguments.sizes.as_deref().unwrap_or(usual_sizes))
            .map_err(|reason| Failure::Usage(format!("--sizes: {reason}")))?;
        if arguments.iterations == Some(0) {
            return Err(Failure::Usage("--iterations: must be at least 1".to_owned()));
        }
        if arguments.rounds == 0 {
            return Err(Failure::Usage("--rounds: must be at least 1".to_owned()));
        }
        for file in &arguments.plot {
            check_plot(file)?;
        }
        let methods = match &arguments.methods {
            Some(text) => Method::parse_list(text).map_err(|reason| Failure::Usage(format!("--methods: {reason}")))?,
            None => Method::usual(arguments.write),
        };
        let group = |name: &str| matches!(name.trim(), "all" | "knem" | "peers");
        let by_name = arguments.methods.as_ref().is_some_and(|text| !text.split(',').any(group));
        let rounds = if arguments.quick { arguments.rounds.min(QUICK_ROUNDS) } else { arguments.rounds };
        Ok(Self {
            by_name,
            sizes_named: arguments.sizes.is_some(),
            write: arguments.write,
            cold: arguments.cold,
            region_cost: !arguments.no_region_cost,
            flags: if arguments.pin_local { CopyFlags::PIN_LOCAL } else { CopyFlags::NONE },
            plan: Plan {
                methods: Vec::new(),
                sizes,
                iterations: arguments.iterations,
                quick: arguments.quick,
                rounds,
                warmup: arguments.warmup,
                verify: !arguments.no_verify,
                seed: arguments.seed.unwrap_or_else(any_seed),
            },
            methods,
        })
    }

    /// Whether a method needs the driver.
    pub(crate) fn needs_device(&self) -> bool {
        self.methods.iter().any(|method| method.is_knem())
    }

    /// Returns the sizes.
    pub(crate) fn sizes(&self) -> &[usize] {
        &self.plan.sizes
    }

    /// Returns the plan for the methods and sizes that work here.
    pub(crate) fn plan(&self, methods: Vec<Method>, sizes: Vec<usize>) -> Plan {
        Plan { methods, sizes, ..self.plan.clone() }
    }
}

/// Checks that a plot can be written, before minutes are spent on measuring.
fn check_plot(file: &Path) -> Result<(), Failure> {
    plot::Format::of(file)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Failure::Usage(format!("--plot: there is no directory {}", folder.display())));
    }
    if file.is_dir() {
        return Err(Failure::Usage(format!("--plot: {} is a directory: use the path of a file", file.display())));
    }
    let (checked, needed) =
        if file.exists() { (file, AccessFlags::W_OK) } else { (folder, AccessFlags::W_OK | AccessFlags::X_OK) };
    access(checked, needed).map_err(|errno| {
        Failure::Usage(format!(
            "--plot: cannot write {}: {}; use a file in a writable directory",
            file.display(),
            errno.desc()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn understood(options: &[&str]) -> Result<Options, Failure> {
        let line = ["knem", "bench"].iter().chain(options);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Bench(arguments) => Options::parse(&arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_options_everything_is_tried() {
        let options = understood(&[]).unwrap();
        assert_eq!(options.methods, Method::ALL);
        assert!(!options.by_name && options.needs_device() && options.region_cost);
        assert!(options.sizes().len() == 15 && !options.sizes_named);
    }

    #[test]
    fn peers_need_no_driver() {
        let options = understood(&["--methods", "peers"]).unwrap();
        assert!(!options.needs_device() && !options.by_name);
        assert!(understood(&["-m", "shm,memcpy"]).unwrap().by_name);
    }

    #[test]
    fn quick_is_quick() {
        let options = understood(&["--quick", "--seed", "5"]).unwrap();
        let plan = options.plan(vec![Method::Shm], vec![1]);
        assert_eq!((options.sizes().len(), plan.sizes.len(), plan.rounds, plan.seed), (4, 1, 3, 5));
        let options = understood(&["-q", "-s", "1M"]).unwrap();
        assert!(options.sizes() == [1 << 20] && options.sizes_named);
    }

    #[test]
    fn wrong_values_are_wrong_usage() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("plot.svg");
        std::fs::create_dir(&folder).unwrap();
        for (options, name) in [
            (["--iterations", "0"], "--iterations"),
            (["--rounds", "0"], "--rounds"),
            (["--methods", "cma"], "--methods"),
            (["--sizes", "4X"], "--sizes"),
            (["--plot", "plot.gif"], "--plot"),
            (["--plot", "/nowhere/plot.svg"], "--plot"),
            (["--plot", folder.to_str().unwrap()], "--plot"),
        ] {
            let failure = understood(&options).unwrap_err();
            assert_eq!(failure.status(), 2, "{options:?}");
            assert!(failure.to_string().starts_with(name), "{failure}");
        }
    }
}
