// SPDX-License-Identifier: CECILL-B
//! The command line of `knem doctor`.

use clap::Args;

/// Options of `knem doctor`.
#[derive(Debug, Args)]
#[command(after_long_help = FINDINGS)]
pub(crate) struct DoctorArgs {
    /// Show in full what is OK, too, and what was seen
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Check this only: a group, or a finding by its id; may be given several times
    #[arg(long, value_name = "ID")]
    pub(crate) check: Vec<String>,

    /// Let notes count: status 6 if there is one
    #[arg(long)]
    pub(crate) strict: bool,

    /// Write JSON
    #[arg(short, long)]
    pub(crate) json: bool,
}

/// Description of `knem doctor`.
pub(super) const DOCTOR: &str = "\
Find out what keeps KNEM from being used here, and the remedy

Looks at the module, the kernel, what building needs, the device and who may open it, the limits of memory, what was counted, and at \
Open MPI, UCX and MPICH where they are in PATH. Each finding has its state, what that means, and the remedy. Nothing is \
changed, and no privilege is needed: what cannot be seen without is reported as not known.

The exit status is 0 if KNEM can be used by the caller, and 1 if there is a problem that keeps it from being used. With --strict it is 6 \
if there is no problem, but a note.";

/// What may be found, by the ids that `--check` takes.
pub(crate) const FINDINGS: &str = "\
States:
  ok         as it should be
  note       it works, and something about it is worth knowing or fixing
  PROBLEM    it keeps KNEM from working for the caller
  not known  the sentence gives the reason

Findings:
  machine.kind          container, virtual machine, Windows
  module.present        the module's file for the running kernel
  module.loaded         whether the module is loaded
  module.version        versions of the loaded module, of its file, and of this command
  module.rust           how the Rust part of the module was built, and why
  module.kernels        which installed kernels have the module
  module.vendor         another KNEM, of a vendor, or a file that DKMS does not install over
  module.autoload       whether the module is loaded at boot
  module.options        parameters that are set for it
  kernel.series         whether the running kernel is one the driver is written for
  kernel.secure_boot    Secure Boot, lockdown, and enforced signatures
  kernel.signature      whether the module is signed by a key that the machine trusts
  building.dkms         the driver's package, its source, and whether DKMS knows it
  building.autoinstall  whether DKMS builds for new kernels
  building.kernel       whether it can be built, for each kernel
  building.log          builds that failed
  device.node           the device node, its mode, owner and group
  device.access         whether the caller can open it, and the interface it speaks
  device.group          the group of the node
  device.member         whether the caller is a member, in the database and in this process
  device.rule           the udev rule, and others that change what it does
  limits.memlock        the caller's limit of locked memory
  limits.file           what PAM sets it to at login
  limits.systemd        what systemd sets it to for services
  limits.slurm          what Slurm does with it
  limits.pinned         the machine's ceiling of pinned memory
  limits.unpinned       regions that are pinned only while they are copied
  use.requests          whether KNEM is used
  use.refused           what was refused, and why
  use.failed            copies that failed
  mpi.openmpi           Open MPI: built with KNEM
  mpi.openmpi_choice    Open MPI: whether it would choose KNEM
  mpi.ucx               UCX: built with KNEM, and whether it would choose it
  mpi.plugins           plug-ins of knem-mpi-plugins: versions, and whether they are loaded
  mpi.mpich             MPICH and MVAPICH

Examples:
  knem doctor -v                  everything, with what was seen
  knem doctor --check device      who may open the device
  knem doctor --strict --json     for a test of a node's image";
