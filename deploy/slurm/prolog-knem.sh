#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# For Slurm's Prolog (slurm.conf): checks whether jobs can use KNEM on this node. If not, Slurm drains the node and
# requeues the job, with this script's message in slurmd's log. MPI libraries also run without KNEM, slower: sites that
# prefer that omit this script.
set -u

device=/dev/knem
wanted="660 root rdma"

fail() {
    echo "knem: $*" >&2
    exit 1
}

[ -c "$device" ] || fail "$device does not exist: the module is not loaded. modprobe knem prints why"
found=$(stat -c '%a %U %G' "$device")
[ "$found" = "$wanted" ] || fail "$device is $found instead of $wanted: check for another udev rule that names it"
knem info >/dev/null 2>&1 || fail "the driver does not answer: $(knem info 2>&1 | head -n 1)"
exit 0
