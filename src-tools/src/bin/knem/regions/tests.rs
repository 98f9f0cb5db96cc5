// SPDX-License-Identifier: CECILL-B
//! `knem regions`, with made-up lists.

use knem::listing::{parse_contexts, parse_regions};

use super::*;
use crate::processes::tests::Fake;

const CONTEXTS: &str = "\
# context uid pid regions bytes requests copied slots
1 1000 4710 2 8396800 1200 35651584 4096
2 1000 4711 1 67108864 0 0 0
7 0 0 0 0 3 12288 0
";
const REGIONS: &str = "\
# context region bytes extents protection flags
1 0 8192 2 r- single_use
1 12 8388608 4 rw -
2 0 67108864 0 rw any_user,unpinned
";

fn listing() -> Listing {
    Listing { contexts: parse_contexts(CONTEXTS).unwrap(), regions: parse_regions(REGIONS).unwrap() }
}

fn plain(text: &str) -> String {
    let text = anstream::adapter::strip_str(text).to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    text
}

const PEOPLE: Numbers = Numbers { exact: false };
const PROGRAMS: Numbers = Numbers { exact: true };

#[test]
fn regions_are_below_their_context() {
    let listing = listing();
    let owners = owners(&listing, Choice::default(), &mut Fake);
    insta::assert_snapshot!(plain(&text::text(&owners, PEOPLE, true)));
    insta::assert_snapshot!("regions_of_a_user_in_full", plain(&text::text(&owners, PROGRAMS, false)));
}

#[test]
fn scripts_get_a_line_for_each_region() {
    let listing = listing();
    insta::assert_snapshot!(text::tabs(&owners(&listing, Choice::default(), &mut Fake), PROGRAMS));
}

#[test]
fn programs_get_keys() {
    let listing = listing();
    let text = json::document(&owners(&listing, Choice::default(), &mut Fake)).text().unwrap();
    crate::json::tests::is_documented(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn contexts_can_be_chosen() {
    let listing = listing();
    let count = |pid, uid| owners(&listing, Choice { pid, uid }, &mut Fake).len();
    assert_eq!((count(None, None), count(Some(4711), None), count(None, Some(1000))), (3, 1, 2));
    assert_eq!((count(Some(4711), Some(0)), count(Some(1), None)), (0, 0));
}

#[test]
fn no_contexts_are_reported() {
    insta::assert_snapshot!(plain(&text::text(&[], PEOPLE, false)));
}

#[test]
fn users_have_names_and_numbers() {
    assert_eq!(user_number("root").unwrap(), 0);
    assert_eq!(user_number("4711").unwrap(), 4711);
    let failure = user_number("no-such-user").unwrap_err();
    assert_eq!(failure.status(), 2);
    assert!(failure.to_string().contains("--user"), "{failure}");
}
