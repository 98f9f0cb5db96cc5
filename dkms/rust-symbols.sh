#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Proves that objects built here are the Rust code of the target kernel.
#
#     sh rust-symbols.sh MODULE_SYMVERS OBJECT_DIR
#
# Names of Rust symbols contain a hash of compiler and crate, and of every type in a generic: another compiler,
# configuration or source results in other names. The symbols built here must be exactly those that the kernel exports.
set -eu
export LC_ALL=C

symvers=$1
objects=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Fields are separated by tabs, and the last one may be empty. rust/ is linked into vmlinux; modules may export Rust
# symbols too.
awk -F '\t' '$2 ~ /^_R/ && $3 == "vmlinux" { print $2 }' "$symvers" | sort -u >"$work/kernel"
# The three crates, and the kinds of symbols, that the kernel's rust/exports.c exports.
nm -p --defined-only "$objects/core.o" "$objects/bindings.o" "$objects/kernel.o" |
    awk '$2 ~ /^[TRDB]$/ && $3 ~ /^_R/ && $3 !~ /__(pfx|cfi|odr_asan)/ { print $3 }' | sort -u >"$work/built"

comm -23 "$work/kernel" "$work/built" >"$work/missing"
comm -13 "$work/kernel" "$work/built" >"$work/extra"
total=$(wc -l <"$work/kernel")
missing=$(wc -l <"$work/missing")
extra=$(wc -l <"$work/extra")
if [ "$total" -eq 0 ] || [ "$missing" -ne 0 ] || [ "$extra" -ne 0 ]; then
    head -n 5 "$work/missing" "$work/extra"
    echo "knem: this is not the Rust code of the kernel: of the $total symbols in $symvers, $missing were not built here, and $extra others were"
    exit 1
fi
echo "knem: all $total Rust symbols of the kernel were built here, and no others"
