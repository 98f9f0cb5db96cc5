// SPDX-License-Identifier: CECILL-B
//! Limits: how much memory the caller may lock, what sets that limit, and how much memory may be pinned on the machine.

use std::fmt::Write as _;

use super::finding::Finding;
use crate::machine::{number, Machine};
use crate::units;

/// Below this, a large message or the registration cache of an MPI library does not fit.
const ENOUGH: u64 = 1 << 30;
/// Below this, no useful region can be created.
const NOTHING: u64 = 64 << 10;

/// The package's file, and the remedy where it is missing or not sufficient.
const OURS: &str = "/20-knem.conf";
const RAISE: &str = "a line '@rdma - memlock unlimited' in /etc/security/limits.d/90-site.conf";

/// The findings of this group.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![memlock(machine)];
    if machine.container().is_none() {
        findings.push(file(machine));
    }
    findings.extend(systemd(machine));
    findings.extend(slurm(machine));
    findings.extend(pinned(machine));
    findings.extend(unpinned(machine));
    findings
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "unlimited".to_owned(), |bytes| units::bytes(units::float(bytes)))
}

/// Whether the limit does not apply to the caller.
fn is_exempt(machine: &Machine) -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let text = machine.text("/proc/self/status").unwrap_or_default();
    let mask = text
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> CAP_IPC_LOCK & 1 == 1)
}

fn memlock(machine: &Machine) -> Finding {
    const ID: &str = "limits.memlock";
    let (soft, hard) = (machine.caller.memlock, machine.caller.memlock_hard);
    let detail = format!("soft {}, hard {}", size(soft), size(hard));
    let Some(limit) = soft else {
        return Finding::ok(ID, "this process may lock unlimited memory").detail(detail);
    };
    if is_exempt(machine) {
        return Finding::ok(
            ID,
            format!("the limit of locked memory ({}) does not apply: this process has CAP_IPC_LOCK", size(soft)),
        );
    }
    if machine.word("/sys/module/knem/parameters/memlock").is_some_and(|word| word == "0") {
        return Finding::ok(
            ID,
            format!("the limit of locked memory ({}) is not enforced: parameter memlock=0", size(soft)),
        );
    }
    if limit >= ENOUGH {
        return Finding::ok(ID, format!("this process may lock {} of memory", size(soft))).detail(detail);
    }
    let summary = format!("this process may lock no more than {} of memory", size(soft));
    let finding = if limit < NOTHING { Finding::problem(ID, summary) } else { Finding::note(ID, summary) };
    let finding = finding
        .means(
            "the user's regions beyond the limit are pinned only for each copy, which is slower; with unpinned=0 they are refused (ENOMEM)",
        )
        .detail(detail);
    if hard.is_none_or(|hard| hard > limit) {
        return finding.remedy(format!(
            "ulimit -l {}",
            hard.map_or_else(|| "unlimited".to_owned(), |hard| (hard >> 10).to_string())
        ));
    }
    finding.remedy(format!("{RAISE}, and a new login; batch systems have their own setting"))
}

/// A line that sets the limit of locked memory.
struct Line {
    who: String,
    /// Precedence in PAM: a line for the user (2) before one for a group (1), before one for all (0).
    rank: u8,
    /// Sets the soft limit, which is the effective one.
    soft: bool,
    /// `u64::MAX` is unlimited.
    bytes: u64,
    path: String,
}

impl Line {
    /// Parses a line of `path`; `None` unless it applies to the caller as a member of the group.
    fn of(machine: &Machine, text: &str, path: &str) -> Option<Self> {
        let words: Vec<&str> = text.split('#').next()?.split_whitespace().collect();
        let [who, kind, "memlock", value] = words[..] else { return None };
        let is_mine = |group: &str| group == "rdma" || machine.caller.groups.iter().any(|mine| mine == group);
        let rank = match who.strip_prefix('@') {
            Some(group) if is_mine(group) => 1,
            None if who == "*" => 0,
            None if *who == machine.caller.user => 2,
            _ => return None,
        };
        // -1 and its synonyms do not parse.
        let bytes = value.parse::<u64>().map_or(u64::MAX, |kib| kib.saturating_mul(1 << 10));
        Some(Self { who: who.to_owned(), rank, soft: kind != "hard", bytes, path: path.to_owned() })
    }

    fn size(&self) -> String {
        size(Some(self.bytes).filter(|bytes| *bytes != u64::MAX))
    }
}

fn file(machine: &Machine) -> Finding {
    const ID: &str = "limits.file";
    let mut files = machine.files("/usr/lib/security/limits.d", ".conf");
    files.push("/etc/security/limits.conf".to_owned());
    files.extend(machine.files("/etc/security/limits.d", ".conf"));
    let mut lines = Vec::new();
    for path in &files {
        let text = machine.text(path).unwrap_or_default();
        lines.extend(text.lines().filter_map(|line| Line::of(machine, line, path)));
    }
    let list: Vec<String> =
        lines.iter().map(|line| format!("{} {}, in {}", line.who, line.size(), line.path)).collect();
    let soft = || lines.iter().filter(|line| line.soft);
    // The last of the lines with the highest rank.
    let Some(line) = soft().max_by_key(|line| line.rank) else {
        let finding = match &list[..] {
            [] => Finding::note(ID, "nothing raises the limit of locked memory at login"),
            _ => Finding::note(ID, format!("the limit of locked memory at login is set by: {}", list.join("; "))),
        };
        return finding.means("without such a line, logins have the system's default, usually 8 MiB").remedy(RAISE);
    };
    let (path, user) = (&line.path, &machine.caller.user);
    if let Some(more) = soft().find(|more| path.ends_with(OURS) && more.bytes > line.bytes) {
        return Finding::note(
            ID,
            format!(
                "{} sets {} for {}, but {path} sets {} for group rdma",
                more.path,
                more.size(),
                more.who,
                line.size()
            ),
        )
        .means("a line for a group takes precedence over one for *, and limits.conf is read before all other files")
        .remedy(RAISE);
    }
    if line.bytes >= ENOUGH {
        return Finding::ok(ID, format!("logins of {user}, in group rdma, may lock {} of memory", line.size()))
            .details(list);
    }
    let finding =
        Finding::note(ID, format!("{path} sets the limit of locked memory to {} for {}", line.size(), line.who))
            .details(list);
    if line.rank == 2 {
        return finding
            .means("a line for the user takes precedence over one for a group")
            .remedy(format!("remove the line for {user} from {path}"));
    }
    finding.means("regions beyond the limit are pinned only for each copy, which is slower").remedy(RAISE)
}

fn systemd(machine: &Machine) -> Option<Finding> {
    const ID: &str = "limits.systemd";
    let default = machine.ask("systemctl", &["show", "-p", "DefaultLimitMEMLOCK", "--value"])?.trim().to_owned();
    // Daemons that start jobs without a login.
    let daemons = ["slurmd", "pbs_mom", "pbs", "condor", "gridengine-execd", "sshd"];
    let mut limited = Vec::new();
    for daemon in daemons {
        let unit = format!("{daemon}.service");
        let asked =
            machine.ask("systemctl", &["show", "-p", "LoadState", "-p", "LimitMEMLOCK", &unit]).unwrap_or_default();
        let value = asked.lines().find_map(|line| line.strip_prefix("LimitMEMLOCK="));
        if daemon != "sshd" && asked.lines().any(|line| line == "LoadState=loaded") {
            if let Some(bytes) = value.and_then(|value| value.parse::<u64>().ok()) {
                limited.push((unit, bytes));
            }
        }
    }
    let default = default.parse().map_or_else(|_| "unlimited".to_owned(), |bytes: u64| size(Some(bytes)));
    if limited.is_empty() {
        return Some(Finding::ok(ID, format!("default limit of locked memory for systemd services: {default}")));
    }
    let list: Vec<String> = limited.iter().map(|(unit, bytes)| format!("{unit} {}", size(Some(*bytes)))).collect();
    Some(
        Finding::note(ID, format!("jobs of a batch system may lock little memory: {}", list.join(", ")))
            .means(
                "jobs inherit the daemon's limit unless the batch system sets another; login limits do not apply to them",
            )
            .remedy(format!("systemctl edit {}: [Service] LimitMEMLOCK=infinity; then restart it", limited[0].0)),
    )
}

fn slurm(machine: &Machine) -> Option<Finding> {
    const ID: &str = "limits.slurm";
    let places = [
        "/etc/slurm/slurm.conf",
        "/etc/slurm-llnl/slurm.conf",
        "/usr/local/etc/slurm.conf",
        "/run/slurm/conf/slurm.conf",
    ];
    let named = machine.variable("SLURM_CONF");
    let path = named.as_deref().into_iter().chain(places).find(|path| machine.exists(path))?;
    let Some(text) = machine.text(path) else {
        return Some(Finding::unknown(ID, format!("{path} cannot be read")));
    };
    let setting = |key: &str| {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case(key))
            .map(|(_, value)| value.trim().to_uppercase())
    };
    let except = setting("PropagateResourceLimitsExcept").unwrap_or_default();
    let only = setting("PropagateResourceLimits");
    let names = |list: &str| list.split(',').any(|name| matches!(name.trim(), "ALL" | "MEMLOCK"));
    let propagated = if except.is_empty() { only.as_deref().is_none_or(names) } else { !names(&except) };
    if propagated {
        return Some(
            Finding::note(ID, format!("{path}: Slurm propagates the limit of locked memory from the submitting host to the nodes"))
                .means("a job submitted from a login with a small limit has it on every node, whatever the nodes allow")
                .remedy(format!("PropagateResourceLimitsExcept=MEMLOCK in {path}, and LimitMEMLOCK=infinity for slurmd.service; then: scontrol reconfigure")),
        );
    }
    Some(Finding::ok(ID, "Slurm does not propagate the limit of locked memory").detail(path))
}

fn pinned(machine: &Machine) -> Option<Finding> {
    const ID: &str = "limits.pinned";
    let ceiling = machine.pinned_ceiling()?;
    let statistics = machine.statistics();
    let read = |key| statistics.as_deref().and_then(|text| number(text, key));
    let (now, peak) = (read("pinned_bytes"), read("pinned_bytes_peak"));
    let shown = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), |bytes| size(Some(bytes)));
    let mut summary = format!("pinned {}, peak {}, ceiling {}", shown(now), shown(peak), size(Some(ceiling)));
    // On a machine with one user, the limit per user is reached first.
    let (least, is_own) = machine.user_pinned_ceiling().filter(|(user, _)| *user < ceiling).unwrap_or((ceiling, false));
    if least < ceiling {
        let _ = write!(summary, ", {} per user", size(Some(least)));
    }
    // Nine tenths.
    if peak.is_some_and(|peak| peak >= least - least / 10) {
        let remedy = if is_own {
            "max_user_pinned_mb: echo MIB > /sys/module/knem/parameters/max_user_pinned_mb, and in /etc/modprobe.d/knem.conf"
        } else {
            "max_pinned_mb: echo MIB > /sys/module/knem/parameters/max_pinned_mb, and in /etc/modprobe.d/knem.conf"
        };
        return Some(
            Finding::note(ID, summary)
                .means("regions beyond the ceiling are pinned only for each copy, which is slower; with unpinned=0 they are refused (ENOMEM)")
                .remedy(remedy),
        );
    }
    Some(Finding::ok(ID, summary))
}

fn unpinned(machine: &Machine) -> Option<Finding> {
    const ID: &str = "limits.unpinned";
    match number(&machine.statistics()?, "regions_unpinned")? {
        0 => None,
        count => Some(
            Finding::note(ID, format!("{count} regions are not pinned"))
                .means(
                    "a limit or the kind of their memory prevents it; copies pin them piece by piece, which is slower",
                )
                .remedy("knem regions; then see limits.memlock and limits.pinned"),
        ),
    }
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

    fn limited(soft: u64, hard: Option<u64>) -> Fake {
        Fake::well().caller(|caller| {
            caller.memlock = Some(soft);
            caller.memlock_hard = hard;
        })
    }

    #[test]
    fn unpinned_regions_are_counted() {
        let text = |count| format!("version 1\nregions 9\nregions_unpinned {count}\n");
        let fake = |count| Fake::well().file("/proc/driver/knem/statistics", &text(count));
        assert!(check(&fake(0).machine()).iter().all(|finding| finding.id != "limits.unpinned"));
        let finding = of(&fake(7), "limits.unpinned");
        assert_eq!((finding.state, &*finding.summary), (State::Note, "7 regions are not pinned"));
    }

    #[test]
    fn all_ok() {
        let findings = check(&Fake::well().machine());
        assert!(states(&findings).iter().all(|state| *state == State::Ok), "{findings:#?}");
    }

    #[test]
    fn a_small_limit() {
        let finding = of(&limited(8 << 20, Some(8 << 20)), "limits.memlock");
        assert_eq!(finding.state, State::Note);
        assert!(finding.summary.contains("8.00M") && finding.remedies[0].contains("limits.d"), "{finding:?}");
        assert_eq!(of(&limited(8 << 20, None), "limits.memlock").remedies, ["ulimit -l unlimited"]);
        assert_eq!(of(&limited(8 << 20, Some(16 << 20)), "limits.memlock").remedies, ["ulimit -l 16384"]);
        assert_eq!(of(&limited(4096, Some(4096)), "limits.memlock").state, State::Problem);
        assert_eq!(of(&limited(2 << 30, Some(2 << 30)), "limits.memlock").state, State::Ok);
    }

    #[test]
    fn who_is_above_the_limit() {
        let root = limited(4096, None).file("/proc/self/status", "Name:\tknem\nCapEff:\t0000000000004000\n");
        assert!(of(&root, "limits.memlock").summary.contains("CAP_IPC_LOCK"));
        let off = limited(4096, None).file("/sys/module/knem/parameters/memlock", "0\n");
        assert!(of(&off, "limits.memlock").summary.contains("memlock=0"));
    }

    #[test]
    fn the_file_may_be_missing_or_outdone() {
        let none = Fake::well().without("/etc/security/limits.d");
        assert!(of(&none, "limits.file").summary.starts_with("nothing raises"));
        let other = none.file("/etc/security/limits.conf", "# @x - memlock 1\n* hard memlock 64\n");
        assert!(of(&other, "limits.file").summary.contains("* 64.0K, in /etc/security/limits.conf"));
        let outdone = Fake::well().file("/etc/security/limits.d/zz.conf", "alice - memlock 64\n");
        assert!(of(&outdone, "limits.file").summary.contains("64.0K for alice"));
        assert!(of(&outdone, "limits.file").remedies[0].starts_with("remove the line for alice"));
    }

    #[test]
    fn a_site_decides() {
        let with = |path: &str, text: &str| of(&Fake::well().file(path, text), "limits.file");
        let later = "/etc/security/limits.d/99-site.conf";
        let own = with(later, "@rdma - memlock unlimited\n");
        assert!(own.state == State::Ok && own.summary.contains("unlimited"), "{own:?}");
        assert!(with(later, "@rdma - memlock 4096 # little\n").summary.contains("99-site.conf sets"));
        // What PAM ranks below the package's line, or reads before it.
        for (path, text) in
            [(later, "* - memlock -1\n"), ("/etc/security/limits.conf", "@rdma soft memlock infinity\n")]
        {
            let finding = with(path, text);
            assert_eq!((finding.state, &*finding.remedies[0]), (State::Note, RAISE), "{finding:?}");
            assert!(finding.summary.starts_with(&format!("{path} sets unlimited for ")), "{finding:?}");
            // The remedy, carried out.
            let raised = Fake::well()
                .file(path, text)
                .file("/etc/security/limits.d/90-site.conf", "@rdma - memlock unlimited\n");
            assert_eq!(of(&raised, "limits.file").state, State::Ok);
        }
        assert_eq!(with(later, "* - memlock 64\n").state, State::Ok);
        assert_eq!(with(later, "@strangers - memlock 64\n").state, State::Ok);
    }

    #[test]
    fn a_batch_daemon_with_a_small_limit() {
        let line = "systemctl show -p LoadState -p LimitMEMLOCK slurmd.service";
        let fake = Fake::well().says(line, "LoadState=loaded\nLimitMEMLOCK=8388608\n");
        let finding = of(&fake, "limits.systemd");
        assert_eq!(finding.state, State::Note);
        assert!(finding.remedies[0].starts_with("systemctl edit slurmd.service"), "{finding:?}");
        let fake = Fake::well().says(line, "LoadState=not-found\nLimitMEMLOCK=8388608\n");
        assert_eq!(of(&fake, "limits.systemd").state, State::Ok);
        let none = Fake::well().no_program("systemctl");
        assert!(!check(&none.machine()).iter().any(|finding| finding.id == "limits.systemd"));
    }

    #[test]
    fn slurm_may_take_limits_along() {
        let conf = |text: &str| of(&Fake::well().file("/etc/slurm/slurm.conf", text), "limits.slurm").state;
        assert_eq!(conf("ClusterName=x\n"), State::Note);
        assert_eq!(conf("PropagateResourceLimitsExcept=MEMLOCK\n"), State::Ok);
        assert_eq!(conf("propagateresourcelimits=NONE # all\n"), State::Ok);
        assert_eq!(conf("PropagateResourceLimits=CORE,MEMLOCK\n"), State::Note);
        assert_eq!(conf("PropagateResourceLimitsExcept=CORE\n"), State::Note);
        let unreadable = Fake::well().file("/etc/slurm/slurm.conf/x", "");
        assert_eq!(of(&unreadable, "limits.slurm").state, State::Unknown);
    }

    #[test]
    fn the_ceiling_can_be_reached() {
        let fake = Fake::well().file("/sys/module/knem/parameters/max_pinned_mb", "1\n");
        assert_eq!(of(&fake, "limits.pinned").state, State::Note);
        assert!(of(&Fake::well(), "limits.pinned").summary.contains("ceiling 8.00G, 6.40G per user"));
        let fake = Fake::well().file("/sys/module/knem/parameters/max_user_pinned_mb", "1\n");
        let finding = of(&fake, "limits.pinned");
        assert_eq!(finding.state, State::Note);
        assert!(finding.remedies[0].contains("max_user_pinned_mb: "), "{finding:?}");
        let none = Fake::well().without("/sys/module/knem");
        assert!(!check(&none.machine()).iter().any(|finding| finding.id == "limits.pinned"));
    }
}
