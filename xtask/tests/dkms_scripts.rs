// SPDX-License-Identifier: CECILL-B
//! Decisions of the module's scripts (dkms/) on other machines: other distributions, kernels built by clang, metadata
//! of another rustc, file systems mounted noexec. Kernels are configurations, programs are stand-ins; nothing is
//! compiled.

use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use knem_lab::workspace::Workspace;
use nix::unistd::geteuid;

const KERNEL: &str = "7.2.1-test";
/// The shells that read the scripts: sh runs them, and DKMS is bash.
const SHELLS: [&str; 2] = ["sh", "bash"];
/// What the scripts call, which is the same everywhere.
const TOOLS: &str = "awk bash cat chmod cksum cp df dirname find findmnt head id mkdir mktemp mv nproc readlink rm sed sh sort sync tail tr";

/// A machine: the driver's scripts, a kernel's build directory, and its programs.
struct Machine {
    home: tempfile::TempDir,
}

impl Machine {
    fn new(os_release: &str, config: &str) -> Self {
        let machine = Self { home: tempfile::tempdir().expect("a directory") };
        let workspace = Workspace::find().expect("the workspace");
        for entry in fs::read_dir(workspace.file("dkms")).expect("readable") {
            let path = entry.expect("readable").path();
            machine.write("tree/VERSION", "2.0.0\n");
            fs::copy(&path, machine.path("tree").join(path.file_name().expect("a name"))).expect("copied");
        }
        machine.write("tree/knem_rust-x86_64.o_shipped", "");
        machine.write("os-release", os_release);
        let usual = "CONFIG_X86_64=y\nCONFIG_MMU=y\n";
        machine.write("build/include/config/auto.conf", format!("{usual}{config}"));
        for name in TOOLS.split(' ') {
            let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().expect("sh runs");
            let path = String::from_utf8(found.stdout).expect("text");
            assert!(found.status.success(), "{name} is not here");
            fs::create_dir_all(machine.path("tools")).expect("made");
            symlink(path.trim(), machine.path("tools").join(name)).expect("linked");
        }
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("below")).expect("made");
        fs::write(&path, text).expect("written");
    }

    fn program(&self, name: &str, script: &str) -> &Self {
        let path = format!("tools/{name}");
        self.write(&path, format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.path(&path), fs::Permissions::from_mode(0o755)).expect("changed");
        self
    }

    fn programs(&self, names: &[&str]) -> &Self {
        for name in names {
            self.program(name, "");
        }
        self
    }

    fn command(&self, shell: &str, lines: &str) -> Command {
        let (tree, home) = (self.path("tree"), self.home.path().display());
        let mut command = Command::new(self.path("tools").join(shell));
        let before = format!(
            "knem_dir={}; . $knem_dir/way.sh; knem_os_release={home}/os-release; knem_conf={home}/knem.conf",
            tree.display()
        );
        command.args(["-c", &format!("{before}\n{lines}")]).current_dir(self.home.path());
        command.env_clear().env("PATH", self.path("tools")).env("KNEM_METADATA", self.path("cache/rust-metadata"));
        command
    }

    /// What lines of shell print after the scripts were sourced, the same in every shell.
    fn says(&self, lines: &str) -> String {
        let said = SHELLS.map(|shell| {
            let output = self.command(shell, lines).output().expect("a shell");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}: {lines}");
            String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
        });
        assert_eq!(said[0], said[1]);
        let [said, _] = said;
        said
    }

    /// The compiler that is handed to make, or what is missing.
    fn compiler(&self) -> String {
        self.says(&format!("knem_check_kernel {KERNEL} build && echo \"$knem_cc\" || echo \"$knem_missing\""))
    }

    /// Returns what the kernel crate lacks, and the remedy; or the source of its metadata.
    fn lack(&self) -> String {
        self.says(&format!(
            "knem_check_kernel {KERNEL} build && knem_check_crate && echo \"$knem_from_where\" || echo \"$knem_lack; $knem_remedy\""
        ))
    }
}

const DEBIAN: &str = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n";
const UBUNTU: &str = "NAME=\"Ubuntu\"\nVERSION_ID=\"26.04\"\nID=ubuntu\nID_LIKE=debian\n";
const FEDORA: &str = "NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID=44\n";

#[test]
fn what_is_missing_has_the_distributions_names() {
    let rhel = "6.12.0-55.el10.x86_64";
    let suse = "6.4.0-150600.23.25-default";
    let cases = [
        (DEBIAN, "6.12.107+deb13-amd64", "apt install linux-headers-6.12.107+deb13-amd64 rustc"),
        (UBUNTU, "7.0.0-14-generic", "apt install linux-headers-7.0.0-14-generic rustc"),
        (
            "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
            "7.0.0-14-generic",
            "apt install linux-headers-7.0.0-14-generic rustc",
        ),
        (FEDORA, "7.2.1-200.fc44.x86_64", "dnf install kernel-devel-7.2.1-200.fc44.x86_64 rust"),
        ("ID=\"rhel\"\nID_LIKE=\"fedora\"\n", rhel, "dnf install kernel-devel-6.12.0-55.el10.x86_64 rust"),
        ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", rhel, "dnf install kernel-devel-6.12.0-55.el10.x86_64 rust"),
        (
            "ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\n",
            "6.12.0-55.el10.x86_64+rt",
            "dnf install kernel-rt-devel-6.12.0-55.el10.x86_64 rust",
        ),
        (
            "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n",
            suse,
            "zypper install kernel-default-devel=6.4.0-150600.23.25 rust",
        ),
        ("ID=\"opensuse-tumbleweed\"\n", suse, "zypper install kernel-default-devel=6.4.0-150600.23.25 rust"),
        ("ID=\"sles\"\nID_LIKE=\"suse\"\n", suse, "zypper install kernel-default-devel=6.4.0-150600.23.25 rust"),
        ("ID=arch\n", "7.2.1-arch1-1", "pacman -S linux-headers rust"),
        ("ID=endeavouros\nID_LIKE=\"arch\"\n", "7.2.1-arch1-1", "pacman -S linux-headers rust"),
        ("ID=gentoo\n", "7.2.1-gentoo", "install headers rustc"),
        ("", "7.2.1", "install headers rustc"),
    ];
    for (os_release, kernel, wanted) in cases {
        let machine = Machine::new(os_release, "");
        assert_eq!(machine.says(&format!("knem_kernelver={kernel}; knem_get headers rustc")), wanted, "{os_release}");
    }
}

/// A distribution that does not name itself is known by its programs; one that does is not mistaken for another, whose
/// program it has too.
#[test]
fn a_distribution_is_known_by_its_name_first() {
    let unknown = Machine::new("ID=openEuler\n", "");
    assert_eq!(unknown.program("dnf", "").says("knem_get gcc xz"), "dnf install gcc xz");
    let debian = Machine::new(DEBIAN, "");
    assert_eq!(debian.program("dnf", "").says("knem_get gcc xz"), "apt install gcc xz-utils");
}

/// What the scripts ask for is in the table, which has a cell for each family in each line.
#[test]
fn the_table_of_packages_is_whole() {
    let machine = Machine::new(DEBIAN, "");
    let table = fs::read_to_string(machine.path("tree/packages.txt")).expect("readable");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(rows.iter().all(|row| row.len() == 6), "{rows:?}");
    let mut asked = 0;
    for entry in fs::read_dir(machine.path("tree")).expect("readable") {
        let path = entry.expect("readable").path();
        let text = fs::read_to_string(&path).expect("text");
        for call in text.lines().filter(|line| !line.starts_with('#')).flat_map(|line| line.split("$(knem_get").skip(1))
        {
            let things =
                call.split([')', '|']).next().unwrap_or_default().trim_start_matches("_rustc").replace('\'', "");
            for thing in things.split_whitespace().filter(|thing| !thing.contains('$')) {
                assert!(rows.iter().any(|row| row[0] == thing), "{}: {thing} is not in the table", path.display());
                asked += 1;
            }
        }
    }
    assert!(asked > 8, "{asked}");
}

/// Our packages are called there what their manifests call them.
#[test]
fn the_table_has_the_names_of_our_packages() {
    let workspace = Workspace::find().expect("the workspace");
    let read = |path: &str| fs::read_to_string(workspace.file(path)).expect("readable");
    let (deb, table) = (read("debian/control"), read("dkms/packages.txt"));
    for (thing, manifest) in [("knem2-dkms", "src-kmod/Cargo.toml"), ("knem-tools", "src-tools/Cargo.toml")] {
        let manifest = read(manifest);
        let (_, rpm) = manifest.split_once("[package.metadata.generate-rpm]\nname = \"").expect("a section");
        let rpm = rpm.split('"').next().expect("a name");
        assert!(deb.lines().any(|line| line == format!("Package: {thing}")), "debian/control has no {thing}");
        let line = table.lines().find(|line| line.starts_with(&format!("{thing} "))).expect("a line");
        let names: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(names, [thing, thing, thing, rpm, rpm, "-"]);
    }
}

#[test]
fn the_compiler_is_the_kernels() {
    let gcc = |text: &str| format!("CONFIG_CC_IS_GCC=y\nCONFIG_CC_VERSION_TEXT=\"{text}\"\n");
    for (text, here, wanted) in [
        (
            "x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0",
            &["x86_64-linux-gnu-gcc-14", "gcc"][..],
            "CC=x86_64-linux-gnu-gcc-14",
        ),
        ("gcc (GCC) 14.2.1 20240912 (Red Hat 14.2.1-3)", &["gcc"], "CC=gcc"),
        ("gcc-13 (SUSE Linux) 13.3.0", &["gcc"], "CC=gcc"),
        ("Debian gcc version 14.2.0", &["gcc"], "CC=gcc"),
        (
            "gcc-13 (SUSE Linux) 13.3.0",
            &[],
            "there is no C compiler: neither gcc-13, which built the kernel, nor gcc is installed; apt install gcc",
        ),
    ] {
        let machine = Machine::new(DEBIAN, &gcc(text));
        assert_eq!(machine.programs(here).compiler(), wanted, "{text}");
    }
}

/// A kernel of clang 19, linked by LLVM.
fn clang_kernel(os_release: &str, more: &str) -> Machine {
    let text = "CONFIG_CC_IS_CLANG=y\nCONFIG_CC_VERSION_TEXT=\"Debian clang version 19.1.7 (3+b1)\"\nCONFIG_CLANG_VERSION=190107\n";
    Machine::new(os_release, &format!("{text}CONFIG_LD_IS_LLD=y\n{more}"))
}

#[test]
fn a_kernel_of_clang_is_built_by_clang() {
    const PLAIN: [&str; 2] = ["ld.lld", "llvm-nm"];
    const SUFFIXED: [&str; 3] = ["clang-19", "ld.lld-19", "llvm-nm-19"];
    let the_same = clang_kernel(DEBIAN, "");
    assert_eq!(the_same.programs(&PLAIN).programs(&SUFFIXED).program("clang", "echo 19.1.7").compiler(), "LLVM=1");
    let suffix = clang_kernel(DEBIAN, "");
    assert_eq!(suffix.programs(&SUFFIXED).compiler(), "LLVM=-19");
    let newer_and_suffix = clang_kernel(DEBIAN, "");
    assert_eq!(
        newer_and_suffix.programs(&PLAIN).programs(&SUFFIXED).program("clang", "echo 21.1.0").compiler(),
        "LLVM=-19"
    );
    let newer = clang_kernel(DEBIAN, "");
    assert_eq!(newer.programs(&PLAIN).program("clang", "echo 21.1.0").compiler(), "LLVM=1");

    let what = "this kernel is built by clang 19, and these of its tools are not installed:";
    let none = clang_kernel(FEDORA, "");
    assert_eq!(none.compiler(), format!("{what} clang, ld.lld, llvm-nm; dnf install clang lld llvm"));
    let no_linker = clang_kernel(DEBIAN, "");
    assert_eq!(
        no_linker.programs(&["clang-19", "llvm-nm-19"]).compiler(),
        format!("{what} ld.lld-19; apt install lld-19")
    );

    // The linker was GNU's.
    let bfd = Machine::new(DEBIAN, "CONFIG_CC_IS_CLANG=y\nCONFIG_CLANG_VERSION=190107\n");
    assert_eq!(bfd.programs(&["clang-19"]).compiler(), "CC=clang-19");
}

#[test]
fn make_is_given_the_compiler_of_the_kernel() {
    let machine = clang_kernel(DEBIAN, "");
    machine.programs(&["clang-19", "ld.lld-19", "llvm-nm-19"]);
    machine.program("make", "echo \"LLVM is ${LLVM:-unset}: $*\"; : >knem.ko");
    let lines = format!("export LLVM=1 KNEM_RUST=object KNEM_ATTEMPTS=attempts; sh $knem_dir/build.sh {KERNEL} build");
    let said = machine.says(&lines);
    assert!(said.contains("LLVM is unset: ") && said.contains(" LLVM=-19 KNEM_RUST=object "), "{said}");
}

/// The header of a crate's metadata: magic, position of the root, version of the compiler.
fn metadata(rustc: &str) -> Vec<u8> {
    let length = u8::try_from(rustc.len()).expect("short");
    [b"rust\0\0\0\x09U\xff\x10\x03\0\0\0\0", &[length][..], rustc.as_bytes(), b"\xc1\0\x0cabort_unwind\xc1"].concat()
}

/// A kernel that ships its metadata, made by `made`, and names `configured`.
fn crate_kernel(os_release: &str, made: &str, configured: &str, more: &str) -> Machine {
    let config = format!("CONFIG_RUST=y\nCONFIG_RUSTC_VERSION_TEXT=\"{configured}\"\n{more}");
    let machine = if more.is_empty() { Machine::new(os_release, &config) } else { clang_kernel(os_release, &config) };
    machine.program("gcc", "");
    for name in ["libkernel.rmeta", "libmacros.so"] {
        machine.write(&format!("build/rust/{name}"), "");
    }
    machine.write("build/rust/libcore.rmeta", metadata(made));
    let settings = format!("RUSTC={}\n", machine.path("tools/rustc").display());
    machine.write("knem.conf", settings);
    machine
}

const OLD: &str = "rustc 1.85.1 (4eb161250 2025-03-15) (built from a source tarball)";
const NEW: &str = "rustc 1.90.0 (1159e78c4 2025-09-14) (Fedora 1.90.0-1.fc43)";

#[test]
fn the_metadatas_compiler_counts_and_not_the_configurations() {
    let version = |text: &str| format!("[ \"$1\" = --version ] && echo '{text}'");
    let same = crate_kernel(DEBIAN, OLD, OLD, "");
    assert_eq!(same.program("rustc", &version(OLD)).lack(), "metadata shipped with the kernel headers");
    // E0514: compiled by an incompatible version of rustc.
    let rebuilt = crate_kernel(UBUNTU, NEW, OLD, "");
    let lack = rebuilt.program("rustc", &version(OLD)).lack();
    let wanted = format!("Rust metadata made by {NEW} (and the configuration names {OLD}), but ");
    assert!(
        lack.starts_with(&wanted) && lack.contains(&format!("/rustc is {OLD}; apt install rustc-1.90, and name it by")),
        "{lack}"
    );
    assert_eq!(rebuilt.program("rustc", &version(NEW)).lack(), "metadata shipped with the kernel headers");
    // Nothing that can be read: the configuration counts.
    let unreadable = crate_kernel(DEBIAN, "a later format", OLD, "");
    assert_eq!(unreadable.program("rustc", &version(OLD)).lack(), "metadata shipped with the kernel headers");
    let lack = unreadable.program("rustc", &version(NEW)).lack();
    assert!(
        lack.starts_with(&format!("kernel built with {OLD}, but "))
            && lack.contains("; install that version, and name"),
        "{lack}"
    );
}

#[test]
fn inlined_helpers_take_their_bitcode_and_the_kernels_clang() {
    let version = format!("[ \"$1\" = --version ] && echo '{OLD}'");
    let machine = crate_kernel(DEBIAN, OLD, OLD, "CONFIG_RUST_INLINE_HELPERS=y\n");
    machine.programs(&["clang-19", "ld.lld-19", "llvm-nm-19"]).program("rustc", &version);
    let tool =
        "this kernel is built by clang 19, and these of its tools are not installed: llvm-link-19; apt install llvm-19";
    assert_eq!(machine.compiler(), tool);
    machine.program("llvm-link-19", "");
    assert_eq!(
        machine.lack(),
        "kernel headers without the bitcode of the C helpers (rust/helpers/helpers_module.bc), which CONFIG_RUST_INLINE_HELPERS takes;"
    );
    machine.write("build/rust/helpers/helpers_module.bc", "");
    assert_eq!(machine.lack(), "metadata shipped with the kernel headers");
    let newer = crate_kernel(DEBIAN, OLD, OLD, "CONFIG_RUST_INLINE_HELPERS=y\n");
    newer.programs(&["ld.lld", "llvm-nm", "llvm-link"]).program("rustc", &version).program("clang", "echo 21.1.0");
    newer.write("build/rust/helpers/helpers_module.bc", "");
    assert_eq!(
        newer.lack(),
        "CONFIG_RUST_INLINE_HELPERS takes clang 19, which built the kernel, and clang here is 21.1.0; apt install clang-19 lld-19 llvm-19"
    );
}

#[test]
fn metadata_that_is_not_shipped_is_a_package_of_ubuntu() {
    let machine = Machine::new(UBUNTU, "CONFIG_RUST=y\n");
    let wanted =
        format!("kernel headers without Rust metadata (rust/libkernel.rmeta); apt install linux-lib-rust-{KERNEL}");
    assert_eq!(machine.program("gcc", "").lack(), wanted);
}

/// Tried by executing, and where the caller may not write, by the mount's options.
#[test]
fn a_place_where_nothing_may_be_executed_is_noticed() {
    let machine = Machine::new(DEBIAN, "");
    let test = "knem_may_execute place/deep/below && echo yes || echo no; ls -A place";
    machine.program("ls", "exec /bin/ls \"$@\"");
    fs::create_dir(machine.path("place")).expect("made");
    assert_eq!(machine.says(test), "yes");
    if !geteuid().is_root() {
        return;
    }
    let (place, mount) = (machine.path("place"), machine.path("mount"));
    for options in ["noexec", "noexec,ro"] {
        let script = format!(
            "mount -t tmpfs -o mode=700,{options} none {0} && exec {1} -c '{2}'",
            place.display(),
            machine.path("tools/sh").display(),
            format_args!("knem_dir={}; . $knem_dir/way.sh; {test}", machine.path("tree").display())
        );
        fs::write(&mount, script).expect("written");
        let output = Command::new("unshare")
            .args(["-m", "sh"])
            .arg(&mount)
            .current_dir(machine.home.path())
            .output()
            .expect("unshare");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "no\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// rustc maps what is there, as root.
#[test]
fn made_metadata_is_used_where_no_other_user_may_write() {
    let machine = Machine::new(DEBIAN, "");
    let cache = machine.path("cache/rust-metadata");
    fs::create_dir_all(&cache).expect("made");
    for (mode, wanted) in [(0o755, "yes"), (0o775, "others may write to it"), (0o757, "others may write to it")] {
        fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).expect("changed");
        let said = machine.says("knem_find_cache; knem_check_cache && echo yes || echo \"$knem_lack\"");
        assert!(said.ends_with(wanted), "{mode:o}: {said}");
    }
}
