#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Chooses how the module is built for a kernel, and prints the reason in one sentence:
#
#     kernel    on the kernel's own `kernel` crate, if its metadata is installed or can be built
#     object    with the prebuilt Rust object in this directory, in every other case
#     compile   as object, but the object is compiled here from the sources; only if the site sets it
#
#     sh way.sh KERNELVER [KERNEL_SOURCE_DIR]     prints the sentence; exit 0: it can be built, 77: it cannot
#
# A site sets the way by a line KNEM_RUST=kernel, object or compile in /etc/dkms/knem.conf. In the environment,
# KNEM_RUST, and KNEM_WHY for its reason, take precedence.
#
# Sourced by dkms.conf (bash) and the other scripts, with this directory in knem_dir, it defines
#
#     knem_decide KERNELVER KERNEL_SOURCE_DIR     status 0, or 1 with the sentence in knem_missing
#
# which sets knem_way, knem_why and knem_with (`prebuilt object`), and what kernel.sh and crate.sh set.

case ${0##*/} in
way.sh) knem_dir=$(cd "$(dirname "$0")" && pwd) ;;
esac
. "$knem_dir/get.sh"
. "$knem_dir/kernel.sh"
. "$knem_dir/crate.sh"

knem_conf=/etc/dkms/knem.conf
# The oldest release of rustc that compiles the stand-in for the kernel crate.
knem_rustc_from=1.85

knem_decide() {
    knem_way=
    knem_why=
    knem_with="prebuilt object"
    knem_metadata=
    knem_remedy=
    knem_check_kernel "$1" "$2" && knem_check_range && knem_check_others || return 1
    knem_set_by=
    knem_forced=${KNEM_RUST:-}
    [ -z "$knem_forced" ] || knem_set_by="set by KNEM_RUST in the environment"
    [ -n "$knem_forced" ] || knem_forced=$(knem_setting KNEM_RUST)
    [ -z "$knem_forced" ] || knem_set_by=${KNEM_WHY:-${knem_set_by:-set in $knem_conf}}
    knem_way=$knem_forced
    knem_why=$knem_set_by
    case $knem_forced in
    '')
        if knem_check_crate; then
            knem_way=kernel
            knem_why=$knem_from_where
        else
            knem_way=object
            knem_why=$knem_lack
            knem_check_object "$knem_lack"
        fi
        ;;
    kernel) knem_check_crate || knem_no "KNEM_RUST=kernel is $knem_set_by: $knem_lack${knem_remedy:+; $knem_remedy}" ;;
    object) knem_check_object "KNEM_RUST=object is $knem_set_by" ;;
    compile)
        knem_with="object compiled here"
        knem_check_object "KNEM_RUST=compile is $knem_set_by" && knem_check_compile
        ;;
    *) knem_no "KNEM_RUST=$knem_forced is $knem_set_by, and kernel, object and compile are what there is" ;;
    esac || return 1
    [ "$knem_way" != kernel ] || knem_with="kernel crate"
    knem_why=$(knem_clean "$knem_why")
}

# knem_setting NAME: its value in the site's settings, which are shell.
knem_setting() {
    sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1=[\"']\{0,1\}\([^\"' ]*\).*/\2/p" "$knem_conf" 2>/dev/null | tail -n 1
}

# knem_check_range: whether the site's settings let DKMS build for the kernel. DKMS 3.1 and later read them too, but
# print no reason.
knem_check_range() {
    knem_limit=$(knem_setting BUILD_EXCLUSIVE_KERNEL_MAX)
    [ -z "$knem_limit" ] || knem_from "$knem_limit" "$knem_kernelver" || {
        knem_no "BUILD_EXCLUSIVE_KERNEL_MAX=$knem_limit is set in $knem_conf, and this kernel is newer"
        return 1
    }
    knem_limit=$(knem_setting BUILD_EXCLUSIVE_KERNEL_MIN)
    [ -z "$knem_limit" ] || knem_from "$knem_kernelver" "$knem_limit" ||
        knem_no "BUILD_EXCLUSIVE_KERNEL_MIN=$knem_limit is set in $knem_conf, and this kernel is older"
}

# knem_check_others: whether another knem.ko keeps DKMS from installing the module: DKMS does not replace the same or a
# newer version. Without DKMS (install/module.sh) there is no such rule.
knem_check_others() {
    [ -z "${KNEM_ATTEMPTS:-}" ] || return 0
    knem_ours=$(cat "$knem_dir/VERSION" 2>/dev/null) || return 0
    for knem_other in $(find "/lib/modules/$knem_kernelver" -name 'knem.ko*' -type f ! -path '*/updates/dkms/*' 2>/dev/null); do
        # Some distributions make DKMS install the module there.
        case $knem_other in
        */"$knem_kernelver"/extra/knem.ko*) [ -z "$(find /var/lib/dkms/knem -maxdepth 1 -name "kernel-$knem_kernelver-*" 2>/dev/null)" ] || continue ;;
        esac
        knem_its=$(PATH=$PATH:/usr/sbin:/sbin modinfo -F version "$knem_other" 2>/dev/null) || continue
        [ -n "$knem_its" ] && knem_from "$knem_its" "$knem_ours" || continue
        knem_no "another knem.ko, version $knem_its, is in $knem_other, and DKMS does not install $knem_ours over it; remove that file, then: dkms autoinstall -k $knem_kernelver"
        return 1
    done
}

# knem_check_object REASON: whether an object fits the kernel; REASON is why the kernel crate is not used.
knem_check_object() {
    if knem_is_set CONFIG_CFI_CLANG || knem_is_set CONFIG_CFI; then
        knem_no "this kernel checks the types of indirect calls (CONFIG_CFI), which the Rust object has no hashes for, and it cannot be built on the kernel crate: $1${knem_remedy:+; $knem_remedy}"
    elif [ ! -r "$knem_dir/knem_rust-$knem_arch.o_shipped" ]; then
        knem_no "there is no Rust object knem_rust-$knem_arch.o_shipped in $knem_dir, and the module cannot be built on the kernel crate: $1${knem_remedy:+; $knem_remedy}"
    fi
}

# Checks the requirements of compiling the object here.
knem_check_compile() {
    knem_rustc=$(knem_setting RUSTC)
    knem_rustc=${knem_rustc:-/usr/bin/rustc}
    knem_release=$("$knem_rustc" --version 2>/dev/null | sed -n 's/^rustc \([0-9]*\.[0-9]*\).*/\1/p')
    if [ -z "$knem_release" ] || ! knem_from "$knem_release" "$knem_rustc_from"; then
        knem_found=${knem_release:-not here}
        knem_release=$knem_rustc_from
        knem_no "KNEM_RUST=compile is $knem_set_by, and $knem_rustc is $knem_found: rustc $knem_rustc_from or later is needed; $(knem_get_rustc rust-src)"
    elif ! knem_has_core "$knem_rustc"; then
        knem_no "KNEM_RUST=compile is $knem_set_by, and the source of the Rust core library is not installed; $(knem_get rust-src)"
    else
        # rustc maps the object's procedural macros from there.
        for knem_temporary in "${TMPDIR:-/tmp}" "${KNEM_ATTEMPTS:-/var/cache/knem/build}"; do
            ! knem_may_execute "$knem_temporary" || return 0
        done
        knem_no "KNEM_RUST=compile is $knem_set_by, and nothing below ${TMPDIR:-/tmp} and ${KNEM_ATTEMPTS:-/var/cache/knem/build} may be executed (mounted noexec); KNEM_RUST=object takes the object in the package"
    fi
}

# knem_has_core RUSTC: whether the source of its core library is installed.
knem_has_core() {
    knem_sysroot=$("$1" --print sysroot 2>/dev/null) || knem_sysroot=
    [ -r "$knem_sysroot/lib/rustlib/src/rust/library/core/src/lib.rs" ]
}

# Executed, not sourced.
case ${0##*/} in
way.sh)
    [ -n "${1:-}" ] || {
        echo "usage: way.sh KERNELVER [KERNEL_SOURCE_DIR]" >&2
        exit 2
    }
    if ! knem_decide "$1" "${2:-/lib/modules/$1/build}"; then
        echo "knem cannot be built for kernel $1: $knem_missing"
        exit 77
    fi
    echo "knem can be built for kernel $1 with the $knem_with: $knem_why"
    # A package's tree for which dkms add has failed.
    knem_version=$(cat "$knem_dir/VERSION" 2>/dev/null)
    [ "$knem_dir" != "/usr/src/knem-$knem_version" ] || [ -e "/var/lib/dkms/knem/$knem_version/source" ] ||
        echo "DKMS does not know it, though: dkms add knem/$knem_version, then dkms autoinstall -k $1"
    # attempt.sh leaves a log without a module if a build failed.
    knem_attempt=/var/cache/knem/build/$1
    [ ! -e "$knem_attempt.log" ] || [ -e "$knem_attempt" ] || echo "the last attempt failed, though: see $knem_attempt.log"
    ;;
esac
