// SPDX-License-Identifier: CECILL-B
//! Commands in a machine's tree, as its administrator runs them, and queries of its state.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use knem_lab::chroot::Chroot;
use knem_lab::kernels::Kernel;
use knem_lab::namespace::directory;
use knem_lab::packages::Packages;
use knem_lab::run;
use knem_lab::userland;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use crate::memory::Bound;
use crate::said::Said;
use crate::site::Site;

/// Unrelated packages that are installed in each machine and must never be affected.
const WITNESSES: &[&str] = &["dkms", "kmod", "udev"];

/// A small package without dependencies that is installed together with the driver's, to test whether these affect
/// others.
pub const WITNESS: &str = "hello";

/// Time limit of a command: the generation of Rust metadata takes minutes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Path of generated Rust metadata in the tree.
pub const METADATA: &str = "var/cache/knem/rust-metadata";

/// The tree of a machine, entered.
#[derive(Debug)]
pub struct Shell<'a> {
    site: &'a Site,
    tree: &'a Path,
    chroot: Chroot,
}

/// A kernel module as `modinfo` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its file.
    pub path: String,
    /// Its version.
    pub version: String,
    /// The kernel for which it was built.
    pub kernel: String,
    /// How its Rust part was built, and why: `object: kernel built without CONFIG_RUST`.
    pub rust: String,
}

/// The result of a command that was to be killed.
#[derive(Debug)]
pub enum Killed {
    /// It was killed, with all its processes; its output.
    Yes(Said),
    /// It had ended before; its output.
    TooLate(Said),
}

impl<'a> Shell<'a> {
    /// Enters the tree.
    pub(crate) fn enter(site: &'a Site, tree: &'a Path, lists: &Path) -> Result<Self> {
        Ok(Self { site, tree, chroot: site.lab().enter(tree, lists)? })
    }

    /// Returns the path of a tree's file on this machine; `path` is without the first slash.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.tree.join(path)
    }

    /// Writes a file of the tree, and creates the directories above it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.path(path);
        if let Some(parent) = path.parent() {
            directory(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads a file of the tree.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn read(&self, path: &str) -> Result<String> {
        let path = self.path(path);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Whether the tree has such a file; links are not followed.
    pub fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Writes a line to the log.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub fn note(&self, text: &str) -> Result<()> {
        self.site.log.line(text)
    }

    /// Runs a line of shell.
    ///
    /// # Errors
    /// If it cannot be started, or does not end. The caller checks the exit status.
    pub fn sh(&self, line: &str) -> Result<Said> {
        let mut command = self.chroot.command("sh");
        command.args(["-c", line]);
        self.run(command, line)
    }

    /// Runs a line of shell that must succeed, and returns its output.
    ///
    /// # Errors
    /// If it fails.
    pub fn output(&self, line: &str) -> Result<String> {
        let said = self.sh(line)?;
        Ok(said.demand(0)?.trimmed().to_owned())
    }

    /// Runs apt-get; questions are answered with yes.
    ///
    /// # Errors
    /// If it cannot be started, or does not end. The caller checks the exit status.
    pub fn apt(&self, arguments: &[&str]) -> Result<Said> {
        self.apt_with(&[], arguments)
    }

    /// As [`apt`](Self::apt), with environment variables.
    ///
    /// # Errors
    /// As for [`apt`](Self::apt).
    pub fn apt_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Result<Said> {
        let mut command = self.apt_command(arguments);
        command.envs(environment.iter().copied());
        self.run(command, &format!("apt-get {}", arguments.join(" ")))
    }

    /// Returns apt-get as a command for [`killed_after`](Self::killed_after) and its like.
    pub fn apt_command(&self, arguments: &[&str]) -> Command {
        let mut all = vec!["-y", "-q"];
        all.extend(arguments);
        self.chroot.apt_get(&all)
    }

    /// Returns a line of shell as a command for [`killed_after`](Self::killed_after) and its like.
    pub fn sh_command(&self, line: &str) -> Command {
        let mut command = self.chroot.command("sh");
        command.args(["-c", line]);
        command
    }

    /// Configures apt for a version of the packages, and no other.
    ///
    /// # Errors
    /// If apt cannot read the repository.
    pub fn offer(&self, packages: &Packages) -> Result<()> {
        userland::offer(self.tree, &self.chroot, packages)
    }

    /// Installs the two packages without recommended ones, and requires that apt succeeds.
    ///
    /// # Errors
    /// If apt fails.
    pub fn install_knem(&self) -> Result<Said> {
        self.install(&["knem-dkms", "knem-tools"])
    }

    /// The same together with an unrelated package.
    ///
    /// # Errors
    /// If apt fails.
    pub fn install_knem_and_witness(&self) -> Result<Said> {
        self.install(&["knem-dkms", "knem-tools", WITNESS])
    }

    /// Installs packages without recommended ones, and requires that apt succeeds.
    ///
    /// # Errors
    /// If apt fails.
    pub fn install(&self, packages: &[&str]) -> Result<Said> {
        let said = self.apt(&[&["install", "--no-install-recommends"], packages].concat())?;
        said.demand(0)?;
        Ok(said)
    }

    /// Installs some of a kernel's packages, such as `&kernel.headers`, and requires that apt succeeds.
    ///
    /// # Errors
    /// If apt fails.
    pub fn install_kernel(&self, kernel: &Kernel, packages: &[String]) -> Result<Said> {
        let mut arguments = vec!["install", "--no-install-recommends"];
        // Newer packages that such a kernel needs are installed from backports with it.
        arguments.extend(kernel.backports().into_iter().flat_map(|suite| ["-t", suite]));
        arguments.extend(packages.iter().map(String::as_str));
        let said = self.apt(&arguments)?;
        said.demand(0)?;
        Ok(said)
    }

    /// Copies a kernel's Rust metadata, generated before because that takes minutes, into the tree. This must be done
    /// before the module is built and after the kernel's first package is installed, since metadata of other kernels is
    /// removed.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub fn show_metadata(&self, kernel: &Kernel) -> Result<()> {
        let from = self.site.metadata(kernel)?.join(&kernel.release);
        let to = self.path(METADATA).join(&kernel.release);
        directory(&self.path(METADATA))?;
        run::quiet(Command::new("cp").args(["-a", "-T"]).arg(from).arg(to))
    }

    /// Runs a command of [`apt_command`](Self::apt_command) or [`sh_command`](Self::sh_command) with a memory limit.
    ///
    /// # Errors
    /// If it cannot be started, or does not end.
    pub fn bound(&self, command: &Command, memory: &Bound) -> Result<Said> {
        self.run(memory.command(command), &run::shown(command))
    }

    /// Runs a command and kills it after a time, with all its processes, by a signal that cannot be caught.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn killed_after(&self, command: Command, time: Duration) -> Result<Killed> {
        let shown = format!("{} (to be killed)", run::shown(&command));
        let (mut child, start) = self.start(command, &shown)?;
        if let Some(status) = wait(&mut child, time)? {
            return Ok(Killed::TooLate(self.said(&shown, status, start)?));
        }
        let status = end(&mut child)?;
        self.note(&format!("killed after {} ms", time.as_millis()))?;
        Ok(Killed::Yes(self.said(&shown, status, start)?))
    }

    /// Runs a command and kills it, with all its processes, as soon as `when` returns true.
    ///
    /// # Errors
    /// If it cannot be started, or ends before.
    pub fn killed_when(&self, command: Command, when: impl Fn(&str) -> bool) -> Result<Said> {
        let shown = format!("{} (to be killed)", run::shown(&command));
        let (mut child, start) = self.start(command, &shown)?;
        let begin = Instant::now();
        loop {
            if when(&self.site.log.since(start)?) {
                let status = end(&mut child)?;
                self.note("killed")?;
                return self.said(&shown, status, start);
            }
            if let Some(status) = wait(&mut child, Duration::from_millis(20))? {
                let said = self.said(&shown, status, start)?;
                bail!("`{shown}` ended with {} before it could be killed; it said:\n{}", said.status, said.trimmed());
            }
            if begin.elapsed() > PATIENCE {
                end(&mut child)?;
                bail!("`{shown}` did not come to where it was to be killed");
            }
        }
    }

    fn run(&self, command: Command, shown: &str) -> Result<Said> {
        let (mut child, start) = self.start(command, shown)?;
        let Some(status) = wait(&mut child, PATIENCE)? else {
            end(&mut child)?;
            bail!("`{shown}` did not end within {} minutes", PATIENCE.as_secs() / 60);
        };
        self.said(shown, status, start)
    }

    /// Starts a command whose output goes to the log, and returns where that begins.
    fn start(&self, mut command: Command, shown: &str) -> Result<(Child, u64)> {
        self.note(&format!("# {shown}"))?;
        let start = self.site.log.length()?;
        command.stdin(Stdio::null()).stdout(self.site.log.output()?).stderr(self.site.log.output()?);
        let child = command.spawn().with_context(|| format!("cannot start `{shown}`"))?;
        Ok((child, start))
    }

    fn said(&self, shown: &str, status: ExitStatus, start: u64) -> Result<Said> {
        let text = self.site.log.since(start)?;
        let status = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
        if status != 0 {
            self.note(&format!("exit status {status}"))?;
        }
        Ok(Said { command: shown.to_owned(), status, text })
    }

    /// Fails unless dpkg and apt find nothing incomplete, and every package is either installed or removed.
    ///
    /// # Errors
    /// If any of that does not hold.
    pub fn healthy(&self) -> Result<()> {
        self.sh("dpkg --audit")?.demand(0)?.must_be("")?;
        let states = "dpkg-query -W -f '${db:Status-Abbrev}|${Package}\n'";
        let bad = self.sh(&format!("{states} | grep -v -e '^ii |' -e '^rc |'"))?;
        if !bad.text.is_empty() {
            bail!("packages are neither installed nor removed: {}", bad.trimmed());
        }
        for witness in WITNESSES {
            self.sh(&format!("{states} | grep '|{witness}$'"))?.must_say("ii |")?;
        }
        self.apt(&["check"])?.demand(0)?;
        Ok(())
    }

    /// Returns the version of a package, if it is installed.
    ///
    /// # Errors
    /// If dpkg cannot be run.
    pub fn version_of(&self, package: &str) -> Result<Option<String>> {
        let said =
            self.sh(&format!("dpkg-query -W -f '${{db:Status-Abbrev}}|${{Version}}\\n' {package} 2>/dev/null"))?;
        Ok(said.text.lines().find_map(|line| line.strip_prefix("ii |")).map(str::to_owned))
    }

    /// Returns the module that `modprobe knem` would load on a kernel.
    ///
    /// # Errors
    /// If modinfo cannot be run.
    pub fn module(&self, release: &str) -> Result<Option<Module>> {
        let said = self.sh(&format!("modinfo -k {release} knem"))?;
        if said.status != 0 {
            return Ok(None);
        }
        let field = |name: &str| {
            let line = said.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned()).with_context(|| format!("modinfo does not say {name}"))
        };
        let kernel = field("vermagic")?.split(' ').next().unwrap_or_default().to_owned();
        Ok(Some(Module { path: field("filename")?, version: field("version")?, kernel, rust: field("rust")? }))
    }

    /// Fails unless there is a module for a kernel, of this version, from DKMS, and DKMS reports it.
    ///
    /// # Errors
    /// If there is not.
    pub fn demand_module(&self, release: &str, version: &str) -> Result<Module> {
        let module = self.module(release)?.with_context(|| format!("there is no module for kernel {release}"))?;
        if module.version != version || module.kernel != release || !module.path.contains("/updates/dkms/") {
            bail!("the module for kernel {release} is another: {module:?}");
        }
        let status = self.dkms_status()?;
        // DKMS before 3 has a comma where later ones have a slash.
        if !status.says(&format!("knem, {version}, {release}, x86_64: installed")) {
            status.must_say(&format!("knem/{version}, {release}, x86_64: installed"))?;
        }
        Ok(module)
    }

    /// The same, and requires that the module was built in this way and for this reason, such as `object: rustc is not
    /// installed`.
    ///
    /// # Errors
    /// If there is not.
    pub fn demand_built(&self, release: &str, way: &str) -> Result<()> {
        let module = self.demand_module(release, self.site.version())?;
        if !module.rust.starts_with(way) {
            bail!("the module for kernel {release} says `{}` instead of `{way}`", module.rust);
        }
        Ok(())
    }

    /// Fails if there is a module for a kernel, or DKMS reports one.
    ///
    /// # Errors
    /// If there is.
    pub fn demand_no_module(&self, release: &str) -> Result<()> {
        if let Some(module) = self.module(release)? {
            bail!("there is a module for kernel {release}: {module:?}");
        }
        let status = self.dkms_status()?;
        if status.text.lines().any(|line| line.contains(release) && line.contains("installed")) {
            bail!("dkms says that a module is installed for {release}: {}", status.trimmed());
        }
        Ok(())
    }

    /// Runs `dkms status`.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn dkms_status(&self) -> Result<Said> {
        let said = self.sh("dkms status")?;
        said.demand(0)?;
        Ok(said)
    }

    /// Runs way.sh for a kernel.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn way(&self, release: &str) -> Result<Said> {
        self.sh(&format!("sh /usr/src/knem-{}/way.sh {release}", self.site.version()))
    }

    /// Builds the module for a kernel again.
    ///
    /// # Errors
    /// If that fails.
    pub fn rebuild(&self, release: &str) -> Result<Said> {
        let version = self.site.version();
        let said =
            self.sh(&format!("dkms remove knem/{version} -k {release}; dkms install knem/{version} -k {release}"))?;
        said.demand(0)?;
        Ok(said)
    }
}

/// Waits for a process, `time` at most.
fn wait(child: &mut Child, time: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let Some(left) = end.checked_duration_since(Instant::now()) else {
            return Ok(None);
        };
        thread::sleep(left.min(Duration::from_millis(5)));
    }
}

/// Kills the first process of the command's namespace, and with it, by the kernel, all others. Returns when the last
/// one is gone.
fn end(child: &mut Child) -> Result<ExitStatus> {
    let id = child.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    match children.split_whitespace().next().map(str::parse) {
        Some(Ok(first)) => {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(first), Signal::SIGKILL);
        }
        _ => child.kill()?,
    }
    Ok(child.wait()?)
}
