#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Fills the cache of Rust metadata: /var/cache/knem/rust-metadata/KERNELVER/out is then a kernel build directory with
# metadata.
#
#     sh rust-metadata.sh KERNELVER KERNEL_SOURCE_DIR
#
# An entry is built under a temporary name and renamed when it is complete, so that an interrupted build (a signal, a
# full disk, a power cut) leaves no entry. The output goes to KERNELVER.log, which is kept only after a failure.
set -eu
umask 022

knem_dir=$(cd "$(dirname "$0")" && pwd)
kernelver=$1
kernel_source_dir=$2

. "$knem_dir/way.sh"

# Prints the last line of make.log: what failed, and which log has the details.
fail() {
    echo "knem: no Rust metadata for kernel $kernelver: $1"
    exit 1
}

# Removes entries of kernels that no longer exist, and of builds that were killed. Needs the lock: no build may be
# running.
prune() {
    rm -rf "$knem_cache"/.new-*
    for entry in "$knem_cache"/*; do
        name=${entry##*/}
        # A directory that the site has set may have other files.
        [ "$name" != "${name%.log}" ] || [ -e "$entry/stamp" ] || continue
        [ -d "/lib/modules/${name%.log}" ] || rm -rf "$entry"
    done
}

knem_find_cache
mkdir -p "$knem_cache"
# The programs started below inherit the lock: it is held until the last of them has ended, even if this shell is
# killed.
exec 9>"$knem_cache/.lock"
flock -w 1800 9 || fail "another build of it did not end within 30 minutes"
prune

# After the lock: another build may have completed the entry meanwhile.
knem_check_kernel "$kernelver" "$kernel_source_dir" || fail "$knem_missing"
knem_check_crate || fail "$knem_lack"
[ "$knem_metadata" = makeable ] || exit 0

echo "knem: making the Rust metadata for kernel $kernelver from $knem_tarball (about a minute)"
# The name is constant, as it may become part of the output.
new=$knem_cache/.new-$kernelver
log=$knem_cache/$kernelver.log
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$new"
if ! sh "$knem_dir/rust-make.sh" "$knem_build_dir" "$knem_tarball" "$new" "$knem_rustc" "$knem_bindgen" "$knem_cc" >"$log" 2>&1; then
    tail -n 30 "$log"
    fail "making it failed; the whole log is $log"
fi

knem_stamp >"$new/stamp"
# A rename may reach the disk before the contents do.
find "$new" -type f -exec sync {} +
rm -rf "${knem_cache:?}/$kernelver"
mv "$new" "$knem_cache/$kernelver"
tail -n 2 "$log"
rm -f "$log"
