// SPDX-License-Identifier: CECILL-B
//! `knem info`: what driver is there and what it offers.

use std::fmt;
use std::io::{stdout, Write};
use std::path::Path;

use knem::{flag_names, statistics, Device, Info, NodeFacts};
use serde::Serialize;

use crate::cli::InfoArgs;
use crate::exit::Failure;
use crate::json::Document;

/// Everything that is told.
#[derive(Serialize)]
struct Report {
    device: String,
    module_version: String,
    command_version: &'static str,
    abi: u32,
    features: Vec<&'static str>,
    forced_flags: u32,
    forced_flag_names: Vec<String>,
    ignored_flags: u32,
    ignored_flag_names: Vec<String>,
    dma_engine: String,
    node_mode: String,
    node_owner: String,
    node_group: String,
}

/// Runs the command.
pub(crate) fn run(path: &Path, arguments: &InfoArgs) -> Result<(), Failure> {
    let device = Device::open_at(path)?;
    let statistics = statistics::read(path)?;
    let node = NodeFacts::gather(path).map_err(|error| Failure::Other(format!("{}: {error}", path.display())))?;
    let report = Report::new(path, device.info(), &statistics, node);
    if arguments.json {
        Document::new("knem-info", 1, report).print()
    } else {
        Ok(write!(stdout(), "{report}")?)
    }
}

impl Report {
    fn new(path: &Path, info: Info, statistics: &statistics::Statistics, node: NodeFacts) -> Self {
        Self {
            device: path.display().to_string(),
            module_version: statistics.module_version.clone(),
            command_version: env!("CARGO_PKG_VERSION"),
            abi: info.abi,
            features: if info.has_dma { vec!["DMA"] } else { Vec::new() },
            forced_flags: info.forced_flags,
            forced_flag_names: flag_names(info.forced_flags),
            ignored_flags: info.ignored_flags,
            ignored_flag_names: flag_names(info.ignored_flags),
            dma_engine: statistics.dma_engine.clone(),
            node_mode: format!("{:04o}", node.mode),
            node_owner: node.owner,
            node_group: node.group,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Device          {} (mode {}, {}:{})",
            self.device, self.node_mode, self.node_owner, self.node_group
        )?;
        writeln!(f, "Module          {}", self.module_version)?;
        writeln!(f, "Command         {}", self.command_version)?;
        writeln!(f, "Interface       {:#x}", self.abi)?;
        writeln!(f, "Features        {}", list_or_none(&self.features))?;
        writeln!(f, "Forced flags    {}", list_or_none(&self.forced_flag_names))?;
        writeln!(f, "Ignored flags   {}", list_or_none(&self.ignored_flag_names))?;
        writeln!(f, "DMA engine      {}", self.dma_engine)
    }
}

fn list_or_none<T: AsRef<str>>(names: &[T]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let text = "knem 2.0.0\n Driver ABI=0xd\n Flags: forcing 0x10, ignoring 0x0\n DMAEngine: NoKernelSupport\n Debug: NotBuilt\n";
        let info = Info { abi: 0xd, has_dma: false, ignored_flags: 0, forced_flags: 0x10 };
        let node = NodeFacts {
            mode: 0o660,
            owner: "root".to_owned(),
            group: "rdma".to_owned(),
            user: "alice".to_owned(),
            process_in_group: true,
            user_in_group: true,
        };
        Report::new(Path::new("/dev/knem"), info, &statistics::parse(text).unwrap(), node)
    }

    #[test]
    fn reads_well() {
        let mut report = report();
        report.command_version = "2.0.0";
        assert_eq!(
            report.to_string(),
            "\
Device          /dev/knem (mode 0660, root:rdma)
Module          2.0.0
Command         2.0.0
Interface       0xd
Features        none
Forced flags    PINLOCAL
Ignored flags   none
DMA engine      NoKernelSupport
"
        );
    }

    #[test]
    fn programs_get_raw_numbers() {
        let text = Document::new("knem-info", 1, report()).text().unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["schema"], "knem-info");
        assert_eq!(value["version"], 1);
        assert_eq!(value["abi"], 13);
        assert_eq!(value["forced_flags"], 16);
        assert_eq!(value["features"], serde_json::json!([]));
    }
}
