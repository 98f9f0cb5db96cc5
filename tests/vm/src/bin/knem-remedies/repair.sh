# SPDX-License-Identifier: CECILL-B
# After each state: as it was before, whatever was done.
pkill -x sleep || true
usermod -G '' alice
rm -f /etc/modprobe.d/remedies.conf /etc/modules-load.d/knem.conf /etc/dkms/no-autoinstall /etc/dkms/knem.conf
rm -f /etc/udev/rules.d/60-knem.rules /etc/udev/rules.d/10-knem.rules /etc/security/limits.d/90-site.conf
cp -a /root/60-knem.rules /usr/lib/udev/rules.d/
cp -a /root/knem.conf /usr/lib/modules-load.d/
cp -a /root/sysusers.conf /usr/lib/sysusers.d/knem.conf
[ -e /etc/security/limits.d/20-knem.conf ] || apt-get -q install --reinstall -o Dpkg::Options::=--force-confmiss knem-tools
rm -rf "/lib/modules/$K/updates/knem" "/lib/modules/$K/misc" "/lib/modules/$K/extra"
! dpkg -s knem > /dev/null 2>&1 || dpkg --purge knem
! dpkg -s kmod-other > /dev/null 2>&1 || dpkg --purge kmod-other
rm -rf "$B"
cp -a /root/build "$B"
dpkg -s dkms > /dev/null 2>&1 || apt-get -q install dkms
[ -e "/usr/src/knem-$V/way.sh" ] || apt-get -q install --reinstall knem2-dkms
getent group rdma > /dev/null || systemd-sysusers
[ -e /run/udev/control ] || /usr/lib/systemd/systemd-udevd --daemon
udevadm control --reload
[ -e "/var/lib/dkms/knem/$V/source" ] || dkms add "knem/$V"
if ! [ -e "$M/knem.ko.xz" ] || ! dkms status "knem/$V" -k "$K" | grep -q installed; then
    dkms uninstall "knem/$V" -k "$K" > /dev/null 2>&1 || true
    dkms install "knem/$V" -k "$K"
fi
depmod -a "$K"
modprobe -r knem
[ ! -d /dev/knem ] || rmdir /dev/knem
rm -f /dev/knem
modprobe knem
udevadm settle
knem bench --sizes 4K --iterations 1 --no-region-cost > /dev/null
knem doctor --check module --check building --check device --strict
