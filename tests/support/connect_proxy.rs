//! A proxy at the border of a network: it alone knows where names lead, so servers on loopback can have the names of
//! servers out there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::TcpStream,
    task::{JoinHandle, JoinSet},
};

use super::{error::Result, fault_proxy::bind};

/// Takes CONNECT only. Ends, with all its tunnels, when dropped.
pub struct ConnectProxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    routes: Mutex<HashMap<String, String>>,
    asked: Mutex<Vec<String>>,
}

impl ConnectProxy {
    /// Leads nowhere yet.
    pub async fn start() -> Result<Self> {
        let (port, listener) = bind().await?;
        let shared = Arc::new(Shared::default());
        let routes = shared.clone();
        let accepting = tokio::spawn(async move {
            // Aborts what is in it when this task ends.
            let mut tunnels = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((client, _)) = listener.accept() => {
                        let shared = routes.clone();
                        tunnels.spawn(async move { drop(tunnel(client, &shared).await) });
                    }
                    Some(_) = tunnels.join_next() => {}
                    else => return,
                }
            }
        });
        Ok(Self { port, shared, accepting })
    }

    /// From now on this name, on port 443, is at an address.
    pub fn lead(&self, name: &str, address: impl Into<String>) {
        lock(&self.shared.routes).insert(format!("{name}:443"), address.into());
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it was asked to connect to so far, as host and port, in the order in which that came; also what led nowhere.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn tunnel(client: TcpStream, shared: &Shared) -> Result<()> {
    let mut client = BufReader::new(client);
    let mut request = String::new();
    client.read_line(&mut request).await?;
    let mut line = String::new();
    while client.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let Some(target) = request.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
        lock(&shared.asked).push(request.trim_end().to_owned());
        return Ok(client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n").await?);
    };
    lock(&shared.asked).push(target.to_owned());
    let address = lock(&shared.routes).get(target).cloned();
    let server = match address {
        Some(address) => TcpStream::connect(address).await.ok(),
        None => None,
    };
    let Some(mut server) = server else {
        return Ok(client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await?);
    };
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
