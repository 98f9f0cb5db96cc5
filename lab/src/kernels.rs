// SPDX-License-Identifier: CECILL-B
//! The kernels in the archive, and the lookup of a kernel by series or release.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, Result};

use crate::archive::DISTRIBUTIONS;

/// The kernels' flavours, as Debian names them: the ordinary one, for virtual machines, and with PREEMPT_RT.
const FLAVOURS: [&str; 3] = ["amd64", "cloud-amd64", "rt-amd64"];

/// First series whose Debian kernels are built with Rust and could carry the driver.
const FIRST_WITH_RUST: &str = "7.2";

/// A kernel that can be installed and built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// As `uname -r` prints it, such as `7.2.12+deb13-amd64`.
    pub release: String,
    /// Its series, such as `7.2`.
    pub series: String,
    /// Its flavour, such as `amd64` or `rt-amd64`.
    pub flavour: &'static str,
    /// The distribution whose userland it runs with, such as `trixie`.
    pub distribution: &'static str,
    /// The suite that has its packages, such as `trixie-backports`.
    pub suite: String,
    /// Version of its packages.
    pub version: String,
    /// Packages that make it boot, with versions as apt-get takes them.
    pub image: Vec<String>,
    /// Packages needed to build modules for it.
    pub headers: Vec<String>,
    /// The package of its source, where it has one of the very same version.
    pub source: Option<String>,
    /// The packages that depend on the newest kernel, where that is this one: what an administrator installs.
    pub meta: Vec<String>,
    /// Whether the image is the signed one that machines install.
    pub signed: bool,
}

impl Kernel {
    /// Packages of the image, of the headers, and metapackages.
    pub fn packages(&self) -> Vec<String> {
        [self.image.as_slice(), &self.headers, &self.meta].concat()
    }

    /// Whether it is built with CONFIG_RUST.
    pub fn has_rust(&self) -> bool {
        compare(&self.series, FIRST_WITH_RUST) != Ordering::Less
    }

    /// The suite to prefer for what the kernel's packages depend on, if that is not the distribution itself.
    pub fn backports(&self) -> Option<&str> {
        self.suite.ends_with("-backports").then_some(self.suite.as_str())
    }
}

/// Orders releases as versions, not as text: 7.2.9 comes before 7.2.12, and 5.10.0-9 before 5.10.0-32.
pub fn compare(left: &str, right: &str) -> Ordering {
    numbers(left).cmp(&numbers(right)).then_with(|| left.cmp(right))
}

/// All numbers in a release or series.
fn numbers(release: &str) -> Vec<u32> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

/// `7.2` of `7.2.12+deb13-amd64`.
fn series_of(release: &str) -> String {
    let two: Vec<String> = numbers(release).iter().take(2).map(u32::to_string).collect();
    two.join(".")
}

/// One paragraph of the lists, as far as it matters here.
struct Entry<'a> {
    suite: &'a str,
    version: &'a str,
    depends: &'a str,
}

/// The kernels that a distribution's package paragraphs offer, oldest first.
pub fn offered(distribution: &'static str, text: &str) -> Vec<Kernel> {
    let mut packages: BTreeMap<&str, Vec<Entry<'_>>> = BTreeMap::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if let (Some(name), Some(version)) = (field("Package"), field("Version")) {
            let depends = field("Depends").unwrap_or_default();
            let suite = field("Suite").unwrap_or_default();
            packages.entry(name).or_default().push(Entry { suite, version, depends });
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
        let Some(flavour) = flavour_of(release) else {
            continue;
        };
        for entry in entries {
            let version = entry.version;
            let signed = signed_image(&packages, release, version, has);
            let Some(image) = signed.clone().or_else(|| unsigned_image(release, version, has)) else {
                continue;
            };
            let series = series_of(release);
            let source = format!("linux-source-{series}");
            let meta: Vec<String> = ["image", "headers"].iter().map(|part| format!("linux-{part}-{flavour}")).collect();
            let at_this = signed.is_some() && meta.iter().all(|meta| has(meta, version));
            kernels.push(Kernel {
                meta: if at_this { meta.iter().map(|meta| format!("{meta}={version}")).collect() } else { Vec::new() },
                release: release.to_owned(),
                flavour,
                distribution,
                suite: entry.suite.to_owned(),
                version: version.to_owned(),
                image,
                headers: vec![format!("{name}={version}")],
                // Without Rust the source is not needed.
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

/// `rt-amd64` of `7.2.12+deb13-rt-amd64`; nothing for what is no release, such as `7.2.12+deb13-common` and `amd64`.
fn flavour_of(text: &str) -> Option<&'static str> {
    FLAVOURS.into_iter().rev().find(|flavour| {
        let Some(abi) = text.strip_suffix(flavour).and_then(|rest| rest.strip_suffix('-')) else {
            return false;
        };
        // Only a number may follow a dash, as in `6.1.0-50`: `rt` does not belong to the ABI.
        let dashes = abi.split('-').skip(1).all(|part| part.starts_with(|c: char| c.is_ascii_digit()));
        abi.starts_with(|c: char| c.is_ascii_digit()) && numbers(abi).len() >= 2 && dashes
    })
}

/// Returns the signed image that machines install, if its dependencies of the same kernel are in the archive too.
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

/// Returns the unsigned image, which is in the archive some days earlier.
fn unsigned_image(release: &str, version: &str, has: impl Fn(&str, &str) -> bool) -> Option<Vec<String>> {
    let parts: Vec<String> = ["linux-binary-unsigned", "linux-modules", "linux-base"]
        .iter()
        .map(|part| format!("{part}-{release}"))
        .collect();
    parts.iter().all(|part| has(part, version)).then(|| parts.iter().map(|part| format!("{part}={version}")).collect())
}

/// The kernel that `wanted` means: a release by its full name, or the newest of a series, in the newest distribution
/// that has one. `6.12-rt` is a flavour of a series.
pub fn resolve<'a>(offered: &'a [Kernel], wanted: &str) -> Result<&'a Kernel> {
    if let Some(kernel) = offered.iter().find(|kernel| kernel.release == wanted) {
        return Ok(kernel);
    }
    let (series, flavour) = match wanted.split_once('-') {
        Some((series, flavour)) => (series, format!("{flavour}-amd64")),
        None => (wanted, "amd64".to_owned()),
    };
    let age = |kernel: &Kernel| DISTRIBUTIONS.iter().position(|known| known.name == kernel.distribution);
    // Of several that are equal the last is taken.
    let found = offered
        .iter()
        .filter(|kernel| kernel.series == series && kernel.flavour == flavour)
        .max_by_key(|kernel| age(kernel));
    match found {
        Some(kernel) => Ok(kernel),
        None => bail!("the archive does not offer kernel {wanted}; it offers {}", summary(offered)),
    }
}

/// All series with their releases of the ordinary flavour, for messages.
fn summary(offered: &[Kernel]) -> String {
    let series: BTreeSet<&str> = offered.iter().map(|kernel| kernel.series.as_str()).collect();
    let mut series: Vec<&str> = series.into_iter().collect();
    series.sort_by(|left, right| compare(left, right));
    let all: Vec<String> = series
        .into_iter()
        .map(|series| {
            let releases: Vec<&str> = offered
                .iter()
                .filter(|kernel| kernel.series == series && kernel.flavour == FLAVOURS[0])
                .map(|kernel| kernel.release.as_str())
                .collect();
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
            let suite = if version.starts_with('7') { "trixie-backports" } else { "trixie" };
            text.push_str(&format!("Package: {name}\nVersion: {version}\nDepends: {depends}\nSuite: {suite}\n\n"));
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
        for release in ["6.12.94+deb13-rt-amd64", "6.12.94+deb13-cloud-amd64"] {
            add(&format!("linux-headers-{release}"), "6.12.94-1", "libc6");
            add(&format!("linux-image-{release}"), "6.12.94-1", "kmod, linux-base (>= 4)");
        }
        text
    }

    /// Kernels with the names that other distributions give them.
    fn older() -> Vec<Kernel> {
        let text = |suite: &str, releases: &[&str]| -> String {
            let paragraph = |release: &&str| {
                format!(
                    "Package: linux-headers-{release}\nVersion: 1\nSuite: {suite}\n\n\
                     Package: linux-image-{release}\nVersion: 1\nDepends: kmod\nSuite: {suite}\n\n"
                )
            };
            releases.iter().map(paragraph).collect()
        };
        let mut all = offered("bullseye", &text("bullseye", &["5.10.0-9-amd64", "5.10.0-32-amd64"]));
        all.extend(offered("bookworm", &text("bookworm", &["6.1.0-50-amd64", "6.1.0-50-rt-amd64"])));
        all.extend(offered("bookworm", &text("bookworm-backports", &["6.12.117+deb12-amd64"])));
        all
    }

    fn all() -> Vec<Kernel> {
        let mut all = older();
        all.extend(offered("trixie", &sample()));
        all
    }

    #[test]
    fn a_series_is_of_the_newest_distribution() {
        let all = all();
        let release = |wanted: &str| resolve(&all, wanted).map(|kernel| kernel.release.as_str()).ok();
        assert_eq!(release("6.12"), Some("6.12.94+deb13-amd64"));
        assert_eq!(release("6.12.117+deb12-amd64"), Some("6.12.117+deb12-amd64"));
        assert_eq!(release("6.12-rt"), Some("6.12.94+deb13-rt-amd64"));
        assert_eq!(release("6.1-rt"), Some("6.1.0-50-rt-amd64"));
        assert_eq!(release("6.1-cloud"), None);
        assert_eq!(release("5.10"), Some("5.10.0-32-amd64"));
        let kernel = resolve(&all, "6.12.117+deb12-amd64").expect("offered");
        assert_eq!((kernel.distribution, kernel.backports()), ("bookworm", Some("bookworm-backports")));
        assert!(!kernel.has_rust() && resolve(&all, "7.2").expect("offered").has_rust());
        assert_eq!(resolve(&all, "6.12").expect("offered").backports(), None);
    }

    #[test]
    fn other_packages_of_headers_are_no_releases() {
        for name in
            ["amd64", "rt-amd64", "7.2.12+deb13-common", "6.1.0-50-common-rt", "6.1.0-50-686", "6.1.0-50-x-amd64"]
        {
            assert_eq!(flavour_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_series_is_its_newest_release() {
        let offered = all();
        let kernel = resolve(&offered, "7.2").expect("offered");
        assert_eq!(kernel.release, "7.2.12+deb13-amd64");
        assert!(kernel.signed);
        assert_eq!(kernel.source.as_deref(), Some("linux-source-7.2=7.2.12-1"));
        assert_eq!(kernel.image, ["linux-image-7.2.12+deb13-amd64=7.2.12-1"]);
        assert_eq!(kernel.meta, ["linux-image-amd64=7.2.12-1", "linux-headers-amd64=7.2.12-1"]);
    }

    #[test]
    fn an_exact_release_is_taken_with_its_own_source() {
        let offered = all();
        let kernel = resolve(&offered, "7.2.9+deb13-amd64").expect("offered");
        assert_eq!(kernel.source.as_deref(), Some("linux-source-7.2=7.2.9-1"));
    }

    #[test]
    fn an_unsigned_kernel_serves_until_the_signed_one_is_there() {
        let offered = all();
        let kernel = resolve(&offered, "7.3").expect("offered");
        assert!(!kernel.signed);
        assert_eq!(kernel.image.len(), 3);
        assert!(kernel.meta.is_empty());
    }

    #[test]
    fn a_kernel_without_rust_can_be_asked_for() {
        let offered = all();
        assert_eq!(resolve(&offered, "6.12").expect("offered").source, None);
    }

    #[test]
    fn what_has_left_is_a_clear_error() {
        let error = resolve(&all(), "7.1").expect_err("gone").to_string();
        assert!(error.contains("7.1") && error.contains("7.2.12+deb13-amd64"), "{error}");
        assert!(resolve(&all(), "7").is_err());
    }

    #[test]
    fn versions_are_not_sorted_as_text() {
        assert_eq!(compare("7.2.9+deb13-amd64", "7.2.12+deb13-amd64"), Ordering::Less);
        assert_eq!(compare("6.12", "7.2"), Ordering::Less);
        assert_eq!(compare("7.10", "7.9"), Ordering::Greater);
    }
}
