//! A registry that would have passwords, or make the operator ask others. What it answers is its own; where the password
//! goes, and how long anybody waits, is not.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::{net::TcpListener, time::timeout};

use super::{GOOD, assert_untold, login, spec, trust};
use crate::{
    lab::Lab,
    scenario::Scenario,
    support::{
        Error, Result,
        pki::Authority,
        registry::{Answer, FaultyRegistry},
        wait_for,
    },
};

const SOON: Duration = Duration::from_secs(60);

fn asks(challenge: impl Into<String>) -> Answer {
    Answer::status(401).header("www-authenticate", challenge)
}

/// Each realm would get the password: without TLS, with a user in it, at a host that nobody has allowed, or at an
/// address that no registry has.
#[tokio::test]
async fn the_password_goes_to_no_realm_that_breaks_a_rule() -> Result<()> {
    let authority = Authority::new("registry")?;
    let identity = authority.server(&["localhost", "127.0.0.1"])?;
    let thief = FaultyRegistry::start(None).await?;
    thief.rule(|_| Answer::status(200).body(r#"{"token":"x"}"#));
    let test = Scenario::shared().await?;
    trust(&test, &authority).await?;
    login(&test, "src", GOOD).await?;
    let plain = thief.address();
    let (host, port) = plain.rsplit_once(':').ok_or_else(|| Error::new(plain.clone()))?;
    for (name, realm, reason) in [
        ("plain", format!("http://{plain}/token"), "RealmRejected"),
        ("user", format!("https://localhost@{plain}/token"), "RealmRejected"),
        ("no-url", "/token".to_owned(), "RealmRejected"),
        ("other-scheme", format!("ftp://{plain}/token"), "RealmRejected"),
        ("metadata", "https://169.254.169.254/latest/meta-data/".to_owned(), "RealmRejected"),
        ("mapped", format!("https://[::ffff:{host}]:{port}/token"), "RealmRejected"),
        ("elsewhere", "https://auth.example.com/token".to_owned(), "RealmRejected"),
    ] {
        let registry = FaultyRegistry::start(Some(&identity)).await?;
        registry.rule(move |_| asks(format!("Bearer realm=\"{realm}\",service=\"x\"")));
        let server = registry.address().replace("127.0.0.1", "localhost");
        test.credential(name, spec(&server, "src", json!({"caSecretRef": {"name": "registry-ca"}}))).await?;
        test.wait_condition(name, "Verified", "Unknown", reason).await?;
        assert!(registry.authorizations().is_empty(), "{name}: {:?}", registry.authorizations());
    }
    assert!(thief.requests().is_empty(), "{:?}", thief.requests());
    assert_untold(&test, &[GOOD]).await
}

/// With an allow-list that lets everything in, what remains is the address: a registry and a realm inside of the network
/// are not asked, also when a name leads there.
#[tokio::test]
async fn addresses_inside_of_the_network_are_not_asked() -> Result<()> {
    let inside = FaultyRegistry::start(None).await?;
    inside.rule(|_| Answer::status(200).body("{}"));
    let port = inside.address().rsplit(':').next().map(str::to_owned).unwrap_or_default();
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    login(&test, "src", GOOD).await?;
    let flags =
        ["--allowed-registries=", "--private-registries=", "--plain-http-registries=localhost,127.0.0.1"];
    let _operator = lab.operator()?.args(&flags).start().await?;
    for (name, server) in [
        ("address", format!("127.0.0.1:{port}")),
        ("name", format!("localhost:{port}")),
        ("number", format!("2130706433:{port}")),
        ("ipv6", format!("[::1]:{port}")),
        ("mapped", format!("[::ffff:7f00:1]:{port}")),
        ("metadata", "169.254.169.254".to_owned()),
        ("service", "10.96.0.1".to_owned()),
    ] {
        test.credential(name, spec(&server, "src", json!({}))).await?;
        test.wait_condition(name, "Verified", "Unknown", "RegistryNotAllowed").await?;
        test.wait_ready(name, 1).await?;
    }
    assert!(inside.requests().is_empty(), "{:?}", inside.requests());
    Ok(())
}

/// A registry inside of the network that an administrator has listed, and no list of those that may be asked: its token
/// server may be inside, too, but not on this machine, whatever it is called by, nor where metadata is served.
#[tokio::test]
async fn a_realm_on_this_machine_is_not_connected_to() -> Result<()> {
    let authority = Authority::new("registry")?;
    let identity = authority.server(&["localhost"])?;
    let machine = TcpListener::bind("127.0.0.1:0").await?;
    let port = machine.local_addr()?.port();
    let mut registries = Vec::new();
    let metadata = ["169.254.169.254", "[::ffff:169.254.169.254]"];
    for name in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"].into_iter().chain(metadata) {
        let registry = FaultyRegistry::start(Some(&identity)).await?;
        registry.rule(move |_| asks(format!("Bearer realm=\"https://{name}:{port}/token\"")));
        registries.push(registry);
    }
    let servers = registries.iter().map(|one| one.address().replace("127.0.0.1", "localhost"));
    let servers: Vec<String> = servers.collect();
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    trust(&test, &authority).await?;
    login(&test, "src", GOOD).await?;
    let private = format!("--private-registries={}", servers.join(","));
    let _operator = lab.operator()?.arg("--allowed-registries=").arg(private).start().await?;
    for (n, server) in servers.iter().enumerate() {
        let name = format!("reg-{n}");
        test.credential(&name, spec(server, "src", json!({"caSecretRef": {"name": "registry-ca"}}))).await?;
        test.wait_condition(&name, "Verified", "Unknown", "RegistryNotAllowed").await?;
    }
    let connected = timeout(Duration::from_millis(100), machine.accept()).await;
    assert!(connected.is_err(), "{connected:?}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_counts_for_its_names_and_its_time() -> Result<()> {
    let authority = Authority::new("registry")?;
    let test = Scenario::shared().await?;
    trust(&test, &authority).await?;
    login(&test, "src", GOOD).await?;
    for (name, identity, words) in [
        ("name", authority.server(&["other.example.com"])?, "for another name"),
        ("expired", authority.expired(&["localhost"])?, "has expired or is not valid yet"),
    ] {
        let registry = FaultyRegistry::start(Some(&identity)).await?;
        registry.rule(|_| asks("Basic realm=\"x\""));
        let server = registry.address().replace("127.0.0.1", "localhost");
        test.credential(name, spec(&server, "src", json!({"caSecretRef": {"name": "registry-ca"}}))).await?;
        test.wait_told(name, "Verified", "Unknown", "TLSError", &[words]).await?;
        assert!(registry.requests().is_empty(), "{name}");
    }
    Ok(())
}

/// Answers that never come, never end, or are not those of a registry: each ends in time, and none gets the password.
#[tokio::test]
async fn answers_without_end_end_and_get_no_password() -> Result<()> {
    let test = Scenario::shared().await?;
    login(&test, "src", GOOD).await?;
    let mut registries = Vec::new();
    for (name, answer, reason) in [
        ("silent", Answer::status(401).after(Duration::MAX), "RegistryUnreachable"),
        ("endless", Answer::status(200).body("x".repeat(10_000)).repeated(Duration::ZERO), "NotARegistry"),
        (
            "dripping",
            Answer::status(200).body("x").repeated(Duration::from_millis(200)),
            "RegistryUnreachable",
        ),
        ("reset", Answer::reset(), "RegistryUnreachable"),
        ("page", Answer::status(200).body("<html>sign in</html>"), "NotARegistry"),
        ("missing", Answer::status(404), "NotARegistry"),
        ("elsewhere", Answer::status(307).header("location", "https://evil.example.com/v2/"), "NotARegistry"),
        ("fault", Answer::status(500), "RegistryUnreachable"),
        ("odd", asks("Negotiate"), "UnsupportedChallenge"),
    ] {
        let registry = FaultyRegistry::start(None).await?;
        registry.rule(move |_| answer.clone());
        test.credential(name, spec(&registry.address(), "src", json!({"mode": "Enforce"}))).await?;
        registries.push((name, registry, reason));
    }
    for (name, registry, reason) in &registries {
        test.wait_condition(name, "Verified", "Unknown", reason).await?;
        test.wait_ready(name, 1).await?;
        assert!(registry.authorizations().is_empty(), "{name}");
    }
    assert_untold(&test, &[GOOD, "evil.example.com"]).await
}

/// A redirect after the login was asked for would take it elsewhere, and a token must not break a header.
#[tokio::test]
async fn no_redirect_is_followed_and_no_answer_is_quoted() -> Result<()> {
    let thief = FaultyRegistry::start(None).await?;
    let elsewhere = thief.url();
    let test = Scenario::shared().await?;
    login(&test, "src", GOOD).await?;
    let registry = FaultyRegistry::start(None).await?;
    registry.rule(move |request| match &request.authorization {
        None => asks("Basic realm=\"x\""),
        Some(_) => Answer::status(302).header("location", elsewhere.clone()),
    });
    test.credential("redirect", spec(&registry.address(), "src", json!({}))).await?;
    test.wait_condition("redirect", "Verified", "Unknown", "UnexpectedAnswer").await?;
    assert!(thief.requests().is_empty());

    let echo = FaultyRegistry::start(None).await?;
    echo.rule(|request| match &request.authorization {
        None => asks("Basic realm=\"x\""),
        Some(login) => {
            let text = format!("{{\"errors\":[{{\"code\":\"{login}\",\"message\":\"{login} {GOOD}\"}}]}}");
            Answer::status(401).body(text)
        }
    });
    test.credential("echo", spec(&echo.address(), "src", json!({}))).await?;
    test.wait_condition("echo", "Verified", "False", "AuthenticationFailed").await?;
    assert_untold(&test, &[GOOD]).await
}

/// One that throttles is left alone for as long as it asks, by all credentials.
#[tokio::test]
async fn a_registry_that_asks_for_a_pause_gets_it() -> Result<()> {
    let registry = Arc::new(FaultyRegistry::start(None).await?);
    registry.rule(|_| Answer::status(429).header("retry-after", "3600"));
    let test = Scenario::shared().await?;
    for n in 0..5 {
        test.source(&format!("src-{n}"), json!({"username": "u", "password": format!("password-{n}")}))
            .await?;
    }
    test.credential("reg-0", spec(&registry.address(), "src-0", json!({"mode": "Enforce"}))).await?;
    test.wait_condition("reg-0", "Verified", "Unknown", "RateLimited").await?;
    for n in 1..5 {
        let name = format!("reg-{n}");
        test.credential(&name, spec(&registry.address(), &format!("src-{n}"), json!({"mode": "Enforce"})))
            .await?;
        test.wait_condition(&name, "Verified", "Unknown", "RateLimited").await?;
        test.wait_ready(&name, 1).await?;
    }
    assert_eq!(registry.requests().len(), 1, "{:?}", registry.requests());
    Ok(())
}

/// A tenant whose registries never answer holds up nobody else's verification.
#[tokio::test]
async fn registries_that_never_answer_hold_up_no_other_namespace() -> Result<()> {
    let silent = FaultyRegistry::start(None).await?;
    silent.rule(|_| Answer::status(401).after(Duration::MAX));
    let well = FaultyRegistry::start(None).await?;
    well.rule(|request| match &request.authorization {
        None => asks("Basic realm=\"x\""),
        Some(_) => Answer::status(200).body("{}"),
    });
    let lab = Lab::start().await?;
    let (hostile, other) = (lab.scenario().await?, lab.scenario().await?);
    let _operator = lab.operator()?.start().await?;
    for n in 0..60 {
        let name = format!("reg-{n}");
        let source = format!("login-{n}");
        hostile.source(&source, json!({"username": "u", "password": format!("password-{n}")})).await?;
        hostile.credential(&name, spec(&silent.address(), &source, json!({}))).await?;
    }
    wait_for(SOON, "many to wait", async || {
        let waiting = silent.requests().len();
        if waiting >= 6 { Ok(()) } else { Err(format!("{waiting}")) }
    })
    .await?;
    login(&other, "src", GOOD).await?;
    let began = std::time::Instant::now();
    other.credential("reg", spec(&well.address(), "src", json!({"mode": "Enforce"}))).await?;
    other.wait_ready("reg", 1).await?;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    Ok(())
}
