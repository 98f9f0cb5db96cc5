#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Properties of a kernel, from its build directory. Sourced (bash and POSIX shells):
#
#     knem_check_kernel KERNELVER KERNEL_SOURCE_DIR    status 0: supported, and its C compiler is installed
#
# sets knem_kernelver, knem_build_dir (links resolved), knem_series (7.2), knem_arch (of the Rust object: x86_64,
# aarch64, aarch64-16k, aarch64-64k), knem_cc (a make variable with the C compiler), knem_suffix (of LLVM's tools, such
# as -19); or knem_missing, a sentence that ends with the remedy. get.sh must be sourced before it.

# The oldest supported kernel: the first of kernel-series in Cargo.toml.
knem_oldest=5.10

# knem_clean SENTENCE: removes quotes, dollars and newlines: sentences are passed through regular expressions, make and
# C strings.
knem_clean() {
    printf %s "$1" | tr '\n' ' ' | tr -cd 'A-Za-z0-9 .,:;/+~_=@()-'
}

# knem_no SENTENCE: the kernel is skipped for this reason.
knem_no() {
    knem_missing=$(knem_clean "$1")
    return 1
}

# knem_config SYMBOL: its value in the kernel's configuration, without quotes.
knem_config() {
    sed -n "s/^$1=//p" "$knem_build_dir/include/config/auto.conf" | tr -d '"'
}

knem_is_set() {
    [ "$(knem_config "$1")" = y ]
}

# knem_from SERIES SERIES: the first is the second or a later one.
knem_from() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

knem_check_kernel() {
    knem_kernelver=$1
    knem_missing=
    knem_build_dir=$(readlink -f "$2") || knem_build_dir=
    knem_series=$(printf %s "$knem_kernelver" | sed 's/^\([0-9]*\.[0-9]*\).*/\1/')
    [ -n "$knem_build_dir" ] && [ -r "$knem_build_dir/include/config/auto.conf" ] || {
        knem_no "the headers of this kernel are not installed, or not complete; $(knem_get headers)"
        return 1
    }
    knem_from "$knem_series" "$knem_oldest" || {
        knem_no "this kernel is older than $knem_oldest, the first that the driver is written for"
        return 1
    }
    if knem_is_set CONFIG_X86_64; then
        knem_arch=x86_64
    elif knem_is_set CONFIG_ARM64; then
        knem_arch=aarch64
        ! knem_is_set CONFIG_ARM64_64K_PAGES || knem_arch=aarch64-64k
        ! knem_is_set CONFIG_ARM64_16K_PAGES || knem_arch=aarch64-16k
    else
        knem_no "this kernel is not for x86-64 or arm64 (CONFIG_X86_64 or CONFIG_ARM64), the 64-bit architectures that the driver is written for"
        return 1
    fi
    knem_is_set CONFIG_MMU || {
        knem_no "this kernel is built without CONFIG_MMU, and the driver pins user pages"
        return 1
    }
    knem_check_cc
}

# Checks for the compiler that built the kernel, by its name, or another release of it.
knem_check_cc() {
    knem_suffix=
    knem_here=
    knem_major=
    if knem_is_set CONFIG_CC_IS_CLANG; then
        knem_check_clang
        return
    fi
    # Its name is usually the first word, but not in `Debian clang version 19.1.7`.
    knem_named=$(knem_config CONFIG_CC_VERSION_TEXT | tr ' ' '\n' | sed -n '/^[a-z0-9_.-]*cc[0-9.-]*$/{p;q;}')
    knem_named=${knem_named:-gcc}
    knem_cc=$knem_named
    command -v "$knem_cc" >/dev/null || knem_cc=gcc
    command -v "$knem_cc" >/dev/null || {
        knem_no "there is no C compiler: neither $knem_named, which built the kernel, nor gcc is installed; $(knem_get gcc)"
        return 1
    }
    knem_cc=CC=$knem_cc
}

# Checks for the release of clang that built the kernel, without or with a suffix, or another one without a suffix. If
# the kernel was linked by LLVM's linker, the make variable LLVM sets all tools at once.
knem_check_clang() {
    knem_major=$(knem_config CONFIG_CLANG_VERSION)
    knem_major=$((${knem_major:-0} / 10000))
    knem_here=$(clang -dumpversion 2>/dev/null) || knem_here=
    # The kernel's makefiles accept the suffix since 5.18.
    if [ "${knem_here%%.*}" != "$knem_major" ] && knem_from "$knem_series" 5.18 && command -v "clang-$knem_major" >/dev/null; then
        knem_suffix=-$knem_major
        knem_here=$knem_major
    fi
    knem_tools=clang
    knem_cc=CC=clang$knem_suffix
    if knem_is_set CONFIG_LD_IS_LLD; then
        knem_tools="clang lld:ld.lld llvm:llvm-nm"
        knem_cc=LLVM=${knem_suffix:-1}
    fi
    ! knem_is_set CONFIG_RUST_INLINE_HELPERS || knem_tools="$knem_tools llvm:llvm-link"
    knem_lacking=
    knem_wanting=
    for knem_tool in $knem_tools; do
        command -v "${knem_tool#*:}$knem_suffix" >/dev/null || {
            knem_lacking="$knem_lacking, ${knem_tool#*:}$knem_suffix"
            case " $knem_wanting " in
            *" ${knem_tool%:*} "*) ;;
            *) knem_wanting="$knem_wanting ${knem_tool%:*}" ;;
            esac
        }
    done
    # shellcheck disable=SC2086
    [ -z "$knem_lacking" ] ||
        knem_no "this kernel is built by clang $knem_major, and these of its tools are not installed:${knem_lacking#,}; $(knem_get $knem_wanting)"
}
