// SPDX-License-Identifier: CECILL-B
//! One run of a client: what runs, as which user and with which limit, and the required result.

/// A client of KNEM, and the distribution that packages it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Open MPI 5 of Debian 13: ob1 over btl/sm with smsc/knem.
    OpenMpi5,
    /// The same from Python: numpy arrays with mpi4py.
    Mpi4Py,
    /// Open MPI 4 of Debian 12: ob1 over btl/vader with KNEM.
    OpenMpi4,
    /// Open MPI 4 of Debian 12 over UCX.
    OpenMpi4Ucx,
    /// MPICH 4 of Debian 12 over UCX.
    Mpich,
    /// The project's own program that uses the driver as MPICH up to 3.3 did, with its status array and asynchronous
    /// copies.
    Nemesis,
    /// UCX's own benchmark, of Debian 12.
    UcxPerftest,
    /// NetPIPE's check of integrity.
    NetPipe,
}

/// The user that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// root.
    Root,
    /// A user in the group `rdma`.
    Member,
    /// A user that may not open the device.
    Stranger,
    /// A member, each rank in a user namespace of its own.
    Namespaces,
    /// A member, each rank in a rootless container of bubblewrap.
    Container,
}

/// A variation of the machine or the library's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Nothing.
    Usual,
    /// Open MPI keeps registrations (opal_leave_pinned), and sees each return of memory.
    LeavePinned,
    /// In a control group with one CPU, of which it gets half (cpuset, cpu.max).
    Confined,
    /// /dev/knem disappears after knem-mpi has seen it and before the library opens it.
    DeviceGone,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Case {
    /// The client.
    pub client: Client,
    /// Checks of knem-mpi-check, or arguments of the client's own program.
    pub checks: &'static str,
    /// Number of processes.
    pub ranks: u32,
    /// Rounds of each check.
    pub rounds: u32,
    /// The user.
    pub user: User,
    /// Limit of locked memory in bytes; none: unlimited.
    pub memlock: Option<u64>,
    /// The variation.
    pub setting: Setting,
    /// Whether it must use the driver, or must not.
    pub over_knem: bool,
    /// Whether it must fail: a check of the checks.
    pub must_fail: bool,
}

impl Client {
    /// Returns its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenMpi5 => "Open MPI 5 ob1",
            Self::Mpi4Py => "mpi4py",
            Self::OpenMpi4 => "Open MPI 4 ob1",
            Self::OpenMpi4Ucx => "Open MPI 4 UCX",
            Self::Mpich => "MPICH UCX",
            Self::Nemesis => "as MPICH 3.3",
            Self::UcxPerftest => "ucx_perftest",
            Self::NetPipe => "NetPIPE",
        }
    }

    /// Returns the distribution that packages it.
    pub fn distribution(self) -> &'static str {
        match self {
            Self::OpenMpi5 | Self::Mpi4Py => "trixie",
            _ => "bookworm",
        }
    }

    /// Whether one of the project's programs compares the data, and reports how much that was.
    pub fn reports(self) -> bool {
        !matches!(self, Self::UcxPerftest | Self::NetPipe)
    }
}

impl User {
    /// Returns its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Member => "member",
            Self::Stranger => "no member",
            Self::Namespaces => "user ns",
            Self::Container => "container",
        }
    }
}

impl Setting {
    /// Returns its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::LeavePinned => "leave-pinned",
            Self::Confined => "cgroup",
            Self::DeviceGone => "device gone",
        }
    }

    /// Returns commands of root before and after the run.
    fn around(self) -> (&'static str, &'static str) {
        match self {
            Self::Usual | Self::LeavePinned => ("", ""),
            Self::Confined => (ENTER_GROUP, LEAVE_GROUP),
            Self::DeviceGone => {
                ("", "; status=$?; [ -e /dev/knem ] || { rmmod knem && modprobe knem; }; (exit $status)")
            }
        }
    }
}

/// Moves the run's shell into a control group that has a CPU for half of the time.
const ENTER_GROUP: &str = "g=/sys/fs/cgroup; echo '+cpuset +cpu' > $g/cgroup.subtree_control; mkdir -p $g/clients; echo 1 > $g/clients/cpuset.cpus; \
                           echo '50000 100000' > $g/clients/cpu.max; was=$(sed s/^0::// /proc/self/cgroup); echo $$ > $g/clients/cgroup.procs; ";
const LEAVE_GROUP: &str = "; status=$?; echo $$ > $g$was/cgroup.procs; (exit $status)";

impl Case {
    /// Returns the limit in the table.
    pub fn limit(&self) -> String {
        match self.memlock {
            None => "unlimited".to_owned(),
            Some(bytes) if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
            Some(bytes) => format!("{} KiB", bytes >> 10),
        }
    }

    /// Returns a line of shell that runs it in the machine, in the tree of its distribution.
    pub fn command(&self) -> String {
        let limit = self.memlock.map_or_else(|| "unlimited".to_owned(), |bytes| format!("{bytes}:{bytes}"));
        let user = match self.user {
            User::Root => "env HOME=/root OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
            User::Member | User::Namespaces | User::Container => {
                "env HOME=/home/alice setpriv --reuid=1000 --regid=1000 --groups=$(stat -c %g /dev/knem)"
            }
            User::Stranger => "env HOME=/home/bob setpriv --reuid=1001 --regid=1001 --clear-groups",
        };
        let (tree, program) = (self.client.distribution(), self.program());
        // Only root may raise a limit.
        let (before, after) = self.setting.around();
        format!("cd /tmp; {before}prlimit --memlock={limit} enter-tree /srv/{tree} {user} {program}{after}")
    }

    fn program(&self) -> String {
        let Self { ranks, rounds, checks, .. } = self;
        // Links below another namespace's /proc/PID/fd cannot be followed: UCX's shared memory must have names.
        let mut wrapper = match self.user {
            User::Namespaces => "env UCX_POSIX_USE_PROC_LINK=n unshare -U --map-user=1000 --map-group=1000 knem-mpi",
            User::Container => {
                "env UCX_POSIX_USE_PROC_LINK=n bwrap --unshare-user --uid 1000 --gid 1000 --bind / / --dev-bind /dev /dev knem-mpi"
            }
            User::Root | User::Member | User::Stranger => "knem-mpi",
        }
        .to_owned();
        if self.setting == Setting::LeavePinned {
            // Otherwise libucm hides the shrinking heap from Open MPI: docs/mpi.md.
            wrapper.insert_str(0, "env UCX_MEM_EVENTS=n ");
        }
        if self.setting == Setting::DeviceGone {
            wrapper.push_str(" sh -c 'sleep 2; rm -f /dev/knem; sleep 2; exec \"$@\"' sh");
        }
        let openmpi = format!("mpirun.openmpi -np {ranks} --oversubscribe --bind-to none");
        // A user that may not open the device must not request this transport.
        let tls = if self.user == User::Stranger { "posix,self,cma" } else { "posix,self,knem" };
        match self.client {
            Client::OpenMpi5 | Client::Mpi4Py => {
                // For root and members nothing else is allowed, so that no other transport can replace KNEM.
                let mut only = if self.over_knem { "--mca smsc knem" } else { "" }.to_owned();
                if self.setting == Setting::LeavePinned {
                    only.push_str(" --mca opal_leave_pinned 1");
                }
                let program = if self.client == Client::Mpi4Py {
                    "python3 /opt/programs/arrays.py"
                } else {
                    "knem-mpi-check.openmpi"
                };
                format!("{openmpi} --mca pml ob1 --mca btl self,sm {only} {wrapper} {program} 1 {rounds} {checks}")
            }
            Client::OpenMpi4 => {
                let pinned = if self.setting == Setting::LeavePinned { "--mca mpi_leave_pinned 1" } else { "" };
                format!(
                    "{openmpi} --mca pml ob1 --mca btl self,vader {pinned} {wrapper} knem-mpi-check.openmpi 1 {rounds} {checks}"
                )
            }
            Client::OpenMpi4Ucx => format!(
                "{openmpi} --mca pml ucx --mca osc ucx --mca opal_common_ucx_tls any --mca opal_common_ucx_devices any \
                 -x UCX_TLS={tls} {wrapper} knem-mpi-check.openmpi 1 {rounds} {checks}"
            ),
            Client::Mpich => {
                format!("env UCX_TLS={tls} mpiexec.mpich -n {ranks} {wrapper} knem-mpi-check.mpich 1 {rounds} {checks}")
            }
            Client::UcxPerftest => format!(
                "env UCX_TLS={tls} sh -c 'knem-mpi ucx_perftest >/dev/null & sleep 5; \
                 knem-mpi ucx_perftest {checks} 127.0.0.1 && wait $!'"
            ),
            Client::Nemesis => format!("knem-nemesis {rounds}"),
            Client::NetPipe => format!("NPknem -o /dev/null {checks}"),
        }
    }
}
