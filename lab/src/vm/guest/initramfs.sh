#!/bin/sh
# SPDX-License-Identifier: CECILL-B
# First program of the test machine: loads what the root disk needs, puts this run's job beside it, and hands over.
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc

give_up() {
    echo "knem-vm: $*" > /dev/console
    poweroff -f
}

# Asked only whether this machine can run the kernel at all.
if grep -qw knem_vm.probe /proc/cmdline; then
    echo "knem-vm: the kernel runs" > /dev/console
    poweroff -f
fi

while read -r module; do
    insmod "/modules/$module" || echo "knem-vm: cannot load $module" > /dev/console
done < /modules/order

tries=0
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || give_up "the disks do not appear"
    sleep 0.05
done

mount -t ext4 -o noatime /dev/vda /root || give_up "the root disk cannot be mounted"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /root/run
mkdir /root/run/knem-vm
tar -x -f /dev/vdb -C /root/run/knem-vm || give_up "the job cannot be read"
mount --move /dev /root/dev
umount /proc
exec switch_root /root /run/knem-vm/init
