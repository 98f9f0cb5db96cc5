#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# For Slurm's Prolog (slurm.conf): looks whether jobs could use KNEM on this node. If not, Slurm drains the node and requeues the job,
# with what is said here in slurmd's log. MPI libraries do without KNEM, only slower: sites that prefer that leave this out.
set -u

device=/dev/knem
wanted="660 root rdma"

fail() {
    echo "knem: $*" >&2
    exit 1
}

[ -c "$device" ] || fail "there is no $device: the module is not loaded (modprobe knem says why)"
found=$(stat -c '%a %U %G' "$device")
[ "$found" = "$wanted" ] || fail "$device is $found instead of $wanted: another udev rule names it"
knem info >/dev/null 2>&1 || fail "the driver does not answer as the command knem expects: $(knem info 2>&1 | head -n 1)"
exit 0
