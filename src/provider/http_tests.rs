use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::*;

fn request(scheme: Scheme, method: Method, address: SocketAddr) -> Request {
    Request {
        scheme,
        server: Server::parse(&address.to_string()).unwrap(),
        reach: Reach::Machine,
        method,
        path: "/v2/".to_owned(),
        authorization: Authorization::Nobody,
        headers: Vec::new(),
        body: None,
    }
}

/// Answers the first request of each connection, and closes it at the second one.
async fn close_at_second(mut client: TcpStream) -> io::Result<()> {
    let mut bytes = [0; 4_096];
    if client.read(&mut bytes).await? > 0 {
        client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await?;
    }
    client.read(&mut bytes).await.map(|_| ())
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_made_anew_for_what_may_be_asked_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(close_at_second(client));
        }
    });
    let http = Http::new(Roots::default());
    for (method, is_repeated) in [(Method::Get, true), (Method::Post, false)] {
        let mut session = http.session(None, None);
        session.ask(&request(Scheme::Http, Method::Get, address)).await.unwrap();
        let second = session.ask(&request(Scheme::Http, method, address)).await;
        assert_eq!(second.is_ok(), is_repeated, "{second:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_answer_that_ends_its_connection_counts() {
    for (text, wanted) in [
        ("HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", Ok((401, ""))),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}", Ok((200, "{}"))),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", Ok((200, "{}"))),
        ("HTTP/1.0 200 OK\r\n\r\n{}", Ok((200, "{}"))),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", Err(NoAnswer::Broken)),
        ("", Err(NoAnswer::Broken)),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                // Else the end of the connection would be a reset.
                let _ = client.read(&mut [0; 4_096]).await?;
                client.write_all(text.as_bytes()).await?;
            }
            Ok::<_, io::Error>(())
        });
        let http = Http::new(Roots::default());
        let mut session = http.session(None, None);
        for _ in 0..2 {
            let answer = session.ask(&request(Scheme::Http, Method::Get, address)).await;
            let answer = answer.as_ref().map(|answer| (answer.status, answer.body.text()));
            assert_eq!(answer, wanted.as_ref().map(|wanted| *wanted), "{text:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_has_signed_itself_is_of_an_unknown_authority() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((client, _)) = listener.accept().await {
            // It is refused by the client.
            drop(acceptor.accept(client).await);
        }
    });
    // Some authority is trusted, wherever this runs.
    let other = CertificateParams::new(Vec::<String>::new())
        .unwrap()
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap();
    let http = Http::new(Roots(vec![other.der().clone()]));
    let answer = http.session(None, None).ask(&request(Scheme::Https, Method::Get, address)).await;
    assert_eq!(answer.unwrap_err(), NoAnswer::UnknownAuthority);
}
