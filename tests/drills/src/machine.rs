// SPDX-License-Identifier: CECILL-B
//! A machine of a drill: a throw-away tree above layers that stay as they are, entered any number of times, and booted as it is.

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

/// A machine; all of it goes when this does.
#[derive(Debug)]
pub struct Machine {
    site: Site,
    /// What it was made above, topmost first.
    layers: Vec<PathBuf>,
    home: TempDir,
    /// Whether somebody is inside. Two overlays with one writable side would destroy each other.
    busy: RefCell<()>,
}

/// What the commands said that ran in the booted machine.
#[derive(Debug)]
pub struct Report {
    /// One for each command.
    pub said: Vec<Said>,
}

impl Machine {
    /// A machine with a kernel that is built with Rust, and all that building on its crate takes, the metadata of which was made before.
    ///
    /// # Errors
    /// When it cannot be made.
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

    /// A machine above these layers. Apt knows our packages.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn above(site: &Site, stack: &Stack) -> Result<Self> {
        let machine = Self::of(site, stack.layers.clone())?;
        machine.inside(|shell| shell.offer(site.packages()))?;
        Ok(machine)
    }

    /// Another machine that begins as this one is now. This one must not be changed as long as that lives.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn branch(&self) -> Result<Self> {
        let mut layers = vec![self.home.path().join("upper")];
        layers.extend(self.layers.iter().cloned());
        let branch = Self::of(&self.site, layers)?;
        // What its apt knows.
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
    /// When that fails, or `work` does.
    pub fn inside<T>(&self, work: impl FnOnce(&Shell<'_>) -> Result<T>) -> Result<T> {
        let _alone = self.busy.try_borrow_mut().ok().context("the machine is entered already")?;
        let (upper, overlay, tree) =
            (self.home.path().join("upper"), self.home.path().join("work"), self.home.path().join("tree"));
        let layers: Vec<&Path> = self.layers.iter().map(PathBuf::as_path).collect();
        let _mounted = Mount::overlay(&layers, Some(Upper { upper: &upper, work: &overlay }), &tree)?;
        // Left before it is unmounted.
        let shell = Shell::enter(&self.site, &tree, &self.home.path().join("lists"))?;
        work(&shell)
    }

    /// Looks at the tree from outside, with nothing mounted in it.
    ///
    /// # Errors
    /// When `work` fails.
    pub fn outside<T>(&self, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let _alone = self.busy.try_borrow_mut().ok().context("the machine is entered")?;
        let (upper, tree) = (self.home.path().join("upper"), self.home.path().join("tree"));
        let mut layers = vec![upper.as_path()];
        layers.extend(self.layers.iter().map(PathBuf::as_path));
        let _mounted = Mount::overlay(&layers, None, &tree)?;
        work(&tree)
    }

    /// A disk of the tree as it is now, in the machine's own directory; another replaces it.
    ///
    /// # Errors
    /// When the tree has no such kernel.
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

    /// Boots the tree as it is now, what builds modules left out, and runs lines of shell in it. What happens there is forgotten.
    ///
    /// # Errors
    /// When it does not boot, or its kernel or our driver have problems. How the commands ended is for the caller to judge.
    pub fn boot(&self, kernel: &Kernel, commands: &[&str]) -> Result<Report> {
        let image = self.image(kernel, Without::Building)?;
        self.boot_image(&image, commands, &options())
    }

    /// As [`boot`](Self::boot), with a disk made before, and a machine to the caller's measure.
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

    /// Boots a kernel and demands a driver of this version that works: the node has its mode and group, it is the right module,
    /// and two processes exchange data, every byte compared.
    ///
    /// # Errors
    /// When something of that is not so.
    pub fn boot_with_driver(&self, kernel: &Kernel, version: &str) -> Result<()> {
        let report = self.boot(
            kernel,
            &[
                "uname -r",
                "stat -c '%a %U %G %F' /dev/knem",
                "cat /sys/module/knem/version",
                "knem info",
                "knem bench --sizes 4K,64K,1M",
                "setpriv --reuid=nobody --regid=nogroup --clear-groups knem info",
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

    /// Boots a kernel that must come up without a driver: nothing has to be there, and nothing may be wrong.
    ///
    /// # Errors
    /// When it does not, or a driver is there.
    pub fn boot_without_driver(&self, kernel: &Kernel) -> Result<()> {
        let image = self.image(kernel, Without::Building)?;
        // systemd-modules-load would fail, as it does on such a machine; that is looked at here instead of being a finding.
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

/// The machine that drills boot.
pub fn options() -> Options {
    Options { timeout: Duration::from_secs(900), echo: false, ..Options::default() }
}

fn heard(line: &str, outcome: &Outcome) -> Said {
    let mut text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&outcome.stderr));
    Said { command: line.to_owned(), status: outcome.status, text }
}
