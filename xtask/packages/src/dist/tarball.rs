// SPDX-License-Identifier: CECILL-B
//! Packing a tree so that only its contents show: sorted, of root, of one date.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{bail, Context, Result};
use tar::{Builder, EntryType, Header};
use walkdir::WalkDir;

use knem_lab::host;

/// Packs `tree`, under its own name, into the file `result`.
pub(crate) fn pack(tree: &Path, result: &Path, epoch: u64) -> Result<()> {
    host::need(&["gzip"])?;
    let unfinished = result.with_extension("unfinished");
    let file = File::create(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    let mut gzip = host::command("gzip")
        .args(["-9", "-n", "-c"])
        .stdin(Stdio::piped())
        .stdout(file)
        .spawn()
        .context("cannot start gzip")?;
    let input = gzip.stdin.take().context("gzip has no input")?;
    // The pipe is closed with the archive.
    write(tree, input, epoch)?;
    let status = gzip.wait()?;
    if !status.success() {
        bail!("gzip: {status}");
    }
    fs::rename(&unfinished, result).with_context(|| format!("cannot write {}", result.display()))
}

fn write(tree: &Path, output: impl Write, epoch: u64) -> Result<()> {
    let top = tree.parent().context("the tree has a name")?;
    let mut archive = Builder::new(output);
    for entry in WalkDir::new(tree).sort_by_file_name() {
        let entry = entry?;
        let name = entry.path().strip_prefix(top)?;
        let metadata = entry.metadata()?;
        let mut header = Header::new_gnu();
        header.set_mtime(epoch);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        if metadata.is_dir() {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            archive.append_data(&mut header, name, std::io::empty())?;
        } else if metadata.is_file() {
            // The tree may have been created with another umask.
            header.set_mode(if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 });
            header.set_size(metadata.len());
            archive.append_data(&mut header, name, File::open(entry.path())?)?;
        } else {
            bail!("{} is neither a file nor a directory", entry.path().display());
        }
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(home: &Path, name: &str, mode: u32, epoch: u64) -> Vec<u8> {
        let tree = home.join(name).join("knem-1");
        fs::create_dir_all(tree.join("a")).expect("made");
        // In another order than that of the names.
        for file in ["a/z", "a/b", "c"] {
            fs::write(tree.join(file), file).expect("written");
        }
        fs::set_permissions(tree.join("c"), fs::Permissions::from_mode(mode)).expect("changed");
        let result = home.join(format!("{name}.tar.gz"));
        pack(&tree, &result, epoch).expect("packed");
        fs::read(result).expect("there")
    }

    #[test]
    fn only_the_contents_show() {
        let home = tempfile::tempdir().expect("a directory");
        let one = packed(home.path(), "one", 0o644, 7);
        assert_eq!(one, packed(home.path(), "other-place", 0o600, 7));
        assert_ne!(one, packed(home.path(), "executable", 0o755, 7));
        assert_ne!(one, packed(home.path(), "later", 0o644, 8));
    }
}
