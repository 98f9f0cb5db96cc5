// SPDX-License-Identifier: CECILL-B
//! Content-addressed cache: the name of an entry is the hash of its inputs, so a stale entry is never found and a
//! complete one is never rebuilt.
//!
//! An entry is built in a temporary directory and renamed when it is complete; the next run removes the temporary
//! directory of an interrupted run. A lock file for each entry makes two runs share one build.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use fs4::fs_std::FileExt;
use sha2::{Digest, Sha256};

use crate::run::step;

/// A directory of entries.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Uses `root`, which is created with the first entry.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A plain directory of the cache, for things that need no key (downloaded packages, for instance).
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Returns the path of the entry for this key, whether it exists or not.
    pub fn path(&self, kind: &str, key_material: &[&str]) -> PathBuf {
        self.root.join(kind).join(digest(key_material))
    }

    /// Returns the entry if it exists, and marks it as used.
    pub fn find(&self, kind: &str, key_material: &[&str]) -> Option<PathBuf> {
        let path = self.path(kind, key_material);
        if !path.is_dir() {
            return None;
        }
        touch(&path);
        Some(path)
    }

    /// The entry for this key: a directory, filled by `build` if it is not there yet. `what` is for the progress lines.
    pub fn entry(
        &self,
        kind: &str,
        what: &str,
        key_material: &[&str],
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(path) = self.find(kind, key_material) {
            return Ok(path);
        }
        let path = self.path(kind, key_material);
        let _lock = self.lock(kind, &digest(key_material))?;
        // Another run may have finished it while this one waited for the lock.
        if path.is_dir() {
            return Ok(path);
        }
        let unfinished = path.with_extension("unfinished");
        remove(&unfinished)?;
        fs::create_dir_all(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
        step(&format!("{what} ..."));
        let start = Instant::now();
        if let Err(error) = build(&unfinished) {
            // If this fails, the next run removes it.
            let _ = remove(&unfinished);
            return Err(error.context(format!("{what} failed")));
        }
        fs::rename(&unfinished, &path).with_context(|| format!("cannot complete {}", path.display()))?;
        step(&format!("{what}: done in {}", elapsed(start.elapsed())));
        Ok(path)
    }

    /// Takes the named lock and holds it as long as the result lives; says so when it has to wait.
    pub fn lock(&self, kind: &str, name: &str) -> Result<File> {
        let directory = self.directory(kind)?;
        let path = directory.join(format!("{name}.lock"));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if !FileExt::try_lock_exclusive(&file)? {
            step(&format!("waiting for another run ({kind})"));
            FileExt::lock_exclusive(&file)?;
        }
        Ok(file)
    }

    /// Keeps the entries of `kind` used last, as many as `count`, and removes the others: images are large.
    pub fn keep_newest(&self, kind: &str, count: usize) -> Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.directory(kind)?)? {
            let path = entry?.path();
            let unfinished = path.extension().is_some();
            // Another run may be cleaning up too.
            if let (false, Ok(metadata)) = (unfinished, path.metadata()) {
                entries.push((metadata.modified()?, path));
            }
        }
        entries.sort();
        entries.reverse();
        for (_, path) in entries.into_iter().skip(count) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let _lock = self.lock(kind, &name)?;
            // Another run may have removed it while this one waited for the lock.
            if !path.exists() {
                continue;
            }
            // Renamed first: an incomplete entry must not be found.
            let doomed = path.with_extension("unfinished");
            fs::rename(&path, &doomed)?;
            remove(&doomed)?;
        }
        Ok(())
    }

    /// Removes what is in a plain directory and has not been changed for `age`.
    pub fn remove_older(&self, name: &str, age: Duration) -> Result<()> {
        for entry in fs::read_dir(self.directory(name)?)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let old = metadata.modified()?.elapsed().is_ok_and(|since| since > age);
            if old && metadata.is_dir() {
                remove(&entry.path())?;
            } else if old && entry.path().extension().is_none_or(|extension| extension != "lock") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Seconds with one digit, or minutes and seconds.
pub fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// SHA-256 of a file, in hexadecimal.
pub fn file_digest(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    std::io::copy(&mut file, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

/// The name of an entry: long enough never to collide, short enough to read.
fn digest(key_material: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in key_material {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hex(&hasher.finalize())[..20].to_owned()
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Removes a tree, if it exists.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Marks an entry as used now. Failing to is harmless: it is only removed earlier.
fn touch(path: &Path) {
    if let Ok(directory) = File::open(path) {
        let _ = directory.set_modified(SystemTime::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn only_what_is_old_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::new(root.path());
        let directory = cache.directory("plain").unwrap();
        for name in ["old.deb", "new.deb", "turn.lock"] {
            let file = File::create(directory.join(name)).unwrap();
            let age = Duration::from_secs(if name == "new.deb" { 10 } else { 1000 });
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        cache.remove_older("plain", Duration::from_secs(100)).unwrap();
        let left: Vec<bool> = ["old.deb", "new.deb", "turn.lock"].map(|name| directory.join(name).exists()).into();
        assert_eq!(left, [false, true, true]);
    }

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["a"]), digest(&["a"]));
    }

    #[test]
    fn a_failed_build_leaves_no_entry() {
        let home = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(home.path());
        let result = cache.entry("kind", "test", &["key"], |path| {
            fs::write(path.join("half"), "x")?;
            anyhow::bail!("stopped half-way")
        });
        assert!(result.is_err());
        assert!(cache.find("kind", &["key"]).is_none());
        let path = cache
            .entry("kind", "test", &["key"], |path| {
                assert!(!path.join("half").exists());
                Ok(fs::write(path.join("whole"), "x")?)
            })
            .expect("the second build works");
        assert!(path.join("whole").exists());
    }

    #[test]
    fn what_a_killed_run_left_is_not_used() {
        let home = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(home.path());
        let stale = cache.path("kind", &["key"]).with_extension("unfinished");
        fs::create_dir_all(&stale).expect("made");
        fs::write(stale.join("half"), "x").expect("written");
        assert!(cache.find("kind", &["key"]).is_none());
        let path = cache.entry("kind", "test", &["key"], |_| Ok(())).expect("built");
        assert!(!path.join("half").exists());
    }

    #[test]
    fn the_entries_used_last_are_kept() {
        let home = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(home.path());
        for (index, key) in ["a", "b", "c"].iter().enumerate() {
            let path = cache.entry("kind", "test", &[key], |_| Ok(())).expect("built");
            let time = SystemTime::now() - Duration::from_secs(100 - index as u64);
            File::open(path).and_then(|directory| directory.set_modified(time)).expect("set");
        }
        assert!(cache.find("kind", &["a"]).is_some(), "looking counts as use");
        cache.keep_newest("kind", 2).expect("tidied");
        assert!(cache.path("kind", &["a"]).is_dir() && cache.path("kind", &["c"]).is_dir());
        assert!(!cache.path("kind", &["b"]).exists());
    }

    #[test]
    fn two_runs_may_remove_the_same_entry() {
        let home = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(home.path());
        let old = cache.entry("kind", "test", &["old"], |_| Ok(())).expect("built");
        let name = old.file_name().expect("a name").to_string_lossy().into_owned();
        let lock = cache.lock("kind", &name).expect("locked");
        thread::scope(|scope| {
            let other = scope.spawn(|| cache.keep_newest("kind", 0));
            // It has listed the entry, and waits for the lock.
            thread::sleep(Duration::from_millis(100));
            remove(&old).expect("removed");
            drop(lock);
            other.join().expect("no panic").expect("nothing left to remove");
        });
        assert!(!old.exists());
    }

    #[test]
    fn two_runs_share_one_build() {
        let home = tempfile::tempdir().expect("a directory");
        let cache = Cache::new(home.path());
        let builds = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    cache
                        .entry("kind", "test", &["key"], |_| {
                            builds.fetch_add(1, Ordering::SeqCst);
                            thread::sleep(Duration::from_millis(50));
                            Ok(())
                        })
                        .expect("built")
                });
            }
        });
        assert_eq!(builds.load(Ordering::SeqCst), 1);
    }
}
