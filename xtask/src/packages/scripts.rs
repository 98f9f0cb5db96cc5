// SPDX-License-Identifier: CECILL-B
//! Maintainer scripts and triggers: `debian/<package>.<script>`, with the version put in.

use std::fs;

use anyhow::{Context, Result};

use super::stage::Stage;
use crate::workspace::Workspace;

const SCRIPTS: &[&str] = &["preinst", "postinst", "prerm", "postrm"];

/// Stages the scripts that `package` has.
pub(crate) fn stage(workspace: &Workspace, stage: &Stage, package: &str) -> Result<()> {
    for script in SCRIPTS {
        let path = workspace.file(format!("debian/{package}.{script}"));
        if !path.exists() {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // debhelper's way of saying it, as these scripts serve its road too.
        let text = text.replace("#VERSION#", &workspace.version).replace("#DEBHELPER#\n\n", "");
        stage.control(package, script, text.as_bytes())?;
    }
    Ok(())
}

/// Stages knem-dkms's triggers: the line with `@SERIES@` is repeated for each supported series. Comments stay behind, as lintian
/// takes them for directives.
pub(crate) fn stage_triggers(workspace: &Workspace, stage: &Stage, package: &str) -> Result<()> {
    let path = workspace.file(format!("debian/{package}.triggers.in"));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    stage.control(package, "triggers", triggers(&text, &workspace.series).as_bytes())
}

fn triggers(text: &str, series: &[String]) -> String {
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.contains("@SERIES@") {
            lines.extend(series.iter().map(|series| line.replace("@SERIES@", series)));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_for_each_series() {
        let series = ["7.2".to_owned(), "7.3".to_owned()];
        assert_eq!(
            triggers("# x\ninterest /a-@SERIES@\ninterest /b\n", &series),
            "interest /a-7.2\ninterest /a-7.3\ninterest /b\n"
        );
    }
}
