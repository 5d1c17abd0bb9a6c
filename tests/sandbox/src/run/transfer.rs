//! The CE's transfers of remote files: HTTPS GET and PUT with the job's delegated proxy as client certificate. Follows
//! a few redirects, as storage systems need it; speaks no other protocol.

use std::{io, path::Path, pin::Pin};

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use openssl::{
    pkey::PKey,
    ssl::{SslConnector, SslMethod},
    x509::X509,
};
use tokio::{fs::File, io::AsyncWriteExt, net::TcpStream};
use tokio_openssl::SslStream;
use tokio_util::io::ReaderStream;
use url::Url;

const MAX_REDIRECTS: usize = 5;

/// Who transfers: a proxy, and the authorities it trusts.
pub(super) struct Client<'a> {
    /// PEM: certificate, key, chain. May lack certificates; the other side then decides.
    pub(super) proxy: &'a str,
    pub(super) ca_dir: &'a Path,
}

impl Client<'_> {
    /// Stores what `url` serves at `to`.
    ///
    /// # Errors
    /// Another scheme than https, no connection, a certificate that does not verify, or a status other than 200.
    pub(super) async fn get(&self, url: &str, to: &Path) -> io::Result<()> {
        self.transfer(&Method::GET, url, to).await
    }

    /// Sends the file `from` to `url`.
    ///
    /// # Errors
    /// As for `get`; any 2xx is success.
    pub(super) async fn put(&self, url: &str, from: &Path) -> io::Result<()> {
        self.transfer(&Method::PUT, url, from).await
    }

    async fn transfer(&self, method: &Method, url: &str, file: &Path) -> io::Result<()> {
        let mut url = Url::parse(url).map_err(io::Error::other)?;
        for _ in 0..MAX_REDIRECTS {
            if url.scheme() != "https" {
                return Err(io::Error::other(format!("the CE has no transfer for `{}`", url.scheme())));
            }
            match self.once(method, &url, file).await? {
                None => return Ok(()),
                Some(next) => url = url.join(&next).map_err(io::Error::other)?,
            }
        }
        Err(io::Error::other("too many redirects"))
    }

    /// One request; Some is the place to go on.
    async fn once(&self, method: &Method, url: &Url, file: &Path) -> io::Result<Option<String>> {
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, url.port_or_known_default().unwrap_or(443))).await?;
        let ssl = self.connector()?.configure()?.into_ssl(host)?;
        let mut stream = SslStream::new(ssl, stream)?;
        Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let driving = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(&url[url::Position::BeforePath..url::Position::AfterQuery])
            .header(header::HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
            .header(header::CONNECTION, "close");
        let mut body = Body::empty();
        if method == Method::PUT {
            let from = File::open(file).await?;
            request = request.header(header::CONTENT_LENGTH, from.metadata().await?.len());
            body = Body::from_stream(ReaderStream::new(from));
        }
        let request = request.body(body).map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        if status.is_redirection() {
            let place = response.headers().get(header::LOCATION).and_then(|place| place.to_str().ok());
            return place.map(|place| Some(place.to_owned())).ok_or_else(|| io::Error::other("redirect to nowhere"));
        }
        if !(status == StatusCode::OK || method == Method::PUT && status.is_success()) {
            return Err(io::Error::other(format!("status {status}")));
        }
        if method == Method::GET {
            let mut to = File::create(file).await?;
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                    to.write_all(&data).await?;
                }
            }
            to.flush().await?;
        }
        driving.abort();
        Ok(None)
    }

    fn connector(&self) -> io::Result<SslConnector> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.load_verify_locations(None, Some(self.ca_dir))?;
        let mut chain = X509::stack_from_pem(self.proxy.as_bytes())?.into_iter();
        if let Some(cert) = chain.next() {
            builder.set_certificate(&cert)?;
            builder.set_private_key(&*PKey::private_key_from_pem(self.proxy.as_bytes())?)?;
            for link in chain {
                builder.add_extra_chain_cert(link)?;
            }
        }
        Ok(builder.build())
    }
}
