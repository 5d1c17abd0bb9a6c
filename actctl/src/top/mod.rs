//! `top`: all jobs on the whole screen, as they change, with keys to kill, resubmit, fetch and clean. A thread draws and
//! reads keys; beside it the daemon is followed, and asked for what the keys mean.

mod draw;
mod model;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use act_proto::daemon::NoParams;
use act_proto::jobs::{Bulk, BulkParams, Filter, ListParams, OneParams};
use act_proto::method::{DaemonStatus, JobsClean, JobsFetch, JobsKill, JobsList, JobsLog, JobsResubmit};
use crossbeam_channel::{Receiver, Sender};
use ratatui::crossterm::event;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::ctx::{Ctx, Session};
use crate::failure::{Failure, OK, Outcome};
use crate::lsp::link::{self, News};
use model::{Answer, Model, Order, Verb};

/// How long the screen may be behind.
const FRAME: Duration = Duration::from_millis(100);
/// How often the server's list is read while somebody looks.
const LOOK: Duration = Duration::from_secs(15);
/// So old it may be then.
const GOOD_MS: u64 = 5_000;
/// Orders and news that wait.
const QUEUE: usize = 64;

/// Gives the terminal back, however the verb ends.
struct Screen;

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Runs the verb.
///
/// # Errors
/// No terminal; the daemon's.
pub async fn run(ctx: &Ctx) -> Outcome {
    if ctx.out.json || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage("`top` needs a terminal").hint("`stat --watch` prints to anything, `events` tells scripts")
        );
    }
    // What is said on stderr would stand in the middle of the table.
    let mut quiet = ctx.clone();
    (quiet.out.quiet, quiet.out.verbose) = (true, 0);
    let mut session = quiet.session().await?;
    let server = session.call::<DaemonStatus>(&NoParams {}).await?.server;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|e| Failure::local(format!("signals: {e}")))?;
    let terminal = ratatui::try_init().map_err(|e| Failure::local(format!("the terminal: {e}")))?;
    let _screen = Screen;
    let (news_in, news) = crossbeam_channel::bounded(QUEUE);
    let (answers_in, answers) = crossbeam_channel::bounded(QUEUE);
    let (orders_in, orders) = mpsc::channel(QUEUE);
    let (ended_in, ended) = oneshot::channel();
    let model = Model::new(server, ctx.out.paints());
    let thread = std::thread::Builder::new().name("top".to_owned()).spawn(move || {
        // Whoever waits has gone: so is the screen.
        let _ = ended_in.send(show(terminal, model, &news, &answers, &orders_in));
    });
    thread.map_err(|e| Failure::local(format!("cannot start a thread: {e}")))?;
    tokio::select! {
        end = ended => match end {
            Ok(Ok(())) => Ok(OK),
            Ok(Err(e)) => Err(Failure::local(format!("the terminal: {e}"))),
            Err(_) => Err(Failure::local("the screen has ended by a mistake of its own")),
        },
        () = link::follow(ctx, news_in, Arc::new(Notify::new())) => Ok(OK),
        () = serve(&mut session, orders, &answers_in) => Ok(OK),
        _ = terminate.recv() => Ok(OK),
    }
}

/// Draws what there is and reads keys, until one of them says that it is enough.
fn show(
    mut terminal: ratatui::DefaultTerminal,
    mut model: Model,
    news: &Receiver<News>,
    answers: &Receiver<Answer>,
    orders: &mpsc::Sender<Order>,
) -> std::io::Result<()> {
    let mut dirty = true;
    loop {
        for item in news.try_iter() {
            model.hear(item);
            dirty = true;
        }
        for answer in answers.try_iter() {
            model.take(answer);
            dirty = true;
        }
        if dirty {
            terminal.draw(|frame| draw::screen(frame, &mut model))?;
        }
        dirty = event::poll(FRAME)?;
        if !dirty {
            continue;
        }
        let event::Event::Key(key) = event::read()? else { continue };
        let order = match model.press(key) {
            Some(Order::Quit) => return Ok(()),
            Some(order) => order,
            None => continue,
        };
        // Full: the daemon is slow, and the same key can be pressed again.
        if orders.try_send(order).is_err() {
            model.take(Answer::Busy);
        }
    }
}

/// Asks the daemon for what keys have ordered; between them it has the server's list kept fresh.
async fn serve(session: &mut Session<'_>, mut orders: mpsc::Receiver<Order>, answers: &Sender<Answer>) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        let answer = tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Log(job)) => {
                    Answer::Log(session.call::<JobsLog>(&OneParams { job }).await.map(Box::new))
                }
                Some(Order::Act(verb, job)) => Answer::Acted(verb, act(session, verb, job).await),
                Some(Order::Quit) | None => return,
            },
            _ = look.tick() => {
                let params = ListParams { limit: Some(1), max_age_ms: Some(GOOD_MS), ..ListParams::default() };
                Answer::Looked(session.call::<JobsList>(&params).await.map(|list| list.as_of))
            }
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

async fn act(session: &mut Session<'_>, verb: Verb, job: String) -> Result<Bulk, Failure> {
    let filter = Filter { select: vec![job], ..Filter::default() };
    let params = BulkParams { filter, ..BulkParams::default() };
    match verb {
        Verb::Kill => session.call::<JobsKill>(&params).await,
        Verb::Resubmit => session.call::<JobsResubmit>(&params).await,
        Verb::Fetch => session.call::<JobsFetch>(&params).await,
        Verb::Clean => session.call::<JobsClean>(&params).await,
    }
}
