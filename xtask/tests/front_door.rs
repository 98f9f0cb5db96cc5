// SPDX-License-Identifier: CECILL-B
//! First calls of `make`: with unusual paths, an old Rust, no C compiler. Compilers are stand-ins; nothing is compiled.

use std::env;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output};

use knem_lab::workspace::Workspace;
use nix::unistd::geteuid;

/// A checkout in a directory of any name, and programs that stand before the machine's.
struct Checkout {
    home: tempfile::TempDir,
    name: &'static str,
}

impl Checkout {
    fn new(name: &'static str, rust: &str) -> Self {
        let checkout = Self { home: tempfile::tempdir().expect("a directory"), name };
        let workspace = Workspace::find().expect("the workspace");
        fs::create_dir(checkout.path(name)).expect("made");
        // The files themselves; what is built stays in the copy.
        for entry in [
            "CHANGELOG.md",
            "Cargo.toml",
            "LICENSES",
            "Makefile",
            "README.md",
            "debian",
            "deploy",
            "dkms",
            "docs",
            "include",
            "install",
            "modprobe.d",
            "src-kmod",
            "udev",
            "xtask",
        ] {
            symlink(workspace.file(entry), checkout.path(name).join(entry)).expect("linked");
        }
        fs::copy(workspace.file("configure"), checkout.path(name).join("configure")).expect("copied");
        checkout.program("rustc", &format!("[ \"$1\" != --version ] || echo 'rustc {rust}.0 (stand-in)'"));
        // It notes the flags that it got, and builds a program that prints its arguments and can be stripped.
        let build = format!(
            "case $1 in\n--version) echo 'cargo {rust}.0 (stand-in)' ;;\n\
             build) printf '%s' \"$CARGO_ENCODED_RUSTFLAGS\" >\"$0.flags\"; mkdir -p target/release; cp /bin/echo target/release/knem ;;\n\
             *) echo \"$@\" >\"$0.other\" ;;\nesac"
        );
        checkout.program("cargo", &build);
        checkout
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("tools").join(name);
        fs::create_dir_all(self.path("tools")).expect("made");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
    }

    fn make(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("make");
        command.arg("-C").arg(self.path(self.name)).arg("-s").args(arguments);
        let path = env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.path("tools").display()));
        for name in [
            "MAKEFLAGS",
            "MFLAGS",
            "MAKELEVEL",
            "KVERSION",
            "PREFIX",
            "DESTDIR",
            "BUILD",
            "CARGO",
            "RUSTC",
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CI",
            "KNEM_INSTALL",
        ] {
            command.env_remove(name);
        }
        command
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}

fn run(command: &mut Command) -> (Output, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    (output, text)
}

#[test]
fn a_path_is_never_a_command() {
    let checkout = Checkout::new("checkout", "1.90");
    let evil = checkout.path("evil");
    for path in [
        format!("/opt/a {}", "b"),
        format!("/opt/a; touch {}", evil.display()),
        format!("/opt/$(touch {})", evil.display()),
        format!("/opt/'; touch {}; '", evil.display()),
        format!("/opt/\"; touch {}; \"", evil.display()),
    ] {
        // make itself expands a dollar sign that is not doubled.
        let path = path.replace('$', "$$");
        for target in ["install", "uninstall", "local-install", "local-uninstall"] {
            for name in ["PREFIX", "DESTDIR", "BUILD", "KVERSION"] {
                let given = [format!("{name}={path}"), format!("DESTDIR={}", checkout.path("image").display())];
                let given: Vec<&str> =
                    given.iter().take(if name == "DESTDIR" { 1 } else { 2 }).map(String::as_str).collect();
                let (output, text) = run(checkout.make(&[target]).args(given));
                assert!(!output.status.success(), "{target} {name}={path}: {text}");
                assert!(!checkout.has("evil"), "{target} ran what {name}={path} has");
                assert!(!text.contains("not found") && !text.contains("yntax error"), "{target} {name}={path}: {text}");
            }
        }
        run(&mut checkout.make(&["clean", &format!("BUILD={path}")]));
        run(&mut checkout.make(&["build", &format!("BUILD={path}")]));
        assert!(!checkout.has("evil"), "BUILD={path}");
        run(&mut checkout.make(&["repo", &format!("KEY={path}")]));
        run(&mut checkout.make(&["demo", &format!("KERNEL={path}")]));
        assert!(!checkout.has("evil"), "KEY={path}");
    }
}

#[test]
fn a_checkout_may_be_below_a_blank() {
    let checkout = Checkout::new("a checkout's directory", "1.90");
    let (output, text) = run(&mut checkout.make(&["all", "RUSTFLAGS=-Copt-level=1 -g"]));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Kbuild does not support a directory with spaces in its path"), "{text}");
    assert!(text.contains(&checkout.path(checkout.name).display().to_string()), "{text}");
    let flags = fs::read_to_string(checkout.path("tools/cargo.flags")).expect("noted");
    let flags: Vec<&str> = flags.split('\x1f').collect();
    let place = checkout.path(checkout.name).canonicalize().expect("there");
    assert_eq!(&flags[..2], ["-Copt-level=1", "-g"]);
    assert_eq!(flags[2], format!("--remap-path-prefix={}=knem", place.display()));
    assert_eq!(flags.len(), 4, "{flags:?}");
    assert!(checkout.path(checkout.name).join("build/knem.bash").exists());
}

#[test]
fn a_rust_that_is_too_old_is_one_line() {
    let checkout = Checkout::new("checkout", "1.63");
    for target in ["build", "all", "packages", "check", "clients", "demo", "drills"] {
        let (output, text) = run(&mut checkout.make(&[target]));
        assert!(!output.status.success());
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("make:")).collect();
        assert_eq!(lines.len(), 1, "{text}");
        let needed = if ["build", "all"].contains(&target) { "1.85" } else { "1.88" };
        assert!(lines[0].starts_with(&format!("cargo 1.63 was found, and {needed} or newer is needed: ")), "{text}");
    }
    assert!(!checkout.has("tools/cargo.flags") && !checkout.has("tools/cargo.other"), "cargo was called");
    // One of the two may be newer, and there may be none.
    checkout.program("cargo", "echo 'cargo 1.100.0'");
    assert!(run(&mut checkout.make(&["build"])).1.starts_with("rustc 1.63 was found, "));
    let (_, text) = run(&mut checkout.make(&["build", "CARGO=no-such-cargo"]));
    assert!(text.starts_with("no-such-cargo is not here, and 1.85 or newer is needed"), "{text}");
}

#[test]
fn recipes_for_the_original_work() {
    let checkout = Checkout::new("checkout", "1.90");
    let here = checkout.path("checkout");
    let configure = |arguments: &[&str]| {
        let (output, text) = run(Command::new("./configure").current_dir(&here).args(arguments));
        assert!(output.status.success(), "{text}");
        text
    };
    let text = configure(&[
        "--prefix=/opt/$k#n",
        "--with-linux-release",
        "7.2.1-test",
        "--with-linux=/no/source",
        "--enable-debug",
    ]);
    assert!(text.contains("ignored: --enable-debug"), "{text}");
    let (_, text) = run(&mut checkout.make(&["local-install"]));
    assert!(text.starts_with("nothing is installed in /opt/$k#n: "), "{text}");

    configure(&[
        "--prefix=/opt/knem",
        "--with-linux-release=7.2.1-test",
        "--with-linux=/source",
        "--with-linux-build=/no/build",
    ]);
    let (output, text) = run(&mut checkout.make(&["all"]));
    assert!(output.status.success() && text.contains("7.2.1-test") && text.contains("KVERSION"), "{text}");
    // The command's manual pages, which the stand-in does not write.
    let list = fs::read_to_string(here.join("install/files")).expect("readable");
    for page in list.split_whitespace().filter(|word| word.starts_with("build/man/")) {
        fs::write(here.join(page), page).expect("written");
    }
    let image = format!("DESTDIR={}", checkout.path("image").display());
    let (output, text) = run(&mut checkout.make(&["install", &image]));
    assert!(output.status.success() && text.contains("without a module for kernel 7.2.1-test"), "{text}");
    for path in ["bin/knem", "include/knem_io.h", "sbin/knem_local_install", "lib/pkgconfig/knem.pc"] {
        assert!(checkout.has(&format!("image/opt/knem/{path}")), "{path}");
    }
    // What is given to make has precedence, and nothing of it stays.
    let (_, text) = run(&mut checkout.make(&["local-install", "PREFIX=/opt/other"]));
    assert!(text.starts_with("nothing is installed in /opt/other"), "{text}");
    run(&mut checkout.make(&["distclean"]));
    assert!(!checkout.has("checkout/config.mk"));

    fs::create_dir(here.join("elsewhere")).expect("made");
    let (output, text) = run(Command::new("../configure").current_dir(here.join("elsewhere")));
    assert!(!output.status.success() && text.contains("in its own directory"), "{text}");
}

#[test]
fn nothing_is_installed_unasked() {
    let checkout = Checkout::new("checkout", "1.90");
    checkout.program("cc", "exit 1");
    checkout.program("apt-get", "echo \"$@\" >>\"$0.log\"");
    for target in ["all", "build", "packages", "repo", "dist", "drills", "clients"] {
        let (output, text) = run(&mut checkout.make(&[target]));
        assert!(
            !output.status.success() && text.contains("on Debian: apt-get install gcc libc6-dev"),
            "{target}: {text}"
        );
        assert!(!checkout.has("tools/apt-get.log"), "make {target} ran apt-get");
    }
    if !geteuid().is_root() {
        return;
    }
    for (target, variable) in
        [("check", ""), ("check-all", ""), ("demo", ""), ("build", "CI=true"), ("build", "KNEM_INSTALL=1")]
    {
        let mut command = checkout.make(&[target]);
        if let Some((name, value)) = variable.split_once('=') {
            command.env(name, value);
        }
        run(&mut command);
        assert!(checkout.has("tools/apt-get.log"), "make {target} {variable} did not run apt-get");
        fs::remove_file(checkout.path("tools/apt-get.log")).expect("removed");
    }
}
