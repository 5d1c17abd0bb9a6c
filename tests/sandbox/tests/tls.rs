//! The TLS server met by curl and openssl: who gets in, who they are taken for, and the certificates that are wrong on
//! purpose.

#[allow(dead_code, reason = "every test file uses a part of it")]
mod curl;

use act_sandbox::pki::{ProxyOptions, ServerCert};
use act_sandbox::tls::{ClientCert, HangUp, Peer, Server, acceptor};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use curl::{Grid, text};

fn router() -> Router {
    let who = |Extension(peer): Extension<Peer>| async move {
        format!("{} {}", peer.chain.len(), peer.dn.unwrap_or_else(|| "nobody".into()))
    };
    let hang_up = || async {
        let mut response: Response = Body::empty().into_response();
        response.extensions_mut().insert(HangUp);
        response
    };
    Router::new().route("/who", get(who)).route("/hang-up", get(hang_up))
}

async fn start(grid: &Grid, condition: ServerCert, clients: ClientCert) -> (Server, String) {
    let tls = acceptor(&grid.pki, condition, clients).expect("an acceptor");
    let server = Server::start(router(), Some(tls)).await.expect("a server");
    let url = format!("https://localhost:{}", server.addr().port());
    (server, url)
}

#[tokio::test]
async fn a_proxy_of_any_level_is_known_by_its_users_name() {
    let grid = Grid::new();
    let (_server, url) = start(&grid, ServerCert::Good, ClientCert::Required).await;
    for (levels, version) in [(1, "1.2"), (1, "1.3"), (2, "1.2"), (2, "1.3")] {
        let proxy = grid.pki.proxy(&ProxyOptions::of("Anna").levels(levels)).expect("a proxy");
        let curl = grid.anonymous_curl().args(["--cert", text(&proxy.path), "--tls-max", version]);
        let answer = curl.get(&format!("{url}/who")).await;
        let chain = levels + 2;
        assert_eq!(answer.text(), format!("{chain} /DC=org/DC=act-sandbox/O=Users/CN=Anna"), "{answer:?}");
    }
    let user = grid.pki.user("Anna").expect("a user");
    let curl = grid.anonymous_curl().args(["--cert", text(&user.cert_file), "--key", text(&user.key_file)]);
    assert_eq!(curl.get(&format!("{url}/who")).await.text(), "2 /DC=org/DC=act-sandbox/O=Users/CN=Anna");
}

#[tokio::test]
async fn who_has_no_valid_certificate_stays_outside() {
    let grid = Grid::new();
    let stranger = Grid::new();
    let (_server, url) = start(&grid, ServerCert::Good, ClientCert::Required).await;
    let (_open, open_url) = start(&grid, ServerCert::Good, ClientCert::Optional).await;
    let expired = grid.pki.proxy(&ProxyOptions::default().expired()).expect("a proxy");
    let early = grid.pki.proxy(&ProxyOptions::default().not_yet_valid()).expect("a proxy");
    for bad in [&expired, &early, &stranger.proxy] {
        for url in [&url, &open_url] {
            let curl = grid.anonymous_curl().args(["--cert", text(&bad.path)]);
            let answer = curl.get(&format!("{url}/who")).await;
            assert_eq!((answer.code, answer.status), (56, 0), "{answer:?}");
        }
    }
    let answer = grid.anonymous_curl().get(&format!("{url}/who")).await;
    assert_eq!((answer.code, answer.status), (56, 0), "{answer:?}");
    assert_eq!(grid.anonymous_curl().get(&format!("{open_url}/who")).await.text(), "0 nobody");
}

#[tokio::test]
async fn a_wrong_server_certificate_is_noticed_by_a_careful_client() {
    let grid = Grid::new();
    for condition in [ServerCert::SelfSigned, ServerCert::WrongHost, ServerCert::Expired] {
        let (_server, url) = start(&grid, condition, ClientCert::Optional).await;
        let answer = grid.curl().get(&format!("{url}/who")).await;
        assert_eq!((answer.code, answer.status), (60, 0), "{condition:?} {answer:?}");
        // Nothing else is wrong with it.
        let careless = grid.curl().args(["-k"]).get(&format!("{url}/who")).await;
        assert_eq!(careless.status, 200, "{condition:?} {careless:?}");
    }
    let (server, _) = start(&grid, ServerCert::Good, ClientCert::Optional).await;
    for host in ["localhost", "127.0.0.1"] {
        let answer = grid.curl().get(&format!("https://{host}:{}/who", server.addr().port())).await;
        assert_eq!(answer.status, 200, "{host} {answer:?}");
    }
}

#[tokio::test]
async fn openssl_sees_the_authority_named_and_its_chain_verified() {
    let grid = Grid::new();
    let (server, _) = start(&grid, ServerCert::Good, ClientCert::Optional).await;
    let out = tokio::process::Command::new("openssl")
        .args(["s_client", "-connect", &server.addr().to_string(), "-verify_return_error", "-CApath"])
        .args([text(&grid.pki.ca_dir()), "-cert", text(&grid.proxy.path), "-cert_chain", text(&grid.proxy.path)])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .expect("openssl runs");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(said.contains("Verification: OK"), "{said}");
    assert!(
        said.contains("Acceptable client certificate CA names\nDC = org, DC = act-sandbox, CN = Sandbox CA"),
        "{said}"
    );
}

#[tokio::test]
async fn hanging_up_resets_and_stopping_closes() {
    let grid = Grid::new();
    let (server, url) = start(&grid, ServerCert::Good, ClientCert::Optional).await;
    let answer = grid.curl().get(&format!("{url}/hang-up")).await;
    assert_eq!((answer.code, answer.status), (56, 0), "reset, not an empty answer: {answer:?}");
    server.stop().await;
    let answer = grid.curl().get(&format!("{url}/who")).await;
    assert_eq!((answer.code, answer.status), (7, 0), "refused: {answer:?}");

    let plain = Server::start(router(), None).await.expect("a server");
    let url = format!("http://{}", plain.addr());
    assert_eq!(curl::Curl::new().get(&format!("{url}/who")).await.text(), "0 nobody");
    let answer = curl::Curl::new().get(&format!("{url}/hang-up")).await;
    assert_eq!((answer.code, answer.status), (56, 0), "{answer:?}");
}
