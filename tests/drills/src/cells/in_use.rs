// SPDX-License-Identifier: CECILL-B
//! An upgrade while programs use the driver: in a booted machine with compilers, where apt and DKMS do everything that
//! they do on a node.

use std::time::Duration;

use anyhow::{bail, Context, Result};
use knem_lab::vm::image::Without;
use knem_lab::vm::Options;
use knem_packages as packages;

use crate::drill::Drill;
use crate::machine::{options, Machine};
use crate::said::Said;
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[Drill {
    id: "D12",
    name: "upgrade-in-use",
    claim: "upgrade while one program holds the device and others open and close it: no copy fails, the old module stays and apt says so (D13)",
    fast: false,
    run: upgrade,
}];

/// Starts two jobs that run until they are stopped, outside of the control group of the test's command, which would end
/// with it: a program that copies and verifies with one open descriptor, and programs, one after the other, that each
/// open the device. Both leave the CPUs to apt where they can.
const BEGIN: &str = r#"
    # Each session would get an equal share of the processor, however nice it is.
    echo 0 > /proc/sys/kernel/sched_autogroup_enabled
    mkdir /run/in-use
    cat > /run/in-use/one << 'EOF'
echo $$ > /sys/fs/cgroup/cgroup.procs
echo $$ > /run/in-use/pid
exec nice -n 19 knem bench --sizes 64K --iterations 4000000000 --no-region-cost
EOF
    cat > /run/in-use/many << 'EOF'
echo $$ > /sys/fs/cgroup/cgroup.procs
good=0
while [ ! -e /run/in-use/stop ]; do
    if nice -n 19 knem bench --sizes 64K --iterations 3 --no-region-cost > /run/in-use/last 2>&1; then
        good=$((good + 1))
        echo $good > /run/in-use/good
    else
        cat /run/in-use/last >> /run/in-use/bad
    fi
    sleep 1
done
touch /run/in-use/stopped
EOF
    for name in one many; do
        setsid sh /run/in-use/$name > /run/in-use/$name.out 2>&1 < /dev/null &
    done
    until [ -s /run/in-use/good ]; do sleep 0.2; done
"#;

/// Prints the progress of both: the CPU time of the first, whose copies end with the first wrong byte, and how many of
/// the others succeeded. No other result is allowed.
const GOING_ON: &str = "set -e
    [ ! -e /run/in-use/bad ] || { cat /run/in-use/bad >&2; exit 1; }
    cut -d ' ' -f 14 /proc/$(cat /run/in-use/pid)/stat
    cat /run/in-use/good";

const UPGRADE: &str =
    "apt-get update -q -o Dir::Etc::SourceList=/etc/apt/sources.list.d/knem.list -o Dir::Etc::SourceParts=- &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends knem-dkms knem-tools";

/// Waits for progress, so that no speed is assumed.
const LATER: &str = "before=$(cat /run/in-use/good)
    until [ $(cat /run/in-use/good) -gt $((before + 1)) ] || [ -s /run/in-use/bad ]; do sleep 0.2; done";

/// Ends both, and the second process of the first, which exits a moment later, and switches to the new module.
const END: &str = "set -e
    touch /run/in-use/stop
    until [ -e /run/in-use/stopped ]; do sleep 0.2; done
    session=$(cat /run/in-use/pid)
    kill $session
    while cat /proc/[0-9]*/stat 2>/dev/null |
        awk -v session=$session '$6 == session && $3 != \"Z\" { running = 1 } END { exit !running }'
    do sleep 0.2; done
    rmmod knem
    modprobe knem
    udevadm settle
    cat /sys/module/knem/version";

fn upgrade(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let next = packages::next(&site.lab().workspace)?;
    let machine = Machine::above(site, &site.installed(kernel)?)?;
    let old = site.version();
    let new = machine.inside(|shell| {
        shell.offer(&next)?;
        // An emulated machine would compile for ten minutes. The build attempt of dkms.conf finds this module, if it is
        // of the same sources.
        shell.output(&format!(
            "cd /root && dpkg-deb --extract /opt/knem-repository/knem2-dkms_*_all.deb next && \
             sh next/usr/src/knem-*/attempt.sh make {release} /lib/modules/{release}/build && rm -r next",
            release = kernel.release
        ))?;
        shell.output("apt-cache policy knem2-dkms | sed -n 's/^ *Candidate: //p'")
    })?;
    let new = new.split('-').next().context("a version has a beginning")?.to_owned();
    if new == old {
        bail!("the next version is {old} again");
    }
    // With compilers and headers, as DKMS needs them.
    let image = machine.image(kernel, Without::Nothing)?;
    let commands = [
        BEGIN,
        "rmmod knem",
        GOING_ON,
        UPGRADE,
        LATER,
        GOING_ON,
        "dpkg --audit; dpkg-query -W -f '${db:Status-Abbrev}${Package}\\n' | grep -v '^ii '",
        "cat /sys/module/knem/version",
        "modinfo -F version knem",
        "dkms status -m knem",
        "stat -c '%a %U %G' /dev/knem",
        END,
        "stat -c '%a %U %G' /dev/knem",
        "knem bench --sizes 1M",
    ];
    // One CPU, of which the jobs take only what apt leaves.
    let options = Options { cpus: 1, memory: 3072, timeout: Duration::from_secs(3600), ..options() };
    let report = machine.boot_image(&image, &commands, &options)?;
    let said: &[Said; 14] = report.said.as_slice().try_into().context("the machine ran another number of commands")?;
    let [begin, unload, before, upgrade, later, after, audit, loaded, installed, dkms, node, end, node_after, bench] =
        said;
    begin.demand(0)?;
    unload.demand(1)?.must_say("in use")?;
    before.demand(0)?;
    upgrade.demand(0)?.must_say(&format!("the module in use is still {old}"))?;
    later.demand(0)?;
    after.demand(0)?;
    audit.must_be("")?;
    loaded.demand(0)?.must_be(old)?;
    installed.demand(0)?.must_be(&new)?;
    dkms.demand(0)?.must_be(&format!("knem/{new}, {}, x86_64: installed", kernel.release))?;
    node.demand(0)?.must_be("660 root rdma")?;
    if counts(before)?.iter().zip(counts(after)?).any(|(before, after)| *before >= after) {
        bail!("not both went on during the upgrade: {} and then {}", before.trimmed(), after.trimmed());
    }
    end.demand(0)?.must_be(&new)?;
    node_after.demand(0)?.must_be("660 root rdma")?;
    bench.demand(0)?.must_say("verified")?;
    Ok(())
}

/// Returns the two numbers of the progress.
fn counts(said: &Said) -> Result<[u64; 2]> {
    let numbers: Result<Vec<u64>, _> = said.text.split_whitespace().map(str::parse).collect();
    numbers
        .ok()
        .and_then(|numbers| numbers.try_into().ok())
        .with_context(|| format!("not two numbers: {}", said.trimmed()))
}
