// SPDX-License-Identifier: CECILL-B
//! `knem info`: the driver, its features, parameters and limits.

use std::fmt;
use std::io::Write;
use std::path::Path;

use knem::{flag_names, statistics, Device, Info, NodeFacts};
use serde::Serialize;

use crate::cli::InfoArgs;
use crate::exit::Failure;
use crate::json::Document;
use crate::machine::parameters::Parameter;
use crate::machine::{number, Machine};
use crate::style;
use crate::table::{Column, Table, MISSING};
use crate::units;

/// The output of the command.
#[derive(Serialize)]
struct Report {
    device: String,
    module_version: String,
    command_version: &'static str,
    kernel: String,
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
    module_file: Option<ModuleFile>,
    /// How the Rust part was built, and why; `None` for another driver.
    rust: Option<String>,
    /// Limits of the caller; `None` is unlimited.
    memlock_soft_bytes: Option<u64>,
    memlock_hard_bytes: Option<u64>,
    /// `None` if the driver does not report it.
    pinned_bytes: Option<u64>,
    pinned_peak_bytes: Option<u64>,
    pinned_ceiling_bytes: Option<u64>,
    contexts: Option<u64>,
    regions: Option<u64>,
    parameters: Vec<Setting>,
}

/// The file that modprobe would load now.
#[derive(Serialize)]
struct ModuleFile {
    path: String,
    version: Option<String>,
    /// `None` if it is not known.
    signed: Option<bool>,
    signer: Option<String>,
}

/// A parameter of the module.
#[derive(Serialize)]
struct Setting {
    name: String,
    value: Option<String>,
    default: Option<&'static str>,
    changed: bool,
    /// The value in the file that sets it for the next load.
    set_value: Option<String>,
    set_in: Option<String>,
}

/// Runs the command.
pub(crate) fn run(path: &Path, arguments: &InfoArgs) -> Result<(), Failure> {
    let info = Device::open_at(path)?.info();
    let statistics = statistics::read(path)?;
    let node = NodeFacts::gather(path).map_err(|error| Failure::Other(format!("{}: {error}", path.display())))?;
    let report = Report::new(&Machine::here(path), info, &statistics, node);
    if arguments.json {
        Document::new("knem-info", 1, report).print()
    } else {
        Ok(write!(style::output(), "{report}")?)
    }
}

impl Report {
    fn new(machine: &Machine, info: Info, statistics: &statistics::Statistics, node: NodeFacts) -> Self {
        let finer = machine.statistics();
        let read = |key| finer.as_deref().and_then(|text| number(text, key));
        Self {
            device: machine.node.display().to_string(),
            module_version: statistics.module_version.clone(),
            command_version: env!("CARGO_PKG_VERSION"),
            kernel: machine.kernel.clone(),
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
            module_file: ModuleFile::of(machine),
            rust: machine.rust_part(),
            memlock_soft_bytes: machine.caller.memlock,
            memlock_hard_bytes: machine.caller.memlock_hard,
            pinned_bytes: read("pinned_bytes"),
            pinned_peak_bytes: read("pinned_bytes_peak"),
            pinned_ceiling_bytes: machine.pinned_ceiling(),
            contexts: read("contexts"),
            regions: read("regions"),
            parameters: machine.parameters().into_iter().map(Setting::from).collect(),
        }
    }
}

impl ModuleFile {
    fn of(machine: &Machine) -> Option<Self> {
        let file = machine.module_files(&machine.kernel).into_iter().find(|file| file.chosen)?;
        let description = machine.describe(&file.path);
        Some(Self {
            path: file.path,
            version: description.version,
            signed: description.signed,
            signer: description.signer,
        })
    }

    fn describe(&self) -> String {
        let version = self.version.as_deref().unwrap_or("version unknown");
        let signed = match (&self.signer, self.signed) {
            (Some(signer), _) => format!("signed by {signer}"),
            (None, Some(true)) => "signed".to_owned(),
            (None, Some(false)) => "not signed".to_owned(),
            (None, None) => "signature unknown".to_owned(),
        };
        format!("{} ({version}, {signed})", self.path)
    }
}

impl From<Parameter> for Setting {
    fn from(parameter: Parameter) -> Self {
        let changed = parameter.is_changed();
        let (set_value, set_in) = parameter.set.unzip();
        Self { name: parameter.name, value: parameter.value, default: parameter.default, changed, set_value, set_in }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unlimited = |bytes: Option<u64>| bytes.map_or_else(|| "unlimited".to_owned(), size);
        let known = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), size);
        writeln!(
            f,
            "Device          {} (mode {}, {}:{})",
            self.device, self.node_mode, self.node_owner, self.node_group
        )?;
        writeln!(f, "Module          {}", self.module_version)?;
        let file = self.module_file.as_ref().map_or_else(|| "none for this kernel".to_owned(), ModuleFile::describe);
        writeln!(f, "Module file     {file}")?;
        if let Some(rust) = &self.rust {
            writeln!(f, "Rust part       {rust}")?;
        }
        writeln!(f, "Command         {}", self.command_version)?;
        writeln!(f, "Kernel          {}", self.kernel)?;
        writeln!(f, "Interface       {:#x}", self.abi)?;
        writeln!(f, "Features        {}", list_or_none(&self.features))?;
        writeln!(f, "Forced flags    {}", list_or_none(&self.forced_flag_names))?;
        writeln!(f, "Ignored flags   {}", list_or_none(&self.ignored_flag_names))?;
        writeln!(f, "DMA engine      {}", self.dma_engine)?;
        let (soft, hard) = (unlimited(self.memlock_soft_bytes), unlimited(self.memlock_hard_bytes));
        writeln!(f, "Locked memory   {soft} (hard limit: {hard})")?;
        let (now, peak) = (known(self.pinned_bytes), known(self.pinned_peak_bytes));
        writeln!(f, "Pinned          {now}, peak {peak}, ceiling {}", known(self.pinned_ceiling_bytes))?;
        if let (Some(contexts), Some(regions)) = (self.contexts, self.regions) {
            let things = |number, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
            writeln!(f, "Open            {}, {}", things(contexts, "context"), things(regions, "region"))?;
        }
        writeln!(f)?;
        f.write_str(&self.parameter_table().text())
    }
}

impl Report {
    fn parameter_table(&self) -> Table {
        let missing = || MISSING.to_owned();
        let mut table = Table::new(&[
            Column::left("PARAMETER"),
            Column::right("VALUE"),
            Column::right("DEFAULT"),
            Column::left("SET IN"),
        ]);
        for setting in &self.parameters {
            let set = match (&setting.set_value, &setting.set_in) {
                (Some(value), Some(file)) if Some(value) == setting.value.as_ref() => file.clone(),
                // The value changed after the module was loaded, or the file did.
                (Some(value), Some(file)) => format!("{file} ({value})"),
                _ => missing(),
            };
            let default = setting.default.map_or_else(missing, str::to_owned);
            table.row([setting.name.clone(), setting.value.clone().unwrap_or_else(missing), default, set]);
        }
        table
    }
}

fn size(bytes: u64) -> String {
    units::bytes(units::float(bytes))
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
    use crate::machine::fake::Fake;

    fn report(fake: &Fake) -> Report {
        let text = "knem 2.0.0\n Driver ABI=0xd\n Flags: forcing 0x10, ignoring 0x0\n DMAEngine: NoKernelSupport\n Debug: NotBuilt\n";
        let info = Info { abi: 0xd, has_dma: false, ignored_flags: 0, forced_flags: 0x10 };
        let machine = fake.machine();
        let node = machine.facts.clone().unwrap();
        let mut report = Report::new(&machine, info, &statistics::parse(text).unwrap(), node);
        report.command_version = "2.0.0";
        report
    }

    fn set_up() -> Fake {
        Fake::well()
            .file("/sys/module/knem/parameters/memlock", "0\n")
            .file("/sys/module/knem/parameters/max_regions", "1048576\n")
            .file("/etc/modprobe.d/knem.conf", "options knem memlock=0 max_regions=7\n")
            .caller(|caller| caller.memlock = Some(8 << 20))
    }

    #[test]
    fn reads_well() {
        let text = report(&set_up()).to_string();
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn an_old_driver_does_not_tell_everything() {
        let fake = Fake::well().without("/proc/driver").without("/sys/module/knem").without("/lib/modules");
        let text = report(&fake).to_string();
        assert!(text.contains("Pinned          unknown") && text.contains("none for this kernel"), "{text}");
        assert!(!text.contains("Open   "), "{text}");
    }

    #[test]
    fn programs_get_raw_numbers() {
        let text = Document::new("knem-info", 1, report(&set_up())).text().unwrap();
        crate::json::tests::is_documented(&text);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["schema"], "knem-info");
        assert_eq!(value["version"], 1);
        assert_eq!(value["abi"], 13);
        assert_eq!(value["forced_flags"], 16);
        assert_eq!(value["features"], serde_json::json!([]));
        assert_eq!(value["memlock_soft_bytes"], 8 << 20);
        assert_eq!(value["memlock_hard_bytes"], serde_json::Value::Null);
        assert_eq!((&value["pinned_bytes"], &value["pinned_ceiling_bytes"]), (&4096.into(), &8_589_934_592u64.into()));
        assert_eq!(value["module_file"]["signer"], "DKMS module signing key");
        assert_eq!(
            value["parameters"][0],
            serde_json::json!({
                "name": "memlock", "value": "0", "default": "2", "changed": true,
                "set_value": "0", "set_in": "/etc/modprobe.d/knem.conf"
            })
        );
    }
}
