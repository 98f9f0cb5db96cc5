#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Compiles the driver's Rust object for each architecture into BUILD. Modules for kernels without Rust are linked with
# it.
#
#     sh install/objects.sh BUILD [ARCHITECTURE...]
#
# ARCHITECTURE is x86_64, aarch64, aarch64-16k or aarch64-64k. The default is this machine's; then it is not an error if
# it cannot be compiled, as the rest is useful without it. KNEM_OBJECTS in the environment is a directory with compiled
# objects; otherwise src-kmod/object.sh compiles them, if the sources or the compiler ($RUSTC) have changed.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
driver=${here%/*}/src-kmod
build=$1
shift
demanded=$*
rustc=${RUSTC:-rustc}

# Prints what is missing to compile an object here.
missing() {
    release=$("$rustc" --version 2>/dev/null | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
    sysroot=$("$rustc" --print sysroot 2>/dev/null) || sysroot=
    if [ -z "$release" ] || [ "$(printf '%s\n1.85\n' "$release" | sort -V | head -n 1)" != 1.85 ]; then
        echo "$rustc is ${release:-not here}, and 1.85 or later is needed"
    elif [ ! -r "$sysroot/lib/rustlib/src/rust/library/core/src/lib.rs" ]; then
        echo "the source of the Rust core library is not installed (Debian: apt install rust-src; rustup: rustup component add rust-src)"
    fi
}

stamp() {
    "$rustc" --version
    (cd "$driver" && find . -name '*.rs' -exec cksum {} + | sort && cksum object.sh)
}

# The core library is compiled once for architectures that differ only in the page size.
core=$(mktemp -d)
trap 'rm -rf "$core"' EXIT
for arch in ${demanded:-$(uname -m)}; do
    object=$build/knem_rust-$arch.o_shipped
    if [ -n "${KNEM_OBJECTS:-}" ]; then
        install -m 644 "$KNEM_OBJECTS/${object##*/}" "$object"
        continue
    fi
    missing=$(missing)
    if [ -n "$missing" ]; then
        rm -f "$object"
        echo "no Rust object for $arch: $missing; without it, modules are built for kernels with Rust (CONFIG_RUST) only" >&2
        [ -z "$demanded" ] || exit 1
        continue
    fi
    stamp=$(stamp)
    [ ! -f "$object" ] || [ "$(cat "$object.stamp" 2>/dev/null)" != "$stamp" ] || continue
    OBJECT_CORE=$core RUSTC=$rustc sh "$driver/object.sh" "$arch" "$build"
    echo "$stamp" >"$object.stamp"
done
