// SPDX-License-Identifier: CECILL-B
//! The Ansible role, run by Debian's ansible-core on a machine's own tree, with the sample playbook that is beside it.

use std::process::Command;

use anyhow::{bail, Result};
use knem_lab::run;
use knem_lab::vm::image::Without;
use knem_lab::vm::Options;

use crate::drill::Drill;
use crate::machine::{options, Machine};
use crate::recipe;
use crate::said::Said;
use crate::shell::Shell;
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[
    Drill {
        id: "S1",
        name: "ansible-role",
        claim: "the role installs, adds users, sets parameters and verifies; a second run changes nothing; invalid variables are refused",
        fast: false,
        run: role,
    },
    Drill {
        id: "S1",
        name: "ansible-hostile-tmp",
        claim: "files of another user in /tmp and /var/tmp have the packages' names: the role installs its own copies, and leaves nothing there",
        fast: false,
        run: hostile_tmp,
    },
    Drill {
        id: "S2",
        name: "ansible-lint",
        claim: "ansible-lint and yamllint report nothing for deploy/",
        fast: false,
        run: lint,
    },
];

/// Path of the role in the tree.
const PLACE: &str = "root/ansible";

/// This machine, as the sample's group of compute nodes.
const INVENTORY: &str = "[compute]\n\
     localhost ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n";

fn role(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.with_kernel(kernel)?)?;
    machine.inside(|shell| {
        shell.install(&["ansible-core", "python3-apt"])?;
        bring(site, shell)?;
        // The role adds the repository, not the drill; the archive's own list is kept, as its indexes are provided
        // here.
        shell.output("rm /etc/apt/sources.list.d/knem.list; useradd --create-home alice; useradd --create-home bob")?;
        recipe::configure_apt(shell)?;
        shell.write("etc/apt/apt.conf.d/98drill", "Dir::Etc::SourceList \"/dev/null\";\n")?;
        let kernels = format!("\"knem_kernels\": [\"{}\"]", kernel.release);
        let wanted = format!(
            "{kernels}, \"knem_users\": [\"alice\"], \"knem_group_id\": 970, \"knem_parameters\": {{\"max_pinned_mb\": 64}}"
        );

        // A check changes nothing, on a machine without any of the packages.
        play(shell, &wanted, "--check")?.demand(0)?;
        if shell.has("usr/bin/knem")
            || shell.has("etc/modprobe.d/knem.conf")
            || shell.has("etc/apt/sources.list.d/knem.sources")
        {
            bail!("a check has changed the machine");
        }

        let first = play(shell, &wanted, "")?;
        first.demand(0)?.must_not_say("changed=0 ")?;
        first.must_say(&format!("Kernel {}: module {}", kernel.release, site.version()))?;
        shell.healthy()?;
        shell.demand_module(&kernel.release, site.version())?;
        shell.sh("id -nG alice")?.must_say("rdma")?;
        shell.sh("getent group rdma")?.must_be("rdma:x:970:alice")?;
        shell.sh("id -nG bob")?.must_not_say("rdma")?;
        shell.sh("modprobe --showconfig")?.must_say("options knem max_pinned_mb=64")?;
        play(shell, &wanted, "")?.demand(0)?.must_say("changed=0 ")?;

        // An error is reported, and nothing is written.
        let parameters = |text: &str| format!("{kernels}, \"knem_parameters\": {{{text}}}");
        play(shell, &parameters("\"max_pined_mb\": 1"), "")?
            .demand(2)?
            .must_say("KNEM has no parameter max_pined_mb; it has binding, ")?;
        play(shell, &parameters("\"max_pinned_mb\": \"64 GiB\""), "")?
            .demand(2)?
            .must_say("The parameter max_pinned_mb of KNEM takes an integer, not 64 GiB")?;
        shell.sh("modprobe --showconfig")?.must_say("options knem max_pinned_mb=64")?;
        play(shell, &format!("{kernels}, \"knem_users\": [\"carol\"]"), "--tags access")?
            .demand(2)?
            .must_say("user 'carol' does not exist")?;
        play(shell, "\"knem_kernels\": [\"6.6.6-amd64\"]", "--tags verify")?
            .demand(2)?
            .must_say("Kernel 6.6.6-amd64 has no module knem.")?;

        // Back to the defaults; but the administrator's own files are not changed.
        play(shell, &parameters(""), "--tags parameters")?.demand(0)?.must_say("changed=1 ")?;
        shell.sh("modprobe --showconfig")?.must_not_say("options knem ")?;
        shell.write("etc/modprobe.d/knem.conf", "options knem debug=1\n")?;
        play(shell, &parameters(""), "--tags parameters")?.demand(0)?.must_say("changed=0 ")?;
        shell.sh("modprobe --showconfig")?.must_say("options knem debug=1")?;
        play(shell, &wanted, "--tags parameters")?.demand(0)?.must_say("changed=1 ")?;
        shell
            .sh("modprobe --showconfig")?
            .must_say("options knem max_pinned_mb=64")?
            .must_not_say("options knem debug")?;

        // Another limit, and back to the package's.
        play(shell, &format!("{wanted}, \"knem_memlock\": 1048576"), "--tags access")?
            .demand(0)?
            .must_say("changed=1 ")?;
        if !shell.read("etc/security/limits.d/zz-knem-site.conf")?.contains("@rdma  -  memlock  1048576") {
            bail!("the limit was not written");
        }
        play(shell, &wanted, "--tags access")?.demand(0)?.must_say("changed=1 ")?;
        if shell.has("etc/security/limits.d/zz-knem-site.conf") {
            bail!("the limit was not removed");
        }
        Ok(())
    })?;
    let image = machine.image(kernel, Without::Building)?;
    let verify = command(&format!("\"knem_kernels\": [\"{}\"]", kernel.release), "--tags verify");
    let report = machine.boot_image(
        &image,
        &[
            "cat /sys/module/knem/parameters/max_pinned_mb",
            "setpriv --reuid=alice --regid=alice --init-groups knem info",
            "setpriv --reuid=bob --regid=bob --init-groups knem info",
            &verify,
        ],
        &Options { memory: 3072, ..options() },
    )?;
    let [parameter, member, stranger, verify] = report.said.as_slice() else {
        bail!("the machine ran {} commands", report.said.len());
    };
    parameter.demand(0)?.must_be("64")?;
    member.demand(0)?;
    stranger.demand(4)?;
    verify.demand(0)?.must_say("changed=0 ")?;
    Ok(())
}

/// Package files are copied even if another user may write to the directory.
fn hostile_tmp(site: &Site) -> Result<()> {
    let machine = Machine::above(site, &site.bare()?)?;
    machine.inside(|shell| {
        shell.install(&["ansible-core", "python3-apt"])?;
        bring(site, shell)?;
        recipe::configure_apt(shell)?;
        shell.output("useradd --create-home mallory")?;
        let package = shell.output("ls /opt/knem-repository/knem-tools_*.deb")?;
        let name = package.rsplit('/').next().unwrap_or_default();
        // She creates the files before root does: in any directory that every user may write to.
        let hers = format!("for at in /tmp /var/tmp; do echo mine >$at/{name}; chmod 666 $at/{name}; done");
        shell.output(&format!("setpriv --reuid=mallory --regid=mallory --clear-groups sh -c '{hers}'"))?;
        let list = "find /tmp /var/tmp -printf '%p %u %s\\n' | sort";
        let before = shell.output(list)?;

        let wanted = format!(
            "\"knem_package_files\": [\"{package}\"], \"knem_repository_url\": \"\", \"knem_kernels\": [], \
             \"knem_build_requirements\": false, \"knem_parameters\": {{}}"
        );
        play(shell, &wanted, "")?.demand(0)?.must_not_say("changed=0 ")?;
        shell.healthy()?;
        shell.sh("knem --version")?.demand(0)?.must_say(site.version())?;
        play(shell, &wanted, "")?.demand(0)?.must_say("changed=0 ")?;
        // A failure does not leave the directory behind either.
        let wrong = wanted.replace(&package, "/root/ansible/site.yml");
        play(shell, &wrong, "--tags install")?.demand(2)?;
        let after = shell.output(list)?;
        if after != before {
            bail!("what is in /tmp and /var/tmp has changed from\n{before}\nto\n{after}");
        }
        Ok(())
    })
}

fn lint(site: &Site) -> Result<()> {
    let lab = site.lab();
    let stack = lab.userlands().with_debian(
        "ansible",
        "Ansible and what checks its files",
        &["ansible-core", "ansible-lint", "yamllint"],
    )?;
    let machine = Machine::above(site, &stack)?;
    machine.inside(|shell| {
        bring(site, shell)?;
        let spack = site.lab().workspace.file("deploy/spack");
        run::quiet(Command::new("cp").args(["-r", "-T"]).arg(spack).arg(shell.path("root/spack")))?;
        let play = "cd /root/ansible && ANSIBLE_ROLES_PATH=roles";
        shell
            .sh(&format!("{play} ansible-lint --offline --profile production --nocolor -v"))?
            .demand(0)?
            .must_say("Passed")?;
        shell.sh("cd /root/ansible && yamllint --strict . ../spack")?.demand(0)?.must_be("")?;
        shell.sh(&format!("{play} ansible-doc -t role -r roles knem"))?.demand(0)?.must_say("knem_parameters")?;
        // The linters must find an error: a play with one.
        shell.write("root/ansible/wrong.yml", "- hosts: all\n  tasks:\n    - command: ls\n")?;
        let said = shell.sh(&format!("{play} ansible-lint --offline --profile production --nocolor wrong.yml"))?;
        said.demand(2)?.must_say("fqcn")?;
        Ok(())
    })
}

/// Copies the role and the sample into the tree.
fn bring(site: &Site, shell: &Shell<'_>) -> Result<()> {
    let from = site.lab().workspace.file("deploy/ansible");
    run::quiet(Command::new("cp").args(["-r", "-T"]).arg(from).arg(shell.path(PLACE)))?;
    shell.write(&format!("{PLACE}/inventory"), INVENTORY)
}

/// Runs the sample with some variables.
fn play(shell: &Shell<'_>, variables: &str, arguments: &str) -> Result<Said> {
    shell.sh(&command(variables, arguments))
}

fn command(variables: &str, arguments: &str) -> String {
    format!(
        "cd /{PLACE} && ANSIBLE_NOCOLOR=1 ansible-playbook -i inventory site.yml {arguments} --extra-vars \
         '{{\"knem_repository_url\": \"file:/opt/knem-repository\", \"knem_repository_key\": \"\", {variables}}}'"
    )
}
