// SPDX-License-Identifier: CECILL-B
//! A machine of a drill: a throw-away tree above layers that never change, which can be entered any number of times,
//! and booted.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use knem_lab::kernels::Kernel;
use knem_lab::namespace::{directory, Mount, Upper};
use knem_lab::run;
use knem_lab::userland::Stack;
use knem_lab::vm::image::Without;
use knem_lab::vm::{Image, Options, Outcome};
use tempfile::TempDir;

use crate::said::Said;
use crate::shell::{Shell, METADATA};
use crate::site::Site;

/// A machine, removed when this is dropped.
#[derive(Debug)]
pub struct Machine {
    site: Site,
    /// The layers below it, topmost first.
    layers: Vec<PathBuf>,
    home: TempDir,
    /// Whether it is entered. Two overlays with one writable directory would destroy each other.
    busy: RefCell<()>,
}

/// The output of the commands that ran in the booted machine.
#[derive(Debug)]
pub struct Report {
    /// One for each command.
    pub said: Vec<Said>,
}

impl Machine {
    /// Creates a machine with a kernel that is built with Rust, and everything for a build on its crate, whose metadata
    /// was generated before.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn with_rust(site: &Site, kernel: &Kernel) -> Result<Self> {
        let mut machine = Self::above(site, &site.with_rust(kernel)?)?;
        let place = machine.home.path().join("metadata");
        directory(&place.join(METADATA))?;
        let from = site.metadata(kernel)?.join(&kernel.release);
        // Links instead of copies: a layer is never written to.
        run::quiet(
            Command::new("cp").args(["-a", "-l", "-T"]).arg(from).arg(place.join(METADATA).join(&kernel.release)),
        )?;
        machine.layers.insert(0, place);
        Ok(machine)
    }

    /// Creates a machine above these layers, whose apt knows the packages.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn above(site: &Site, stack: &Stack) -> Result<Self> {
        let machine = Self::of(site, stack.layers.clone())?;
        machine.inside(|shell| shell.offer(site.packages()))?;
        Ok(machine)
    }

    /// Creates another machine with the present state of this one, which must not change as long as the other exists.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn branch(&self) -> Result<Self> {
        let mut layers = vec![self.home.path().join("upper")];
        layers.extend(self.layers.iter().cloned());
        let branch = Self::of(&self.site, layers)?;
        // apt's indexes.
        let lists = |machine: &Self| machine.home.path().join("lists");
        run::quiet(Command::new("cp").args(["-a", "-T"]).arg(lists(self)).arg(lists(&branch)))?;
        Ok(branch)
    }

    fn of(site: &Site, layers: Vec<PathBuf>) -> Result<Self> {
        let home = site.lab().scratch("machine")?;
        for name in ["upper", "work", "tree", "lists"] {
            directory(&home.path().join(name))?;
        }
        Ok(Self { site: site.clone(), layers, home, busy: RefCell::new(()) })
    }

    /// Enters the tree.
    ///
    /// # Errors
    /// If that fails, or `work` does.
    pub fn inside<T>(&self, work: impl FnOnce(&Shell<'_>) -> Result<T>) -> Result<T> {
        let _alone = self.busy.try_borrow_mut().ok().context("the machine is entered already")?;
        let (upper, overlay, tree) =
            (self.home.path().join("upper"), self.home.path().join("work"), self.home.path().join("tree"));
        let layers: Vec<&Path> = self.layers.iter().map(PathBuf::as_path).collect();
        let _mounted = Mount::overlay(&layers, Some(Upper { upper: &upper, work: &overlay }), &tree)?;
        // The shell is left before the tree is unmounted.
        let shell = Shell::enter(&self.site, &tree, &self.home.path().join("lists"))?;
        work(&shell)
    }

    /// Inspects the tree from outside, with nothing mounted in it.
    ///
    /// # Errors
    /// If `work` fails.
    pub fn outside<T>(&self, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let _alone = self.busy.try_borrow_mut().ok().context("the machine is entered")?;
        let (upper, tree) = (self.home.path().join("upper"), self.home.path().join("tree"));
        let mut layers = vec![upper.as_path()];
        layers.extend(self.layers.iter().map(PathBuf::as_path));
        let _mounted = Mount::overlay(&layers, None, &tree)?;
        work(&tree)
    }

    /// Creates a disk image of the present tree, in the machine's own directory. It replaces the previous one.
    ///
    /// # Errors
    /// If the tree has no such kernel.
    pub fn image(&self, kernel: &Kernel, without: Without) -> Result<Image> {
        let _alone = self.busy.try_borrow_mut().ok().context("the machine is entered")?;
        let place = self.home.path().join("image");
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        directory(&place)?;
        self.site.log.line(&format!("making a disk with kernel {}", kernel.release))?;
        let upper = self.home.path().join("upper");
        let mut layers = vec![upper.as_path()];
        layers.extend(self.layers.iter().map(PathBuf::as_path));
        Image::once(&layers, kernel, &place, without)
    }

    /// Boots the present tree, without the packages that build modules, and runs lines of shell in it. Changes in the
    /// booted machine are discarded.
    ///
    /// # Errors
    /// If it does not boot, or the kernel or the driver has problems. The caller checks the exit status of the
    /// commands.
    pub fn boot(&self, kernel: &Kernel, commands: &[&str]) -> Result<Report> {
        let image = self.image(kernel, Without::Building)?;
        self.boot_image(&image, commands, &options())
    }

    /// As [`boot`](Self::boot), with an existing disk image, and the caller's options.
    ///
    /// # Errors
    /// As for [`boot`](Self::boot).
    pub fn boot_image(&self, image: &Image, commands: &[&str], options: &Options) -> Result<Report> {
        let log = &self.site.log;
        log.line(&format!("booting kernel {}", image.release))?;
        let words: Vec<Vec<String>> =
            commands.iter().map(|line| ["sh", "-c", line].map(str::to_owned).into()).collect();
        let report = self.site.lab().boot(image, &words, options)?;
        log.line(&format!("the machine's own log is {}", report.log.display()))?;
        let mut said = Vec::new();
        for (line, outcome) in commands.iter().zip(&report.outcomes) {
            let one = heard(line, outcome);
            log.line(&format!("# {line} (in the machine): status {}", one.status))?;
            log.text(&one.text)?;
            said.push(one);
        }
        report.demand_health()?;
        Ok(Report { said })
    }

    /// Boots a kernel and requires a working driver of this version: the node has its mode and group, it is the right
    /// module, and two processes exchange data, every byte compared.
    ///
    /// # Errors
    /// If any of that does not hold.
    pub fn boot_with_driver(&self, kernel: &Kernel, version: &str) -> Result<()> {
        let report = self.boot(
            kernel,
            &[
                "uname -r",
                "stat -c '%a %U %G %F' /dev/knem",
                "cat /sys/module/knem/version",
                "knem info",
                "knem bench --sizes 4K,64K,1M",
                "setpriv --reuid=65534 --regid=65534 --clear-groups knem info",
            ],
        )?;
        let [name, node, loaded, info, bench, stranger] = report.said.as_slice() else {
            bail!("the machine ran {} commands", report.said.len());
        };
        name.demand(0)?.must_be(&kernel.release)?;
        node.demand(0)?.must_be("660 root rdma character special file")?;
        loaded.demand(0)?.must_be(version)?;
        info.demand(0)?;
        bench.demand(0)?;
        for size in ["4 KiB", "64 KiB", "1 MiB"] {
            let line = bench.text.lines().find(|line| line.trim_start().starts_with(size));
            if !line.is_some_and(|line| line.trim_end().ends_with("verified")) {
                bail!("{size} were not verified: {}", bench.trimmed());
            }
        }
        // knem's status for "permission denied".
        stranger.demand(4)?;
        Ok(())
    }

    /// Boots a kernel that must come up without a driver and without errors.
    ///
    /// # Errors
    /// If it does not, or there is a driver.
    pub fn boot_without_driver(&self, kernel: &Kernel) -> Result<()> {
        let image = self.image(kernel, Without::Building)?;
        // systemd-modules-load would fail, as it does on such a machine; it is checked here instead of being a finding.
        let report = self.boot_image(
            &image,
            &["uname -r", "modprobe knem", "test ! -e /dev/knem"],
            &Options { bare: true, ..options() },
        )?;
        let [name, load, node] = report.said.as_slice() else {
            bail!("the machine ran {} commands", report.said.len());
        };
        name.demand(0)?.must_be(&kernel.release)?;
        load.demand(1)?.must_say("not found")?;
        node.demand(0)?;
        Ok(())
    }
}

/// Returns the options of the machine that drills boot.
pub fn options() -> Options {
    Options { timeout: Duration::from_secs(900), echo: false, ..Options::default() }
}

fn heard(line: &str, outcome: &Outcome) -> Said {
    let mut text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&outcome.stderr));
    Said { command: line.to_owned(), status: outcome.status, text }
}
