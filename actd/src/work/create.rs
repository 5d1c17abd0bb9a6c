//! Asking for rows: POST /jobs. The rows do not run before their descriptions are sent.

use std::sync::Arc;

use super::trouble::{self, Repeat};
use super::{Done, whole};
use crate::failpoint;
use crate::job::apply::Input;
use crate::job::{Key, Spec};
use crate::remote::act::ActClient;

pub(super) async fn create(act: &ActClient, jobs: Vec<(Key, Arc<Spec>)>) -> Done {
    let clusters: Vec<Vec<String>> = jobs.iter().map(|(_, spec)| spec.clusters.clone()).collect();
    failpoint!("create.before");
    let answer = act.create(&clusters).await;
    failpoint!("create.after");
    let keys = jobs.iter().map(|(key, _)| *key);
    match answer {
        Ok(answers) => {
            let inputs = keys.zip(answers).map(|(key, answer)| {
                // Seen on a real server: one of these is about the element itself (an unknown cluster, a bad port).
                (key, Input::Created(answer.map_err(trouble::refused)))
            });
            Done::Jobs { inputs: inputs.collect(), fault: None }
        }
        Err(error) => whole(keys, trouble::remote(&error, Repeat::Counts), |fault| Input::Created(Err(fault))),
    }
}
