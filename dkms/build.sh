#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Builds knem.ko in the current directory, which has the driver's tree, in the way that way.sh chooses.
#
#     sh build.sh KERNELVER KERNEL_SOURCE_DIR
set -eu

knem_dir=$(cd "$(dirname "$0")" && pwd)
kernelver=$1
kernel_source_dir=$2

. "$knem_dir/way.sh"
if ! knem_decide "$kernelver" "$kernel_source_dir"; then
    echo "knem: cannot be built for kernel $kernelver: $knem_missing"
    exit 1
fi
echo "knem: building for kernel $kernelver with the $knem_with: $knem_why"
build_dir=$knem_build_dir
# An outer make's flags (a package build, for instance) are meant for that make.
unset MAKEFLAGS MFLAGS MAKELEVEL GNUMAKEFLAGS KBUILD_OUTPUT LLVM LLVM_IAS

set -- "$knem_cc"
case $knem_way in
kernel)
    if [ "$knem_metadata" != shipped ]; then
        sh "$knem_dir/rust-metadata.sh" "$kernelver" "$kernel_source_dir"
        build_dir=$knem_cache/$kernelver/out
    fi
    # By its path: a rustup shim in PATH must not replace the kernel's compiler.
    set -- "$@" RUSTC="$knem_rustc"
    ;;
compile)
    mkdir compiled
    TMPDIR=$knem_temporary RUSTC=$knem_rustc sh ./object.sh "$knem_arch" compiled
    object=knem_rust-$knem_arch.o_shipped
    if cmp "compiled/$object" "$object"; then
        knem_why="compiled here, same bytes as shipped: $knem_why"
    else
        knem_why="compiled here by rustc $knem_release, other bytes than shipped: $knem_why"
    fi
    echo "knem: $knem_why"
    mv "compiled/$object" .
    rm -r compiled
    knem_way=object
    ;;
esac
make -C "$build_dir" M="$PWD" -j"${KNEM_JOBS:-$(nproc)}" "$@" KNEM_RUST="$knem_way" KNEM_WHY="$knem_why" modules
[ -f knem.ko ]
