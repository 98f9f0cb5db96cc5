# SPDX-License-Identifier: CECILL-B
# Run once: creates a user and a program that holds the device, and configures apt to ask nothing and to have packages
# without a network.
useradd --user-group alice
echo 'APT::Get::Assume-Yes "true";' > /etc/apt/apt.conf.d/90-remedies
mkdir -p /root/off
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    case $file in
    */knem.list | */remedies.list) ;;
    *) [ ! -e "$file" ] || mv "$file" /root/off/ ;;
    esac
done
apt-get -q update
# What a repair copies back, since a build takes an emulator minutes.
cp -a "$B" /root/build
cp -a "$M" /root/module
cp -a /var/lib/dkms/knem /root/dkms
cp -a /usr/lib/udev/rules.d/60-knem.rules /usr/lib/modules-load.d/knem.conf /root/
cp -a /usr/lib/sysusers.d/knem.conf /root/sysusers.conf
cp -a /etc/security/limits.d/20-knem.conf /root/limits.conf
mkdir /root/modules
cp -a "/lib/modules/$K"/modules.* /root/modules/
! command -v xz > /dev/null || xz -dkc /root/module/knem.ko.xz > /root/knem.ko
# Modules of the same length: of another version, and of the original driver.
sed "s/version=$V/version=9.9.9/" /root/knem.ko > /root/other.ko
if cmp -s /root/knem.ko /root/other.ko; then exit 1; fi
sed "s/version=$V/version=1.1.4/" /root/knem.ko > /root/original.ko
pack() {
    mkdir -p "/root/$1/DEBIAN"
    printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Vendor <vendor@packages.invalid>\nDescription: made for a test\n' \
        "$1" "$2" > "/root/$1/DEBIAN/control"
    dpkg-deb --root-owner-group --build "/root/$1" "/root/$1.deb" > /dev/null
}
mkdir -p /root/knem/usr/share/knem
pack knem 1.1.4.90mlnx3
mkdir -p "/root/kmod-other/lib/modules/$K/extra/other"
cp /root/knem.ko "/root/kmod-other/lib/modules/$K/extra/other/"
pack kmod-other 3.0
