// SPDX-License-Identifier: CECILL-B
//! Open MPI, UCX and MPICH: which are in PATH, whether they are built with KNEM or have a plug-in for it, whether they
//! would choose it, and the options that make them choose it.

use super::finding::Finding;
use super::plugins::{Library, Plugin};
use crate::machine::{Machine, Ran};

/// The findings of this group.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let mut findings = open_mpi(machine);
    findings.extend(ucx(machine));
    findings.extend(mpich(machine));
    findings
}

/// Open MPI as ompi_info describes it.
struct OpenMpi {
    version: String,
    major: u32,
    /// All components and parameters, a line each.
    all: String,
}

fn open_mpi(machine: &Machine) -> Vec<Finding> {
    const ID: &str = "mpi.openmpi";
    if machine.find("ompi_info").is_none() {
        return vec![Finding::unknown(ID, "Open MPI is not in PATH")
            .detail("with environment modules: module load openmpi; knem doctor")];
    }
    let version = machine.ask("ompi_info", &["--version"]).unwrap_or_default();
    let version =
        version.lines().next().and_then(|line| line.rsplit(" v").next()).unwrap_or_default().trim().to_owned();
    let Some(major) = version.split('.').next().and_then(|major| major.parse().ok()) else {
        return vec![Finding::unknown(ID, "ompi_info does not print the version of Open MPI")];
    };
    let all = match machine.run("ompi_info", &["--all", "--parsable"]) {
        Ran::Ended { success: true, output, .. } => output,
        Ran::TooLong => return vec![Finding::unknown(ID, format!("Open MPI {version}: ompi_info took too long"))],
        _ => return vec![Finding::unknown(ID, format!("Open MPI {version}: ompi_info failed"))],
    };
    let open_mpi = OpenMpi { version, major, all };
    let plugin = Plugin::find(machine, Library::OpenMpi);
    let mut findings = vec![open_mpi.built(machine, plugin.as_ref())];
    if let Some(plugin) = plugin {
        findings.push(plugin.finding(&open_mpi.version, open_mpi.loads(&plugin)));
    }
    if open_mpi.has_knem() {
        findings.push(open_mpi.choice());
    }
    findings
}

impl OpenMpi {
    fn has_knem(&self) -> bool {
        if self.major >= 5 {
            return self.has("smsc", "knem");
        }
        // Up to 4 it is a choice of btl/vader's.
        self.all
            .lines()
            .any(|line| line.contains("btl_vader_single_copy_mechanism:enumerator") && line.ends_with(":knem"))
    }

    fn has(&self, framework: &str, component: &str) -> bool {
        self.all.lines().any(|line| line.starts_with(&format!("mca:{framework}:{component}:version:")))
    }

    /// Returns the value of a parameter, from the environment and all files, unless it is empty.
    fn parameter(&self, name: &str) -> Option<&str> {
        let key = format!(":param:{name}:value:");
        self.all.lines().find_map(|line| Some(line.split_once(&*key)?.1.trim())).filter(|value| !value.is_empty())
    }

    /// Whether its component path has the plug-in's directory.
    fn loads(&self, plugin: &Plugin) -> bool {
        let path = self.parameter("mca_base_component_path").unwrap_or_default();
        path.trim_matches('"').split(':').any(|directory| directory == plugin.directory())
    }

    fn built(&self, machine: &Machine, plugin: Option<&Plugin>) -> Finding {
        const ID: &str = "mpi.openmpi";
        let version = &self.version;
        if plugin.is_some_and(|plugin| self.loads(plugin) || !self.has_knem()) {
            return Finding::ok(ID, format!("Open MPI {version} has a plug-in for KNEM: see mpi.plugins"));
        }
        if self.has_knem() {
            return Finding::ok(ID, format!("Open MPI {version} is built with KNEM"));
        }
        let finding = Finding::note(ID, format!("Open MPI {version} is built without KNEM"))
            .means("within a machine it uses CMA, XPMEM or two copies; distributions' packages are built this way")
            .remedy_if(builds_plugins(machine).then_some("apt install libopenmpi-dev; knem-mpi-plugins openmpi"))
            .remedy("build Open MPI with: ./configure --with-knem=/usr (knem-tools has knem_io.h)");
        if self.has("pml", "ucx") {
            return finding.remedy("or use KNEM by way of UCX, if that has it: mpirun --mca pml ucx --mca opal_common_ucx_tls any --mca opal_common_ucx_devices any");
        }
        finding
    }

    fn choice(&self) -> Finding {
        const ID: &str = "mpi.openmpi_choice";
        let (parameter, options, verbose) = if self.major >= 5 {
            ("smsc", "--mca pml ob1 --mca btl self,sm --mca smsc knem", "smsc_base_verbose")
        } else {
            (
                "btl_vader_single_copy_mechanism",
                "--mca pml ob1 --mca btl self,vader --mca btl_vader_single_copy_mechanism knem",
                "btl_base_verbose",
            )
        };
        let by_ucx =
            self.has("pml", "ucx").then_some("if the pml is ucx (usual with InfiniBand), UCX decides: see mpi.ucx");
        let details = by_ucx.into_iter().map(str::to_owned);
        let for_all_jobs = format!("for every job: a line '{parameter} = knem' in openmpi-mca-params.conf");
        let finding = match self.parameter(parameter) {
            Some(value) if value.starts_with('^') && value.contains("knem") => {
                Finding::note(ID, format!("Open MPI is set not to use KNEM: {parameter} is {value}"))
            }
            Some(value) if value.split(',').next() == Some("knem") => {
                return Finding::ok(ID, format!("Open MPI uses KNEM: {parameter} is {value}"))
                    .detail(format!("to see it: mpirun {options} --mca {verbose} 20"))
                    .details(details);
            }
            Some(value) if self.major >= 5 && value.contains("knem") => {
                Finding::note(ID, format!("Open MPI may use KNEM ({parameter} is {value}), and prefers the others"))
            }
            Some(value) => Finding::note(ID, format!("Open MPI uses {value} rather than KNEM: {parameter} is {value}")),
            None => Finding::note(ID, "Open MPI has KNEM, and prefers XPMEM and CMA where those work"),
        };
        finding
            .means("KNEM is used only if it is requested, or where the others do not work: between containers, or where ptrace is restricted")
            .remedy(format!("mpirun {options} PROGRAM"))
            .remedy(for_all_jobs)
            .details(details)
    }
}

/// Whether knem-mpi-plugins can build plug-ins here, which it can for Debian's packages.
fn builds_plugins(machine: &Machine) -> bool {
    machine.exists("/etc/debian_version") && machine.find("knem-mpi-plugins").is_some()
}

fn ucx(machine: &Machine) -> Vec<Finding> {
    const ID: &str = "mpi.ucx";
    if machine.find("ucx_info").is_none() {
        return vec![
            Finding::unknown(ID, "UCX is not in PATH").detail("with environment modules: module load ucx; knem doctor")
        ];
    }
    let text = machine.ask("ucx_info", &["-v"]).unwrap_or_default();
    let version = text
        .lines()
        .find_map(|line| line.split_once("ersion"))
        .map(|(_, rest)| rest.trim_start_matches([':', ' ']))
        .unwrap_or_default();
    let version = version.split_whitespace().next().unwrap_or("of an unknown version");
    let plugin = Plugin::find(machine, Library::Ucx);
    let preloaded = machine.variable("LD_PRELOAD").is_some_and(|list| list.contains("libuct_knem.so"));
    let mut findings = vec![ucx_of(machine, version, plugin.is_some(), preloaded)];
    findings.extend(plugin.map(|plugin| plugin.finding(version, preloaded)));
    findings
}

fn ucx_of(machine: &Machine, version: &str, plugin: bool, preloaded: bool) -> Finding {
    const ID: &str = "mpi.ucx";
    let build = machine.ask("ucx_info", &["-b"]);
    let transports = match machine.run("ucx_info", &["-d"]) {
        Ran::Ended { success: true, output, .. } => Some(output),
        _ => None,
    };
    if build.is_none() && transports.is_none() {
        return Finding::unknown(ID, format!("UCX {version}: ucx_info fails, or takes too long"));
    }
    let build = build.unwrap_or_default();
    let offers = transports.is_some_and(|text| text.lines().any(|line| line.trim_end().ends_with("Transport: knem")));
    let built = offers
        || preloaded
        || build.lines().any(|line| line.contains("MODULES") && line.split([':', '"']).any(|module| module == "knem"));
    if !built && plugin {
        return Finding::ok(ID, format!("UCX {version} has a plug-in for KNEM: see mpi.plugins"));
    }
    if !built {
        return Finding::note(ID, format!("UCX {version} is built without KNEM"))
            .means("within a machine it uses CMA, XPMEM or two copies; distributions' packages are built this way")
            .remedy_if(builds_plugins(machine).then_some("apt install libucx-dev ucx-utils; knem-mpi-plugins ucx"))
            .remedy("build UCX with knem-tools installed: ./contrib/configure-release finds knem.pc (--with-knem)");
    }
    let has = if preloaded { "loads a plug-in for" } else { "is built with" };
    let variable = machine.variable("UCX_TLS");
    if let Some(list) = variable.as_deref().filter(|list| !allows(list)) {
        return Finding::note(ID, format!("UCX {version} {has} KNEM, and UCX_TLS={list} keeps it from being used"))
            .means("of the transports, only those in the list are used")
            .remedy(format!("export UCX_TLS={}", with_knem(list)));
    }
    if !offers {
        let finding = Finding::note(ID, format!("UCX {version} {has} KNEM, and does not offer it to this user"));
        return if machine.opened.is_ok() {
            finding
                .means("usually because it cannot register memory")
                .remedy("UCX_LOG_LEVEL=info ucx_info -d; then see limits.memlock")
        } else {
            finding.means("it cannot open the device").remedy("see device.access")
        };
    }
    Finding::ok(ID, format!("UCX {version} {has} KNEM, and prefers it to CMA"))
        .detail("to see it: UCX_PROTO_INFO=y, or UCX_LOG_LEVEL=info; to force it: UCX_TLS=posix,knem,self")
}

/// Whether a list of transports has KNEM in it.
fn allows(list: &str) -> bool {
    match list.strip_prefix('^') {
        Some(excluded) => !excluded.split(',').any(|name| matches!(name.trim(), "knem" | "shm" | "sm")),
        None => list.split(',').any(|name| matches!(name.trim(), "knem" | "shm" | "sm" | "all")),
    }
}

/// Returns the list with KNEM allowed.
fn with_knem(list: &str) -> String {
    match list.strip_prefix('^') {
        Some(excluded) => {
            let rest: Vec<&str> =
                excluded.split(',').filter(|name| !matches!(name.trim(), "knem" | "shm" | "sm")).collect();
            if rest.is_empty() {
                "all".to_owned()
            } else {
                format!("^{}", rest.join(","))
            }
        }
        None => format!("{list},knem"),
    }
}

fn mpich(machine: &Machine) -> Option<Finding> {
    const ID: &str = "mpi.mpich";
    let (name, text) = machine
        .ask("mpichversion", &[])
        .map(|text| ("MPICH", text))
        .or_else(|| Some(("MVAPICH", machine.ask("mpiname", &["-a"])?)))?;
    let field =
        |key: &str| text.lines().find_map(|line| line.split_once(key)).map(|(_, value)| value.trim().to_owned());
    let device = field("Device:").unwrap_or_default();
    let configure = field("configure:").or_else(|| field("Configuration")).unwrap_or_else(|| text.clone());
    Some(if device.contains("ucx") {
        Finding::ok(ID, format!("{name} ({device}) uses UCX, which decides: see mpi.ucx"))
    } else if configure.contains("local-lmt=knem") && configure.contains("--with-knem") {
        let finding = if machine.opened.is_ok() {
            Finding::ok(ID, format!("{name} ({device}) is built to use KNEM for messages above 64 KiB"))
        } else {
            Finding::problem(ID, format!("{name} ({device}) is built to use KNEM, and the device cannot be opened"))
        };
        finding
            .means("it has no other transport for large messages: jobs fail where the device is missing")
            .remedy_of_device(machine)
    } else {
        Finding::note(
            ID,
            format!("{name} ({}) does not use KNEM", if device.is_empty() { "unknown device" } else { &device }),
        )
        .means("MPICH 3.4 and later use KNEM only through UCX")
        .remedy("an MPICH with --with-device=ch4:ucx, and a UCX with KNEM")
    })
}

impl Finding {
    fn remedy_of_device(self, machine: &Machine) -> Self {
        if machine.opened.is_ok() {
            self
        } else {
            self.remedy("see device.access")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::tests::{found, states};
    use crate::machine::fake::Fake;
    use knem::Obstacle;

    fn of(fake: &Fake, id: &str) -> Finding {
        found(&check(&fake.machine()), id).clone()
    }

    const ALL: &str = "ompi_info --all --parsable";
    const VADER: &str = "mca:btl:vader:param:btl_vader_single_copy_mechanism";

    #[test]
    fn all_ok() {
        let findings = check(&Fake::well().machine());
        assert!(states(&findings).iter().all(|state| *state == State::Ok), "{findings:#?}");
    }

    #[test]
    fn none_of_them_is_here() {
        let findings = check(&Fake::new().machine());
        assert_eq!(states(&findings), [State::Unknown, State::Unknown]);
        assert!(findings[0].details[0].contains("module load"));
    }

    #[test]
    fn open_mpi_without_knem() {
        let fake = Fake::well().says(ALL, "mca:smsc:cma:version:\"component:5.0.7\"\nmca:pml:ucx:version:\"x\"\n");
        let finding = of(&fake, "mpi.openmpi");
        assert_eq!((finding.state, finding.remedies.len()), (State::Note, 2));
        assert!(finding.remedies[0].contains("--with-knem"));
        assert!(!check(&fake.machine()).iter().any(|finding| finding.id == "mpi.openmpi_choice"));
    }

    #[test]
    fn open_mpi_5_prefers_others_unless_set() {
        let with = |value: &str| {
            let fake = Fake::well()
                .says(ALL, &format!("mca:smsc:knem:version:\"x\"\nmca:smsc:base:param:smsc:value:{value}\n"));
            of(&fake, "mpi.openmpi_choice")
        };
        assert_eq!(with("knem").state, State::Ok);
        let finding = with("");
        assert!(finding.summary.contains("prefers XPMEM and CMA"), "{finding:?}");
        assert_eq!(finding.remedies[0], "mpirun --mca pml ob1 --mca btl self,sm --mca smsc knem PROGRAM");
        assert!(with("^knem").summary.contains("set not to"));
        assert!(with("cma,knem").summary.contains("prefers the others"));
        assert!(with("cma").summary.contains("rather than KNEM"));
    }

    #[test]
    fn open_mpi_4_has_it_in_vader() {
        let fake = Fake::well().says("ompi_info --version", "Open MPI v4.1.4\n");
        assert_eq!(of(&fake, "mpi.openmpi").state, State::Note);
        let text = format!("{VADER}:value:cma\n{VADER}:enumerator:value:1:cma\n{VADER}:enumerator:value:2:knem\n");
        let fake = fake.says(ALL, &text);
        assert_eq!(of(&fake, "mpi.openmpi").state, State::Ok);
        let finding = of(&fake, "mpi.openmpi_choice");
        assert!(finding.summary.contains("cma rather than KNEM"));
        assert!(finding.remedies[0].contains("--mca btl_vader_single_copy_mechanism knem"));
        let fake = fake.says(ALL, &text.replace(":value:cma\n", ":value:knem\n"));
        assert_eq!(of(&fake, "mpi.openmpi_choice").state, State::Ok);
    }

    #[test]
    fn open_mpi_that_does_not_answer() {
        assert_eq!(of(&Fake::well().answers(ALL, Ran::TooLong), "mpi.openmpi").state, State::Unknown);
        assert_eq!(of(&Fake::well().fails(ALL, "", ""), "mpi.openmpi").state, State::Unknown);
        assert_eq!(of(&Fake::well().says("ompi_info --version", "?"), "mpi.openmpi").state, State::Unknown);
    }

    #[test]
    fn ucx_with_and_without_knem() {
        let without = Fake::well()
            .says("ucx_info -b", "#define uct_MODULES \":ib:cma\"\n")
            .says("ucx_info -d", "#      Transport: cma\n");
        assert!(of(&without, "mpi.ucx").summary.contains("1.18.1 is built without KNEM"));
        let hidden = Fake::well().says("ucx_info -d", "#      Transport: cma\n");
        assert!(of(&hidden, "mpi.ucx").remedies[0].contains("limits.memlock"));
        let denied = hidden.denied(Obstacle::StaleGroups { group: "rdma".to_owned() });
        assert_eq!(of(&denied, "mpi.ucx").remedies, ["see device.access"]);
        let silent = Fake::well().fails("ucx_info -b", "", "").answers("ucx_info -d", Ran::TooLong);
        assert_eq!(of(&silent, "mpi.ucx").state, State::Unknown);
    }

    #[test]
    fn debian_packages_get_plugins() {
        let fake = Fake::well()
            .says(ALL, "mca:smsc:cma:version:\"component:5.0.7\"\n")
            .says("ucx_info -b", "#define uct_MODULES \":ib:cma\"\n")
            .says("ucx_info -d", "#      Transport: cma\n");
        assert!(!of(&fake, "mpi.openmpi").remedies[0].contains("knem-mpi-plugins"));
        let fake = fake.says("knem-mpi-plugins", "");
        assert!(of(&fake, "mpi.openmpi").remedies[0].ends_with("knem-mpi-plugins openmpi"));
        assert!(of(&fake, "mpi.ucx").remedies[0].ends_with("knem-mpi-plugins ucx"));
        assert!(!check(&fake.machine()).iter().any(|finding| finding.id == "mpi.plugins"));
    }

    #[test]
    fn plugins_are_used_by_knem_mpi() {
        let fake = Fake::well()
            .says(ALL, "mca:smsc:cma:version:\"component:5.0.7\"\n")
            .says("ucx_info -b", "#define uct_MODULES \":ib:cma\"\n")
            .says("ucx_info -d", "#      Transport: cma\n")
            .file("/usr/local/lib/knem-mpi/openmpi/environment.sh", "# Open MPI 5.0.7: x\n")
            .file("/usr/local/lib/knem-mpi/ucx/environment.sh", "# UCX 1.18.1: x\n");
        let plugins = |fake: &Fake| {
            let findings = check(&fake.machine()).into_iter().filter(|finding| finding.id == "mpi.plugins");
            findings.map(|finding| (finding.subject.unwrap_or_default(), finding.state)).collect::<Vec<_>>()
        };
        let both = |state| vec![("Open MPI".to_owned(), state), ("UCX".to_owned(), state)];
        assert_eq!(plugins(&fake), both(State::Note));
        assert!(["mpi.openmpi", "mpi.ucx"].iter().all(|id| of(&fake, id).state == State::Ok));
        // What knem-mpi sets.
        let loaded = fake
            .says(
                ALL,
                "mca:mca:base:param:mca_base_component_path:value:\"/usr/local/lib/knem-mpi/openmpi:/usr/lib/openmpi40\"\n\
                 mca:smsc:knem:version:\"component:5.0.7\"\nmca:smsc:base:param:smsc:value:knem\n",
            )
            .says("ucx_info -d", "#      Transport: knem\n")
            .variable("LD_PRELOAD", "/usr/local/lib/knem-mpi/ucx/libuct_knem.so.0");
        assert_eq!(plugins(&loaded), both(State::Ok));
        assert!(of(&loaded, "mpi.ucx").summary.contains("loads a plug-in for KNEM, and prefers it"));
        let upgraded =
            loaded.says("ompi_info --version", "Open MPI v5.0.8\n").says("ucx_info -v", "# Library version: 1.19.0\n");
        assert_eq!(plugins(&upgraded), both(State::Note));
        // Loaded, and the device cannot be opened.
        let denied = loaded.says("ucx_info -d", "#      Transport: cma\n").absent(Obstacle::NoModule);
        assert_eq!(of(&denied, "mpi.ucx").remedies, ["see device.access"]);
    }

    #[test]
    fn the_environment_may_keep_ucx_from_it() {
        let finding = of(&Fake::well().variable("UCX_TLS", "rc,self"), "mpi.ucx");
        assert_eq!(finding.remedies, ["export UCX_TLS=rc,self,knem"]);
        for list in ["all", "sm,self", "posix,knem", "^cma"] {
            assert_eq!(of(&Fake::well().variable("UCX_TLS", list), "mpi.ucx").state, State::Ok, "{list}");
        }
        assert_eq!(of(&Fake::well().variable("UCX_TLS", "^knem,tcp"), "mpi.ucx").remedies, ["export UCX_TLS=^tcp"]);
        assert_eq!(of(&Fake::well().variable("UCX_TLS", "^sm"), "mpi.ucx").remedies, ["export UCX_TLS=all"]);
    }

    #[test]
    fn mpich_has_it_by_ucx_or_of_old() {
        let with = |text: &str| of(&Fake::well().says("mpichversion", text), "mpi.mpich");
        assert!(with("MPICH Version:\t4.2.1\nMPICH Device:\tch4:ucx\n").summary.contains("uses UCX"));
        assert_eq!(with("MPICH Device:\tch4:ofi\nMPICH configure:\t--with-device=ch4:ofi\n").state, State::Note);
        let old = "MPICH Device:\tch3:nemesis\nMPICH configure:\t--with-knem=/usr --with-nemesis-local-lmt=knem\n";
        assert_eq!(with(old).state, State::Ok);
        let denied = Fake::well().absent(Obstacle::NoModule).says("mpichversion", old);
        assert_eq!(of(&denied, "mpi.mpich").state, State::Problem);
        let mvapich = Fake::well().says("mpiname -a", "MVAPICH2 2.3.7\nDevice: ch3:mrail\n");
        assert!(of(&mvapich, "mpi.mpich").summary.starts_with("MVAPICH (ch3:mrail) does not"));
    }
}
