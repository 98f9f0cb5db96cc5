// SPDX-License-Identifier: CECILL-B
//! One run of User Mode Linux: it runs commands, returns their outputs and exit statuses, and checks the kernel's log
//! like that of a virtual machine.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use tempfile::TempDir;

use super::kernel::{Flavour, UmlKernel};
use crate::cache::{elapsed, Cache};
use crate::host;
use crate::namespace::{directory, Mount, Upper};
use crate::run;
use crate::userland::Stack;
use crate::vm::add::write_tar;
use crate::vm::console;
use crate::vm::machine::{hear, log_file, new_mark, script, Event, Port, Running, COMMON};
use crate::vm::stream::{follow, Echo};
use crate::vm::{Options, Report};

const INIT: &str = include_str!("guest/init.sh");
const FSTAB: &str = include_str!("guest/fstab");

/// Where this run's job is in the guest's tree.
const JOB: &str = "knem-uml";

/// Files of the machine's memory have to be executable; here they are.
const MEMORY: &str = "/dev/shm";

/// The last message of a kernel that shuts down properly. The status of the process is less reliable: with several CPUs
/// its threads may still run while the program exits, which sometimes ends in an abort, long after the kernel has
/// ended.
const SWITCHED_OFF: &str = "reboot: Power down";

/// Time limit for the kernel to power off.
const POWER_OFF: Duration = Duration::from_secs(30);

/// What is run, beside the commands.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The kernel.
    pub kernel: &'a UmlKernel,
    /// The userland.
    pub root: &'a Stack,
    /// The driver: installed, and loaded unless `options.bare`.
    pub driver: &'a Path,
    /// Whether the debug flavour looks for lost memory at the end, which takes some seconds.
    pub scan: bool,
}

/// Runs `commands` one after the other.
pub fn run_commands(
    setup: &Setup<'_>,
    commands: &[Vec<String>],
    options: &Options,
    logs: &Path,
    cache: &Cache,
) -> Result<Report> {
    let mark = new_mark()?;
    let flavour = setup.kernel.flavour;
    let log = log_file(logs, &format!("uml-{}", flavour.name()))?;
    let home = Home::make(setup, commands, options, &mark, cache)?;
    run::step(&format!(
        "running User Mode Linux {} ({}, {} processors, {} MiB)",
        setup.kernel.version,
        flavour.name(),
        options.cpus,
        options.memory
    ));
    let start = Instant::now();
    let (sender, events) = mpsc::channel();
    let (lines, theirs) = Lines::pairs()?;
    let mut machine = Running(home.start(setup.kernel, options, theirs)?);
    lines.listen(&mark, &log, options.echo, &sender)?;
    drop(sender);
    let mut heard = hear(&mut machine.0, &events, commands.len(), start, options.timeout)?;
    let gone = heard.broken.is_none() && wait(&mut machine.0)?;
    drop(machine);
    run::step(&format!("User Mode Linux ended after {}", elapsed(start.elapsed())));

    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let problems = console::problems(&text);
    if heard.broken.is_none() && !(gone && text.lines().any(|line| line.ends_with(SWITCHED_OFF))) {
        heard.broken = Some("the kernel did not switch itself off".to_owned());
    }
    if let Some(why) = heard.broken {
        let shown = if problems.is_empty() {
            format!("the log's last lines:\n{}", console::tail(&text, 40))
        } else {
            problems.join("\n---\n")
        };
        bail!("{why} (full log: {})\n{shown}", log.display());
    }
    let mut trouble = std::mem::take(&mut heard.findings);
    trouble.extend(problems);
    Ok(Report { outcomes: heard.outcomes()?, trouble, log })
}

/// Its three descriptors: a command's errors, a command's output, the kernel's log. They are sockets, of which it also
/// reads what never comes: a file, and /dev/null too, cannot be waited for, and UML's complaint of that is a fault
/// itself (it allocates under a lock).
struct Lines {
    errors: UnixStream,
    output: UnixStream,
    log: UnixStream,
}

impl Lines {
    /// Our ends and the kernel's.
    fn pairs() -> Result<(Self, Self)> {
        let pair = || UnixStream::pair().context("cannot make a socket");
        let ((errors, errors_), (output, output_), (log, log_)) = (pair()?, pair()?, pair()?);
        Ok((Self { errors, output, log }, Self { errors: errors_, output: output_, log: log_ }))
    }
}

/// The guest's root, which it may write to, and a directory for the program's own files. Both go with this.
struct Home {
    root: PathBuf,
    own: PathBuf,
    /// Unmounted before the directory goes: fields are dropped in this order.
    _mounted: Mount,
    _scratch: TempDir,
}

impl Home {
    fn make(setup: &Setup<'_>, commands: &[Vec<String>], options: &Options, mark: &str, cache: &Cache) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("uml-").tempdir_in(cache.directory("scratch")?)?;
        let [upper, work, root, own] = ["upper", "work", "root", "own"].map(|name| scratch.path().join(name));
        for path in [&upper, &work, &root, &own] {
            directory(path)?;
        }
        let mounted = Mount::overlay(&setup.root.paths(), Some(Upper { upper: &upper, work: &work }), &root)?;
        let job = root.join(JOB);
        directory(&job)?;
        let flag = u8::from;
        let settings = format!(
            "bare={}\ncommands={}\nscan={}\ndebug={}\nmark='{mark}'\n",
            flag(options.bare),
            commands.len(),
            flag(setup.scan && setup.kernel.flavour == Flavour::Debug),
            flag(setup.kernel.flavour == Flavour::Debug),
        );
        fs::write(job.join("settings"), settings)?;
        fs::write(job.join("fstab"), FSTAB)?;
        fs::write(job.join("common"), COMMON)?;
        fs::write(job.join("init"), INIT)?;
        fs::set_permissions(job.join("init"), fs::Permissions::from_mode(0o755))?;
        for (index, command) in commands.iter().enumerate() {
            fs::write(job.join(format!("command.{}", index + 1)), script(command))?;
        }
        install(&root, &setup.kernel.release()?, setup.driver)?;
        if !options.adds.is_empty() {
            let tar = own.join("adds");
            write_tar(&options.adds, &tar)?;
            // Inside, where the tree's own links lead where they should.
            let mut unpack = Command::new("chroot");
            unpack.arg(&root).args(["tar", "-x", "-p", "--same-owner", "--no-overwrite-dir", "-C", "/"]);
            let status = unpack.stdin(File::open(&tar)?).status().context("cannot start chroot")?;
            if !status.success() {
                bail!("the added files could not be unpacked");
            }
        }
        Ok(Self { root, own, _mounted: mounted, _scratch: scratch })
    }

    /// Starts the kernel.
    fn start(&self, kernel: &UmlKernel, options: &Options, lines: Lines) -> Result<Child> {
        // If this process dies, the host's kernel kills it.
        let mut command = host::command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(kernel.program());
        command.arg(format!("mem={}M", options.memory)).arg(format!("ncpus={}", options.cpus));
        // The mode of running user programs that works with several CPUs.
        command.arg("seccomp=on");
        command.args(["root=/dev/root", "rootfstype=hostfs", "rw"]);
        command.arg(format!("hostfs={}", self.root.display())).arg(format!("init=/{JOB}/init"));
        command.arg(format!("uml_dir={}", self.own.display()));
        command.args(["stderr=1", "con0=fd:2", "con=null", "ssl0=fd:1", "ssl1=fd:0", "ssl=null"]);
        // All of the log goes out, and a kernel in trouble stops at once.
        command.args(["ignore_loglevel", "printk.devkmsg=on", "log_buf_len=4M", "panic=-1"]);
        if kernel.flavour == Flavour::Debug {
            // Besides what it checks itself: without any of these flags a processor keeps lists of free objects that go
            // on naming those it has given out, and kmemleak takes that for a reference.
            command.arg("slab_debug=F");
        }
        command.env_clear();
        command.envs([("HOME", self.own.as_os_str()), ("TMPDIR", MEMORY.as_ref())]);
        let end = |stream| Stdio::from(OwnedFd::from(stream));
        command.stdin(end(lines.errors)).stdout(end(lines.output)).stderr(end(lines.log));
        command.current_dir(&self.own).spawn().context("cannot start User Mode Linux")
    }
}

impl Lines {
    /// Starts a thread for each.
    fn listen(self, mark: &str, log: &Path, echo: bool, sender: &Sender<Event>) -> Result<()> {
        let streams = [(Port::Out, self.output, Echo::Stdout), (Port::Err, self.errors, Echo::Stderr)];
        for (port, stream, to) in streams {
            let (mark, sender) = (mark.to_owned(), sender.clone());
            let to = if echo { to } else { Echo::No };
            thread::spawn(move || {
                // The receiver may be gone.
                let _ = follow(stream, &mark, to, |bytes| {
                    let _ = sender.send(Event::Ended(port, bytes));
                });
            });
        }
        let (mark, sender) = (mark.to_owned(), sender.clone());
        let file = File::options().append(true).open(log)?;
        thread::spawn(move || read_log(self.log, &mark, file, &sender));
        Ok(())
    }
}

/// Installs the driver where modprobe finds it.
fn install(root: &Path, release: &str, driver: &Path) -> Result<()> {
    let modules = root.join("usr/lib/modules").join(release);
    directory(&modules.join("updates"))?;
    fs::copy(driver, modules.join("updates/knem.ko"))?;
    // depmod asks for what a kernel's own installation would have put there: nothing.
    for list in ["modules.builtin", "modules.order"] {
        fs::write(modules.join(list), "")?;
    }
    run::quiet(Command::new("chroot").arg(root).args(["depmod", release]))
}

/// Keeps the kernel's log, and hears what the guest's init says in it.
fn read_log(console: impl Read, mark: &str, mut file: File, sender: &Sender<Event>) {
    let mut reader = BufReader::new(console);
    let mut all = Vec::new();
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
        // Without a file there is still what is sent at the end.
        let _ = file.write_all(&line);
        let text = String::from_utf8_lossy(&line);
        if let Some((_, said)) = text.split_once(mark) {
            let _ = sender.send(Event::Control(said.trim().to_owned()));
        }
        all.append(&mut line);
    }
    let _ = sender.send(Event::Ended(Port::Log, all));
}

/// Waits until the kernel has switched itself off; whether it has.
fn wait(machine: &mut Child) -> Result<bool> {
    let end = Instant::now() + POWER_OFF;
    while Instant::now() < end {
        if machine.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_says_is_heard_in_the_log() {
        let (sender, events) = mpsc::channel();
        let file = tempfile::tempfile().expect("a file");
        let text = b"knem: ready\n<mark> status 1 7\r\nBUG: x\n<mark> end 1.5\n";
        read_log(text.as_slice(), "<mark>", file, &sender);
        drop(sender);
        let said: Vec<String> = events
            .iter()
            .map(|event| match event {
                Event::Control(line) => line,
                Event::Ended(_, bytes) => format!("{} bytes", bytes.len()),
            })
            .collect();
        assert_eq!(said, ["status 1 7", "end 1.5", &format!("{} bytes", text.len())]);
    }
}
