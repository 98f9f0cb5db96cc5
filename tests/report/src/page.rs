// SPDX-License-Identifier: CECILL-B
//! Documents that are written in part by programs: the lines between `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

use std::fs;
use std::path::Path;

use anyhow::{bail, Context, Result};

/// Replaces the part `name` of a document.
///
/// # Errors
/// If the document cannot be read or written, or has no such part.
pub fn replace(path: &Path, name: &str, text: &str) -> Result<()> {
    let old = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let new = replaced(&old, name, text).with_context(|| format!("cannot write into {}", path.display()))?;
    fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(old: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
    let Some((before, rest)) = old.split_once(&begin) else { bail!("it has no line {}", begin.trim()) };
    let Some((_, after)) = rest.split_once(&end) else { bail!("it has no line {}", end.trim()) };
    Ok(format!("{before}{begin}{}\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_changes() {
        let old = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        let new = replaced(old, "x", "new\nlines\n").expect("a part");
        assert_eq!(new, "a\n<!-- x: begin -->\nnew\nlines\n<!-- x: end -->\nb\n");
        assert!(replaced(old, "y", "new").is_err());
    }
}
