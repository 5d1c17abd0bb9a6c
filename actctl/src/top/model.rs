//! What `top` knows and what its keys do. No IO: news and keys go in, orders to the daemon come out, `draw` looks at it.

use std::collections::BTreeMap;

use act_proto::jobs::{Bulk, Job, JobLog, Phase};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::cmd::proxy::footer;
use crate::failure::Failure;
use crate::lsp::link::{self, News};
use crate::standing::Standing;

/// What the daemon is to do with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Kill,
    Resubmit,
    Fetch,
    Clean,
}

impl Verb {
    /// The word, as the command line has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Resubmit => "resub",
            Self::Fetch => "fetch",
            Self::Clean => "clean",
        }
    }
}

/// What a key has ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Quit,
    /// The timeline of the job with this key.
    Log(String),
    Act(Verb, String),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Answer {
    Log(Result<Box<JobLog>, Failure>),
    Acted(Verb, Result<Bulk, Failure>),
    /// The server's list was read: when.
    Looked(Result<Option<String>, Failure>),
    /// There was no room for another order.
    Busy,
}

/// The order of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Newest,
    Standing,
    Name,
}

impl Sort {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Newest => "newest first",
            Self::Standing => "by state",
            Self::Name => "by name",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Newest => Self::Standing,
            Self::Standing => Self::Name,
            Self::Name => Self::Newest,
        }
    }
}

/// What keys mean just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// They move and order.
    Table,
    /// They are letters of the filter.
    Filter,
    /// `y` means yes.
    Ask(Verb, String),
}

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) server: String,
    /// Colours may be used.
    pub(super) color: bool,
    pub(super) mode: Mode,
    pub(super) sort: Sort,
    /// Only jobs whose name, batch or state holds this.
    pub(super) filter: String,
    /// The timeline below the table.
    pub(super) log: Option<Box<JobLog>>,
    /// How things went, in one line.
    pub(super) said: String,
    pub(super) connected: bool,
    /// When the server's list was last read.
    pub(super) as_of: Option<String>,
    /// Time left of the credential.
    pub(super) credential: String,
    /// Rows that the table has room for, as last drawn.
    pub(super) page: usize,
    /// The first row that is shown.
    pub(super) top: usize,
    jobs: BTreeMap<u64, Job>,
    /// The numbers of the jobs that are shown, in order.
    rows: Vec<u64>,
    selected: Option<u64>,
}

impl Model {
    pub(super) fn new(server: String, color: bool) -> Self {
        Self {
            server,
            color,
            mode: Mode::Table,
            sort: Sort::Newest,
            filter: String::new(),
            log: None,
            said: String::new(),
            connected: false,
            as_of: None,
            credential: String::new(),
            page: 1,
            top: 0,
            jobs: BTreeMap::new(),
            rows: Vec::new(),
            selected: None,
        }
    }

    /// Takes what the daemon tells.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Connected => self.connected = true,
            News::Lost => self.connected = false,
            News::All(jobs) => {
                self.jobs.clear();
                self.update(jobs);
            }
            News::Jobs(jobs) => self.update(jobs),
            News::Gone(keys) => {
                self.jobs.retain(|number, _| !keys.iter().any(|key| link::number(key) == *number));
                self.arrange();
            }
            News::Proxy(status) => self.credential = footer(&status),
            News::Groups(_) | News::Clusters(_) | News::Environments(_) => {}
        }
    }

    fn update(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            let number = link::number(&job.key);
            if job.phase == Phase::Closed {
                self.jobs.remove(&number);
            } else {
                self.jobs.insert(number, job);
            }
        }
        self.arrange();
    }

    /// Takes what came of an order.
    pub(super) fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Log(Ok(log)) => self.log = Some(log),
            Answer::Looked(Ok(as_of)) => self.as_of = as_of.or(self.as_of.take()),
            Answer::Acted(verb, Ok(done)) => {
                self.said = match (done.ok.len(), done.failed.first()) {
                    (_, Some(failed)) => format!("{}: {}", verb.word(), failed.error),
                    (0, None) => format!("{}: the job is not in a state that allows it", verb.word()),
                    (_, None) => format!("{}: the daemon sees to it", verb.word()),
                };
            }
            Answer::Log(Err(f)) | Answer::Acted(_, Err(f)) | Answer::Looked(Err(f)) => {
                self.said = f.hint.map_or(f.message.clone(), |hint| format!("{} ({hint})", f.message));
            }
            Answer::Busy => self.said = "the daemon has not answered yet: press it again".to_owned(),
        }
    }

    /// Who is shown, in which order. The selection stays with its job.
    fn arrange(&mut self) {
        let shown = |job: &Job| {
            let holds = |text: Option<&str>| text.is_some_and(|t| t.contains(&self.filter));
            self.filter.is_empty()
                || holds(job.name.as_deref())
                || holds(job.batch.as_deref())
                || Standing::of(job).word().contains(&self.filter)
                || job.id.is_some_and(|id| id.to_string() == self.filter)
        };
        let mut rows: Vec<u64> = self.jobs.iter().rev().filter(|(_, job)| shown(job)).map(|(n, _)| *n).collect();
        match self.sort {
            Sort::Newest => {}
            Sort::Standing => rows.sort_by_key(|n| Standing::of(&self.jobs[n])),
            Sort::Name => rows.sort_by(|a, b| self.jobs[a].name.cmp(&self.jobs[b].name)),
        }
        let at = self.position();
        self.rows = rows;
        if !self.selected.is_some_and(|n| self.rows.contains(&n)) {
            self.selected = self.rows.get(at.min(self.rows.len().saturating_sub(1))).copied();
        }
    }

    /// The selected row.
    pub(super) fn position(&self) -> usize {
        self.selected.and_then(|n| self.rows.iter().position(|r| *r == n)).unwrap_or(0)
    }

    /// The selected job.
    pub(super) fn selected(&self) -> Option<&Job> {
        self.selected.and_then(|n| self.jobs.get(&n))
    }

    /// The rows on the screen, and how many there are in all. Scrolls so that the selected one is among them.
    pub(super) fn window(&mut self, height: usize) -> (Vec<&Job>, usize) {
        self.page = height.max(1);
        let at = self.position();
        self.top = self.top.min(at).max((at + 1).saturating_sub(self.page));
        self.top = self.top.min(self.rows.len().saturating_sub(self.page));
        (self.rows.iter().skip(self.top).take(height).filter_map(|n| self.jobs.get(n)).collect(), self.rows.len())
    }

    /// How many jobs stand how, those not shown too.
    pub(super) fn counts(&self) -> Vec<(Standing, usize)> {
        let mut counts: Vec<(Standing, usize)> = Standing::ALL.iter().map(|s| (*s, 0)).collect();
        for job in self.jobs.values() {
            let standing = Standing::of(job);
            if let Some(count) = counts.iter_mut().find(|(s, _)| *s == standing) {
                count.1 += 1;
            }
        }
        counts.retain(|(_, n)| *n > 0);
        counts
    }

    /// Does what a key means.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Order> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return matches!(key.code, KeyCode::Char('c' | 'd')).then_some(Order::Quit);
        }
        match std::mem::replace(&mut self.mode, Mode::Table) {
            Mode::Filter => {
                self.letter(key.code);
                None
            }
            Mode::Ask(verb, job) => {
                if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                    return Some(Order::Act(verb, job));
                }
                self.said = "nothing done".to_owned();
                None
            }
            Mode::Table => self.command(key.code),
        }
    }

    fn letter(&mut self, key: KeyCode) {
        self.mode = Mode::Filter;
        match key {
            KeyCode::Enter => self.mode = Mode::Table,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Table;
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) => self.filter.push(c),
            _ => {}
        }
        self.arrange();
    }

    fn command(&mut self, key: KeyCode) -> Option<Order> {
        self.said.clear();
        let at = self.position();
        let last = self.rows.len().saturating_sub(1);
        let to = match key {
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => at + 1,
            KeyCode::PageUp => at.saturating_sub(self.page),
            KeyCode::PageDown | KeyCode::Char(' ') => at + self.page,
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => last,
            _ => return self.order(key),
        };
        self.selected = self.rows.get(to.min(last)).copied();
        // The timeline follows.
        self.log.is_some().then(|| self.selected().map(|j| Order::Log(j.key.clone()))).flatten()
    }

    fn order(&mut self, key: KeyCode) -> Option<Order> {
        let verb = match key {
            KeyCode::Char('q') => return Some(Order::Quit),
            KeyCode::Esc if self.log.is_none() && self.filter.is_empty() => return Some(Order::Quit),
            KeyCode::Esc if self.log.is_some() => {
                self.log = None;
                return None;
            }
            KeyCode::Esc => {
                self.filter.clear();
                self.arrange();
                return None;
            }
            KeyCode::Char('/') => {
                self.mode = Mode::Filter;
                return None;
            }
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                self.arrange();
                return None;
            }
            KeyCode::Enter if self.log.is_some() => {
                self.log = None;
                return None;
            }
            KeyCode::Enter => return self.selected().map(|j| Order::Log(j.key.clone())),
            KeyCode::Char('K') => Verb::Kill,
            KeyCode::Char('R') => Verb::Resubmit,
            KeyCode::Char('F') => Verb::Fetch,
            KeyCode::Char('C') => Verb::Clean,
            _ => return None,
        };
        let job = self.selected()?.key.clone();
        self.mode = Mode::Ask(verb, job);
        None
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
