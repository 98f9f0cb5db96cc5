#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Run by DKMS before it installs the module for a kernel (PRE_INSTALL), in the directory `source` of this version in its
# tree:
#
#     leftover.sh KERNEL      removes a module of this driver that DKMS has not recorded
#
# DKMS first copies a module and then records it. After a crash in between, DKMS takes the file for another driver's: if
# it has the same version or a newer one, DKMS never replaces it.
set -u

kernel=${1:?usage: leftover.sh KERNEL}
# PWD keeps the link's name that DKMS uses.
tree=${PWD%/*}
for noted in "${tree%/*}/kernel-$kernel"-*; do
    [ ! -L "$noted" ] || exit 0
done
# A half-copied file has no description. A file with the description of another driver must stay.
for built in "$tree/$kernel"/*/module/knem.ko*; do
    ours=$(modinfo -F description "$built" 2>/dev/null) || continue
    for file in "/lib/modules/$kernel/updates/dkms"/knem.ko*; do
        [ -f "$file" ] || continue
        about=$(modinfo -F description "$file" 2>/dev/null) || about=
        case $about in
        "" | "$ours") rm -f "$file" ;;
        esac
    done
done
exit 0
