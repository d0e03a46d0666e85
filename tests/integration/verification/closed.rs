//! Networks with a proxy at their border and an authority of their own.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{GOOD, USER, login, spec};
use crate::{
    lab::Lab,
    support::{
        Result,
        pki::Authority,
        registry::{Answer, Auth, FaultyRegistry, Registry},
        workdir::Workdir,
    },
};

/// A proxy that leads every name to one server, as only it knows where names lead.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    async fn start(target: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(tunnel(client, target.clone(), seen.clone()));
            }
        });
        Ok(Self { address, asked, task })
    }

    /// The first lines of all requests so far.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tunnel(client: TcpStream, target: String, seen: Arc<Mutex<Vec<String>>>) -> Result<()> {
    let mut client = BufReader::new(client);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if client.read_line(&mut line).await? <= 2 {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).extend(head.into_iter().next());
    let mut server = TcpStream::connect(target).await?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

#[tokio::test]
async fn registries_are_asked_through_the_proxy_and_trusted_by_the_authority_of_the_operator() -> Result<()> {
    let authority = Authority::new("company")?;
    let outside = FaultyRegistry::start(Some(&authority.server(&["registry.example.com"])?)).await?;
    outside.rule(|request| match &request.authorization {
        None => Answer::status(401).header("www-authenticate", "Basic realm=\"x\""),
        Some(_) => Answer::status(200).body("{}"),
    });
    let proxy = Proxy::start(outside.address()).await?;
    let inside = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), Some(&authority)).await?;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    login(&test, "src", GOOD).await?;
    let files = Workdir::new("claviger-company-")?;
    let authorities = files.write("ca.crt", authority.pem())?;
    let _operator = lab
        .operator()?
        .args(&["--allowed-registries=", "--private-registries=localhost"])
        .arg(format!("--registry-ca={}", authorities.display()))
        // HTTPS_PROXY would also be meant for the API server of a kubeconfig, which no Pod has.
        .env("ALL_PROXY", format!("http://{}", proxy.address))
        .env("NO_PROXY", "localhost")
        .start()
        .await?;
    for (name, server, status, reason) in [
        ("outside", "registry.example.com".to_owned(), "True", "Authenticated"),
        ("inside", format!("localhost:{}", inside.port()), "True", "Authenticated"),
        // An address that says what it is, is not left to the proxy.
        ("number", "10.0.0.1".to_owned(), "Unknown", "RegistryNotAllowed"),
        ("metadata", "169.254.169.254:443".to_owned(), "Unknown", "RegistryNotAllowed"),
    ] {
        test.credential(name, spec(&server, "src", json!({"mode": "Enforce"}))).await?;
        test.wait_condition(name, "Verified", status, reason).await?;
        test.wait_ready(name, 1).await?;
    }
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|line| line == "CONNECT registry.example.com:443 HTTP/1.1"), "{asked:?}");
    Ok(())
}
