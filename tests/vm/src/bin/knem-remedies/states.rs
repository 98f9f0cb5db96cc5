// SPDX-License-Identifier: CECILL-B
//! The states, and what a person does in them.

/// A state of the machine.
pub(crate) struct State {
    pub(crate) name: &'static str,
    /// Findings that it causes.
    pub(crate) findings: &'static [&'static str],
    /// Commands that create it.
    pub(crate) make: &'static str,
    /// The user that runs `knem doctor`.
    pub(crate) user: &'static str,
    /// Groups of the session, if they differ from the user database.
    pub(crate) groups: Option<&'static str>,
    /// Soft and hard limit of locked memory of the session, in bytes.
    pub(crate) memlock: &'static str,
    /// What the person does if the remedy, or its first part, is no command.
    pub(crate) by_hand: Option<&'static str>,
    /// Whether the remedy is for the session, whose shell runs it.
    pub(crate) in_session: bool,
}

const fn state(name: &'static str, findings: &'static [&'static str], make: &'static str) -> State {
    State {
        name,
        findings,
        make,
        user: "root",
        groups: None,
        memlock: "unlimited:unlimited",
        by_hand: None,
        in_session: false,
    }
}

impl State {
    /// The part of the drill to which it belongs: states that need a build take longer.
    pub(crate) fn part(&self) -> &'static str {
        let is_building =
            |id: &&str| ["building", "module.present", "module.vendor"].iter().any(|start| id.starts_with(start));
        if self.findings.iter().any(is_building) {
            "building"
        } else {
            "use"
        }
    }

    const fn by_hand(self, hand: &'static str) -> Self {
        Self { by_hand: Some(hand), ..self }
    }

    const fn of_alice(self) -> Self {
        Self { user: "alice", ..self }
    }
}

pub(crate) const STATES: &[State] = &[
    state(
        "driver-purged",
        &["module.present", "building.dkms"],
        "rmmod knem; dpkg --purge knem2-dkms; mkdir -p $B; cp -a -T /root/build $B",
    ),
    state("source-deleted", &["building.dkms"], "rm -rf /usr/src/knem-$V"),
    state(
        "source-and-module-deleted",
        &["module.present"],
        "rmmod knem; dkms uninstall knem/$V -k $K; rm -rf /usr/src/knem-$V",
    ),
    state(
        "dkms-removed",
        &["module.present", "building.dkms"],
        "rmmod knem; dkms uninstall knem/$V -k $K; dpkg --force-depends --remove dkms",
    ),
    state("not-built", &["module.present", "building.kernel"], "rmmod knem; dkms unbuild knem/$V -k $K"),
    state("module-deleted", &["module.present", "building.kernel"], "rmmod knem; rm $M/knem.ko.xz; depmod -a $K"),
    state(
        "dkms-unaware",
        &["module.present", "building.dkms", "building.kernel"],
        "rmmod knem; dkms remove knem/$V --all; [ -e $B ] || cp -a /root/build $B",
    ),
    state(
        "dkms-unaware-excluded",
        &["building.dkms"],
        "dkms remove knem/$V --all; echo BUILD_EXCLUSIVE_KERNEL_MAX=6.11 > /etc/dkms/knem.conf",
    ),
    state(
        "excluded-by-site",
        &["module.present", "building.kernel"],
        "rmmod knem; dkms unbuild knem/$V -k $K; echo BUILD_EXCLUSIVE_KERNEL_MAX=6.11 > /etc/dkms/knem.conf",
    )
    .by_hand("rm /etc/dkms/knem.conf"),
    state(
        "depmod-missing",
        &["module.present"],
        "rmmod knem; mv $M/knem.ko.xz /root/; depmod -a $K; mv /root/knem.ko.xz $M/",
    ),
    state(
        "unloaded-depmod-missing",
        &["module.loaded"],
        "rmmod knem; mv $M/knem.ko.xz /root/; depmod -a $K; mv /root/knem.ko.xz $M/",
    ),
    state("unloaded", &["module.loaded"], "rmmod knem"),
    state("barrier", &["module.loaded"], "rmmod knem; echo 'install knem /bin/false' > /etc/modprobe.d/remedies.conf")
        .by_hand("rm /etc/modprobe.d/remedies.conf"),
    state("autoload-barrier", &["module.autoload"], "echo 'blacklist knem' > /etc/modprobe.d/remedies.conf")
        .by_hand("rm /etc/modprobe.d/remedies.conf"),
    state("autoload-off", &["module.autoload"], ": > /etc/modules-load.d/knem.conf"),
    state("autoload-missing", &["module.autoload"], "rm /usr/lib/modules-load.d/knem.conf"),
    state("option-unknown", &["module.options"], "echo 'options knem memlok=0' > /etc/modprobe.d/remedies.conf")
        .by_hand("rm /etc/modprobe.d/remedies.conf"),
    state("other-loaded", &["module.version"], "rmmod knem; insmod /root/other.ko"),
    state("other-loaded-in-use", &["module.version"], "rmmod knem; insmod /root/other.ko; udevadm settle; sleep 3600 3<>/dev/knem > /dev/null 2>&1 & sleep 1")
        .by_hand("pkill -x sleep; sleep 1"),
    state("vendor-beside", &["module.vendor"], "dpkg -i /root/knem.deb"),
    state(
        "vendor-alone",
        &["module.vendor"],
        "rmmod knem; dpkg --purge knem2-dkms; mkdir -p $B; cp -a -T /root/build $B; dpkg -i /root/knem.deb",
    ),
    state("vendor-not-built", &["module.vendor"], "rmmod knem; dkms unbuild knem/$V -k $K; dpkg -i /root/knem.deb"),
    state(
        "rival-same",
        &["module.vendor", "building.kernel"],
        "rmmod knem; dkms uninstall knem/$V -k $K; mkdir -p /lib/modules/$K/updates/knem;
         cp /root/knem.ko /lib/modules/$K/updates/knem/; rm -f /lib/modules/$K/modules.dep.bin; depmod -a $K",
    ),
    state(
        "rival-packaged",
        &["module.vendor", "building.kernel"],
        "rmmod knem; dkms uninstall knem/$V -k $K; dpkg -i /root/kmod-other.deb; depmod -a $K",
    ),
    state(
        "rival-older",
        &["module.vendor"],
        "rmmod knem; dkms uninstall knem/$V -k $K; mkdir -p /lib/modules/$K/misc;
         cp /root/original.ko /lib/modules/$K/misc/knem.ko; depmod -a $K",
    ),
    state(
        "rival-beside",
        &["module.vendor"],
        "mkdir -p /lib/modules/$K/misc; cp /root/knem.ko /lib/modules/$K/misc/; depmod -a $K",
    ),
    state("autoinstall-off", &["building.autoinstall"], "touch /etc/dkms/no-autoinstall"),
    state("autoinstall-off-by-site", &["building.autoinstall"], "echo 'AUTOINSTALL=\"no\"' > /etc/dkms/knem.conf")
        .by_hand("sed -i /AUTOINSTALL=/d /etc/dkms/knem.conf"),
    state("node-removed", &["device.node"], "rm /dev/knem"),
    state("node-removed-in-use", &["device.node"], HOLD_AND_REMOVE),
    state("directory", &["device.node"], "rm /dev/knem; mkdir /dev/knem"),
    state("file", &["device.node"], "rm /dev/knem; echo > /dev/knem"),
    state("file-in-use", &["device.node"], HOLD_AND_REPLACE),
    state("stale", &["device.access"], "rm /dev/knem; mknod /dev/knem c 10 250"),
    state("wrong-device", &["device.access"], "rm /dev/knem; mknod /dev/knem c 1 3")
        .by_hand("rm /dev/knem; modprobe -r knem; modprobe knem"),
    state("closed", &["device.node"], "chgrp root /dev/knem; chmod 600 /dev/knem"),
    state(
        "closed-without-udev",
        &["device.node"],
        "chgrp root /dev/knem; chmod 600 /dev/knem; udevadm control --exit; rm -f /run/udev/control",
    ),
    state("closed-to-member", &["device.access"], "usermod -aG rdma alice; chgrp root /dev/knem; chmod 600 /dev/knem")
        .of_alice(),
    state("group-missing", &["device.node", "device.group"], "chgrp root /dev/knem; chmod 600 /dev/knem; groupdel rdma"),
    state(
        "open",
        &["device.node"],
        "printf 'KERNEL==\"knem\", MODE=\"0666\"\\n' > /etc/udev/rules.d/60-knem.rules; udevadm control --reload; chmod 666 /dev/knem",
    )
    .by_hand("rm /etc/udev/rules.d/60-knem.rules"),
    state(
        "group-missing-without-tools",
        &["device.node", "device.group"],
        "chgrp root /dev/knem; chmod 600 /dev/knem; groupdel rdma; rm /usr/lib/sysusers.d/knem.conf",
    ),
    state("stranger", &["device.access"], "").of_alice(),
    state("stranger-without-module", &["device.member"], "rmmod knem").of_alice(),
    State { groups: Some("rdma"), ..state("borrowed-group", &["device.member"], "").of_alice() },
    // The next run of `knem doctor` is in a new login.
    State { groups: Some("nogroup"), ..state("old-login", &["device.access"], "usermod -aG rdma alice").of_alice() }
        .by_hand(""),
    State {
        groups: Some("nogroup"),
        ..state("old-login-open", &["device.member"], "usermod -aG rdma alice; chmod 666 /dev/knem").of_alice()
    }
    .by_hand(""),
    State { memlock: "65536:2147483648", in_session: true, ..state("soft-limit", &["limits.memlock"], "").of_alice() },
    State { memlock: "65536:65536", ..state("hard-limit", &["limits.memlock"], "usermod -aG rdma alice").of_alice() }
        .by_hand("echo '@rdma - memlock unlimited' > /etc/security/limits.d/90-site.conf"),
    // A user may pin four fifths of the ceiling.
    state("ceiling", &["limits.pinned"], "echo 1 > $P/max_pinned_mb; knem bench --sizes 768K --iterations 1 --no-region-cost")
        .by_hand("echo 0 > $P/max_pinned_mb"),
    state(
        "user-ceiling",
        &["limits.pinned"],
        "echo 1 > $P/max_user_pinned_mb; knem bench --sizes 960K --iterations 1 --no-region-cost",
    )
    .by_hand("echo 0 > $P/max_user_pinned_mb"),
    state(
        "build-failed",
        &["building.log"],
        "rmmod knem; dkms unbuild knem/$V -k $K; rm -rf $B/$K; echo 'error: it does not compile' > $B/$K.log",
    ),
    state("rule-hidden", &["device.rule"], ": > /etc/udev/rules.d/60-knem.rules"),
    state("rule-of-vendor", &["device.rule"], "echo 'KERNEL==\"knem\", MODE=\"0666\"' > /etc/udev/rules.d/10-knem.rules"),
    state("rule-missing", &["device.rule"], "rm /usr/lib/udev/rules.d/60-knem.rules"),
    state("limit-missing", &["limits.file"], "rm /etc/security/limits.d/20-knem.conf")
        .by_hand("echo '@rdma - memlock unlimited' > /etc/security/limits.d/90-site.conf"),
    state("limit-of-user", &["limits.file"], "echo 'alice - memlock 64' > /etc/security/limits.d/90-site.conf")
        .of_alice()
        .by_hand("sed -i '/^alice/d' /etc/security/limits.d/90-site.conf"),
    state("unused", &["use.requests"], "knem stat --clear")
        .by_hand("knem bench --sizes 4K --iterations 1 --no-region-cost"),
    State { in_session: true, ..state("ucx-plugin-not-loaded", &["mpi.plugins"], UCX_WITH_PLUGIN) },
    state("plugin-outdated", &["mpi.plugins"], UCX_WITH_OLD_PLUGIN),
];

/// A stand-in for UCX, and the files that knem-mpi-plugins installs for it.
const UCX_WITH_PLUGIN: &str = r##"mkdir -p /usr/local/lib/knem-mpi/ucx
    printf '#!/bin/sh\necho "# Library version: 1.18.1"\n' > /usr/local/sbin/ucx_info; chmod 755 /usr/local/sbin/ucx_info
    printf '# UCX 1.18.1: x\nLD_PRELOAD=/usr/local/lib/knem-mpi/ucx/libuct_knem.so.0\nexport LD_PRELOAD\n' > /usr/local/lib/knem-mpi/ucx/environment.sh"##;
/// The same after an upgrade of UCX.
const UCX_WITH_OLD_PLUGIN: &str = r##"mkdir -p /usr/local/lib/knem-mpi/ucx
    printf '#!/bin/sh\necho "# Library version: 1.18.1"\n' > /usr/local/sbin/ucx_info; chmod 755 /usr/local/sbin/ucx_info
    printf '# UCX 1.18.0: x\n' > /usr/local/lib/knem-mpi/ucx/environment.sh"##;

/// A program keeps the device open; its node is removed.
const HOLD_AND_REMOVE: &str = "sleep 3600 3<>/dev/knem > /dev/null 2>&1 & sleep 1; rm /dev/knem";
/// The same, with a regular file instead of the node.
const HOLD_AND_REPLACE: &str = "sleep 3600 3<>/dev/knem > /dev/null 2>&1 & sleep 1; rm /dev/knem; echo > /dev/knem";
