// SPDX-License-Identifier: CECILL-B
//! Files with placeholders: `@NAME@` stands for a value that is known when packages are built.

use anyhow::{bail, Result};

use crate::workspace::Workspace;

/// The values every template may use.
pub(crate) fn values(workspace: &Workspace) -> Result<Vec<(&'static str, String)>> {
    let (Some(first), Some(last)) = (workspace.series.first(), workspace.series.last()) else {
        bail!("[workspace.metadata.knem] kernel-series in Cargo.toml is empty");
    };
    Ok(vec![("VERSION", workspace.version.clone()), ("KERNEL_MIN", first.clone()), ("KERNEL_MAX", series_after(last)?)])
}

/// Puts the values in; a placeholder that has none is an error, because it would only show on a user's machine.
pub(crate) fn fill(text: &str, values: &[(&str, String)]) -> Result<String> {
    let mut filled = text.to_owned();
    for (name, value) in values {
        filled = filled.replace(&format!("@{name}@"), value);
    }
    if let Some(name) = placeholder(&filled) {
        bail!("nothing is known to put in place of @{name}@");
    }
    Ok(filled)
}

/// The first placeholder in the text.
fn placeholder(text: &str) -> Option<&str> {
    let mut parts = text.split('@');
    parts.next();
    // The last part has no @ behind it.
    let candidates: Vec<&str> = parts.collect();
    let (_, inner) = candidates.split_last()?;
    inner.iter().copied().find(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

/// The series that follows: `7.2` gives `7.3`. After the last one of a major version it is one that never comes, which serves as
/// well: it is only compared with.
fn series_after(series: &str) -> Result<String> {
    if let Some((major, minor)) = series.split_once('.') {
        if let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>()) {
            return Ok(format!("{major}.{}", minor.saturating_add(1)));
        }
    }
    bail!("`{series}` is no kernel series such as 7.2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_place_of_names() {
        let values = [("VERSION", "2.0.0".to_owned())];
        assert_eq!(fill("v@VERSION@, a@b.c", &values).expect("filled"), "v2.0.0, a@b.c");
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        let error = fill("x @KERNEL_MIN@ y", &[]).expect_err("unknown").to_string();
        assert!(error.contains("KERNEL_MIN"), "{error}");
    }

    #[test]
    fn series_follow_each_other() {
        assert_eq!(series_after("7.3").expect("a series"), "7.4");
        assert_eq!(series_after("7.19").expect("a series"), "7.20");
        assert!(series_after("seven").is_err());
    }
}
