// SPDX-License-Identifier: CECILL-B
//! Checks that every kernel can load the object: docs/kernels.md has the table.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{bail, Context, Result};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};
use object::elf;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionFlags, SymbolKind};

use super::{name, ARCHITECTURES};

/// Symbols of the kernel that it takes, all of them exported by every kernel.
const KERNEL: &[&str] = &["memcpy", "memmove", "memset", "memcmp", "rb_erase", "rb_insert_color", "rb_next"];

/// Symbols of the module's own C: by their prefixes.
const OURS: &[&str] = &["knem_", "standin_"];

/// What mitigations call (x86-64).
const THUNKS: &[&str] = &["__x86_return_thunk", "__x86_indirect_thunk_r11"];

/// Symbols that C calls, and what `modinfo` shows.
const DEFINED: &[&str] = &[
    "knem_ioctl",
    "knem_mmap",
    "knem_open",
    "knem_poll",
    "knem_read",
    "knem_release",
    "knem_write",
    "standin_load",
    "standin_modinfo",
    "standin_unload",
];

/// Relocations that the module loader of every kernel knows (arch/*/kernel/module.c). None is against a global offset
/// table.
const RELOCATIONS_X86_64: &[u32] = &[elf::R_X86_64_64, elf::R_X86_64_PC32, elf::R_X86_64_PLT32, elf::R_X86_64_32S];
const RELOCATIONS_AARCH64: &[u32] = &[
    elf::R_AARCH64_ABS64,
    elf::R_AARCH64_PREL32,
    elf::R_AARCH64_ADR_PREL_PG_HI21,
    elf::R_AARCH64_ADD_ABS_LO12_NC,
    elf::R_AARCH64_LDST8_ABS_LO12_NC,
    elf::R_AARCH64_LDST16_ABS_LO12_NC,
    elf::R_AARCH64_LDST32_ABS_LO12_NC,
    elf::R_AARCH64_LDST64_ABS_LO12_NC,
    elf::R_AARCH64_LDST128_ABS_LO12_NC,
    elf::R_AARCH64_CALL26,
    elf::R_AARCH64_JUMP26,
];

/// Those of branches to an address that is known when the module is loaded.
const BRANCHES: &[u32] = &[elf::R_X86_64_PLT32, elf::R_AARCH64_CALL26, elf::R_AARCH64_JUMP26];

/// Sections with contents that the kernel's linker scripts know.
const SECTIONS: &[&str] =
    &[".text", ".rodata", ".data", ".bss", ".modinfo", ".note.gnu.property", "__patchable_function_entries"];

/// Bytes before each function that a kernel with call depth tracking overwrites (`-Zpatchable-function-entry=16,16`).
const PADDING: usize = 16;

/// Checks each object and prints a table.
///
/// # Errors
/// The first check that fails, of any object.
pub fn judge(directory: &Path, out: &mut impl Write) -> Result<()> {
    for architecture in ARCHITECTURES {
        let path = directory.join(name(architecture));
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = ElfFile64::<object::Endianness>::parse(&*bytes).context("it is no 64-bit ELF object")?;
        let checks = Checked::new(&file, architecture.starts_with("x86_64"))
            .and_then(|checked| checked.all())
            .with_context(|| format!("the object for {architecture}"))?;
        writeln!(out, "{} ({} bytes)", name(architecture), bytes.len())?;
        for (what, found) in checks {
            writeln!(out, "  {what:<28} {found}")?;
        }
    }
    Ok(())
}

type File<'data> = ElfFile64<'data, object::Endianness>;

struct Checked<'file, 'data> {
    file: &'file File<'data>,
    x86_64: bool,
    text: &'data [u8],
    /// Offsets of functions in `text`.
    functions: Vec<usize>,
}

impl<'file, 'data> Checked<'file, 'data> {
    fn new(file: &'file File<'data>, x86_64: bool) -> Result<Self> {
        let section = file.section_by_name(".text").context("it has no .text")?;
        let functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition());
        let mut offsets = Vec::new();
        for symbol in functions {
            if symbol.section_index() != Some(section.index()) {
                bail!("{} is a function outside of .text", symbol.name()?);
            }
            offsets.push(usize::try_from(symbol.address())?);
        }
        if offsets.len() < 20 {
            bail!("it has {} functions: that cannot be", offsets.len());
        }
        Ok(Self { file, x86_64, text: section.data()?, functions: offsets })
    }

    fn all(&self) -> Result<Vec<(&'static str, String)>> {
        let mut checks = vec![
            ("symbols", self.symbols()?),
            ("no panic", self.no_panic()?),
            ("relocations", self.relocations()?),
            ("sections", self.sections()?),
        ];
        if self.x86_64 {
            checks.push(("IBT", self.landing_pads(&[&[0xf3, 0x0f, 0x1e, 0xfa]], "endbr64")?));
            checks.push(("call padding", self.padding()?));
            checks.push(("retpoline, return thunks", self.branches()?));
            checks.push(("no floating point", self.no_vectors_x86_64()?));
        } else {
            // `paciasp` is a landing pad as well.
            checks.push((
                "BTI, PAC",
                self.landing_pads(&[&[0x5f, 0x24, 0x03, 0xd5], &[0x3f, 0x23, 0x03, 0xd5]], "bti c or paciasp")?,
            ));
            checks.push(("no floating point", self.no_vectors_aarch64()?));
        }
        Ok(checks)
    }

    /// It takes nothing from the kernel that one may lack, and defines what C calls.
    fn symbols(&self) -> Result<String> {
        let mut taken = BTreeSet::new();
        for symbol in self.file.symbols().filter(ObjectSymbol::is_undefined) {
            let symbol = symbol.name()?;
            let known = KERNEL.contains(&symbol)
                || OURS.iter().any(|prefix| symbol.starts_with(prefix))
                || (self.x86_64 && THUNKS.contains(&symbol));
            if !symbol.is_empty() && !known {
                bail!("it takes {symbol} from the kernel, which is not among those that every kernel exports");
            }
            taken.insert(symbol);
        }
        let mut defined = BTreeSet::new();
        for symbol in self.file.symbols().filter(|symbol| symbol.is_definition() && symbol.is_global()) {
            defined.insert(symbol.name()?);
        }
        if defined != DEFINED.iter().copied().collect() {
            bail!("it defines other global symbols than it should: {defined:?}");
        }
        let kernel = taken.iter().filter(|name| KERNEL.contains(name)).copied().collect::<Vec<_>>();
        Ok(format!("{} defined; from the kernel: {}", defined.len(), kernel.join(" ")))
    }

    /// No function of Rust's panics is in it, hence none can be reached.
    fn no_panic(&self) -> Result<String> {
        for symbol in self.file.symbols() {
            let symbol = symbol.name()?;
            if knem_lab::module::is_panic(symbol) {
                bail!("it can panic: {symbol}");
            }
        }
        Ok("no symbol of core::panicking or the like".to_owned())
    }

    fn relocations(&self) -> Result<String> {
        let known = if self.x86_64 { RELOCATIONS_X86_64 } else { RELOCATIONS_AARCH64 };
        let mut seen = BTreeSet::new();
        for section in self.file.sections() {
            for (offset, relocation) in section.relocations() {
                let RelocationFlags::Elf { r_type } = relocation.flags() else { bail!("a relocation is not ELF's") };
                if !known.contains(&r_type) {
                    bail!(
                        "relocation {r_type} at {offset:#x} in {} is not one that every kernel knows",
                        section.name()?
                    );
                }
                seen.insert(r_type);
            }
        }
        Ok(format!("{} kinds, all known to module loaders; no global offset table", seen.len()))
    }

    fn sections(&self) -> Result<String> {
        let mut seen = BTreeSet::new();
        for section in self.file.sections().filter(|section| section.size() != 0) {
            let name = section.name()?;
            let SectionFlags::Elf { sh_flags } = section.flags() else { bail!("section {name} is not ELF's") };
            if sh_flags & u64::from(elf::SHF_ALLOC) == 0 {
                continue;
            }
            let known = SECTIONS
                .iter()
                .find(|known| name.strip_prefix(**known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
            match known {
                Some(known) => seen.insert(*known),
                None => bail!("it has a section {name}, which the kernel's linker script does not place"),
            };
        }
        Ok(seen.into_iter().collect::<Vec<_>>().join(" "))
    }

    /// Every function whose address is taken, or that C calls, starts with an instruction that indirect calls may land
    /// on.
    fn landing_pads(&self, pads: &[&[u8]], what: &str) -> Result<String> {
        let called = self.file.symbols().filter(|symbol| symbol.is_global() && symbol.kind() == SymbolKind::Text);
        let mut targets: BTreeSet<usize> =
            called.map(|symbol| usize::try_from(symbol.address())).collect::<Result<_, _>>()?;
        let text = self.file.section_by_name(".text").context("it has no .text")?.index();
        for section in self.file.sections().filter(|section| section.name() != Ok("__patchable_function_entries")) {
            for (_, relocation) in section.relocations() {
                let RelocationTarget::Symbol(index) = relocation.target() else { continue };
                let symbol = self.file.symbol_by_index(index)?;
                let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
                if symbol.section_index() == Some(text) && !BRANCHES.contains(&r_type) {
                    let offset = symbol.address().wrapping_add_signed(relocation.addend());
                    targets.insert(usize::try_from(offset)?);
                }
            }
        }
        for function in targets.iter().filter(|target| self.functions.contains(target)) {
            let start = self.text.get(*function..).unwrap_or_default();
            if !pads.iter().any(|pad| start.starts_with(pad)) {
                bail!("the function at {function:#x}, which may be called by its address, does not start with {what}");
            }
        }
        Ok(format!("{} functions that may be called by address start with {what}", targets.len()))
    }

    /// Before every function there is room for the code that tracks calls.
    fn padding(&self) -> Result<String> {
        for function in &self.functions {
            let room = function.checked_sub(PADDING).and_then(|from| self.text.get(from..*function));
            if !room.is_some_and(|room| room.iter().all(|byte| *byte == 0x90)) {
                bail!("there are no {PADDING} bytes of nop before the function at {function:#x}");
            }
        }
        Ok(format!("{PADDING} bytes before {} functions", self.functions.len()))
    }

    fn instructions(&self) -> impl Iterator<Item = Instruction> + use<'_, 'file, 'data> {
        Decoder::with_ip(64, self.text, 0, DecoderOptions::NONE).into_iter()
    }

    /// Nothing returns, and nothing calls or jumps by a register or memory, but through the kernel's thunks: so there
    /// are no jump tables, and nothing for straight-line speculation to pass.
    fn branches(&self) -> Result<String> {
        for instruction in self.instructions() {
            let at = instruction.ip();
            match instruction.flow_control() {
                FlowControl::Return => bail!("there is a return at {at:#x} that no thunk makes"),
                FlowControl::IndirectBranch | FlowControl::IndirectCall => {
                    bail!("there is an indirect branch at {at:#x}")
                }
                _ => {}
            }
        }
        let (mut returns, mut calls) = (0, 0);
        let text = self.file.section_by_name(".text").context("it has no .text")?;
        for (_, relocation) in text.relocations() {
            if let RelocationTarget::Symbol(index) = relocation.target() {
                match self.file.symbol_by_index(index)?.name()? {
                    "__x86_return_thunk" => returns += 1,
                    name if name.starts_with("__x86_indirect_thunk_") => calls += 1,
                    _ => {}
                }
            }
        }
        if returns == 0 || calls == 0 {
            bail!("there are {returns} returns and {calls} indirect calls: that cannot be");
        }
        Ok(format!("{returns} returns and {calls} indirect calls, all through thunks"))
    }

    /// The kernel does not save vector and floating-point registers for its own code.
    fn no_vectors_x86_64(&self) -> Result<String> {
        let mut count = 0u32;
        for instruction in self.instructions() {
            count += 1;
            let registers = (0..instruction.op_count()).map(|operand| instruction.op_register(operand));
            if registers
                .into_iter()
                .any(|register| register.is_vector_register() || register.is_mm() || register.is_st())
            {
                bail!("the instruction at {:#x} uses a vector register", instruction.ip());
            }
        }
        Ok(format!("none of {count} instructions"))
    }

    /// The same by the encoding of A64: op0 is x111 for vector instructions, x1x0 with V for loads and stores of vector
    /// registers.
    fn no_vectors_aarch64(&self) -> Result<String> {
        for (at, word) in self.text.chunks_exact(4).enumerate() {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            let op0 = word >> 25 & 0xf;
            if op0 & 0b0111 == 0b0111 || (op0 & 0b0101 == 0b0100 && word >> 26 & 1 == 1) {
                bail!("the instruction at {:#x} uses a vector register", at * 4);
            }
        }
        Ok(format!("none of {} instructions", self.text.len() / 4))
    }
}
