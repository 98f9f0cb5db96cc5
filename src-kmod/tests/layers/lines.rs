// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Rules about lines of text: the version is in one file only, a licence in every source.

use std::path::Path;

use crate::tree::{text, Violations};

/// Returns the project's version number.
pub(crate) fn version() -> String {
    let manifest = text(Path::new("Cargo.toml"));
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \"")).expect("a version in Cargo.toml");
    line.trim_end_matches('"').to_owned()
}

/// Finds lines that contain the version.
pub(crate) fn version_literals(source: &str, version: &str) -> Violations {
    let lines = source.lines().enumerate().filter(|(_, line)| line.contains(version));
    lines.map(|(index, _)| (index + 1, format!("the version {version}: it is read from Cargo.toml"))).collect()
}

// REUSE-IgnoreStart
/// Checks for a licence line near the start.
pub(crate) fn licence(source: &str) -> Violations {
    if source.lines().take(5).any(|line| line.contains("SPDX-License-Identifier: ")) {
        Vec::new()
    } else {
        vec![(1, "has no line SPDX-License-Identifier".to_owned())]
    }
}

#[test]
fn versions_and_licences_are_noticed() {
    assert_eq!(
        version_literals("a\nVersion: 9.8.7\n", "9.8.7"),
        [(2, "the version 9.8.7: it is read from Cargo.toml".to_owned())]
    );
    assert!(version_literals("Version: @VERSION@\n", "9.8.7").is_empty());
    assert_eq!(licence("// nothing\n").len(), 1);
    assert!(licence("#!/bin/sh\n# SPDX-License-Identifier: CECILL-B\n").is_empty());
}
// REUSE-IgnoreEnd
