#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Makes a Debian package of the module that DKMS has built here for a kernel, for machines that build nothing.
#
#     sh module-package.sh KERNEL [DIRECTORY]
#
# The package, knem-modules-KERNEL, goes to DIRECTORY (default: here); its name is printed. It needs the very kernel that the module was
# built for, and stands in for knem2-dkms, which it cannot be installed with.
set -eu

fail() {
    echo "module-package.sh: $*" >&2
    exit 1
}

[ $# -ge 1 ] || fail "usage: module-package.sh KERNEL [DIRECTORY]"
kernel=$1
directory=${2:-.}

module=$(modinfo -k "$kernel" -F filename knem 2>/dev/null) ||
    fail "there is no module knem for kernel $kernel here; dkms autoinstall -k $kernel builds it, or says why it cannot be"
[ -d "$directory" ] || fail "there is no directory $directory"
# The kernel's own package, at exactly this version: the module is bound to one build of the kernel.
owner=$(dpkg-query -S "/lib/modules/$kernel/modules.order" "/usr/lib/modules/$kernel/modules.order" 2>/dev/null | sed -n '1s/: .*//p')
[ -n "$owner" ] || fail "no package has kernel $kernel"
# shellcheck disable=SC2016 # for dpkg-query
owner_version=$(dpkg-query -W -f='${Version}' "$owner")
# shellcheck disable=SC2016
version=$(dpkg-query -W -f='${Version}' knem2-dkms) || fail "knem2-dkms is not installed here"

package=knem-modules-$kernel
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
chmod 755 "$work"
place=/usr/lib/modules/$kernel/updates/knem
mkdir -p "$work/DEBIAN" "$work$place" "$work/usr/share/doc/$package"
cp "$module" "$work$place/"
# Several of these packages may be on a machine, so that the file has the kernel in its name.
mkdir -p "$work/usr/lib/modules-load.d"
echo knem >"$work/usr/lib/modules-load.d/knem-$kernel.conf"
[ ! -r /usr/share/doc/knem2-dkms/copyright ] || cp /usr/share/doc/knem2-dkms/copyright "$work/usr/share/doc/$package/"
find "$work/usr" -type f -exec chmod 644 {} +
cat >"$work/DEBIAN/control" <<EOF
Package: $package
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: $(dpkg-query -W -f='${Maintainer}' knem2-dkms)
Section: kernel
Priority: optional
Depends: kmod, $owner (= $owner_version)
Provides: knem-modules (= $version)
Conflicts: knem2-dkms
Description: single-copy transfers between processes - driver for $kernel
 The module knem, built by DKMS for one kernel, for machines without compilers.
EOF
for script in postinst postrm; do
    cat >"$work/DEBIAN/$script" <<EOF
#!/bin/sh
set -e
[ ! -e /usr/lib/modules/$kernel/modules.order ] || depmod -a $kernel
EOF
    chmod 755 "$work/DEBIAN/$script"
done
file=$directory/${package}_${version}_$(dpkg --print-architecture).deb
dpkg-deb --root-owner-group --build "$work" "$file" >/dev/null
echo "$file"
