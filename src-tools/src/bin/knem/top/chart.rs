// SPDX-License-Identifier: CECILL-B
//! Bar charts on a screen: the history of a rate, with the latest value at the right, and histograms with a scale
//! below.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use knem::{Bucket, Histogram};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Sparkline, Widget};
use ratatui::Frame;

use crate::units::float;

/// Levels that one character can show.
const LEVELS: f64 = 8.0;

/// Draws the history of a rate, scaled to its maximum.
pub(super) fn past(frame: &mut Frame<'_>, area: Rect, values: &VecDeque<f64>, style: Style) {
    let width = usize::from(area.width);
    let shown: Vec<f64> = values.iter().skip(values.len().saturating_sub(width)).copied().collect();
    let most = shown.iter().copied().fold(0.0, f64::max);
    let blank = std::iter::repeat_n(0.0, width.saturating_sub(shown.len()));
    // The highest bar stays an eighth below the line above.
    bars(frame, area, blank.chain(shown.iter().copied()), most, style, LEVELS * f64::from(area.height) - 1.0);
}

/// Draws a histogram between two powers of two; values outside are in the bars at the ends.
pub(super) fn histogram(
    frame: &mut Frame<'_>,
    area: Rect,
    histogram: &Histogram,
    powers: RangeInclusive<u32>,
    label: fn(f64) -> String,
    style: Style,
) {
    const EACH: usize = 5;
    let (first, last) = (*powers.start(), *powers.end());
    let mut counts = vec![0u64; powers.clone().count()];
    for Bucket { least, count } in histogram.buckets() {
        let power = least.checked_ilog2().unwrap_or(0).clamp(first, last);
        if let Some(sum) = counts.get_mut((power - first) as usize) {
            *sum += count;
        }
    }
    let wide = (usize::from(area.width) / counts.len().max(1)).max(1);
    let most = counts.iter().copied().max().unwrap_or(0);
    let (plot, scale) = (Rect { height: area.height.saturating_sub(1), ..area }, area.bottom().saturating_sub(1));
    let values = counts.iter().flat_map(|count| std::iter::repeat_n(float(*count), wide));
    bars(frame, plot, values, float(most), style, LEVELS * f64::from(plot.height));
    for (n, power) in powers.enumerate().step_by(EACH) {
        let Ok(x) = u16::try_from(n * wide) else { continue };
        let left = area.width.saturating_sub(x).min(u16::try_from(EACH * wide).unwrap_or(u16::MAX));
        if left >= 4 {
            let cell = Rect { x: area.x + x, y: scale, width: left, height: 1 };
            Line::from(label(float(1u64 << power))).render(cell, frame.buffer_mut());
        }
    }
}

/// Draws bars proportional to `most`, which is `top` levels high. A value above 0 has at least one level.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn bars(frame: &mut Frame<'_>, area: Rect, values: impl Iterator<Item = f64>, most: f64, style: Style, top: f64) {
    let level = |value: f64| if most > 0.0 { (value / most * top).ceil() as u64 } else { 0 };
    let levels: Vec<u64> = values.map(level).collect();
    let all = (LEVELS * f64::from(area.height)) as u64;
    Sparkline::default().data(&levels).max(all).style(style).render(area, frame.buffer_mut());
}
