#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# What the packages' scripts do on a user's machine, for .deb and .rpm alike.
#
#     sh package.sh installed [OLD-VERSION]   hands the driver to DKMS, and builds it for every kernel for which it can be built
#     sh package.sh arrived                   something came that a kernel may have been skipped for: builds what can be built now
#     sh package.sh removing                  takes this version out of DKMS and of every kernel
#
# Never fails, whatever DKMS does: a module that cannot be built is no reason to leave packages half-installed. Never loads or
# unloads a module: on a compute node that is for the administrator to decide.
set -u

knem_dir=$(cd "$(dirname "$0")" && pwd)
version=$(cat "$knem_dir/VERSION")
# The kernels whose module an upgrade has removed: a line each.
upgraded=/var/cache/knem/upgraded

say() {
    echo "knem: $*" >&2
}

installed() {
    # What an older version failed at may succeed now.
    rm -f /var/cache/knem/build/*.log
    # Its path is the same on all distributions that have DKMS.
    if ! /usr/lib/dkms/common.postinst knem "$version" /usr/share/knem-dkms "" "${1:-}"; then
        say "DKMS could not install the module for every kernel, see above; dkms autoinstall -k KERNEL tries again"
    fi
    known || say "DKMS does not know the module, see above (a full /tmp is a cause); once that is repaired:" \
        "dkms add knem/$version, then dkms autoinstall"
    # That was for the running and the newest kernel. An upgrade has taken the old version out of all the others as well.
    build_missing untried
    rm -f "$upgraded"
    say_what_is_in_use
    sh "$knem_dir/secure-boot.sh"
}

# Whether dkms add has succeeded. Without it DKMS builds nothing, and reports nothing.
known() {
    [ -e "/var/lib/dkms/knem/$version/source" ]
}

# A module stays in use until it is unloaded, whatever happens to its file.
say_what_is_in_use() {
    in_use=$(cat /sys/module/knem/version 2>/dev/null) || return 0
    # In a chroot this is about the host.
    if command -v ischroot >/dev/null && ischroot; then
        return 0
    fi
    if [ "$in_use" != "$version" ]; then
        say "the module in use is still $in_use, and stays; $version is used after a restart, or when nothing uses the" \
            "device any more after: rmmod knem, then modprobe knem (fuser -v /dev/knem shows who uses it)"
    fi
}

# Whether it is DKMS's policy to build for a kernel when a package comes, as in its common.postinst: for the running and the newest one, for
# all with autoinstall_all_kernels, and for all in a chroot, where the running one is not here. An upgrade takes a module from no kernel.
wanted() {
    running=$(uname -r)
    [ -d "/lib/modules/$running" ] || return 0
    [ "$1" != "$running" ] && [ "$1" != "$(ls -v /lib/modules | tail -n 1)" ] || return 0
    all_kernels || grep -qxF "$1" "$upgraded" 2>/dev/null
}

# Whether autoinstall_all_kernels is set. Debian 13 sets it, in a file of its own.
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
            # DKMS does not look at such a kernel, and dkms.conf cannot name the packages.
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
        # Asked first, so that every package that comes is not followed by the reasons of every kernel.
        sh "$knem_dir/way.sh" "$kernel" >/dev/null || continue
        dkms install -m knem -v "$version" -k "$kernel" || true
    done
}

removing() {
    command -v dkms >/dev/null || return 0
    status=$(dkms status -m knem -v "$version" 2>/dev/null)
    [ -n "$status" ] || return 0
    # Added to: what an interrupted upgrade has removed is no longer in the list.
    mkdir -p "${upgraded%/*}" && echo "$status" | sed -n "s|^knem[/, ]*$version, \([^,]*\), .*: installed.*|\1|p" >>"$upgraded"
    # What DKMS does not know to be there it would leave behind.
    for module in /lib/modules/*/updates/dkms/knem.ko*; do
        [ -f "$module" ] || continue
        kernel=${module#/lib/modules/}
        (cd "/var/lib/dkms/knem/$version/source" 2>/dev/null && sh ./leftover.sh "${kernel%%/*}")
    done
    dkms remove -m knem -v "$version" --all ||
        say "DKMS could not remove the module from every kernel, see above; it is gone when /lib/modules/*/updates/dkms has no knem.ko"
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
