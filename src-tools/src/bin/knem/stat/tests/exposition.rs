// SPDX-License-Identifier: CECILL-B
//! A checker of Prometheus' text format, and of the rules that `promtool check metrics` has for names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

/// A line with a value.
struct Line<'a> {
    name: &'a str,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads the text with Prometheus' own library for Python, strictly, and prints each value that it found.
const CLIENT: &str = "
import sys
from prometheus_client.parser import text_string_to_metric_families as families
for family in families(sys.stdin.read()):
    assert family.type in ('counter', 'gauge', 'histogram'), family
    for sample in family.samples:
        print(sample.name, len(sample.labels), sample.value)
";

/// Panics if Prometheus' library reads other values than there are lines. `make check` installs the library.
fn read_by_the_client(text: &str) {
    let mut client = Command::new("/usr/bin/python3");
    let known = client.args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !known.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3-prometheus-client is not installed");
        eprintln!("skipped: python3-prometheus-client is not installed");
        return;
    }
    let mut client = Command::new("/usr/bin/python3");
    let client = client.args(["-c", CLIENT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().expect("python3");
    client.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("read");
    let output = client.wait_with_output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = String::from_utf8(output.stdout).expect("text");
    let found = found.lines().map(|line| {
        let mut words = line.split(' ');
        let name = words.next().expect("a name").to_owned();
        let labels: usize = words.next().and_then(|count| count.parse().ok()).expect("a number of labels");
        (name, labels, words.next().and_then(|value| value.parse::<f64>().ok()).expect("a value"))
    });
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(parse);
    assert!(found.eq(lines.map(|line| (line.name.to_owned(), line.labels.len(), line.value))), "{text}");
}

/// Panics at what is wrong.
pub(crate) fn check(text: &str) {
    read_by_the_client(text);
    assert!(text.ends_with('\n'), "the last line ends");
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut helped: BTreeSet<&str> = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut histograms: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    let mut current = "";
    for text in text.lines() {
        if let Some(help) = text.strip_prefix("# HELP ") {
            let (name, sentence) = help.split_once(' ').expect("a sentence");
            assert!(helped.insert(name), "{name} is described once");
            assert!(!sentence.is_empty());
            current = name;
        } else if let Some(kind) = text.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert_eq!(name, current, "the type stands below the description");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            types.insert(name, kind);
        } else {
            let line = parse(text);
            let kind = types.get(current).copied().expect("a type");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| line.name.strip_suffix(end));
            let family = family.filter(|_| kind == "histogram").unwrap_or(line.name);
            assert_eq!(family, current, "a family is in one place");
            assert!(line.value >= 0.0, "{text}");
            assert!(seen.insert((line.name.to_owned(), format!("{:?}", line.labels))), "{text} is there twice");
            let mut labels = line.labels.clone();
            let bound = labels.remove("le");
            let series = format!("{family} {labels:?}");
            match (kind, line.name.strip_prefix(family)) {
                ("histogram", Some("_bucket")) => {
                    let bound = bound.expect("a bound");
                    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a number") };
                    histograms.entry(series).or_default().push((bound, line.value));
                }
                ("histogram", Some("_count")) => {
                    counts.insert(series, line.value);
                }
                // Counters with the labels of buckets, but without a name that makes Prometheus look for a sum.
                ("counter", _) if bound.is_some() => assert!(family.ends_with("_cumulative_total"), "{text}"),
                _ => assert!(bound.is_none(), "{text}"),
            }
        }
    }
    for (name, _) in types.iter().filter(|(_, kind)| **kind == "histogram") {
        assert!(seen.iter().any(|(line, _)| *line == format!("{name}_sum")), "{name} has a sum");
    }
    assert_eq!(types.keys().copied().collect::<BTreeSet<_>>(), helped);
    for (series, buckets) in &histograms {
        assert!(
            buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1),
            "{series}: {buckets:?}"
        );
        let (last, count) = buckets.last().expect("a bucket");
        assert!(last.is_infinite(), "{series}");
        assert_eq!(counts.get(series), Some(count), "{series}");
    }
}

fn parse(line: &str) -> Line<'_> {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("a closing brace")),
    };
    assert!(name.starts_with("knem_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
        let (key, value) = label.split_once('=').expect("a label");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("quotes");
        assert!(key.chars().all(|c| c.is_ascii_lowercase()), "{key}");
        assert!(!value.contains('"'), "{line}");
        (key.to_owned(), value.to_owned())
    });
    Line { name, labels: labels.collect(), value: value.parse().expect("a number") }
}
