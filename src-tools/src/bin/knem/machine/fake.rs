// SPDX-License-Identifier: CECILL-B
//! A machine for tests: files below a temporary root, and programs with fixed output.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use knem::{Info, NodeFacts, Obstacle};
use tempfile::TempDir;

use crate::machine::{Caller, Commands, Machine, Ran};

/// Builds machines. Its methods return a changed copy that shares the files: machines with different files need one
/// each.
#[derive(Clone)]
pub(crate) struct Fake {
    answers: Answers,
    kernel: String,
    caller: Caller,
    facts: Option<NodeFacts>,
    opened: Opened,
}

#[derive(Clone)]
enum Opened {
    Yes(u32),
    Absent(Obstacle),
    Denied(Obstacle),
}

/// The programs and variables. They own the directory of the machine's files.
#[derive(Clone)]
struct Answers {
    root: Rc<TempDir>,
    programs: HashMap<String, Ran>,
    variables: HashMap<String, String>,
}

impl Commands for Answers {
    fn find(&self, program: &str) -> Option<String> {
        let named = |command: &&String| command.split(' ').next() == Some(program);
        self.programs.keys().find(named).map(|_| format!("/usr/bin/{program}"))
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        let line = [&[program], arguments].concat().join(" ");
        self.programs.get(&line).cloned().unwrap_or(Ran::NotThere)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

impl Fake {
    /// An empty machine: no module, no node, no program.
    pub(crate) fn new() -> Self {
        Self {
            answers: Answers {
                root: Rc::new(TempDir::new().expect("a temporary directory")),
                programs: HashMap::new(),
                variables: HashMap::new(),
            },
            kernel: "7.2.6".to_owned(),
            caller: Caller {
                user: "alice".to_owned(),
                uid: 1000,
                groups: vec!["alice".to_owned(), "rdma".to_owned()],
                memlock: None,
                memlock_hard: None,
            },
            facts: None,
            opened: Opened::Absent(Obstacle::NoModule),
        }
    }

    /// A machine on which everything is OK: module built by DKMS, signed, loaded and used; node, group and rule as
    /// packaged; Open MPI and UCX that use KNEM.
    pub(crate) fn well() -> Self {
        let dkms = "/lib/modules/7.2.6/updates/dkms/knem.ko.xz";
        Self::new()
            .opens()
            .file("/etc/os-release", "ID=debian\n")
            .file("/lib/modules/7.2.6/modules.dep", "updates/dkms/knem.ko.xz:\n")
            .file(dkms, "")
            .says(&format!("modinfo -F version {dkms}"), "2.0.0\n")
            .says(&format!("modinfo -F signer {dkms}"), "DKMS module signing key\n")
            .file("/lib/modules/7.2.6/build/include/config/auto.conf", "CONFIG_RUST=y\n")
            .file("/usr/src/knem-2.0.0/way.sh", "")
            .file("/usr/src/knem-2.0.0/secure-boot.sh", "")
            .says(
                "sh /usr/src/knem-2.0.0/way.sh 7.2.6",
                "knem can be built for kernel 7.2.6 with the kernel crate: metadata made from linux-source-7.2\n",
            )
            .says("sh /usr/src/knem-2.0.0/secure-boot.sh", "")
            .says("apt-get --version", "")
            .file("/etc/debian_version", "")
            .packages("knem2-dkms 2.0.0-1 installed\n")
            .says("dkms --version", "dkms-3.2.0\n")
            .says("dkms status -m knem", "knem/2.0.0, 7.2.6, x86_64: installed\n")
            .file("/sys/module/knem/version", "2.0.0\n")
            .file("/sys/module/knem/parameters/max_pinned_mb", "0\n")
            .file("/sys/module/knem/parameters/max_user_pinned_mb", "0\n")
            .file("/sys/module/knem/parameters/memlock", "2\n")
            .file("/proc/meminfo", "MemTotal:       16777216 kB\n")
            .file("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", "\u{6}\0\0\0\0")
            .file("/sys/module/module/parameters/sig_enforce", "N\n")
            .file("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n")
            .file("/usr/lib/modules-load.d/knem.conf", "knem\n")
            .file("/usr/lib/udev/rules.d/60-knem.rules", include_str!("../../../../../udev/60-knem.rules"))
            .file("/run/udev/control", "")
            .says("getent group rdma", "rdma:x:105:alice\n")
            .file("/etc/security/limits.d/20-knem.conf", "@rdma  -  memlock  1048576\n")
            .says("systemctl show -p DefaultLimitMEMLOCK --value", "infinity\n")
            .file("/proc/self/status", "CapEff:\t0000000000000000\n")
            .file("/proc/driver/knem/info", "version 2.0.0\nrust kernel: metadata made from linux-source-7.2\n")
            .file(
                "/proc/driver/knem/statistics",
                "version 1\nage_ns 3600000000000\npinned_bytes 4096\npinned_bytes_peak 1048576\ncontexts 2\nregions 1\n\
                 submitted 21\nprocessed 21\nfailed_user_copy 0\npath mapped bytes 1048576\npath mapped failed 0\n",
            )
            .says("ompi_info --version", "Open MPI v5.0.7\n")
            .says(
                "ompi_info --all --parsable",
                "mca:pml:ob1:version:\"component:5.0.7\"\nmca:smsc:cma:version:\"component:5.0.7\"\n\
                 mca:smsc:knem:version:\"component:5.0.7\"\nmca:smsc:base:param:smsc:value:knem\n",
            )
            .says("ucx_info -v", "# Library version: 1.18.1\n")
            .says("ucx_info -b", "#define uct_MODULES \":cma:knem\"\n")
            .says("ucx_info -d", "#      Transport: knem\n#      Transport: cma\n")
    }

    /// With a file.
    pub(crate) fn file(&self, path: &str, text: &str) -> Self {
        let file = self.path(path);
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory).expect("a directory");
        }
        std::fs::write(file, text).expect("a file");
        self.clone()
    }

    /// Without a file or directory.
    pub(crate) fn without(&self, path: &str) -> Self {
        let file = self.path(path);
        let _ = if file.is_dir() { std::fs::remove_dir_all(file) } else { std::fs::remove_file(file) };
        self.clone()
    }

    /// With a program that succeeds and writes this.
    pub(crate) fn says(&self, line: &str, output: &str) -> Self {
        self.answers(line, Ran::Ended { success: true, output: output.to_owned(), complaint: String::new() })
    }

    /// With these packages of drivers, as dpkg lists them.
    pub(crate) fn packages(&self, output: &str) -> Self {
        let format = "${Package} ${Version} ${db:Status-Status}\\n";
        let names = "knem2-dkms knem-dkms knem kmod-knem knem-modules";
        self.fails(&format!("dpkg-query -W -f={format} {names}"), output, "")
    }

    /// With a program that fails, and writes this to standard output and standard error.
    pub(crate) fn fails(&self, line: &str, output: &str, complaint: &str) -> Self {
        let (output, complaint) = (output.to_owned(), complaint.to_owned());
        self.answers(line, Ran::Ended { success: false, output, complaint })
    }

    /// With a program that does this.
    pub(crate) fn answers(&self, line: &str, ran: Ran) -> Self {
        let mut changed = self.clone();
        changed.answers.programs.insert(line.to_owned(), ran);
        changed
    }

    /// Without a program.
    pub(crate) fn no_program(&self, program: &str) -> Self {
        let mut changed = self.clone();
        changed.answers.programs.retain(|line, _| line.split(' ').next() != Some(program));
        changed
    }

    /// With a variable in the environment.
    pub(crate) fn variable(&self, name: &str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.answers.variables.insert(name.to_owned(), value.to_owned());
        changed
    }

    /// With another kernel running.
    pub(crate) fn kernel(&self, release: &str) -> Self {
        Self { kernel: release.to_owned(), ..self.clone() }
    }

    /// With another caller.
    pub(crate) fn caller(&self, change: impl FnOnce(&mut Caller)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.caller);
        changed
    }

    /// The node as packaged, which can be opened.
    pub(crate) fn opens(&self) -> Self {
        let facts = NodeFacts {
            mode: 0o660,
            owner: "root".to_owned(),
            group: "rdma".to_owned(),
            user: "alice".to_owned(),
            process_in_group: true,
            user_in_group: true,
        };
        Self { facts: Some(facts), opened: Opened::Yes(knem_core::uapi::ABI_VERSION), ..self.clone() }
    }

    /// The node is another.
    pub(crate) fn facts(&self, change: impl FnOnce(&mut NodeFacts)) -> Self {
        let mut changed = self.opens();
        changed.opened = self.opened.clone();
        if let Some(facts) = &mut changed.facts {
            change(facts);
        }
        changed
    }

    /// There is no node.
    pub(crate) fn absent(&self, obstacle: Obstacle) -> Self {
        Self { facts: None, opened: Opened::Absent(obstacle), ..self.clone() }
    }

    /// The node may not be opened.
    pub(crate) fn denied(&self, obstacle: Obstacle) -> Self {
        Self { opened: Opened::Denied(obstacle), ..self.clone() }
    }

    /// The driver speaks another version of the interface.
    pub(crate) fn abi(&self, abi: u32) -> Self {
        Self { opened: Opened::Yes(abi), ..self.clone() }
    }

    /// The machine.
    pub(crate) fn machine(&self) -> Machine {
        let path = PathBuf::from("/dev/knem");
        Machine {
            root: self.answers.root.path().to_owned(),
            commands: Box::new(self.answers.clone()),
            kernel: self.kernel.clone(),
            caller: self.caller.clone(),
            node: path.clone(),
            facts: self.facts.clone(),
            driver: OnceCell::new(),
            opened: match &self.opened {
                Opened::Yes(knem_core::uapi::ABI_VERSION) => {
                    Ok(Info { abi: knem_core::uapi::ABI_VERSION, has_dma: false, ignored_flags: 0, forced_flags: 0 })
                }
                Opened::Yes(abi) => Err(knem::Error::WrongAbi { driver: *abi }),
                Opened::Absent(obstacle) => Err(knem::Error::NoDevice { path, obstacle: obstacle.clone() }),
                Opened::Denied(obstacle) => Err(knem::Error::Permission { path, obstacle: obstacle.clone() }),
            },
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.answers.root.path().join(path.trim_start_matches('/'))
    }
}
