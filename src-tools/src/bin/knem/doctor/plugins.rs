// SPDX-License-Identifier: CECILL-B
//! Plug-ins that `knem-mpi-plugins` builds for Open MPI and UCX: their directories and versions, and whether this
//! environment loads them.

use super::finding::Finding;
use crate::machine::Machine;

/// A library with plug-ins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Library {
    OpenMpi,
    Ucx,
}

impl Library {
    /// Display name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OpenMpi => "Open MPI",
            Self::Ucx => "UCX",
        }
    }

    /// Name on the command line of `knem-mpi-plugins`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::OpenMpi => "openmpi",
            Self::Ucx => "ucx",
        }
    }
}

/// A plug-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plugin {
    library: Library,
    prefix: String,
    /// The version it was built for.
    version: String,
}

impl Plugin {
    /// Finds the plug-in of a library, below the prefix of the `knem-mpi` in PATH, the default prefix, or the user's.
    pub(super) fn find(machine: &Machine, library: Library) -> Option<Self> {
        let wrapper = machine.find("knem-mpi");
        let in_path = wrapper.as_deref().and_then(|path| path.strip_suffix("/bin/knem-mpi")).map(str::to_owned);
        let of_user = machine.variable("HOME").map(|home| format!("{home}/knem"));
        let prefixes = [in_path, Some("/usr/local".to_owned()), of_user];
        prefixes.into_iter().flatten().find_map(|prefix| {
            let text = machine.text(&format!("{prefix}/lib/knem-mpi/{}/environment.sh", library.word()))?;
            // Its first line: # UCX 1.18.1: ...
            let version = text.strip_prefix(&format!("# {} ", library.name()))?.split(':').next()?.to_owned();
            Some(Self { library, prefix, version })
        })
    }

    /// Returns its directory.
    pub(super) fn directory(&self) -> String {
        format!("{}/lib/knem-mpi/{}", self.prefix, self.library.word())
    }

    /// Returns the finding for a library of this version, which does (`loaded`) or does not load the plug-in in this
    /// environment.
    pub(super) fn finding(&self, version: &str, loaded: bool) -> Finding {
        const ID: &str = "mpi.plugins";
        let (name, directory, prefix) = (self.library.name(), self.directory(), &self.prefix);
        let finding = if self.version != version {
            let built = &self.version;
            Finding::note(
                ID,
                format!("the plug-in in {directory} is built for {name} {built}, but {version} is installed"),
            )
            .means("a plug-in works only with the version that it was built for: others do not load it, or crash")
            .remedy(format!("run knem-mpi-plugins again: knem-mpi-plugins --prefix {prefix} {}", self.library.word()))
            .remedy(format!("or: knem-mpi-plugins --prefix {prefix} --remove"))
        } else if loaded {
            Finding::ok(ID, format!("{name} {version} loads the plug-in in {directory}"))
        } else {
            let finding = Finding::note(ID, format!("{name} {version} does not load the plug-in in {directory} here"))
                .remedy(format!("mpirun -np 2 {prefix}/bin/knem-mpi PROGRAM"));
            match self.library {
                Library::OpenMpi => finding.means(
                    "mca_base_component_path does not have its directory; under mpirun only knem-mpi can set it, since PMIx sets it too",
                ),
                Library::Ucx => finding
                    .means("UCX's list of modules is fixed: a module must be loaded before it, by LD_PRELOAD")
                    .remedy(format!("or for one shell: . {directory}/environment.sh")),
            }
        };
        finding.about(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::machine::fake::Fake;

    const UCX: &str = "# UCX 1.18.1: its list of modules is fixed.\nLD_PRELOAD=x\n";

    #[test]
    fn it_is_found_below_each_prefix() {
        let found = |fake: &Fake| Plugin::find(&fake.machine(), Library::Ucx).map(|plugin| plugin.directory());
        assert_eq!(found(&Fake::new()), None);
        let user =
            Fake::new().variable("HOME", "/home/alice").file("/home/alice/knem/lib/knem-mpi/ucx/environment.sh", UCX);
        assert_eq!(found(&user).as_deref(), Some("/home/alice/knem/lib/knem-mpi/ucx"));
        let usual = user.file("/usr/local/lib/knem-mpi/ucx/environment.sh", UCX);
        assert_eq!(found(&usual).as_deref(), Some("/usr/local/lib/knem-mpi/ucx"));
        // A fake program is in /usr/bin.
        let in_path = usual.says("knem-mpi", "").file("/usr/lib/knem-mpi/ucx/environment.sh", UCX);
        assert_eq!(found(&in_path).as_deref(), Some("/usr/lib/knem-mpi/ucx"));
        let other = Fake::new().file("/usr/local/lib/knem-mpi/ucx/environment.sh", "# Open MPI 5.0.7: x\n");
        assert_eq!(found(&other), None);
    }

    #[test]
    fn the_script_writes_what_is_read() {
        let script = include_str!("../../../../../deploy/mpi/knem-mpi-plugins");
        for library in [Library::OpenMpi, Library::Ucx] {
            assert!(script.contains(&format!("\n# {} $version: ", library.name())), "{library:?}");
            assert!(script.contains(&format!("$work/new/{}/environment.sh", library.word())), "{library:?}");
        }
        assert!(script.contains("place=$prefix/lib/knem-mpi\nwrapper=$prefix/bin/knem-mpi\n"));
    }

    #[test]
    fn what_is_wrong_with_it() {
        let plugin =
            |library, version: &str| Plugin { library, prefix: "/opt/k".to_owned(), version: version.to_owned() };
        let ucx = plugin(Library::Ucx, "1.18.1");
        assert_eq!(ucx.finding("1.18.1", true).state, State::Ok);
        let idle = ucx.finding("1.18.1", false);
        assert_eq!((idle.state, idle.subject.as_deref()), (State::Note, Some("UCX")));
        assert_eq!(
            idle.remedies,
            ["mpirun -np 2 /opt/k/bin/knem-mpi PROGRAM", "or for one shell: . /opt/k/lib/knem-mpi/ucx/environment.sh"]
        );
        // PMIx would set the variable of the shell again.
        let idle = plugin(Library::OpenMpi, "5.0.7").finding("5.0.7", false);
        assert_eq!(idle.remedies, ["mpirun -np 2 /opt/k/bin/knem-mpi PROGRAM"]);
        for loaded in [true, false] {
            let old = plugin(Library::OpenMpi, "5.0.6").finding("5.0.7", loaded);
            assert_eq!(old.state, State::Note);
            assert!(old.remedies[0].ends_with("again: knem-mpi-plugins --prefix /opt/k openmpi"), "{old:?}");
            assert!(old.remedies[1].ends_with("--remove"), "{old:?}");
        }
    }
}
