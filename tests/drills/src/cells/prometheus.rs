// SPDX-License-Identifier: CECILL-B
//! Statistics for Prometheus: knem-stat.timer writes them, and the distribution's own node exporter serves them.

use std::collections::BTreeMap;

use anyhow::{bail, ensure, Context, Result};
use knem_lab::vm::image::Without;
use knem_lab::vm::Options;

use crate::drill::Drill;
use crate::machine::{options, Machine};
use crate::said::Said;
use crate::site::Site;

pub(crate) const DRILLS: &[Drill] = &[Drill {
    id: "S8",
    name: "node-exporter",
    claim: "knem-stat.timer, once enabled, writes for prometheus-node-exporter, which serves all values; without the driver it writes no file",
    fast: false,
    run: exported,
}];

const FILE: &str = "/var/lib/prometheus/node-exporter/knem.prom";

/// Waits until the exporter serves the file.
const SERVED: &str = "for second in $(seq 60); do
        curl -s http://localhost:9100/metrics >/tmp/served
        ! grep -q ^knem_info /tmp/served || break
        sleep 1
    done
    grep ^knem_ /tmp/served";

/// Another directory, which does not exist at first.
const ELSEWHERE: &str = "mkdir -p /etc/systemd/system/knem-stat.service.d
    printf '[Service]\\nEnvironment=DIRECTORY=/opt/textfiles\\n' >/etc/systemd/system/knem-stat.service.d/site.conf
    systemctl daemon-reload
    systemctl start knem-stat.service && exit 9
    journalctl -u knem-stat.service | cat
    mkdir /opt/textfiles && systemctl start knem-stat.service && ls /opt/textfiles";

fn exported(site: &Site) -> Result<()> {
    let kernel = site.kernel("6.12")?;
    let machine = Machine::above(site, &site.installed(kernel)?)?;
    machine.inside(|shell| shell.install(&["prometheus-node-exporter", "curl"]).map(|_| ()))?;
    let image = machine.image(kernel, Without::Building)?;
    let units = "/usr/lib/systemd/system/knem-stat";
    let verify = format!("systemd-analyze verify --man=no {units}.service {units}.timer 2>&1 | grep knem-stat");
    let enable = format!(
        "systemctl enable --quiet --now knem-stat.timer && for second in $(seq 60); do [ ! -e {FILE} ] || break; sleep 1; done; stat -c '%a %U' {FILE}"
    );
    let gone =
        format!("rmmod knem && systemctl start knem-stat.service && ls -A {}", FILE.trim_end_matches("/knem.prom"));
    let commands = [
        "systemctl is-enabled knem-stat.timer",
        &verify,
        "knem bench --sizes 64K,1M",
        &enable,
        SERVED,
        "knem stat --prometheus",
        "systemctl show -p Result -p NRestarts knem-stat.service",
        ELSEWHERE,
        "rm -r /etc/systemd/system/knem-stat.service.d && systemctl daemon-reload",
        &gone,
        "dpkg --remove knem-tools && ls /etc/systemd/system/timers.target.wants; systemctl is-active knem-stat.timer",
    ];
    let report = machine.boot_image(&image, &commands, &Options { systemd: true, ..options() })?;
    let said: &[Said; 11] = report.said.as_slice().try_into().context("the machine ran another number of commands")?;
    let [off, verify, bench, enable, served, printed, result, elsewhere, back, gone, removed] = said;
    off.demand(1)?.must_be("disabled")?;
    // grep found no complaint about the package's units.
    verify.demand(1)?.must_be("")?;
    bench.demand(0)?.must_say("verified")?;
    enable.demand(0)?.must_be("644 root")?;
    compare(&series(&served.demand(0)?.text)?, &series(&printed.demand(0)?.text)?)?;
    result.demand(0)?.must_say("Result=success")?;
    elsewhere.demand(0)?.must_say("set DIRECTORY to the directory of the node exporter")?.must_say("knem.prom")?;
    back.demand(0)?;
    gone.demand(0)?.must_not_say("knem.prom")?;
    removed.demand(3)?.must_not_say("knem-stat")?.must_say("inactive")?;
    Ok(())
}

/// Returns values by their names and labels, in the order of their names, regardless of the order in the text.
fn series(text: &str) -> Result<BTreeMap<String, f64>> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("knem_")) {
        let (name, value) = line.rsplit_once(' ').context("a value")?;
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        labels.sort_unstable();
        found.insert(format!("{name} {}", normal(&labels)), value.parse().context("a number")?);
    }
    Ok(found)
}

/// Returns labels with bounds in one notation: 0.000000127 and 1.27e-07 are the same.
fn normal(labels: &[&str]) -> String {
    let bound = |label: &str| label.strip_prefix("le=\"")?.strip_suffix('"')?.parse::<f64>().ok();
    let one = |label: &&str| bound(label).map_or_else(|| (*label).to_owned(), |bound| format!("le={bound:e}"));
    labels.iter().map(one).collect::<Vec<_>>().join(",")
}

/// Fails unless the exporter serves each value that the command prints, and no other; and the histograms are whole.
fn compare(served: &BTreeMap<String, f64>, printed: &BTreeMap<String, f64>) -> Result<()> {
    for (name, value) in printed {
        let Some(other) = served.get(name) else {
            bail!("{name} is not served");
        };
        // Time passes between the two.
        ensure!(
            other == value || name.starts_with("knem_counting_seconds"),
            "{name} is served as {other}, not {value}"
        );
    }
    for name in served.keys() {
        ensure!(printed.contains_key(name), "{name} is served and was never printed");
    }
    let value = |name: &str| served.get(name).copied().with_context(|| format!("{name} is missing"));
    let mut copies = 0.0;
    for path in ["mapped", "pinned", "thread", "dma"] {
        let path = format!("path=\"{path}\"");
        let count = value(&format!("knem_copy_size_bytes_count {path}"))?;
        ensure!(
            value(&format!("knem_copy_size_bytes_bucket le=inf,{path}"))? == count,
            "{path}: another count than +Inf"
        );
        let sum = value(&format!("knem_copy_size_bytes_sum {path}"))?;
        ensure!(sum == value(&format!("knem_copied_bytes_total {path}"))?, "{path}: the sum is {sum}");
        ensure!((count == 0.0) == (sum == 0.0), "{path}: {count} copies of {sum} bytes");
        copies += count;
    }
    ensure!(copies > 0.0, "nothing was copied");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "knem_copies_bucket{path=\"a\",le=\"0.000000127\"} 1\nknem_contexts 2\n";

    #[test]
    fn series_are_the_same_in_another_order_and_notation() {
        let served =
            series("# HELP\nknem_contexts 2\nknem_copies_bucket{le=\"1.27e-07\",path=\"a\"} 1\n").expect("read");
        assert_eq!(served, series(PRINTED).expect("read"));
    }

    #[test]
    fn a_sum_that_nobody_printed_is_found() {
        let served = series(&format!("{PRINTED}knem_copies_sum{{path=\"a\"}} 0\n")).expect("read");
        let error = compare(&served, &series(PRINTED).expect("read")).expect_err("another value").to_string();
        assert!(error.contains("knem_copies_sum"), "{error}");
    }
}
