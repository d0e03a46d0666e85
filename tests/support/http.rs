//! Requests on loopback: health and metrics of what we start, and etcd.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    error::{Context, Error, Result},
    https,
};

const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub body: String,
}

pub async fn get(address: &str, path: &str) -> Result<Response> {
    get_with(address, path, "").await
}

/// With more lines in the request's head, each with its end of line.
pub async fn get_with(address: &str, path: &str, headers: &str) -> Result<Response> {
    exchange(address, None, address, "GET", path, headers, "").await
}

/// The same from a server whose certificate this authority has signed.
pub async fn get_tls(address: &str, ca_pem: &str, path: &str, headers: &str) -> Result<Response> {
    exchange(address, Some(ca_pem), address, "GET", path, headers, "").await
}

pub async fn post_json(address: &str, path: &str, body: &str) -> Result<Response> {
    post_as(address, address, path, "Content-Type: application/json\r\n", body).await
}

/// To a server that goes by another name than its address.
pub async fn post_as(address: &str, host: &str, path: &str, headers: &str, body: &str) -> Result<Response> {
    let headers = format!("{headers}Content-Length: {}\r\n", body.len());
    exchange(address, None, host, "POST", path, &headers, body).await
}

async fn exchange(
    address: &str,
    ca_pem: Option<&str>,
    host: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Result<Response> {
    // HTTP/1.0: the answer ends with the connection and is never chunked.
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\n{headers}\r\n{body}");
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        match ca_pem {
            None => converse(stream, &request).await,
            Some(ca_pem) => {
                let server = ServerName::from(stream.peer_addr()?.ip());
                converse(https::connector(ca_pem)?.connect(server, stream).await?, &request).await
            }
        }
    };
    timeout(DEADLINE, exchange)
        .await
        .unwrap_or_else(|_| Err(Error::new(format!("no answer within {DEADLINE:?}"))))
        .context(format!("{method} http{}://{address}{path}", if ca_pem.is_some() { "s" } else { "" }))
}

pub(super) async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> Result<Response> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) =
        answer.split_once("\r\n\r\n").ok_or_else(|| Error::new("the answer has no end of headers"))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| Error::new(format!("no status in {head:?}")))?;
    Ok(Response { status, body: body.to_owned() })
}
