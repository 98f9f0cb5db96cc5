#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Builds knem.ko in the current directory: what dkms.conf calls.
#
#     sh build.sh KERNELVER KERNEL_SOURCE_DIR [MAKE-VARIABLE=VALUE...]
#
# The kernel's Rust metadata comes with the build directory, or from the cache, or is made now (rust-metadata.sh).
set -eu

knem_dir=$(cd "$(dirname "$0")" && pwd)
kernelver=$1
kernel_source_dir=$2
shift 2

. "$knem_dir/rust-check.sh"
if ! knem_rust_check "$kernelver" "$kernel_source_dir"; then
    echo "knem: cannot be built for kernel $kernelver: $knem_missing"
    exit 1
fi

case $knem_metadata in
shipped)
    build_dir=$knem_build_dir
    ;;
*)
    sh "$knem_dir/rust-metadata.sh" "$kernelver" "$kernel_source_dir"
    build_dir=$knem_cache/$kernelver/out
    ;;
esac

# An outer make's flags (a package build, for instance) are meant for that make.
unset MAKEFLAGS MFLAGS MAKELEVEL GNUMAKEFLAGS KBUILD_OUTPUT
# By its path: a rustup shim in PATH must not take the place of the kernel's compiler.
make -C "$build_dir" M="$PWD" -j"${KNEM_JOBS:-$(nproc)}" RUSTC="$knem_rustc" "$@" modules
