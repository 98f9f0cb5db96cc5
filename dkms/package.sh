#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Actions of the maintainer scripts of the .deb and the .rpm.
#
#     sh package.sh installed [OLD-VERSION]   adds the driver to DKMS, and builds it for every kernel where it can
#     sh package.sh arrived                   a build requirement was installed: builds for kernels that were skipped
#     sh package.sh removing                  removes this version from DKMS and from every kernel
#
# Never fails, whatever DKMS does: packages must not stay half-installed because a module cannot be built. Never loads
# or unloads a module: on a compute node the administrator decides that.
set -u

knem_dir=$(cd "$(dirname "$0")" && pwd)
version=$(cat "$knem_dir/VERSION")
# Kernels whose module an upgrade has removed, one per line.
upgraded=/var/cache/knem/upgraded

say() {
    echo "knem: $*" >&2
}

installed() {
    # A build that failed with an older version may succeed now.
    rm -f /var/cache/knem/build/*.log
    # The path is the same on all distributions with DKMS.
    if ! /usr/lib/dkms/common.postinst knem "$version" /usr/share/knem-dkms "" "${1:-}"; then
        say "DKMS could not install the module for every kernel, see above; dkms autoinstall -k KERNEL tries again"
    fi
    known || say "DKMS does not know the module, see above (a full /tmp is a cause); once that is repaired:" \
        "dkms add knem/$version, then dkms autoinstall"
    # That was for the running and the newest kernel. An upgrade has removed the old version from all other kernels too.
    build_missing untried
    rm -f "$upgraded"
    say_what_is_in_use
    sh "$knem_dir/secure-boot.sh"
}

# Whether dkms add has succeeded. Otherwise DKMS builds nothing and reports nothing.
known() {
    [ -e "/var/lib/dkms/knem/$version/source" ]
}

# A module stays loaded when its file is replaced or removed.
say_what_is_in_use() {
    in_use=$(cat /sys/module/knem/version 2>/dev/null) || return 0
    # In a chroot this is about the host.
    if command -v ischroot >/dev/null && ischroot; then
        return 0
    fi
    if [ "$in_use" != "$version" ]; then
        say "the module in use is still $in_use. To use $version: restart, or end all users of the device (fuser -v /dev/knem)," \
            "then: rmmod knem, then modprobe knem"
    fi
}

# Whether DKMS builds for a kernel when a package is installed, as in its common.postinst: for the running and the
# newest kernel, for all with autoinstall_all_kernels, and for all in a chroot, which does not have the running one. An
# upgrade must leave the module for every kernel that had it.
wanted() {
    running=$(uname -r)
    [ -d "/lib/modules/$running" ] || return 0
    [ "$1" != "$running" ] && [ "$1" != "$(ls -v /lib/modules | tail -n 1)" ] || return 0
    all_kernels || grep -qxF "$1" "$upgraded" 2>/dev/null
}

# Whether autoinstall_all_kernels is set. Debian 13 sets it, in a separate file.
all_kernels() (
    autoinstall_all_kernels=
    for file in /etc/dkms/framework.conf /etc/dkms/framework.conf.d/*.conf; do
        # shellcheck source=/dev/null
        [ ! -r "$file" ] || . "$file"
    done
    [ -n "$autoinstall_all_kernels" ]
)

# Builds for the kernels that lack the module; with `untried`, not for those for which building has just failed.
build_missing() {
    [ ! -e /etc/dkms/no-autoinstall ] || return 0
    known || dkms add -m knem -v "$version" || return 0
    for modules in /lib/modules/*; do
        kernel=${modules##*/}
        wanted "$kernel" || continue
        if [ ! -e "$modules/build/include" ]; then
            # DKMS skips such a kernel without reading dkms.conf, which would report the packages.
            [ "${1:-}" != untried ] || [ ! -d "$modules/kernel" ] ||
                sh "$knem_dir/way.sh" "$kernel" | sed 's/^knem cannot be built/knem: not built/' >&2
            continue
        fi
        case $(dkms status -m knem -v "$version" -k "$kernel" 2>/dev/null) in
        *installed*) continue ;;
        esac
        if [ "${1:-}" = untried ] && [ -e "/var/cache/knem/build/$kernel.log" ]; then
            continue
        fi
        # Checked first, so that not every installation of a package prints the reasons for every kernel.
        sh "$knem_dir/way.sh" "$kernel" >/dev/null || continue
        dkms install -m knem -v "$version" -k "$kernel" || true
    done
}

removing() {
    command -v dkms >/dev/null || return 0
    status=$(dkms status -m knem -v "$version" 2>/dev/null)
    [ -n "$status" ] || return 0
    # Appended: the kernels of an interrupted upgrade are no longer in the list.
    mkdir -p "${upgraded%/*}" && echo "$status" | sed -n "s|^knem[/, ]*$version, \([^,]*\), .*: installed.*|\1|p" >>"$upgraded"
    # DKMS would leave modules that it has not recorded.
    for module in /lib/modules/*/updates/dkms/knem.ko*; do
        [ -f "$module" ] || continue
        kernel=${module#/lib/modules/}
        (cd "/var/lib/dkms/knem/$version/source" 2>/dev/null && sh ./leftover.sh "${kernel%%/*}")
    done
    dkms remove -m knem -v "$version" --all ||
        say "DKMS could not remove the module from every kernel, see above; to remove it: rm /lib/modules/*/updates/dkms/knem.ko*, then depmod -a"
}

verb=${1:-}
[ $# = 0 ] || shift
case $verb in
installed) installed "$@" ;;
arrived) build_missing ;;
removing) removing ;;
*)
    echo "usage: package.sh installed [OLD-VERSION] | arrived | removing" >&2
    exit 2
    ;;
esac
exit 0
