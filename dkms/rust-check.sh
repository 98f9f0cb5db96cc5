#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Can a Rust module be built for a kernel here? And if not, what is missing, and which command mends it?
#
#     sh rust-check.sh KERNELVER [KERNEL_SOURCE_DIR]     prints one sentence; exit 0: yes, 77: no
#
# Sourced by dkms.conf (bash) and by the other scripts here (any POSIX shell), it gives the function
#
#     knem_rust_check KERNELVER KERNEL_SOURCE_DIR        status 0: yes; else knem_missing holds the sentence
#
# which leaves in: knem_build_dir (the kernel's, links resolved), knem_rustc, knem_cache, and knem_metadata:
#     shipped   the build directory has it
#     cached    made before, and still valid
#     makeable  rust-metadata.sh can make it from the linux-source package
#
# Sentences travel through dkms.conf, bash's regular expressions and log files: no quotes, dollars or newlines (knem_no).

# KNEM_METADATA: another place, for a build by a user who may not write there (install/module.sh).
knem_cache=${KNEM_METADATA:-/var/cache/knem/rust-metadata}
# The layout of what rust-metadata.sh makes. To be raised when a module needs something else: what was made before is then made
# anew. A number and not a hash of the script, because linux-source may be gone by then.
knem_cache_format=1
# MiB the making of the metadata needs for a minute; half of it stays.
knem_disk_needed=400

knem_rust_check() {
    knem_kernelver=$1
    knem_missing=
    knem_metadata=
    knem_rustc=
    knem_build_dir=$(readlink -f "$2") || knem_build_dir=
    knem_check_build_dir && knem_check_series && knem_check_config || return 1
    knem_headers_version=$(knem_package_version "linux-headers-$knem_kernelver")
    if knem_has_metadata "$knem_build_dir"; then
        knem_metadata=shipped
    elif knem_is_cached; then
        knem_metadata=cached
    else
        knem_check_source || return 1
        knem_metadata=makeable
    fi
    knem_check_rustc && knem_check_cc || return 1
    [ "$knem_metadata" != makeable ] || knem_check_makeable
}

# knem_no SENTENCE: the check fails for this reason.
knem_no() {
    knem_missing=$(printf %s "$1" | tr '\n' ' ' | tr -cd 'A-Za-z0-9 .,:;/+~_=@()-')
    return 1
}

# knem_config SYMBOL: its value in the kernel's configuration, without quotes.
knem_config() {
    sed -n "s/^$1=//p" "$knem_build_dir/include/config/auto.conf" | tr -d '"'
}

# knem_package_version PACKAGE: the version of the source package it was built from (a rebuild of a binary package adds a suffix
# to its own), or nothing where there is no such package, or no dpkg.
knem_package_version() {
    dpkg-query -W -f='${source:Version}' "$1" 2>/dev/null || :
}

# knem_has_metadata BUILD_DIR
knem_has_metadata() {
    [ -r "$1/rust/libkernel.rmeta" ] && [ -r "$1/rust/libcore.rmeta" ] && [ -r "$1/rust/libmacros.so" ]
}

# What must be true of cached metadata: it is compared with the file `stamp` beside it.
knem_stamp() {
    echo "format $knem_cache_format"
    echo "headers $knem_headers_version"
    echo "rustc $(knem_config CONFIG_RUSTC_VERSION_TEXT)"
}

knem_is_cached() {
    knem_entry=$knem_cache/$knem_kernelver
    [ -r "$knem_entry/stamp" ] && [ "$(cat "$knem_entry/stamp")" = "$(knem_stamp)" ] && knem_has_metadata "$knem_entry/out"
}

knem_check_build_dir() {
    [ -n "$knem_build_dir" ] && [ -r "$knem_build_dir/include/config/auto.conf" ] ||
        knem_no "the headers of this kernel are not installed, or not complete; apt install linux-headers-$knem_kernelver"
}

# The series are dkms.conf's, so that there is one list; dkms knows them too, but does not say why it skips.
knem_check_series() {
    knem_min=$(knem_series MIN)
    knem_max=$(knem_series MAX)
    knem_this=$(printf %s "$knem_kernelver" | sed 's/^\([0-9]*\.[0-9]*\).*/\1/')
    [ -z "$knem_min" ] || knem_not_older "$knem_this" "$knem_min" || {
        knem_no "this knem is for kernels from $knem_min on$(knem_newer_kernel)"
        return 1
    }
    [ -z "$knem_max" ] || ! knem_not_older "$knem_this" "$knem_max" ||
        knem_no "this knem is for kernels before $knem_max; install a newer knem-dkms"
}

knem_series() {
    [ ! -r "$knem_dir/dkms.conf" ] || sed -n "s/^BUILD_EXCLUSIVE_KERNEL_$1=\"\([0-9.]*\)\"/\1/p" "$knem_dir/dkms.conf"
}

knem_not_older() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

knem_check_config() {
    [ "$(knem_config CONFIG_RUST)" = y ] ||
        knem_no "this kernel is built without Rust (CONFIG_RUST is not set)$(knem_newer_kernel)"
}

# The end of a sentence: where a kernel that will do comes from.
knem_newer_kernel() {
    case $knem_kernelver in
    *+deb13-amd64 | *+deb13-arm64)
        echo "; apt install -t trixie-backports linux-image-${knem_kernelver##*-} linux-headers-${knem_kernelver##*-}"
        ;;
    *)
        echo "; install a newer kernel of your distribution, one with CONFIG_RUST, and its headers"
        ;;
    esac
}

# Debian's headers lack the metadata; it can be made from the source of exactly this kernel.
knem_check_source() {
    case $knem_build_dir in
    /usr/src/linux-headers-*) ;;
    *) knem_headers_version= ;;
    esac
    [ -n "$knem_headers_version" ] || {
        knem_no "the headers in $knem_build_dir have no Rust metadata (rust/libkernel.rmeta), and it can only be made for Debian kernels; install what your distribution has it in (Ubuntu: linux-lib-rust-$knem_kernelver)"
        return 1
    }
    knem_source=linux-source-$knem_this
    knem_tarball=/usr/src/$knem_source.tar.xz
    [ -r "$knem_tarball" ] || {
        knem_no "the headers have no Rust metadata, and the package to make it from is not installed; apt install --no-install-recommends $knem_source=$knem_headers_version"
        return 1
    }
    knem_source_version=$(knem_package_version "$knem_source")
    [ "$knem_source_version" = "$knem_headers_version" ] ||
        knem_no "$knem_source is version ${knem_source_version:-unknown}, the kernel headers are $knem_headers_version, and they must agree; apt install --no-install-recommends $knem_source=$knem_headers_version (or upgrade the kernel and its headers)"
}

# The compiler must be the very one the kernel was built with. Where it is, in order: the site's choice, then the places of
# distributions; never PATH, where a rustup shim may answer in its stead.
knem_check_rustc() {
    knem_wanted=$(knem_config CONFIG_RUSTC_VERSION_TEXT)
    knem_release=$(printf %s "$knem_wanted" | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
    knem_site=$(sed -n 's/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}RUSTC=["'\'']\{0,1\}\([^"'\'' ]*\).*/\2/p' \
        /etc/dkms/knem.conf 2>/dev/null | tail -n 1)
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
        knem_no "the kernel was built with $knem_wanted, but${knem_found#,}; install that version, and name it by a line RUSTC=/path/to/rustc in /etc/dkms/knem.conf if it is in another place"
    elif [ -n "$knem_site" ]; then
        knem_no "there is no compiler $knem_site, which /etc/dkms/knem.conf names; the kernel was built with $knem_wanted"
    else
        knem_no "rustc is not installed, and the kernel was built with $knem_wanted; apt install rustc rust-src bindgen"
    fi
}

# The kernel's C compiler, for the C part of the module, and for the kernel's headers that bindgen reads.
knem_check_cc() {
    knem_cc=$(knem_config CONFIG_CC_VERSION_TEXT)
    knem_cc=${knem_cc%% *}
    knem_package=${knem_cc##*-linux-gnu-}
    command -v "${knem_cc:-gcc}" >/dev/null ||
        knem_no "the C compiler of this kernel, $knem_cc, is not installed; apt install $knem_package"
}

# The rest of what the making needs.
knem_check_makeable() {
    knem_sysroot=$("$knem_rustc" --print sysroot 2>/dev/null) || knem_sysroot=
    [ -r "$knem_sysroot/lib/rustlib/src/rust/library/core/src/lib.rs" ] || {
        knem_no "the source of the Rust core library is not installed; apt install rust-src"
        return 1
    }
    knem_bindgen=/usr/bin/bindgen
    knem_wanted=$(knem_config CONFIG_BINDGEN_VERSION_TEXT)
    [ -x "$knem_bindgen" ] || {
        knem_no "bindgen is not installed; apt install bindgen"
        return 1
    }
    knem_text=$("$knem_bindgen" --version 2>/dev/null) || knem_text=
    [ -z "$knem_wanted" ] || [ "$knem_text" = "$knem_wanted" ] || {
        knem_no "the kernel was built with $knem_wanted, but $knem_bindgen is ${knem_text:-broken}; install that version"
        return 1
    }
    for knem_tool in gcc:gcc make:make nm:binutils tar:tar xz:xz-utils flock:util-linux; do
        command -v "${knem_tool%%:*}" >/dev/null || {
            knem_no "${knem_tool%%:*} is not installed; apt install ${knem_tool##*:}"
            return 1
        }
    done
    # The cache's directory may not be there yet: ask for its file system.
    knem_disk=$(df -Pm "$knem_cache" 2>/dev/null || df -Pm "${knem_cache%/*}" 2>/dev/null || df -Pm "${knem_cache%/*/*}")
    knem_disk=$(printf '%s\n' "$knem_disk" | awk 'NR == 2 { print $4 }')
    [ "${knem_disk:-0}" -ge "$knem_disk_needed" ] ||
        knem_no "making the Rust metadata needs $knem_disk_needed MiB below ${knem_cache%/*/*}, and $knem_disk are free; apt clean may help"
}

# Run, not sourced.
case ${0##*/} in
rust-check.sh)
    knem_dir=$(cd "$(dirname "$0")" && pwd)
    [ -n "${1:-}" ] || {
        echo "usage: rust-check.sh KERNELVER [KERNEL_SOURCE_DIR]" >&2
        exit 2
    }
    if knem_rust_check "$1" "${2:-/lib/modules/$1/build}"; then
        echo "knem can be built for kernel $1: Rust metadata $knem_metadata, compiler $knem_rustc"
        # attempt.sh leaves a log without a module where a build failed that should not have.
        knem_attempt=${knem_cache%/*}/build/$1
        [ ! -e "$knem_attempt.log" ] || [ -e "$knem_attempt" ] || echo "the last attempt failed, though: see $knem_attempt.log"
    else
        echo "knem cannot be built for kernel $1: $knem_missing"
        exit 77
    fi
    ;;
esac
