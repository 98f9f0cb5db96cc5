// SPDX-License-Identifier: CECILL-B
//! The newest entry of debian/changelog, which is the packages' one history.

use std::fs;

use anyhow::{Context, Result};

use knem_lab::workspace::Workspace;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// An entry as RPM has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Name and address.
    pub(crate) who: String,
    /// Noon of its day, as rpmbuild gives it.
    pub(crate) noon: u32,
    /// What changed: lines that begin with a dash, and their continuations.
    pub(crate) text: String,
}

/// Reads the entry.
pub(crate) fn newest(workspace: &Workspace) -> Result<Change> {
    let path = workspace.file("debian/changelog");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("{} has no whole entry", path.display()))
}

fn parse(text: &str) -> Option<Change> {
    let mut lines = Vec::new();
    for line in text.lines().skip(1) {
        if let Some(signature) = line.strip_prefix(" -- ") {
            let (who, date) = signature.split_once("  ")?;
            return Some(Change { who: who.to_owned(), noon: noon(date)?, text: lines.join("\n") });
        }
        if let Some(item) = line.strip_prefix("  * ") {
            lines.push(format!("- {item}"));
        } else if !line.trim().is_empty() {
            lines.push(format!("  {}", line.trim()));
        }
    }
    None
}

/// Seconds from 1970 to noon of a day such as `Sat, 21 Nov 2026 00:00:00 +0000`.
fn noon(date: &str) -> Option<u32> {
    let mut words = date.split_whitespace().skip(1);
    let day: u32 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = u32::try_from(MONTHS.iter().position(|month| *month == name)?).ok()?;
    let year: u32 = words.next()?.parse().ok().filter(|year| *year >= 1970)?;
    // Counted from March, a year's leap day is its last; from then on the months have 30.6 days, rounded.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (306 * month + 5) / 10 + day;
    // So many of them lie before 1970.
    days.checked_sub(719_469)?.checked_mul(24 * 3600)?.checked_add(12 * 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_changes_its_form() {
        let text = "knem (2-1) unstable; urgency=medium\n\n  * One\n    and a half.\n  * Two.\n\n -- A B <a@b.invalid>  Sat, 21 Nov 2026 00:00:00 +0000\n\nknem (1-1)\n";
        let change = parse(text).expect("whole");
        assert_eq!(change.who, "A B <a@b.invalid>");
        assert_eq!(change.noon, 1_795_262_400);
        assert_eq!(change.text, "- One\n  and a half.\n- Two.");
        assert_eq!(parse("knem (2-1) x\n\n  * One\n"), None);
    }

    #[test]
    fn days_are_counted() {
        assert_eq!(noon("Thu, 01 Jan 1970 23:00:00 +0000"), Some(12 * 3600));
        assert_eq!(noon("Thu, 29 Feb 2024 00:00:00 +0000"), Some(1_709_208_000));
        assert_eq!(noon("Fri, 01 Mar 2024 00:00:00 +0000"), Some(1_709_294_400));
        assert_eq!(noon("yesterday"), None);
    }
}
