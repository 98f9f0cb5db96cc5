#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Builds the module for a kernel, if it can be built here, as DKMS would: in the driver's tree as it is installed.
#
#     sh install/module.sh KVERSION KDIR
#
# Writes BUILD/modules/KVERSION/knem.ko. If no module can be built for the kernel, it prints the reason and succeeds:
# the rest is useful without a module, and the kernel may belong to another machine.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${BUILD:-${here%/*}/build}" && pwd)
kernel=$1
kdir=$2
version=$(cat "$build/VERSION")
tree=$build/module/usr/src/knem-$version
modules=$build/modules

# Modules of another version cannot be used.
if [ "$(cat "$modules/VERSION" 2>/dev/null)" != "$version" ]; then
    rm -rf "$modules"
    mkdir "$modules"
    echo "$version" >"$modules/VERSION"
fi
rm -rf "$build/module" "$modules/${kernel:?}"
case $build in
*[[:space:]]*)
    echo "no module: Kbuild does not support a directory with spaces in its path: $build"
    echo "everything else is built; for the module: make BUILD=DIRECTORY, and the same for make install"
    exit 0
    ;;
esac
BUILD=$build sh "$here/install.sh" deb dkms "$build/module" >/dev/null

# Rust metadata of the kernel that must be built is kept here if the machine's cache is not writable. Metadata in the
# machine's cache is used.
if [ "$(id -u)" != 0 ]; then
    export KNEM_METADATA="$build/rust-metadata"
    known=/var/cache/knem/rust-metadata/$kernel
    mkdir -p "$KNEM_METADATA"
    [ ! -r "$known/stamp" ] || [ -e "$KNEM_METADATA/$kernel" ] || ln -s "$known" "$KNEM_METADATA/$kernel"
fi
if ! said=$(sh "$tree/way.sh" "$kernel" "$kdir"); then
    echo "no module: $said"
    echo "everything else is built; for another kernel: make KVERSION=... [KDIR=...]"
    exit 0
fi
export KNEM_ATTEMPTS="$build/attempts"
if ! sh "$tree/attempt.sh" make "$kernel" "$kdir"; then
    tail -n 40 "$KNEM_ATTEMPTS/$kernel.log"
    echo "cannot build the module for kernel $kernel; see the log $KNEM_ATTEMPTS/$kernel.log" >&2
    exit 1
fi
mkdir -p "$modules/$kernel"
mv "$KNEM_ATTEMPTS/$kernel/knem.ko" "$modules/$kernel/"
rm -r "$KNEM_ATTEMPTS"
strip --strip-debug "$modules/$kernel/knem.ko"
echo "built $modules/$kernel/knem.ko"
