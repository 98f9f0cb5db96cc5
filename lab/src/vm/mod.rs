// SPDX-License-Identifier: CECILL-B
//! Running commands on a stock Debian kernel in qemu.

pub mod add;
pub mod console;
pub mod firmware;
pub mod image;
pub mod initramfs;
pub mod machine;
pub mod qemu;
pub mod stream;

pub use add::Add;
pub use firmware::Firmware;
pub use image::Image;
pub use machine::{run_commands, Options, Outcome, Report, TROUBLE};
