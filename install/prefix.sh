#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Installs to a directory that machines can share, and uninstalls from it.
#
#     sh install/prefix.sh install DESTDIR KVERSION     copies what `make` built, and the module for KVERSION if any
#     sh install/prefix.sh uninstall DESTDIR
#
# In the environment: PREFIX, BUILD. PREFIX/share/knem/manifest lists the installed files: installing another version
# removes those of the previous one, and modules for several kernels can be installed one after the other.
set -eu
umask 022
export LC_ALL=C

here=$(cd "$(dirname "$0")" && pwd)
verb=$1
destdir=${2%/}
# shellcheck disable=SC2153
prefix=${PREFIX%/}
root=$destdir$prefix
manifest=$root/share/knem/manifest

fail() {
    echo "$1" >&2
    exit 1
}

case $prefix in
/?*) ;;
*) fail "PREFIX must be an absolute path below /: $PREFIX" ;;
esac

# remove: removes the files named in its input, relative to the prefix, and directories that are then empty.
remove() {
    while read -r path; do
        rm -f "$root/$path"
        directory=$path
        while [ "${directory%/*}" != "$directory" ]; do
            directory=${directory%/*}
            rmdir "$root/$directory" 2>/dev/null || break
        done
    done
}

# Waits for another run in that directory. Network file systems may not support locks on directories, which is ignored.
lock() {
    exec 9<"$root"
    ! command -v flock >/dev/null || flock 9 2>/dev/null || :
}

install_all() {
    kernel=$1
    build=$(cd "${BUILD:-${here%/*}/build}" 2>/dev/null && pwd) || fail "nothing is built yet: run make"
    [ -x "$build/knem" ] || fail "nothing is built yet: run make"
    version=$(cat "$build/VERSION")
    if ! mkdir -p "$root" 2>/dev/null || [ ! -w "$root" ]; then
        fail "cannot write to $root: run it as root, or use another PREFIX"
    fi

    lock
    new=$root/.knem-manifest
    for package in tools dkms local; do
        BUILD=$build PREFIX=$prefix sh "$here/install.sh" prefix "$package" "$destdir/"
    done >"$new"
    sed -i -e "s|^$prefix/||" "$new"
    echo share/knem/manifest >>"$new"
    module=lib/modules/$kernel/knem.ko
    if [ -f "$build/modules/$kernel/knem.ko" ]; then
        install -D -m 644 "$build/modules/$kernel/knem.ko" "$root/$module"
        echo "$module" >>"$new"
    fi
    if [ -f "$manifest" ]; then
        # Other kernels' modules of this version stay.
        [ "$(sed -n 's/^# version //p' "$manifest")" != "$version" ] || grep '^lib/modules/' "$manifest" >>"$new" || :
        sort -u -o "$new" "$new"
        grep -v '^#' "$manifest" | sort | comm -23 - "$new" | remove
    fi
    {
        echo "# Files of \`make install\`, for \`make uninstall\`."
        echo "# version $version"
        sort -u "$new"
    } >"$manifest"
    rm "$new"

    echo "KNEM $version is installed in $root"
    if [ -f "$root/$module" ]; then
        echo "with the module for kernel $kernel; next, on each machine, as root: $prefix/sbin/knem_local_install"
    else
        echo "without a module for kernel $kernel, which was not built; for another kernel: make install KVERSION=..."
    fi
}

uninstall_all() {
    [ -f "$manifest" ] || fail "there is no $manifest: nothing was installed with PREFIX=$prefix"
    if [ -z "$destdir" ] && grep -qxF "prefix $prefix" /var/lib/knem/local-install 2>/dev/null; then
        fail "this machine uses $prefix: as root, run $prefix/sbin/knem_local_install --uninstall first"
    fi
    lock
    list=$(grep -v '^#' "$manifest")
    echo "$list" | remove
    rmdir "$root" 2>/dev/null || :
    echo "KNEM is removed from $root"
}

case $verb in
install) install_all "$3" ;;
uninstall) uninstall_all ;;
*) fail "usage: prefix.sh install|uninstall DESTDIR [KVERSION]" ;;
esac
