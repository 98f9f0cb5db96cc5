// SPDX-License-Identifier: CECILL-B
//! Output as a plot: bandwidth and time over size, as SVG or PNG depending on the file name.
//!
//! Both use the same drawing code. A PNG is drawn at three times the size and scaled down, which smooths the lines that
//! the drawing library does not. Its font is part of this program, so that no font has to be installed.

mod axes;
mod drawing;
mod line_style;
mod png;

use std::path::Path;

use plotters::prelude::{IntoDrawingArea, SVGBackend};

use self::drawing::{draw, HEIGHT, WIDTH};
use crate::bench::results::Results;
use crate::exit::Failure;

/// Kinds of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines and text.
    Svg,
    /// Pixels.
    Png,
}

impl Format {
    /// Returns the format of a file name.
    pub(crate) fn of(file: &Path) -> Result<Self, Failure> {
        let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match extension.as_str() {
            "svg" => Ok(Self::Svg),
            "png" => Ok(Self::Png),
            _ => Err(Failure::Usage(format!("--plot: {} has no known extension: use .svg or .png", file.display()))),
        }
    }
}

/// Draws to a file.
pub(crate) fn write(results: &Results, file: &Path) -> Result<(), Failure> {
    let bytes = match Format::of(file)? {
        Format::Svg => svg(results)?.into_bytes(),
        Format::Png => png::draw_png(results)?,
    };
    std::fs::write(file, bytes).map_err(|error| Failure::Other(format!("cannot write {}: {error}", file.display())))
}

/// Returns the picture as SVG.
fn svg(results: &Results) -> Result<String, Failure> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, HEIGHT)).into_drawing_area();
        draw(&area, results, 1)?;
        area.present().map_err(|error| cannot(&error))?;
    }
    Ok(text)
}

/// Creates the failure of drawing.
fn cannot(error: &dyn std::fmt::Display) -> Failure {
    Failure::Other(format!("--plot: cannot draw: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::methods::Method;
    use crate::bench::results::samples;

    fn sizes() -> Vec<usize> {
        (12..=26).map(|bit| 1 << bit).collect()
    }

    #[test]
    fn names_of_files_say_the_format() {
        assert_eq!(Format::of(Path::new("a/b.svg")).ok(), Some(Format::Svg));
        assert_eq!(Format::of(Path::new("B.PNG")).ok(), Some(Format::Png));
        for name in ["plot", "plot.gif", "svg"] {
            assert!(Format::of(Path::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn the_picture_does_not_change_by_itself() {
        let methods = [Method::KnemCached, Method::KnemOneshot, Method::VmRead, Method::Shm, Method::Memcpy];
        insta::assert_snapshot!("bench_plot", svg(&samples::results(&methods, &sizes())).unwrap());
    }

    #[test]
    fn axes_and_lines_are_named() {
        let text = svg(&samples::results(&Method::ALL, &sizes())).unwrap();
        for part in ["4 KiB", "64 MiB", "bandwidth", "time of a copy", "size of the message", "GiB/s", "microseconds"] {
            assert!(text.contains(part), "{part}");
        }
        for method in Method::ALL {
            assert!(text.contains(method.name()), "{}", method.name());
        }
        for part in ["node17", "7.2.12", "seed 4711", "2026-11-21"] {
            assert!(text.contains(part), "{part}");
        }
    }

    #[test]
    fn a_single_size_is_drawn_as_well() {
        assert!(svg(&samples::results(&[Method::Shm], &[5000])).unwrap().contains("shm"));
    }

    #[test]
    fn names_cannot_break_the_picture() {
        let mut results = samples::results(&[Method::Shm], &[4096]);
        results.environment.host = "<&\">".to_owned();
        assert!(svg(&results).unwrap().contains("&lt;&amp;"));
    }
}
