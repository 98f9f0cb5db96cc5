#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Builds the module without harm to other packages. A build that fails inside of DKMS makes apt or dnf fail, and leaves the kernel's
# package half-configured; a kernel that dkms.conf excludes is skipped, and the transaction succeeds. So dkms.conf has the module built
# before it answers, and excludes the kernel if that fails, for whatever reason: a change in the kernel's interface, a full disk, a signal.
#
#     sh attempt.sh make KERNELVER KERNEL_SOURCE_DIR     dkms.conf: builds aside; exit 0: there is a module
#     sh attempt.sh take KERNELVER KERNEL_SOURCE_DIR     MAKE[0]: brings it here, and builds it first if it is not there
#
# KNEM_ATTEMPTS: another directory than /var/cache/knem/build, for a build by a user who may not write there (install/module.sh).
# Where the kernel crate fails, the prebuilt object is tried. Logs of what failed stay there, KERNELVER.log and KERNELVER.crate.log,
# until a later attempt succeeds.
set -eu
umask 022

knem_dir=$(cd "$(dirname "$0")" && pwd)
verb=$1
kernelver=$2
kernel_source_dir=$3

attempts=${KNEM_ATTEMPTS:-/var/cache/knem/build}
place=$attempts/$kernelver
log=$attempts/$kernelver.log
crate_log=$attempts/$kernelver.crate.log

# What a module was built from: the sources, the compiler, and the kernel's interface.
stamp() {
    # By name, as DKMS has its own files beside these where it builds.
    (cd "$knem_dir" && find . -type f \( -name '*.rs' -o -name '*.[ch]' -o -name '*.o_shipped' -o -name '*.sh' -o -name Kbuild -o -name VERSION \) \
        -exec cksum {} + | sort)
    cksum <"$kernel_source_dir/Module.symvers"
    cat "$kernel_source_dir/include/config/auto.conf" /etc/dkms/knem.conf 2>/dev/null | cksum
}

made() {
    [ -r "$place/knem.ko" ] && [ -r "$place/stamp" ] && [ "$(cat "$place/stamp")" = "$(stamp)" ]
}

say() {
    echo "knem: $*" >&2
}

# Removes what is left of kernels that are gone.
prune() {
    for old in "$attempts"/*; do
        name=${old##*/}
        name=${name%.log}
        [ -d "/lib/modules/${name%.crate}" ] || rm -rf "$old"
    done
}

build() {
    rm -rf "$place"
    mkdir "$place"
    cp -R "$knem_dir/." "$place/source"
    (cd "$place/source" && sh ./build.sh "$kernelver" "$kernel_source_dir") >"$log" 2>&1
}

build_any_way() {
    . "$knem_dir/way.sh"
    knem_decide "$kernelver" "$kernel_source_dir" || {
        say "cannot be built for kernel $kernelver: $knem_missing"
        return 1
    }
    more=
    [ "$knem_way $knem_metadata" != "kernel makeable" ] || more=" (which takes some minutes)"
    say "building for kernel $kernelver with the $knem_with: $knem_why$more"
    rm -f "$crate_log"
    ! build || return 0
    [ "$knem_way-$knem_forced" = kernel- ] || return 1
    mv "$log" "$crate_log"
    export KNEM_RUST=object KNEM_WHY="building on the kernel crate failed, see $crate_log"
    knem_decide "$kernelver" "$kernel_source_dir" || return 1
    say "building for kernel $kernelver with the $knem_with: $knem_why"
    build
}

make_aside() {
    mkdir -p "$attempts"
    exec 8>"$attempts/.lock"
    flock -w 3600 8
    # DKMS may read dkms.conf more than once before it builds.
    ! made || return 0
    prune
    trap 'rm -rf "$place"' EXIT
    trap 'exit 1' HUP INT TERM
    build_any_way || exit 1
    mv "$place/source/knem.ko" "$place/"
    rm -rf "$place/source"
    # Last, so that what is here is whole.
    stamp >"$place/stamp"
    trap - EXIT
}

case $verb in
make) make_aside ;;
take)
    made || make_aside
    # An older attempt's may be gone.
    cat "$log" 2>/dev/null || true
    # DKMS expects the file without a suffix, and compresses it itself.
    mv "$place/knem.ko" .
    rm -rf "$place" "$log"
    ;;
esac
