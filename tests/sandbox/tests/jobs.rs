//! Jobs really run: every way through the states, what comes out of them, and what becomes of them after a restart.

mod common;

use std::time::{Duration, Instant};

use act_sandbox::Delays;
use common::{Ask, Bed, wait};
use serde_json::{Value, json};

fn names(listing: &Value, key: &str) -> Vec<String> {
    let mut names: Vec<String> = serde_json::from_value(listing[key].clone()).unwrap();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_environment_and_streams_reach_the_job() {
    let bed = Bed::ready(|_| ()).await;
    let id = bed
        .submit_with(
            "&(executable=run.sh)(arguments=\"a b\" \"say \"\"hi\"\"\")(inputfiles=(\"run.sh\" \"\")(\"d/in.txt\" \"x\"))\
             (stdin=\"d/in.txt\")(stdout=\"out\")(stderr=\"out\")(environment=(\"COLOUR\" \"deep blue\"))\
             (outputfiles=(\"made/\" \"\")(\"none.txt\" \"\"))(gmlog=\"log\")(jobname=\"all\")",
            &[
                (
                    "run.sh",
                    "#!/bin/sh\necho \"$#:$1:$2:$COLOUR\"\ncat\necho err >&2\nmkdir -p made/deep\n: > made/deep/empty\n",
                ),
                ("d/in.txt", "from stdin\n"),
            ],
        )
        .await;
    let row = bed.until(id, "done").await;
    assert_eq!((&row["a_State"], &row["a_ExitCode"], &row["a_Error"]), (&json!("Finished"), &json!(0), &json!("")));
    let job_id = row["a_JobID"].as_str().unwrap();
    let hash = job_id.strip_prefix(&format!("{}/arex/rest/1.0/jobs/", bed.sandbox.info().ce)).unwrap();
    assert_eq!(hash.len(), 54);
    let out = bed.get(&format!("/jobs/{id}/results/out")).await;
    assert_eq!(out.text(), "2:a b:say \"hi\":deep blue\nfrom stdin\nerr\n");
    let top = bed.get(&format!("/jobs/{id}/results/")).await.json();
    assert_eq!((names(&top, "dir"), names(&top, "file")), (vec!["log".into(), "made".into()], vec!["out".to_owned()]));
    let deep = bed.get(&format!("/jobs/{id}/results/made/deep/")).await.json();
    assert_eq!(names(&deep, "file"), ["empty"]);
    let logs = bed.get(&format!("/jobs/{id}/results/log/")).await.json();
    assert_eq!(names(&logs, "file").len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_keep_their_reason() {
    let bed = Bed::ready(|_| ()).await;
    let sh = |script: &str, more: &str| format!("&(executable=/bin/sh)(arguments=-c \"{script}\"){more}");
    let ids = [
        (bed.submit(&sh("exit 7", "")).await, "LRMS error: (7) Job finished with wrong exit code - 7 != 0"),
        (bed.submit("&(executable=/no/such)").await, "LRMS error: (127) Job finished with wrong exit code - 127 != 0"),
        (bed.submit(&sh("sleep 60", "(walltime=\"1 s\")")).await, "wall time limit exceeded"),
        (bed.submit(&sh("exit 0", "(cputime=notanumber)")).await, "not acceptable"),
        (
            bed.submit("&(executable=/bin/true)(inputfiles=(x \"https://localhost:1/x\"))").await,
            "Failed in data staging",
        ),
        (bed.submit("&(executable=/bin/true)(inputfiles=(x \"srm://h/x\"))").await, "Failed in data staging"),
    ];
    for (id, error) in ids {
        let row = bed.until(id, "failed").await;
        assert_eq!((&row["a_State"], &row["a_ExitCode"]), (&json!("Failed"), &Value::Null), "{row}");
        assert!(row["a_Error"].as_str().unwrap().contains(error), "{row}");
        assert_eq!(bed.get(&format!("/jobs/{id}/results/")).await.status, 404, "not before a fetch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn some_jobs_get_stuck_as_on_a_real_server() {
    let bed = Bed::ready(|_| ()).await;
    let cancelling = [
        bed.submit("&(executable=run.sh)(jobname=a)").await,
        bed.submit("&(executable=/bin/cat)(stdin=in.txt)(jobname=b)").await,
        bed.submit_with("&(executable=/bin/true)(inputfiles=(\"a b\" \"\"))", &[("a%20b", "x")]).await,
    ];
    for id in cancelling {
        let row = bed.until(id, "cancelling").await;
        assert_eq!(row["a_JobID"], Value::Null, "{row}");
    }
    let odd = bed.submit("&(executable=/bin/sh)(arguments=-c \": > 'a b'\")(outputfiles=(\"/\" \"\"))").await;
    let waiting = bed.submit_with("&(executable=/bin/true)(inputfiles=(x \"\" \"cache=no\"))", &[("x", "")]).await;
    bed.until(odd, "finished").await;
    wait("the job that waits for a file", || async {
        let row = bed.row(waiting).await;
        if row["a_State"] == "Preparing" { Ok(()) } else { Err(row.to_string()) }
    })
    .await;
    // Other jobs pass meanwhile; these stay, and neither kill nor clean helps.
    for _ in 0..3 {
        let id = bed.submit("&(executable=/bin/true)").await;
        bed.until(id, "done").await;
    }
    assert_eq!(bed.row(odd).await["a_arcstate"], "finished");
    assert_eq!(bed.row(waiting).await["a_arcstate"], "submitted");
    let stuck = format!("{},{},{},{odd}", cancelling[0], cancelling[1], cancelling[2]);
    for (method, action) in [("PATCH", "&action=cancel"), ("DELETE", "")] {
        assert_eq!(bed.ask(Ask::new(method, &format!("/jobs?id={stuck}{action}"))).await.json(), json!([]));
    }

    let lenient = Bed::ready(|options| options.deliver_any_name = true).await;
    let odd = lenient.submit("&(executable=/bin/sh)(arguments=-c \"echo x > 'a b'\")(outputfiles=(\"/\" \"\"))").await;
    lenient.until(odd, "done").await;
    assert_eq!(lenient.get(&format!("/jobs/{odd}/results/a%20b")).await.text(), "x\n");
}

/// Delays that hold a job in one state until it is killed.
fn hold(delays: &mut Delays, state: &str) {
    let long = Duration::from_secs(600);
    match state {
        "" => delays.handover = long,
        "tosubmit" => delays.tosubmit = long,
        "submitting" => delays.submitting = long,
        "submitted" => delays.accepted = long,
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_can_be_killed_in_every_state() {
    for (state, gone) in
        [("", true), ("tosubmit", true), ("submitting", false), ("submitted", false), ("running", false)]
    {
        let bed = Bed::ready(|options| hold(&mut options.delays, state)).await;
        let mark = bed.dir.path().join("mark");
        let script = format!("sleep 1000 & echo $! > {}; wait", mark.display());
        let id = bed.submit(&format!("&(executable=/bin/sh)(arguments=-c \"{script}\")")).await;
        if !state.is_empty() {
            bed.until(id, state).await;
        }
        let child = if state == "running" {
            let pid = wait("the job's own child", || async {
                let text = std::fs::read_to_string(&mark).unwrap_or_default();
                text.trim().parse::<u32>().map_err(|_| text)
            });
            Some(pid.await)
        } else {
            None
        };
        let answer = bed.ask(Ask::new("PATCH", &format!("/jobs?action=cancel&id={id}"))).await.json();
        let before = if state.is_empty() { Value::Null } else { json!(state) };
        assert_eq!((&answer[0]["c_id"], &answer[0]["a_arcstate"]), (&json!(id), &before), "{state}");
        let again = bed.ask(Ask::new("PATCH", &format!("/jobs?action=cancel&id={id}"))).await;
        assert_eq!(again.json(), json!([]), "{state}");
        if gone {
            assert_eq!(bed.row(id).await, Value::Null, "{state}");
            continue;
        }
        let row = bed.until(id, "cancelled").await;
        let last = if state == "running" { "Running" } else { "Accepted" };
        assert_eq!(row["a_State"], last, "{state}");
        if let Some(pid) = child {
            wait("the end of the job's process group", || async {
                // A zombie has ended too: its new parent may be slow to collect it.
                let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                if status.is_empty() || status.contains(") Z ") { Ok(()) } else { Err(status) }
            })
            .await;
        }
        assert_eq!(bed.ask(Ask::new("DELETE", &format!("/jobs?id={id}"))).await.json(), json!([id]), "{state}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_can_be_fetched_and_resubmitted() {
    let bed = Bed::ready(|_| ()).await;
    let flag = bed.dir.path().join("flag");
    let script = format!("echo try; test -e {} || exit 1", flag.display());
    let id = bed.submit(&format!("&(executable=/bin/sh)(arguments=-c \"{script}\")(stdout=out)")).await;
    let first = bed.until(id, "failed").await;
    let fetch = Ask::new("PATCH", &format!("/jobs?action=fetch&id={id}"));
    assert_eq!(bed.ask(fetch.clone()).await.json(), json!([id]));
    bed.until(id, "donefailed").await;
    assert_eq!(bed.get(&format!("/jobs/{id}/results/out")).await.text(), "try\n");
    assert_eq!(bed.ask(fetch).await.json(), json!([]));
    std::fs::write(&flag, "").unwrap();
    let resubmit = Ask::new("PATCH", &format!("/jobs?action=resubmit&id={id}"));
    assert_eq!(bed.ask(resubmit.clone()).await.json(), json!([id]));
    let last = bed.until(id, "done").await;
    assert_ne!(first["a_JobID"], last["a_JobID"]);
    assert_eq!(bed.ask(resubmit).await.json(), json!([]), "not from done");
    let runs = bed.admin(Ask::new("GET", "/runs")).await.json();
    assert_eq!(runs["jobs"][id.to_string()], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_can_be_replaced_until_it_is_handed_over() {
    let bed = Bed::ready(|options| options.delays.handover = Duration::from_millis(700)).await;
    let id = bed.submit("&(executable=/bin/echo)(arguments=first)(stdout=o)").await;
    let put = |text: &str| {
        let desc = format!("&(executable=/bin/echo)(arguments={text})(stdout=o)(jobname={text})");
        Ask::new("PUT", "/jobs").json(&json!([{ "id": id, "desc": desc }]))
    };
    bed.ask(put("second")).await;
    bed.until(id, "done").await;
    assert_eq!(bed.get(&format!("/jobs/{id}/results/o")).await.text(), "second\n");
    assert_eq!(bed.ask(put("third")).await.json()[0]["name"], "third", "accepted, but only a new name");
    assert_eq!(bed.row(id).await["c_jobname"], "third");
    assert_eq!(bed.admin(Ask::new("GET", &format!("/jobs/{id}"))).await.json()["runs"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_outlive_a_restart() {
    let bed = Bed::ready(|options| options.delays.accepted = Duration::from_secs(600)).await;
    let done = bed.submit("&(executable=/bin/true)(jobname=waits)").await;
    bed.until(done, "submitted").await;
    let half =
        bed.ask(Ask::new("POST", "/jobs").json(&json!([{ "clusterlist": [bed.sandbox.info().clusters[0]] }]))).await;
    let half = half.json()[0]["id"].as_i64().unwrap();
    let before = bed.sandbox.info().clone();
    let bed = bed.restart(|_| ()).await;
    let after = bed.sandbox.info();
    assert_eq!((&before.server, &before.ce, &before.webdav), (&after.server, &after.ce, &after.webdav));
    bed.until(done, "done").await;
    assert_eq!(bed.row(half).await["a_arcstate"], Value::Null);

    let slow = bed.submit("&(executable=/bin/sleep)(arguments=600)").await;
    bed.until(slow, "running").await;
    let bed = bed.restart(|_| ()).await;
    let row = bed.until(slow, "failed").await;
    assert!(row["a_Error"].as_str().unwrap().contains("lost"), "{row}");
    assert_eq!(bed.row(done).await["a_arcstate"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_files_go_through_the_store_with_the_delegated_proxy() {
    let bed = Bed::ready(|_| ()).await;
    let store = bed.sandbox.info().webdav.clone();
    let first = format!("&(executable=/bin/echo)(arguments=moved)(stdout=out)(outputfiles=(out \"{store}/x.txt\"))");
    bed.until(bed.submit(&first).await, "done").await;
    assert_eq!(bed.sandbox.webdav().contents().unwrap(), ["x.txt"]);
    let second = format!("&(executable=/bin/cat)(arguments=in)(inputfiles=(in \"{store}/x.txt\"))(stdout=out)");
    let id = bed.submit(&second).await;
    bed.until(id, "done").await;
    assert_eq!(bed.get(&format!("/jobs/{id}/results/out")).await.text(), "moved\n");
    let seen = bed.sandbox.webdav().front().journal();
    let who = Some("/DC=org/DC=act-sandbox/O=Users/CN=Test User");
    assert!(seen.len() == 2 && seen.iter().all(|seen| seen.dn.as_deref() == who), "{seen:?}");
    let missing = bed.submit(&format!("&(executable=/bin/true)(outputfiles=(none \"{store}/none\"))")).await;
    let row = bed.until(missing, "failed").await;
    assert!(row["a_Error"].as_str().unwrap().starts_with("Failed in data staging: "), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn adl_descriptions_run_too() {
    let bed = Bed::ready(|_| ()).await;
    let adl = "<?xml version=\"1.0\"?><ActivityDescription xmlns=\"http://www.eu-emi.eu/es/2010/12/adl\">\
               <ActivityIdentification><Name>adl</Name></ActivityIdentification><Application><Executable><Path>/bin/cat\
               </Path><Argument>in.txt</Argument></Executable><Output>out</Output></Application><DataStaging><InputFile>\
               <Name>in.txt</Name></InputFile></DataStaging></ActivityDescription>";
    let id = bed.submit_with(adl, &[("in.txt", "text\n")]).await;
    assert_eq!(bed.until(id, "done").await["c_jobname"], "adl");
    assert_eq!(bed.get(&format!("/jobs/{id}/results/out")).await.text(), "text\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_cluster_keeps_the_job_for_ever() {
    let bed = Bed::ready(|_| ()).await;
    let down = &bed.sandbox.info().clusters[1];
    let answer = bed.ask(Ask::new("POST", "/jobs").json(&json!([{ "clusterlist": [down] }]))).await;
    let id = answer.json()[0]["id"].as_i64().unwrap();
    bed.ask(Ask::new("PUT", "/jobs").json(&json!([{ "id": id, "desc": "&(executable=/bin/true)" }]))).await;
    for state in ["submitting", "tosubmit", "submitting", "tosubmit"] {
        assert_eq!(bed.until(id, state).await["a_State"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_are_listed_and_found() {
    let bed = Bed::ready(|_| ()).await;
    // Results only for some: to remove twenty thousand files takes long.
    let wish = json!({ "count": 9_900, "arcstate": "running", "state": "Running" });
    bed.admin(Ask::new("POST", "/synthetic").json(&wish)).await;
    let wish = json!({ "count": 100, "files": { "out.txt": "result of {id}\n" } });
    let made = bed.admin(Ask::new("POST", "/synthetic").json(&wish)).await.json();
    assert_eq!(made["ids"].as_array().unwrap().len(), 100);
    let begin = Instant::now();
    let all = bed.get("/jobs?client=id,jobname&arc=JobID,State,arcstate").await;
    println!("10,000 rows, {} bytes: {:?}", all.body.len(), begin.elapsed());
    assert_eq!(all.json().as_array().unwrap().len(), 10_000);
    let id = made["ids"][99].as_i64().unwrap();
    assert_eq!(bed.get(&format!("/jobs/{id}/results/out.txt")).await.text(), format!("result of {id}\n"));
    assert_eq!(bed.row(id).await["c_jobname"], "synthetic-100");
    let forced = json!({ "arcstate": "lost", "state": "Undefined" });
    assert_eq!(bed.admin(Ask::new("POST", &format!("/jobs/{id}/state")).json(&forced)).await.status, 204);
    assert_eq!(bed.row(id).await["a_arcstate"], "lost");
    assert_eq!(bed.ask(Ask::new("DELETE", &format!("/jobs?id={id}"))).await.json(), json!([id]));
}
