// SPDX-License-Identifier: CECILL-B
//! What a licence expression in a crate's manifest offers: `(MIT OR Apache-2.0) AND Unicode-3.0` is MIT and
//! Unicode-3.0, or Apache-2.0 and Unicode-3.0. A `/` is how `OR` was written once.

use std::collections::BTreeSet;

use anyhow::{bail, Result};

/// Licences that hold together.
pub(super) type Licences = BTreeSet<String>;

/// The choices there are, each of which is enough.
///
/// # Errors
/// When it is no such expression.
pub(super) fn choices(expression: &str) -> Result<Vec<Licences>> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    match any(&mut rest) {
        Some(choices) if rest.is_empty() => Ok(choices),
        _ => bail!("`{expression}` is no licence expression"),
    }
}

fn any(rest: &mut &[&str]) -> Option<Vec<Licences>> {
    let mut choices = all(rest)?;
    while taken(rest, "OR") {
        choices.extend(all(rest)?);
    }
    Some(choices)
}

fn all(rest: &mut &[&str]) -> Option<Vec<Licences>> {
    let mut choices = one(rest)?;
    while taken(rest, "AND") {
        let others = one(rest)?;
        choices = choices.iter().flat_map(|left| others.iter().map(move |right| left | right)).collect();
    }
    Some(choices)
}

fn one(rest: &mut &[&str]) -> Option<Vec<Licences>> {
    if taken(rest, "(") {
        let choices = any(rest)?;
        return taken(rest, ")").then_some(choices);
    }
    let mut name = word(rest)?.to_owned();
    if taken(rest, "WITH") {
        name = format!("{name} WITH {}", word(rest)?);
    }
    Some(vec![Licences::from([name])])
}

/// The next word, if it is a name.
fn word<'a>(rest: &mut &[&'a str]) -> Option<&'a str> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    (!["AND", "OR", "WITH", "(", ")"].contains(first)).then_some(first)
}

fn taken(rest: &mut &[&str], word: &str) -> bool {
    let found = rest.first() == Some(&word);
    if found {
        *rest = &rest[1..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(expression: &str) -> Vec<String> {
        let choices = choices(expression).expect("an expression");
        choices.iter().map(|choice| choice.iter().cloned().collect::<Vec<_>>().join("+")).collect()
    }

    #[test]
    fn choices_are_what_is_enough() {
        assert_eq!(shown("MIT"), ["MIT"]);
        assert_eq!(shown("Unlicense/MIT"), ["Unlicense", "MIT"]);
        assert_eq!(shown("A WITH x OR B"), ["A WITH x", "B"]);
        assert_eq!(shown("(MIT OR Apache-2.0) AND Unicode-3.0"), ["MIT+Unicode-3.0", "Apache-2.0+Unicode-3.0"]);
        assert_eq!(shown("A AND B OR C"), ["A+B", "C"]);
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0", "AND MIT", "MIT WITH"] {
            assert!(choices(text).is_err(), "{text}");
        }
    }
}
