//! A bad network between a client and a server: a TCP proxy that delays, cuts, truncates and swallows, as the dice fall,
//! until it is told to behave. It knows nothing of what it carries.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// What is done to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Nothing.
    Pass,
    /// Each piece comes so much later.
    Delay(Duration),
    /// After so many bytes of the client's both ends get a reset.
    CutRequest(u64),
    /// After so many bytes of the server's both ends get a reset.
    CutAnswer(u64),
    /// After so many bytes of the server's the connection ends as if that were all.
    Truncate(u64),
    /// After so many bytes of the server's nothing more comes for a while, then the end.
    Stall(u64),
    /// No connection.
    Refuse,
}

#[derive(Debug, Default)]
struct State {
    is_bad: AtomicBool,
    /// If not 0: only clients that send more than so many bytes are harmed, after that many or more.
    uploads_after: AtomicU64,
    seed: AtomicU64,
    harmed: AtomicU64,
}

/// The network. It lives as long as the process.
#[derive(Debug)]
pub struct Net {
    address: SocketAddr,
    state: Arc<State>,
}

impl Net {
    /// Carries connections to `to` (host and port), faithfully at first.
    ///
    /// # Panics
    /// No port can be had.
    #[must_use]
    pub fn to(to: &str, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it has one");
        let state = Arc::new(State { seed: AtomicU64::new(seed | 1), ..State::default() });
        let (to, shared) = (to.to_owned(), state.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (to, state) = (to.clone(), shared.clone());
                thread::spawn(move || carry(client, &to, &state));
            }
        });
        Self { address, state }
    }

    /// The same URL, through this network.
    ///
    /// # Panics
    /// It is no URL with host and port.
    #[must_use]
    pub fn through(&self, url: &str, host: &str) -> String {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let path = rest.find('/').map_or("", |at| &rest[at..]);
        format!("{scheme}://{host}:{}{path}", self.address.port())
    }

    /// Only connections on which the client sends more than so many bytes meet trouble: uploads, not downloads.
    #[must_use]
    pub fn only_uploads(self, after: u64) -> Self {
        self.state.uploads_after.store(after, Ordering::Relaxed);
        self
    }

    /// From now on it is bad, or good.
    pub fn be_bad(&self, bad: bool) {
        self.state.is_bad.store(bad, Ordering::Relaxed);
    }

    /// How many connections were harmed.
    #[must_use]
    pub fn harmed(&self) -> u64 {
        self.state.harmed.load(Ordering::Relaxed)
    }
}

impl State {
    fn dice(&self) -> u64 {
        let next = |s: u64| s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |s| Some(next(s))).unwrap_or_default() >> 33
    }

    fn plan(&self) -> Plan {
        if !self.is_bad.load(Ordering::Relaxed) {
            return Plan::Pass;
        }
        let (which, far) = (self.dice() % 16, self.dice());
        // Heads, bodies of a few bytes, files: each is to be hit.
        let bytes = far % [60, 400, 4_000, 60_000][usize::try_from(far / 60_000 % 4).unwrap_or(0)];
        let uploads_after = self.uploads_after.load(Ordering::Relaxed);
        let plan = match which {
            _ if uploads_after > 0 && which < 8 => Plan::CutRequest(uploads_after + far % uploads_after),
            _ if uploads_after > 0 => Plan::Pass,
            0 | 1 => Plan::CutRequest(bytes),
            2 | 3 => Plan::CutAnswer(bytes),
            4 => Plan::Truncate(bytes),
            5 => Plan::Stall(bytes),
            6 => Plan::Refuse,
            7..=9 => Plan::Delay(Duration::from_millis(far % 200)),
            _ => Plan::Pass,
        };
        if !matches!(plan, Plan::Pass | Plan::Delay(_)) {
            self.harmed.fetch_add(1, Ordering::Relaxed);
        }
        plan
    }
}

fn carry(client: TcpStream, to: &str, state: &State) {
    let plan = state.plan();
    if plan == Plan::Refuse {
        return reset(&client);
    }
    let Ok(server) = TcpStream::connect(to) else { return };
    let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { return };
    let up = thread::spawn(move || pump(from_client, to_server, plan, true));
    pump(server, client, plan, false);
    // It ends with its sockets.
    let _ = up.join();
}

/// Closes so that the other side sees an error and not an end.
fn reset(stream: &TcpStream) {
    // A connection that is gone already needs no reset.
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

fn pump(mut from: TcpStream, mut to: TcpStream, plan: Plan, is_request: bool) {
    let mut left = match plan {
        Plan::CutRequest(n) if is_request => n,
        Plan::CutAnswer(n) | Plan::Truncate(n) | Plan::Stall(n) if !is_request => n,
        _ => u64::MAX,
    };
    let mut buffer = [0; 16 << 10];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        if let Plan::Delay(pause) = plan {
            thread::sleep(pause);
        }
        let goes = usize::try_from(left).unwrap_or(usize::MAX).min(n);
        left -= goes as u64;
        if to.write_all(&buffer[..goes]).is_err() {
            break;
        }
        if left == 0 {
            match plan {
                Plan::CutRequest(_) | Plan::CutAnswer(_) => {
                    reset(&to);
                    reset(&from);
                }
                Plan::Stall(_) => thread::sleep(Duration::from_secs(3)),
                _ => {}
            }
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
