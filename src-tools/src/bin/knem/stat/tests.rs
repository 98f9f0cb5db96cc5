// SPDX-License-Identifier: CECILL-B
//! Every view of `knem stat`, with made-up numbers.

use std::time::{Duration, Instant};

use knem::{profile, statistics};

use super::*;

/// The device's text.
const TEXT: &str = "\
knem 2.0.0
 Driver ABI=0xd
 Flags: forcing 0x10, ignoring 0x0
 DMAEngine: NoKernelSupport
 Debug: BuiltIn Disabled
 Requests submitted                           : 1200
 Requests processed (total)                   : 1100
          rejected (unexisting region cookie) : 100
";

/// The finer statistics.
pub(crate) const PROFILE: &str = "\
version 1
age_ns 7384000000000
pinned_bytes 67108864
pinned_bytes_peak 1288490188
contexts 4
regions 37
submitted 1200
processed 1100
processed_dma 0
processed_thread 60
processed_pinned 40
rejected_flags 0
rejected_memory 0
rejected_argument 0
rejected_cookie 100
rejected_pin 0
failed_user_copy 3
failed_dma 0
dma_timeout 0
unknown_flags 0
path mapped bytes 1048576000
path mapped failed 3
path mapped size 4096 300
path mapped size 65536 500
path mapped size 1048576 200
path mapped time_ns 1024 250
path mapped time_ns 8192 500
path mapped time_ns 131072 250
path pinned bytes 41943040
path pinned failed 0
path pinned size 1048576 40
path pinned time_ns 131072 40
path thread bytes 251658240
path thread failed 0
path thread size 4194304 60
path thread time_ns 524288 60
path dma bytes 0
path dma failed 0
refused CREATE_REGION ENOMEM 12
refused INLINE_COPY EINVAL 100
refused open ENOSPC 1
reason no_such_cookie 100
reason pin_limit 12
reason too_many_contexts 1
";

/// The same a second later.
pub(crate) const LATER: &str = "\
version 1
age_ns 7385000000000
pinned_bytes 134217728
pinned_bytes_peak 1288490188
contexts 5
regions 41
submitted 3700
processed 3600
processed_thread 60
processed_pinned 40
rejected_cookie 100
failed_user_copy 3
path mapped bytes 3670016000
path mapped failed 3
path mapped size 4096 300
path mapped size 65536 500
path mapped size 1048576 2700
path mapped time_ns 1024 250
path mapped time_ns 8192 500
path mapped time_ns 131072 2750
path pinned bytes 41943040
path pinned size 1048576 40
path pinned time_ns 131072 40
path thread bytes 251658240
path thread size 4194304 60
path thread time_ns 524288 60
refused CREATE_REGION ENOMEM 14
refused INLINE_COPY EINVAL 100
refused open ENOSPC 1
reason no_such_cookie 100
reason pin_limit 14
reason too_many_contexts 1
";

/// A sample of these texts.
pub(crate) fn sample(text: Option<&str>, profile: Option<&str>, taken: Instant) -> Sample {
    let statistics = text.map(|text| statistics::parse(text).unwrap());
    let profile = profile.map(|text| profile::parse(text).unwrap());
    Sample { taken, statistics, profile, module_version: Some("2.0.0".to_owned()) }
}

fn total() -> Report {
    Report::since_load(&sample(Some(TEXT), Some(PROFILE), Instant::now()))
}

fn second() -> Report {
    let now = Instant::now();
    Report::between(&sample(Some(TEXT), Some(PROFILE), now), &sample(Some(TEXT), Some(LATER), now))
}

const VIEW: View = View {
    paths: false,
    sizes: false,
    latency: false,
    refused: false,
    scripted: false,
    numbers: Numbers { exact: false },
    width: 80,
};
const SCRIPT: View = View { scripted: true, numbers: Numbers { exact: true }, ..VIEW };

fn heads() -> Heads {
    Heads { on_each_screen: true, written: 0 }
}

fn plain(text: &str) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    for line in plain.lines() {
        assert_eq!(line.trim_end(), line, "no blanks at the end");
    }
    plain
}

/// As [`plain`], and no line is wider than a terminal.
fn narrow(text: &str) -> String {
    let plain = plain(text);
    for line in plain.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    plain
}

#[test]
fn the_summary_answers_first() {
    insta::assert_snapshot!(narrow(&VIEW.once(&total())));
}

#[test]
fn a_summary_for_scripts_has_a_number_a_line() {
    insta::assert_snapshot!(SCRIPT.once(&total()));
}

#[test]
fn reports_are_lines_below_heads() {
    let mut heads = heads();
    let text = VIEW.again(&total(), &mut heads) + &VIEW.again(&second(), &mut heads);
    insta::assert_snapshot!(narrow(&text));
    let exact = View { numbers: Numbers { exact: true }, ..VIEW };
    let mut heads = Heads { on_each_screen: false, written: 0 };
    let text = exact.again(&total(), &mut heads) + &exact.again(&second(), &mut heads);
    insta::assert_snapshot!("reports_are_lines_below_heads_exact", plain(&text));
}

#[test]
fn reports_for_scripts_are_separated_by_tabs() {
    let people = View { scripted: true, ..VIEW };
    let text = people.again(&second(), &mut heads()) + &SCRIPT.again(&second(), &mut heads());
    insta::assert_snapshot!(text);
}

#[test]
fn paths_have_their_times() {
    insta::assert_snapshot!(narrow(&View { paths: true, ..VIEW }.once(&total())));
}

#[test]
fn histograms_have_bars() {
    insta::assert_snapshot!(narrow(&View { sizes: true, latency: true, ..VIEW }.once(&total())));
}

#[test]
fn refusals_are_explained() {
    insta::assert_snapshot!(narrow(&View { refused: true, ..VIEW }.once(&total())));
    let wide = plain(&View { refused: true, width: 120, ..VIEW }.once(&total()));
    insta::assert_snapshot!("refusals_are_explained_wide", wide);
    let none = Report { profile: Some(profile::parse("version 1\n").unwrap()), ..total() };
    assert_eq!(View { refused: true, ..VIEW }.once(&none), "Nothing was refused.\n");
}

#[test]
fn parts_for_scripts_are_named() {
    let view = View { paths: true, sizes: true, latency: true, refused: true, ..SCRIPT };
    insta::assert_snapshot!(view.once(&total()));
}

#[test]
fn programs_get_keys() {
    let text = json::document(&total()).text().unwrap();
    crate::json::tests::is_documented(&text);
    insta::assert_snapshot!(text);
    let line = json::document(&second()).line().unwrap();
    assert_eq!(line.lines().count(), 1);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["schema"], "knem-stat");
    assert_eq!(value["version"], 1);
    assert_eq!(value["since"], "previous_report");
    assert_eq!(value["counters"]["requests_submitted"], 2500);
    assert_eq!(value["period_ns"], 1_000_000_000);
    assert_eq!(value["bytes_per_second"], 2_621_440_000u64);
    assert_eq!(value["pinned_bytes"], 134_217_728);
}

#[test]
fn an_old_driver_has_counters_only() {
    let now = Instant::now();
    let before = sample(Some(TEXT), None, now);
    let after = sample(Some(&TEXT.replace("1200", "1210")), None, now + Duration::from_secs(5));
    insta::assert_snapshot!(VIEW.once(&Report::since_load(&before)), @r"
    Requests submitted                 1200
    Requests processed                 1100
    Requests rejected: no such region   100
    ");
    let mut heads = heads();
    let text = VIEW.again(&Report::since_load(&before), &mut heads)
        + &VIEW.again(&Report::between(&before, &after), &mut heads);
    insta::assert_snapshot!(narrow(&text));
    let value = serde_json::to_value(json::document(&Report::since_load(&before))).unwrap();
    assert!(value["bytes"].is_null() && value["period_ns"].is_null());
    assert_eq!(value["counters"]["rejected_cookie"], 100);
}

#[test]
fn who_may_not_open_the_device_has_the_finer_statistics() {
    let report = Report::since_load(&sample(None, Some(PROFILE), Instant::now()));
    assert_eq!(VIEW.once(&report), VIEW.once(&total()));
    let value = serde_json::to_value(json::document(&report)).unwrap();
    assert!(value["abi"].is_null());
    assert_eq!(value["counters"]["requests_submitted"], 1200);
}

#[test]
fn restarted_counters_are_reported() {
    let now = Instant::now();
    let (before, after) = (sample(Some(TEXT), Some(LATER), now), sample(Some(TEXT), Some(PROFILE), now));
    let report = Report::between(&before, &after);
    assert!(report.restarted);
    assert_eq!(report.requests(), 1200);
    let text = VIEW.again(&report, &mut heads());
    assert!(text.starts_with("(the counters restarted"), "{text}");
    assert!(!VIEW.again(&report, &mut heads()).contains("-1"));
    // An old driver's as well.
    let before = sample(Some(TEXT), None, now);
    let after = sample(Some(&TEXT.replace("1200", "3")), None, now);
    assert!(Report::between(&before, &after).restarted);
}

#[test]
fn colours_are_removed_from_scripted_output() {
    assert!(VIEW.again(&total(), &mut heads()).contains('\u{1b}'));
    assert!(!SCRIPT.once(&total()).contains('\u{1b}'));
}

#[test]
fn prometheus_gets_its_format() {
    let text = prometheus::text(&total());
    exposition::check(&text);
    insta::assert_snapshot!(text);
    let old = Report::since_load(&sample(Some(TEXT), None, Instant::now()));
    exposition::check(&prometheus::text(&old));
}

mod dashboard;
mod exposition;
