//! A TCP proxy on loopback that can misbehave: put it between a client and the API server.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{
    error::{Context, Result},
    ports,
};

const DEADLINE: Duration = Duration::from_secs(5);

/// Ends, with all its connections, when dropped. It lives in the runtime that it was started in.
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
    listening: watch::Receiver<bool>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    mode: watch::Sender<Mode>,
    accepted: AtomicU64,
    open: AtomicU64,
    bytes_to_server: AtomicU64,
    bytes_to_client: AtomicU64,
}

#[derive(Debug, Clone, Default)]
struct Mode {
    frozen: bool,
    refuse: bool,
    delay: Duration,
    /// Grows with each reset; a connection lives as long as the number it was born with.
    generation: u64,
}

impl FaultProxy {
    /// `upstream` is host and port, as of `ControlPlane::address()`.
    pub async fn start(upstream: impl Into<String>) -> Result<Self> {
        let (port, listener) = bind().await?;
        let shared = Arc::new(Shared {
            upstream: upstream.into(),
            mode: watch::Sender::new(Mode::default()),
            accepted: AtomicU64::new(0),
            open: AtomicU64::new(0),
            bytes_to_server: AtomicU64::new(0),
            bytes_to_client: AtomicU64::new(0),
        });
        let (report, listening) = watch::channel(true);
        let accepting = tokio::spawn(accept(shared.clone(), port, listener, report));
        Ok(Self { port, shared, listening, accepting })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// Connections stay open and no byte moves, as behind a firewall that has forgotten us. New connections
    /// are accepted, and lead nowhere.
    pub fn freeze(&self) {
        self.shared.mode.send_modify(|mode| mode.frozen = true);
    }

    /// What was held back goes on its way.
    pub fn thaw(&self) {
        self.shared.mode.send_modify(|mode| mode.frozen = false);
    }

    /// Cuts every connection with a TCP reset; new ones are welcome.
    pub fn reset(&self) {
        self.shared.mode.send_modify(|mode| mode.generation += 1);
    }

    /// Holds back whatever a client sends, so that each request takes this much longer, a TLS handshake twice.
    pub fn delay(&self, delay: Duration) {
        self.shared.mode.send_modify(|mode| mode.delay = delay);
    }

    /// While true nothing listens, and connecting fails at once. Open connections live on: see `reset`.
    pub async fn refuse(&self, refuse: bool) -> Result<()> {
        self.shared.mode.send_modify(|mode| mode.refuse = refuse);
        let mut listening = self.listening.clone();
        timeout(DEADLINE, listening.wait_for(|&listening| listening != refuse))
            .await
            .context("fault proxy")?
            .context("fault proxy")?;
        Ok(())
    }

    /// How many connections were made so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How many are open now.
    pub fn open(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Bytes so far, to the server and to the client. TLS is included.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.shared.bytes_to_server.load(Ordering::Relaxed),
            self.shared.bytes_to_client.load(Ordering::Relaxed),
        )
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A listener on a port of ours.
pub(super) async fn bind() -> Result<(u16, TcpListener)> {
    loop {
        // Ends: this fails when no port is free.
        let port = ports::free_port()?;
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return Ok((port, listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn accept(shared: Arc<Shared>, port: u16, listener: TcpListener, report: watch::Sender<bool>) {
    let mut mode = shared.mode.subscribe();
    let mut listener = Some(listener);
    // Aborts what is in it when this task ends.
    let mut connections = JoinSet::new();
    loop {
        let refuse = mode.borrow_and_update().refuse;
        if refuse {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(("127.0.0.1", port)).await.ok();
        }
        report.send_replace(listener.is_some());
        let Some(open) = &listener else {
            if mode.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return },
            Ok((client, _)) = open.accept() => {
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(serve(shared.clone(), client));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(shared: Arc<Shared>, mut client: TcpStream) {
    shared.open.fetch_add(1, Ordering::Relaxed);
    let _open = Open(&shared.open);
    let mut mode = shared.mode.subscribe();
    let born = mode.borrow().generation;
    let mut server = None;
    tokio::select! {
        // An end is an end, whichever side has caused it: both are dropped, and so closed.
        _ = exchange(&shared, &mut client, &mut server) => {}
        _ = mode.wait_for(|mode| mode.generation != born) => {
            // Without lingering, closing sends a reset.
            for stream in [Some(client), server].into_iter().flatten() {
                let _ = stream.set_zero_linger();
            }
        }
    }
}

async fn exchange(shared: &Shared, client: &mut TcpStream, server: &mut Option<TcpStream>) -> io::Result<()> {
    thawed(shared).await;
    let server = server.insert(TcpStream::connect(&shared.upstream).await?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        forward(shared, from_client, to_server, &shared.bytes_to_server, true),
        forward(shared, from_server, to_client, &shared.bytes_to_client, false),
    )?;
    Ok(())
}

async fn forward(
    shared: &Shared,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    count: &AtomicU64,
    delayed: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if delayed {
            let delay = shared.mode.borrow().delay;
            if !delay.is_zero() {
                sleep(delay).await;
            }
        }
        // Also the end of the stream: a frozen network does not tell.
        thawed(shared).await;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&buffer[..length]).await?;
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
}

async fn thawed(shared: &Shared) {
    // The sender is in `shared`: it cannot be gone.
    let _ = shared.mode.subscribe().wait_for(|mode| !mode.frozen).await;
}

struct Open<'a>(&'a AtomicU64);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
