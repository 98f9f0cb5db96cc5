// SPDX-License-Identifier: CECILL-B
//! Files brought into the test machine with `--add PATH[:DEST]`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{bail, Context, Result};
use tar::{Builder, Header};
use walkdir::WalkDir;

/// One `--add`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// A file or directory of this machine.
    pub path: PathBuf,
    /// Its absolute name in the test machine.
    pub destination: PathBuf,
}

impl FromStr for Add {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (path, destination) = match text.rsplit_once(':') {
            Some((path, destination)) if destination.starts_with('/') => (path, destination),
            Some((_, destination)) if !destination.contains('/') && !Path::new(text).exists() => {
                bail!("the destination `{destination}` is not an absolute path")
            }
            _ => (text, "/root/"),
        };
        if path.is_empty() {
            bail!("the path to add is missing");
        }
        let path = PathBuf::from(path);
        let destination = if destination.ends_with('/') {
            let name =
                path.file_name().with_context(|| format!("{} has no name: give a destination", path.display()))?;
            Path::new(destination).join(name)
        } else {
            PathBuf::from(destination)
        };
        Ok(Self { path, destination })
    }
}

/// Writes all additions as one tar, the way the test machine unpacks it below `/`.
pub fn write_tar(adds: &[Add], file: &Path) -> Result<()> {
    let mut builder = Builder::new(File::create(file)?);
    builder.follow_symlinks(false);
    for add in adds {
        let inside = add.destination.strip_prefix("/").context("a destination is absolute")?;
        for entry in WalkDir::new(&add.path).follow_root_links(true) {
            let entry = entry.with_context(|| format!("cannot add {}", add.path.display()))?;
            let below = entry.path().strip_prefix(&add.path)?;
            let name = if below.as_os_str().is_empty() { inside.to_owned() } else { inside.join(below) };
            append(&mut builder, entry.path(), &name, entry.depth() == 0)
                .with_context(|| format!("cannot add {}", entry.path().display()))?;
        }
    }
    builder.into_inner()?.flush()?;
    Ok(())
}

/// Appends one file, directory or link, as root's.
fn append(builder: &mut Builder<File>, path: &Path, name: &Path, follow: bool) -> Result<()> {
    let metadata = if follow { path.metadata()? } else { path.symlink_metadata()? };
    let mut header = Header::new_gnu();
    header.set_metadata(&metadata);
    header.set_uid(0);
    header.set_gid(0);
    if metadata.is_symlink() {
        header.set_size(0);
        builder.append_link(&mut header, name, std::fs::read_link(path)?)?;
    } else if metadata.is_dir() {
        header.set_size(0);
        builder.append_data(&mut header, name, std::io::empty())?;
    } else if metadata.is_file() {
        builder.append_data(&mut header, name, File::open(path)?)?;
    } else {
        bail!("it is neither file, directory nor link");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (String, String) {
        let add: Add = text.parse().expect("well-formed");
        (add.path.display().to_string(), add.destination.display().to_string())
    }

    fn pair(path: &str, destination: &str) -> (String, String) {
        (path.to_owned(), destination.to_owned())
    }

    #[test]
    fn destinations() {
        assert_eq!(parse("a/b"), pair("a/b", "/root/b"));
        assert_eq!(parse("a/b/"), pair("a/b/", "/root/b"));
        assert_eq!(parse("a/b:/opt/c"), pair("a/b", "/opt/c"));
        assert_eq!(parse("a/b:/opt/"), pair("a/b", "/opt/b"));
        assert_eq!(parse("od:d/b"), pair("od:d/b", "/root/b"));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!("a/b:opt".parse::<Add>().is_err());
        assert!(":/opt/c".parse::<Add>().is_err());
        assert!("..".parse::<Add>().is_err());
    }

    #[test]
    fn trees_keep_their_modes_and_links() {
        use std::os::unix::fs::{symlink, PermissionsExt};
        let home = tempfile::tempdir().expect("a directory");
        let tree = home.path().join("tree");
        std::fs::create_dir(&tree).expect("made");
        std::fs::write(tree.join("run"), "x").expect("written");
        std::fs::set_permissions(tree.join("run"), std::fs::Permissions::from_mode(0o755)).expect("set");
        symlink("run", tree.join("link")).expect("linked");
        let add = Add { path: tree, destination: PathBuf::from("/opt/t") };
        let file = home.path().join("tar");
        write_tar(&[add], &file).expect("written");
        let mut archive = tar::Archive::new(File::open(&file).expect("there"));
        let mut seen: Vec<(String, u32)> = archive
            .entries()
            .expect("a tar")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let path = entry.path().expect("a path").display().to_string();
                (path, entry.header().mode().expect("a mode") & 0o111)
            })
            .collect();
        seen.sort();
        let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["opt/t", "opt/t/link", "opt/t/run"]);
        assert_eq!(seen[2].1, 0o111);
    }
}
