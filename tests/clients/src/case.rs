// SPDX-License-Identifier: CECILL-B
//! One run of a client: what runs, as which user and within which limit, and what must come of it.

/// A client of KNEM, and the distribution whose packages it is of.
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
    /// A program of ours that does what MPICH up to 3.3 did, with its status array and asynchronous copies.
    Nemesis,
    /// UCX's own benchmark, of Debian 12.
    UcxPerftest,
    /// NetPIPE's check of integrity.
    NetPipe,
}

/// Who runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// root.
    Root,
    /// A user in the group `rdma`.
    Member,
    /// A user who may not open the device.
    Stranger,
    /// A member, each rank in a user namespace of its own.
    Namespaces,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Case {
    /// The client.
    pub client: Client,
    /// Checks of knem-mpi-check, or arguments of the client's own program.
    pub checks: &'static str,
    /// How many processes.
    pub ranks: u32,
    /// Rounds of each check.
    pub rounds: u32,
    /// Who.
    pub user: User,
    /// Limit of locked memory in bytes; none: unlimited.
    pub memlock: Option<u64>,
    /// Whether it must use the driver, or must do without.
    pub over_knem: bool,
    /// Whether it must fail: a check of the checks.
    pub must_fail: bool,
}

impl Client {
    /// Its name in the table.
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

    /// The distribution it is of.
    pub fn distribution(self) -> &'static str {
        match self {
            Self::OpenMpi5 | Self::Mpi4Py => "trixie",
            _ => "bookworm",
        }
    }

    /// Whether a program of ours compares what it moves, and reports how much that was.
    pub fn reports(self) -> bool {
        !matches!(self, Self::UcxPerftest | Self::NetPipe)
    }
}

impl User {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Member => "member",
            Self::Stranger => "no member",
            Self::Namespaces => "user ns",
        }
    }
}

impl Case {
    /// The limit in the table.
    pub fn limit(&self) -> String {
        match self.memlock {
            None => "unlimited".to_owned(),
            Some(bytes) if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
            Some(bytes) => format!("{} KiB", bytes >> 10),
        }
    }

    /// A line of shell that runs it in the machine, in the tree of its distribution.
    pub fn command(&self) -> String {
        let limit = self.memlock.map_or_else(|| "unlimited".to_owned(), |bytes| format!("{bytes}:{bytes}"));
        let user = match self.user {
            User::Root => "env HOME=/root OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
            User::Member | User::Namespaces => {
                "env HOME=/home/alice setpriv --reuid=1000 --regid=1000 --groups=$(stat -c %g /dev/knem)"
            }
            User::Stranger => "env HOME=/home/bob setpriv --reuid=1001 --regid=1001 --clear-groups",
        };
        let (tree, program) = (self.client.distribution(), self.program());
        // Only root may raise a limit.
        format!("cd /tmp; prlimit --memlock={limit} enter-tree /srv/{tree} {user} {program}")
    }

    fn program(&self) -> String {
        let Self { ranks, rounds, checks, .. } = self;
        let wrapper = if self.user == User::Namespaces {
            // Links below another namespace's /proc/PID/fd cannot be followed: UCX's shared memory must have names.
            "env UCX_POSIX_USE_PROC_LINK=n unshare -U --map-user=1000 --map-group=1000 knem-mpi"
        } else {
            "knem-mpi"
        };
        let openmpi = format!("mpirun.openmpi -np {ranks} --oversubscribe --bind-to none");
        // A user who may not open the device has no such transport to ask for.
        let tls = if self.user == User::Stranger { "posix,self,cma" } else { "posix,self,knem" };
        match self.client {
            Client::OpenMpi5 | Client::Mpi4Py => {
                // As root and for members nothing else is allowed, so that no other way can take KNEM's place.
                let only = if self.over_knem { "--mca smsc knem" } else { "" };
                let program = if self.client == Client::Mpi4Py {
                    "python3 /opt/programs/arrays.py"
                } else {
                    "knem-mpi-check.openmpi"
                };
                // With registrations that are kept, arrays arrived wrong; the cause is not known yet.
                let only = if self.client == Client::Mpi4Py {
                    format!("{only} --mca opal_leave_pinned 0")
                } else {
                    only.to_owned()
                };
                format!("{openmpi} --mca pml ob1 --mca btl self,sm {only} {wrapper} {program} 1 {rounds} {checks}")
            }
            Client::OpenMpi4 => {
                format!(
                    "{openmpi} --mca pml ob1 --mca btl self,vader {wrapper} knem-mpi-check.openmpi 1 {rounds} {checks}"
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
