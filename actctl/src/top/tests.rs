//! The screen of `top` for given news and keys.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::*;
use crate::top::draw;

fn job(n: u64, name: &str, phase: &str, arcstate: Option<&str>) -> Job {
    serde_json::from_value(json!({
        "key": format!("j{n}"), "id": 100 + n, "name": name, "phase": phase, "arcstate": arcstate, "state": null,
        "origin": "submitted", "submitted": "", "changed": "", "rev": 1, "batch": "b",
    }))
    .expect("a job")
}

fn model() -> Model {
    let mut model = Model::new("https://act.example.org/".into(), false);
    model.hear(News::Connected);
    model.hear(News::All(vec![
        job(1, "alpha", "active", Some("running")),
        job(2, "beta", "stored", Some("done")),
        job(3, "evil\u{1b}[2J", "active", Some("failed")),
        job(4, "closed", "closed", Some("done")),
    ]));
    model
}

fn drawn(model: &mut Model) -> String {
    let mut terminal = Terminal::new(TestBackend::new(90, 14)).expect("a terminal");
    terminal.draw(|frame| draw::screen(frame, model)).expect("drawn");
    terminal.backend().to_string()
}

fn press(model: &mut Model, keys: &str) -> Option<Order> {
    let mut order = None;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        order = model.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
    order
}

#[test]
fn jobs_are_shown_newest_first_and_closed_ones_are_not() {
    let mut model = model();
    let text = drawn(&mut model);
    assert!(text.contains("1 queued, 1 done, 1 failed") && text.contains("1 of 3, newest first"), "{text}");
    let at = |name: &str| text.find(name).unwrap_or_else(|| panic!("{name}: {text}"));
    assert!(at("evil") < at("beta") && at("beta") < at("alpha"), "{text}");
    assert!(!text.contains("closed") && !text.contains('\u{1b}'), "{text}");
    model.hear(News::Jobs(vec![job(3, "evil", "closed", None)]));
    assert!(!drawn(&mut model).contains("evil"));
}

#[test]
fn the_filter_is_typed_and_dropped() {
    let mut model = model();
    assert_eq!(press(&mut model, "/bet"), None);
    let text = drawn(&mut model);
    assert!(text.contains("beta") && !text.contains("alpha") && text.contains("filter: bet_"), "{text}");
    assert_eq!(press(&mut model, "\u{1b}"), None);
    assert!(drawn(&mut model).contains("alpha"));
    assert_eq!(press(&mut model, "\u{1b}"), Some(Order::Quit));
}

#[test]
fn a_job_is_killed_only_after_a_yes() {
    let mut model = model();
    assert_eq!(press(&mut model, "jjK"), None);
    assert!(drawn(&mut model).contains("kill j1 alpha? [y/N]"));
    assert_eq!(press(&mut model, "n"), None);
    assert!(drawn(&mut model).contains("nothing done"));
    // Another job that appears on top meanwhile is not the one that was asked about.
    assert_eq!(press(&mut model, "K"), None);
    model.hear(News::Jobs(vec![job(9, "new", "queued", None)]));
    assert_eq!(press(&mut model, "y"), Some(Order::Act(Verb::Kill, "j1".into())));
    model.take(Answer::Acted(Verb::Kill, Ok(Bulk::default())));
    assert!(drawn(&mut model).contains("not in a state that allows it"));
}

#[test]
fn the_timeline_follows_the_selection() {
    let mut model = model();
    assert_eq!(press(&mut model, "\n"), Some(Order::Log("j3".into())));
    let log = json!({"job": job(3, "evil", "active", Some("failed")), "entries": [
        {"at": "2026-01-01T00:00:00Z", "seq": 1, "what": "phase", "text": "on the server"}]});
    model.take(Answer::Log(Ok(Box::new(serde_json::from_value(log).expect("a log")))));
    assert!(drawn(&mut model).contains("on the server"));
    assert_eq!(press(&mut model, "j"), Some(Order::Log("j2".into())));
    assert_eq!(press(&mut model, "\u{1b}"), None);
    assert!(!drawn(&mut model).contains("on the server"));
}

#[test]
fn the_selected_row_stays_on_the_screen() {
    let mut model = Model::new(String::new(), false);
    model.hear(News::All((1..=1_000).map(|n| job(n, &format!("n{n:04}"), "active", Some("running"))).collect()));
    assert!(drawn(&mut model).contains("n1000"));
    let _ = press(&mut model, "G");
    assert!(drawn(&mut model).contains("n0001"));
    let _ = press(&mut model, "k");
    let text = drawn(&mut model);
    assert!(text.contains("n0002") && text.contains("n0001") && text.contains("999 of 1000"), "{text}");
    let _ = press(&mut model, "s");
    assert!(drawn(&mut model).contains("by state"));
}
