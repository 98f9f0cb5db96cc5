#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Whether the driver can be built here on a kernel's own `kernel` crate (Rust-for-Linux). Sourced after kernel.sh:
#
#     knem_check_crate     after knem_check_kernel; status 0: it can
#
# sets knem_rustc, knem_metadata and knem_from_where (a phrase), or knem_lack (what is missing) and knem_remedy.
# knem_metadata is
#     shipped   in the build directory
#     cached    built before and still valid
#     makeable  by rust-metadata.sh, from the linux-source package

# The first series whose kernel crate the driver supports: kernel-crate-from in Cargo.toml.
knem_crate_from=7.2

# Version of the output of rust-metadata.sh. Raise it when a module needs something else: older entries are then
# rebuilt. It is a number and not a hash of the script, because linux-source may have been removed by then.
knem_cache_format=1
# The bitcode of the C helpers for modules, below a build directory.
knem_helpers=rust/helpers/helpers_module.bc
# MiB that building the metadata needs for a minute; half of it stays.
knem_disk_needed=400

# knem_lacks LACK [REMEDY]
knem_lacks() {
    knem_lack=$(knem_clean "$1")
    knem_remedy=$(knem_clean "${2:-}")
    return 1
}

knem_check_crate() {
    knem_lack=
    knem_remedy=
    knem_metadata=
    knem_is_set CONFIG_RUST || {
        knem_lacks "kernel built without CONFIG_RUST"
        return 1
    }
    knem_from "$knem_series" "$knem_crate_from" || {
        knem_lacks "kernel crate of $knem_series, older than $knem_crate_from"
        return 1
    }
    # Debian's headers lack the metadata; it can be built from the source of exactly this kernel.
    knem_find_cache
    knem_source=linux-source-$knem_series
    knem_headers_version=$(knem_package_version "linux-headers-$knem_kernelver")
    knem_from_where="metadata made from $knem_source"
    if knem_has_metadata "$knem_build_dir"; then
        knem_metadata=shipped
        knem_from_where="metadata shipped with the kernel headers"
    elif knem_is_cached; then
        knem_metadata=cached
    else
        knem_check_source || return 1
        knem_metadata=makeable
    fi
    [ "$knem_metadata" = shipped ] || knem_check_cache || return 1
    knem_check_rustc && knem_check_helpers || return 1
    [ "$knem_metadata" != makeable ] || knem_check_makeable
}

# Sets the directory of built metadata: from the environment for a build by a user who may not write to /var
# (install/module.sh), or from the site's settings if /var is mounted noexec.
knem_find_cache() {
    knem_cache=${KNEM_METADATA:-$(knem_setting KNEM_METADATA)}
    knem_cache=${knem_cache:-/var/cache/knem/rust-metadata}
}

# Whether rustc can map the procedural macros of built metadata, and no other user could have written them.
knem_check_cache() {
    knem_remedy="name another directory by a line KNEM_METADATA=/path/to/directory in $knem_conf"
    knem_may_execute "$knem_cache" || {
        knem_lacks "nothing below $knem_cache may be executed (mounted noexec), and rustc maps procedural macros from there" \
            "$knem_remedy"
        return 1
    }
    [ ! -e "$knem_cache" ] || [ -z "$(find -H "$knem_cache" -prune \( -perm -020 -o -perm -002 -o ! -user 0 ! -user "$(id -u)" \))" ] ||
        knem_lacks "$knem_cache belongs to another user, or others may write to it" "$knem_remedy"
}

# knem_may_execute DIRECTORY: whether files there may be executed and mapped executable. Tried if the directory is
# writable, otherwise read from the mount options.
knem_may_execute() {
    knem_parent=$1
    while [ ! -d "$knem_parent" ]; do
        knem_parent=$(dirname "$knem_parent")
    done
    if knem_probe=$(mktemp -d "$knem_parent/.knem-probe-XXXXXXXXXX" 2>/dev/null); then
        # An empty program: a full disk must not look like noexec.
        : >"$knem_probe/run" && chmod 700 "$knem_probe/run"
        knem_ran=0
        "$knem_probe/run" 2>/dev/null || knem_ran=$?
        rm -rf "$knem_probe"
        [ "$knem_ran" != 126 ]
        return
    fi
    case ,$(findmnt -n -o OPTIONS -T "$knem_parent" 2>/dev/null), in
    *,noexec,*) return 1 ;;
    esac
}

# With CONFIG_RUST_INLINE_HELPERS rustc emits bitcode, which is linked with that of the C helpers and compiled by clang.
# It needs the helpers' bitcode, and clang of the major version that built the kernel.
knem_check_helpers() {
    knem_is_set CONFIG_RUST_INLINE_HELPERS || return 0
    if [ "$knem_metadata" = shipped ] && [ ! -r "$knem_build_dir/$knem_helpers" ]; then
        knem_lacks "kernel headers without the bitcode of the C helpers ($knem_helpers), which CONFIG_RUST_INLINE_HELPERS takes"
    elif [ "${knem_here%%.*}" != "$knem_major" ]; then
        knem_suffix=-$knem_major
        knem_lacks "CONFIG_RUST_INLINE_HELPERS takes clang $knem_major, which built the kernel, and clang here is ${knem_here:-none}" \
            "$(knem_get clang lld llvm)"
        knem_suffix=
        return 1
    fi
}

# knem_package_version PACKAGE: the version of the source package it was built from (a rebuild of a binary package adds
# a suffix to its own), or nothing where there is no such package, or no dpkg.
knem_package_version() {
    dpkg-query -W -f='${source:Version}' "$1" 2>/dev/null || :
}

# knem_has_metadata BUILD_DIR
knem_has_metadata() {
    [ -r "$1/rust/libkernel.rmeta" ] && [ -r "$1/rust/libcore.rmeta" ] && [ -r "$1/rust/libmacros.so" ]
}

# Prints the inputs of cached metadata, which are compared with the file `stamp` of the entry.
knem_stamp() {
    echo "format $knem_cache_format"
    echo "headers $knem_headers_version"
    echo "rustc $(knem_config CONFIG_RUSTC_VERSION_TEXT)"
}

knem_is_cached() {
    knem_entry=$knem_cache/$knem_kernelver
    [ -r "$knem_entry/stamp" ] && [ "$(cat "$knem_entry/stamp")" = "$(knem_stamp)" ] && knem_has_metadata "$knem_entry/out" || return 1
    ! knem_is_set CONFIG_RUST_INLINE_HELPERS || [ -r "$knem_entry/out/$knem_helpers" ]
}

knem_check_source() {
    # Ubuntu has a package of it, and its linux-source another layout.
    ! knem_remedy=$(knem_get metadata) || {
        knem_lacks "kernel headers without Rust metadata (rust/libkernel.rmeta)" "$knem_remedy"
        return 1
    }
    knem_remedy=
    case $knem_build_dir in
    /usr/src/linux-headers-*) ;;
    *) knem_headers_version= ;;
    esac
    [ -n "$knem_headers_version" ] || {
        knem_lacks "kernel headers without Rust metadata (rust/libkernel.rmeta)"
        return 1
    }
    knem_remedy="apt install --no-install-recommends $knem_source=$knem_headers_version"
    knem_tarball=/usr/src/$knem_source.tar.xz
    [ -r "$knem_tarball" ] || {
        knem_lacks "$knem_source is not installed" "$knem_remedy"
        return 1
    }
    knem_source_version=$(knem_package_version "$knem_source")
    [ "$knem_source_version" = "$knem_headers_version" ] ||
        knem_lacks "$knem_source is ${knem_source_version:-unknown}, the kernel headers are $knem_headers_version" "$knem_remedy"
}

# knem_metadata_rustc BUILD_DIR: the compiler that made the metadata there, as `rustc --version` prints it; the header
# of each crate has it.
knem_metadata_rustc() {
    head -c 512 "$1/rust/libcore.rmeta" 2>/dev/null | LC_ALL=C tr -c ' -~' '\n' | sed -n 's/.*\(rustc [0-9]\)/\1/p' | head -n 1 | tr -d '#'
}

# The compiler must be the one that built the metadata: rustc reads no other's (E0514). It is the one that built the
# kernel, unless the headers' package was built with another. It is searched for in the site's settings, then where
# distributions install it, never in PATH, which may have a rustup shim.
knem_check_rustc() {
    knem_wanted=$(knem_config CONFIG_RUSTC_VERSION_TEXT)
    knem_built="kernel built with $knem_wanted"
    knem_text=
    [ "$knem_metadata" != shipped ] || knem_text=$(knem_metadata_rustc "$knem_build_dir")
    [ "${knem_text:-$knem_wanted}" = "$knem_wanted" ] || {
        knem_built="Rust metadata made by $knem_text (and the configuration names ${knem_wanted:-none})"
        knem_wanted=$knem_text
    }
    knem_release=$(printf %s "$knem_wanted" | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
    knem_site=$(knem_setting RUSTC)
    knem_found=
    for knem_rustc in ${knem_site:-/usr/bin/rustc "/usr/bin/rustc-$knem_release" "/usr/lib/rust-$knem_release/bin/rustc"}; do
        [ -x "$knem_rustc" ] || continue
        # The kernel's makefile drops # from this text too.
        knem_text=$("$knem_rustc" --version 2>/dev/null | tr -d '#') || knem_text=
        [ "$knem_text" != "$knem_wanted" ] || return 0
        knem_found="$knem_found, $knem_rustc is ${knem_text:-broken}"
    done
    knem_rustc=
    if [ -n "$knem_found" ]; then
        knem_lacks "$knem_built, but${knem_found#,}" "$(knem_get 'rustc-{R}' || echo "install that version"), and name it by a line \
RUSTC=/path/to/rustc in $knem_conf if it is in another directory"
    elif [ -n "$knem_site" ]; then
        knem_lacks "there is no compiler $knem_site, which $knem_conf names"
    elif [ "$knem_metadata" = makeable ]; then
        knem_lacks "rustc is not installed" "$(knem_get_rustc rust-src bindgen)"
    else
        knem_lacks "rustc is not installed" "$(knem_get_rustc)"
    fi
}

# Checks the other requirements of building the metadata.
knem_check_makeable() {
    knem_has_core "$knem_rustc" || {
        knem_lacks "rust-src is not installed" "$(knem_get rust-src)"
        return 1
    }
    knem_bindgen=/usr/bin/bindgen
    knem_wanted=$(knem_config CONFIG_BINDGEN_VERSION_TEXT)
    [ -x "$knem_bindgen" ] || {
        knem_lacks "bindgen is not installed" "$(knem_get bindgen)"
        return 1
    }
    knem_text=$("$knem_bindgen" --version 2>/dev/null) || knem_text=
    [ -z "$knem_wanted" ] || [ "$knem_text" = "$knem_wanted" ] || {
        knem_lacks "kernel built with $knem_wanted, but $knem_bindgen is ${knem_text:-broken}" "install that version"
        return 1
    }
    for knem_tool in nm:binutils tar:tar xz:xz flock:util-linux; do
        command -v "${knem_tool%%:*}" >/dev/null || {
            knem_lacks "${knem_tool%%:*} is not installed" "$(knem_get "${knem_tool##*:}")"
            return 1
        }
    done
    # The cache's directory may not exist yet: query the file system of its parent.
    knem_disk=$(df -Pm "$knem_cache" 2>/dev/null || df -Pm "${knem_cache%/*}" 2>/dev/null || df -Pm "${knem_cache%/*/*}")
    knem_disk=$(printf '%s\n' "$knem_disk" | awk 'NR == 2 { print $4 }')
    [ "${knem_disk:-0}" -ge "$knem_disk_needed" ] ||
        knem_lacks "Rust metadata needs $knem_disk_needed MiB below ${knem_cache%/*/*}, and $knem_disk are free" "apt clean may help"
}
