//! What servers say of an access key, and how it is told.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Storage, api, assert_untold, at, count_events, credential, faulty, refusal, source, status, sync,
    wait_event, wait_ready, wait_told, with,
};
use crate::{
    scenario::Scenario,
    support::{
        Result, environment, random_name,
        registry::{Answer, FaultyRegistry},
        s3::{Key, REGION},
        stays,
    },
};

#[tokio::test]
async fn a_key_that_works_is_told_from_those_that_do_not() -> Result<()> {
    let storage = Storage::start().await?;
    let (stranger, wrong, unknown) = (storage.server.user().await?, storage.owner.rotated(), Key::random());
    let test = Scenario::shared().await?;
    storage.trust(&test).await?;
    for (name, key) in
        [("good", &storage.owner), ("wrong", &wrong), ("unknown", &unknown), ("stranger", &stranger)]
    {
        source(&test, name, key).await?;
    }
    let missing = random_name("missing");
    for (name, key, more, verified, reason, words, code) in [
        ("accepted", "good", json!({}), "True", "Authenticated", vec![], None),
        (
            "mismatched",
            "wrong",
            json!({}),
            "False",
            "SignatureMismatch",
            vec![],
            Some("SignatureDoesNotMatch"),
        ),
        ("unheard-of", "unknown", json!({}), "False", "InvalidAccessKey", vec![], Some("InvalidAccessKeyId")),
        (
            "missing",
            "good",
            json!({"bucket": missing}),
            "False",
            "BucketNotFound",
            vec![],
            Some("NoSuchBucket"),
        ),
        (
            "region",
            "good",
            json!({"region": "us-east-1"}),
            "False",
            "WrongRegion",
            vec![REGION],
            Some("AuthorizationHeaderMalformed"),
        ),
        (
            "without-rights",
            "stranger",
            json!({}),
            "False",
            "AccessDenied",
            vec!["s3:ListBucket"],
            Some("AccessDenied"),
        ),
    ] {
        let bucket = more["bucket"].as_str().unwrap_or(&storage.bucket).to_owned();
        credential(&test, name, storage.spec(key, more)).await?;
        wait_told(&test, name, &format!("Verified={verified} ({reason})"), &words).await?;
        // By default a refusal is told, and holds nothing back.
        wait_ready(&test, name, 1).await?;
        let told = status(&test, name).await?.verification.unwrap_or_default();
        let login = told.logins.first().cloned().unwrap_or_default();
        assert_eq!(login.reason, reason, "{name}");
        assert_eq!(login.key, format!("{}/{bucket}", storage.server.host()), "{name}");
        assert_eq!((told.logins.len(), told.revision), (1, Some(1)), "{name}");
        if let Some(code) = code {
            assert_eq!(login.code.as_deref(), Some(code), "{name}");
            wait_event(&test, name, reason).await?;
        }
    }
    let told = serde_json::to_value(api(&test).get("accepted").await?.status)?;
    let wanted = json!({"endpoint": storage.server.endpoint(), "region": REGION, "pathStyle": true});
    assert_eq!(told["objectStorage"], wanted);
    let keys = [&storage.owner, &wrong, &unknown, &stranger];
    let texts: Vec<&str> = keys.iter().flat_map(|key| [&*key.id, &*key.secret]).collect();
    assert_untold(&test, &environment().await?.operator, &texts).await
}

#[tokio::test]
async fn what_is_not_known_holds_nothing_back_and_alarms_nobody() -> Result<()> {
    let storage = Storage::start().await?;
    let test = Scenario::shared().await?;
    storage.trust(&test).await?;
    source(&test, "good", &storage.owner).await?;
    test.source("no-ca", json!({"ca.crt": "none"})).await?;
    let enforced =
        |more: Value| storage.spec("good", with(json!({"verification": {"mode": "Enforce"}}), more));
    let mut untrusted = enforced(json!({}));
    untrusted.as_object_mut().expect("a spec").remove("caSecretRef");
    for (name, spec, reason) in [
        ("untrusted", untrusted, "TLSError"),
        ("empty-ca", enforced(json!({"caSecretRef": {"name": "no-ca"}})), "TLSError"),
        ("lost-ca", enforced(json!({"caSecretRef": {"name": "not-there"}})), "TLSError"),
        ("down", at("https://127.0.0.1:1", "good", "Enforce"), "EndpointUnreachable"),
        ("elsewhere", at("https://s3.example.com", "good", "Enforce"), "EndpointNotAllowed"),
        ("off", enforced(json!({"verification": {"mode": "Off"}})), "Skipped"),
    ] {
        credential(&test, name, spec).await?;
        wait_told(&test, name, &format!("Verified=Unknown ({reason})"), &[]).await?;
        wait_ready(&test, name, 1).await?;
        assert_eq!(count_events(&test, name, reason).await?, 0, "{name}");
    }
    // The authority comes later, or is named later: it is tried again at once.
    test.source("not-there", json!({"ca.crt": storage.authority.pem()})).await?;
    credential(&test, "untrusted", enforced(json!({}))).await?;
    for name in ["lost-ca", "untrusted"] {
        wait_told(&test, name, "Verified=True (Authenticated)", &[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_change_is_tried_at_once_and_a_sync_that_is_asked_for_tries_again() -> Result<()> {
    let storage = Storage::start().await?;
    let test = Scenario::shared().await?;
    storage.trust(&test).await?;
    source(&test, "src", &storage.owner.rotated()).await?;
    credential(&test, "photos", storage.spec("src", json!({}))).await?;
    wait_told(&test, "photos", "Verified=False (SignatureMismatch)", &[]).await?;
    source(&test, "src", &storage.owner).await?;
    wait_told(&test, "photos", "Verified=True (Authenticated)", &[]).await?;
    wait_event(&test, "photos", "Authenticated").await?;
    // Nothing else is asked: not for a resync, and not for a namespace.
    let tries = storage.server.tries();
    stays(Duration::from_secs(2), "what was asked", async || {
        if storage.server.tries() == tries { Ok(()) } else { Err(format!("{:?}", storage.server.requests())) }
    })
    .await?;
    storage.server.set_secret(&storage.owner.rotated()).await?;
    sync(&test, "photos").await?;
    wait_told(&test, "photos", "Verified=False (SignatureMismatch)", &[]).await?;
    wait_ready(&test, "photos", 2).await?;
    // Nothing but lists was asked for with the key.
    let requests = storage.server.requests();
    let with_key = requests.iter().filter(|asked| asked.requester == storage.owner.id).count();
    assert_eq!(with_key, storage.server.tries(), "{requests:?}");
    Ok(())
}

/// As servers answer that are not here. All is said of the same key, which has a session token.
#[tokio::test]
async fn what_other_servers_say_is_understood() -> Result<()> {
    let test = Scenario::shared().await?;
    let (key, token) = (Key::random(), random_name("token"));
    test.source(
        "src",
        json!({"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret, "AWS_SESSION_TOKEN": token}),
    )
    .await?;
    let region = |answer: Answer| answer.header("x-amz-bucket-region", "eu-west-3");
    let malformed = |more: &str| refusal(400, "AuthorizationHeaderMalformed", more);
    let named = || vec!["eu-west-3"];
    let mut servers = Vec::new();
    for (name, answer, wanted, words) in [
        ("expired", refusal(400, "ExpiredToken", ""), "False (InvalidAccessKey)", vec![]),
        ("invalid", refusal(400, "InvalidToken", ""), "False (InvalidAccessKey)", vec![]),
        ("header", region(refusal(301, "PermanentRedirect", "")), "False (WrongRegion)", named()),
        ("element", malformed("<Region>eu-west-3</Region>"), "False (WrongRegion)", named()),
        (
            "message",
            malformed("<Message>the region 'eu-central-1' is wrong; expecting 'eu-west-3'</Message>"),
            "False (WrongRegion)",
            named(),
        ),
        ("busy", refusal(503, "SlowDown", ""), "Unknown (RateLimited)", vec![]),
        ("fault", refusal(500, "InternalError", ""), "Unknown (EndpointUnreachable)", vec![]),
        // What stands before a server refuses, too, and knows nothing of the key.
        ("guard", Answer::status(403).body("<html>no</html>"), "Unknown (UnexpectedAnswer)", vec![]),
        (
            "no-list",
            Answer::status(200).body("<ListAllMyBucketsResult/>"),
            "Unknown (UnexpectedAnswer)",
            vec![],
        ),
    ] {
        let server = FaultyRegistry::start(None).await?;
        server.rule(move |_| answer.clone());
        credential(&test, name, faulty(&server, "src", "Warn")).await?;
        servers.push((name, server, wanted, words));
    }
    for (name, server, wanted, words) in &servers {
        wait_told(&test, name, &format!("Verified={wanted}"), words).await?;
        wait_ready(&test, name, 1).await?;
        let first = server.requests().first().cloned().expect("a request");
        assert_eq!((&*first.method, &*first.path), ("GET", "/photos"), "{name}");
    }
    let keys = [&*key.id, &*key.secret, &*token];
    assert_untold(&test, &environment().await?.operator, &keys).await
}

/// Some servers say only in answer to a HEAD request which region is the right one.
#[tokio::test]
async fn the_right_region_is_asked_for_where_it_is_not_told() -> Result<()> {
    let test = Scenario::shared().await?;
    source(&test, "src", &Key::random()).await?;
    let server = FaultyRegistry::start(None).await?;
    server.rule(|request| match &*request.method {
        "HEAD" => Answer::status(301).header("x-amz-bucket-region", "eu-west-3"),
        _ => refusal(301, "PermanentRedirect", "<Endpoint>photos.s3.example.com</Endpoint>"),
    });
    credential(&test, "photos", faulty(&server, "src", "Warn")).await?;
    wait_told(&test, "photos", "Verified=False (WrongRegion)", &["eu-west-3"]).await?;
    let asked: Vec<_> = server.requests().into_iter().map(|request| (request.method, request.path)).collect();
    let photos = "/photos".to_owned();
    assert_eq!(asked, [("GET".to_owned(), photos.clone()), ("HEAD".to_owned(), photos)]);
    Ok(())
}
