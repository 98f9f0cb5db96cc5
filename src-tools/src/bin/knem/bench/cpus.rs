// SPDX-License-Identifier: CECILL-B
//! The CPUs of the two processes, and their topology.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::unistd::Pid;

use crate::exit::Failure;

/// Directory of the CPUs in sysfs.
pub(crate) const TOPOLOGY: &str = "/sys/devices/system/cpu";

/// The CPUs of the two processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuPair {
    /// CPU of the first process.
    pub(crate) first: usize,
    /// CPU of the second process.
    pub(crate) second: usize,
    /// Their topology in words.
    pub(crate) relation: String,
}

/// Topology of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cpu {
    number: usize,
    core: Option<usize>,
    package: Option<usize>,
    node: Option<usize>,
}

impl CpuPair {
    /// Chooses the requested CPUs (`--cpus`), or two cores of one package.
    pub(crate) fn choose(topology: &Path, allowed: &[usize], asked: Option<&str>) -> Result<Self, Failure> {
        let cpus: Vec<Cpu> = allowed.iter().map(|number| Cpu::look_up(topology, *number)).collect();
        let (first, second) = match asked {
            Some(text) => parse(text, &cpus)?,
            None => nearest_cores(&cpus)
                .ok_or_else(|| Failure::Other("this process may not run on any known CPU".to_owned()))?,
        };
        Ok(Self { first: first.number, second: second.number, relation: relation(first, second) })
    }
}

impl Cpu {
    fn look_up(topology: &Path, number: usize) -> Self {
        let folder = topology.join(format!("cpu{number}"));
        let read = |name: &str| fs::read_to_string(folder.join("topology").join(name)).ok()?.trim().parse().ok();
        let node = fs::read_dir(&folder).ok().and_then(|mut entries| {
            entries.find_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("node")?.parse().ok())
        });
        Self { number, core: read("core_id"), package: read("physical_package_id"), node }
    }

    /// Whether both are hardware threads of one core.
    fn shares_core(self, other: Self) -> bool {
        self.core.is_some() && self.core == other.core && self.package == other.package
    }
}

fn parse(text: &str, cpus: &[Cpu]) -> Result<(Cpu, Cpu), Failure> {
    let wrong = |reason: String| Failure::Usage(format!("--cpus: {reason}"));
    let find = |text: &str| -> Result<Cpu, Failure> {
        let number: usize = text
            .trim()
            .parse()
            .map_err(|_| wrong(format!("{text:?} is not a CPU number; use two, such as --cpus 0,1")))?;
        cpus.iter().copied().find(|cpu| cpu.number == number).ok_or_else(|| {
            let allowed: Vec<String> = cpus.iter().map(|cpu| cpu.number.to_string()).collect();
            wrong(format!("this process may not run on CPU {number}; use {}", allowed.join(", ")))
        })
    };
    match text.split_once(',') {
        Some((first, second)) => Ok((find(first)?, find(second)?)),
        None => Err(wrong(format!("{text:?} is one CPU: use two, such as --cpus 0,1"))),
    }
}

/// Returns two cores of one package and node, if there are; else other CPUs.
fn nearest_cores(cpus: &[Cpu]) -> Option<(Cpu, Cpu)> {
    let first = *cpus.first()?;
    let others = || cpus.iter().copied().skip(1);
    let near = |cpu: &Cpu| cpu.package == first.package && cpu.node == first.node && !cpu.shares_core(first);
    let elsewhere = |cpu: &Cpu| !cpu.shares_core(first);
    let second = others().find(near).or_else(|| others().find(elsewhere)).or_else(|| others().next());
    Some((first, second.unwrap_or(first)))
}

fn relation(first: Cpu, second: Cpu) -> String {
    if first.number == second.number {
        return "the same CPU for both".to_owned();
    }
    if first.shares_core(second) {
        return "two threads of one core".to_owned();
    }
    let words = |what: &str, here: Option<usize>, there: Option<usize>| match (here, there) {
        (Some(here), Some(there)) if here == there => format!(", {what} {here}"),
        (Some(here), Some(there)) => format!(", {what}s {here} and {there}"),
        _ => String::new(),
    };
    let package = words("package", first.package, second.package);
    format!("two cores{package}{}", words("NUMA node", first.node, second.node))
}

/// Returns the CPUs that this process may run on.
pub(crate) fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

/// Pins the calling thread, and those it starts, to this CPU.
pub(crate) fn pin(cpu: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    let pinned = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    pinned.map_err(|errno| Failure::Other(format!("cannot pin the process to CPU {cpu}: {}", errno.desc())))
}

/// Returns the size of the CPU's last-level cache.
pub(crate) fn last_level_cache(topology: &Path, cpu: usize) -> Option<usize> {
    let folder: PathBuf = topology.join(format!("cpu{cpu}/cache"));
    let caches = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let size = |cache: fs::DirEntry| {
        let text = fs::read_to_string(cache.path().join("size")).ok()?;
        crate::sizes::parse_size(text.trim()).ok()
    };
    caches.filter_map(size).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine: core, package and node of each CPU.
    fn machine(cpus: &[(usize, usize, usize)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (number, (core, package, node)) in cpus.iter().enumerate() {
            let folder = root.path().join(format!("cpu{number}"));
            fs::create_dir_all(folder.join("topology")).unwrap();
            fs::create_dir_all(folder.join(format!("node{node}"))).unwrap();
            fs::write(folder.join("topology/core_id"), format!("{core}\n")).unwrap();
            fs::write(folder.join("topology/physical_package_id"), format!("{package}\n")).unwrap();
        }
        root
    }

    fn chosen(cpus: &[(usize, usize, usize)], asked: Option<&str>) -> (usize, usize, String) {
        let allowed: Vec<usize> = (0..cpus.len()).collect();
        let CpuPair { first, second, relation } = CpuPair::choose(machine(cpus).path(), &allowed, asked).unwrap();
        (first, second, relation)
    }

    #[test]
    fn two_cores_of_one_package_are_preferred() {
        let chosen_pair = chosen(&[(0, 0, 0), (0, 1, 1), (0, 0, 0), (1, 0, 0)], None);
        assert_eq!(chosen_pair, (0, 3, "two cores, package 0, NUMA node 0".to_owned()));
    }

    #[test]
    fn what_there_is_has_to_do() {
        assert_eq!(chosen(&[(0, 0, 0), (0, 0, 0)], None), (0, 1, "two threads of one core".to_owned()));
        assert_eq!(chosen(&[(0, 0, 0)], None), (0, 0, "the same CPU for both".to_owned()));
        let chosen_pair = chosen(&[(0, 0, 0), (0, 1, 1)], None);
        assert_eq!(chosen_pair, (0, 1, "two cores, packages 0 and 1, NUMA nodes 0 and 1".to_owned()));
    }

    #[test]
    fn asked_ones_are_taken() {
        assert_eq!(chosen(&[(0, 0, 0), (1, 0, 0), (2, 0, 0)], Some("2, 1")).0, 2);
    }

    #[test]
    fn wrong_ones_are_refused_with_the_option() {
        for (text, reason) in [("0", "is one CPU"), ("0,x", "not a CPU number"), ("0,7", "may not run on CPU 7; use 0")]
        {
            let failure = CpuPair::choose(machine(&[(0, 0, 0)]).path(), &[0], Some(text)).unwrap_err();
            assert_eq!(failure.status(), 2);
            assert!(failure.to_string().starts_with("--cpus") && failure.to_string().contains(reason), "{failure}");
        }
    }

    #[test]
    fn nothing_is_known_where_linux_says_nothing() {
        let root = tempfile::tempdir().unwrap();
        let cpus = CpuPair::choose(root.path(), &[4, 5], None).unwrap();
        assert_eq!((cpus.first, cpus.second, &*cpus.relation), (4, 5, "two cores"));
        assert_eq!(last_level_cache(root.path(), 4), None);
    }

    #[test]
    fn the_largest_cache_counts() {
        let root = tempfile::tempdir().unwrap();
        for (index, size) in [(0, "32K"), (3, "32768K"), (2, "1024K")] {
            let folder = root.path().join(format!("cpu0/cache/index{index}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("size"), format!("{size}\n")).unwrap();
        }
        assert_eq!(last_level_cache(root.path(), 0), Some(32 << 20));
    }

    #[test]
    fn this_process_may_run_somewhere() {
        assert!(!allowed().is_empty());
    }
}
