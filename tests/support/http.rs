//! A GET over plain HTTP on loopback: health and metrics of what we start.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::error::{Context, Error, Result};

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
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        // HTTP/1.0: the answer ends with the connection and is never chunked.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n");
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
    };
    timeout(DEADLINE, exchange)
        .await
        .unwrap_or_else(|_| Err(Error::new(format!("no answer within {DEADLINE:?}"))))
        .context(format!("GET http://{address}{path}"))
}
