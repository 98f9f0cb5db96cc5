# SPDX-License-Identifier: CECILL-B
# Run after each state: restores the machine, whatever was done. Programs that take an emulator seconds run only if they
# are needed.
is_installed() { [ -e "/var/lib/dpkg/info/$1.list" ] && [ -e "/var/lib/dpkg/info/$1.md5sums" ]; }
same() { cmp -s "$1" "$2" || cp -a "$1" "$2"; }
pkill -x sleep || true
[ "$(getent group rdma | cut -d : -f 4)" = "" ] || usermod -G '' alice
rm -f /etc/modprobe.d/remedies.conf /etc/modules-load.d/knem.conf /etc/dkms/no-autoinstall /etc/dkms/knem.conf
rm -f /etc/udev/rules.d/60-knem.rules /etc/udev/rules.d/10-knem.rules /etc/security/limits.d/90-site.conf
same /root/60-knem.rules /usr/lib/udev/rules.d/60-knem.rules
same /root/knem.conf /usr/lib/modules-load.d/knem.conf
same /root/sysusers.conf /usr/lib/sysusers.d/knem.conf
same /root/limits.conf /etc/security/limits.d/20-knem.conf
rm -rf /usr/local/lib/knem-mpi /usr/local/sbin/ucx_info
rm -rf "/lib/modules/$K/updates/knem" "/lib/modules/$K/misc" "/lib/modules/$K/extra"
[ ! -e /var/lib/dpkg/info/knem.list ] || dpkg --purge knem
[ ! -e /var/lib/dpkg/info/kmod-other.list ] || dpkg --purge kmod-other
# Without a build, which takes minutes: the module and DKMS's records of it are copied back.
touch /etc/dkms/no-autoinstall
is_installed dkms || apt-get -q install dkms
[ -e "/usr/src/knem-$V/way.sh" ] || apt-get -q install --reinstall knem2-dkms
rm -rf /etc/dkms/no-autoinstall /var/lib/dkms/knem "$M"
cp -a /root/dkms /var/lib/dkms/knem
mkdir -p "${M%/*}"
cp -a /root/module "$M"
rm -rf "$B"
cp -a /root/build "$B"
getent group rdma > /dev/null || systemd-sysusers
[ -e /run/udev/control ] || /usr/lib/systemd/systemd-udevd --daemon
udevadm control --reload
for file in /root/modules/modules.*; do same "$file" "/lib/modules/$K/${file##*/}"; done
modprobe -r knem
[ ! -d /dev/knem ] || rmdir /dev/knem
rm -f /dev/knem
modprobe knem
udevadm settle
knem bench --sizes 4K --iterations 1 --no-region-cost > /dev/null
knem doctor --check device --check module.loaded --strict
