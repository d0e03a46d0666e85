//! A client of the vendors, for their own tests: through the proxy, as an operator.

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    super::{
        error::{Error, Result},
        http::{Response, converse},
        https,
    },
    Cloud, Request,
};

impl Cloud {
    pub async fn ask(&self, request: &Request) -> Result<Response> {
        let host = &request.host;
        let proxy = self.proxy.url();
        let mut stream = TcpStream::connect(proxy.trim_start_matches("http://")).await?;
        stream
            .write_all(format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n").as_bytes())
            .await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        if !head.starts_with(b"HTTP/1.1 200 ") {
            return Err(Error::new(String::from_utf8_lossy(&head)));
        }
        let name = ServerName::try_from(host.clone())?;
        converse(https::connector(self.authority.pem())?.connect(name, stream).await?, &text(request)).await
    }

    /// On the node, without TLS.
    pub async fn ask_node(&self, request: &Request) -> Result<Response> {
        converse(TcpStream::connect(self.metadata_host()).await?, &text(request)).await
    }
}

fn text(request: &Request) -> String {
    let Request { method, host, path, query, headers, body } = request;
    let mark = if query.is_empty() { "" } else { "?" };
    let mut text = format!(
        "{method} {path}{mark}{query} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
        text.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
    }
    format!("{text}\r\n{}", String::from_utf8_lossy(body))
}
