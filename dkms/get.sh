#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Prints the command that installs missing packages on this distribution. Sourced with this directory in knem_dir:
#
#     knem_get NAME...       prints `apt install gcc`, from packages.txt; status 1: a package is missing there
#
# reads knem_kernelver, knem_release (series of rustc) and knem_suffix (of LLVM's tools), if a package's name contains
# them.

knem_os_release=/etc/os-release
[ -r "$knem_os_release" ] || knem_os_release=/usr/lib/os-release

# knem_os_field NAME: the value of a field of os-release, which is shell.
knem_os_field() {
    sed -n "s/^$1=//p" "$knem_os_release" 2>/dev/null | tr -d "\"'"
}

# Prints the column of packages.txt, by ID or ID_LIKE of os-release, or by the package manager.
knem_column() {
    for knem_like in $(knem_os_field ID) $(knem_os_field ID_LIKE); do
        case $knem_like in
        debian) echo 2 && return ;;
        ubuntu) echo 3 && return ;;
        fedora | rhel | centos) echo 4 && return ;;
        suse | opensuse* | sles | sled) echo 5 && return ;;
        arch | archlinux) echo 6 && return ;;
        esac
    done
    for knem_like in apt-get=2 dnf=4 zypper=5 pacman=6; do
        ! command -v "${knem_like%=*}" >/dev/null || {
            echo "${knem_like#*=}"
            return
        }
    done
    return 1
}

# knem_cell THING COLUMN
knem_cell() {
    awk -v thing="$1" -v column="$2" '$1 == thing { print $column }' "$knem_dir/packages.txt" | tr '~' ' '
}

# Sets the flavour of the kernel and the rest of its release, as in the family's package names.
knem_set_flavour() {
    knem_flavour=
    knem_rest=${knem_kernelver:-}
    case $1 in
    4) # 6.12.0-55.el10.x86_64+rt
        case $knem_rest in *+*) knem_flavour=${knem_rest##*+}- ;; esac
        knem_rest=${knem_rest%+*}
        ;;
    5) # 6.4.0-150600.23.25-default
        knem_flavour=${knem_rest##*-}
        knem_rest=${knem_rest%-*}
        ;;
    6) # The kernel's package writes its name there.
        knem_flavour=$(cat "/usr/lib/modules/$knem_rest/pkgbase" 2>/dev/null) || knem_flavour=linux
        ;;
    esac
}

knem_get() {
    knem_column=$(knem_column) || {
        echo "install $*"
        return
    }
    knem_set_flavour "$knem_column"
    knem_names=
    for knem_thing in "$@"; do
        knem_name=$(knem_cell "$knem_thing" "$knem_column")
        [ "${knem_name:--}" != - ] || return 1
        knem_names="$knem_names $knem_name"
    done
    printf '%s%s\n' "$(knem_cell command "$knem_column")" "$knem_names" |
        sed "s/{K}/${knem_kernelver:-}/g; s/{F}/$knem_flavour/g; s/{V}/$knem_rest/g; s/{R}/${knem_release:-}/g; s/{S}/${knem_suffix:-}/g"
}

# knem_get_rustc NAME...: the command for rustc of the series in knem_release, if the distribution has packages of each,
# and NAMEs.
knem_get_rustc() {
    knem_get 'rustc-{R}' "$@" || knem_get rustc "$@"
}
