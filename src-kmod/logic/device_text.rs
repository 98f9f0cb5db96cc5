// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The statistics text that a read of `/dev/knem` returns. Its lines are part of the interface.

use crate::logic::counter::{Counter, Totals};
use crate::logic::flags::Masks;
use crate::uapi;
use core::fmt::{Display, Formatter, Result, Write};

/// Bytes that hold any such text: 21 lines, the numbers at their longest, a version of up to 100 characters.
pub const MAX_LEN: usize = 2048;

/// The content of the text.
#[derive(Clone, Copy, Debug)]
pub struct DeviceText<'a> {
    /// Version of the driver.
    pub version: &'a str,
    /// Forced and ignored flags.
    pub masks: Masks,
    /// The state of DMA.
    pub engine: Engine,
    /// Whether the driver logs refusals (parameter `debug`).
    pub debug: bool,
    /// The counters.
    pub totals: &'a Totals,
}

/// The state of DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The kernel is built without DMA engines (CONFIG_DMA_ENGINE).
    NoKernelSupport,
    /// The administrator has disabled it (parameter `dma`).
    Disabled,
    /// No channel is available.
    NoChannel,
    /// A channel is available.
    Available {
        /// Parameter `dmamin`.
        chunk_min: u64,
    },
}

impl Display for Engine {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        match self {
            Self::NoKernelSupport => out.write_str("NoKernelSupport"),
            Self::Disabled => out.write_str("KernelSupported Disabled"),
            Self::NoChannel => out.write_str("KernelSupported Enabled NoChannelAvailable"),
            Self::Available { chunk_min } => {
                write!(out, "KernelSupported Enabled ChansAvail ChunkMin={chunk_min}B")
            }
        }
    }
}

impl DeviceText<'_> {
    /// Writes lines that are not part of the interface, for administrators.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn write_more(&self, out: &mut impl Write) -> Result {
        writeln!(out, " Commands with unknown flags                  : {}", self.totals.get(Counter::UnknownFlags))
    }

    /// Writes the text.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn write(&self, out: &mut impl Write) -> Result {
        let count = |counter| self.totals.get(counter);
        writeln!(out, "knem {}", self.version)?;
        writeln!(out, " Driver ABI=0x{:x}", uapi::ABI_VERSION)?;
        writeln!(out, " Flags: forcing 0x{:x}, ignoring 0x{:x}", self.masks.forced, self.masks.ignored)?;
        writeln!(out, " DMAEngine: {}", self.engine)?;
        writeln!(out, " Debug: BuiltIn {}", if self.debug { "Enabled" } else { "Disabled" })?;
        for (label, counter) in LINES {
            writeln!(out, "{label}: {}", count(counter))?;
        }
        Ok(())
    }
}

/// Labels as in the original driver since 0.9.6.
const LINES: [(&str, Counter); 13] = [
    (" Requests submitted                           ", Counter::Submitted),
    (" Requests processed (total)                   ", Counter::Processed),
    ("          processed (using DMA)               ", Counter::ProcessedDma),
    ("          processed (offloaded to thread)     ", Counter::ProcessedThread),
    ("          processed (with pinned local pages) ", Counter::ProcessedPinned),
    (" Requests rejected (invalid flags)            ", Counter::RejectedFlags),
    ("          rejected (not enough memory)        ", Counter::RejectedMemory),
    ("          rejected (invalid ioctl argument)   ", Counter::RejectedArgument),
    ("          rejected (unexisting region cookie) ", Counter::RejectedCookie),
    ("          rejected (failed to pin local pages)", Counter::RejectedPin),
    (" Requests failed during memcpy from/to user   ", Counter::FailedUserCopy),
    ("          failed during DMA copy              ", Counter::FailedDma),
    (" DMA copy cleanup timeout                     ", Counter::DmaTimeout),
];

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{DeviceText, Engine, MAX_LEN};
    use crate::logic::counter::{Totals, COUNT};
    use crate::logic::flags::Masks;
    use std::string::{String, ToString};

    #[test]
    fn the_text_is_the_interface() {
        let mut totals = Totals::default();
        for (n, value) in totals.0.iter_mut().enumerate() {
            *value = 100 + n as u64;
        }
        let mut text = String::new();
        let masks = Masks { forced: 0x10, ignored: 0xe };
        let engine = Engine::NoKernelSupport;
        let device_text = DeviceText { version: "1.2.3", masks, engine, debug: false, totals: &totals };
        device_text.write(&mut text).expect("a String takes everything");
        assert_eq!(
            text,
            "knem 1.2.3\n Driver ABI=0xd\n Flags: forcing 0x10, ignoring 0xe\n DMAEngine: NoKernelSupport\n \
             Debug: BuiltIn Disabled\n Requests submitted                           : 100\n \
             Requests processed (total)                   : 101\n          \
             processed (using DMA)               : 102\n          \
             processed (offloaded to thread)     : 103\n          \
             processed (with pinned local pages) : 104\n \
             Requests rejected (invalid flags)            : 105\n          \
             rejected (not enough memory)        : 106\n          \
             rejected (invalid ioctl argument)   : 107\n          \
             rejected (unexisting region cookie) : 108\n          \
             rejected (failed to pin local pages): 109\n \
             Requests failed during memcpy from/to user   : 110\n          \
             failed during DMA copy              : 111\n \
             DMA copy cleanup timeout                     : 112\n"
        );
    }

    #[test]
    fn engines_are_told_apart() {
        for (engine, text) in [
            (Engine::NoKernelSupport, "NoKernelSupport"),
            (Engine::Disabled, "KernelSupported Disabled"),
            (Engine::NoChannel, "KernelSupported Enabled NoChannelAvailable"),
            (Engine::Available { chunk_min: 1024 }, "KernelSupported Enabled ChansAvail ChunkMin=1024B"),
        ] {
            assert_eq!(engine.to_string(), text);
        }
    }

    #[test]
    fn the_longest_text_fits() {
        let mut text = String::new();
        let version = "v".repeat(100);
        let masks = Masks { forced: u32::MAX, ignored: u32::MAX };
        let engine = Engine::Available { chunk_min: u64::MAX };
        let device_text =
            DeviceText { version: &version, masks, engine, debug: false, totals: &Totals([u64::MAX; COUNT]) };
        device_text.write(&mut text).expect("a String takes everything");
        assert!(text.len() <= MAX_LEN, "{} bytes", text.len());
    }
}
