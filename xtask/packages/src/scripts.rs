// SPDX-License-Identifier: CECILL-B
//! Maintainer scripts: `debian/<package>.<script>`, with the version put in as debhelper does in the Debian source
//! package.

use std::fs;

use anyhow::{bail, Context, Result};

use super::stage::Stage;
use knem_lab::workspace::Workspace;

const SCRIPTS: &[&str] = &["preinst", "postinst", "prerm", "postrm"];

/// Stages the scripts that `package` has.
pub(crate) fn stage(workspace: &Workspace, stage: &Stage, package: &str, version: &str) -> Result<()> {
    for script in SCRIPTS {
        let path = workspace.file(format!("debian/{package}.{script}"));
        if !path.exists() {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = filled(&text, version).with_context(|| path.display().to_string())?;
        stage.control(package, script, text.as_bytes())?;
    }
    Ok(())
}

/// The script as dh_installdeb gives it: debhelper has nothing to add to ours.
fn filled(text: &str, version: &str) -> Result<String> {
    let text = text.replace("#VERSION#", version).replace("#DEBHELPER#", "");
    let mut words = text.split(|c: char| c.is_whitespace() || "\"'/-".contains(c));
    if let Some(name) = words.find(|word| word.len() > 2 && word.starts_with('#') && word.ends_with('#')) {
        bail!("nothing is known to put in place of {name}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_put_in() {
        assert_eq!(filled("# a\nsh /x-#VERSION#/y\n#DEBHELPER#\n", "2.0.0").expect("filled"), "# a\nsh /x-2.0.0/y\n\n");
        let error = filled("x-#MODULE#/y\n", "2.0.0").expect_err("unknown").to_string();
        assert!(error.contains("#MODULE#"), "{error}");
    }
}
