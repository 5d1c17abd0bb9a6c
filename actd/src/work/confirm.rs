//! Sending the descriptions: PUT /jobs. From here on the jobs run.

use std::sync::Arc;

use url::Url;

use super::trouble::{self, Repeat};
use super::{Done, plain_path, webdav_dir, whole};
use crate::failpoint;
use crate::job::apply::Input;
use crate::job::fault::{Class, Fault};
use crate::job::{Key, ServerId, Spec};
use crate::remote::act::{ActClient, Confirmed, Rejection};
use crate::remote::webdav::below;

pub(super) async fn confirm(act: &ActClient, jobs: Vec<(Key, ServerId, Arc<Spec>)>) -> Done {
    let mut inputs = Vec::with_capacity(jobs.len());
    let mut keys = Vec::with_capacity(jobs.len());
    let mut batch = Vec::with_capacity(jobs.len());
    for (key, id, spec) in jobs {
        match description_for(&spec, id) {
            Ok(text) => {
                keys.push(key);
                batch.push((id, text));
            }
            Err(fault) => inputs.push((key, Input::Confirmed(Err(fault)))),
        }
    }
    if batch.is_empty() {
        return Done::Jobs { inputs, fault: None };
    }
    failpoint!("confirm.before");
    let answer = act.confirm(&batch).await;
    failpoint!("confirm.after");
    let (answers, fault) = match answer {
        Ok(answers) => (answers.into_iter().map(outcome).collect::<Vec<_>>(), None),
        Err(error) => {
            match whole(keys.iter().copied(), trouble::remote(&error, Repeat::Harmless), |f| Input::Confirmed(Err(f))) {
                Done::Jobs { inputs: failed, fault } => (failed.into_iter().map(|(_, input)| input).collect(), fault),
                other => return other,
            }
        }
    };
    inputs.extend(keys.into_iter().zip(answers));
    Done::Jobs { inputs, fault }
}

fn outcome(answer: Result<Confirmed, Rejection>) -> Input {
    Input::Confirmed(match answer {
        Ok(confirmed) => Ok(Some(confirmed.name).filter(|name| !name.is_empty())),
        Err(rejection) if rejection.msg.starts_with("Job ID ") && rejection.msg.ends_with(" does not exist") => {
            Err(Fault::new(Class::NoRow, rejection.msg))
        }
        Err(rejection) => Err(trouble::refused(rejection.msg)),
    })
}

/// The text to send for a job: where its inputs are staged through WebDAV, their sources are their URLs there.
///
/// # Errors
/// The description cannot be read any more (it could at intake).
pub fn description_for(spec: &Spec, id: ServerId) -> Result<String, Fault> {
    let Some(base) = &spec.webdav else { return Ok(spec.text.clone()) };
    if spec.inputs.is_empty() {
        return Ok(spec.text.clone());
    }
    let submission = xrsl::for_submission(&spec.text, 0).map_err(|errors| {
        let first = errors.first().map_or_else(String::new, |d| format!(": {}", d.message));
        Fault::new(Class::Local, format!("the stored description cannot be prepared for WebDAV{first}"))
    })?;
    let place = if spec.staged.is_empty() { webdav_dir(base, id) } else { base.clone() };
    let place = Url::parse(&place)
        .map_err(|e| Fault::new(Class::Local, format!("the WebDAV URL {base} cannot be used: {e}")))?;
    Ok(submission.with_sources(|name| {
        let n = spec.inputs.iter().position(|input| input.name == name)?;
        let url = match spec.staged.get(n) {
            Some(file) => below(&place, file),
            None => below(&place, &plain_path(name)),
        };
        url.map(String::from)
    }))
}
