#!/bin/sh
# SPDX-License-Identifier: CECILL-B
# First program of the debug kernel, in Debian's own tree (hostfs on a temporary overlay of the host): sets up the parts
# of a booted system that a driver may use, runs the commands one after the other, then checks that the driver left
# nothing behind.
job=/knem-uml
# bare=, commands=, scan=, debug=, mark=
. "$job/settings"
. "$job/common"

# One program for all: starting one takes a kernel with KASAN a third of a second.
mount --all --fstab "$job/fstab"
mkdir -p /run/lock /run/knem-uml /sys/fs/cgroup/command
busybox ln -sf /proc/self/fd /dev/fd
for number in 0:stdin 1:stdout 2:stderr; do
    busybox ln -sf "/proc/self/fd/${number%:*}" "/dev/${number#*:}"
done
echo knem-uml > /proc/sys/kernel/hostname
busybox ip link set lo up

# The host reads this in the kernel's log, in order with the kernel's own messages.
say() { echo "<5>$mark $*" > /dev/kmsg; }

# The host's ends of two serial lines.
busybox stty -F /dev/ttyS0 raw -echo
busybox stty -F /dev/ttyS1 raw -echo
# Held open: a line forgets what it still has to write when it is closed for the last time.
exec 3> /dev/ttyS0 4> /dev/ttyS1

# An injected failure is no report.
for kind in failslab fail_page_alloc fail_usercopy; do
    [ ! -d "/sys/kernel/debug/$kind" ] || echo 0 > "/sys/kernel/debug/$kind/verbose"
done

/usr/lib/systemd/systemd-udevd --daemon
if [ "$bare" = 0 ]; then
    modprobe knem || say "finding the driver does not load"
fi
udevadm settle --timeout=60 || say "finding udev did not settle"

login_limits

# Scans for leaks are the runner's, or they would only make the time of a run vary.
[ ! -e /sys/kernel/debug/kmemleak ] || echo scan=off > /sys/kernel/debug/kmemleak

say "up $(uptime)"
mkfifo /run/knem-uml/out /run/knem-uml/err
number=1
while [ "$number" -le "$commands" ]; do
    # Pipes in between: the command may open /dev/stdout again.
    cat /run/knem-uml/out >&3 &
    out_copier=$!
    cat /run/knem-uml/err >&4 &
    err_copier=$!
    setsid sh "$job/command.$number" < /dev/null > /run/knem-uml/out 2> /run/knem-uml/err 3>&- 4>&- &
    wait $!
    status=$?
    # The pipes end when no process has them open.
    sweep 300 || kill "$out_copier" "$err_copier"
    wait "$out_copier" "$err_copier"
    printf '%s' "$mark" >&3
    printf '%s' "$mark" >&4
    say "status $number $status"
    number=$((number + 1))
done

look_what_is_left

if [ "$debug" = 1 ]; then
    # After its first report, or a table that is full, lockdep goes silent: what follows was not checked.
    grep -q '^ debug_locks: *1$' /proc/lockdep_stats || say "finding lockdep is not at work at the end"
fi
if [ "$scan" = 1 ]; then
    leaks=/sys/kernel/debug/kmemleak
    if [ -e "$leaks" ]; then
        # Memory counts as lost when it is some seconds old and two scans have not met it.
        sleep 6
        echo scan > "$leaks" && echo scan > "$leaks" || say "finding kmemleak is not at work at the end"
        # The C library that the kernel is linked with keeps its threads' storage where the kernel cannot look.
        awk '
            function report(i) { if (count && !ours) for (i = 1; i <= count; i++) print lines[i]; count = ours = 0 }
            /^unreferenced object/ { report() }
            { lines[++count] = $0 }
            /_dl_allocate_tls\+/ { ours = 1 }
            END { report() }
        ' "$leaks" | while IFS= read -r line; do
            echo "<4>kmemleak: $line" > /dev/kmsg
        done
    else
        say "finding kmemleak is not at work at the end"
    fi
fi

say "end $(uptime)"
busybox poweroff -f
