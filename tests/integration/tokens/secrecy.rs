//! Neither a token nor what it was minted with stands anywhere but in the data of Secrets.

use std::time::Duration;

use serde_json::json;

use super::{ACR_HOST, ECR_HOST, World, acr_by_secret, ecr, google, google_by_account, quay};
use crate::{
    canary::Canary,
    checks::wait_copy,
    secrecy::{ALL, assert_secret},
    support::{
        Result,
        cloud::{Service, role},
        registry::Answer,
    },
};

#[tokio::test]
async fn tokens_and_identities_are_nowhere_but_in_the_data_of_secrets() -> Result<()> {
    let world = World::with_aws().await?;
    let key = world.cloud.aws()?.puller.clone();
    world.azure_secret().await?;
    let data = json!({"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret});
    world.test.source("aws", data).await?;
    world.test.source("google", json!({"key.json": world.cloud.rsa().google_file().to_string()})).await?;
    world.test.source("ocean-token", json!({"token": world.cloud.digital_ocean_token()})).await?;
    world.account("puller", json!({})).await?;
    world.cloud.life(Duration::from_secs(24));
    let operator = world.operator()?.arg(ALL).start().await?;
    let chained = json!({"secretRef": {"name": "aws"}, "roleArn": role("chained"), "externalId": "ext-7"});
    let web = json!({"serviceAccountRef": {"name": "puller"}, "roleArn": role("puller")});
    let ocean = json!({"registry": "acme", "auth": {"secretRef": {"name": "ocean-token"}}});
    let ocean = super::off(json!({"provider": "DigitalOcean", "digitalOcean": ocean}));
    for (name, spec, service, host) in [
        ("chained", ecr(chained), Service::Ecr, ECR_HOST),
        ("web", ecr(web), Service::Ecr, ECR_HOST),
        ("acr", acr_by_secret(), Service::Acr, ACR_HOST),
        (
            "key",
            google(json!({"secretRef": {"name": "google"}})),
            Service::GoogleToken,
            "europe-west3-docker.pkg.dev",
        ),
        ("federated", google_by_account("puller"), Service::GoogleSts, "europe-west3-docker.pkg.dev"),
        ("quay", quay("puller"), Service::Quay, "quay.io"),
        ("ocean", ocean, Service::DigitalOcean, "registry.digitalocean.com"),
    ] {
        world.test.credential(name, spec).await?;
        // With short lives, the newest is soon another one.
        world.wait_refreshed(name, "True", "Refreshed").await?;
        let copy = wait_copy(&world.test, &world.test.home.name, name).await?;
        let [(key, _, token)] = super::auths_of(&copy)?.try_into().expect("one login");
        assert_eq!(key, host);
        assert!(world.cloud.minted().iter().any(|m| m.service == service && m.token == token), "{name}");
        Canary::new(name, &token).assert_seen(&copy);
    }
    // A vendor that tells everybody what it was told.
    let echo = json!({
        "error": "invalid_client", "error_description": world.cloud.client_secret(), "secret": world.cloud.client_secret(),
    });
    world.cloud.answer(Service::Entra, Answer::status(401).body(echo.to_string()));
    world.wait_refreshed("acr", "False", "TokenRefused").await?;
    world.cloud.answer(Service::GoogleSts, Answer::status(500).body(world.cloud.client_secret().to_owned()));
    world.wait_refreshed("federated", "False", "CloudUnreachable").await?;

    let mut values = world.cloud.secrets();
    for asked in world.cloud.asked() {
        let form = form_urlencoded::parse(&asked.request.body).into_owned();
        let secret = ["WebIdentityToken", "client_assertion", "subject_token", "assertion"];
        values.extend(form.filter(|(name, _)| secret.contains(&name.as_str())));
        if let Some((_, token)) = asked.request.basic() {
            values.push(("the token for Quay".to_owned(), token));
        }
    }
    values.push(("a line of the key of Google".to_owned(), line(&world.cloud.rsa().pkcs8())));
    let canaries: Vec<Canary> = values.into_iter().map(|(what, value)| Canary::new(what, value)).collect();
    assert_secret(&world.lab, &world.test, &operator, &canaries).await
}

/// One in the middle, where the secret numbers are.
fn line(pem: &str) -> String {
    pem.lines().nth(12).unwrap_or_default().to_owned()
}
