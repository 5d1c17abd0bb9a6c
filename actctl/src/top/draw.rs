//! How `top` looks: what there is in all, a table, the timeline of one job, what the keys do. Reads the model, no more.

use act_proto::jobs::Job;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};

use crate::gate::sentence;
use crate::standing::Standing;
use crate::table;
use crate::top::model::{Mode, Model};

const KEYS: &str = "Enter timeline  / filter  s sort  K kill  R resub  F fetch  C clean  q quit";

/// Draws everything.
pub(super) fn screen(frame: &mut Frame<'_>, model: &mut Model) {
    let log = if model.log.is_some() { Constraint::Percentage(40) } else { Constraint::Length(0) };
    let areas = Layout::vertical([Constraint::Length(3), Constraint::Min(3), log, Constraint::Length(1)]);
    let [head, jobs, log, foot] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(summary(model)), head);
    rows(frame, model, jobs);
    timeline(frame, model, log);
    frame.render_widget(Paragraph::new(bottom(model)), foot);
}

fn style(model: &Model, standing: Standing) -> Style {
    if !model.color {
        return Style::new();
    }
    Style::new().fg(match standing {
        Standing::Submitting => Color::Cyan,
        Standing::Queued => Color::Reset,
        Standing::Running => Color::Blue,
        Standing::Done => Color::Green,
        Standing::Failed | Standing::Lost => Color::Red,
        Standing::Killed => Color::Yellow,
    })
}

fn summary(model: &Model) -> Vec<Line<'static>> {
    let as_of = model.as_of.as_deref().map(|at| format!(", as of {at}")).unwrap_or_default();
    let away = if model.connected { "" } else { "  the daemon is away: this is what it told last" };
    let mut counts: Vec<Span<'static>> = Vec::new();
    for (standing, n) in model.counts() {
        if !counts.is_empty() {
            counts.push(Span::raw(", "));
        }
        counts.push(Span::styled(format!("{n} {}", standing.word()), style(model, standing)));
    }
    if counts.is_empty() {
        counts.push(Span::raw("no jobs"));
    }
    vec![Line::raw(format!("{}{as_of}{away}", model.server)), Line::from(counts), Line::raw(model.credential.clone())]
}

fn rows(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let selected = Style::new().add_modifier(Modifier::REVERSED);
    let color = model.color;
    let at = model.position();
    let (jobs, all) = model.window(usize::from(area.height).saturating_sub(1));
    let rows: Vec<(Standing, [String; 5])> = jobs.iter().map(|job| (Standing::of(job), cells(job))).collect();
    let top = model.top;
    let table = rows.into_iter().enumerate().map(|(i, (standing, cells))| {
        let [id, name, word, state, about] = cells;
        let style = if color { style(model, standing) } else { Style::new() };
        let row = Row::new([
            Cell::new(id),
            Cell::new(name),
            Cell::new(word).style(style),
            Cell::new(state),
            Cell::new(about),
        ]);
        if top + i == at { row.style(selected) } else { row }
    });
    let widths = [
        Constraint::Length(9),
        Constraint::Percentage(25),
        Constraint::Length(10),
        Constraint::Length(14),
        Constraint::Fill(1),
    ];
    let place = if all == 0 { String::new() } else { format!("{} of {all}, {}", at + 1, model.sort.word()) };
    let heads = ["ID".to_owned(), "NAME".to_owned(), "STATE".to_owned(), "ARC".to_owned(), place];
    frame.render_widget(Table::new(table, widths).header(Row::new(heads).style(bold)), area);
}

/// What a row says of a job.
fn cells(job: &Job) -> [String; 5] {
    let id = job.id.map_or_else(|| job.key.clone(), |id| id.to_string());
    let state = job.state.clone().or_else(|| job.arcstate.clone()).unwrap_or_default();
    [id, job.name.clone().unwrap_or_default(), Standing::of(job).word().to_owned(), state, about(job)]
}

/// What is most worth to be told of a job: why it does not go on, what went wrong, how far a transfer is, where results are.
fn about(job: &Job) -> String {
    if let Some(waiting) = &job.waiting {
        return sentence(&waiting.reason, &waiting.message);
    }
    if let Some(error) = job.error.as_deref().filter(|e| !e.is_empty()) {
        return error.to_owned();
    }
    if let Some(progress) = &job.progress {
        let total = if progress.total > 0 { format!(" of {}", table::bytes(progress.total)) } else { String::new() };
        return format!("{}{total}, {} files", table::bytes(progress.bytes), progress.files);
    }
    job.results.clone().or_else(|| job.batch.as_ref().map(|b| format!("@{b}"))).unwrap_or_default()
}

fn timeline(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let Some(log) = &model.log else { return };
    let name = log.job.name.as_deref().unwrap_or_default();
    let title = format!(" {} {name} ", log.job.id.map_or_else(|| log.job.key.clone(), |id| id.to_string()));
    let room = usize::from(area.height).saturating_sub(1);
    let skip = log.entries.len().saturating_sub(room);
    let lines: Vec<Line<'_>> =
        log.entries[skip..].iter().map(|e| Line::raw(format!("{}  {:<10} {}", e.at, e.what, e.text))).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::new().borders(Borders::TOP).title(title)), area);
}

fn bottom(model: &Model) -> Line<'static> {
    match &model.mode {
        Mode::Filter => Line::raw(format!("filter: {}_   Enter keeps it, Esc drops it", model.filter)),
        Mode::Ask(verb, key) => {
            let name = model.selected().filter(|j| j.key == *key).and_then(|j| j.name.clone()).unwrap_or_default();
            Line::raw(format!("{} {key} {name}? [y/N]", verb.word()))
        }
        Mode::Table if !model.said.is_empty() => Line::raw(model.said.clone()),
        Mode::Table if !model.filter.is_empty() => Line::raw(format!("only {:?}  {KEYS}", model.filter)),
        Mode::Table => Line::raw(KEYS),
    }
}
