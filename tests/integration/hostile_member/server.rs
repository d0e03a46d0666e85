//! An API server that means harm: it looks well to whoever asks how it is, and answers lists and watches as an attack
//! has it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::support::{Error, Result};

const PIECE: usize = 64 << 10;

const PODS: &str = "/api/v1/pods";
const SECRETS: &str = "/api/v1/secrets";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/ingresses";

/// What lists and watches are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Nothing: an empty cluster.
    None,
    /// A page that never ends.
    EndlessBody,
    /// A page of which a byte comes now and then.
    DrippingBody,
    /// A line of a watch that never ends.
    EndlessLine,
    /// Each page says that there is another one.
    EndlessPages,
    /// Namespaces with large labels, without end.
    EndlessObjects,
    /// A page of so many objects that they take a hundred times as much memory as text.
    ManyEmptyObjects,
    /// One object of the same kind.
    ManyEmptyVolumes,
    /// Ingresses that name Secrets, without end, each in a namespace of its own; and millions of groups of types.
    EndlessUsers,
    /// Refusals that would write over a terminal, and tell lies.
    LyingText,
    /// The answer is elsewhere.
    Redirect,
}

/// Ends when dropped.
pub struct HostileMember {
    port: u16,
    attack: watch::Sender<Attack>,
    redirected: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl HostileMember {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let attack = watch::Sender::new(Attack::None);
        let redirected = Arc::<AtomicUsize>::default();
        let (attacks, count) = (attack.subscribe(), redirected.clone());
        let serving = tokio::spawn(async move {
            // Aborts what is in it when this task ends.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        let _ = stream.set_nodelay(true);
                        let (attacks, count) = (attacks.clone(), count.clone());
                        connections.spawn(async move {
                            // An error is a client that has had enough.
                            let _ = converse(stream, attacks, &count).await;
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { port, attack, redirected, serving })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on, requests in progress included.
    pub fn attack(&self, attack: Attack) {
        self.attack.send_replace(attack);
    }

    /// How many requests followed a redirect.
    pub fn redirected(&self) -> usize {
        self.redirected.load(Ordering::SeqCst)
    }
}

impl Drop for HostileMember {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Another attack ends all connections.
async fn converse(
    mut stream: TcpStream,
    mut attack: watch::Receiver<Attack>,
    count: &AtomicUsize,
) -> Result<()> {
    let now = *attack.borrow_and_update();
    tokio::select! {
        ended = answers(&mut stream, now, count) => ended,
        _ = attack.changed() => Ok(()),
    }
}

async fn answers(stream: &mut TcpStream, attack: Attack, count: &AtomicUsize) -> Result<()> {
    loop {
        let head = head(stream).await?;
        let target = head.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let watches = query.contains("watch=true");
        match (path, attack) {
            ("/version", _) => whole(stream, 200, &version(attack)).await?,
            ("/elsewhere", _) => drop(count.fetch_add(1, Ordering::SeqCst)),
            (_, Attack::LyingText) => whole(stream, 500, &lie()).await?,
            (_, Attack::Redirect) => {
                stream
                    .write_all(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
                    .await?;
            }
            (_, Attack::EndlessLine) if watches => {
                endless(
                    stream,
                    r#"{"type":"ADDED","object":{"metadata":{"name":""#,
                    &"x".repeat(PIECE),
                    Duration::ZERO,
                )
                .await?;
            }
            (INGRESSES, Attack::EndlessUsers) if watches => whole_text(stream, 200, &expired()).await?,
            // Of the others there is nothing to tell.
            (_, Attack::None | Attack::EndlessUsers) | (SECRETS | PODS, Attack::EndlessObjects)
                if watches =>
            {
                begin(stream).await?;
                chunk(
                    stream,
                    "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"1\"}}}\n",
                )
                .await?;
                // It is renewed when it has taken too long.
                std::future::pending::<()>().await;
            }
            // So that all is listed anew.
            (_, _) if watches => whole_text(stream, 200, &expired()).await?,
            (_, Attack::EndlessBody) => {
                let object = format!(r#"{{"metadata":{{"name":"{}"}}}},"#, "x".repeat(PIECE));
                endless(stream, LIST, &object, Duration::ZERO).await?;
            }
            (_, Attack::DrippingBody) => endless(stream, LIST, " ", Duration::from_millis(200)).await?,
            (_, Attack::EndlessPages) => whole(stream, 200, &page(&[], "more")).await?,
            ("/api/v1/namespaces", Attack::EndlessObjects) => {
                let first = count.fetch_add(100, Ordering::SeqCst);
                let objects: Vec<Value> = (first..first + 100).map(namespace).collect();
                whole(stream, 200, &page(&objects, "more")).await?;
            }
            (INGRESSES, Attack::EndlessUsers) => {
                let first = count.fetch_add(100, Ordering::SeqCst);
                let objects: Vec<Value> = (first..first + 100).map(ingress).collect();
                whole(stream, 200, &page(&objects, "more")).await?;
            }
            ("/apis", Attack::EndlessUsers) => {
                let groups = r#"{"name":"a"},"#.repeat(PIECE);
                whole_text(stream, 200, &format!(r#"{{"groups":[{groups}{{"name":"b"}}]}}"#)).await?;
            }
            (_, Attack::ManyEmptyObjects) => {
                let objects = "{},".repeat(3 << 20);
                whole_text(stream, 200, &format!("{LIST}{objects}{{}}]}}")).await?;
            }
            (PODS, Attack::ManyEmptyVolumes) => {
                let meta = r#"{"name":"a","namespace":"web","uid":"u","resourceVersion":"1"}"#;
                let volumes = "{},".repeat(3 << 20);
                let pod = format!(r#"{{"metadata":{meta},"spec":{{"volumes":[{volumes}{{}}]}}}}"#);
                whole_text(stream, 200, &format!("{LIST}{pod}]}}")).await?;
            }
            ("/api/v1/namespaces", _) => {
                let system =
                    json!({"metadata": {"name": "kube-system", "uid": "hostile", "resourceVersion": "1"}});
                whole(stream, 200, &page(&[system], "")).await?;
            }
            _ => whole(stream, 200, &page(&[], "")).await?,
        }
    }
}

const LIST: &str = r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":["#;

fn page(items: &[Value], token: &str) -> Value {
    let metadata = json!({"resourceVersion": "1", "continue": token});
    json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
}

fn namespace(number: usize) -> Value {
    let labels: serde_json::Map<String, Value> =
        (0..200).map(|key| (format!("key-{key}-{number}"), "x".repeat(60).into())).collect();
    json!({"metadata": {"name": format!("n-{number}"), "uid": number.to_string(), "resourceVersion": "1", "labels": labels}})
}

fn ingress(number: usize) -> Value {
    let tls: Vec<Value> =
        (0..200).map(|secret| json!({"secretName": format!("secret-{number}-{secret}")})).collect();
    let name = number.to_string();
    let meta = json!({"name": name, "namespace": format!("n-{number}"), "uid": name, "resourceVersion": "1"});
    json!({"metadata": meta, "spec": {"tls": tls}})
}

/// A watch has to begin anew.
fn expired() -> String {
    format!("{}\n", json!({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}))
}

fn version(attack: Attack) -> Value {
    let git = match attack {
        Attack::LyingText => format!("v1\u{1b}[2J\u{202e}{}", "9".repeat(100_000)),
        _ => "v1.36.3".to_owned(),
    };
    json!({
        "major": "1", "minor": "36", "gitVersion": git, "gitCommit": "x", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.25", "compiler": "gc", "platform": "linux/amd64",
    })
}

fn lie() -> Value {
    let message = format!("\u{1b}[2Jno\r\n\r\nLIE: all is well\u{202e}{}", "z".repeat(100_000));
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "a\nb", "code": 500})
}

/// The lines before the body; whoever asks here has none to speak of.
async fn head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 4_096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut buffer).await?;
        if length == 0 || head.len() > PIECE {
            return Err(Error::new("the client has gone"));
        }
        head.extend_from_slice(&buffer[..length]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn whole(stream: &mut TcpStream, code: u16, body: &Value) -> Result<()> {
    whole_text(stream, code, &body.to_string()).await
}

async fn whole_text(stream: &mut TcpStream, code: u16, body: &str) -> Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    Ok(stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?)
}

async fn begin(stream: &mut TcpStream) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    Ok(stream.write_all(head.as_bytes()).await?)
}

/// Never comes to an end by itself.
async fn endless(stream: &mut TcpStream, first: &str, more: &str, pause: Duration) -> Result<()> {
    begin(stream).await?;
    let mut part = first;
    loop {
        chunk(stream, part).await?;
        tokio::time::sleep(pause).await;
        part = more;
    }
}

async fn chunk(stream: &mut TcpStream, part: &str) -> Result<()> {
    Ok(stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).await?)
}
