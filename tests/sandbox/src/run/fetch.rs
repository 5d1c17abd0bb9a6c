//! The CE's transfers of remote inputs: HTTPS GET with the job's delegated proxy as client certificate. Follows a few
//! redirects, as storage systems need it; speaks no other protocol.

use std::{io, path::Path, pin::Pin};

use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use openssl::{
    pkey::PKey,
    ssl::{SslConnector, SslMethod},
    x509::X509,
};
use tokio::{fs::File, io::AsyncWriteExt, net::TcpStream};
use tokio_openssl::SslStream;
use url::Url;

const MAX_REDIRECTS: usize = 5;

/// Stores what `url` serves at `to`.
///
/// # Errors
/// Another scheme than https, no connection, a certificate that does not verify, or another status than 200.
pub(super) async fn get(url: &str, proxy: &str, ca_dir: &Path, to: &Path) -> io::Result<()> {
    let mut url = Url::parse(url).map_err(io::Error::other)?;
    for _ in 0..MAX_REDIRECTS {
        if url.scheme() != "https" {
            return Err(io::Error::other(format!("the CE has no transfer for `{}`", url.scheme())));
        }
        match once(&url, proxy, ca_dir, to).await? {
            None => return Ok(()),
            Some(next) => url = url.join(&next).map_err(io::Error::other)?,
        }
    }
    Err(io::Error::other("too many redirects"))
}

/// One request; Some is the place to go on.
async fn once(url: &Url, proxy: &str, ca_dir: &Path, to: &Path) -> io::Result<Option<String>> {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, url.port_or_known_default().unwrap_or(443))).await?;
    let ssl = connector(proxy, ca_dir)?.configure()?.into_ssl(host)?;
    let mut stream = SslStream::new(ssl, stream)?;
    Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driving = tokio::spawn(connection);
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let request = Request::get(target)
        .header(header::HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
        .header(header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    if response.status().is_redirection() {
        let place = response.headers().get(header::LOCATION).and_then(|place| place.to_str().ok());
        return place.map(|place| Some(place.to_owned())).ok_or_else(|| io::Error::other("redirect to nowhere"));
    }
    if response.status() != 200 {
        return Err(io::Error::other(format!("status {}", response.status())));
    }
    let mut file = File::create(to).await?;
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            file.write_all(&data).await?;
        }
    }
    file.flush().await?;
    driving.abort();
    Ok(None)
}

fn connector(proxy: &str, ca_dir: &Path) -> io::Result<SslConnector> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.load_verify_locations(None, Some(ca_dir))?;
    let mut chain = X509::stack_from_pem(proxy.as_bytes())?.into_iter();
    if let Some(cert) = chain.next() {
        builder.set_certificate(&cert)?;
        builder.set_private_key(&*PKey::private_key_from_pem(proxy.as_bytes())?)?;
        for link in chain {
            builder.add_extra_chain_cert(link)?;
        }
    }
    Ok(builder.build())
}
