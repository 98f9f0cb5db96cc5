#!/bin/sh
# SPDX-License-Identifier: CECILL-B
# Second program of the test machine, in Debian's own tree: sets up the parts of a booted system that a driver may use,
# runs the commands one after the other, then checks that the driver left nothing behind.
job=/run/knem-vm
# bare=, systemd=, commands=, mark=
. "$job/settings"
. "$job/common"
unset BOOT_IMAGE

if [ "$systemd" = 1 ] && [ "$$" = 1 ]; then
    # systemd brings the machine up, and then this goes on as one of its services, however that went.
    mkdir -p /run/systemd/system
    cat > /run/systemd/system/default.target << EOF
[Unit]
Wants=multi-user.target knem-vm.service
AllowIsolate=yes
EOF
    cat > /run/systemd/system/knem-vm.service << EOF
[Unit]
After=multi-user.target
[Service]
ExecStart=/bin/sh $job/init
EOF
    exec /sbin/init
fi

if [ "$systemd" = 0 ]; then
    mount -t proc -o nosuid,nodev,noexec proc /proc
    mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
    mkdir -p /dev/pts /dev/shm /dev/hugepages /dev/mqueue
    mount -t devpts -o gid=5,mode=620,ptmxmode=000 devpts /dev/pts
    mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
    mount -t hugetlbfs -o nosuid,nodev hugetlbfs /dev/hugepages
    mount -t mqueue -o nosuid,nodev,noexec mqueue /dev/mqueue
    mount -t tmpfs -o nosuid,nodev tmpfs /tmp
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
    mount -t debugfs -o nosuid,nodev,noexec debugfs /sys/kernel/debug
    mount -t tracefs -o nosuid,nodev,noexec tracefs /sys/kernel/tracing
    mkdir -p /run/lock
    for link in "fd /proc/self/fd" "stdin /proc/self/fd/0" "stdout /proc/self/fd/1" "stderr /proc/self/fd/2"; do
        ln -sf "${link#* }" "/dev/${link%% *}"
    done
    echo knem-vm > /proc/sys/kernel/hostname
    ip link set lo up
fi
mkdir -p /sys/fs/cgroup/command

# The host's ends of the machine's serial ports, by name.
port() {
    for entry in /sys/class/virtio-ports/*; do
        if [ "$(cat "$entry/name")" = "knem.$1" ]; then
            echo "/dev/${entry##*/}"
            return
        fi
    done
    echo "knem-vm: there is no port $1" > /dev/console
    echo /dev/console
}
out=$(port out) err=$(port err) log=$(port log)
exec 3> "$(port control)"
say() { echo "$*" >&3; }

if [ "$systemd" = 0 ]; then
    /usr/lib/systemd/systemd-udevd --daemon
    # Devices without hardware drivers to look for: the machine has what it needs, and each search takes the emulator a
    # while.
    udevadm trigger --action=add --subsystem-nomatch=acpi --subsystem-nomatch=cpu --subsystem-nomatch=dmi \
        --subsystem-nomatch=input --subsystem-nomatch=pci --subsystem-nomatch=platform --subsystem-nomatch=serio \
        --subsystem-nomatch=tty
    udevadm settle --timeout=120 || say "finding udev did not settle"
    if [ "$bare" = 0 ]; then
        # What loads the driver when a real system boots.
        /usr/lib/systemd/systemd-modules-load || say "finding systemd-modules-load failed"
        udevadm settle --timeout=120
    fi
fi
if [ -b /dev/vdc ]; then
    tar -x -p --same-owner --no-overwrite-dir -f /dev/vdc -C / || say "finding the added files could not be unpacked"
fi

login_limits

say "up $(uptime)"
mkfifo "$job/out" "$job/err"
number=1
while [ "$number" -le "$commands" ]; do
    # Pipes in between: the command may open /dev/stdout again, which a port does not allow.
    cat "$job/out" > "$out" &
    out_copier=$!
    cat "$job/err" > "$err" &
    err_copier=$!
    setsid sh "$job/command.$number" < /dev/null > "$job/out" 2> "$job/err" &
    wait $!
    status=$?
    # The pipes end when no process has them open.
    sweep 200 || kill "$out_copier" "$err_copier"
    wait "$out_copier" "$err_copier"
    printf '%s' "$mark" > "$out"
    printf '%s' "$mark" > "$err"
    say "status $number $status"
    number=$((number + 1))
done

look_what_is_left

dmesg > "$log"
printf '%s' "$mark" > "$log"
say "end $(uptime)"
# The host switches the machine off; if it does not, it is gone.
sleep 60
echo o > /proc/sysrq-trigger
sleep 60
