// SPDX-License-Identifier: CECILL-B
//! One boot of the test machine: it runs commands, returns their outputs and exit statuses, and checks the kernel's
//! log.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{bail, Context, Result};

use super::add::{write_tar, Add};
use super::console;
use super::firmware::Firmware;
use super::image::Image;
use super::qemu::{self, Accelerator};
use super::stream::{follow, Echo};
use crate::cache::{elapsed, hex, Cache};
use crate::host;
use crate::run;

const INIT: &str = include_str!("guest/init.sh");

/// Common functions of the guests' programs.
pub const COMMON: &str = include_str!("guest/common.sh");

/// Exit status when a machine, its kernel or the driver failed, as opposed to the command run in it; also for a status
/// that is none.
pub const TROUBLE: u8 = 125;

/// The machine's size, time limit and settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// Time for everything, boot included.
    pub timeout: Duration,
    /// Whether the driver is left alone: not loaded at boot.
    pub bare: bool,
    /// Files to bring in.
    pub adds: Vec<Add>,
    /// Whether the commands' outputs are passed through as they come.
    pub echo: bool,
    /// Firmware that boots it, as a real machine's does; without it qemu starts the kernel itself.
    pub firmware: Option<Firmware>,
    /// Whether systemd brings the machine up, as far as multi-user.target, instead of the few steps that a driver may
    /// meet: a minute instead of ten seconds.
    pub systemd: bool,
    /// Whether its time stamp counter counts instructions. It has one CPU then.
    pub counting: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cpus: 2,
            memory: 2048,
            timeout: Duration::from_secs(600),
            bare: false,
            adds: Vec::new(),
            echo: true,
            firmware: None,
            systemd: false,
            counting: false,
        }
    }
}

/// How one command ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit status; 128 and the signal's number if it was killed.
    pub status: i32,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

/// The result of a boot in which every command could be run.
#[derive(Debug)]
pub struct Report {
    /// One for each command.
    pub outcomes: Vec<Outcome>,
    /// What is wrong whatever the commands said: kernel log problems, an unloadable driver, pages that stay pinned.
    pub trouble: Vec<String>,
    /// The full console and kernel log.
    pub log: PathBuf,
}

impl Report {
    /// Fails if anything at all was wrong, commands included.
    pub fn demand_success(&self) -> Result<()> {
        self.demand_health()?;
        for (index, outcome) in self.outcomes.iter().enumerate() {
            if outcome.status != 0 {
                bail!("command {} in the machine ended with status {}", index + 1, outcome.status);
            }
        }
        Ok(())
    }

    /// The exit status of the only command, to end with. Fails if the kernel or the driver had problems.
    pub fn status(&self) -> Result<u8> {
        self.demand_health()?;
        let status = self.outcomes.first().map_or(1, |outcome| outcome.status);
        Ok(u8::try_from(status).unwrap_or(TROUBLE))
    }

    /// Fails if the kernel or the driver had problems.
    pub fn demand_health(&self) -> Result<()> {
        if self.trouble.is_empty() {
            return Ok(());
        }
        bail!(
            "the kernel or the driver had problems (full log: {}):\n{}",
            self.log.display(),
            self.trouble.join("\n---\n")
        );
    }
}

/// Messages of the readers to the waiting thread.
pub(crate) enum Event {
    Control(String),
    Ended(Port, Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Out,
    Err,
    Log,
}

/// Boots `image` and runs `commands` in it, one after the other.
pub fn run_commands(
    image: &Image,
    commands: &[Vec<String>],
    options: &Options,
    logs: &Path,
    cache: &Cache,
) -> Result<Report> {
    host::need(&["qemu-system-x86_64"])?;
    let accelerator = if options.counting { Accelerator::Counting } else { Accelerator::best(image, cache)? };
    let log = log_file(logs, &image.release)?;
    let scratch = tempfile::Builder::new().prefix("knem-vm-").tempdir()?;
    let mark = new_mark()?;
    write_job(&scratch.path().join("job"), commands, options, &mark)?;
    if !options.adds.is_empty() {
        write_tar(&options.adds, &scratch.path().join("adds"))?;
    }

    run::step(&format!(
        "booting kernel {} ({}, {} processors, {} MiB)",
        image.release,
        accelerator.name(),
        options.cpus,
        options.memory
    ));
    let start = Instant::now();
    let (sender, events) = mpsc::channel();
    let ports = Ports::listen(scratch.path())?;
    let mut qemu = Running(start_qemu(accelerator, image, options, scratch.path(), &log)?);
    ports.follow(&mark, options.echo, &sender);
    drop(sender);
    let heard = hear(&mut qemu.0, &events, commands.len(), start, options.timeout);
    drop(qemu);
    run::step(&format!("machine off after {}", elapsed(start.elapsed())));

    let mut heard = heard?;
    if heard.log_complete {
        let mut file = File::options().append(true).open(&log)?;
        file.write_all(b"\n---- dmesg ----\n")?;
        file.write_all(&heard.log)?;
    }
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if let Some(why) = heard.broken {
        let problems = console::problems(&text);
        let shown = if problems.is_empty() {
            format!("the console's last lines:\n{}", console::tail(&text, 40))
        } else {
            problems.join("\n---\n")
        };
        bail!("{why} (full log: {})\n{shown}", log.display());
    }
    // The same problem is on the console and in the log; the log has all of it.
    let kernel_log = String::from_utf8_lossy(&heard.log);
    let mut trouble = std::mem::take(&mut heard.findings);
    trouble.extend(console::problems(&kernel_log));
    Ok(Report { outcomes: heard.outcomes()?, trouble, log })
}

/// The machine's process, which ends with its owner.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The machine's output.
#[derive(Default)]
pub(crate) struct Heard {
    statuses: Vec<i32>,
    stdout: Vec<Vec<u8>>,
    stderr: Vec<Vec<u8>>,
    pub(crate) log: Vec<u8>,
    log_complete: bool,
    ended: bool,
    pub(crate) findings: Vec<String>,
    /// Reason why it did not complete.
    pub(crate) broken: Option<String>,
}

impl Heard {
    fn complete(&self, commands: usize) -> bool {
        self.ended && self.log_complete && self.stdout.len() == commands && self.stderr.len() == commands
    }

    fn control(&mut self, line: &str) -> Result<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "up" => run::step(&format!("machine up, {rest} s by its own clock")),
            "status" => {
                let status = rest
                    .split_whitespace()
                    .nth(1)
                    .and_then(|status| status.parse().ok())
                    .with_context(|| format!("the machine said `{line}`"))?;
                self.statuses.push(status);
            }
            "finding" => self.findings.push(rest.to_owned()),
            "end" => self.ended = true,
            _ => bail!("the machine said `{line}`, which means nothing"),
        }
        Ok(())
    }

    /// How the commands ended.
    pub(crate) fn outcomes(self) -> Result<Vec<Outcome>> {
        if self.statuses.len() != self.stdout.len() {
            bail!("the machine reported too few exit statuses");
        }
        Ok(self
            .statuses
            .into_iter()
            .zip(self.stdout)
            .zip(self.stderr)
            .map(|((status, stdout), stderr)| Outcome { status, stdout, stderr })
            .collect())
    }
}

/// Reads until all output is complete, the machine has ended, or the time limit is reached.
pub(crate) fn hear(
    machine: &mut Child,
    events: &Receiver<Event>,
    commands: usize,
    start: Instant,
    timeout: Duration,
) -> Result<Heard> {
    let mut heard = Heard::default();
    let mut gone = false;
    while !heard.complete(commands) {
        match events.recv_timeout(Duration::from_millis(if gone { 1000 } else { 100 })) {
            Ok(Event::Control(line)) => heard.control(&line)?,
            Ok(Event::Ended(Port::Out, bytes)) => heard.stdout.push(bytes),
            Ok(Event::Ended(Port::Err, bytes)) => heard.stderr.push(bytes),
            Ok(Event::Ended(Port::Log, bytes)) => {
                heard.log = bytes;
                heard.log_complete = true;
            }
            Err(RecvTimeoutError::Timeout) if !gone => {}
            Err(_) => {
                heard.broken = Some(format!(
                    "the machine died after {} (command {} of {commands})",
                    elapsed(start.elapsed()),
                    (heard.statuses.len() + 1).min(commands)
                ));
                break;
            }
        }
        // Read the rest of its output.
        gone = gone || machine.try_wait()?.is_some();
        if start.elapsed() > timeout {
            heard.broken = Some(format!(
                "the machine did not finish within {} (command {} of {commands})",
                elapsed(timeout),
                (heard.statuses.len() + 1).min(commands)
            ));
            break;
        }
    }
    Ok(heard)
}

/// The machine's serial ports, each a socket that qemu connects to.
struct Ports {
    out: UnixListener,
    err: UnixListener,
    log: UnixListener,
    control: UnixListener,
}

const PORTS: [&str; 4] = ["out", "err", "log", "control"];

impl Ports {
    fn listen(directory: &Path) -> Result<Self> {
        let bind =
            |name: &str| UnixListener::bind(directory.join(name)).context("cannot make a socket for the machine");
        Ok(Self { out: bind("out")?, err: bind("err")?, log: bind("log")?, control: bind("control")? })
    }

    /// Starts a thread for each. A thread whose qemu never connects ends with the process.
    fn follow(self, mark: &str, echo: bool, sender: &Sender<Event>) {
        let streams =
            [(Port::Out, self.out, Echo::Stdout), (Port::Err, self.err, Echo::Stderr), (Port::Log, self.log, Echo::No)];
        for (port, listener, to) in streams {
            let (mark, sender) = (mark.to_owned(), sender.clone());
            let to = if echo { to } else { Echo::No };
            thread::spawn(move || {
                if let Ok((stream, _)) = listener.accept() {
                    // The receiver may be gone.
                    let _ = follow(stream, &mark, to, |bytes| {
                        let _ = sender.send(Event::Ended(port, bytes));
                    });
                }
            });
        }
        let sender = sender.clone();
        thread::spawn(move || {
            if let Ok((stream, _)) = self.control.accept() {
                read_control(stream, &sender);
            }
        });
    }
}

fn read_control(stream: UnixStream, sender: &Sender<Event>) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        if sender.send(Event::Control(line)).is_err() {
            return;
        }
    }
}

fn start_qemu(accelerator: Accelerator, image: &Image, options: &Options, scratch: &Path, log: &Path) -> Result<Child> {
    let mut command = match &options.firmware {
        Some(firmware) => {
            let variables = scratch.join("variables");
            fs::copy(&firmware.variables, &variables)?;
            qemu::command_with_firmware(accelerator, firmware, log, &variables)
        }
        None => qemu::command(accelerator, image, log, ""),
    };
    command.args(["-smp", &options.cpus.to_string()]);
    command.args(["-m", &options.memory.to_string()]);
    for path in [image.disk.clone(), scratch.join("job"), scratch.join("adds")] {
        if path.exists() {
            // What the machine writes goes to a file without a name and ends with qemu.
            command
                .arg("-drive")
                .arg(format!("file={},format=raw,if=virtio,cache=unsafe,snapshot=on", qemu::escaped(&path)));
        }
    }
    command.args(["-device", "virtio-serial-pci"]);
    for name in PORTS {
        command.arg("-chardev").arg(format!("socket,id={name},path={}", qemu::escaped(&scratch.join(name))));
        command.arg("-device").arg(format!("virtserialport,chardev={name},name=knem.{name}"));
    }
    let said = File::create(scratch.join("qemu"))?;
    let mut child = command.stdout(Stdio::null()).stderr(said).spawn().context("cannot start qemu")?;
    // Wrong arguments end it at once.
    thread::sleep(Duration::from_millis(150));
    if let Some(status) = child.try_wait()? {
        let said = fs::read_to_string(scratch.join("qemu"))?;
        bail!("qemu does not start ({status}): {}", said.trim());
    }
    Ok(child)
}

/// The job as the initramfs unpacks it: settings, the guest's second program, a script for each command.
fn write_job(file: &Path, commands: &[Vec<String>], options: &Options, mark: &str) -> Result<()> {
    let mut builder = tar::Builder::new(File::create(file)?);
    let mut add = |name: &str, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content)
    };
    let settings = format!(
        "bare={}\nsystemd={}\ncommands={}\nmark='{mark}'\n",
        u8::from(options.bare),
        u8::from(options.systemd),
        commands.len()
    );
    add("settings", 0o644, settings.as_bytes())?;
    add("common", 0o644, COMMON.as_bytes())?;
    add("init", 0o755, INIT.as_bytes())?;
    for (index, command) in commands.iter().enumerate() {
        add(&format!("command.{}", index + 1), 0o644, &script(command))?;
    }
    builder.into_inner()?.flush()?;
    Ok(())
}

/// The guest's script for a command: in a separate control group, so that all its processes can be found.
pub(crate) fn script(command: &[String]) -> Vec<u8> {
    let mut script = b"echo $$ > /sys/fs/cgroup/command/cgroup.procs\ncd /root\nexec".to_vec();
    for word in command {
        script.extend_from_slice(b" '");
        script.extend_from_slice(word.replace('\'', r"'\''").as_bytes());
        script.push(b'\'');
    }
    script.push(b'\n');
    script
}

/// A mark that no command prints by chance.
pub(crate) fn new_mark() -> Result<String> {
    use std::io::Read;
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("<knem-vm-{}>", hex(&bytes)))
}

/// A new file for the console, named by time so that the last is easily found; old ones go.
pub(crate) fn log_file(directory: &Path, release: &str) -> Result<PathBuf> {
    const KEPT: usize = 40;
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    fs::create_dir_all(directory)?;
    let mut old: Vec<PathBuf> = fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.as_os_str().as_bytes().ends_with(b".log"))
        .collect();
    old.sort();
    old.reverse();
    for path in old.iter().skip(KEPT) {
        // Another run may have removed it first.
        let _ = fs::remove_file(path);
    }
    let time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!("{time}-{}-{number}-{release}.log", std::process::id()));
    File::create(&path)?;
    Ok(path)
}
