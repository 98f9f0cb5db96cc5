// SPDX-License-Identifier: CECILL-B
//! Where faults are reported: the project's address, from Cargo.toml.

/// Where to report a fault, as the end of a sentence.
pub(crate) fn reports() -> String {
    reports_of(knem::REPOSITORY)
}

fn reports_of(repository: &str) -> String {
    if repository.is_empty() {
        "to the provider of the packages".to_owned()
    } else {
        format!("at {repository}/issues")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_always_named() {
        assert_eq!(reports_of("https://example.org/knem"), "at https://example.org/knem/issues");
        assert_eq!(reports_of(""), "to the provider of the packages");
    }
}
