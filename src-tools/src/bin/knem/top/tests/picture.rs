// SPDX-License-Identifier: CECILL-B
//! A screen as a picture: `docs/images/top.svg`. To draw it again after a change:
//! `KNEM_PICTURES=1 cargo test -p knem-tools --bin knem picture`.

use std::fmt::Write;
use std::path::Path;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

const WIDTH: u16 = 8;
const HEIGHT: u16 = 17;
const MARGIN: u16 = 12;

/// Compares a screen with its picture, or draws it.
pub(crate) fn check(name: &str, screen: &Buffer) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let picture = svg(screen);
    if std::env::var_os("KNEM_PICTURES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &picture).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == picture, "{name} is not this screen: draw it again with KNEM_PICTURES=1");
}

/// Draws bars as rectangles, since fonts differ in their shapes, and the rest as text, each run at its position and of
/// its length.
fn svg(screen: &Buffer) -> String {
    let area = screen.area;
    let (width, height) = (area.width * WIDTH + 2 * MARGIN, area.height * HEIGHT + 2 * MARGIN);
    // REUSE-IgnoreStart
    let mut svg = format!(
        "<!-- SPDX-License-Identifier: CECILL-B -->\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <title>knem top</title>\n<rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#16181d\"/>\n\
         <g font-family=\"DejaVu Sans Mono, Liberation Mono, monospace\" font-size=\"13\" xml:space=\"preserve\">\n"
    );
    // REUSE-IgnoreEnd
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let cell = &screen[(x, y)];
            if let Some(eighths) = bar(cell) {
                let tall = f32::from(HEIGHT) * f32::from(eighths) / 8.0;
                let (left, bottom) = (MARGIN + x * WIDTH, MARGIN + (y + 1) * HEIGHT);
                let top = f32::from(bottom) - tall;
                writeln!(
                    svg,
                    "<rect x=\"{left}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{tall}\" fill=\"{}\"/>",
                    colour(cell)
                )
                .unwrap();
                x += 1;
                continue;
            }
            let mut run = String::new();
            let start = x;
            while x < area.width && bar(&screen[(x, y)]).is_none() && same(cell, &screen[(x, y)]) {
                run += screen[(x, y)].symbol();
                x += 1;
            }
            words(&mut svg, &run, start, y, cell);
        }
    }
    svg + "</g>\n</svg>\n"
}

/// Draws the words of a run, each at its position.
fn words(svg: &mut String, run: &str, start: u16, y: u16, cell: &Cell) {
    let weight = if cell.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let mut x = start;
    for word in run.split(' ') {
        let length = u16::try_from(word.chars().count()).unwrap();
        if length != 0 {
            let (left, base) = (MARGIN + x * WIDTH, MARGIN + y * HEIGHT + 13);
            let text = word.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            writeln!(
                svg,
                "<text x=\"{left}\" y=\"{base}\" textLength=\"{}\" fill=\"{}\"{weight}>{text}</text>",
                length * WIDTH,
                colour(cell)
            )
            .unwrap();
        }
        x += length + 1;
    }
}

/// How many eighths of a cell a bar fills.
fn bar(cell: &Cell) -> Option<u8> {
    let eighths = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
    u8::try_from(eighths.iter().position(|bar| *bar == cell.symbol())? + 1).ok()
}

fn same(one: &Cell, other: &Cell) -> bool {
    (one.fg, one.modifier) == (other.fg, other.modifier)
}

fn colour(cell: &Cell) -> &'static str {
    match cell.fg {
        Color::Cyan => "#4fc3d9",
        Color::Green => "#7bc275",
        Color::Red => "#ff7a70",
        _ if cell.modifier.contains(Modifier::DIM) => "#8b93a1",
        _ => "#dfe3ea",
    }
}
