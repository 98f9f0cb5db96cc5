#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Generates the files that are the same for all layouts: those with the version of the top Cargo.toml, and the command's
# own documentation.
#
#     sh install/generate.sh BUILD [KNEM]
#
# Writes BUILD/VERSION and BUILD/dkms.conf; with KNEM, the built command, also BUILD/knem, its manual pages (BUILD/man)
# and completions. KNEM_VERSION in the environment replaces the version in Cargo.toml.
set -eu
umask 022
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
top=${here%/*}
build=$1
command=${2:-}

fail() {
    echo "install/generate.sh: $1" >&2
    exit 1
}

version=${KNEM_VERSION:-$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$top/Cargo.toml")}
[ -n "$version" ] || fail "Cargo.toml has no version in [workspace.package]"

# said TARGET ARGUMENT...: writes the command's output to a file; fails if it is empty.
said() {
    target=$build/$1
    shift
    "$build/knem" "$@" >"$target"
    [ -s "$target" ] || fail "\`knem $*\` printed nothing"
}

mkdir -p "$build"
echo "$version" >"$build/VERSION"
sed "s/@VERSION@/$version/g" "$top/dkms/dkms.conf.in" >"$build/dkms.conf"

[ -n "$command" ] || exit 0
install -m 755 "$command" "$build/knem"
# Remove the compilers' version strings.
strip --remove-section=.comment --remove-section=.note "$build/knem"
rm -rf "$build/man"
mkdir "$build/man"
"$build/knem" __man "$build/man"
said knem.bash completions bash
said _knem completions zsh
said knem.fish completions fish
