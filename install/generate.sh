#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Makes what is generated and is the same everywhere: what follows from the version and the list of kernels, both of which the top
# Cargo.toml has, and what the command tells about itself.
#
#     sh install/generate.sh BUILD [KNEM]
#
# Writes BUILD/VERSION, BUILD/dkms.conf and BUILD/knem-dkms.triggers; with KNEM, the built command, also BUILD/knem, its manual pages (BUILD/man) and completions.
# KNEM_VERSION in the environment takes the place of the version in Cargo.toml.
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

# setting SECTION NAME: the value of a line `NAME = ...` of a section of Cargo.toml.
setting() {
    sed -n "/^\[$1\]/,/^\[/s/^$2 = //p" "$top/Cargo.toml" | tr -d '"[],'
}

version=${KNEM_VERSION:-$(setting workspace.package version)}
[ -n "$version" ] || fail "Cargo.toml has no version in [workspace.package]"
series=$(setting workspace.metadata.knem kernel-series)
[ -n "$series" ] || fail "Cargo.toml has no kernel-series in [workspace.metadata.knem]"
first=${series%% *}
last=${series##* }
case $first$last in
*[!0-9.]*) fail "kernel-series in Cargo.toml is no list of series such as 7.2: $series" ;;
esac
# After the last series of a major version this is one that never comes, which serves as well: it is only compared with.
after=${last%.*}.$((${last#*.} + 1))

# fill SOURCE TARGET: puts values in the place of their names. A name that is left would only show on a user's machine.
fill() {
    sed -e "s/@VERSION@/$version/g" -e "s/@KERNEL_MIN@/$first/g" -e "s/@KERNEL_MAX@/$after/g" "$top/$1" >"$build/$2"
    ! grep '@[A-Z_][A-Z_]*@' "$build/$2" >&2 || fail "nothing is known to put in place of that in $1"
}

# said TARGET ARGUMENT...: what the command prints; nothing would be an empty file.
said() {
    target=$build/$1
    shift
    "$build/knem" "$@" >"$target"
    [ -s "$target" ] || fail "\`knem $*\` printed nothing"
}

mkdir -p "$build"
echo "$version" >"$build/VERSION"
fill dkms/dkms.conf.in dkms.conf
# A line of @SERIES@ for each series. Without the comments, which dpkg's tools take for triggers.
while read -r line; do
    case $line in
    '#'*) ;;
    *@SERIES@*) for one in $series; do echo "$line" | sed "s/@SERIES@/$one/"; done ;;
    *) echo "$line" ;;
    esac
done <"$top/debian/knem-dkms.triggers.in" >"$build/knem-dkms.triggers"

[ -n "$command" ] || exit 0
install -m 755 "$command" "$build/knem"
# What the compilers say about themselves is of no use there.
strip --remove-section=.comment --remove-section=.note "$build/knem"
rm -rf "$build/man"
mkdir "$build/man"
"$build/knem" __man "$build/man"
said knem.bash completions bash
said _knem completions zsh
said knem.fish completions fish
