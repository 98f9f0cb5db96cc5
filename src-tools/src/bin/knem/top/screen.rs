// SPDX-License-Identifier: CECILL-B
//! The screen: as many parts as fit. The busiest contexts are the last part to be omitted.

use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row as Cells, Table};
use ratatui::Frame;

use super::chart;
use super::state::{Rate, Sort, State};
use crate::stat::numbers::Numbers;
use crate::table::MISSING;
use crate::units::{age, float};

const NUMBERS: Numbers = Numbers { exact: false };
/// Widths of the names of rates, and of their values.
const NAME: u16 = 12;
const VALUE: u16 = 7;
/// Minimum heights for rates by path, and for histograms.
const WITH_PATHS: u16 = 16;
const WITH_HISTOGRAMS: u16 = 22;
/// Minimum width for all columns of the contexts.
const WITH_ALL_COLUMNS: u16 = 72;

/// Styles of the parts.
struct Styles {
    head: Style,
    bars: Style,
    path_bars: Style,
    wrong: Style,
    faint: Style,
}

impl Styles {
    fn of(state: &State) -> Self {
        let colour = |colour: Color| if state.colours { Style::new().fg(colour) } else { Style::new() };
        Self {
            head: Style::new().add_modifier(Modifier::BOLD),
            bars: colour(Color::Cyan),
            path_bars: colour(Color::Green),
            wrong: colour(Color::Red).add_modifier(Modifier::BOLD),
            faint: Style::new().add_modifier(Modifier::DIM),
        }
    }
}

/// Draws the screen.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let styles = Styles::of(state);
    let mut rest = frame.area();
    title(frame, take(&mut rest, 1), state, &styles);
    rate(frame, take(&mut rest, 1), "requests/s", &state.requests, NUMBERS.count(state.requests.now), styles.bars);
    rate(frame, take(&mut rest, 1), "bytes/s", &state.bytes, NUMBERS.bytes(state.bytes.now), styles.bars);
    if frame.area().height >= WITH_PATHS {
        for (name, path) in &state.paths {
            let value = NUMBERS.bytes(path.now);
            rate(frame, take(&mut rest, 1), &format!("  {name}"), path, value, styles.path_bars);
        }
    }
    totals(frame, take(&mut rest, 1), state, &styles);
    if frame.area().height >= WITH_HISTOGRAMS {
        let height = (frame.area().height / 4).clamp(6, 10);
        histograms(frame, take(&mut rest, height), state, &styles);
    }
    let keys = Rect { y: rest.bottom().saturating_sub(1), height: rest.height.min(1), ..rest };
    rest.height = rest.height.saturating_sub(1);
    files(frame, rest, state, &styles);
    footer(frame, keys, &styles);
    if state.help {
        help(frame, state, &styles);
    }
}

/// Takes lines from the top of the remaining area.
fn take(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    let taken = Rect { height, ..*rest };
    *rest = Rect { y: rest.y + height, height: rest.height - height, ..*rest };
    taken
}

fn title(frame: &mut Frame<'_>, area: Rect, state: &State, styles: &Styles) {
    let mut words = vec![Span::styled("knem", styles.head)];
    if let Some(total) = &state.total {
        let version = total.module_version.as_deref().unwrap_or("of unknown version");
        words.push(Span::raw(format!(" {version}")));
        if let Some(period) = total.period_ns {
            words.push(Span::raw(format!(", counting for {}", age(period))));
        }
    }
    words.push(Span::raw(format!(", every {}s", state.interval.as_secs_f64())));
    if state.paused {
        words.push(Span::styled("  PAUSED", styles.wrong));
    }
    frame.render_widget(Line::from(words), area);
}

fn rate(frame: &mut Frame<'_>, area: Rect, name: &str, rate: &Rate, value: String, style: Style) {
    let text = format!("{name:<0$}{value:>1$}", usize::from(NAME), usize::from(VALUE));
    frame.render_widget(Line::from(text), area);
    let used = NAME + VALUE + 1;
    let bars = Rect { x: area.x + used.min(area.width), width: area.width.saturating_sub(used), ..area };
    chart::past(frame, bars, &rate.past, style);
}

fn totals(frame: &mut Frame<'_>, area: Rect, state: &State, styles: &Styles) {
    let wrong = |count: Option<u64>| match count {
        Some(count) if count != 0 => styles.wrong,
        _ => Style::new(),
    };
    let last = state.last.as_ref();
    let count = |value: Option<u64>| NUMBERS.count(last.and_then(|last| last.rate(value?)));
    let (failed, refused) = (last.map(|last| last.failed()), last.map(|last| last.refused()));
    let mut words = vec![
        Span::styled(format!("failed/s {}", count(failed)), wrong(failed)),
        Span::raw("  "),
        Span::styled(format!("refused/s {}", count(refused)), wrong(refused)),
    ];
    if let Some(profile) = state.total.as_ref().and_then(|total| total.profile.as_ref()) {
        words.push(Span::raw(format!("  pinned {}", NUMBERS.bytes(float(profile.pinned_bytes)))));
        if area.width >= WITH_ALL_COLUMNS {
            let peak = NUMBERS.bytes(float(profile.pinned_bytes_peak));
            let (contexts, regions) = (profile.contexts, profile.regions);
            words.push(Span::raw(format!(" (peak {peak})  contexts {contexts}  regions {regions}")));
        }
    }
    frame.render_widget(Line::from(words), area);
}

fn histograms(frame: &mut Frame<'_>, area: Rect, state: &State, styles: &Styles) {
    let Some((sizes, times)) = state.histograms() else { return };
    // A blank line above; below is the scale.
    let area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    let half = area.width / 2;
    let left = Rect { width: half.saturating_sub(1), ..area };
    let right = Rect { x: area.x + half, width: area.width - half, ..area };
    let when = if state.recent { "last interval" } else { "all time" };
    for (area, name) in [(left, "copies by size"), (right, "copies by time")] {
        let title = Line::from(format!("{name}, {when}")).style(styles.head);
        frame.render_widget(title, Rect { height: 1, ..area });
    }
    let below = |area: Rect| Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    chart::histogram(frame, below(left), &sizes, 6..=30, short_bytes, styles.bars);
    chart::histogram(frame, below(right), &times, 5..=34, short_time, styles.bars);
}

/// Formats a power of two in few characters.
fn short_bytes(value: f64) -> String {
    let text = crate::units::bytes(value);
    text.replace(".00", "").replace(".0", "")
}

fn short_time(value: f64) -> String {
    let mut value = value;
    for unit in ["ns", "us", "ms"] {
        if value < 1000.0 {
            return format!("{value:.0}{unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.0}s")
}

fn files(frame: &mut Frame<'_>, area: Rect, state: &State, styles: &Styles) {
    let all = area.width >= WITH_ALL_COLUMNS;
    let mark = |sort: Sort, head: &str| if state.sort == sort { format!("{head}*") } else { head.to_owned() };
    let mut heads = vec![mark(Sort::Process, "PID"), "PROCESS".to_owned()];
    let mut widths = vec![Constraint::Length(9), Constraint::Fill(1)];
    if all {
        widths = vec![Constraint::Length(9), Constraint::Length(17)];
        heads.extend(["USER".to_owned(), mark(Sort::Regions, "REGIONS"), mark(Sort::Pinned, "PINNED")]);
        widths.extend([Constraint::Length(12), Constraint::Length(8), Constraint::Length(8)]);
    }
    heads.extend([mark(Sort::Requests, "REQ/S"), mark(Sort::Bytes, "BYTES/S")]);
    widths.extend([Constraint::Length(7), Constraint::Length(8)]);
    let first_number = if all { 3 } else { 2 };
    let cells = |words: Vec<String>| {
        let aligned = |(n, word): (usize, String)| {
            let side = if n >= first_number || n == 0 { Alignment::Right } else { Alignment::Left };
            Line::from(word).alignment(side)
        };
        Cells::new(words.into_iter().enumerate().map(aligned).collect::<Vec<_>>())
    };
    let row = |row: &super::state::Row| {
        let context = &row.context;
        let mut words = vec![
            context.pid.map_or_else(|| MISSING.to_owned(), |pid| pid.to_string()),
            row.process.clone().unwrap_or_else(|| MISSING.to_owned()),
        ];
        if all {
            let pinned = NUMBERS.bytes(float(context.pinned_bytes));
            words.extend([row.user.clone(), context.regions.to_string(), pinned]);
        }
        words.extend([NUMBERS.count(row.requests_per_second), NUMBERS.bytes(row.bytes_per_second)]);
        cells(words)
    };
    let lines = usize::from(area.height.saturating_sub(1));
    let hidden = state.rows.len().saturating_sub(lines);
    // The last line counts the contexts that do not fit.
    let shown = if hidden == 0 { lines } else { lines.saturating_sub(1) };
    let mut rows: Vec<Cells<'_>> = state.rows.iter().take(shown).map(row).collect();
    if hidden != 0 {
        let more = format!("and {} more", state.rows.len() - shown);
        rows.push(Cells::new(vec![Line::default(), Line::from(more)]).style(styles.faint));
    }
    let table = Table::new(rows, widths).column_spacing(1).header(cells(heads).style(styles.head));
    frame.render_widget(table, area);
    if state.rows.is_empty() && area.height > 1 {
        let line = Rect { y: area.y + 1, height: 1, ..area };
        frame.render_widget(Line::from("No contexts.").style(styles.faint), line);
    }
}

fn footer(frame: &mut Frame<'_>, area: Rect, styles: &Styles) {
    let long = "q quit  s sort  h histograms  p pause  +/- interval  ? help";
    let text = if usize::from(area.width) >= long.len() { long } else { "q quit  s sort  p pause  ? help" };
    frame.render_widget(Line::from(text).style(styles.faint), area);
}

fn help(frame: &mut Frame<'_>, state: &State, styles: &Styles) {
    let sort = match state.sort {
        Sort::Bytes => "bytes/s",
        Sort::Requests => "requests/s",
        Sort::Pinned => "pinned",
        Sort::Regions => "regions",
        Sort::Process => "pid",
    };
    let lines = [
        "q, Esc, Ctrl-C  quit".to_owned(),
        format!("s  sort by the next column (now {sort})"),
        "h  histograms: last interval or all time".to_owned(),
        "p, space  pause or continue".to_owned(),
        "+ -  double or halve the interval".to_owned(),
        "Ctrl-Z  suspend, fg continues".to_owned(),
        "any key  close this".to_owned(),
    ];
    let screen = frame.area();
    let height = u16::try_from(lines.len()).unwrap_or(0) + 2;
    let (width, height) = (46.min(screen.width), height.min(screen.height));
    let area = Rect { x: (screen.width - width) / 2, y: (screen.height - height) / 2, width, height };
    frame.render_widget(Clear, area);
    let text: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(text).block(Block::bordered().title(" keys ").title_style(styles.head)), area);
}
