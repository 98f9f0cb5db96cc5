// SPDX-License-Identifier: CECILL-B
//! Signatures by gpg with a key of its own keyring. The secret key stays there: gpg and its agent ask for what they
//! need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use knem_lab::{host, run};

/// A key that packages and repositories are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    fingerprint: String,
    /// gpg's directory, if it is not the user's own.
    home: Option<PathBuf>,
}

impl Key {
    /// Finds the secret key that `wanted` means, as gpg understands it: a fingerprint or a mail address. The keyring is
    /// the user's own, or that in `$GNUPGHOME`.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(wanted: &str) -> Result<Self> {
        Self::find_in(None, wanted)
    }

    /// The same in the keyring of a directory.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn find_in(home: Option<&Path>, wanted: &str) -> Result<Self> {
        host::need(&["gpg"])?;
        let list = run::output(gpg(home).args(["--with-colons", "--list-secret-keys"]).arg(wanted));
        let list = list.with_context(|| {
            format!("gpg has no secret key for `{wanted}`; `gpg --list-secret-keys` shows those it has (GNUPGHOME is honoured)")
        })?;
        let fingerprint = fingerprint(&list).with_context(|| format!("`{wanted}`"))?;
        Ok(Self { fingerprint, home: home.map(Path::to_owned) })
    }

    /// Writes a copy of a text with the signature around it.
    pub(crate) fn sign_clear(&self, text: &Path, to: &Path) -> Result<()> {
        run::quiet(self.signing().arg("--clear-sign").arg("-o").arg(to).arg(text))
    }

    /// Writes the signature of a file beside it, as text.
    pub(crate) fn sign_detached(&self, file: &Path, to: &Path) -> Result<()> {
        run::quiet(self.signing().args(["--armor", "--detach-sign", "-o"]).arg(to).arg(file))
    }

    /// Puts a signature into an RPM package.
    pub(crate) fn sign_rpm(&self, package: &Path) -> Result<()> {
        host::need(&["rpmsign"])?;
        let mut command = host::command("rpmsign");
        // Its own idea of where gpg is may be another distribution's.
        let gpg = host::find("gpg").context("gpg is gone")?;
        command.arg("--define").arg(format!("__gpg {}", gpg.display()));
        if let Some(home) = &self.home {
            command.env("GNUPGHOME", home);
        }
        run::quiet(command.arg("--define").arg(format!("_gpg_name {}", self.fingerprint)).arg("--addsign").arg(package))
    }

    /// Writes the public key, as text.
    pub(crate) fn export(&self, to: &Path) -> Result<()> {
        let text = run::output(gpg(self.home.as_deref()).args(["--armor", "--export"]).arg(&self.fingerprint))?;
        fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
    }

    fn signing(&self) -> Command {
        let mut command = gpg(self.home.as_deref());
        command.args(["--yes", "--digest-algo", "SHA512", "--local-user", &self.fingerprint]);
        command
    }
}

fn gpg(home: Option<&Path>) -> Command {
    let mut command = host::command("gpg");
    command.arg("--batch");
    if let Some(home) = home {
        command.env("GNUPGHOME", home);
    }
    command
}

/// The fingerprint of the one primary key in gpg's list.
fn fingerprint(list: &str) -> Result<String> {
    let mut primary = false;
    let mut found = Vec::new();
    for fields in list.lines().map(|line| line.split(':').collect::<Vec<_>>()) {
        match fields.first() {
            Some(&"sec") => primary = true,
            Some(&"fpr") if primary => {
                found.push((*fields.get(9).context("gpg's list has a fingerprint without one")?).to_owned());
                primary = false;
            }
            _ => {}
        }
    }
    match <[String; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(found) if found.is_empty() => bail!("gpg lists no secret key"),
        Err(found) => bail!("gpg has several secret keys for it: {}; name one by its fingerprint", found.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_key_is_meant() {
        let one = "sec:u:255:22:AA:1:::u:::scESC:::+::ed25519:::0:\nfpr:::::::::F1:\ngrp:::::::::G1:\nssb:u:255::\nfpr:::::::::F2:\n";
        assert_eq!(fingerprint(one).expect("one"), "F1");
        assert!(fingerprint("").is_err());
        let error = fingerprint(&format!("{one}sec:u:\nfpr:::::::::F3:\n")).expect_err("two").to_string();
        assert!(error.contains("F1, F3"), "{error}");
    }
}
