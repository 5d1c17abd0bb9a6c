//! The command `act-sandbox`: arguments, log, signals. What it serves is in the library.

mod demo;

use std::{error::Error, io::Write, path::PathBuf, process::ExitCode, time::Duration};

use act_sandbox::{Delays, Info, Options, Sandbox, Workers, pki::ServerCert, webdav::Behaviour};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// An aCT server in small: REST API, WebDAV store and computing element on loopback ports. It really runs the jobs.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT.
    Serve(Serve),
    /// Show actd and actctl at work against a sandbox; `cargo demo` in the source tree.
    Demo(demo::Demo),
}

#[derive(Args)]
struct Serve {
    /// Directory for everything; a second start in it keeps jobs, keys and ports.
    #[arg(long)]
    dir: PathBuf,
    /// Directory of the test PKI, if not `pki` in --dir; sharing one saves making its keys anew.
    #[arg(long)]
    pki: Option<PathBuf>,
    /// Port of the REST API; 0 means the one used before in this directory, else a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Requests worked on at a time: a number, or `many`. With 1 an idle connection blocks everybody, as on a real server.
    #[arg(long, default_value = "1")]
    workers: Workers,
    /// How long a worker takes for a request, in milliseconds; a real server takes about 5.
    #[arg(long, default_value_t = 0)]
    request_time: u64,
    /// Let clients keep their connections; a real server closes them after each answer.
    #[arg(long)]
    keep_alive: bool,
    /// Serve the REST API over TLS, with a certificate of the test CA, or one with something wrong.
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "good")]
    tls: Option<Cert>,
    /// The certificate of the WebDAV store.
    #[arg(long, value_enum, default_value_t = Cert::Good)]
    webdav_cert: Cert,
    /// Time in each job state, in milliseconds.
    #[arg(long, default_value_t = 20)]
    delay: u64,
    /// Instead of --delay: a real server's times divided by this factor.
    #[arg(long, conflicts_with = "delay")]
    speed: Option<f64>,
    /// Single times in milliseconds: handover tosubmit submitting accepted status fetching cancel resubmit.
    #[arg(long, value_name = "NAME=MS,...", default_value = "")]
    delays: String,
    /// Jobs that run at a time.
    #[arg(long, default_value_t = 8)]
    slots: usize,
    /// Deliver outputs whose names a real server cannot move.
    #[arg(long)]
    deliver_any_name: bool,
    /// How long the user's proxy is valid, in seconds.
    #[arg(long, default_value_t = 24 * 3600)]
    proxy_validity: u64,
    /// How the WebDAV store takes uploads.
    #[arg(long, value_enum, default_value_t = Storage::Plain)]
    webdav: Storage,
    /// When ready, print one JSON line with all addresses and paths.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Storage {
    /// Takes the body itself, always answers 201.
    Plain,
    /// Answers 204 when it replaces a file, as Apache does.
    Apache,
    /// Redirects uploads to a pool, as dCache does.
    Dcache,
    /// The same; the pool speaks plain HTTP at an address that is not called loopback.
    DcacheHttp,
}

/// A server's certificate.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Cert {
    /// As it should be.
    Good,
    /// Signed with its own key.
    SelfSigned,
    /// Of another host.
    WrongHost,
    /// Since yesterday.
    Expired,
}

impl Cert {
    fn condition(self) -> ServerCert {
        match self {
            Self::Good => ServerCert::Good,
            Self::SelfSigned => ServerCert::SelfSigned,
            Self::WrongHost => ServerCert::WrongHost,
            Self::Expired => ServerCert::Expired,
        }
    }
}

impl Storage {
    fn behaviour(self) -> Behaviour {
        match self {
            Self::Plain => Behaviour::Plain,
            Self::Apache => Behaviour::Apache,
            Self::Dcache => Behaviour::Dcache { pool_tls: true },
            Self::DcacheHttp => Behaviour::Dcache { pool_tls: false },
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("ACT_SANDBOX_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .init();
    let serve = match cli.command {
        Command::Serve(serve) => serve,
        Command::Demo(demo) => return demo::run(&demo),
    };
    match run(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(serve: Serve) -> Result<(), Box<dyn Error>> {
    let mut delays = match serve.speed {
        Some(factor) => Delays::real(factor),
        None => Delays::all(Duration::from_millis(serve.delay)),
    };
    delays.change(&serve.delays)?;
    let options = Options {
        pki_dir: serve.pki,
        port: serve.port,
        workers: serve.workers,
        request_time: Duration::from_millis(serve.request_time),
        keep_alive: serve.keep_alive,
        tls: serve.tls.map(Cert::condition),
        webdav_cert: serve.webdav_cert.condition(),
        delays,
        slots: serve.slots,
        deliver_any_name: serve.deliver_any_name,
        proxy_validity: Duration::from_secs(serve.proxy_validity),
        webdav: serve.webdav.behaviour(),
        ..Options::new(serve.dir)
    };
    // Before the ready line: whoever reads it may send a signal at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sandbox = Sandbox::start(options).await?;
    announce(sandbox.info(), serve.json)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = sandbox.stopped() => {}
    }
    sandbox.shutdown().await;
    Ok(())
}

fn announce(info: &Info, json: bool) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, info)?;
        writeln!(out)?;
    } else {
        writeln!(out, "aCT server   {}", info.server)?;
        writeln!(out, "CE           {}", info.ce)?;
        writeln!(out, "WebDAV       {}", info.webdav)?;
        writeln!(out, "admin        {}", info.admin)?;
        writeln!(out, "\nTo use it:\n  export X509_CERT_DIR={}", info.ca_dir.display())?;
        writeln!(out, "  actctl --conf {} proxy", info.config.display())?;
    }
    out.flush()?;
    Ok(())
}
