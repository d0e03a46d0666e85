//! Which ServiceAccount is used, for whom its tokens are, and where they go.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::{ACR_HOST, ECR_HOST, World, account, acr, ecr, google_by_account, quay};
use crate::{
    checks::merge,
    support::{
        Error, Result,
        cloud::{CLIENT, PROVIDER, Request, Service, TENANT, claims, role},
        pki::Authority,
        registry::{Answer, FaultyRegistry},
    },
};

/// A field of the form that was sent.
fn field(request: &Request, name: &str) -> String {
    let pairs = form_urlencoded::parse(&request.body);
    pairs
        .into_iter()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn basic_password(authorization: &str) -> Result<String> {
    let text = STANDARD.decode(authorization.trim_start_matches("Basic "))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    text.split_once(':').map(|(_, password)| password.to_owned()).ok_or_else(|| Error::new("no password"))
}

/// A token that somebody gets hold of is of use nowhere else, and not for long.
fn assert_narrow(token: &str, audience: &str, subject: &str) -> Result<()> {
    let claims = claims(token).map_err(Error::new)?;
    assert_eq!(claims["aud"], json!([audience]), "{claims}");
    assert_eq!(claims["sub"], subject, "{claims}");
    let time = |name: &str| claims[name].as_i64().unwrap_or_default();
    assert!(time("exp") - time("iat") <= 3_600, "{claims}");
    Ok(())
}

#[tokio::test]
async fn a_service_accounts_token_is_for_the_vendor_alone() -> Result<()> {
    let world = World::with_aws().await?;
    let home = &world.test.home.name;
    world.account("puller", json!({})).await?;
    let _operator = world.operator()?.start().await?;
    let azure = json!({"serviceAccountRef": {"name": "puller"}, "clientId": CLIENT, "tenantId": TENANT});
    let aws = json!({"serviceAccountRef": {"name": "puller"}, "roleArn": role("puller")});
    for (name, spec, service, key) in [
        ("aws", ecr(aws), Service::Ecr, ECR_HOST),
        ("azure", acr(azure), Service::Acr, ACR_HOST),
        ("google", google_by_account("puller"), Service::GoogleSts, "europe-west3-docker.pkg.dev"),
        ("quay", quay("puller"), Service::Quay, "quay.io"),
    ] {
        world.test.credential(name, spec).await?;
        world.wait_minted(name, service, key).await?;
    }
    let subject = format!("system:serviceaccount:{home}:puller");
    let google = format!("//iam.googleapis.com/{PROVIDER}");
    for (service, name, audience) in [
        (Service::Sts, "WebIdentityToken", "sts.amazonaws.com"),
        (Service::Entra, "client_assertion", "api://AzureADTokenExchange"),
        (Service::GoogleSts, "subject_token", google.as_str()),
    ] {
        for asked in world.cloud.asked_of(service) {
            assert_narrow(&field(&asked.request, name), audience, &subject)?;
        }
    }
    for asked in world.cloud.asked_of(Service::Quay) {
        let (_, token) = asked.request.basic().ok_or_else(|| Error::new("no login"))?;
        assert_narrow(&token, "quay.io", &subject)?;
    }
    Ok(())
}

/// Attack: a tenant names a server of its own, to have a token that others take.
#[tokio::test]
async fn a_server_that_a_tenant_has_named_gets_a_token_for_itself_alone() -> Result<()> {
    let world = World::start().await?;
    let host = "quay.evil.example.com";
    let thief = FaultyRegistry::start(Some(&world.cloud.authority.server(&[host])?)).await?;
    thief.rule(|_| Answer::status(401).body("{}"));
    world.cloud.proxy.lead(host, thief.address());
    world.account("puller", json!({})).await?;
    let _operator = world.operator()?.start().await?;
    let mut spec = quay("puller");
    spec["server"] = json!(host);
    world.test.credential("quay", spec).await?;
    world.wait_refreshed("quay", "False", "TokenRefused").await?;
    let subject = format!("system:serviceaccount:{}:puller", world.test.home.name);
    let told = thief.authorizations();
    assert!(!told.is_empty());
    for authorization in told {
        assert_narrow(&basic_password(&authorization)?, host, &subject)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_quay_of_ones_own_is_trusted_by_the_authorities_of_its_credential() -> Result<()> {
    let world = World::start().await?;
    let (host, company) = ("quay.company.example.com", Authority::new("the company")?);
    let own = FaultyRegistry::start(Some(&company.server(&[host])?)).await?;
    own.rule(|_| Answer::status(401).body("{}"));
    world.cloud.proxy.lead(host, own.address());
    world.account("puller", json!({})).await?;
    world.test.source("ca", json!({"ca.crt": company.pem()})).await?;
    let _operator = world.operator()?.start().await?;
    let mut spec = quay("puller");
    spec["server"] = json!(host);
    world.test.credential("unknown", spec.clone()).await?;
    world.wait_refreshed("unknown", "False", "TLSError").await?;
    assert!(own.authorizations().is_empty());
    spec["verification"]["caSecretRef"] = json!({"name": "ca"});
    world.test.credential("known", spec).await?;
    world.wait_refreshed("known", "False", "TokenRefused").await?;
    Ok(())
}

/// Attack: a ServiceAccount of the same name in another namespace, named with its namespace.
#[tokio::test]
async fn only_service_accounts_of_the_own_namespace_are_used() -> Result<()> {
    let world = World::start().await?;
    let other = world.lab.scenario().await?;
    account(&other.client, &other.home.name, "puller", json!({})).await?;
    world.cloud.let_in(&other.home.name, "puller");
    let _operator = world.operator()?.start().await?;
    let mut spec = google_by_account("puller");
    let reference = &mut spec["googleArtifactRegistry"]["auth"]["serviceAccountRef"];
    *reference = json!({"name": "puller", "namespace": other.home.name});
    // The API server may say that there is no such field, or drop it.
    if world.test.credential("reg", spec).await.is_err() {
        world.test.credential("reg", google_by_account("puller")).await?;
    }
    let told = world.wait_refreshed("reg", "False", "IdentityMissing").await?;
    assert!(told.contains("puller"), "{told}");
    let named = format!("system:serviceaccount:{}:puller", other.home.name);
    let mut spec = google_by_account("puller");
    spec["googleArtifactRegistry"]["auth"]["serviceAccountRef"]["name"] = json!(named);
    world.test.credential("colons", spec).await.expect_err("a name that no ServiceAccount has");
    assert_eq!(world.cloud.asked().len(), 0, "{}", world.told());
    assert!(world.test.secrets(&world.test.home.name).get_opt("reg").await?.is_none());

    // Once there is one, it is used.
    world.account("puller", json!({})).await?;
    world.wait_minted("reg", Service::GoogleSts, "europe-west3-docker.pkg.dev").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_an_identity_is_told_with_its_reason() -> Result<()> {
    let world = World::with_aws().await?;
    account(&world.test.client, &world.test.home.name, "stranger", json!({})).await?;
    let key = &world.cloud.aws()?.stranger;
    let data = json!({"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret});
    world.test.source("stranger", data).await?;
    world.test.source("half", json!({"AWS_ACCESS_KEY_ID": key.id})).await?;
    world.test.source("google", json!({"key.json": "{\"type\": \"authorized_user\"}"})).await?;
    let _operator = world.operator()?.start().await?;
    let by_account = json!({"serviceAccountRef": {"name": "stranger"}});
    let wrong = json!({"serviceAccountRef": {"name": "stranger"}, "clientId": CLIENT, "tenantId": TENANT});
    for (name, spec, reason) in [
        ("no-rights", ecr(json!({"secretRef": {"name": "stranger"}})), "TokenRefused"),
        ("not-trusted", acr(wrong), "TokenRefused"),
        ("not-known", google_by_account("stranger"), "TokenRefused"),
        ("no-role", ecr(by_account.clone()), "IdentityMissing"),
        ("no-client", acr(by_account), "IdentityMissing"),
        ("no-account", google_by_account("absent"), "IdentityMissing"),
    ] {
        world.test.credential(name, spec).await?;
        let told = world.wait_refreshed(name, "False", reason).await?;
        assert!(!told.is_empty() && !told.contains(&key.secret), "{told}");
        let ready = |conditions: Value| conditions.to_string().contains("\"Ready\"");
        assert!(ready(json!(world.test.status(name).await?.conditions)), "{name}");
        assert!(world.test.secrets(&world.test.home.name).get_opt(name).await?.is_none(), "{name}");
    }
    let by_key = |source: &str| super::google(json!({"secretRef": {"name": source}}));
    for (name, spec, reason) in [
        ("no-secret", ecr(json!({"secretRef": {"name": "absent"}})), "SecretNotFound"),
        ("no-key", ecr(json!({"secretRef": {"name": "half"}})), "KeyMissing"),
        ("no-service-account", by_key("google"), "InvalidFormat"),
    ] {
        world.test.credential(name, spec).await?;
        world.wait_fault(name, reason).await?;
    }
    Ok(())
}

/// A key that is replaced is used at once, and a wrong one does not take away what is good.
#[tokio::test]
async fn a_new_access_key_is_used_at_once() -> Result<()> {
    let world = World::with_aws().await?;
    let (puller, stranger) = (&world.cloud.aws()?.puller, &world.cloud.aws()?.stranger);
    let secrets = world.test.secrets(&world.test.home.name);
    let data = json!({"AWS_ACCESS_KEY_ID": stranger.id, "AWS_SECRET_ACCESS_KEY": stranger.secret});
    world.test.source("aws", data).await?;
    let _operator = world.operator()?.start().await?;
    world.test.credential("reg", ecr(json!({"secretRef": {"name": "aws"}}))).await?;
    world.wait_refreshed("reg", "False", "TokenRefused").await?;
    let data = json!({"AWS_ACCESS_KEY_ID": puller.id, "AWS_SECRET_ACCESS_KEY": puller.secret});
    merge(&secrets, "aws", json!({"stringData": data})).await?;
    let good = world.wait_minted("reg", Service::Ecr, ECR_HOST).await?;
    world.test.wait_ready("reg", 1).await?;
    let data = json!({"AWS_ACCESS_KEY_ID": stranger.id, "AWS_SECRET_ACCESS_KEY": stranger.secret});
    merge(&secrets, "aws", json!({"stringData": data})).await?;
    world.wait_refreshed("reg", "False", "TokenRefused").await?;
    assert_eq!(super::auths(&world.test, &world.test.home.name, "reg").await?[0].2, good.token);
    // As of any other source that is wrong.
    world.test.wait_condition("reg", "Ready", "False", "TokenRefused").await?;
    // Made anew with the good one.
    secrets.delete("aws", &DeleteParams::default()).await?;
    let secret = json!({"metadata": {"name": "aws"}, "stringData": {"AWS_ACCESS_KEY_ID": puller.id, "AWS_SECRET_ACCESS_KEY": puller.secret}});
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    world.wait_minted("reg", Service::Ecr, ECR_HOST).await?;
    Ok(())
}
