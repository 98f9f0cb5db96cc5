// SPDX-License-Identifier: CECILL-B
//! The drawing, on any backend: a title, two panels over size, and a legend.

use plotters::coord::Shift;
use plotters::element::{Circle, DashedPathElement, EmptyElement, PathElement, Polygon};
use plotters::prelude::{
    ChartBuilder, Color, DrawingArea, DrawingBackend, IntoFont, ShapeStyle, TextStyle, BLACK, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{register_font, FontStyle, RGBColor};

use super::axes::{bandwidth_label, size_label, time_label, Axis};
use super::cannot;
use super::line_style::{line_style, LineStyle, Mark};
use crate::bench::methods::Method;
use crate::bench::results::{Compared, Results};
use crate::exit::Failure;
use crate::units::float;

/// Width of the picture in units.
pub(super) const WIDTH: u32 = 1280;
/// Height of the picture in units.
pub(super) const HEIGHT: u32 = 620;

/// Font family: an SVG names it for the viewer; a PNG uses the font in this program.
const FAMILY: &str = "sans-serif";
const TITLE_HEIGHT: u32 = 70;
const LEGEND_WIDTH: u32 = 150;
const GREY: RGBColor = RGBColor(90, 90, 90);
const FAINT: RGBColor = RGBColor(225, 225, 225);

/// A panel.
struct Panel {
    title: &'static str,
    /// Label of the axis.
    unit: &'static str,
    label: fn(f64) -> String,
    /// Median, 10th and 90th percentile.
    values: fn(&Compared) -> [f64; 3],
}

const PANELS: [Panel; 2] = [
    Panel {
        title: "bandwidth",
        unit: "bandwidth of the median copy",
        label: bandwidth_label,
        values: |compared| {
            let times = &compared.row.times;
            [times.median_ns, times.p10_ns, times.p90_ns]
                .map(|time| float(compared.row.size as u64) * 1e9 / float(time.max(1)))
        },
    },
    Panel {
        title: "time of a copy",
        unit: "median time of a copy, in microseconds",
        label: time_label,
        values: |compared| {
            let times = &compared.row.times;
            [times.median_ns, times.p10_ns, times.p90_ns].map(|time| float(time.max(1)) / 1e3)
        },
    },
];

/// Draws everything with `scale` pixels per unit.
pub(super) fn draw<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    results: &Results,
    scale: u32,
) -> Result<(), Failure> {
    // It fails only for bytes that are not a font; registering it again replaces it.
    let _ = register_font(FAMILY, FontStyle::Normal, ttf_noto_sans::REGULAR);
    let pen = Pen { results, scale };
    area.fill(&WHITE).map_err(|error| cannot(&error))?;
    let (title, body) = area.split_vertically(pen.length(TITLE_HEIGHT));
    let (panels, legend) = body.split_horizontally(pen.length(WIDTH - LEGEND_WIDTH));
    pen.title(&title)?;
    for (panel, area) in PANELS.iter().zip(panels.split_evenly((1, PANELS.len()))) {
        pen.panel(&area, panel)?;
    }
    pen.legend(&legend)
}

struct Pen<'a> {
    results: &'a Results,
    scale: u32,
}

impl Pen<'_> {
    fn length(&self, units: u32) -> u32 {
        units * self.scale
    }

    fn units(&self, units: i32) -> i32 {
        units * i32::try_from(self.scale).unwrap_or(1)
    }

    fn font(&self, size: u32, colour: RGBColor) -> TextStyle<'static> {
        let font = (FAMILY, f64::from(self.length(size))).into_font();
        TextStyle { color: colour.to_backend_color(), ..TextStyle::from(font) }
    }

    fn title<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<(), Failure> {
        let of = &self.results.environment;
        let driver = of.module_version.as_ref().map(|version| format!("KNEM {version}, ")).unwrap_or_default();
        let virtual_machine = if of.virtual_machine { ", virtual machine" } else { "" };
        let title = format!("Copies between two processes: {driver}{}, Linux {}", of.host, of.kernel);
        let details = format!(
            "{}{virtual_machine}; CPUs {} and {} ({}); caches {}; medians, bands from 10th to 90th percentile; {}, seed {}",
            of.processor,
            of.first_cpu,
            of.second_cpu,
            of.relation,
            of.caches(),
            of.started,
            of.seed
        );
        let left = self.units(16);
        area.draw_text(&title, &self.font(24, BLACK), (left, self.units(10))).map_err(|error| cannot(&error))?;
        area.draw_text(&details, &self.font(14, GREY), (left, self.units(42))).map_err(|error| cannot(&error))
    }

    fn panel<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, panel: &Panel) -> Result<(), Failure> {
        let rows = &self.results.rows;
        let sizes = Axis::of(rows.iter().map(|compared| float(compared.row.size as u64)), 8, false);
        let values = Axis::of(rows.iter().flat_map(|compared| (panel.values)(compared)), 12, true);
        let mut chart = ChartBuilder::on(area)
            .caption(panel.title, self.font(18, BLACK))
            .margin(self.length(8))
            .margin_right(self.length(24))
            .x_label_area_size(self.length(52))
            .y_label_area_size(self.length(96))
            .build_cartesian_2d(sizes.clone(), values.clone())
            .map_err(|error| cannot(&error))?;
        chart
            .configure_mesh()
            .bold_line_style(self.stroke(FAINT, 1))
            .light_line_style(WHITE.mix(0.0))
            .axis_style(self.stroke(GREY, 1))
            .label_style(self.font(15, BLACK))
            .axis_desc_style(self.font(15, GREY))
            .set_all_tick_mark_size(self.length(5))
            .x_labels(sizes.labels.len())
            .y_labels(values.labels.len())
            .x_label_formatter(&|power| size_label(*power))
            .y_label_formatter(&|power| (panel.label)(*power))
            .x_desc("size of the message")
            .y_desc(panel.unit)
            .draw()
            .map_err(|error| cannot(&error))?;
        for method in self.methods() {
            let style = line_style(method);
            let of_method = || rows.iter().filter(move |compared| compared.row.method == method);
            let points = |which: usize| {
                let point = move |compared: &Compared| {
                    (float(compared.row.size as u64).log2(), (panel.values)(compared)[which].log2())
                };
                let mut points: Vec<(f64, f64)> = of_method().map(point).collect();
                points.sort_by(|one, other| one.0.total_cmp(&other.0));
                points
            };
            let mut band = points(1);
            band.extend(points(2).into_iter().rev());
            chart
                .plotting_area()
                .draw(&Polygon::new(band, style.colour.mix(0.15).filled()))
                .map_err(|error| cannot(&error))?;
            self.line(chart.plotting_area(), points(0), &style)?;
        }
        Ok(())
    }

    /// Draws the legend.
    fn legend<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Result<(), Failure> {
        let text = self.font(16, BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        for (number, method) in self.methods().into_iter().enumerate() {
            let y = self.units(60 + 24 * i32::try_from(number).unwrap_or(0));
            let points = [8, 22, 36].map(|x| (self.units(x), y));
            let style = line_style(method);
            self.stroke_line(area, vec![points[0], points[2]], &style)?;
            self.mark(area, points[1], &style)?;
            area.draw_text(method.name(), &text, (self.units(44), y)).map_err(|error| cannot(&error))?;
        }
        Ok(())
    }

    /// Returns the methods that have rows, in the order of reports.
    fn methods(&self) -> Vec<Method> {
        let measured = |method: &Method| self.results.rows.iter().any(|compared| compared.row.method == *method);
        Method::ALL.into_iter().filter(measured).collect()
    }

    fn stroke(&self, colour: RGBColor, width: u32) -> ShapeStyle {
        colour.stroke_width(self.length(width))
    }

    fn line<DB: DrawingBackend, C>(
        &self,
        area: &DrawingArea<DB, C>,
        points: Vec<C::From>,
        style: &LineStyle,
    ) -> Result<(), Failure>
    where
        C: plotters::coord::CoordTranslate,
        C::From: Clone + 'static,
    {
        self.stroke_line(area, points.clone(), style)?;
        for point in points {
            self.mark(area, point, style)?;
        }
        Ok(())
    }

    fn stroke_line<DB: DrawingBackend, C>(
        &self,
        area: &DrawingArea<DB, C>,
        points: Vec<C::From>,
        style: &LineStyle,
    ) -> Result<(), Failure>
    where
        C: plotters::coord::CoordTranslate,
        C::From: Clone + 'static,
    {
        let stroke = self.stroke(style.colour, 2);
        let drawn = if style.dashed {
            area.draw(&DashedPathElement::new(points, self.units(6), self.units(4), stroke))
        } else {
            area.draw(&PathElement::new(points, stroke))
        };
        drawn.map_err(|error| cannot(&error))
    }

    fn mark<DB: DrawingBackend, C>(
        &self,
        area: &DrawingArea<DB, C>,
        at: C::From,
        style: &LineStyle,
    ) -> Result<(), Failure>
    where
        C: plotters::coord::CoordTranslate,
        C::From: Clone + 'static,
    {
        let filled = style.colour.filled();
        let corners =
            |corners: &[(i32, i32)]| corners.iter().map(|(x, y)| (self.units(*x), self.units(*y))).collect::<Vec<_>>();
        let polygon = |points: &[(i32, i32)]| EmptyElement::at(at.clone()) + Polygon::new(corners(points), filled);
        let drawn = match style.mark {
            Mark::Disc => area.draw(&Circle::new(at.clone(), self.units(4), filled)),
            Mark::Ring => area
                .draw(&Circle::new(at.clone(), self.units(4), WHITE.filled()))
                .and_then(|()| area.draw(&Circle::new(at.clone(), self.units(4), self.stroke(style.colour, 2)))),
            Mark::Square => area.draw(&polygon(&[(-4, -4), (4, -4), (4, 4), (-4, 4)])),
            Mark::Triangle => area.draw(&polygon(&[(-5, 4), (5, 4), (0, -5)])),
            Mark::Tip => area.draw(&polygon(&[(-5, -4), (5, -4), (0, 5)])),
            Mark::Diamond => area.draw(&polygon(&[(-5, 0), (0, -5), (5, 0), (0, 5)])),
        };
        drawn.map_err(|error| cannot(&error))
    }
}
