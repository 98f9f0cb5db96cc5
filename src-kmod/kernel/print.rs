// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's log.

use core::fmt::{Arguments, Write};

/// Longest line in bytes; the rest is truncated.
const LONGEST: usize = 240;

struct Line {
    text: [u8; LONGEST],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            *self.text.get_mut(self.length).ok_or(core::fmt::Error)? = byte;
            self.length = self.length.wrapping_add(1);
        }
        Ok(())
    }
}

#[doc(hidden)]
pub fn print(level: u32, prefix: &str, arguments: Arguments<'_>) {
    let mut line = Line { text: [0; LONGEST], length: 0 };
    // This fails if the line is too long: what fits is printed.
    let _ = line.write_str(prefix).and_then(|()| line.write_fmt(arguments));
    // SAFETY: `line.text` has `length` bytes that were written.
    unsafe { crate::ffi::standin_print(level, line.text.as_ptr(), line.length) }
}

/// Prints a line of level error; formatted as by `format_args!`, ends in a newline.
#[macro_export]
macro_rules! pr_err {
    ($($argument:tt)*) => { $crate::print::print(3, crate::__LOG_PREFIX, format_args!($($argument)*)) };
}

/// Prints a line of level warning.
#[macro_export]
macro_rules! pr_warn {
    ($($argument:tt)*) => { $crate::print::print(4, crate::__LOG_PREFIX, format_args!($($argument)*)) };
}

/// Prints a line of level info.
#[macro_export]
macro_rules! pr_info {
    ($($argument:tt)*) => { $crate::print::print(6, crate::__LOG_PREFIX, format_args!($($argument)*)) };
}
