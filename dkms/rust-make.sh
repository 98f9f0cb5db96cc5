#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Builds a kernel build directory with Rust metadata, from one without it and the kernel's source.
#
#     sh rust-make.sh BUILD_DIR SOURCE_TARBALL NEW RUSTC BINDGEN CC=...|LLVM=...
#
# Debian's headers have everything but the directory rust/ and the files that build it. So NEW/src is a source tree of
# links to the headers, completed from the tarball; NEW/out is an output tree of links to the headers' configuration and
# generated files. The kernel's own makefiles build scripts/target.json and rust/kernel.o there, and with the latter all
# crates that a module uses. The objects prove that this is the kernel's own Rust code (rust-symbols.sh). Only the files
# that the compiler reads for a module are kept. NEW may be moved afterwards.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
headers=$1
tarball=$2
new=$3
rustc=$4
bindgen=$5
compiler=$6

# The part of the headers that all flavours share; the flavour's Makefile includes it.
common=$(sed -n 's|^include \(/.*\)/Makefile$|\1|p' "$headers/Makefile")
[ -d "$common/include" ] || {
    echo "$headers/Makefile does not name the common headers"
    exit 1
}

# --- source tree
# -------------------------------------------------------------------------------------------------------------

mkdir -p "$new/src/scripts"
# Patterns, because the files that probe bindgen differ between series. -T0: all CPUs, if the archive has several
# blocks.
top=$(basename "$tarball" .tar.xz)
xz -dc -T0 "$tarball" | tar -x -C "$new/src" --strip-components=1 --wildcards \
    "$top/rust" \
    "$top/drivers/base/base.h" \
    "$top/scripts/Makefile" \
    "$top/scripts/generate_rust_target.rs" \
    "$top/scripts/rust_is_available*" \
    "$top/scripts/*-version.sh"

for path in "$common"/scripts/*; do
    [ -e "$new/src/scripts/${path##*/}" ] || ln -s "$(readlink -f "$path")" "$new/src/scripts/"
done
for name in arch include tools; do
    ln -s "$(readlink -f "$common/$name")" "$new/src/$name"
done

# The kernel's Makefile with one more goal. The usual goals would build the tools of scripts/, which the headers'
# package has.
cp "$common/Makefile" "$new/src/Makefile"
cat >>"$new/src/Makefile" <<'EOM'

ifneq ($(need-sub-make),1)
PHONY += knem-rust-metadata
knem-rust-metadata:
	+$(Q)$(CONFIG_SHELL) $(srctree)/scripts/rust_is_available.sh
	$(if $(CONFIG_X86),$(Q)$(MAKE) $(build)=scripts scripts/target.json)
	$(Q)$(MAKE) $(build)=rust rust/kernel.o
	$(if $(CONFIG_RUST_INLINE_HELPERS),$(Q)$(MAKE) $(build)=rust rust/helpers/helpers_module.bc)
endif
EOM

# --- output tree
# -------------------------------------------------------------------------------------------------------------

mkdir "$new/out"
for name in .config .kernelvariables Module.symvers arch include vmlinux; do
    [ ! -e "$headers/$name" ] || ln -s "$headers/$name" "$new/out/$name"
done
ln -s ../src/scripts ../src/tools "$new/out/"
# Finds itself, so that the tree can be renamed.
cat >"$new/out/Makefile" <<'EOM'
KBUILD_OUTPUT := $(patsubst %/,%,$(dir $(realpath $(lastword $(MAKEFILE_LIST)))))
include $(patsubst %/out,%/src,$(KBUILD_OUTPUT))/Makefile
EOM

# --- build
# -------------------------------------------------------------------------------------------------------------------

# An empty environment: no variable of the caller may affect the build, in particular no compiler in PATH.
#   may-sync-config=   the headers have no Kconfig files to compare the configuration with
#   need-compiler=1    detect the compilers, which the makefile does for its usual goals only
#   KCPPFLAGS          bindgen reads <../../drivers/base/base.h>, which is found from a real directory two levels deep
#   KRUSTFLAGS         file names in messages are relative to the source tree, not to the cache
# shellcheck disable=SC2016
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/nonexistent LC_ALL=C TMPDIR="${TMPDIR:-/tmp}" \
    make -C "$new/out" -j"${KNEM_JOBS:-$(nproc)}" \
    may-sync-config= need-compiler=1 \
    KCPPFLAGS="-I$new/src/rust/bindings" \
    KRUSTFLAGS="--remap-path-prefix=$new/src/=" \
    RUSTC="$rustc" HOSTRUSTC="$rustc" BINDGEN="$bindgen" "$compiler" \
    knem-rust-metadata

sh "$here/rust-symbols.sh" "$headers/Module.symvers" "$new/out/rust"

# --- clean up
# ---------------------------------------------------------------------------------------------------------------

find "$new/out/rust" -type f ! -name '*.rmeta' ! -name '*.so' ! -name helpers_module.bc -delete
find "$new/out/rust" -type d -empty -delete
rm -rf "$new/src/rust" "$new/src/drivers"
echo "knem: Rust metadata made: $(du -sm "$new" | cut -f 1) MiB"
