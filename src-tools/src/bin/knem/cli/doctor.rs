// SPDX-License-Identifier: CECILL-B
//! The command line of `knem doctor`.

use clap::Args;

/// Options of `knem doctor`.
#[derive(Debug, Args)]
#[command(after_long_help = FINDINGS)]
pub(crate) struct DoctorArgs {
    /// Show findings that are OK in full too, with the details
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Check only this group or finding; may be repeated
    #[arg(long, value_name = "ID")]
    pub(crate) check: Vec<String>,

    /// Exit with status 6 if there is a note
    #[arg(long)]
    pub(crate) strict: bool,

    /// Write JSON
    #[arg(short, long)]
    pub(crate) json: bool,
}

/// Description of `knem doctor`.
pub(super) const DOCTOR: &str = "\
Find what keeps KNEM from being used here, and print remedies

Checks the module, the kernel, the build requirements, the device and its permissions, the memory limits, the driver's statistics, and \
Open MPI, UCX and MPICH where they are in PATH. Each finding has a state, its meaning and a remedy. Nothing is \
changed. No privilege is needed: what the caller may not read is reported as not known.

The exit status is 0 if the caller can use KNEM, and 1 if a problem prevents it. With --strict it is 6 \
if there is no problem, but a note.";

/// States and findings, with the ids that `--check` takes.
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
  knem doctor -v                  Show everything, with the details
  knem doctor --check device      Check who may open the device
  knem doctor --strict --json     Test the image of a node";
