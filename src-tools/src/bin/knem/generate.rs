// SPDX-License-Identifier: CECILL-B
//! Manual page and completion scripts, made from the command line's own description.

use std::io::{stdout, Write};

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::{Cli, Shell};
use crate::exit::Failure;

/// Writes the completion script for `shell`.
pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "knem", &mut script);
    Ok(stdout().write_all(&script)?)
}

/// Writes knem(1).
pub(crate) fn manual_page() -> Result<(), Failure> {
    Ok(stdout().write_all(&page()?)?)
}

/// The manual page: the command, then each of its commands, then exit status and files.
fn page() -> std::io::Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone()).manual("KNEM");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
    {
        write_command(&mut page, subcommand)?;
    }
    page.write_all(CLOSING.as_bytes())?;
    Ok(page)
}

/// One command: its own options only, because the common ones stand above.
fn write_command(page: &mut Vec<u8>, command: &clap::Command) -> std::io::Result<()> {
    writeln!(page, ".SS \"knem {}\"", command.get_name())?;
    let about = command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string);
    for paragraph in about.unwrap_or_default().split("\n\n") {
        writeln!(page, ".PP\n{}", escaped(paragraph))?;
    }
    let own = command.get_arguments().filter(|argument| !argument.is_global_set() && argument.get_id() != "help");
    for argument in own {
        let name = match argument.get_long() {
            Some(long) => format!("\\-\\-{}", escaped(long)),
            None => String::new(),
        };
        let value = match argument.get_value_names() {
            Some(names) if argument.get_action().takes_values() => format!(" \\fI{}\\fR", names.join(" ")),
            _ => String::new(),
        };
        writeln!(page, ".TP\n\\fB{name}\\fR{value}")?;
        writeln!(page, "{}", escaped(&argument.get_help().map(ToString::to_string).unwrap_or_default()))?;
        let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if argument.get_action().takes_values() && !defaults.is_empty() {
            writeln!(page, "[default: {}]", escaped(&defaults.join(" ")))?;
        }
    }
    Ok(())
}

/// Text as roff takes it literally.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

/// What is not in the command line's description.
const CLOSING: &str = r#".SH OUTPUT
With \fB\-\-json\fR the output is one JSON object. Its key \fBschema\fR names the kind of output and \fBversion\fR
counts changes that could break a reader; new keys may appear at any time. Numbers are integers; the
unit is part of the key.
.SH "EXIT STATUS"
.TP
.B 0
Success.
.TP
.B 1
Failure, wrong data in a benchmark included.
.TP
.B 2
Wrong usage.
.TP
.B 3
No device: the module is not loaded, or the node is missing.
.TP
.B 4
Permission denied.
.TP
.B 5
Driver and command speak different versions of the interface.
.SH FILES
.TP
.I /dev/knem
The device. Reading it gives the statistics as text.
.TP
.I /usr/include/knem_io.h
The interface, for programs in C and C++.
.SH EXAMPLES
.TP
.B knem info
Is the driver there, and may I use it?
.TP
.B knem stat
Has it been used?
.TP
.B knem bench \-\-sizes 64K..16M \-\-json
How fast is it here?
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_device_is_that_of_the_interface() {
        let command = Cli::command();
        let device = command.get_arguments().find(|argument| argument.get_id() == "device").unwrap();
        assert_eq!(device.get_default_values(), [knem::DEVICE_FILENAME]);
    }

    #[test]
    fn the_page_has_every_command_and_option() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        for part in [
            ".TH knem",
            "knem info",
            "knem stat",
            "knem bench",
            "knem completions",
            "no\\-region\\-cost",
            "EXIT STATUS",
        ] {
            assert!(page.contains(part), "{part} is missing:\n{page}");
        }
        assert!(!page.contains("__"), "hidden commands stay hidden:\n{page}");
    }

    #[test]
    fn lines_cannot_become_roff_requests() {
        assert_eq!(escaped(".SH x"), "\\&.SH x");
        assert_eq!(escaped("a-b\\c"), "a\\-b\\ec");
    }
}
