#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Builds the module for a kernel, if it can be built here, as DKMS would: in the driver's tree as it is installed.
#
#     sh install/module.sh KVERSION KDIR
#
# Leaves BUILD/modules/KVERSION/knem.ko. That no module can be built for the kernel is printed, and no failure: the rest is of use
# without a module, and the kernel may be another machine's.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${BUILD:-${here%/*}/build}" && pwd)
kernel=$1
kdir=$2
version=$(cat "$build/VERSION")
tree=$build/module/usr/src/knem-$version
modules=$build/modules

# Modules of another version are of no use any more.
if [ "$(cat "$modules/VERSION" 2>/dev/null)" != "$version" ]; then
    rm -rf "$modules"
    mkdir "$modules"
    echo "$version" >"$modules/VERSION"
fi
rm -rf "$build/module" "$modules/${kernel:?}"
case $build in
*[[:space:]]*)
    echo "no module: Kbuild takes no directory with a blank in its name, and this one has: $build"
    echo "everything else is built; for the module: make BUILD=..., a directory without, and the same for make install"
    exit 0
    ;;
esac
BUILD=$build sh "$here/install.sh" deb dkms "$build/module" >/dev/null

# The metadata of the kernel's Rust code, where it has to be made, is kept here if it may not be kept for the machine. What the
# machine has is used.
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
    echo "the module could not be built for kernel $kernel; the whole log is $KNEM_ATTEMPTS/$kernel.log" >&2
    exit 1
fi
mkdir -p "$modules/$kernel"
mv "$KNEM_ATTEMPTS/$kernel/knem.ko" "$modules/$kernel/"
rm -r "$KNEM_ATTEMPTS"
strip --strip-debug "$modules/$kernel/knem.ko"
echo "built $modules/$kernel/knem.ko"
