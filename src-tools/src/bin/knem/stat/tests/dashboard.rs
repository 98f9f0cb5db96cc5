// SPDX-License-Identifier: CECILL-B
//! The dashboard for Grafana that is shipped asks for nothing that is not exported.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use super::{prometheus, total};

/// Each text below a key, wherever it is.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(key).and_then(Value::as_str));
            map.values().for_each(|value| texts(value, key, found));
        }
        Value::Array(list) => list.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

#[test]
fn each_name_and_label_of_the_dashboard_is_exported() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/monitoring/grafana-knem.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("readable")).expect("JSON");
    let exported = prometheus::text(&total());
    let names = Regex::new(r"knem_\w+").expect("an expression");
    let series: BTreeSet<&str> = exported
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(names.find(line)?.as_str()))
        .collect();
    let mut asked = Vec::new();
    for key in ["expr", "query", "definition"] {
        texts(&dashboard, key, &mut asked);
    }
    let by = Regex::new(r"by \(([^)]*)\) \(*(?:rate\()?(knem_\w+)").expect("an expression");
    let mut found = BTreeSet::new();
    for query in asked {
        for name in names.find_iter(query).filter(|_| query.contains('(')).map(|name| name.as_str()) {
            assert!(series.contains(name), "{name} is not exported: {query}");
            found.insert(name);
        }
        for groups in by.captures_iter(query) {
            let (labels, name) = (&groups[1], &groups[2]);
            for label in labels.split(", ").filter(|label| *label != "instance") {
                let line = exported.lines().find(|line| line.starts_with(&format!("{name}{{")));
                assert!(line.is_some_and(|line| line.contains(&format!("{label}=\""))), "{name} has no label {label}");
            }
        }
    }
    assert!(found.len() > 10, "the dashboard was read: {found:?}");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "panels have numbers of their own");
}
