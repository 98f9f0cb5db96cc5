// SPDX-License-Identifier: CECILL-B
//! The Debian archive: the mirror, and a verified copy of the current package lists of each distribution.
//!
//! The mirror comes from the machine's own apt configuration, or from `KNEM_MIRROR`. The lists are fetched by the
//! machine's apt into separate directories, so that apt handles signatures, proxies and credentials. They are then kept
//! as immutable snapshots that every chroot reads, so that the resolved versions are those that are installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{bail, Context, Result};

use crate::cache::Cache;
use crate::host;
use crate::run;

/// A Debian release: its userland, and the suites of the archive that its kernels come from.
#[derive(Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Its code name.
    pub name: &'static str,
    /// Its suites, the main one first.
    pub suites: &'static [&'static str],
}

/// The releases that kernels are taken from, oldest first. A mirror may have dropped an old one; it must have the
/// newest.
pub const DISTRIBUTIONS: [Distribution; 3] = [
    Distribution { name: "bullseye", suites: &["bullseye"] },
    Distribution { name: "bookworm", suites: &["bookworm", "bookworm-backports"] },
    Distribution { name: NEWEST, suites: &[NEWEST, "trixie-updates", BACKPORTS] },
];

/// The release that packages are built and checked in.
pub const NEWEST: &str = "trixie";

/// The suite of the newest kernels.
pub const BACKPORTS: &str = "trixie-backports";

/// Part of the snapshots' keys. Raise it when their contents change.
const RECIPE: &str = "2";

/// Age up to which a copy of the lists is current.
const FRESH: Duration = Duration::from_secs(6 * 3600);

/// Snapshots of the archive's package lists.
#[derive(Debug)]
pub struct Archive {
    /// One for each distribution that the mirror has, oldest first.
    lists: Vec<Lists>,
}

/// A snapshot of the package lists of one distribution.
#[derive(Debug)]
pub struct Lists {
    /// The distribution.
    pub distribution: &'static Distribution,
    mirror: String,
    /// The snapshot: `lists/` as apt keeps them, `linux` the paragraphs of all kernel packages.
    snapshot: PathBuf,
}

impl Archive {
    /// Today's snapshots, or the last known ones if the archive cannot be reached.
    ///
    /// # Errors
    /// When there is neither for the newest distribution. Without an older one, its kernels are missing.
    pub fn open(cache: &Cache) -> Result<Self> {
        let mirror = match env::var("KNEM_MIRROR") {
            Ok(mirror) if !mirror.is_empty() => mirror,
            _ => configured_mirror()?,
        };
        let mirror = mirror.trim_end_matches('/');
        host::need(&[host::ARCHIVE_KEYS])?;
        let _lock = cache.lock("archive", "lists")?;
        let mut lists = Vec::new();
        for distribution in &DISTRIBUTIONS {
            match Lists::open(cache, mirror, distribution) {
                Ok(found) => lists.push(found),
                Err(error) if distribution.name != NEWEST => run::step(&format!(
                    "warning: no kernels of {}: its package lists cannot be fetched ({error:#})",
                    distribution.name
                )),
                Err(error) => {
                    return Err(error
                        .context("the Debian archive cannot be reached; another mirror can be given in KNEM_MIRROR"))
                }
            }
        }
        Ok(Self { lists })
    }

    /// The lists of all distributions, oldest first.
    pub fn all(&self) -> &[Lists] {
        &self.lists
    }

    /// The lists of the distribution with this code name.
    ///
    /// # Errors
    /// When the mirror does not have it.
    pub fn of(&self, name: &str) -> Result<&Lists> {
        self.lists
            .iter()
            .find(|lists| lists.distribution.name == name)
            .with_context(|| format!("the archive has no package lists of Debian {name}"))
    }

    /// The distributions that the mirror does not have.
    pub fn missing(&self) -> Vec<&'static str> {
        DISTRIBUTIONS.iter().map(|distribution| distribution.name).filter(|name| self.of(name).is_err()).collect()
    }
}

impl Lists {
    fn open(cache: &Cache, mirror: &str, distribution: &'static Distribution) -> Result<Self> {
        let with = |snapshot: PathBuf| Self { distribution, mirror: mirror.to_owned(), snapshot };
        let home = cache.directory(&format!("archive/{}", distribution.name))?;
        let apt = PrivateApt::new(home, mirror, distribution)?;
        let known = apt.known(cache);
        let fresh = apt.age().is_some_and(|age| age < FRESH);
        if let (true, Some(snapshot)) = (fresh, &known) {
            return Ok(with(snapshot.clone()));
        }
        run::step(&format!("fetching the package lists of Debian {}", distribution.name));
        match (apt.update(), known) {
            (Ok(()), _) => Ok(with(apt.keep(cache)?)),
            (Err(error), Some(snapshot)) => {
                run::step(&format!("warning: the archive cannot be reached, using the last lists ({error:#})"));
                Ok(with(snapshot))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The package lists, in apt's layout.
    pub fn lists(&self) -> PathBuf {
        self.snapshot.join("lists")
    }

    /// The paragraphs of every kernel package of every suite, as text; the field `Suite` is ours.
    pub fn linux_packages(&self) -> Result<String> {
        let path = self.snapshot.join("linux");
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The lines of a sources.list for the mirror.
    pub fn sources(&self) -> String {
        sources(&self.mirror, self.distribution)
    }

    /// Identifies the state of the main suite: the date of its Release file, which changes with a point release.
    pub fn date(&self) -> Result<String> {
        fs::read_to_string(self.snapshot.join("date")).context("the snapshot has no date")
    }
}

/// Options that make an apt elsewhere reach the network as this machine's does.
pub fn proxy_options() -> Result<Vec<String>> {
    let dump = run::output(Command::new("apt-config").arg("dump"))?;
    Ok(dump.lines().filter_map(proxy_option).collect())
}

/// `Acquire::http::Proxy "http://x:1";` becomes `Acquire::http::Proxy=http://x:1`.
fn proxy_option(line: &str) -> Option<String> {
    let (name, value) = line.split_once(' ')?;
    let value = value.trim_end_matches(';').trim_matches('"');
    let mut parts = name.split("::");
    let about = parts.next() == Some("Acquire") && parts.any(|part| part == "Proxy");
    (about && !value.is_empty()).then(|| format!("{name}={value}"))
}

fn sources(mirror: &str, distribution: &Distribution) -> String {
    let line = |suite: &&str| format!("deb [signed-by={}] {mirror} {suite} main\n", host::ARCHIVE_KEYS);
    distribution.suites.iter().map(line).collect::<Vec<_>>().concat()
}

/// Returns the address of this machine's Debian mirror.
fn configured_mirror() -> Result<String> {
    if host::find("apt-get").is_none() {
        bail!("this machine has no apt to learn a Debian mirror from: set KNEM_MIRROR to one");
    }
    let targets = || {
        run::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(CREATED_BY)|$(REPO_URI)|$(ORIGIN)|$(LABEL)|$(RELEASE)",
        ]))
    };
    let mut mirror = pick_mirror(&targets()?);
    if mirror.is_none() {
        // apt lists only what it has fetched, which is nothing on a new machine.
        host::refresh_package_lists()?;
        mirror = pick_mirror(&targets()?);
    }
    mirror
        .context("this machine's apt configuration names no Debian archive: set KNEM_MIRROR to the address of a mirror")
}

/// Picks from apt's index targets: the archive proper of Debian, not its security updates.
fn pick_mirror(text: &str) -> Option<String> {
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('|').collect())
        .filter(|row: &Vec<&str>| row.len() == 5 && row[0] == "Packages")
        .collect();
    let proper = |row: &&Vec<&str>| row[2] == "Debian" && row[3] == "Debian";
    // A mirror may omit the origin: then only the suite's name identifies it.
    let likely = |row: &&Vec<&str>| {
        const RELEASES: [&str; 6] = ["bookworm", "trixie", "forky", "sid", "stable", "unstable"];
        row[2].is_empty() && RELEASES.contains(&row[4])
    };
    rows.iter().find(proper).or_else(|| rows.iter().find(likely)).map(|row| row[1].to_owned())
}

/// The machine's apt in a separate directory, with separate sources.
struct PrivateApt {
    home: PathBuf,
    suites: &'static [&'static str],
}

impl PrivateApt {
    fn new(home: PathBuf, mirror: &str, distribution: &'static Distribution) -> Result<Self> {
        for path in ["lists/partial", "cache", "empty"] {
            fs::create_dir_all(home.join(path))?;
        }
        let wanted = sources(mirror, distribution);
        let file = home.join("sources.list");
        if fs::read_to_string(&file).ok().as_deref() != Some(wanted.as_str()) {
            // Another mirror's lists are not this one's.
            let _ = fs::remove_file(home.join("current"));
            fs::write(&file, wanted)?;
        }
        Ok(Self { home, suites: distribution.suites })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let home = self.home.display();
        for option in [
            format!("Dir::Etc::SourceList={home}/sources.list"),
            format!("Dir::Etc::SourceParts={home}/empty"),
            format!("Dir::State::Lists={home}/lists"),
            format!("Dir::Cache={home}/cache"),
            "Dir::State::Status=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::GzipIndexes=true".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "APT::Update::Error-Mode=any".to_owned(),
            // The unprivileged user of apt may not read a home directory.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }

    fn update(&self) -> Result<()> {
        run::quiet(self.command("apt-get").arg("update"))
    }

    /// Age of the last successful fetch.
    fn age(&self) -> Option<Duration> {
        let time = self.home.join("current").metadata().ok()?.modified().ok()?;
        SystemTime::now().duration_since(time).ok()
    }

    /// Returns the last snapshot, if it still exists.
    fn known(&self, cache: &Cache) -> Option<PathBuf> {
        let key = fs::read_to_string(self.home.join("current")).ok()?;
        cache.find("snapshot", &[RECIPE, &key])
    }

    /// Takes a snapshot of the fetched lists.
    fn keep(&self, cache: &Cache) -> Result<PathBuf> {
        let mut key = String::new();
        let mut date = String::new();
        let lists = self.home.join("lists");
        for (index, suite) in self.suites.iter().enumerate() {
            let release = release_file(&lists, suite)?;
            key.push_str(&release);
            if index == 0 {
                date = release
                    .lines()
                    .find_map(|line| line.strip_prefix("Date: "))
                    .context("the archive's Release file has no date")?
                    .to_owned();
            }
        }
        let path = cache.entry("snapshot", "keeping the package lists", &[RECIPE, &key], |entry| {
            let copy = entry.join("lists");
            fs::create_dir_all(copy.join("partial"))?;
            for file in fs::read_dir(&lists)? {
                let file = file?;
                if file.file_type()?.is_file() && file.file_name() != "lock" {
                    // apt replaces its files by renaming, so a link keeps today's.
                    fs::hard_link(file.path(), copy.join(file.file_name()))?;
                }
            }
            fs::write(entry.join("linux"), self.linux_paragraphs()?)?;
            Ok(fs::write(entry.join("date"), &date)?)
        })?;
        fs::write(self.home.join("current"), &key)?;
        Ok(path)
    }

    /// The paragraphs of all packages named `linux-*`: a small part of lists of many megabytes.
    fn linux_paragraphs(&self) -> Result<String> {
        let files = run::output(self.command("apt-get").args([
            "indextargets",
            "--format",
            "$(RELEASE) $(FILENAME)",
            "Created-By: Packages",
        ]))?;
        let mut kept = String::new();
        for (suite, file) in files.lines().filter_map(|line| line.split_once(' ')) {
            let text = run::output(Command::new("/usr/lib/apt/apt-helper").args(["cat-file", file]))?;
            for paragraph in text.split("\n\n") {
                if paragraph.trim_start().starts_with("Package: linux-") {
                    kept.push_str(&format!("{}\nSuite: {suite}\n\n", paragraph.trim()));
                }
            }
        }
        if kept.is_empty() {
            bail!("the archive's lists have no kernel packages");
        }
        Ok(kept)
    }
}

/// The text of a suite's Release file among the lists.
fn release_file(lists: &Path, suite: &str) -> Result<String> {
    for ending in ["InRelease", "Release"] {
        let wanted = format!("_dists_{suite}_{ending}");
        for file in fs::read_dir(lists)? {
            let file = file?;
            if file.file_name().to_string_lossy().ends_with(&wanted) {
                return Ok(fs::read_to_string(file.path())?);
            }
        }
    }
    bail!("the archive has no suite {suite}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_debians_own_archive() {
        let text = "Packages|http://a.invalid/other|Other|Other|stable\n\
                    Packages|http://a.invalid/debian-security/|Debian|Debian-Security|bookworm-security\n\
                    DEP-11|http://b.invalid/debian/|Debian|Debian|bookworm\n\
                    Packages|http://a.invalid/debian/|Debian|Debian|bookworm\n";
        assert_eq!(pick_mirror(text).as_deref(), Some("http://a.invalid/debian/"));
        assert_eq!(pick_mirror("Packages|http://a.invalid/x|Other|Other|stable\n"), None);
    }

    #[test]
    fn a_mirror_that_names_no_origin_is_taken_by_its_suite() {
        let text = "Packages|http://a.invalid/debian-security|||bookworm-security\n\
                    Packages|http://a.invalid/debian|||bookworm\n";
        assert_eq!(pick_mirror(text).as_deref(), Some("http://a.invalid/debian"));
    }

    #[test]
    fn proxies_are_carried_over() {
        assert_eq!(
            proxy_option("Acquire::http::Proxy \"http://p.invalid:3128\";").as_deref(),
            Some("Acquire::http::Proxy=http://p.invalid:3128")
        );
        assert_eq!(proxy_option("Acquire::http::Proxy \"\";"), None);
        assert_eq!(proxy_option("APT::Architecture \"amd64\";"), None);
    }
}
