//! `events`: what happens, one line each.

use act_proto::events::{Event, EventList, ListParams};
use act_proto::jobs::Filter;
use act_proto::method::EventsList;

use crate::cli::Events;
use crate::cmd::stat::list;
use crate::ctx::Ctx;
use crate::failure::{Failure, OK, Outcome, SOME_FAILED};
use crate::pick::Pick;

/// How long one call waits for an event.
const WAIT_MS: u64 = 30_000;

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &Events) -> Outcome {
    let mut session = ctx.session().await?;
    let jobs = if args.select.is_empty() {
        Vec::new()
    } else {
        let pick = Pick { filter: Filter { select: args.select.clone(), ..Filter::default() }, ..Pick::default() };
        let (jobs, _) = list(ctx, &mut session, &pick, true).await?;
        if jobs.is_empty() {
            return Ok(SOME_FAILED);
        }
        jobs.into_iter().map(|j| j.key).collect()
    };
    let since = args.since.or(args.no_follow.then_some(0));
    let timeout_ms = if args.no_follow { 0 } else { WAIT_MS };
    let mut params = ListParams { since, types: args.types.clone(), jobs, limit: None, timeout_ms };
    loop {
        let news: EventList = session.call::<EventsList>(&params).await?;
        if news.gap {
            ctx.out.warn("some events are no longer kept: read `actctl stat` again");
        }
        let full = !news.items.is_empty();
        // A daemon whose state is new counts from the beginning.
        let last = news.items.last().map_or(news.last, |e| e.seq);
        for event in &news.items {
            show(ctx, event)?;
        }
        if args.no_follow && (!full || last >= news.last) {
            return Ok(OK);
        }
        params.since = Some(last);
    }
}

fn show(ctx: &Ctx, event: &Event) -> Result<(), Failure> {
    if ctx.out.json {
        return ctx.out.value(event);
    }
    let job = match (&event.after, &event.before, &event.key) {
        (Some(s), _, Some(key)) | (None, Some(s), Some(key)) => {
            let id = s.id.map_or_else(|| key.clone(), |id| id.to_string());
            format!(" {id} {}", s.name.as_deref().unwrap_or("''"))
        }
        (None, None, Some(key)) => format!(" {key}"),
        _ => String::new(),
    };
    ctx.out.line(&format!("{} {} {}{job}: {}", event.seq, event.at, event.kind, event.text))
}
