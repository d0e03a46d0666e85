//! A source that cannot be used: said in plain words, and never at the cost of what worked before.

use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::{
    checks::{assert_hidden, exact_all, good_source, merge, spec, wait_copy, wait_events},
    scenario::Scenario,
    support::{self, Result, random_name},
};

const GOOD: &str = "the-good-password";

/// Puts a broken source in the place of a good one. `broken` gets a value that must stay hidden.
async fn refused(reason: &str, said: &str, broken: impl Fn(&str) -> Value) -> Result<()> {
    let operator = &support::environment().await?.operator;
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let canary = random_name("canary");
    good_source(&test, "src", GOOD).await?;
    good_source(&test, "other-src", GOOD).await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.credential("other", spec(&test, "other-src")).await?;
    test.wait_ready("reg", 1).await?;
    test.wait_ready("other", 1).await?;
    let copies = exact_all(&test, &targets, "reg").await?;
    let others = exact_all(&test, &targets, "other").await?;
    let other = test.credentials().get("other").await?;

    // A type cannot be changed, so the source is made anew.
    let sources = test.secrets(&test.home.name);
    sources.delete("src", &DeleteParams::default()).await?;
    let mut object = broken(&canary);
    object["metadata"] = json!({"name": "src"});
    sources.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    let source = test.wait_condition("reg", "SourceResolved", "False", reason).await?;
    assert!(source.message.contains(said), "{}", source.message);
    assert!(source.message.contains("'src'"), "it does not name the Secret: {}", source.message);
    let ready = test.wait_condition("reg", "Ready", "False", reason).await?;
    assert_eq!(ready.message, source.message);
    test.wait_condition("reg", "Stalled", "True", reason).await?;
    test.wait_condition("reg", "Reconciling", "False", "Stalled").await?;

    assert_eq!(exact_all(&test, &targets, "reg").await?, copies, "a bad value touched the copies");
    assert_eq!(test.status("reg").await?.revision, Some(1));
    // A new namespace gets the last good value; and it proves that the copies were looked at after the bad source.
    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    wait_copy(&test, &late, "other").await?;
    test.wait_status("reg", "three namespaces", |status| {
        status.clusters.iter().any(|row| row.namespaces.desired == 3)
    })
    .await?;
    test.wait_password(&late, "reg", GOOD).await?;
    assert_eq!(exact_all(&test, &targets, "reg").await?, copies, "a bad value touched the copies");
    assert_eq!(exact_all(&test, &targets, "other").await?, others, "another credential was disturbed");
    let still = test.credentials().get("other").await?;
    assert_eq!(still.metadata.generation, other.metadata.generation);
    test.wait_ready("other", 1).await?;
    wait_events(&test, "reg", reason, 1).await?;
    assert_hidden(&test, operator, &targets, &canary).await?;
    assert_hidden(&test, operator, &targets, GOOD).await?;

    sources.delete("src", &DeleteParams::default()).await?;
    good_source(&test, "src", "another-good-password").await?;
    for namespace in targets.iter().chain([&late]) {
        test.wait_password(namespace, "reg", "another-good-password").await?;
    }
    test.wait_ready("reg", 2).await?;
    test.wait_condition("reg", "SourceResolved", "True", "Resolved").await?;
    Ok(())
}

#[tokio::test]
async fn a_source_that_comes_later_is_waited_for() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    test.credential("reg", spec(&test, "src")).await?;
    let source = test.wait_condition("reg", "SourceResolved", "False", "SecretNotFound").await?;
    assert!(source.message.contains("'src'"), "{}", source.message);
    test.wait_condition("reg", "Ready", "False", "SecretNotFound").await?;
    // It may pass by itself, so that tools that wait go on waiting.
    test.wait_condition("reg", "Reconciling", "True", "SecretNotFound").await?;
    test.wait_condition("reg", "Stalled", "False", "Progressing").await?;
    for namespace in &targets {
        assert!(test.secrets(namespace).get_opt("reg").await?.is_none());
    }
    good_source(&test, "src", GOOD).await?;
    let status = test.wait_ready("reg", 1).await?;
    for condition in &status.conditions {
        let wanted = match condition.type_.as_str() {
            "Reconciling" | "Stalled" => "False",
            // The operator of these tests may not ask registries.
            "Verified" => "Unknown",
            _ => "True",
        };
        assert_eq!(condition.status, wanted, "{condition:?}");
    }
    for namespace in &targets {
        assert_eq!(test.login(namespace, "reg").await?, Some(("me".into(), GOOD.into())));
    }
    Ok(())
}

#[tokio::test]
async fn a_source_that_goes_leaves_the_copies() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    good_source(&test, "src", GOOD).await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let copies = exact_all(&test, &targets, "reg").await?;
    test.secrets(&test.home.name).delete("src", &DeleteParams::default()).await?;
    test.wait_condition("reg", "Ready", "False", "SecretNotFound").await?;
    assert_eq!(exact_all(&test, &targets, "reg").await?, copies);
    good_source(&test, "src", GOOD).await?;
    test.wait_ready("reg", 1).await?;
    assert_eq!(exact_all(&test, &targets, "reg").await?, copies, "an equal source is no reason to write");
    Ok(())
}

#[tokio::test]
async fn a_missing_key() -> Result<()> {
    refused(
        "KeyMissing",
        "no key 'password'",
        |canary| json!({"stringData": {"username": "me", "pasword": canary}}),
    )
    .await
}

#[tokio::test]
async fn a_missing_user_name() -> Result<()> {
    refused("UsernameMissing", "set `spec.username`", |canary| json!({"stringData": {"password": canary}}))
        .await
}

#[tokio::test]
async fn a_wrong_type() -> Result<()> {
    refused(
        "UnsupportedSecretType",
        "'example.com/other'",
        |canary| json!({"type": "example.com/other", "stringData": {"username": "me", "password": canary}}),
    )
    .await
}

#[tokio::test]
async fn not_utf8() -> Result<()> {
    refused("InvalidFormat", "is not UTF-8", |canary| {
        let mut bytes = vec![0xff, 0xfe];
        bytes.extend(canary.as_bytes());
        json!({"data": {"username": "bWU=", "password": k8s_openapi::ByteString(bytes)}})
    })
    .await
}

#[tokio::test]
async fn two_newlines_at_the_end() -> Result<()> {
    refused(
        "InvalidFormat",
        "line breaks",
        |canary| json!({"stringData": {"username": "me", "password": format!("{canary}\n\n")}}),
    )
    .await
}

#[tokio::test]
async fn a_colon_in_the_user_name() -> Result<()> {
    refused(
        "InvalidUsername",
        "':'",
        |canary| json!({"stringData": {"username": format!("me:{canary}"), "password": "the-password"}}),
    )
    .await
}

#[tokio::test]
async fn an_empty_password() -> Result<()> {
    refused("InvalidFormat", "is empty", |canary| json!({"stringData": {"username": canary, "password": ""}}))
        .await
}

#[tokio::test]
async fn a_mebibyte_of_password() -> Result<()> {
    refused("InvalidFormat", "at most 16384", |canary| {
        // As much as the API server takes, with the user name.
        let password = format!("{canary}{}", "x".repeat(1024 * 1024 - canary.len() - 2));
        json!({"stringData": {"username": "me", "password": password}})
    })
    .await
}

#[tokio::test]
async fn a_docker_config_of_another_shape() -> Result<()> {
    refused("InvalidFormat", "is not a docker config", |canary| {
        json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": json!({"auths": canary}).to_string()}})
    })
    .await
}

#[tokio::test]
async fn a_docker_config_with_an_unreadable_auth() -> Result<()> {
    refused("InvalidFormat", "not base64", |canary| {
        let config = json!({"auths": {"r.example.com": {"auth": format!("!{canary}!")}}});
        json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()}})
    })
    .await
}

#[tokio::test]
async fn a_docker_config_without_our_server() -> Result<()> {
    refused("InvalidFormat", "no entry for r.example.com", |canary| {
        // Somebody's token may stand where a host should.
        let config = json!({"auths": {format!("{canary}.example.org"): {"username": "me", "password": canary}}});
        json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()}})
    })
    .await
}

#[tokio::test]
async fn a_newline_at_the_end_is_left_out_and_told() -> Result<()> {
    let test = Scenario::shared().await?;
    test.source("src", json!({"username": "me\n", "password": "the-password\n"})).await?;
    test.credential(
        "reg",
        json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}}),
    )
    .await?;
    test.wait_ready("reg", 1).await?;
    let source = test.wait_condition("reg", "SourceResolved", "True", "Resolved").await?;
    for key in ["username", "password"] {
        let told = format!("newline at the end of key '{key}' was left out");
        assert!(source.message.contains(&told), "{}", source.message);
    }
    let login = test.login(&test.home.name, "reg").await?;
    assert_eq!(login, Some(("me".into(), "the-password".into())));
    // Without the newline it is the same credential, and nothing is written.
    let before = exact_all(&test, std::slice::from_ref(&test.home.name), "reg").await?;
    merge(
        &test.secrets(&test.home.name),
        "src",
        json!({"stringData": {"username": "me", "password": "the-password"}}),
    )
    .await?;
    support::wait::wait_for(crate::checks::SOON, "the message to be plain", async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        let message =
            status.conditions.iter().find(|c| c.type_ == "SourceResolved").map(|c| c.message.clone());
        if message.as_ref().is_some_and(|message| !message.contains("newline")) {
            Ok(())
        } else {
            Err(format!("{message:?}"))
        }
    })
    .await?;
    assert_eq!(exact_all(&test, std::slice::from_ref(&test.home.name), "reg").await?, before);
    test.wait_ready("reg", 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_docker_config_is_reduced_to_our_server() -> Result<()> {
    let test = Scenario::shared().await?;
    let config = json!({"auths": {
        "r.example.com": {"username": "me", "password": "the-password"},
        "other.example.com": {"username": "other", "password": "not-to-be-copied"},
    }});
    let secret = json!({"metadata": {"name": "src"}, "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()}});
    test.secrets(&test.home.name).create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    test.credential(
        "reg",
        json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}}),
    )
    .await?;
    test.wait_ready("reg", 1).await?;
    let copy = test.secrets(&test.home.name).get("reg").await?;
    let text = String::from_utf8_lossy(&copy.data.unwrap_or_default()[".dockerconfigjson"].0).into_owned();
    assert!(text.contains("the-password") && !text.contains("other"), "more than our login was copied");
    Ok(())
}
