// SPDX-License-Identifier: CECILL-B
//! The lists as JSON.

use knem::listing::{Context, ListedRegion};
use serde::Serialize;

use super::Owner;
use crate::json::Document;

/// The content of the document.
#[derive(Serialize)]
pub(super) struct Content<'a> {
    contexts: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    context: &'a Context,
    process: Option<&'a str>,
    user: &'a str,
    region_list: &'a [&'a ListedRegion],
}

/// Returns the document of the lists.
pub(super) fn document<'a>(owners: &'a [Owner<'_>]) -> Document<Content<'a>> {
    let row = |owner: &'a Owner<'_>| Row {
        context: owner.context,
        process: owner.process.as_deref(),
        user: &owner.user,
        region_list: &owner.regions,
    };
    Document::new("knem-regions", 1, Content { contexts: owners.iter().map(row).collect() })
}
