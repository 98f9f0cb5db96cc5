#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Facts of a kernel, from its build directory. Sourced (bash and POSIX shells):
#
#     knem_check_kernel KERNELVER KERNEL_SOURCE_DIR    status 0: a kernel that the driver is written for, whose C compiler is here
#
# sets knem_kernelver, knem_build_dir (links resolved), knem_series (7.2), knem_arch (what its Rust object is called by: x86_64, aarch64,
# aarch64-16k, aarch64-64k), knem_cc (a make variable that names the C compiler); or knem_missing, a sentence that ends with the command that helps.

# The oldest kernel that the driver is written for: the first of kernel-series in Cargo.toml.
knem_oldest=5.10

# knem_clean SENTENCE: sentences travel through regular expressions, make and C strings: no quotes, dollars or newlines.
knem_clean() {
    printf %s "$1" | tr '\n' ' ' | tr -cd 'A-Za-z0-9 .,:;/+~_=@()-'
}

# knem_no SENTENCE: the kernel is skipped for this reason.
knem_no() {
    knem_missing=$(knem_clean "$1")
    return 1
}

# knem_get PACKAGE [RPM-PACKAGE]: the command that installs a package here.
knem_get() {
    if command -v dnf >/dev/null; then
        echo "dnf install ${2:-$1}"
    elif command -v zypper >/dev/null; then
        echo "zypper install ${2:-$1}"
    else
        echo "apt install $1"
    fi
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
        knem_no "the headers of this kernel are not installed, or not complete; $(knem_get "linux-headers-$knem_kernelver" "kernel-devel-$knem_kernelver")"
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

# The compiler the kernel was built with, by its name, or another release of it.
knem_check_cc() {
    if knem_is_set CONFIG_CC_IS_CLANG; then
        knem_cc=LLVM=1
        command -v clang >/dev/null && command -v ld.lld >/dev/null ||
            knem_no "this kernel is built by clang, and clang and lld are not installed; $(knem_get "clang lld llvm")"
        return
    fi
    knem_named=$(knem_config CONFIG_CC_VERSION_TEXT)
    knem_named=${knem_named%% *}
    knem_cc=${knem_named:-gcc}
    command -v "$knem_cc" >/dev/null || knem_cc=gcc
    command -v "$knem_cc" >/dev/null || {
        knem_no "there is no C compiler: neither $knem_named, which built the kernel, nor gcc is installed; $(knem_get gcc)"
        return 1
    }
    knem_cc=CC=$knem_cc
}
