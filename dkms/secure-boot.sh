#!/bin/sh
# SPDX-License-Identifier: CECILL-B
#
# Prints what an administrator has to do if Secure Boot is on and the machine does not trust the key that DKMS signs
# with: the kernel refuses the module then. Prints nothing if all is OK, or if it cannot be known.
#
#     sh secure-boot.sh

knem_dir=$(cd "$(dirname "$0")" && pwd)
version=$(cat "$knem_dir/VERSION")
. "$knem_dir/get.sh"

# Whether Secure Boot is on: the last of the variable's five bytes is 1.
secure_boot_is_on() {
    for variable in /sys/firmware/efi/efivars/SecureBoot-*; do
        [ -r "$variable" ] || return 1
        [ "$(od -An -t u1 "$variable" | awk '{ print $5 }')" = 1 ] && return 0
    done
    return 1
}

# Prints the certificate of DKMS, as DKMS determines it: its configuration is shell.
dkms_certificate() {
    (
        mok_certificate=
        for conf in /etc/dkms/framework.conf /etc/dkms/framework.conf.d/*.conf; do
            # shellcheck source=/dev/null
            [ ! -r "$conf" ] || . "$conf" >/dev/null 2>&1
        done
        if [ -z "$mok_certificate" ]; then
            # Ubuntu's path, then that of all other distributions.
            mok_certificate=/var/lib/shim-signed/mok/MOK.der
            [ -r "$mok_certificate" ] || mok_certificate=/var/lib/dkms/mok.pub
        fi
        echo "$mok_certificate"
    )
}

# Whether the running kernel has the certificate in one of its keyrings, which contain the keys enrolled with shim and
# those of the firmware's db. It lists certificates by their subject key identifiers. Status 2: it cannot be known.
kernel_trusts() {
    identifier=$(openssl x509 -in "$1" -noout -ext subjectKeyIdentifier 2>/dev/null ||
        openssl x509 -inform DER -in "$1" -noout -ext subjectKeyIdentifier 2>/dev/null) || return 2
    identifier=$(echo "$identifier" | sed -n 's/^ *\([0-9A-Fa-f:]*\)$/\1/p' | tr -d ':\n' | tr 'A-F' 'a-f')
    [ -n "$identifier" ] && [ -r /proc/keys ] || return 2
    grep -q "asymmetri .*: $identifier: " /proc/keys
}

secure_boot_hint() {
    # In a chroot or container this would be about the host.
    if command -v ischroot >/dev/null && ischroot; then
        return 0
    fi
    secure_boot_is_on || return 0
    certificate=$(dkms_certificate)
    if [ ! -r "$certificate" ]; then
        # DKMS generates its key with openssl, on which it does not depend.
        if modinfo knem >/dev/null 2>&1 && [ -z "$(modinfo -F signer knem)" ]; then
            echo "knem: Secure Boot is on, and the module is not signed, so the kernel refuses it (Key was rejected by service): $(knem_get openssl), then: dkms remove knem/$version -k $(uname -r), and: dkms install knem/$version -k $(uname -r)" >&2
        fi
        return 0
    fi
    kernel_trusts "$certificate"
    [ $? = 1 ] || return 0
    if command -v mokutil >/dev/null && mokutil --list-new 2>/dev/null | grep -q '\[key'; then
        echo "knem: Secure Boot is on, and a key waits to be enrolled: restart, and confirm it in the blue screen of MOK management; until then the kernel refuses the module (Key was rejected by service)" >&2
        return 0
    fi
    echo "knem: Secure Boot is on, and this machine does not trust the key that DKMS signs with, so the kernel refuses the module (Key was rejected by service); enrol it: mokutil --import $certificate, then restart and confirm in the blue screen" >&2
}

secure_boot_hint
exit 0
