// SPDX-License-Identifier: CECILL-B
//! Which kernels the archive offers, and what a series or a release stands for.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};

/// Debian's name for the kernels of this machine type; `cloud-amd64` and `rt-amd64` are others.
const FLAVOUR: &str = "amd64";

/// First series whose Debian kernels are built with Rust and could carry the driver.
const FIRST_WITH_RUST: &str = "7.2";

/// A kernel that can be installed and built for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// As `uname -r` says it, such as `7.2.12+deb13-amd64`.
    pub release: String,
    /// Its series, such as `7.2`.
    pub series: String,
    /// Version of its packages.
    pub version: String,
    /// Packages that make it boot, with versions as apt-get takes them.
    pub image: Vec<String>,
    /// Packages needed to build modules for it.
    pub headers: Vec<String>,
    /// The package of its source, where it has one of the very same version.
    pub source: Option<String>,
    /// The packages that follow the newest kernel, where they stand at this one: what an administrator asks for.
    pub meta: Vec<String>,
    /// Whether the image is the signed one that machines install.
    pub signed: bool,
}

impl Kernel {
    /// Everything to install for booting it and building for it.
    pub fn packages(&self) -> Vec<String> {
        let mut all = self.image.clone();
        all.extend(self.headers.iter().cloned());
        all.extend(self.source.iter().cloned());
        all.extend(self.meta.iter().cloned());
        all
    }
}

/// Orders releases as versions, not as text: 7.2.9 comes before 7.2.12.
pub fn compare(left: &str, right: &str) -> Ordering {
    numbers(left).cmp(&numbers(right)).then_with(|| left.cmp(right))
}

/// The upstream numbers at the start of a release or series.
fn numbers(release: &str) -> Vec<u32> {
    release
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .next()
        .unwrap_or_default()
        .split('.')
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// `7.2` of `7.2.12+deb13-amd64`.
fn series_of(release: &str) -> String {
    let numbers = numbers(release);
    let two: Vec<String> = numbers.iter().take(2).map(u32::to_string).collect();
    two.join(".")
}

/// One paragraph of the lists, as far as it matters here.
struct Entry<'a> {
    version: &'a str,
    depends: &'a str,
}

/// The kernels a text of package paragraphs offers, oldest first.
pub fn offered(text: &str) -> Vec<Kernel> {
    let mut packages: BTreeMap<&str, Vec<Entry<'_>>> = BTreeMap::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if let (Some(name), Some(version)) = (field("Package"), field("Version")) {
            let depends = field("Depends").unwrap_or_default();
            packages.entry(name).or_default().push(Entry { version, depends });
        }
    }
    let has = |name: &str, version: &str| {
        packages.get(name).is_some_and(|entries| entries.iter().any(|entry| entry.version == version))
    };
    let mut kernels = Vec::new();
    for (name, entries) in &packages {
        let Some(release) = name.strip_prefix("linux-headers-") else {
            continue;
        };
        if !is_release(release) {
            continue;
        }
        for entry in entries {
            let version = entry.version;
            let signed = signed_image(&packages, release, version, has);
            let Some(image) = signed.clone().or_else(|| unsigned_image(release, version, has)) else {
                continue;
            };
            let series = series_of(release);
            let source = format!("linux-source-{series}");
            let meta: Vec<String> = ["image", "headers"].iter().map(|part| format!("linux-{part}-{FLAVOUR}")).collect();
            let at_this = signed.is_some() && meta.iter().all(|meta| has(meta, version));
            kernels.push(Kernel {
                meta: if at_this { meta.iter().map(|meta| format!("{meta}={version}")).collect() } else { Vec::new() },
                release: release.to_owned(),
                version: version.to_owned(),
                image,
                headers: vec![format!("{name}={version}")],
                // Before there was Rust in it, nothing of the source is needed.
                source: (compare(&series, FIRST_WITH_RUST) != Ordering::Less && has(&source, version))
                    .then(|| format!("{source}={version}")),
                signed: signed.is_some(),
                series,
            });
        }
    }
    // A release may be there in several package versions: the one listed last is the newest.
    kernels
        .sort_by(|left, right| compare(&left.release, &right.release).then_with(|| left.version.cmp(&right.version)));
    kernels.dedup_by(|later, earlier| {
        let same = later.release == earlier.release;
        if same {
            std::mem::swap(later, earlier);
        }
        same
    });
    kernels
}

/// `7.2.12+deb13-amd64` is one, `7.2.12+deb13-common` and `amd64` are not.
fn is_release(text: &str) -> bool {
    let Some(rest) = text.strip_suffix(FLAVOUR) else {
        return false;
    };
    let Some(abi) = rest.strip_suffix('-') else {
        return false;
    };
    // Another flavour, such as cloud, would leave one more dash.
    numbers(text).len() >= 2 && !abi.contains('-')
}

/// The image machines install, if all that it needs of its own kernel is in the archive too.
fn signed_image(
    packages: &BTreeMap<&str, Vec<Entry<'_>>>,
    release: &str,
    version: &str,
    has: impl Fn(&str, &str) -> bool,
) -> Option<Vec<String>> {
    let name = format!("linux-image-{release}");
    let image = packages.get(name.as_str())?.iter().find(|entry| entry.version == version)?;
    let complete = image.depends.split(',').all(|dependency| {
        let mut words = dependency.split_whitespace();
        let needed = words.next().unwrap_or_default();
        !needed.ends_with(release) || dependency.contains('|') || has(needed, version)
    });
    complete.then(|| vec![format!("{name}={version}")])
}

/// The same kernel before it was signed: it reaches the archive some days earlier.
fn unsigned_image(release: &str, version: &str, has: impl Fn(&str, &str) -> bool) -> Option<Vec<String>> {
    let parts: Vec<String> = ["linux-binary-unsigned", "linux-modules", "linux-base"]
        .iter()
        .map(|part| format!("{part}-{release}"))
        .collect();
    parts.iter().all(|part| has(part, version)).then(|| parts.iter().map(|part| format!("{part}={version}")).collect())
}

/// The kernel that `wanted` means: a release by its full name, or the newest of a series.
pub fn resolve<'a>(offered: &'a [Kernel], wanted: &str) -> Result<&'a Kernel> {
    let found = offered.iter().rev().find(|kernel| kernel.release == wanted || kernel.series == wanted);
    match found {
        Some(kernel) => Ok(kernel),
        None => bail!("the archive does not offer kernel {wanted}; it offers {}", summary(offered)),
    }
}

/// All series with their newest release, for messages.
fn summary(offered: &[Kernel]) -> String {
    let series: BTreeSet<&str> = offered.iter().map(|kernel| kernel.series.as_str()).collect();
    let mut series: Vec<&str> = series.into_iter().collect();
    series.sort_by(|left, right| compare(left, right));
    let all: Vec<String> = series
        .into_iter()
        .map(|series| {
            let releases: Vec<&str> =
                offered.iter().filter(|kernel| kernel.series == series).map(|kernel| kernel.release.as_str()).collect();
            format!("{series} ({})", releases.join(", "))
        })
        .collect();
    if all.is_empty() {
        "no kernel at all".to_owned()
    } else {
        all.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the archive looks like: complete, incomplete, unsigned only, and other flavours.
    fn sample() -> String {
        let mut text = String::new();
        let mut add = |name: &str, version: &str, depends: &str| {
            text.push_str(&format!("Package: {name}\nVersion: {version}\nDepends: {depends}\n\n"));
        };
        for point in ["9", "12"] {
            let (release, version) = (format!("7.2.{point}+deb13-amd64"), format!("7.2.{point}-1"));
            let depends =
                format!("initramfs-tools, linux-binary-{release} (= {version}), linux-modules-{release} (= {version})");
            add(&format!("linux-image-{release}"), &version, &depends);
            for part in ["binary", "modules", "base", "headers"] {
                add(&format!("linux-{part}-{release}"), &version, "libc6");
            }
            add("linux-source-7.2", &version, "xz-utils");
        }
        for part in ["binary-unsigned", "modules", "base", "headers"] {
            add(&format!("linux-{part}-7.3.4+deb13-amd64"), "7.3.4-1", "libc6");
        }
        add("linux-source-7.3", "7.3.4-1", "xz-utils");
        add("linux-headers-7.3.4+deb13-cloud-amd64", "7.3.4-1", "libc6");
        add("linux-headers-7.3.4+deb13-common", "7.3.4-1", "libc6");
        add("linux-headers-amd64", "7.2.12-1", "libc6");
        add("linux-image-amd64", "7.2.12-1", "libc6");
        // Headers without any image: being built, or on its way out.
        add("linux-headers-7.1.3+deb13-amd64", "7.1.3-1", "libc6");
        add("linux-headers-6.12.94+deb13-amd64", "6.12.94-1", "libc6");
        add("linux-image-6.12.94+deb13-amd64", "6.12.94-1", "kmod, linux-base (>= 4)");
        text
    }

    #[test]
    fn a_series_is_its_newest_release() {
        let offered = offered(&sample());
        let kernel = resolve(&offered, "7.2").expect("offered");
        assert_eq!(kernel.release, "7.2.12+deb13-amd64");
        assert!(kernel.signed);
        assert_eq!(kernel.source.as_deref(), Some("linux-source-7.2=7.2.12-1"));
        assert_eq!(kernel.image, ["linux-image-7.2.12+deb13-amd64=7.2.12-1"]);
        assert_eq!(kernel.meta, ["linux-image-amd64=7.2.12-1", "linux-headers-amd64=7.2.12-1"]);
    }

    #[test]
    fn an_exact_release_is_taken_with_its_own_source() {
        let offered = offered(&sample());
        let kernel = resolve(&offered, "7.2.9+deb13-amd64").expect("offered");
        assert_eq!(kernel.source.as_deref(), Some("linux-source-7.2=7.2.9-1"));
    }

    #[test]
    fn an_unsigned_kernel_serves_until_the_signed_one_is_there() {
        let offered = offered(&sample());
        let kernel = resolve(&offered, "7.3").expect("offered");
        assert!(!kernel.signed);
        assert_eq!(kernel.image.len(), 3);
        assert!(kernel.meta.is_empty());
    }

    #[test]
    fn a_kernel_without_rust_can_be_asked_for() {
        let offered = offered(&sample());
        assert_eq!(resolve(&offered, "6.12").expect("offered").source, None);
    }

    #[test]
    fn what_has_left_is_a_clear_error() {
        let error = resolve(&offered(&sample()), "7.1").expect_err("gone").to_string();
        assert!(error.contains("7.1") && error.contains("7.2.12+deb13-amd64"), "{error}");
        assert!(resolve(&offered(&sample()), "7").is_err());
    }

    #[test]
    fn versions_are_not_sorted_as_text() {
        assert_eq!(compare("7.2.9+deb13-amd64", "7.2.12+deb13-amd64"), Ordering::Less);
        assert_eq!(compare("6.12", "7.2"), Ordering::Less);
        assert_eq!(compare("7.10", "7.9"), Ordering::Greater);
    }
}
