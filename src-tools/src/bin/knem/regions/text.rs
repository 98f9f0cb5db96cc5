// SPDX-License-Identifier: CECILL-B
//! The lists as text: each context with its regions below it, or one line per region for scripts.

use knem::listing::ListedRegion;

use super::Owner;
use crate::stat::numbers::Numbers;
use crate::style::{Styled, FAINT};
use crate::table::{Column, Table, MISSING};
use crate::units::float;

/// Returns the text for people.
pub(super) fn text(owners: &[Owner<'_>], numbers: Numbers, all_users: bool) -> String {
    let mut text = String::new();
    if owners.is_empty() {
        text += "No contexts.\n";
    } else {
        let (contexts, regions) = (contexts(owners, numbers), regions(owners, numbers));
        text += &contexts.head();
        if !regions.is_empty() {
            text += &format!("  {}", regions.head());
        }
        let (contexts, regions) = (contexts.body(), regions.body());
        let mut regions = regions.lines();
        for (context, owner) in contexts.lines().zip(owners) {
            text += &format!("{context}\n");
            for region in regions.by_ref().take(owner.regions.len()) {
                text += &format!("  {region}\n");
            }
        }
    }
    if !all_users {
        text += &format!("{}\n", Styled(FAINT, "Contexts of other users are shown to root only."));
    }
    text
}

/// Returns the text for scripts.
pub(super) fn tabs(owners: &[Owner<'_>], numbers: Numbers) -> String {
    let mut table = Table::new(&[Column::left(""); 9]);
    for owner in owners {
        let own = [
            owner.context.context.to_string(),
            owner.pid(),
            owner.process.clone().unwrap_or_default(),
            owner.user.clone(),
        ];
        for region in &owner.regions {
            table.row(own.iter().cloned().chain(cells(region, numbers)));
        }
        if owner.regions.is_empty() {
            table.row(own.into_iter().chain([const { String::new() }; 5]));
        }
    }
    table.tabs()
}

impl Owner<'_> {
    fn pid(&self) -> String {
        self.context.pid.map_or_else(|| MISSING.to_owned(), |pid| pid.to_string())
    }
}

fn contexts(owners: &[Owner<'_>], numbers: Numbers) -> Table {
    let mut table = Table::new(&[
        Column::left("CONTEXT"),
        Column::right("PID"),
        Column::left("PROCESS"),
        Column::left("USER"),
        Column::right("REGIONS"),
        Column::right("PINNED"),
        Column::right("REQUESTS"),
        Column::right("COPIED"),
        Column::right("SLOTS"),
    ]);
    for owner in owners {
        let context = owner.context;
        table.row([
            context.context.to_string(),
            owner.pid(),
            owner.process.clone().unwrap_or_else(|| MISSING.to_owned()),
            owner.user.clone(),
            context.regions.to_string(),
            numbers.bytes(float(context.pinned_bytes)),
            numbers.count(float(context.requests)),
            numbers.bytes(float(context.requested_bytes)),
            context.slots.to_string(),
        ]);
    }
    table
}

fn regions(owners: &[Owner<'_>], numbers: Numbers) -> Table {
    let mut table = Table::new(&[
        Column::right("REGION").at_least(8),
        Column::right("SIZE"),
        Column::right("EXTENTS"),
        Column::left("ACCESS"),
        Column::left("FLAGS"),
    ]);
    owners.iter().flat_map(|owner| &owner.regions).for_each(|region| table.row(cells(region, numbers)));
    table
}

fn cells(region: &ListedRegion, numbers: Numbers) -> [String; 5] {
    let bit = |is: bool, name: &'static str| if is { name } else { MISSING };
    let flags = [(region.single_use, "single_use"), (region.any_user, "any_user"), (region.unpinned, "unpinned")];
    let flags: Vec<&str> = flags.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
    [
        region.region.to_string(),
        numbers.bytes(float(region.bytes)),
        region.extents.to_string(),
        format!("{}{}", bit(region.readable, "r"), bit(region.writable, "w")),
        if flags.is_empty() { MISSING.to_owned() } else { flags.join(",") },
    ]
}
