#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Builds packages of the module that DKMS has built on this machine for a kernel, for machines without a compiler: .deb
# if knem2-dkms is a Debian package, .rpm if rpm installed it. The module keeps its signature.
#
#     sh module-package.sh KERNEL [DIRECTORY]
#
# The packages are written to DIRECTORY (default: the working directory); their names are printed, one on each line:
#
#   .deb                   .rpm
#   knem-modules-KERNEL    kmod-knem-KERNEL   the module; requires exactly the kernel that it was built for
#   knem-modules-FLAVOUR   kmod-knem-latest   requires the module of the newest kernel, also after upgrades
#   knem-modules-common                       loads the module at boot
#
# The first replaces the package of the driver's sources, and conflicts with it.
set -eu
umask 022

fail() {
    echo "module-package.sh: $*" >&2
    exit 1
}

[ $# -ge 1 ] || fail "usage: module-package.sh KERNEL [DIRECTORY]"
kernel=$1
directory=${2:-.}
load=usr/lib/modules-load.d/knem.conf

module=$(modinfo -k "$kernel" -F filename knem 2>/dev/null) ||
    fail "there is no module knem for kernel $kernel. To build it, or see why it cannot be built: dkms autoinstall -k $kernel"
[ -d "$directory" ] || fail "$directory is not a directory"
directory=$(cd "$directory" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# place DIRECTORY, load DIRECTORY: copy the module, and the file that loads it at boot.
place() {
    mkdir -p "$work/root$1"
    cp "$module" "$work/root$1/"
}
load() {
    mkdir -p "$1/${load%/*}"
    cat "/$load" >"$1/$load" 2>/dev/null || echo knem >"$1/$load"
}

# deb NAME ARCHITECTURE DESCRIPTION [FIELD]...: packs $work/root, and removes it.
deb() {
    mkdir -p "$work/root/DEBIAN" "$work/root/usr/share/doc/$1"
    [ ! -r /usr/share/doc/knem2-dkms/copyright ] || cp /usr/share/doc/knem2-dkms/copyright "$work/root/usr/share/doc/$1/"
    find "$work/root/usr" -type f -exec chmod 644 {} +
    cat >"$work/root/DEBIAN/control" <<EOF
Package: $1
Version: $version
Architecture: $2
Maintainer: $(dpkg-query -W -f='${Maintainer}' knem2-dkms)
Section: kernel
Priority: optional
EOF
    name=$1_${version}_$2.deb
    description=$3
    shift 3
    printf '%s\n' "$@" "Description: single-copy transfers between processes - $description" >>"$work/root/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$work/root" "$directory/$name" >/dev/null
    rm -r "$work/root"
    echo "$directory/$name"
}

debs() {
    # The kernel's own package, at exactly this version: the module is bound to one build of the kernel.
    owner=$(dpkg-query -S "/lib/modules/$kernel/modules.order" "/usr/lib/modules/$kernel/modules.order" 2>/dev/null | sed -n '1s/: .*//p')
    [ -n "$owner" ] || fail "no package has kernel $kernel"
    # shellcheck disable=SC2016 # for dpkg-query
    owner_version=$(dpkg-query -W -f='${Version}' "$owner")
    # A kernel update may keep the kernel's name: the version has that of the kernel's package, too.
    version=$driver+${owner_version#*:}
    architecture=$(dpkg --print-architecture)
    flavour=$(echo "$kernel" | sed 's/^[^-]*-\([0-9]*-\)*//')

    place "/usr/lib/modules/$kernel/updates/knem"
    mkdir -p "$work/root/DEBIAN"
    for script in postinst postrm; do
        cat >"$work/root/DEBIAN/$script" <<EOF
#!/bin/sh
set -e
[ ! -e /usr/lib/modules/$kernel/modules.order ] || depmod -a $kernel
EOF
        chmod 755 "$work/root/DEBIAN/$script"
    done
    deb "knem-modules-$kernel" "$architecture" "driver for $kernel
 The module knem, built by DKMS for one kernel, for machines without compilers." \
        "Depends: kmod, knem-modules-common, $owner (= $owner_version)" "Provides: knem-modules (= $driver)" "Conflicts: knem2-dkms"

    mkdir -p "$work/root/usr"
    deb "knem-modules-$flavour" "$architecture" "driver for the newest kernel
 Depends on the module for the newest kernel $flavour that has one." "Depends: knem-modules-$kernel (= $version)"

    load "$work/root"
    deb knem-modules-common all "loading at boot
 Loads the module of knem-modules-KERNEL at boot." "Conflicts: knem2-dkms" "Replaces: knem-tools"
}

rpms() {
    command -v rpmbuild >/dev/null || fail "rpmbuild is missing. Install the package rpm-build (Debian: rpm)"
    for file in vmlinuz modules.builtin modules.order kernel; do
        owner=$(rpm -qf "/lib/modules/$kernel/$file" 2>/dev/null) && break
        owner=
    done
    owner=$(echo "$owner" | head -n 1)
    [ -n "$owner" ] || fail "no package has kernel $kernel"
    # What the distribution's kernels provide for this purpose, or the kernel's own package at exactly this version.
    requires=$(rpm -q --provides "$owner" | grep -Fx -e "kernel-core-uname-r = $kernel" -e "kernel-uname-r = $kernel" | sort | head -n 1)
    [ -n "$requires" ] || requires=$(rpm -q --qf '%{NAME} = %{VERSION}-%{RELEASE}' "$owner")
    source=$(rpm -q --whatprovides dkms-knem)
    driver_release=$(rpm -q --qf '%{RELEASE}' "$source")
    release=$driver_release.$(echo "$kernel" | tr - .)
    # The suffix after the architecture (+rt, +64k) or, as on SUSE, at the end (-default) is the kernel variant.
    case $kernel in
    *."$(uname -m)"+*) variant=-${kernel##*+} ;;
    *."$(uname -m)") variant= ;;
    *-[a-z]*) variant=-${kernel##*-} ;;
    *) variant= ;;
    esac

    place "/lib/modules/$kernel/extra/knem"
    load "$work/root"
    cat >"$work/spec" <<EOF
# Stripping would remove the signature.
%global debug_package %{nil}
%global __os_install_post %{nil}
Name: kmod-knem-$kernel
Version: $driver
Release: $release
Summary: Single-copy transfers between processes: driver for $kernel
License: $(rpm -q --qf '%{LICENSE}' "$source")
Provides: kernel-modules-for-kernel = $kernel
Provides: kmod-knem-uname-r = $kernel
Provides: kmod(knem.ko)
Provides: knem-kmod = $driver-$release
Provides: knem-modules = $driver
Requires: $requires
Conflicts: dkms-knem

%description
The module knem, built by DKMS for one kernel, for machines without compilers.

%package -n kmod-knem-latest$variant
Summary: Single-copy transfers between processes: driver for the newest kernel
Requires: kmod-knem-$kernel = $driver-$release

%description -n kmod-knem-latest$variant
Requires the module for the newest kernel that has one.

%install
cp -a "$work/root/." "%{buildroot}"

%post
depmod -a $kernel || :

%postun
[ ! -e /lib/modules/$kernel/modules.builtin ] || depmod -a $kernel || :

%files
%dir /lib/modules/$kernel/extra/knem
/lib/modules/$kernel/extra/knem/${module##*/}
/$load

%files -n kmod-knem-latest$variant
EOF
    rpmbuild --quiet --define "_topdir $work/rpmbuild" --define "_rpmdir $work/built" -bb "$work/spec" >"$work/log" 2>&1 ||
        fail "rpmbuild failed: $(cat "$work/log")"
    for file in "$work/built"/*/*.rpm; do
        cp "$file" "$directory/"
        echo "$directory/${file##*/}"
    done
}

signer=$(modinfo -F signer "$module" 2>/dev/null) || signer=
echo "module-package.sh: the module is ${signer:+signed by }${signer:-not signed: machines with Secure Boot refuse it}" >&2
# shellcheck disable=SC2016 # for dpkg-query
if driver=$(dpkg-query -W -f='${Version}' knem2-dkms 2>/dev/null) && [ -n "$driver" ]; then
    debs
elif driver=$(rpm -q --qf '%{VERSION}' --whatprovides dkms-knem 2>/dev/null); then
    rpms
else
    fail "the package knem2-dkms is not installed: neither dpkg nor rpm lists it"
fi
