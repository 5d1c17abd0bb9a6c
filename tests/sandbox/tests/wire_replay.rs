//! Exchanges recorded between clients and a real aCT server are sent to the sandbox again: status, reason, headers and
//! body must be the same, but for what differs between any two servers (ports, paths, times, ids at the CE).
//!
//! `wire/*.jsonl` hold the recordings in order, one exchange a line: `answer` is null where the recorder cut the body.

mod common;

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path, time::Duration};

use act_sandbox::{Delays, pki::ProxyOptions};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use common::{Answer, Ask, Bed, sign, wait};
use openssl::{hash::MessageDigest, pkey::PKey, sign::Signer, x509::X509};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Clone, Deserialize)]
struct Exchange {
    title: String,
    method: String,
    target: String,
    auth: String,
    body: Option<String>,
    status: u16,
    reason: String,
    headers: serde_json::Map<String, Value>,
    answer: Option<String>,
}

fn recorded(name: &str) -> Vec<Exchange> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/{name}.jsonl"));
    let text = fs::read_to_string(path).unwrap();
    let list: Vec<Exchange> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(list.len() > 20, "{name} is too short to be whole");
    list
}

/// A server whose jobs never move by themselves, with the rows `keep` of 1..=`last`, all half-submitted.
async fn frozen(last: i64, keep: &[i64]) -> Bed {
    let bed = Bed::ready(|options| options.delays = Delays::all(Duration::from_secs(3600))).await;
    let cluster = json!({ "clusterlist": [bed.sandbox.info().clusters[0]] });
    let rows: Vec<_> = (0..last).map(|_| cluster.clone()).collect();
    if last > 0 {
        bed.ask(Ask::new("POST", "/jobs").json(&json!(rows))).await;
    }
    for id in (1..=last).filter(|id| !keep.contains(id)) {
        bed.ask(Ask::new("PATCH", &format!("/jobs?action=cancel&id={id}"))).await;
    }
    bed
}

/// Confirms a row under a name and forces it into a state.
async fn place(bed: &Bed, id: i64, name: &str, arcstate: &str, state: &str, results: Option<Value>) {
    let desc = format!(
        "&(executable=\"/bin/true\")(stdout=\"stdout.txt\")(stderr=\"stderr.txt\")(outputfiles=(\"/\" \"\"))(jobname=\"{name}\")"
    );
    let answer = bed.ask(Ask::new("PUT", "/jobs").json(&json!([{ "id": id, "desc": desc }]))).await;
    assert_eq!(answer.json()[0]["name"], name, "{answer:?}");
    let force = json!({
        "arcstate": arcstate, "state": state, "results": results,
        "exit_code": if state == "Finished" { json!(0) } else { Value::Null },
    });
    let answer = bed.admin(Ask::new("POST", &format!("/jobs/{id}/state")).json(&force)).await;
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// Our names for what the recorded server called otherwise, and back.
struct Names(Vec<(String, String)>);

impl Names {
    fn of(bed: &Bed) -> Self {
        let info = bed.sandbox.info();
        let ce = info.ce.trim_start_matches("https://localhost").to_owned();
        Self(vec![
            (format!("localhost{ce}"), "localhost:8443".to_owned()),
            (format!("LOCALHOST{ce}"), "LOCALHOST:8443".to_owned()),
            ("localhost:1/".to_owned(), "localhost:8444/".to_owned()),
            (info.dir.join("act").display().to_string(), "/srv/act".to_owned()),
        ])
    }

    fn ours(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (ours, theirs)| text.replace(theirs, ours))
    }

    fn theirs(&self, text: &str) -> String {
        times(&self.0.iter().fold(text.to_owned(), |text, (ours, theirs)| text.replace(ours, theirs)))
    }
}

/// `"... GMT"` in JSON becomes `"TIME"`.
fn times(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(end) = rest.find(" GMT\"") {
        let start = rest[..end].rfind('"').unwrap();
        out.push_str(&rest[..start]);
        out.push_str("\"TIME\"");
        rest = &rest[end + " GMT\"".len()..];
    }
    out.push_str(rest);
    out
}

/// The request as recorded, with our names and our token.
fn request(bed: &Bed, names: &Names, exchange: &Exchange) -> Ask {
    let mut ask = Ask::new(&exchange.method, &names.ours(&exchange.target));
    if let Some(body) = &exchange.body {
        ask = ask.body(names.ours(body).as_bytes());
        let kind = match exchange.title.as_str() {
            "JSON body w/o content-type" | "no ctype" => None,
            title if title.starts_with("other json type") => Some("application/vnd.api+json"),
            _ => Some("application/json"),
        };
        if let Some(kind) = kind {
            ask = ask.header("Content-Type", kind);
        }
    }
    match exchange.auth.as_str() {
        "-" => ask,
        auth => ask.header("Authorization", &auth.replace("TOKEN", &bed.token)),
    }
}

/// Compares everything that two servers have in common.
fn compare(names: &Names, exchange: &Exchange, got: &Answer) {
    let what = format!("{:?} {} {}\n{got:?}", exchange.title, exchange.method, exchange.target);
    assert_eq!((got.status, got.reason.as_str()), (exchange.status, exchange.reason.as_str()), "{what}");
    assert_eq!(got.header("Server"), Some("gunicorn"), "{what}");
    assert!(got.header("Date").is_some(), "{what}");
    let text = got.text();
    let same_bytes = match exchange.method.as_str() {
        // The clusters in the body that is not shown have other ports.
        "HEAD" => exchange.target != "/info",
        _ => exchange.answer.as_ref().is_some_and(|answer| answer.trim_end() == text.trim_end()),
    };
    for (name, value) in &exchange.headers {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let own = got.header(name).unwrap_or_else(|| panic!("no {name}: {what}"));
        match name.as_str() {
            "Last-Modified" => assert!(own.ends_with(" GMT"), "{what}"),
            "ETag" => assert_eq!(tag_shape(own), tag_shape(&value), "{what}"),
            "Allow" => assert_eq!(words(own), words(&value), "{what}"),
            "Content-Length" if !same_bytes => {}
            _ => assert_eq!(own, value, "{name}: {what}"),
        }
    }
    for name in ["Content-Length", "Content-Type", "Location", "Allow", "ETag", "Content-Range", "Last-Modified"] {
        assert_eq!(got.header(name).is_some(), exchange.headers.contains_key(name), "{name}: {what}");
    }
    if got.header("Content-Type") == Some("application/json") && exchange.method != "HEAD" {
        assert!(text.ends_with('\n') && text.is_ascii(), "{what}");
    }
    match (&exchange.answer, exchange.method.as_str()) {
        (None, _) | (_, "HEAD") => {}
        (Some(answer), _) if exchange.title.starts_with("all columns") => {
            assert_eq!(shape(&got.json()), shape(&serde_json::from_str(answer).unwrap()), "{what}");
        }
        (Some(answer), _) if answer.starts_with("{\"dir\":") => {
            assert_eq!(listing(&text), listing(answer), "{what}");
        }
        (Some(answer), _) => assert_eq!(names.theirs(&text).trim_end(), times(answer).trim_end(), "{what}"),
    }
}

/// `"TIME-SIZE-SUM"`: three numbers, of which the size is compared.
fn tag_shape(tag: &str) -> (usize, String) {
    let parts: Vec<_> = tag.trim_matches('"').split('-').collect();
    assert!(tag.starts_with('"') && tag.ends_with('"') && parts[0].parse::<f64>().is_ok(), "{tag}");
    (parts.len(), parts[1].to_owned())
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(", ").collect()
}

/// Every value replaced by the name of its type.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(text) if text.ends_with(" GMT") => json!("time"),
        Value::String(_) => json!("string"),
        Value::Array(list) => list.iter().map(shape).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
    }
}

fn listing(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let value: Value = serde_json::from_str(text).unwrap();
    let names = |key: &str| serde_json::from_value(value[key].clone()).unwrap();
    assert_eq!(value.as_object().unwrap().len(), 2);
    (names("dir"), names("file"))
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions() {
    let bed = frozen(5, &[1, 2, 3, 5]).await;
    let names = Names::of(&bed);
    for exchange in recorded("jobs1") {
        let got = bed.send(&request(&bed, &names, &exchange)).await;
        compare(&names, &exchange, &got);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_and_actions() {
    let keep = [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
    let bed = frozen(14, &keep).await;
    place(&bed, 1, "hello", "done", "Finished", Some(json!({}))).await;
    place(&bed, 2, "fail1", "failed", "Failed", None).await;
    place(&bed, 3, "long", "running", "Running", None).await;
    place(&bed, 5, "remotemissing", "submitted", "Preparing", None).await;
    for (id, name) in [(11, "m2"), (12, "put-b2"), (13, ""), (14, "put1")] {
        place(&bed, id, name, "submitted", "Accepted", None).await;
    }
    let names = Names::of(&bed);
    for mut exchange in recorded("jobs2") {
        if exchange.target.ends_with("bytes)") {
            let info = bed.get("/info").await.json();
            let list = |key: &str| serde_json::from_value::<Vec<String>>(info[key].clone()).unwrap().join(",");
            exchange.target = format!("/jobs?id=1&client={}&arc={}", list("client"), list("arc"));
        }
        let got = bed.send(&request(&bed, &names, &exchange)).await;
        compare(&names, &exchange, &got);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads() {
    let bed = frozen(20, &[]).await;
    let names = Names::of(&bed);
    for mut exchange in recorded("data") {
        if exchange.title == "too long name" {
            exchange.target = format!("/jobs/21/data/{}", "n".repeat(300));
        }
        if exchange.title.starts_with("traversal") || exchange.title == "other job dir" {
            // The real server writes outside the job's directory. This one must not.
            let refused = json!({ "Content-Type": "application/json" });
            exchange.headers = refused.as_object().unwrap().clone();
            exchange.headers.insert("Content-Length".to_owned(), json!("23"));
            (exchange.status, exchange.reason) = (500, "INTERNAL SERVER ERROR".to_owned());
            exchange.answer = Some("{\"msg\":\"Server error\"}".to_owned());
        }
        let got = bed.send(&request(&bed, &names, &exchange)).await;
        compare(&names, &exchange, &got);
    }
    let data = bed.sandbox.info().dir.join("act/data");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "only job 21 has data");
    assert_eq!(fs::read_to_string(data.join("21/sub/y.txt")).unwrap(), "data");
    assert!(data.join("21/p%41.txt").is_file() && data.join("21/q?x.txt").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn results() {
    let bed = frozen(18, &[18]).await;
    let files = json!({
        "stdout.txt": "input data\n", "stderr.txt": "", "q?x=1.txt": "q\n", "h#1.txt": "h\n", "in.txt": "input data\n",
        "sm\u{f8}rbr\u{f8}d.txt": "uni\n", "a file.txt": "sp\n", "zero.bin": "", "p%41.txt": "pct\n", "out.txt": "out\n",
        "a+b.txt": "plus\n", "sub/deep/inner file.txt": "ok\n", "sub/deep/x.txt": "nested\n",
    });
    place(&bed, 18, "nested", "done", "Finished", Some(files)).await;
    let row = bed.admin(Ask::new("GET", "/jobs/18")).await.json();
    let dir = Path::new(row["results"].as_str().unwrap());
    fs::create_dir(dir.join("empty")).unwrap();
    fs::create_dir(dir.join("gmlog")).unwrap();
    for name in
        ["description", "xml", "input_status", "statistics", "input", "output", "diag", "errors", "status", "local"]
    {
        fs::write(dir.join("gmlog").join(name), "").unwrap();
    }
    let outside = bed.dir.path().join("outside");
    fs::write(&outside, "x".repeat(1381)).unwrap();
    symlink(&outside, dir.join("link.txt")).unwrap();
    symlink("/nowhere", dir.join("dangling")).unwrap();

    let names = Names::of(&bed);
    let mut tag = String::new();
    for mut exchange in recorded("res") {
        if exchange.target.contains("/link.txt") || exchange.target.contains("/gmlog/") && exchange.answer.is_none() {
            exchange.answer = None;
            exchange.headers.remove("ETag");
            exchange.headers.remove("Content-Length");
        }
        let outside = match exchange.target.as_str() {
            "/jobs/18/results/..%2f..%2f..%2fact-etc/aCTConfigAPP.yaml" => Some("Output file does not exist"),
            "/jobs/18/results/../" => Some("Output directory does not exist"),
            _ => None,
        };
        if let Some(msg) = outside {
            // The real server reads any file. This one must not.
            let answer = format!("{{\"msg\":\"{msg}\"}}");
            let headers =
                json!({ "Content-Type": "application/json", "Content-Length": (answer.len() + 1).to_string() });
            exchange.headers = headers.as_object().unwrap().clone();
            (exchange.status, exchange.reason) = (404, "NOT FOUND".to_owned());
            exchange.answer = Some(answer);
        }
        let mut ask = request(&bed, &names, &exchange);
        match exchange.title.as_str() {
            "Range" => ask = ask.header("Range", "bytes=1-2"),
            "conditional" => ask = ask.header("If-None-Match", &tag),
            _ => {}
        }
        let got = bed.send(&ask).await;
        if exchange.target.ends_with("/out.txt") {
            tag = got.header("ETag").unwrap().to_owned();
        }
        if exchange.headers.contains_key("Accept-Ranges") && !exchange.headers.contains_key("ETag") {
            // Of a file whose content cannot be the recorded one only status and type are compared.
            assert_eq!(got.status, exchange.status);
            assert_eq!(got.header("Content-Type"), exchange.headers["Content-Type"].as_str());
            continue;
        }
        compare(&names, &exchange, &got);
    }
}

/// A token with any claims, signed with the sandbox's key or another.
fn token(key: &str, payload: &Value) -> String {
    let head = B64.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let text = format!("{head}.{}", B64.encode(payload.to_string()));
    let key = PKey::hmac(key.as_bytes()).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    format!("{text}.{}", B64.encode(signer.sign_oneshot_to_vec(text.as_bytes()).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens() {
    let bed = frozen(5, &[1, 2, 3, 5]).await;
    let names = Names::of(&bed);
    let snapshot = bed.sandbox.info().dir.join("state.jsonl");
    let key = wait("the snapshot", || async {
        let text = fs::read_to_string(&snapshot).map_err(|error| error.to_string())?;
        let first = text.lines().next().unwrap_or_default();
        let state: Value = serde_json::from_str(first).map_err(|error| error.to_string())?;
        Ok(state["token_key"].as_str().unwrap().to_owned())
    })
    .await;
    let far = 4_000_000_000_u64;
    for exchange in recorded("auth") {
        let kind = exchange.title.strip_suffix(" token").unwrap();
        let value = match kind {
            "missing" => None,
            "expired" => Some(format!("Bearer {}", token(&key, &json!({ "proxyid": 1, "exp": 1_000_000_000 })))),
            "badsig" => Some(format!("Bearer {}", token("wrong", &json!({ "proxyid": 1, "exp": far })))),
            "garbage" => Some("Bearer garbage".to_owned()),
            "garbage-dotted" => Some("Bearer a.b.c".to_owned()),
            "noproxy-in-db" => Some(format!("Bearer {}", token(&key, &json!({ "proxyid": 999, "exp": far })))),
            "no-proxyid-claim" => Some(format!("Bearer {}", token(&key, &json!({ "exp": far })))),
            "no Bearer prefix (raw token only)" => Some(bed.token.clone()),
            "empty header" => Some(String::new()),
            "Basic scheme + valid token" => Some(format!("Basic {}", bed.token)),
            other => panic!("unknown kind of token: {other}"),
        };
        let mut ask = request(&bed, &names, &Exchange { auth: "-".to_owned(), ..exchange.clone() });
        if let Some(value) = value {
            ask = ask.header("Authorization", &value);
        }
        compare(&names, &exchange, &bed.send(&ask).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_half_submitted_rows() {
    let keep = [3, 5, 6, 7, 8, 9, 10, 16, 18, 21, 22, 24, 25, 29, 30];
    let bed = frozen(30, &[&keep[..], &[1, 2]].concat()).await;
    for (id, name) in [(1, "a"), (2, "b"), (3, "long")] {
        place(&bed, id, name, "running", "Running", None).await;
    }
    for id in [1, 2] {
        // They only served to give job 3 the recorded row number.
        place(&bed, id, "gone", "done", "Finished", None).await;
        assert_eq!(bed.ask(Ask::new("DELETE", &format!("/jobs?id={id}"))).await.json(), json!([id]));
    }
    let names = Names::of(&bed);
    for mut exchange in recorded("misc") {
        let title = exchange.title.clone();
        let number = |text: &str| text.split(' ').next().unwrap().parse::<usize>().unwrap();
        if title.contains(" ids raw comma") {
            let ids: Vec<_> = (100_000..100_000 + number(&title)).map(|id| id.to_string()).collect();
            let columns = "&client=id,jobname&arc=JobID,State,arcstate";
            exchange.target = format!("/jobs?id={}{columns}", ids.join(","));
        } else if let Some(rest) = title.strip_prefix("request line total ") {
            // Counted with the line end; the recorded targets are 15 bytes shorter.
            let head = "/jobs?client=id&id=";
            let ids = number(rest) - 15 - head.len();
            let list = ["1,".repeat(ids / 2), "1".repeat(1 + ids % 2)].concat();
            exchange.target = format!("{head}{}", &list[..ids - ids % 2 - (1 - ids % 2)]);
            let padding = number(rest) - 15 - exchange.target.len();
            exchange.target.push_str(&"1".repeat(padding));
        }
        let mut ask = request(&bed, &names, &exchange);
        match title.as_str() {
            "8200 byte header" => ask = ask.header("X-Long", &"x".repeat(8200)),
            "9000 byte token" => {
                ask.headers.retain(|(name, _)| name != "Authorization");
                ask = ask.header("Authorization", &format!("Bearer {}", "x".repeat(9000)));
            }
            _ => {}
        }
        compare(&names, &exchange, &bed.send(&ask).await);
    }
    // The huge range has broken the server for everybody.
    let answer = bed.get("/info").await;
    assert_eq!((answer.status, answer.text().as_str()), (500, "{\"msg\":\"Server error\"}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn delegations() {
    let mut bed = frozen(3, &[3]).await;
    let names = Names::of(&bed);
    let pki_dir = bed.sandbox.info().ca_dir.parent().unwrap();
    let pki = act_sandbox::pki::Pki::create(pki_dir).unwrap();
    let chain_of = |certs: &[X509]| {
        certs.iter().map(|cert| String::from_utf8(cert.to_pem().unwrap()).unwrap()).collect::<String>()
    };
    let parts = |options: ProxyOptions| {
        let proxy = pki.proxy(&options).unwrap();
        (chain_of(&proxy.chain[..1]), chain_of(&proxy.chain[1..]), proxy)
    };
    let (cert, chain, good) = parts(ProxyOptions::of("User Two"));
    let (plain, plain_chain, _) = parts(ProxyOptions::of("User Two").without_voms());
    let (expired, expired_chain, _) = parts(ProxyOptions::of("User Two").expired());
    let user = chain_of(std::slice::from_ref(&pki.user("User Two").unwrap().credential.cert));

    let (mut csr, mut token) = (String::new(), String::new());
    for exchange in recorded("proxies") {
        let body = match exchange.title.as_str() {
            "no chain" | "PUT no chain" => Some(json!({ "cert": cert })),
            "no cert" | "PUT no cert" => Some(json!({ "chain": chain })),
            "garbage cert" | "PUT garbage cert" => Some(json!({ "cert": "garbage", "chain": chain })),
            "EEC (no VOMS AC) as cert" | "PUT EEC as cert" => Some(json!({ "cert": user, "chain": user })),
            "proxy without VOMS attributes" => Some(json!({ "cert": plain, "chain": plain_chain })),
            "expired proxy" => Some(json!({ "cert": expired, "chain": expired_chain })),
            "good POST" | "second POST same identity" => Some(json!({ "cert": cert, "chain": chain })),
            title if title.starts_with("PUT good") || title.starts_with("PUT repeated") => {
                Some(json!({ "cert": sign(&csr, &good.pem), "chain": format!("{cert}{chain}") }))
            }
            _ => None,
        };
        let mut exchange = exchange;
        if let Some(body) = body {
            exchange.body = Some(body.to_string());
        }
        if exchange.method == "POST" && exchange.target == "/jobs" || exchange.title == "user2 sees own jobs only" {
            // Whatever the number, it is the next row and this user's only one.
            exchange.answer = exchange.answer.map(|answer| answer.replace("932608", "4"));
            exchange.headers.insert("Content-Length".to_owned(), json!(exchange.answer.as_ref().unwrap().len() + 1));
        }
        let ask = request(&bed, &names, &exchange);
        let got = bed.send(&ask).await;
        if got.status == 200 && exchange.target == "/proxies" {
            let answer = got.json();
            let new = answer["token"].as_str().unwrap().to_owned();
            assert!(token.is_empty() || token == new, "the same proxy gives the same token");
            token = new;
            bed.token.clone_from(&token);
            if exchange.method == "POST" {
                assert_eq!(answer.as_object().unwrap().len(), 2);
                answer["csr"].as_str().unwrap().clone_into(&mut csr);
                let parsed = openssl::x509::X509Req::from_pem(csr.as_bytes()).unwrap();
                assert_eq!(parsed.public_key().unwrap().bits(), 2048);
                assert_eq!(parsed.version(), 0);
                let subject = act_sandbox::pki::oneline(parsed.subject_name());
                assert_eq!(subject, act_sandbox::pki::oneline(good.chain[0].subject_name()));
            }
            exchange.answer = None;
        }
        compare(&names, &exchange, &got);
    }
    let kinds: Vec<_> = bed.sandbox.violations().iter().map(|violation| violation.kind).collect();
    assert_eq!(kinds, ["proxy-without-post"], "only the repeated PUT was wrong");
}
