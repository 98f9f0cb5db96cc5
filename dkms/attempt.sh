#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Building without harm to anybody else. A build that fails inside of DKMS makes apt or dnf fail, and leaves the kernel's package
# half-configured; a kernel that dkms.conf excludes is skipped, and all is well. So dkms.conf has the module built before it
# answers, and excludes the kernel if that fails, for whatever reason: a change in the kernel's Rust code, a full disk, a signal.
#
#     sh attempt.sh make KERNELVER KERNEL_SOURCE_DIR                     dkms.conf: builds aside; exit 0: there is a module
#     sh attempt.sh take KERNELVER KERNEL_SOURCE_DIR [MAKE-VARIABLE...]  MAKE[0]: brings it here, or builds it here
#
# What failed stays to be read in /var/cache/knem/build/KERNELVER.log, until a later attempt succeeds.
set -eu
umask 022

knem_dir=$(cd "$(dirname "$0")" && pwd)
verb=$1
kernelver=$2
kernel_source_dir=$3
shift 3

attempts=/var/cache/knem/build
place=$attempts/$kernelver
log=$attempts/$kernelver.log

# What a module was built from: the sources, the compiler, and the kernel's interface.
stamp() {
    # By name, as DKMS has its own files beside these where it builds.
    (cd "$knem_dir" && find . -type f \( -name '*.rs' -o -name '*.[ch]' -o -name '*.sh' -o -name Kbuild -o -name VERSION \) \
        -exec cksum {} + | sort)
    cksum <"$kernel_source_dir/Module.symvers"
    cat "$kernel_source_dir/include/config/auto.conf" /etc/dkms/knem.conf 2>/dev/null | cksum
}

made() {
    [ -r "$place/knem.ko" ] && [ -r "$place/stamp" ] && [ "$(cat "$place/stamp")" = "$(stamp)" ]
}

case $verb in
make)
    mkdir -p "$attempts"
    exec 8>"$attempts/.lock"
    flock -w 3600 8
    # DKMS may read dkms.conf more than once before it builds.
    ! made || exit 0
    # What is left of kernels that are gone.
    for old in "$attempts"/*; do
        name=${old##*/}
        [ -d "/lib/modules/${name%.log}" ] || rm -rf "$old"
    done
    rm -rf "$place"
    mkdir "$place"
    trap 'rm -rf "$place"' EXIT
    trap 'exit 1' HUP INT TERM
    cp -R "$knem_dir/." "$place/source"
    cd "$place/source"
    sh ./build.sh "$kernelver" "$kernel_source_dir" >"$log" 2>&1
    mv knem.ko "$place/"
    cd /
    rm -rf "$place/source"
    # Last, so that what is here is whole.
    stamp >"$place/stamp"
    trap - EXIT
    ;;
take)
    if made; then
        # An older attempt's may be gone.
        cat "$log" 2>/dev/null || true
        # DKMS looks for the file without a suffix of compression, and leaves it to itself.
        mv "$place/knem.ko" .
        rm -rf "$place" "$log"
    else
        sh ./build.sh "$kernelver" "$kernel_source_dir" "$@"
    fi
    ;;
esac
