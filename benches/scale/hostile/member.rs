//! An API server that answers without end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::support::{Error, Result};

/// All that it ever sends: whoever keeps it is far above its budget, and the machine survives.
const MOST_BYTES: u64 = 384 * 1024 * 1024;
const CHUNK_BYTES: usize = 64 * 1024;
/// After each chunk: about 30 MB a second, so that it lasts for as long as something else is measured.
const PAUSE: Duration = Duration::from_millis(2);
const MOST_HEAD_BYTES: usize = 64 * 1024;

/// The member that has one Pod, of so many empty volumes that they take a hundred times as much memory as text.
const OF_VOLUMES: usize = 2;
const VOLUMES: usize = 3 << 20;

/// Ends when dropped.
pub struct HostileMember {
    port: u16,
    sent: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl HostileMember {
    /// Each has another number.
    pub async fn start(number: usize) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let sent = Arc::<AtomicU64>::default();
        let serving = tokio::spawn(serve(listener, number, sent.clone()));
        Ok(Self { port, sent, serving })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Bytes so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for HostileMember {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, number: usize, sent: Arc<AtomicU64>) {
    // Aborts what is in it when this task ends.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let sent = sent.clone();
                connections.spawn(async move {
                    // An error is a client that has had enough.
                    let _ = converse(stream, number, &sent).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(mut stream: TcpStream, number: usize, sent: &AtomicU64) -> Result<()> {
    loop {
        let head = head(&mut stream).await?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        // It looks well to whoever asks how it is.
        if path == "/version" {
            let version = json!({
                "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "x", "gitTreeState": "clean",
                "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.25", "compiler": "gc", "platform": "linux/amd64",
            });
            whole(&mut stream, &version.to_string()).await?;
        } else if path == "/api/v1/namespaces/kube-system" {
            let uid = format!("00000000-0000-4000-8000-{number:012}");
            let namespace = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "kube-system", "uid": uid, "resourceVersion": "1"},
            });
            whole(&mut stream, &namespace.to_string()).await?;
        } else if path == "/api/v1/pods" && number == OF_VOLUMES && !query.contains("watch=true") {
            let volumes = "{},".repeat(VOLUMES);
            let pod = format!(
                r#"{{"metadata":{{"name":"a","namespace":"web","uid":"u","resourceVersion":"1"}},"spec":{{"volumes":[{volumes}{{}}]}}}}"#
            );
            let list = r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":["#;
            sent.fetch_add(pod.len() as u64, Ordering::Relaxed);
            whole(&mut stream, &format!("{list}{pod}]}}")).await?;
        } else if query.contains("watch=true") {
            let line = r#"{"type":"ADDED","object":{"metadata":{"name":"a","annotations":{"x":""#;
            endless(&mut stream, line, &"x".repeat(CHUNK_BYTES), sent).await?;
        } else {
            let list = r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{}"#;
            let object = format!(r#",{{"metadata":{{"name":"{}"}}}}"#, "x".repeat(CHUNK_BYTES));
            endless(&mut stream, list, &object, sent).await?;
        }
    }
}

/// The lines before the body; whoever asks here has none to speak of.
async fn head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 4_096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut buffer).await?;
        if length == 0 || head.len() > MOST_HEAD_BYTES {
            return Err(Error::new("the client has gone"));
        }
        head.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn whole(stream: &mut TcpStream, body: &str) -> Result<()> {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    Ok(stream.write_all(answer.as_bytes()).await?)
}

/// Never comes to an end by itself.
async fn endless(stream: &mut TcpStream, begin: &str, more: &str, sent: &AtomicU64) -> Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    let mut part = begin;
    loop {
        if sent.fetch_add(part.len() as u64, Ordering::Relaxed) > MOST_BYTES {
            // Silent, but there.
            std::future::pending::<()>().await;
        }
        stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).await?;
        tokio::time::sleep(PAUSE).await;
        part = more;
    }
}
