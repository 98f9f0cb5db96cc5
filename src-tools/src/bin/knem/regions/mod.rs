// SPDX-License-Identifier: CECILL-B
//! `knem regions`: contexts and their regions, with the processes that own them.

mod json;
#[cfg(test)]
mod tests;
mod text;

use std::io::Write;
use std::path::Path;

use knem::listing::{self, Context, ListedRegion, Listing};
use knem::{statistics, Error};
use nix::unistd::{geteuid, User};

use crate::cli::RegionsArgs;
use crate::exit::Failure;
use crate::processes::{Names, SystemNames};
use crate::stat::numbers::Numbers;
use crate::style;

/// Runs the command.
pub(crate) fn run(device: &Path, arguments: &RegionsArgs) -> Result<(), Failure> {
    let Some(listing) = listing::read(&arguments.proc)? else {
        // Either there is no driver, or it has no lists.
        return Err(statistics::read(device).err().unwrap_or(Error::NoProfile).into());
    };
    let choice = Choice { pid: arguments.pid, uid: arguments.user.as_deref().map(user_number).transpose()? };
    let owners = owners(&listing, choice, &mut SystemNames::default());
    let numbers = Numbers { exact: arguments.exact };
    let text = if arguments.json {
        json::document(&owners).text()?
    } else if arguments.scripted {
        text::tabs(&owners, numbers)
    } else {
        text::text(&owners, numbers, geteuid().is_root())
    };
    Ok(style::output().write_all(text.as_bytes())?)
}

/// Which contexts are shown.
#[derive(Clone, Copy, Debug, Default)]
struct Choice {
    pid: Option<u32>,
    uid: Option<u32>,
}

impl Choice {
    fn takes(self, context: &Context) -> bool {
        self.pid.is_none_or(|pid| context.pid == Some(pid)) && self.uid.is_none_or(|uid| context.uid == uid)
    }
}

/// A context, with the names of its process and user, and its regions.
struct Owner<'a> {
    context: &'a Context,
    process: Option<String>,
    user: String,
    regions: Vec<&'a ListedRegion>,
}

fn owners<'a>(listing: &'a Listing, choice: Choice, names: &mut impl Names) -> Vec<Owner<'a>> {
    let chosen = listing.contexts.iter().filter(|context| choice.takes(context));
    let owner = |context: &'a Context| Owner {
        context,
        process: context.pid.and_then(|pid| names.process(pid)),
        user: names.user(context.uid),
        regions: listing.regions_of(context).collect(),
    };
    chosen.map(owner).collect()
}

fn user_number(user: &str) -> Result<u32, Failure> {
    let unknown = || {
        Failure::Usage(format!(
            "--user {user}: there is no such user; use a name that `getent passwd` lists, or a number"
        ))
    };
    match user.parse() {
        Ok(number) => Ok(number),
        Err(_) => Ok(User::from_name(user).ok().flatten().ok_or_else(unknown)?.uid.as_raw()),
    }
}
