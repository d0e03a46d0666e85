//! A server that would have Claviger ask others, wait, or repeat what it says. What it answers is its own; who is asked, how
//! long anybody waits, and what is told, is not.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimePrinter};
use serde_json::json;

use super::{assert_untold, at, credential, faulty, refusal, source, wait_ready, wait_told};
use crate::{
    lab::Lab,
    scenario::Scenario,
    support::{
        Error, Result, environment, random_name,
        registry::{Answer, FaultyRegistry},
        s3::Key,
    },
};

/// A list of objects that has no end for a very long time.
fn long_list() -> String {
    format!("<ListBucketResult>{}", "<Contents><Key>photo</Key></Contents>".repeat(300_000))
}

/// Ten entities, of which each is ten of the one before.
fn bomb() -> String {
    let entities: String = ('b'..='j')
        .zip('a'..)
        .map(|(name, before)| format!("<!ENTITY {name} \"{}\">", format!("&{before};").repeat(10)))
        .collect();
    format!("<!DOCTYPE x [<!ENTITY a \"AccessDenied\">{entities}]><Error><Code>&j;</Code></Error>")
}

/// Each ends in time, says nothing of the key, and holds nothing back.
#[tokio::test]
async fn answers_that_are_none_of_a_bucket_say_nothing() -> Result<()> {
    let thief = FaultyRegistry::start(None).await?;
    let test = Scenario::shared().await?;
    let key = Key::random();
    source(&test, "src", &key).await?;
    let list = Answer::status(200).body(long_list());
    let path = random_name("path");
    let metadata = format!("http://169.254.169.254/latest/meta-data/{path}");
    let mut servers = Vec::new();
    for (name, answer, reason) in [
        ("silent", Answer::status(200).after(Duration::MAX), "EndpointUnreachable"),
        ("long", list, "UnexpectedAnswer"),
        (
            "endless",
            Answer::status(200).body("x".repeat(10_000)).repeated(Duration::ZERO),
            "UnexpectedAnswer",
        ),
        (
            "dripping",
            Answer::status(200).body("x").repeated(Duration::from_millis(200)),
            "EndpointUnreachable",
        ),
        ("reset", Answer::reset(), "EndpointUnreachable"),
        ("bomb", Answer::status(403).body(bomb()), "UnexpectedAnswer"),
        ("deep", Answer::status(403).body("<Error>".repeat(8_000)), "UnexpectedAnswer"),
        ("page", Answer::status(200).body("<html>sign in</html>"), "UnexpectedAnswer"),
        ("missing", Answer::status(404), "UnexpectedAnswer"),
        ("bytes", Answer::status(403).body(&b"<Error><Code>\xff\0</Code></Error>"[..]), "UnexpectedAnswer"),
        ("metadata", Answer::status(307).header("location", metadata), "UnexpectedAnswer"),
        ("elsewhere", Answer::status(307).header("location", thief.url()), "UnexpectedAnswer"),
        ("moved", Answer::status(302).header("location", thief.url()), "UnexpectedAnswer"),
    ] {
        let server = FaultyRegistry::start(None).await?;
        server.rule(move |_| answer.clone());
        credential(&test, name, faulty(&server, "src", "Enforce")).await?;
        servers.push((name, server, reason));
    }
    for (name, server, reason) in &servers {
        wait_told(&test, name, &format!("Verified=Unknown ({reason})"), &[]).await?;
        wait_ready(&test, name, 1).await?;
        assert!(!server.requests().is_empty(), "{name}");
    }
    assert!(thief.requests().is_empty(), "{:?}", thief.requests());
    let thief = thief.address();
    let texts = [&*key.id, &*key.secret, &*path, &*thief];
    assert_untold(&test, &environment().await?.operator, &texts).await
}

/// The region that a server names stands in a message, so it has to look like one; its other words stand nowhere.
#[tokio::test]
async fn nothing_that_a_server_says_is_quoted() -> Result<()> {
    let evil = format!("{}.example.com", random_name("evil"));
    let test = Scenario::shared().await?;
    let key = Key::random();
    source(&test, "src", &key).await?;
    let said =
        format!("<Message>expecting '{evil}'</Message><Region>{evil}</Region><Endpoint>{evil}</Endpoint>");
    let long = format!("{evil}{}", "x".repeat(4_000));
    let redirect = || refusal(301, "PermanentRedirect", &said);
    let mut servers = Vec::new();
    for (name, answer, wanted) in [
        (
            "header",
            redirect().header("x-amz-bucket-region", format!("eu-west-3 is at {evil}")),
            "False (WrongRegion)",
        ),
        ("long", redirect().header("x-amz-bucket-region", long), "False (WrongRegion)"),
        ("location", redirect().header("location", format!("https://{evil}/")), "False (WrongRegion)"),
        ("code", refusal(403, &evil, &said), "Unknown (UnexpectedAnswer)"),
        ("denied", refusal(403, "AccessDenied", &said), "False (AccessDenied)"),
    ] {
        let server = FaultyRegistry::start(None).await?;
        server.rule(move |_| answer.clone());
        credential(&test, name, faulty(&server, "src", "Warn")).await?;
        servers.push((name, server, wanted));
    }
    // One that says again what it was shown.
    let echo = FaultyRegistry::start(None).await?;
    echo.rule(|request| {
        let shown = request.authorization.clone().unwrap_or_default();
        refusal(
            403,
            "SignatureDoesNotMatch",
            &format!("<Message>{shown}</Message><StringToSign>{shown}</StringToSign>"),
        )
    });
    credential(&test, "echo", faulty(&echo, "src", "Warn")).await?;
    servers.push(("echo", echo, "False (SignatureMismatch)"));
    for (name, _, wanted) in &servers {
        wait_told(&test, name, &format!("Verified={wanted}"), &[]).await?;
        wait_ready(&test, name, 1).await?;
    }
    let shown = servers.iter().flat_map(|(_, server, _)| server.authorizations());
    let shown: Vec<String> = shown.collect();
    assert!(shown.iter().all(|shown| shown.contains(&key.id) && !shown.contains(&key.secret)));
    assert_untold(&test, &environment().await?.operator, &[&evil, &key.id, &key.secret]).await
}

/// The clock of a server that is far from ours is named as such, and is no fault of the key.
#[tokio::test]
async fn a_clock_that_is_wrong_is_named() -> Result<()> {
    let test = Scenario::shared().await?;
    source(&test, "src", &Key::random()).await?;
    let server = FaultyRegistry::start(None).await?;
    server.rule(|_| {
        let theirs = Timestamp::now() + SignedDuration::from_secs(27 * 60 + 10);
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&theirs).expect("a date");
        refusal(
            403,
            "RequestTimeTooSkewed",
            "<MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>",
        )
        .header("date", date)
    });
    credential(&test, "photos", faulty(&server, "src", "Enforce")).await?;
    let told = wait_told(&test, "photos", "Verified=Unknown (ClockSkew)", &["clock"]).await?;
    assert!(told.replace(' ', "").contains("27m"), "{told}");
    wait_ready(&test, "photos", 1).await.map(drop)
}

/// Without TLS only what an administrator has listed is asked, and nothing else that is not allowed.
#[tokio::test]
async fn what_may_not_be_asked_is_not_asked() -> Result<()> {
    let inside = FaultyRegistry::start(None).await?;
    let address = inside.address();
    let (_, port) = address.rsplit_once(':').ok_or_else(|| Error::new(address.clone()))?;
    let test = Scenario::shared().await?;
    source(&test, "src", &Key::random()).await?;
    for (name, endpoint, words) in [
        ("plain", format!("http://localhost:{port}"), &["--plain-http-registries"][..]),
        ("metadata", "http://169.254.169.254".to_owned(), &[][..]),
        ("elsewhere", format!("https://s3.example.com:{port}"), &[][..]),
    ] {
        credential(&test, name, at(&endpoint, "src", "Enforce")).await?;
        wait_told(&test, name, "Verified=Unknown (EndpointNotAllowed)", words).await?;
        wait_ready(&test, name, 1).await?;
    }
    assert!(inside.requests().is_empty(), "{:?}", inside.requests());
    Ok(())
}

/// With an allow-list that lets everything in, what remains is the address, also when a name leads there.
#[tokio::test]
async fn addresses_inside_of_the_network_are_not_asked() -> Result<()> {
    let inside = FaultyRegistry::start(None).await?;
    let address = inside.address();
    let (_, port) = address.rsplit_once(':').ok_or_else(|| Error::new(address.clone()))?;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    source(&test, "src", &Key::random()).await?;
    let flags =
        ["--allowed-registries=", "--private-registries=", "--plain-http-registries=localhost,127.0.0.1"];
    let _operator = lab.operator()?.args(&flags).start().await?;
    for (name, endpoint) in [
        ("plain", format!("http://127.0.0.1:{port}")),
        ("plain-name", format!("http://localhost:{port}")),
        ("address", format!("https://127.0.0.1:{port}")),
        ("number", format!("https://2130706433:{port}")),
        ("ipv6", format!("https://[::1]:{port}")),
        ("mapped", format!("https://[::ffff:7f00:1]:{port}")),
        ("metadata", "https://169.254.169.254".to_owned()),
        ("service", "https://10.96.0.1".to_owned()),
    ] {
        credential(&test, name, at(&endpoint, "src", "Warn")).await?;
        wait_told(&test, name, "Verified=Unknown (EndpointNotAllowed)", &[]).await?;
        wait_ready(&test, name, 1).await?;
    }
    assert!(inside.requests().is_empty(), "{:?}", inside.requests());
    Ok(())
}

/// One that throttles is left alone for as long as it asks, by all credentials.
#[tokio::test]
async fn a_server_that_asks_for_a_pause_gets_it() -> Result<()> {
    let server = FaultyRegistry::start(None).await?;
    server.rule(|_| refusal(503, "SlowDown", "").header("retry-after", "3600"));
    let test = Scenario::shared().await?;
    for n in 0..4 {
        let (name, from) = (format!("photos-{n}"), format!("src-{n}"));
        source(&test, &from, &Key::random()).await?;
        credential(&test, &name, faulty(&server, &from, "Enforce")).await?;
        wait_told(&test, &name, "Verified=Unknown (RateLimited)", &[]).await?;
        wait_ready(&test, &name, 1).await?;
    }
    assert_eq!(server.requests().len(), 1, "{:?}", server.requests());
    Ok(())
}

/// The schema refuses what is no host and no bucket, so that it gets into no path and into no name of a host.
#[tokio::test]
async fn an_endpoint_is_a_host_and_a_bucket_is_a_name() -> Result<()> {
    let test = Scenario::shared().await?;
    let good = at("https://s3.example.com", "src", "Off");
    for (field, value) in [
        ("endpoint", "https://user@s3.example.com"),
        ("endpoint", "https://s3.example.com/path"),
        ("endpoint", "https://s3.example.com?query"),
        ("endpoint", "ftp://s3.example.com"),
        ("endpoint", "s3.example.com"),
        ("bucket", "../photos"),
        ("bucket", "photos/2026"),
        ("bucket", "photos?acl"),
        ("bucket", "ab"),
        ("region", "eu west"),
    ] {
        let mut bad = good.clone();
        bad[field] = json!(value);
        credential(&test, "photos", bad).await.expect_err(value);
    }
    credential(&test, "photos", good).await
}
