#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Checks the requirements of `make`: cargo and rustc of a sufficient version, and a C compiler, which links Rust
# programs. Prints one line for each that is missing: what was found, what is needed, where it can be obtained.
#
#     sh install/toolchain.sh [xtask] [install]
#
# With `xtask`: of the version that packages and tests need, which is newer than that of the sources. With `install`, in
# CI (CI=true) and with KNEM_INSTALL=1, a missing C compiler is installed with apt-get. Otherwise the command is
# printed: the administrator decides what is installed on a machine.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
manifest=${here%/*}/Cargo.toml
source='apt-get install rustc cargo on Debian 13, or rustup (https://rustup.rs) on any system'
if [ "${1:-}" = xtask ]; then
    manifest=${here%/*}/xtask/Cargo.toml
    source='rustup (https://rustup.rs)'
    shift
fi
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$manifest")
case ${CI:-}-${KNEM_INSTALL:-} in
true-* | *-1) set -- install ;;
esac

fail() {
    echo "$1" >&2
    exit 1
}

# CARGO may have options after the name.
for tool in "${CARGO:-cargo}" "${RUSTC:-rustc}"; do
    name=${tool%% *}
    found=$("$name" --version 2>/dev/null | sed -n 's/^[a-z]* \([0-9]*\.[0-9]*\).*/\1/p')
    [ "$(printf '%s\n%s\n' "${found:-0}" "$needed" | sort -V | head -n 1)" = "$needed" ] ||
        fail "$name ${found:-is not here}${found:+ was found}, and $needed or newer is needed: $source"
done

if ! command -v cc >/dev/null || ! echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1; then
    [ "${1:-}" = install ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        fail "a C compiler or its headers are missing; on Debian: apt-get install gcc libc6-dev"
    echo "installing on this machine: gcc libc6-dev" >&2
    apt-get install -y -q --no-install-recommends gcc libc6-dev ||
        { apt-get update -q && apt-get install -y -q --no-install-recommends gcc libc6-dev; }
fi
