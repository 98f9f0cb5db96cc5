#!/bin/busybox sh
# SPDX-License-Identifier: CECILL-B
# First program of the arm64 machine: mounts the file systems that tests need, loads the driver, runs the test programs,
# then checks that the driver left nothing behind. The host reads the output on the console.
/bin/busybox mkdir -p /bin /dev /proc /sys /tmp /var/tmp
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
. /common
say() { echo "knem-arm64: $*"; }

mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
ip link set lo up
login_limits

insmod /knem.ko || say "finding the driver does not load"
for program in /tests/*/*; do
    say "begin ${program##*/}"
    # Not on the console itself, where the kernel writes too.
    "$program" > /tmp/output 2>&1 < /dev/null
    status=$?
    cat /tmp/output
    say "status $status"
done
look_what_is_left
say "log"
dmesg
say "end"
poweroff -f
