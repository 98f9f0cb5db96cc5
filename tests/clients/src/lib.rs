// SPDX-License-Identifier: CECILL-B
//! Unmodified clients of KNEM over `/dev/knem`: Debian's own Open MPI, MPICH, UCX and NetPIPE, with the plug-ins that a
//! site builds with `knem-mpi-plugins`, on stock kernels. Their data is compared, and the driver's counters show what
//! was copied by it.

pub mod case;
pub mod counters;
pub mod matrix;
pub mod site;
pub mod table;
pub mod times;
pub mod uml;
pub mod verdict;
