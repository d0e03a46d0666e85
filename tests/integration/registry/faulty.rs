//! The registry that does what a test says: nothing else, and it says what it saw.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::support::{
    Error, Result, http,
    pki::Authority,
    registry::{Answer, Crane, FaultyRegistry, docker_config},
};

/// Long enough for anything that is to come.
const DEADLINE: Duration = Duration::from_secs(60);

const REQUEST: &[u8] = b"GET /v2/ HTTP/1.1\r\nHost: registry\r\n\r\n";

/// Reads until `wanted` bytes have come, or the connection has ended.
async fn read(mut stream: impl AsyncRead + AsyncWrite + Unpin, wanted: usize) -> Result<String> {
    stream.write_all(REQUEST).await?;
    let mut came = Vec::new();
    while came.len() < wanted && timeout(DEADLINE, stream.read_buf(&mut came)).await?? > 0 {}
    Ok(String::from_utf8_lossy(&came).into_owned())
}

#[tokio::test]
async fn a_login_is_seen_by_whom_it_was_told_alone() -> Result<()> {
    let authority = Authority::new("registry")?;
    let names = ["127.0.0.1", "localhost"];
    let right = authority.server(&names)?;
    // Of another authority, and for another name.
    let wrong =
        [Authority::new("somebody else")?.server(&names)?, authority.server(&["registry.example.com"])?];
    let challenge = |registry: &FaultyRegistry| {
        registry.rule(|_| Answer::status(401).header("www-authenticate", r#"Basic realm="registry""#));
    };
    for identity in &wrong {
        let registry = FaultyRegistry::start(Some(identity)).await?;
        challenge(&registry);
        let crane =
            Crane::new(docker_config(&registry.address(), "robot", "password"), Some(authority.pem()))?;
        crane.pull(&format!("{}/acme/app", registry.address())).await.expect_err("trusted");
        assert!(registry.requests().is_empty());
    }
    let registry = FaultyRegistry::start(Some(&right)).await?;
    challenge(&registry);
    let crane = Crane::new(docker_config(&registry.address(), "robot", "password"), Some(authority.pem()))?;
    let began = Instant::now();
    crane.pull(&format!("{}/acme/app", registry.address())).await.expect_err("nothing is there");
    let requests = registry.requests();
    assert_eq!((requests[0].path.as_str(), &requests[0].authorization), ("/v2/", &None));
    assert!(requests.iter().all(|request| request.at > began && request.method != "POST"));
    assert!(requests.is_sorted_by_key(|request| request.at));
    // robot:password
    assert!(!registry.authorizations().is_empty());
    assert!(registry.authorizations().iter().all(|told| told == "Basic cm9ib3Q6cGFzc3dvcmQ="));
    Ok(())
}

#[tokio::test]
async fn a_registry_says_what_the_script_says() -> Result<()> {
    let authority = Authority::new("registry")?;
    let identity = authority.server(&["127.0.0.1"])?;
    for identity in [None, Some(&identity)] {
        let registry = FaultyRegistry::start(identity).await?;
        let address = registry.address();
        let get = async |path: &str| match identity {
            None => http::get(&address, path).await,
            Some(_) => http::get_tls(&address, authority.pem(), path, "").await,
        };
        assert_eq!(get("/v2/").await?.status, 404);
        registry.rule(|request| match (request.path.as_str(), request.query.as_str()) {
            ("/v2/", "") => Answer::status(429).body("slow down"),
            ("/v2/", "late") => Answer::status(200).after(Duration::from_millis(300)),
            ("/v2/", "never") => Answer::status(200).after(Duration::MAX),
            _ => Answer::reset(),
        });
        let answer = get("/v2/").await?;
        assert_eq!((answer.status, answer.body.as_str()), (429, "slow down"));
        let began = Instant::now();
        assert_eq!(get("/v2/?late").await?.status, 200);
        assert!(began.elapsed() >= Duration::from_millis(300));
        timeout(Duration::from_millis(500), get("/v2/?never")).await.expect_err("an answer");
        let error = get("/token").await.expect_err("an answer").to_string();
        assert!(error.contains("reset by peer"), "{error}");
        assert_eq!(registry.requests().len(), 5);
    }
    Ok(())
}

#[tokio::test]
async fn a_body_can_have_no_end() -> Result<()> {
    let registry = FaultyRegistry::start(None).await?;
    let connect = async || Ok::<_, Error>(TcpStream::connect(registry.address()).await?);
    registry.rule(|_| Answer::status(200).body("x".repeat(64 << 10)).repeated(Duration::ZERO));
    assert!(read(connect().await?, 8 << 20).await?.len() >= 8 << 20);
    registry
        .rule(|_| Answer::status(200).header("x-a", "b").body("drop").repeated(Duration::from_millis(50)));
    let began = Instant::now();
    let came = read(connect().await?, 200).await?;
    assert!(
        came.starts_with("HTTP/1.1 200 OK\r\nx-a: b\r\n") && came.contains("4\r\ndrop\r\n4\r\ndrop\r\n"),
        "{came}"
    );
    assert!(began.elapsed() > Duration::from_millis(100));
    Ok(())
}
