// SPDX-License-Identifier: CECILL-B
//! `make install` to a shared directory, and `make local-install` on a machine, both in DESTDIR: installed, updated,
//! kept and removed files. The command and the modules are stand-ins; nothing is compiled.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use knem_lab::workspace::Workspace;
use walkdir::WalkDir;

const PREFIX: &str = "/opt/knem";
const KERNEL: &str = "7.2.1-test";
const OTHER: &str = "7.3.0-test";

/// A site: what was built, the tree that the shared directory is in, and a machine.
struct Site {
    workspace: Workspace,
    home: tempfile::TempDir,
}

impl Site {
    /// A site with everything built, and a machine with both kernels.
    fn new() -> Self {
        let site = Self {
            workspace: Workspace::find().expect("the workspace"),
            home: tempfile::tempdir().expect("a directory"),
        };
        // A program that prints what it is asked, and can be stripped.
        fs::copy("/bin/echo", site.path("knem")).expect("copied");
        // It notes what it was asked, and writes what modprobe would find.
        let depmod = "#!/bin/sh\n[ \"$1 $3\" = '-b -a' ] || exit 1\necho \"$4\" >>\"$0.log\"\n\
                      cd \"$2/lib/modules/$4\" && { [ ! -d updates ] || find updates -name '*.ko'; } >modules.dep\n";
        site.write("tools/depmod", depmod, 0o755);
        site.build(None);
        for kernel in [KERNEL, OTHER] {
            site.write(&format!("machine/lib/modules/{kernel}/modules.dep"), "", 0o644);
        }
        // Making it takes root.
        site.write("machine/etc/group", "root:x:0:\nrdma:x:101:\n", 0o644);
        site
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("below")).expect("made");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Does what `make build` does, for this version.
    fn build(&self, version: Option<&str>) {
        let mut command = Command::new("sh");
        command.arg(self.workspace.file("install/generate.sh")).arg(self.path("build")).arg(self.path("knem"));
        if let Some(version) = version {
            command.env("KNEM_VERSION", version);
        }
        said(&mut command);
        // The command's manual pages, which the stand-in does not write.
        let list = fs::read_to_string(self.workspace.file("install/files")).expect("readable");
        for page in list.split_whitespace().filter(|word| word.starts_with("build/man/")) {
            self.write(page, page, 0o644);
        }
    }

    /// What `make module` does.
    fn module(&self, kernel: &str, text: &str) {
        self.write(&format!("build/modules/{kernel}/knem.ko"), text, 0o644);
    }

    fn make(&self, target: &str, destdir: &str, more: &[&str]) -> Command {
        let mut command = Command::new("make");
        command.current_dir(&self.workspace.root).args(["-s", target]).args(more);
        command.arg(format!("BUILD={}", self.path("build").display()));
        command.arg(format!("DESTDIR={}", self.path(destdir).display()));
        let path = env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("tools").display()));
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "KVERSION", "PREFIX", "DESTDIR", "BUILD"] {
            command.env_remove(name);
        }
        command
    }

    /// `make install` into the shared directory.
    fn install(&self, kernel: &str) -> String {
        said(&mut self.make("install", "shared", &[&format!("PREFIX={PREFIX}"), &format!("KVERSION={kernel}")]))
    }

    /// A command on the machine, which has mounted the shared directory elsewhere.
    fn on_the_machine(&self, target: &str, more: &[&str]) -> Command {
        let mut command = self.make(target, "machine", more);
        command.arg(format!("PREFIX={}", self.path("shared").join(&PREFIX[1..]).display()));
        command
    }

    fn local_install(&self) -> String {
        said(&mut self.on_the_machine("local-install", &[]))
    }

    fn local_uninstall(&self) -> String {
        said(&mut self.on_the_machine("local-uninstall", &[]))
    }

    /// All there is in a tree: modes and contents.
    fn everything(&self, tree: &str) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let top = self.path(tree);
        WalkDir::new(&top)
            .min_depth(1)
            .into_iter()
            .map(|entry| {
                let entry = entry.expect("readable");
                let contents =
                    if entry.file_type().is_file() { fs::read(entry.path()).expect("readable") } else { Vec::new() };
                let mode = entry.metadata().expect("readable").permissions().mode();
                (entry.path().strip_prefix(&top).expect("below").to_owned(), (mode, contents))
            })
            .collect()
    }
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What a command says that succeeds.
fn said(command: &mut Command) -> String {
    let output = run(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// What a command says that has to fail.
fn refused(command: &mut Command) -> String {
    let output = run(command);
    assert!(!output.status.success(), "{command:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn has(text: &str, part: &str) {
    assert!(text.contains(part), "no `{part}` in:\n{text}");
}

#[test]
fn a_shared_directory_is_filled_and_emptied() {
    let site = Site::new();
    let version = site.workspace.version.clone();
    site.module(KERNEL, "one");
    has(&site.install(KERNEL), PREFIX);
    assert_eq!(site.read("shared/opt/knem/lib/modules/7.2.1-test/knem.ko"), "one");
    has(&site.read("shared/opt/knem/lib/pkgconfig/knem.pc"), "prefix=/opt/knem\n");
    has(&site.read(&format!("shared/opt/knem/src/knem-{version}/dkms.conf")), "PACKAGE_NAME=\"knem\"");
    for path in ["bin/knem", "sbin/knem_local_install"] {
        let mode = fs::metadata(site.path("shared/opt/knem").join(path)).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "{path}");
    }

    let first = site.everything("shared");
    site.install(KERNEL);
    assert_eq!(site.everything("shared"), first, "the second time changed something");

    site.module(OTHER, "two");
    site.install(OTHER);
    let both = site.everything("shared");
    assert_eq!(both.len(), first.len() + 2, "more than a directory and a module came");

    // Another version in the same place: nothing of the first one stays.
    site.build(Some("9.9.9"));
    site.module(KERNEL, "three");
    site.install(KERNEL);
    let names: Vec<PathBuf> = site.everything("shared").into_keys().collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains(&version)), "{names:?}");
    assert!(!names.iter().any(|name| name.to_string_lossy().contains(OTHER)), "a module of the first version stays");

    said(&mut site.make("uninstall", "shared", &[&format!("PREFIX={PREFIX}")]));
    let left: Vec<PathBuf> = site.everything("shared").into_keys().collect();
    assert_eq!(left, [PathBuf::from("opt")]);
    has(&refused(&mut site.make("uninstall", "shared", &["PREFIX=/opt/knem"])), "nothing was installed");
}

#[test]
fn a_machine_is_set_up_once() {
    let site = Site::new();
    site.module(KERNEL, "one");
    site.install(KERNEL);
    let before = site.everything("machine");

    let text = site.local_install();
    has(&text, "installed /lib/modules/7.2.1-test/updates/knem/knem.ko");
    has(&text, "installed /etc/udev/rules.d/60-knem.rules");
    assert_eq!(site.read("machine/lib/modules/7.2.1-test/updates/knem/knem.ko"), "one");
    assert_eq!(site.read("machine/lib/modules/7.2.1-test/modules.dep"), "updates/knem/knem.ko\n");
    assert!(!site.path("machine/lib/modules/7.3.0-test/updates").exists(), "there is no module for that kernel");

    let after = site.everything("machine");
    has(&site.local_install(), "nothing had to be done");
    assert_eq!(site.everything("machine"), after, "the second time changed something");
    assert_eq!(site.read("tools/depmod.log"), "7.2.1-test\n", "depmod ran for nothing");

    let text = site.local_uninstall();
    has(&text, "removed /etc/modprobe.d/knem.conf");
    assert_eq!(site.everything("machine"), before, "something is left, or too much is gone");
    has(&site.local_uninstall(), "nothing to remove");
}

#[test]
fn what_was_changed_here_is_left_alone() {
    let site = Site::new();
    site.module(KERNEL, "one");
    site.install(KERNEL);
    // One was there before, one is changed afterwards.
    site.write("machine/etc/security/limits.d/20-knem.conf", "own\n", 0o600);
    let before = site.everything("machine");
    has(&site.local_install(), "kept /etc/security/limits.d/20-knem.conf");
    site.write("machine/etc/modprobe.d/knem.conf", "options knem debug=1\n", 0o644);
    has(&site.local_install(), "kept /etc/modprobe.d/knem.conf");
    assert_eq!(site.read("machine/etc/modprobe.d/knem.conf"), "options knem debug=1\n");

    has(&site.local_uninstall(), "left /etc/modprobe.d/knem.conf");
    let mut left = site.everything("machine");
    left.retain(|path, _| !before.contains_key(path));
    let left: Vec<PathBuf> = left.into_keys().collect();
    assert_eq!(left, ["etc/modprobe.d", "etc/modprobe.d/knem.conf"].map(PathBuf::from));
    assert_eq!(site.read("machine/etc/security/limits.d/20-knem.conf"), "own\n");
}

#[test]
fn a_newer_version_takes_the_place_of_the_older_one() {
    let site = Site::new();
    site.module(KERNEL, "one");
    site.install(KERNEL);
    site.local_install();
    // Signed by the administrator.
    site.write("machine/lib/modules/7.2.1-test/updates/knem/knem.ko", "one, signed", 0o644);
    has(&site.local_install(), "kept /lib/modules/7.2.1-test/updates/knem/knem.ko");

    site.build(Some("9.9.9"));
    site.module(KERNEL, "two");
    site.module(OTHER, "three");
    site.install(KERNEL);
    site.install(OTHER);
    let text = site.local_install();
    has(&text, "sign it again");
    has(&text, "installed /lib/modules/7.3.0-test/updates/knem/knem.ko");
    has(&text, "set up for KNEM 9.9.9");
    assert_eq!(site.read("machine/lib/modules/7.2.1-test/updates/knem/knem.ko"), "two");
    let record = site.read("machine/var/lib/knem/local-install");
    assert_eq!(record.lines().filter(|line| line.starts_with("version ")).count(), 1, "{record}");

    // A module goes even when it was changed: one that is left would be loaded.
    site.write("machine/lib/modules/7.3.0-test/updates/knem/knem.ko", "three, signed", 0o644);
    site.local_uninstall();
    assert!(!site.path("machine/lib/modules/7.3.0-test/updates").exists());
}

#[test]
fn a_run_that_was_ended_is_completed() {
    let site = Site::new();
    site.module(KERNEL, "one");
    site.install(KERNEL);
    let before = site.everything("machine");
    site.local_install();
    let whole = site.everything("machine");
    // What a run leaves that was ended between two steps: noted but not there; the index not made.
    fs::remove_file(site.path("machine/etc/udev/rules.d/60-knem.rules")).expect("removed");
    site.write("machine/lib/modules/7.2.1-test/modules.dep", "", 0o644);
    site.local_install();
    assert_eq!(site.everything("machine"), whole);
    site.local_uninstall();
    assert_eq!(site.everything("machine"), before);
}

#[test]
fn a_module_goes_where_a_package_wants_it() {
    let site = Site::new();
    site.module(KERNEL, "one");
    site.module(OTHER, "two");
    site.install(KERNEL);
    site.install(OTHER);
    // A tree without kernels, as rpmbuild has one; and depmod is the package's business.
    fs::create_dir(site.path("image")).expect("made");
    let image = site.path("image").display().to_string();
    let packaged = |place: &str, kernels: &str| {
        let mut command = site.on_the_machine("local-install", &[&format!("KVERSION={kernels}")]);
        command.arg(format!("DESTDIR={image}")).env("MODULE_DESTDIR", place);
        command
    };
    let place = format!("/lib/modules/{KERNEL}/extra/knem");
    has(&said(&mut packaged(&place, KERNEL)), &format!("installed {place}/knem.ko"));
    assert_eq!(site.read(&format!("image{place}/knem.ko")), "one");
    // Vendors' spec files name it with the tree before it.
    let other = format!("/lib/modules/{OTHER}/extra");
    said(&mut packaged(&format!("{image}{other}/"), OTHER));
    assert_eq!(site.read(&format!("image{other}/knem.ko")), "two");
    assert!(!site.path("tools/depmod.log").exists(), "depmod ran where there is no kernel");

    let several = refused(&mut packaged(&place, &format!("{KERNEL} {OTHER}")));
    has(&several, "MODULE_DESTDIR is for one kernel");
    has(&refused(&mut packaged("lib/modules", KERNEL)), "absolute path");

    // On a machine: the index is made, and all goes again.
    let before = site.everything("machine");
    let mut command = site.on_the_machine("local-install", &[&format!("KVERSION={KERNEL}")]);
    said(command.env("MODULE_DESTDIR", &place));
    assert_eq!(site.read(&format!("machine{place}/knem.ko")), "one");
    assert_eq!(site.read("tools/depmod.log"), "7.2.1-test\n");
    site.local_uninstall();
    assert_eq!(site.everything("machine"), before);
}

#[test]
fn two_at_once_both_succeed() {
    let site = Site::new();
    site.module(KERNEL, "one");
    site.module(OTHER, "two");
    let args = [format!("PREFIX={PREFIX}"), format!("KVERSION={KERNEL}")];
    let install = || site.make("install", "shared", &[&args[0], &args[1]]);
    for _ in 0..3 {
        both(&install, &install);
        let machine = || site.on_the_machine("local-install", &[]);
        both(&machine, &machine);
        let whole = site.everything("machine");
        has(&site.local_install(), "nothing had to be done");
        assert_eq!(site.everything("machine"), whole);
        site.local_uninstall();
    }
}

/// Starts two commands at the same time; both have to succeed.
fn both(one: &dyn Fn() -> Command, other: &dyn Fn() -> Command) {
    let start = |command: &dyn Fn() -> Command| {
        command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
    };
    for child in [start(one), start(other)] {
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is() {
    let site = Site::new();
    let before = site.everything("machine");
    has(&refused(&mut site.on_the_machine("local-install", &[])), "nothing is installed in");
    site.install(KERNEL);
    has(&refused(&mut site.on_the_machine("local-install", &[])), "has no module at all");
    site.module(KERNEL, "one");
    site.install(KERNEL);
    let unknown = refused(&mut site.on_the_machine("local-install", &["KVERSION=7.4.0-none"]));
    has(&unknown, "has no module for kernel 7.4.0-none, but for: 7.2.1-test");
    assert_eq!(site.everything("machine"), before, "a refusal changed something");

    // A kernel with a module that is not installed on the machine.
    fs::remove_dir_all(site.path("machine/lib/modules").join(KERNEL)).expect("removed");
    has(&refused(&mut site.on_the_machine("local-install", &[])), "none of the kernels");
    let absent = refused(&mut site.on_the_machine("local-install", &[&format!("KVERSION={KERNEL}")]));
    has(&absent, "there is no kernel 7.2.1-test here");

    let status = "Package: knem-dkms\nStatus: install ok installed\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y>\nDescription: z\n";
    site.write("machine/var/lib/dpkg/status", status, 0o644);
    has(&refused(&mut site.on_the_machine("local-install", &[])), "the package knem-dkms is installed here");

    has(&refused(&mut site.make("install", "shared", &["PREFIX=relative"])), "absolute path");
    fs::remove_dir_all(site.path("build")).expect("removed");
    has(&refused(&mut site.make("install", "shared", &["PREFIX=/opt/knem"])), "run make");
}
