// SPDX-License-Identifier: CECILL-B
//! The device node: whether it exists, who may open it, and which rule set its mode.

use knem::{Error, Kind, Obstacle};
use nix::errno::Errno;

use super::finding::Finding;
use crate::machine::driver::Manager;
use crate::machine::{Caller, Machine};

/// Group of the node, as the package sets it.
const GROUP: &str = "rdma";
/// The package's rule.
const OURS: &str = "60-knem.rules";
/// Parameter that limits opening the device to the initial namespaces.
const STRICT_NS: &str = "/sys/module/knem/parameters/strict_ns";
/// Directories of packaged rules, and directories whose rules replace those of the same name.
const PACKAGED: [&str; 2] = ["/usr/lib/udev/rules.d", "/lib/udev/rules.d"];
const HIDING: [&str; 2] = ["/etc/udev/rules.d", "/run/udev/rules.d"];
/// Command that makes udev apply its rules again.
const TRIGGER: &str = "udevadm trigger --settle --action=add --name-match=knem";
/// Documented file for a site's own mode and group.
const SITE_RULES: &str = "/etc/udev/rules.d/61-knem-site.rules";
/// The package's sysusers.d file for the group.
const SYSUSERS: [&str; 2] = ["/usr/lib/sysusers.d/knem.conf", "/etc/sysusers.d/knem.conf"];
/// The last id of a system group, as distributions set it.
const SYSTEM_GROUPS: u32 = 999;
/// The first systemd whose udev gives devices to system groups only.
const STRICT_UDEV: u32 = 258;

/// The findings of this group.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let members = Members::of(machine);
    let mut findings = vec![node(machine, &members), access(machine, &members), group(machine, &members)];
    findings.extend(member(machine, &members));
    if machine.container().is_none() {
        findings.push(rule(machine));
    }
    findings
}

/// The group in the user database.
struct Members {
    exists: bool,
    id: Option<u32>,
    /// The caller is listed as a member.
    listed: bool,
}

impl Members {
    fn of(machine: &Machine) -> Self {
        // getent queries all sources of groups; the file is only one of them.
        let line = machine.ask("getent", &["group", GROUP]).or_else(|| {
            let text = machine.text("/etc/group")?;
            text.lines().find(|line| line.starts_with(&format!("{GROUP}:"))).map(str::to_owned)
        });
        let listed = line.as_deref().is_some_and(|line| {
            let members = line.trim().rsplit(':').next().unwrap_or_default();
            members.split(',').any(|member| member == machine.caller.user)
        });
        let id = line.as_deref().and_then(|line| line.split(':').nth(2)?.trim().parse().ok());
        Self { exists: line.is_some(), id, listed }
    }
}

/// Returns the commands that set the node's group: they create the group if it is missing, and use udev if it has the
/// rule.
fn give(machine: &Machine, members: &Members) -> String {
    let group =
        match (members.exists, machine.find("systemd-sysusers"), SYSUSERS.iter().any(|path| machine.exists(path))) {
            (true, ..) => String::new(),
            (false, Some(_), true) => "systemd-sysusers; ".to_owned(),
            (false, ..) => format!("groupadd --system {GROUP}; "),
        };
    format!("{group}{}", apply(machine))
}

/// Returns the command that sets mode and group of an existing node.
fn apply(machine: &Machine) -> String {
    let is_in = |directories: [&str; 2]| directories.iter().any(|place| machine.exists(&format!("{place}/{OURS}")));
    if machine.has_udev() && is_in(PACKAGED) && !is_in(HIDING) {
        TRIGGER.to_owned()
    } else {
        format!("chgrp {GROUP} /dev/knem; chmod 0660 /dev/knem")
    }
}

/// Returns the commands that create the node of the loaded module. udev does not create it: the kernel does when the
/// module is loaded.
fn create(machine: &Machine) -> String {
    let installed = machine.module_files(&machine.kernel).iter().any(|file| file.chosen);
    let unused = machine.word("/sys/module/knem/refcnt").is_none_or(|count| count == "0");
    if installed && unused && machine.has_udev() {
        return "modprobe -r knem; modprobe knem".to_owned();
    }
    let path = machine.node.display();
    format!("mknod {path} c 10 $(awk '$2 == \"knem\" {{ print $1 }}' /proc/misc); {}", apply(machine))
}

fn node(machine: &Machine, members: &Members) -> Finding {
    const ID: &str = "device.node";
    let path = machine.node.display();
    if let Some(finding) = no_device(machine) {
        return finding;
    }
    match &machine.facts {
        Some(facts) => {
            let summary = format!("{path} exists: mode {:04o}, {}:{}", facts.mode, facts.owner, facts.group);
            if facts.mode & 0o006 == 0o006 {
                return Finding::note(ID, summary)
                    .means("every user may open it; the package sets group rdma and mode 0660")
                    .remedy(format!("remove the rule that does it, see device.rule; then: {TRIGGER}"));
            }
            if facts.mode & 0o060 != 0o060 || facts.group == "root" {
                return Finding::note(ID, summary)
                    .means("only root may open it: the udev rule of the package was not applied, or group rdma did not exist yet")
                    .remedy(give(machine, members));
            }
            Finding::ok(ID, summary)
        }
        None if machine.exists("/sys/module/knem") => {
            let finding = Finding::problem(ID, format!("the module is loaded, but {path} does not exist"));
            match machine.container() {
                Some(_) => finding
                    .means("the container was started without the device")
                    .remedy("docker, podman: --device /dev/knem"),
                None => finding.means("it was removed, or /dev is not a devtmpfs").remedy(create(machine)),
            }
        }
        None => {
            let finding = Finding::problem(ID, format!("{path} does not exist")).means("loading the module creates it");
            match machine.container() {
                Some(_) => {
                    finding.remedy("on the host: modprobe knem; then start the container with --device /dev/knem")
                }
                None => finding.remedy("see module.loaded"),
            }
        }
    }
}

/// Reports anything but a device at the node's path.
fn no_device(machine: &Machine) -> Option<Finding> {
    let Err(Error::NoDevice { obstacle, .. }) = &machine.opened else { return None };
    let Obstacle::NotADevice { kind, path } = obstacle else { return None };
    let finding = Finding::problem("device.node", format!("{} is {kind}, not a device", path.display())).means(
        "a container runtime creates a directory if the source of a volume is missing; a redirection creates a file",
    );
    Some(match machine.container() {
        Some(_) => finding.remedy("start the container with --device /dev/knem instead of a volume"),
        None if *kind == Kind::Directory => finding.remedy(format!("rmdir {}; {}", path.display(), create(machine))),
        None => finding.remedy(format!("rm {}; {}", path.display(), create(machine))),
    })
}

/// Adds the remedies for a Slurm job, whose groups come from slurmctld: neither a new login nor membership on the node
/// alone changes them.
fn in_job(machine: &Machine, members: &Members, finding: Finding) -> Finding {
    let user = &machine.caller.user;
    let number = members.id.map_or_else(String::new, |id| format!(", and its number {id} as on this node"));
    finding
        .means("this is a Slurm job: its groups are those of the user on the host of slurmctld, by number")
        .remedy(format!("on the host of slurmctld as well: group {GROUP} with the member {user}{number}"))
        .remedy("or LaunchParameters=disable_send_gids in slurm.conf, so that each node looks its users' groups up; then: scontrol reconfigure")
}

/// Whether the caller is in a job of Slurm.
fn is_job(machine: &Machine) -> bool {
    machine.variable("SLURM_JOB_ID").is_some()
}

fn access(machine: &Machine, members: &Members) -> Finding {
    const ID: &str = "device.access";
    let Caller { user, .. } = &machine.caller;
    let refused = |obstacle: &Obstacle| {
        let finding = Finding::problem(ID, format!("{user} may not open {}", machine.node.display()))
            .means("programs of this user do without KNEM, or fail");
        match obstacle {
            Obstacle::NotInGroup { .. } | Obstacle::StaleGroups { .. } if is_job(machine) => {
                in_job(machine, members, finding)
            }
            Obstacle::NotInGroup { group, .. } => {
                finding.remedy(format!("as root: usermod -aG {group} {user}; then log in again"))
            }
            Obstacle::StaleGroups { group } => finding
                .means(format!("{user} is in group {group}, but this session is older than that"))
                .remedy(format!("log in again, or for one shell: newgrp {group}")),
            Obstacle::OwnerOnly { .. } => finding.remedy(format!("as root: {}", give(machine, members))),
            Obstacle::Policy { errno: Errno::EPERM } if machine.word(STRICT_NS).as_deref() == Some("2") => finding
                .means(
                    "the parameter strict_ns is 2: only processes in the initial user and pid namespaces may open the device",
                )
                .remedy("run it outside of containers, or in one of root's with --userns=host --pid=host")
                .remedy("or on the host, for all containers: echo 0 > /sys/module/knem/parameters/strict_ns"),
            other => finding
                .detail(other.to_string())
                .remedy("check the security policy: SELinux, AppArmor, the container's device rules"),
        }
    };
    match &machine.opened {
        Ok(info) => Finding::ok(ID, format!("{user} can open it; it speaks version {:#x} of the interface", info.abi)),
        Err(Error::Permission { obstacle, .. }) => refused(obstacle),
        Err(Error::NoDevice { obstacle: Obstacle::StaleNode, .. }) => {
            let finding = Finding::problem(
                ID,
                format!("{} is a stale node, created before the module was loaded", machine.node.display()),
            )
            .means("the device has another number now; no device has this one");
            match machine.container() {
                Some(_) => finding.remedy("start the container again, with --device /dev/knem"),
                None => finding.remedy(format!("rm {}; {}", machine.node.display(), create(machine))),
            }
        }
        Err(Error::NoDevice { .. }) => Finding::unknown(ID, "there is no device to open"),
        Err(error @ Error::WrongAbi { .. }) => Finding::problem(ID, error.to_string())
            .remedy("install knem2-dkms and knem-tools of the same release; then: modprobe -r knem; modprobe knem"),
        Err(error) => {
            let path = machine.node.display();
            let remedy = format!("give the right node with --device; or if this is it: rm {path}; {}", create(machine));
            Finding::problem(ID, error.to_string()).remedy(remedy)
        }
    }
}

fn group(machine: &Machine, members: &Members) -> Finding {
    const ID: &str = "device.group";
    let is_given = machine.facts.as_ref().is_none_or(|facts| facts.group == GROUP);
    if let Some(id) = members.id.filter(|id| *id > SYSTEM_GROUPS && !is_given) {
        let version = machine.ask("udevadm", &["--version"]).and_then(|text| text.trim().parse::<u32>().ok());
        if version.is_some_and(|version| version >= STRICT_UDEV) {
            return Finding::note(ID, format!("group {GROUP} has the id {id}, which is not that of a system group"))
                .means("systemd-udevd 258 and later ignore GROUP= for such a group, so only root may open the device")
                .remedy(format!(
                    "in {SITE_RULES}: SUBSYSTEM==\"misc\", KERNEL==\"knem\", RUN+=\"/usr/bin/chgrp {GROUP} /dev/knem\"; then: {TRIGGER}"
                ))
                .remedy(format!("or an id up to {SYSTEM_GROUPS} for it, the same on all machines: groupmod --gid ID {GROUP}; then: {TRIGGER}"));
        }
    }
    if members.exists {
        return Finding::ok(ID, format!("group {GROUP} exists"));
    }
    let other = machine.facts.as_ref().filter(|facts| facts.group != "root" && facts.mode & 0o060 == 0o060);
    match other {
        Some(facts) => {
            Finding::ok(ID, format!("group {GROUP} does not exist; the node belongs to group {}", facts.group))
        }
        None => Finding::note(ID, format!("group {GROUP} does not exist"))
            .means("the udev rule cannot set it, so only root may open the device")
            .remedy(give(machine, members)),
    }
}

fn member(machine: &Machine, members: &Members) -> Option<Finding> {
    const ID: &str = "device.member";
    let Caller { user, .. } = &machine.caller;
    if machine.caller.is_root() {
        return Some(Finding::ok(ID, "root needs no group"));
    }
    // device.access has reported it if it keeps the caller out.
    let said = matches!(
        machine.opened,
        Err(Error::Permission { obstacle: Obstacle::NotInGroup { .. } | Obstacle::StaleGroups { .. }, .. })
    );
    if !members.exists || said {
        return None;
    }
    let in_process = machine.caller.groups.iter().any(|group| group == GROUP);
    let opens = machine.opened.is_ok();
    Some(match (in_process, members.listed) {
        (true, true) => Finding::ok(ID, format!("{user} is in group {GROUP}, and so is this process")),
        (true, false) => {
            Finding::note(ID, format!("this process is in group {GROUP}, but {user} is not a member of it"))
                .means("the group comes from newgrp, a batch system or a former membership; the next login lacks it")
                .remedy(format!("as root: usermod -aG {GROUP} {user}"))
        }
        (false, true) if is_job(machine) => in_job(
            machine,
            members,
            Finding::note(ID, format!("{user} is in group {GROUP} on this node, but this job is not")),
        ),
        (false, true) => Finding::note(ID, format!("{user} is in group {GROUP}, but this process is not"))
            .means("it was started before the membership was added")
            .remedy(format!("log in again, or for one shell: newgrp {GROUP}")),
        (false, false) if opens => Finding::ok(
            ID,
            format!("{user} is not in group {GROUP}, but may open the node by its mode or an access list"),
        ),
        (false, false) => Finding::note(ID, format!("{user} is not in group {GROUP}"))
            .means("by default only members of the group may use KNEM")
            .remedy(format!("as root: usermod -aG {GROUP} {user}; then log in again")),
    })
}

fn rule(machine: &Machine) -> Finding {
    const ID: &str = "device.rule";
    if !machine.exists("/run/udev") && !machine.has_udev() {
        return Finding::unknown(ID, "udev is not running, so its rules have no effect");
    }
    let packaged = PACKAGED.iter().map(|directory| format!("{directory}/{OURS}")).find(|path| machine.exists(path));
    if let Some(hider) = HIDING.iter().map(|directory| format!("{directory}/{OURS}")).find(|path| machine.exists(path))
    {
        let text = machine.text(&hider).unwrap_or_default();
        let active = rules(&text);
        let finding = if active.is_empty() {
            Finding::note(ID, format!("{hider} disables the rule of the package"))
        } else {
            Finding::note(ID, format!("{hider} replaces the rule of the package"))
        };
        return finding
            .means("usually the administrator's choice")
            .details(active)
            .remedy(format!("rm {hider}; {TRIGGER}"));
    }
    let site = rules(&machine.text(SITE_RULES).unwrap_or_default());
    if !site.is_empty() {
        return Finding::ok(ID, format!("{SITE_RULES} sets up the device as the site chose")).details(site);
    }
    // Rules of other files for the device: the last one applied decides.
    let mut others: Vec<(String, Vec<String>)> = Vec::new();
    for path in HIDING.iter().chain(&PACKAGED).flat_map(|directory| machine.files(directory, ".rules")) {
        let active = rules(&machine.text(&path).unwrap_or_default());
        if !path.ends_with(&format!("/{OURS}"))
            && !active.is_empty()
            && !others.iter().any(|other| same_name(&other.0, &path))
        {
            others.push((path, active));
        }
    }
    if let Some((path, active)) = others.first() {
        let open = others.iter().any(|other| other.1.iter().any(|line| line.contains("0666")));
        let finding = Finding::note(ID, format!("another udev rule sets up the device: {path}"));
        let finding = if open {
            finding.means("a vendor's rule opens the device to every user (mode 0666), unless the rule of the package is applied after it")
        } else {
            finding.means("the names of the files decide which rule is applied last")
        };
        return finding.details(active.clone()).remedy(format!("rm {path}; {TRIGGER}"));
    }
    match packaged {
        Some(path) => Finding::ok(ID, format!("{path} gives the node to group {GROUP}")),
        None => Finding::note(ID, "there is no udev rule for the device")
            .means("the node is created with mode 0600: only root may open it")
            .remedy(format!(
                "{}; {TRIGGER}",
                match machine.manager() {
                    Manager::Apt => "apt install --reinstall knem-tools",
                    Manager::Zypper => "zypper install --force knem-tools",
                    Manager::Dnf | Manager::Other => "dnf reinstall knem-tools",
                }
            )),
    }
}

fn same_name(one: &str, other: &str) -> bool {
    one.rsplit('/').next() == other.rsplit('/').next()
}

/// Returns the rules in a file that match the device.
fn rules(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter(|line| line.contains("\"knem\"")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::tests::{found, states};
    use crate::machine::fake::Fake;

    fn of(fake: &Fake, id: &str) -> Finding {
        found(&check(&fake.machine()), id).clone()
    }

    #[test]
    fn all_ok() {
        let findings = check(&Fake::well().machine());
        assert!(states(&findings).iter().all(|state| *state == State::Ok), "{findings:#?}");
    }

    #[test]
    fn a_missing_node() {
        assert_eq!(of(&Fake::new(), "device.node").remedies, ["see module.loaded"]);
        assert_eq!(of(&Fake::new(), "device.access").state, State::Unknown);
        let loaded = Fake::well().absent(Obstacle::NoNode);
        // udev creates no nodes; and a module in use is not unloaded.
        assert_eq!(of(&loaded, "device.node").remedies, ["modprobe -r knem; modprobe knem"]);
        let used = loaded.file("/sys/module/knem/refcnt", "2\n");
        assert!(of(&used, "device.node").remedies[0].starts_with("mknod /dev/knem c 10"));
        assert!(of(&used, "device.node").remedies[0].ends_with(&format!("; {TRIGGER}")));
        let without_udev = loaded.without("/run/udev");
        assert!(of(&without_udev, "device.node").remedies[0].contains("mknod"));
        let container = loaded.file("/.dockerenv", "");
        assert!(of(&container, "device.node").remedies[0].contains("--device"));
    }

    #[test]
    fn something_else_in_the_place_of_the_node() {
        let (kind, path) = (knem::Kind::Directory, "/dev/knem".into());
        let directory = Fake::well().absent(Obstacle::NotADevice { kind, path });
        let finding = of(&directory, "device.node");
        assert_eq!(
            (finding.state, &*finding.remedies[0]),
            (State::Problem, "rmdir /dev/knem; modprobe -r knem; modprobe knem")
        );
        assert!(of(&directory.file("/.dockerenv", ""), "device.node").remedies[0].contains("--device"));
    }

    #[test]
    fn a_node_that_leads_nowhere() {
        let stale = Fake::well().absent(Obstacle::StaleNode);
        let finding = of(&stale, "device.access");
        assert_eq!(finding.state, State::Problem);
        assert!(finding.remedies[0].starts_with("rm /dev/knem; modprobe -r knem"), "{finding:?}");
        assert!(of(&stale.file("/.dockerenv", ""), "device.access").remedies[0].contains("start the container"));
    }

    #[test]
    fn modes_that_are_too_open_or_too_closed() {
        let open = Fake::well().facts(|facts| facts.mode = 0o666);
        assert!(of(&open, "device.node").meaning.unwrap().contains("every user"));
        let sysusers = Fake::well().file(SYSUSERS[0], "g rdma -\n").says("systemd-sysusers --version", "");
        let sysusers = sysusers.fails("getent group rdma", "", "");
        let closed = sysusers.facts(|facts| {
            facts.mode = 0o600;
            facts.group = "root".to_owned();
        });
        assert!(of(&closed, "device.node").remedies[0].starts_with("systemd-sysusers; udevadm"));
        let standard = closed.says("getent group rdma", "rdma:x:105:alice\n");
        assert_eq!(of(&standard, "device.node").remedies, [TRIGGER]);
        let no_udev = standard.without("/run/udev");
        assert_eq!(of(&no_udev, "device.node").remedies, ["chgrp rdma /dev/knem; chmod 0660 /dev/knem"]);
        let no_file = closed.without(SYSUSERS[0]);
        assert!(of(&no_file, "device.node").remedies[0].starts_with("groupadd --system rdma; "));
    }

    #[test]
    fn a_refused_user_has_a_remedy() {
        let stranger = Obstacle::NotInGroup { mode: 0o660, group: "rdma".to_owned(), user: "alice".to_owned() };
        assert_eq!(
            of(&Fake::well().denied(stranger), "device.access").remedies,
            ["as root: usermod -aG rdma alice; then log in again"]
        );
        let stale = Obstacle::StaleGroups { group: "rdma".to_owned() };
        assert!(of(&Fake::well().denied(stale), "device.access").remedies[0].contains("newgrp rdma"));
        let owner = Obstacle::OwnerOnly { mode: 0o600, owner: "root".to_owned(), group: "root".to_owned() };
        assert!(of(&Fake::well().denied(owner), "device.access").remedies[0].contains(TRIGGER));
        let policy = Obstacle::Policy { errno: Errno::EPERM };
        let strict = Fake::well().file(STRICT_NS, "2\n").denied(policy.clone());
        assert!(of(&strict, "device.access").remedies[1].contains("strict_ns"));
        assert!(of(&Fake::well().denied(policy), "device.access").remedies[0].contains("SELinux"));
        assert!(of(&Fake::well().abi(0xc), "device.access").summary.contains("0xc"));
    }

    #[test]
    fn a_job_has_the_groups_of_the_controller() {
        let job = Fake::well().variable("SLURM_JOB_ID", "7");
        assert_eq!(of(&job, "device.member").state, State::Ok);
        let stale = job.caller(|caller| caller.groups = vec!["alice".to_owned(), "4711".to_owned()]);
        for finding in [
            of(&stale, "device.member"),
            of(&job.denied(Obstacle::StaleGroups { group: "rdma".to_owned() }), "device.access"),
            of(
                &job.denied(Obstacle::NotInGroup { mode: 0o660, group: "rdma".to_owned(), user: "alice".to_owned() }),
                "device.access",
            ),
        ] {
            assert!(finding.remedies[0].contains("its number 105 as on this node"), "{finding:?}");
            assert!(finding.remedies[1].contains("disable_send_gids"), "{finding:?}");
        }
    }

    #[test]
    fn a_group_that_udev_does_not_take() {
        let high = Fake::well().says("getent group rdma", "rdma:x:2000:alice\n");
        let closed = high.facts(|facts| facts.group = "root".to_owned());
        assert_eq!(of(&closed.says("udevadm --version", "257\n"), "device.group").state, State::Ok);
        let finding = of(&closed.says("udevadm --version", "258\n"), "device.group");
        assert_eq!(finding.state, State::Note);
        assert!(finding.remedies[0].contains("chgrp rdma /dev/knem"), "{finding:?}");
        // With the remedy the node has the group, and the file is no stranger's.
        let cured = high.says("udevadm --version", "258\n").file(SITE_RULES, "KERNEL==\"knem\", RUN+=\"x\"\n");
        assert_eq!(of(&cured, "device.group").state, State::Ok);
        assert_eq!(of(&cured, "device.rule").state, State::Ok);
    }

    #[test]
    fn the_group_may_be_missing() {
        let fake = Fake::well().no_program("getent").facts(|facts| facts.group = "root".to_owned());
        assert_eq!(of(&fake, "device.group").state, State::Note);
        let other = Fake::well().no_program("getent").facts(|facts| facts.group = "mpi".to_owned());
        assert!(of(&other, "device.group").summary.contains("mpi"));
        let file = Fake::well().no_program("getent").file("/etc/group", "root:x:0:\nrdma:x:105:alice\n");
        assert_eq!(of(&file, "device.group").state, State::Ok);
        assert_eq!(of(&file, "device.member").state, State::Ok);
    }

    #[test]
    fn membership_in_the_database_and_in_the_process() {
        let stale = Fake::well().caller(|caller| caller.groups = vec!["alice".to_owned()]);
        assert!(of(&stale, "device.member").remedies[0].contains("newgrp"));
        let borrowed = Fake::well().says("getent group rdma", "rdma:x:105:bob\n");
        assert_eq!(of(&borrowed, "device.member").state, State::Note);
        let stranger = borrowed.caller(|caller| caller.groups = vec!["alice".to_owned()]);
        assert!(of(&stranger, "device.member").summary.contains("access list"));
        let refused = stranger.denied(Obstacle::NoNode);
        assert_eq!(of(&refused, "device.member").state, State::Note);
        let root = stranger.caller(|caller| caller.uid = 0);
        assert_eq!(of(&root, "device.member").state, State::Ok);
    }

    #[test]
    fn rules_that_change_what_the_package_does() {
        let hidden = Fake::well().file("/etc/udev/rules.d/60-knem.rules", "# nothing\n");
        assert!(of(&hidden, "device.rule").summary.contains("disables"));
        let replaced = hidden.file("/etc/udev/rules.d/60-knem.rules", "KERNEL==\"knem\", MODE=\"0600\"\n");
        assert!(of(&replaced, "device.rule").summary.contains("replaces"));
        let vendor =
            Fake::well().file("/etc/udev/rules.d/10-knem.rules", "KERNEL==\"knem\", NAME=\"knem\", MODE=\"0666\"\n");
        let finding = of(&vendor, "device.rule");
        assert!(finding.meaning.unwrap().contains("0666"));
        assert!(finding.remedies[0].starts_with("rm /etc/udev/rules.d/10-knem.rules"));
        let site = Fake::well().file("/etc/udev/rules.d/70-site.rules", "KERNEL==\"knem\", GROUP=\"mpi\"\n");
        assert!(of(&site, "device.rule").meaning.unwrap().contains("names of the files"));
        let none = Fake::well().without("/usr/lib/udev/rules.d/60-knem.rules");
        assert!(of(&none, "device.rule").summary.contains("no udev rule"));
        let no_udev = Fake::well().without("/run/udev");
        assert_eq!(of(&no_udev, "device.rule").state, State::Unknown);
    }
}
