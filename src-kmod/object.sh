#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Compiles the driver's Rust part into one object that fits every kernel of an architecture.
#
#     sh object.sh x86_64|aarch64|aarch64-16k|aarch64-64k DIRECTORY
#
# builds DIRECTORY/knem_rust-ARCHITECTURE.o_shipped.
#
# OBJECT_CORE in the environment is a directory that keeps the compiled core library, which takes most of the time, for
# the next call.
#
# Requires rustc (RUSTC; 1.85 or newer) and the sources of its core library (package rust-src), nothing of a kernel. The
# same compiler generates the same bytes, wherever the sources and DIRECTORY are.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
architecture=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
rustc=${RUSTC:-rustc}

fail() {
    echo "object.sh: $*" >&2
    exit 1
}

sysroot=$("$rustc" --print sysroot) || fail "cannot run $rustc; install Rust 1.85 or newer, or set RUSTC"
library=$sysroot/lib/rustlib/src/rust/library
[ -f "$library/core/src/lib.rs" ] ||
    fail "the sources of Rust's core library are not in $library; install the package rust-src"

# For unstable options; the core library itself uses unstable features.
export RUSTC_BOOTSTRAP=1
options=$("$rustc" -C help -Z help)
has() {
    case $options in
    *"$1"*) ;;
    *) false ;;
    esac
}

# The options that a kernel uses for its own Rust code, with every mitigation: a kernel without a mitigation patches it
# out or ignores it.
case $architecture in
x86_64)
    flags="--target x86_64-unknown-none -Ccode-model=kernel -Cno-redzone=y -Zplt=yes -Zcf-protection=branch
        -Zfunction-return=thunk-extern -Zpatchable-function-entry=16,16"
    sls=+harden-sls-ijmp,+harden-sls-ret
    if has retpoline-external-thunk; then # An option of its own since 1.90; a target feature before.
        flags="$flags -Zretpoline-external-thunk -Ctarget-feature=$sls"
    else
        flags="$flags -Ctarget-feature=+retpoline-external-thunk,+retpoline-indirect-branches,+retpoline-indirect-calls,$sls"
    fi
    # Jump tables are indirect branches without a landing pad.
    if has " jump-tables="; then
        flags="$flags -Cjump-tables=no"
    else
        flags="$flags -Zno-jump-tables"
    fi
    ;;
aarch64 | aarch64-16k | aarch64-64k)
    flags="--target aarch64-unknown-none-softfloat -Zbranch-protection=bti,pac-ret -Zfixed-x18 -Cforce-frame-pointers=y"
    ;;
*) fail "there is no architecture $architecture: x86_64, aarch64 (4 KiB pages), aarch64-16k, aarch64-64k" ;;
esac
case $architecture in
*-16k) pages="page_shift=\"14\"" ;;
*-64k) pages="page_shift=\"16\"" ;;
*) pages="page_shift=\"12\"" ;;
esac
# Without -Zplt and -Zdirect-access-external-data, calls and data go through a global offset table, which modules must
# not have.
flags="$flags -Copt-level=2 -Cpanic=abort -Ccodegen-units=1 -Cembed-bitcode=yes -Cforce-unwind-tables=n -Zfunction-sections=no
    -Crelocation-model=static -Csymbol-mangling-version=v0 -Zdirect-access-external-data=yes --sysroot=/dev/null"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work"

# compile CRATE EDITION SOURCE [OPTION...]
compile() {
    crate=$1
    edition=$2
    source=$3
    shift 3
    # Warnings are about target features that the compiler does not know by name, or are for developers.
    "$rustc" $flags "--remap-path-prefix=$here=knem" "--remap-path-prefix=$library=rust" --cap-lints allow --crate-name "$crate" --edition "$edition" -L. "$@" "$source" 2>log || {
        cat log >&2
        fail "$rustc cannot compile $source"
    }
}

core=${OBJECT_CORE:+$OBJECT_CORE/libcore-${architecture%%-*}.rlib}
edition=$(sed -n 's/^edition = "\(.*\)"/\1/p' "$library/core/Cargo.toml")
# Overflow is checked in the driver's crates, as in the kernel's. It is not checked in core, whose formatting would then
# contain a panic.
if [ -f "$core" ]; then
    cp "$core" libcore.rlib
else
    compile core "$edition" "$library/core/src/lib.rs" -Coverflow-checks=n --cfg no_fp_fmt_parse --crate-type rlib
    [ -z "$core" ] || cp libcore.rlib "$core"
fi
printf '#![feature(compiler_builtins)]\n#![compiler_builtins]\n#![no_builtins]\n#![no_std]\n' >compiler_builtins.rs
compile compiler_builtins 2021 compiler_builtins.rs --crate-type rlib
"$rustc" --edition 2021 --crate-name macros --crate-type proc-macro "$here/kernel/macros/lib.rs"
compile kernel 2021 "$here/kernel/lib.rs" --cfg "$pages" -Coverflow-checks=y --crate-type rlib --extern macros=libmacros.so
# All crates are optimised as one, so that code which C does not call is removed.
compile knem 2021 "$here/knem_main.rs" -Coverflow-checks=y --crate-type staticlib -Clto=fat --extern kernel --emit obj \
    -Zcrate-attr=no_std '-Zcrate-attr=feature(arbitrary_self_types)'
mv knem.o "$out/knem_rust-$architecture.o_shipped"
