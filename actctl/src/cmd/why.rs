//! `why`: failures and jobs that do not go on, grouped by cause.

use std::collections::BTreeMap;

use act_proto::jobs::Job;
use serde_json::json;

use crate::cli_jobs::Why;
use crate::cmd::stat::list;
use crate::ctx::Ctx;
use crate::failure::{OK, Outcome, SOME_FAILED};
use crate::pick::pick;

/// How many jobs of a group are named.
const NAMED: usize = 20;

/// Runs the verb.
///
/// # Errors
/// The daemon's.
pub async fn run(ctx: &Ctx, args: &Why) -> Outcome {
    let pick = pick(&args.jobs)?;
    let mut session = ctx.session().await?;
    let (jobs, as_of) = list(ctx, &mut session, &pick, false).await?;
    let groups = group(&jobs);
    if ctx.out.json {
        let items: Vec<_> = groups
            .iter()
            .map(|g| {
                let ids: Vec<_> = g.jobs.iter().map(|j| json!({ "key": j.key, "id": j.id })).collect();
                json!({ "cause": g.cause, "hint": g.hint, "jobs": ids })
            })
            .collect();
        ctx.out.value(&json!({ "schema": "act.why/1", "as_of": as_of, "items": items }))?;
    } else {
        let mut text = String::new();
        for g in &groups {
            let n = g.jobs.len();
            text.push_str(&format!("{n} {}: {}\n", if n == 1 { "job" } else { "jobs" }, g.cause));
            let ids: Vec<String> =
                g.jobs.iter().take(NAMED).map(|j| j.id.map_or_else(|| j.key.clone(), |i| i.to_string())).collect();
            let more = if n > NAMED { " ..." } else { "" };
            text.push_str(&format!("    {}{more}\n", ids.join(" ")));
            if let Some(hint) = &g.hint {
                text.push_str(&format!("    hint: {hint}\n"));
            }
        }
        ctx.out.text(&text)?;
    }
    Ok(if groups.is_empty() && args.jobs.fail_empty { SOME_FAILED } else { OK })
}

struct Group<'a> {
    cause: String,
    hint: Option<String>,
    jobs: Vec<&'a Job>,
}

/// Groups, largest first. Numbers and addresses in the sentences do not make a difference.
fn group(jobs: &[Job]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for job in jobs {
        let bad = matches!(job.arcstate.as_deref(), Some("failed" | "donefailed" | "cancelled" | "lost"));
        let (cause, hint) = match (&job.waiting, &job.error) {
            (Some(w), _) => (w.message.clone(), w.hint.clone()),
            (None, Some(error)) if bad || !error.is_empty() => (error.clone(), None),
            _ if bad => (format!("{}, and no reason was given", job.arcstate.as_deref().unwrap_or_default()), None),
            _ => continue,
        };
        groups.entry(alike(&cause)).or_insert_with(|| Group { cause, hint, jobs: Vec::new() }).jobs.push(job);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|g| std::cmp::Reverse(g.jobs.len()));
    groups
}

/// The sentence with what differs from job to job taken out. Exit codes stay: they are causes.
fn alike(text: &str) -> String {
    text.split_whitespace()
        .map(|word| {
            let long_number = word.bytes().filter(u8::is_ascii_digit).count() > 3;
            if long_number || word.contains('/') { "*" } else { word }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::alike;

    #[test]
    fn alike_but_for_names_and_numbers() {
        assert_eq!(alike("job 123456 at /a/b failed"), alike("job 99999 at /c failed"));
        assert_ne!(alike("wrong exit code - 1 != 0"), alike("wrong exit code - 2 != 0"));
    }
}
