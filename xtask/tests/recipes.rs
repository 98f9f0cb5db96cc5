// SPDX-License-Identifier: CECILL-B
//! Recipes of other package managers, below deploy/: of this version, of the right syntax, and in step with what is
//! installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use knem_lab::workspace::Workspace;

const EASYCONFIG: &str = "deploy/easybuild/KNEM-2.0.0.eb";
const SPACK: &str = "deploy/spack/repo/packages/knem/package.py";
const NIX: &str = "deploy/nix/default.nix";

fn workspace() -> Workspace {
    Workspace::find().expect("the workspace")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

#[test]
fn recipes_are_of_this_version() {
    let workspace = workspace();
    for (path, line) in [
        ("deploy/arch/PKGBUILD", "pkgver=VERSION"),
        (EASYCONFIG, "version = 'VERSION'"),
        (SPACK, "version(\"VERSION\")"),
        (SPACK, "url = f\"file://{os.getcwd()}/knem-VERSION.tar.gz\""),
        (NIX, "version = \"VERSION\";"),
    ] {
        let text = fs::read_to_string(workspace.file(path)).expect("readable");
        let line = line.replace("VERSION", &workspace.version);
        assert!(text.lines().any(|found| found.trim() == line), "{path} has no line {line}");
    }
    assert!(EASYCONFIG.ends_with(&format!("-{}.eb", workspace.version)), "EasyBuild wants the version in the name");
}

/// bash reads it as makepkg does, and its function for the driver installs.
#[test]
fn pkgbuild_installs_the_driver() {
    let workspace = workspace();
    let home = tempfile::tempdir().expect("a directory");
    let build = home.path().join("build");
    let made = Command::new("sh").arg(workspace.file("install/generate.sh")).arg(&build).output().expect("sh");
    stdout(&made);
    let sources = home.path().join(format!("knem-{}", workspace.version));
    std::os::unix::fs::symlink(&workspace.root, sources).expect("linked");
    let script = "set -eu; . \"$0\"; declare -F build package_knem-tools package_knem-dkms >&2; \
                  (package_knem-dkms >&2); backup=(); eval \"$(declare -f package_knem-tools | sed '/install.sh/d')\"; \
                  package_knem-tools; echo \"${pkgname[*]}\"; printf '/%s\\n' \"${backup[@]}\"";
    let output = Command::new("bash")
        .args(["-c", script])
        .arg(workspace.file("deploy/arch/PKGBUILD"))
        .env("srcdir", home.path())
        .env("pkgdir", home.path().join("package"))
        .env("BUILD", &build)
        .output()
        .expect("bash");
    assert_eq!(stdout(&output), "knem-tools knem-dkms\n/etc/security/limits.d/20-knem.conf\n");
    let tree = home.path().join(format!("package/usr/src/knem-{}", workspace.version));
    for file in ["dkms.conf", "Kbuild", "knem_main.rs"] {
        assert!(tree.join(file).is_file(), "{file} is missing");
    }
}

/// What EasyBuild demands, and files that an installation below a prefix has.
#[test]
fn easyconfig_names_what_is_installed() {
    let script = "
import sys
values = {'SYSTEM': {}}
exec(compile(open(sys.argv[1]).read(), sys.argv[1], 'exec'), values)
for key in ('easyblock', 'name', 'homepage', 'description', 'toolchain', 'sources', 'moduleclass'):
    values[key]
print('\\n'.join(values['sanity_check_paths']['files']))";
    let workspace = workspace();
    let output =
        Command::new("python3").args(["-c", script]).arg(workspace.file(EASYCONFIG)).output().expect("python3");
    let layouts = fs::read_to_string(workspace.file("install/layouts")).expect("readable");
    let directories: BTreeSet<&str> =
        layouts.lines().filter_map(|line| line.split_whitespace().last()?.strip_prefix("@PREFIX@/")).collect();
    for file in stdout(&output).lines() {
        let directory = Path::new(file).parent().and_then(Path::to_str).expect("a directory");
        assert!(directories.contains(directory), "nothing is installed in {directory}");
    }
}

#[test]
fn spack_recipe_parses() {
    let script = "import ast, sys; ast.parse(open(sys.argv[1]).read())";
    let recipe = workspace().file(SPACK);
    stdout(&Command::new("python3").args(["-c", script]).arg(recipe).output().expect("python3"));
}

#[test]
fn nix_expression_parses() {
    let Ok(output) = Command::new("nix-instantiate").arg("--parse").arg(workspace().file(NIX)).output() else {
        eprintln!("skipped: nix-instantiate is not installed (package nix-bin)");
        return;
    };
    stdout(&output);
}
