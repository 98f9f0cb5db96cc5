#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Run by DKMS before it installs the module for a kernel (PRE_INSTALL), in the directory `source` of this version in its tree:
#
#     leftover.sh KERNEL      removes a module of ours that DKMS does not know to be there
#
# DKMS first copies a module and then notes that it has. A machine that stops in between is left with a file that DKMS takes for somebody
# else's: if that is of the same version or newer it is never replaced, so that the kernel would lack the module for good.
set -u

kernel=${1:?usage: leftover.sh KERNEL}
# By the name that DKMS gave the directory, which is a link.
tree=${PWD%/*}
for noted in "${tree%/*}/kernel-$kernel"-*; do
    [ ! -L "$noted" ] || exit 0
done
# Nothing is known of a file that was half-copied; what another driver has in its description is not ours to remove.
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
