// SPDX-License-Identifier: CECILL-B
//! Manual pages and completion scripts, generated from the description of the command line.

use std::fs;
use std::io::{self, stdout, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::bench::Method;
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
    clap_complete::generate(shell, &mut completed(&Cli::command()), "knem", &mut script);
    Ok(stdout().write_all(&script)?)
}

/// Returns the parts of a command that a completion script offers: no hidden ones. Lists of methods complete to the
/// names of methods.
fn completed(command: &clap::Command) -> clap::Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned();
    let arguments = arguments.map(|argument| match argument.get_id().as_str() {
        "methods" => argument.value_delimiter(',').value_parser(Method::words()),
        _ => argument,
    });
    let subcommands = command.get_subcommands().filter(|command| !command.is_hide_set()).map(completed);
    let mut shown = clap::Command::new(command.get_name().to_owned()).args(arguments).subcommands(subcommands);
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned());
    }
    shown
}

/// Writes the manual pages into a directory: `knem.1`, and `knem-COMMAND.1` for each command.
pub(crate) fn manual_pages(directory: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error| Failure::Other(format!("cannot write {}: {error}", path.display()));
    for (name, page) in pages()? {
        let path = directory.join(format!("{name}.1"));
        fs::write(&path, tidy(&page)).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Removes roff requests without effect, which `mandoc -T lint` reports: a paragraph before a section, a line break
/// next to a blank line.
fn tidy(page: &[u8]) -> String {
    let page = String::from_utf8_lossy(page).replace(".br\n\n.br\n", ".sp\n");
    let mut lines: Vec<&str> = Vec::new();
    for line in page.lines() {
        if line.starts_with(".SH ") {
            while lines.last() == Some(&".PP") {
                lines.pop();
            }
        }
        lines.push(line);
    }
    lines.join("\n") + "\n"
}

/// Returns every page, with its name.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command();
    command.build();
    let mut pages = vec![(command.get_name().to_owned(), front_page(&command)?)];
    for subcommand in shown(&command) {
        let name = format!("knem-{}", subcommand.get_name());
        pages.push((name.clone(), page(subcommand, &name)?));
    }
    Ok(pages)
}

/// Returns the documented commands.
fn shown(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

/// Returns knem(1): the list of commands, and what they have in common.
fn front_page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).manual("KNEM").source(SOURCE).date(date());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    for subcommand in shown(command) {
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        let name = subcommand.get_name();
        writeln!(page, ".TP\n\\fBknem {name}\\fR\n{}; see\n.BR knem\\-{name} (1).", escaped(&about))?;
    }
    page.write_all(CLOSING.as_bytes())?;
    write_sections(&mut page, command)?;
    see_also(&mut page, command, None)?;
    Ok(page)
}

/// Returns the page of a command.
fn page(command: &clap::Command, name: &str) -> io::Result<Vec<u8>> {
    // knem(1) documents the common options and --help.
    let own = command.clone().name(name.to_owned()).mut_args(|argument| {
        let common = argument.is_global_set() || argument.get_id() == "help";
        let hidden = argument.is_hide_set();
        argument.hide(common || hidden)
    });
    let man = Man::new(own).title(name).section("1").manual("KNEM").source(SOURCE).date(date());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    write_sections(&mut page, command)?;
    writeln!(page, ".SH \"EXIT STATUS\"\nSee\n.BR knem (1).")?;
    see_also(&mut page, command, Some(name))?;
    Ok(page)
}

/// Writes the text after the options of a command's help as sections. A line that is not indented and ends in a colon
/// is a heading. An indented line is a term, at least two spaces, and its meaning. Everything else is text.
fn write_sections(page: &mut Vec<u8>, command: &clap::Command) -> io::Result<()> {
    let text = command.get_after_long_help().or_else(|| command.get_after_help()).map(ToString::to_string);
    for line in text.unwrap_or_default().lines() {
        let content = line.trim();
        let indented = line.starts_with(' ');
        if content.is_empty() {
            writeln!(page, ".PP")?;
        } else if let (false, Some(heading)) = (indented, content.strip_suffix(':')) {
            writeln!(page, ".SH \"{}\"", escaped(&heading.to_uppercase()))?;
        } else if let (true, Some((term, meaning))) = (indented, content.split_once("  ")) {
            writeln!(page, ".TP\n\\fB{}\\fR\n{}", escaped(term), escaped(meaning.trim()))?;
        } else {
            writeln!(page, "{}", escaped(content))?;
        }
    }
    Ok(())
}

/// Writes the references to the other pages.
fn see_also(page: &mut Vec<u8>, command: &clap::Command, except: Option<&str>) -> io::Result<()> {
    writeln!(page, ".SH \"SEE ALSO\"")?;
    let mut names: Vec<String> = match except {
        // clap's subcommand does not know its siblings.
        Some(_) => vec!["knem".to_owned()],
        None => shown(command).map(|command| format!("knem-{}", command.get_name())).collect(),
    };
    names.sort();
    for name in names {
        writeln!(page, ".BR {} (1),", escaped(&name))?;
    }
    writeln!(page, ".BR knem (4)")
}

/// Escapes text for roff.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

/// Returns the date of the pages: that of knem(4), which is written by hand.
fn date() -> &'static str {
    let title = include_str!("../../../../docs/man/knem.4").lines().find(|line| line.starts_with(".TH "));
    title.and_then(|title| title.split_whitespace().nth(3)).unwrap_or_default()
}

/// Footer of every page.
const SOURCE: &str = concat!("KNEM ", env!("CARGO_PKG_VERSION"));

/// Sections that are not in the description of the command line.
const CLOSING: &str = r#".SH OUTPUT
With \fB\-\-json\fR the output is one JSON object. Its key \fBschema\fR names the kind of output and \fBversion\fR
counts changes that could break a reader; new keys may appear at any time. Numbers are integers; the
unit is part of the key.
.SH ENVIRONMENT
.TP
.B NO_COLOR
If set and not empty, disables colours.
.TP
.B CLICOLOR_FORCE
If set and not 0, enables colours even if the output is not a terminal.
.TP
.B COLUMNS
Line width for sentences, from 40 to 100.
.SH FILES
.TP
.I /dev/knem
The device. Reading it returns the statistics as text.
.TP
.I /proc/driver/knem
The detailed statistics.
.TP
.I /usr/include/knem_io.h
The interface, for programs in C and C++.
.SH EXAMPLES
.TP
.B knem doctor
Check whether KNEM can be used here, and why not.
.TP
.B knem stat 5
Show every five seconds whether it is used.
.TP
.B knem bench \-\-plot knem.svg
Measure and plot its speed on this machine.
"#;

#[cfg(test)]
mod tests {
    use std::process::Command;

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

    fn text(name: &str) -> String {
        let page = pages().unwrap().into_iter().find(|page| page.0 == name).unwrap().1;
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn every_command_has_a_page_and_is_in_the_first_one() {
        let front = text("knem");
        for name in ["stat", "top", "regions", "info", "doctor", "bench", "selftest", "completions"] {
            assert!(front.contains(&format!("\\fBknem {name}\\fR")), "{name} is missing:\n{front}");
            assert!(text(&format!("knem-{name}")).starts_with(".ie"), "{name}");
        }
        for part in ["EXIT STATUS", "wrong usage", "/dev/knem", "\\-\\-device"] {
            assert!(front.contains(part), "{part} is missing:\n{front}");
        }
    }

    #[test]
    fn pages_tell_each_option_and_none_that_is_hidden() {
        let command = Cli::command();
        for subcommand in shown(&command) {
            let page = text(&format!("knem-{}", subcommand.get_name()));
            let shown = subcommand.get_arguments().filter(|argument| !argument.is_hide_set());
            for option in shown.filter_map(clap::Arg::get_long).filter(|name| *name != "help") {
                let name = format!("\\-\\-{}", option.replace('-', "\\-"));
                assert!(page.contains(&name), "{name} is missing:\n{page}");
            }
            let hidden = subcommand.get_arguments().filter(|argument| argument.is_hide_set());
            for option in hidden.filter_map(clap::Arg::get_long) {
                assert!(!page.contains(&format!("\\-\\-{option}")), "{option} stays hidden:\n{page}");
            }
            assert!(!page.contains("__"), "hidden commands stay hidden:\n{page}");
        }
    }

    #[test]
    fn titles_have_all_their_fields() {
        for (name, page) in pages().unwrap() {
            let text = String::from_utf8(page).unwrap();
            let title = text.lines().find(|line| line.starts_with(".TH ")).unwrap();
            assert!(title.contains(&format!(" 1 {} \"", date())), "{name}: {title}");
        }
        assert!(date().starts_with("20") && date().len() == 10, "{}", date());
    }

    #[test]
    fn pages_are_well_formed() {
        let directory = tempfile::tempdir().unwrap();
        manual_pages(directory.path()).unwrap();
        let pages: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(pages.len(), 9, "{pages:?}");
        match Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(&pages).output() {
            Ok(output) => assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout)),
            // `make check` installs it.
            Err(error) if std::env::var_os("CI").is_some() => panic!("mandoc: {error}"),
            Err(error) => eprintln!("skipped, mandoc: {error}"),
        }
    }

    #[test]
    fn completions_have_values_and_nothing_hidden() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut completed(&Cli::command()), "knem", &mut script);
            let script = String::from_utf8(script).unwrap();
            for hidden in ["__man", "__bench-peer", "__selftest-other", "--proc"] {
                assert!(!script.contains(hidden), "{shell}: {hidden}");
            }
            assert!(script.contains("knem-oneshot"), "{shell}: no methods");
        }
    }

    #[test]
    fn a_help_text_becomes_sections() {
        let command = clap::Command::new("x").after_help("Some words:\n  a b  what it is\nAnd -this.\n");
        let mut page = Vec::new();
        write_sections(&mut page, &command).unwrap();
        let expected = ".SH \"SOME WORDS\"\n.TP\n\\fBa b\\fR\nwhat it is\nAnd \\-this.\n";
        assert_eq!(String::from_utf8(page).unwrap(), expected);
    }

    #[test]
    fn lines_cannot_become_roff_requests() {
        assert_eq!(escaped(".SH x"), "\\&.SH x");
        assert_eq!(escaped("a-b\\c"), "a\\-b\\ec");
    }
}
