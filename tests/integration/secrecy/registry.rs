//! Passwords and tokens of registries.

use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::{ALL, assert_secret, replace};
use crate::{
    canary::Canary,
    checks::{delete, foreign, good_source, merge, spec, spec_to, wait_copy, wait_no_credential},
    lab::Lab,
    support::{
        Result, random_name,
        registry::{Answer, FaultyRegistry},
    },
};

#[tokio::test]
async fn a_password_is_nowhere_but_in_the_data_of_secrets() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    let operator = lab.operator()?.arg(ALL).start().await?;
    let values: Vec<String> = (0..6).map(|n| random_name(&format!("canary{n}"))).collect();
    let canaries: Vec<Canary> =
        values.iter().enumerate().map(|(n, value)| Canary::new(format!("value {n}"), value)).collect();

    // In the docker config, the password and the login begin at other offsets for each of these.
    for (name, user) in [("reg", "me"), ("reg-a", "mea"), ("reg-b", "meab")] {
        test.source(&format!("{name}-src"), json!({"username": user, "password": values[0]})).await?;
        test.credential(name, spec(&test, &format!("{name}-src"))).await?;
        test.wait_ready(name, 1).await?;
        canaries[0].assert_seen(&wait_copy(&test, &targets[0], name).await?);
    }
    // A login that stands in the source as it will in the copy.
    let config = json!({"auths": {"r.example.com": {"username": "me", "password": values[5]}}});
    let file = json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()}});
    replace(&test, file, "ready-made").await?;
    test.credential("ready-made", json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "ready-made"}, "target": {"secretName": "made", "namespaces": test.selector()["namespaces"]}})).await?;
    test.wait_ready("ready-made", 1).await?;
    canaries[5].assert_seen(&wait_copy(&test, &targets[0], "made").await?);

    // Through each way of writing: in place, after a conflict, whole, and after being deleted.
    foreign(&test, &targets[2], "other").await?;
    test.credential("other", spec_to("reg-src", test.selector())).await?;
    test.wait_condition("other", "Ready", "False", "PartiallySynced").await?;
    merge(&test.secrets(&targets[0]), "reg", json!({"metadata": {"finalizers": ["example.com/wait"]}}))
        .await?;
    good_source(&test, "reg-src", &values[1]).await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", &values[1]).await?;
    }
    canaries[1].assert_seen(&wait_copy(&test, &targets[0], "reg").await?);
    test.secrets(&targets[1]).delete("reg", &DeleteParams::default()).await?;
    wait_copy(&test, &targets[1], "reg").await?;
    test.annotate("reg", "claviger.dev/sync-requested-at", "now").await?;
    // A value that cannot be decoded, and files that cannot be read.
    let mut bytes = vec![0xff];
    bytes.extend(values[2].as_bytes());
    let source = json!({"data": {"username": "bWU=", "password": k8s_openapi::ByteString(bytes)}});
    canaries[2].assert_seen(&replace(&test, source, "reg-src").await?);
    test.wait_condition("reg", "Ready", "False", "InvalidFormat").await?;
    let config = json!({"auths": {"r.example.com": {"username": [values[3]], "password": values[3]}}});
    let file = json!({
        "metadata": {"name": "file"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config.to_string()},
    });
    test.secrets(&test.home.name).create(&PostParams::default(), &serde_json::from_value(file)?).await?;
    test.credential("file", spec(&test, "file")).await?;
    test.wait_condition("file", "Ready", "False", "InvalidFormat").await?;
    // A stranger's data under our mark.
    merge(&test.secrets(&targets[0]), "reg", json!({"stringData": {"stray": values[4]}})).await?;
    good_source(&test, "reg-src", &values[0]).await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", &values[0]).await?;
    }
    test.wait_ready("reg", 3).await?;
    test.wait_status("reg", "the answer to the sync", |status| status.sync.is_some()).await?;
    assert_secret(&lab, &test, &operator, &canaries).await?;

    delete(&test, "reg").await?;
    merge(&test.secrets(&targets[0]), "reg", json!({"metadata": {"finalizers": null}})).await?;
    wait_no_credential(&test, "reg").await?;
    assert_secret(&lab, &test, &operator, &canaries).await
}

/// A registry that answers has the login, gives tokens for it, and may say either again.
#[tokio::test]
async fn a_login_that_is_tried_and_its_token_are_in_no_log_and_no_status() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    let operator = lab.operator()?.arg(ALL).start().await?;
    let [password, token] = ["password", "token"].map(random_name);
    let canaries = [Canary::new("the password", &password), Canary::new("the token", &token)];
    test.source("src", json!({"username": "me", "password": password})).await?;

    let echo = FaultyRegistry::start(None).await?;
    echo.rule(|request| match &request.authorization {
        None => Answer::status(401).header("www-authenticate", "Basic realm=\"x\""),
        Some(login) => Answer::status(401)
            .header("www-authenticate", format!("Basic realm=\"{login}\""))
            .body(format!("{{\"errors\":[{{\"code\":\"{login}\"}}]}}")),
    });
    let tokens = FaultyRegistry::start(None).await?;
    let (realm, given) = (format!("{}/token", tokens.url()), token.clone());
    tokens.rule(move |request| match (&*request.path, &request.authorization) {
        ("/token", Some(_)) => Answer::status(200).body(format!("{{\"token\":\"{given}\"}}")),
        (_, Some(_)) => Answer::status(200).body("{}"),
        _ => Answer::status(401).header("www-authenticate", format!("Bearer realm=\"{realm}\"")),
    });
    for (name, registry, status, reason) in
        [("echo", &echo, "False", "AuthenticationFailed"), ("tokens", &tokens, "True", "Authenticated")]
    {
        let spec = json!({"provider": "Custom", "server": registry.address(), "secretRef": {"name": "src"}});
        test.credential(name, spec).await?;
        test.wait_condition(name, "Verified", status, reason).await?;
        test.wait_ready(name, 1).await?;
        canaries[0].assert_seen(&wait_copy(&test, &test.home.name, name).await?);
    }
    let shown: Vec<String> = tokens.authorizations();
    assert!(shown.iter().any(|shown| shown.contains(&token)), "no token was shown");
    assert_secret(&lab, &test, &operator, &canaries).await
}
