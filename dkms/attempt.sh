#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Builds the module without affecting other packages. A build that fails within DKMS makes apt or dnf fail and leaves
# the kernel's package half-configured; a kernel that dkms.conf excludes is skipped, and the transaction succeeds. So
# dkms.conf builds the module first, and excludes the kernel if the build fails for any reason: a change in the kernel's
# interface, a full disk, a signal.
#
#     sh attempt.sh make KERNELVER KERNEL_SOURCE_DIR     for dkms.conf: builds in the cache; exit 0: there is a module
#     sh attempt.sh take KERNELVER KERNEL_SOURCE_DIR     for MAKE[0]: moves it here, and builds it first if needed
#
# KNEM_ATTEMPTS: directory instead of /var/cache/knem/build, for a build by a user who may not write there
# (install/module.sh). If the build on the kernel crate fails, the prebuilt object is tried. The logs of failed builds
# stay there, KERNELVER.log and KERNELVER.crate.log, until a later attempt succeeds.
set -eu
umask 022

knem_dir=$(cd "$(dirname "$0")" && pwd)
verb=$1
kernelver=$2
kernel_source_dir=$3

attempts=${KNEM_ATTEMPTS:-/var/cache/knem/build}
result=$attempts/$kernelver
log=$attempts/$kernelver.log
crate_log=$attempts/$kernelver.crate.log

# Prints the inputs of a build: the sources, the site's settings, and the kernel's interface and configuration.
stamp() {
    # By name: DKMS adds its own files to the build directory.
    (cd "$knem_dir" && find . -type f \( -name '*.rs' -o -name '*.[ch]' -o -name '*.o_shipped' -o -name '*.sh' -o -name Kbuild -o -name VERSION \) \
        -exec cksum {} + | sort)
    cksum <"$kernel_source_dir/Module.symvers"
    cat "$kernel_source_dir/include/config/auto.conf" /etc/dkms/knem.conf 2>/dev/null | cksum
}

made() {
    [ -r "$result/knem.ko" ] && [ -r "$result/stamp" ] && [ "$(cat "$result/stamp")" = "$(stamp)" ]
}

say() {
    echo "knem: $*" >&2
}

# Removes results and logs of kernels that no longer exist.
prune() {
    for old in "$attempts"/*; do
        name=${old##*/}
        name=${name%.log}
        [ -d "/lib/modules/${name%.crate}" ] || rm -rf "$old"
    done
}

build() {
    rm -rf "$result"
    mkdir "$result"
    cp -R "$knem_dir/." "$result/source"
    (cd "$result/source" && sh ./build.sh "$kernelver" "$kernel_source_dir") >"$log" 2>&1
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
    trap 'rm -rf "$result"' EXIT
    trap 'exit 1' HUP INT TERM
    build_any_way || exit 1
    mv "$result/source/knem.ko" "$result/"
    rm -rf "$result/source"
    # Last: a stamp means that the result is complete.
    stamp >"$result/stamp"
    trap - EXIT
}

case $verb in
make) make_aside ;;
take)
    made || make_aside
    # The log of an older attempt may have been removed.
    cat "$log" 2>/dev/null || true
    # DKMS expects the file without a suffix, and compresses it itself.
    mv "$result/knem.ko" .
    rm -rf "$result" "$log"
    ;;
esac
