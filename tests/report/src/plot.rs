// SPDX-License-Identifier: CECILL-B
//! Plots of bandwidth over size for documents.

use anyhow::{anyhow, bail, Context, Result};
use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::{
    ChartBuilder, Circle, IntoDrawingArea, IntoFont, LineSeries, PathElement, RGBColor, SVGBackend,
    SeriesLabelPosition, BLACK, WHITE,
};
use plotters::style::{register_font, Color, FontStyle};

/// A line of the plot.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Bytes, and GB/s.
    pub points: Vec<(f64, f64)>,
}

/// The palette of Okabe and Ito, which is distinguishable with colour blindness.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
];

/// Draws the lines as SVG.
///
/// # Errors
/// If there is nothing to draw.
pub fn bandwidth(title: &str, lines: &[Line]) -> Result<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let least = points().map(|point| point.0).reduce(f64::min).context("there is nothing to draw")?;
    let most = points().map(|point| point.0).fold(least, f64::max);
    let highest = points().map(|point| point.1).fold(0.0, f64::max) * 1.05;
    // The font is used to measure the text; a reader may have another one.
    if register_font("sans-serif", FontStyle::Normal, ttf_noto_sans::REGULAR).is_err() {
        bail!("the font of the pictures cannot be read");
    }
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (760, 420)).into_drawing_area();
        area.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 16).into_font())
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(52)
            .build_cartesian_2d((least..most * 1.01).log_scale().base(2.0), 0.0..highest)
            .map_err(|error| anyhow!("{error}"))?;
        chart
            .configure_mesh()
            .x_desc("size of a message")
            .y_desc("GB/s")
            .x_label_formatter(&|bytes| size(*bytes))
            .y_label_formatter(&|speed| format!("{speed:.0}"))
            .light_line_style(WHITE)
            .draw()
            .map_err(|error| anyhow!("{error}"))?;
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))
                .map_err(|error| anyhow!("{error}"))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
            chart
                .draw_series(line.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))
                .map_err(|error| anyhow!("{error}"))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .border_style(BLACK)
            .background_style(WHITE)
            .draw()
            .map_err(|error| anyhow!("{error}"))?;
        area.present().map_err(|error| anyhow!("{error}"))?;
    }
    Ok(text)
}

/// Formats a size as in the documents.
pub fn size(bytes: f64) -> String {
    let kibibytes = bytes / 1024.0;
    match kibibytes {
        small if small < 1.0 => format!("{bytes:.0} B"),
        middle if middle < 1024.0 => format!("{middle:.0} KiB"),
        large => format!("{:.0} MiB", large / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_in_the_picture() {
        let line = |name: &str, factor: f64| Line {
            name: name.to_owned(),
            points: (13..25).map(|bit| (f64::from(1 << bit), factor * f64::from(bit))).collect(),
        };
        let svg = bandwidth("a title", &[line("KNEM", 1.0), line("CMA", 0.5)]).expect("drawn");
        for word in ["a title", "KNEM", "CMA", "64 KiB", "GB/s"] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(bandwidth("nothing", &[]).is_err());
    }
}
