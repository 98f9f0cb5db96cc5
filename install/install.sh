#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Copies the files of a package, by the list `files`, to the directories of the table `layouts`. Builds nothing.
#
#     sh install/install.sh deb|rpm|prefix PACKAGE DESTDIR
#
# PACKAGE is tools, dkms or local. In the environment: PREFIX, the absolute directory of the layout `prefix`; BUILD, the
# output of `make build` (build/). Prints the path of each file as it will be on the machine.
set -eu
umask 022
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
top=${here%/*}
build=$(cd "${BUILD:-$top/build}" 2>/dev/null && pwd) || {
    echo "install/install.sh: nothing is built yet: run make build" >&2
    exit 1
}

usage() {
    sed -n 's/^#     sh /usage: sh /p' "$0" >&2
    exit 2
}

fail() {
    echo "install/install.sh: $1" >&2
    exit 1
}

[ $# -eq 3 ] || usage
layout=$1
package=$2
case $3 in
/*) destdir=${3%/} ;;
*) destdir=$PWD/${3%/} ;;
esac
version=$(cat "$build/VERSION") || fail "make build did not finish: $build/VERSION is missing"

# Name of the package, and of its directory of documents.
case $layout-$package in
deb-tools | rpm-tools) name=knem-tools ;;
deb-dkms | rpm-dkms) name=knem2-dkms ;;
prefix-tools | prefix-dkms | prefix-local) name=knem ;;
*) usage ;;
esac
prefix=/usr
if [ "$layout" = prefix ]; then
    prefix=${PREFIX:?the layout prefix takes the variable PREFIX}
    prefix=${prefix%/}
    case $prefix in
    /*[!A-Za-z0-9/._+~-]*) fail "PREFIX may have letters, digits and /._+~- only: $prefix" ;;
    /?*) ;;
    *) fail "PREFIX must be an absolute path below /: $PREFIX" ;;
    esac
fi

# place NAME: prints its path in the layout, or - if it has none.
place() {
    path=
    while read -r key deb rpm below; do
        [ "$key" = "$1" ] || continue
        case $layout in
        deb) path=$deb ;;
        rpm) path=$rpm ;;
        prefix) path=$below ;;
        esac
    done <"$here/layouts"
    [ -n "$path" ] || fail "install/layouts has no place $1"
    echo "$path" | sed -e "s|@PREFIX@|$prefix|" -e "s|@PACKAGE@|$name|" -e "s|@VERSION@|$version|"
}

# sources PATTERN: prints the matching files below the current directory.
sources() {
    case $1 in
    */'**'/*) find "${1%%/'**'/*}" -type f -name "${1##*/}" | sort ;;
    *)
        # Unquoted, so that the pattern is expanded.
        for file in $1; do
            [ ! -f "$file" ] || echo "$file"
        done
        ;;
    esac
}

# put MODE FILE PATH: installs one file.
put() {
    target=$destdir$3
    [ -d "${target%/*}" ] || mkdir -p "${target%/*}"
    case $2-$3 in
    *-*.gz)
        gzip -9nc "$2" >"$target"
        chmod "$1" "$target"
        ;;
    *.in-*)
        sed -e "s|@PREFIX@|$prefix|g" -e "s|@VERSION@|$version|g" "$2" >"$target"
        chmod "$1" "$target"
        ;;
    *) install -m "$1" "$2" "$target" ;;
    esac
    echo "$3"
}

# line MODE SOURCE PLACE: installs the files of a line of the list.
line() {
    directory=${3#\{}
    directory=$(place "${directory%%\}*}")
    [ "$directory" != - ] || return 0
    pattern=${2#-}
    case $pattern in
    build/*) cd "$build" && pattern=${pattern#build/} ;;
    *) cd "$top" ;;
    esac
    # What is before /./ is not kept.
    case $pattern in
    ./*) keep=./ ;;
    */./*) keep=${pattern%%/./*}/ ;;
    *) keep= ;;
    esac
    pattern=$(echo "$pattern" | sed -e 's|^\./||' -e 's|/\./|/|')
    found=$(sources "$pattern")
    if [ -z "$found" ]; then
        case $2 in
        -*) return 0 ;;
        *) fail "install/files: there is no file $2" ;;
        esac
    fi
    # Names of sources have no blanks: they are ours.
    for file in $found; do
        case $3 in
        */)
            case $keep in
            '') put "$1" "$file" "$directory/${3#*\}/}${file##*/}" ;;
            ./) put "$1" "$file" "$directory/${3#*\}/}$file" ;;
            *) put "$1" "$file" "$directory/${3#*\}/}${file#"$keep"}" ;;
            esac
            ;;
        *) put "$1" "$file" "$directory${3#*\}}" ;;
        esac
    done
}

while read -r of mode source to; do
    case $of in
    "$package") line "$mode" "$source" "$to" ;;
    '' | \#* | tools | dkms | local) ;;
    *) fail "install/files: there is no package $of" ;;
    esac
done <"$here/files"
