//! Each way to a token ends in a Secret with the login that the vendor has handed out, under the key that kubelet matches.

use serde_json::{Value, json};

use super::{
    ACR_HOST, ECR_HOST, World, account_token, acr, acr_by_secret, auths, consent, ecr, expiration, google,
    google_by_account, off, quay,
};
use crate::{
    checks::{delete, wait_no_credential},
    support::{
        Result, apply_yaml,
        cloud::{APP, CLIENT, DO_REGISTRY, EXTERNAL_ID, GOOGLE_ACCOUNT, INSTALLATION, Service, TENANT, role},
        wait_for,
        workdir::Workdir,
    },
};

const GOOGLE_HOST: &str = "europe-west3-docker.pkg.dev";

fn gcr(auth: Value) -> Value {
    let block = json!({"auth": auth});
    off(json!({"provider": "GoogleArtifactRegistry", "server": "eu.gcr.io", "googleArtifactRegistry": block}))
}

/// Waits for the login of each credential, and that the status says until when it is good.
async fn assert_minted(world: &World, expected: &[(&str, Value, Service, &str)]) -> Result<()> {
    for (name, spec, service, key) in expected {
        world.test.credential(name, spec.clone()).await?;
        let minted = world.wait_minted(name, *service, key).await?;
        world.test.wait_ready(name, 1).await?;
        let told = expiration(&world.test, name).await?;
        // What comes as a number of seconds counts from when it was asked for.
        let apart = told.as_second() - minted.expires.as_second();
        assert!((-5..=5).contains(&apart), "{name}: {told} {}", minted.expires);
    }
    world.assert_by_the_book();
    Ok(())
}

#[tokio::test]
async fn tokens_of_ecr_come_by_access_key_role_and_service_account() -> Result<()> {
    let world = World::with_aws().await?;
    let _operator = world.operator()?.start().await?;
    let key = &world.cloud.aws()?.puller;
    let data = json!({"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret});
    world.test.source("aws", data).await?;
    world.test.source("named", json!({"id": key.id, "secret": key.secret})).await?;
    world.account("annotated", json!({"eks.amazonaws.com/role-arn": role("puller")})).await?;
    world.account("plain", json!({})).await?;
    let named = json!({"name": "named", "accessKeyIdKey": "id", "secretAccessKeyKey": "secret"});
    let public = off(json!({"provider": "ECRPublic", "ecrPublic": {"auth": {"secretRef": {"name": "aws"}}}}));
    assert_minted(
        &world,
        &[
            ("key", ecr(json!({"secretRef": {"name": "aws"}})), Service::Ecr, ECR_HOST),
            (
                "role",
                ecr(json!({"secretRef": named, "roleArn": role("chained"), "externalId": EXTERNAL_ID})),
                Service::Ecr,
                ECR_HOST,
            ),
            ("annotated", ecr(json!({"serviceAccountRef": {"name": "annotated"}})), Service::Ecr, ECR_HOST),
            (
                "given",
                ecr(json!({"serviceAccountRef": {"name": "plain"}, "roleArn": role("puller")})),
                Service::Ecr,
                ECR_HOST,
            ),
            ("public", public, Service::EcrPublic, "public.ecr.aws"),
        ],
    )
    .await?;
    assert_eq!(world.cloud.count(Service::Ecr), 4, "{}", world.told());
    Ok(())
}

#[tokio::test]
async fn tokens_of_ecr_come_by_the_identity_of_the_operator() -> Result<()> {
    let world = World::with_aws().await?;
    let home = &world.test.home.name;
    world.account("operator", json!({})).await?;
    consent(&world.test, "identity", &[home], true).await?;
    let files = Workdir::new("claviger-identity-")?;
    let token = account_token(&world.test.client, home, "operator", "sts.amazonaws.com").await?;
    let file = files.write("token", token)?;
    let spec = ecr(json!({"operatorIdentity": {}}));
    {
        let irsa = world.operator()?.env("AWS_ROLE_ARN", role("puller"));
        let _operator = irsa.env("AWS_WEB_IDENTITY_TOKEN_FILE", file.display().to_string()).start().await?;
        assert_minted(&world, &[("irsa", spec.clone(), Service::Ecr, ECR_HOST)]).await?;
        // Else its token would be known, and the next one not minted.
        delete(&world.test, "irsa").await?;
        wait_no_credential(&world.test, "irsa").await?;
    }
    // EKS Pod Identity. The file is read anew each time: what was in it at the start is of no use.
    let file = files.write("pods", "stale")?;
    let agent = world.operator()?.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", world.cloud.pod_identity_url());
    let agent = agent.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.display().to_string());
    let _operator = agent.start().await?;
    let token = account_token(&world.test.client, home, "operator", "pods.eks.amazonaws.com").await?;
    files.write("pods", token)?;
    assert_minted(&world, &[("agent", spec, Service::Ecr, ECR_HOST)]).await?;
    assert!(world.cloud.count(Service::PodIdentity) > 0);
    Ok(())
}

#[tokio::test]
async fn tokens_of_azure_come_by_secret_service_account_and_the_identity_of_the_operator() -> Result<()> {
    let world = World::start().await?;
    let home = &world.test.home.name;
    world.azure_secret().await?;
    let annotations =
        json!({"azure.workload.identity/client-id": CLIENT, "azure.workload.identity/tenant-id": TENANT});
    world.account("annotated", annotations).await?;
    world.account("plain", json!({})).await?;
    consent(&world.test, "identity", &[home], true).await?;
    let files = Workdir::new("claviger-identity-")?;
    let token = account_token(&world.test.client, home, "plain", "api://AzureADTokenExchange").await?;
    let file = files.write("token", token)?;
    let operator = world.operator()?.env("AZURE_CLIENT_ID", CLIENT).env("AZURE_TENANT_ID", TENANT);
    let _operator = operator.env("AZURE_FEDERATED_TOKEN_FILE", file.display().to_string()).start().await?;
    let plain = json!({"serviceAccountRef": {"name": "plain"}, "clientId": CLIENT, "tenantId": TENANT});
    assert_minted(
        &world,
        &[
            ("secret", acr_by_secret(), Service::Acr, ACR_HOST),
            ("annotated", acr(json!({"serviceAccountRef": {"name": "annotated"}})), Service::Acr, ACR_HOST),
            ("given", acr(plain), Service::Acr, ACR_HOST),
            ("operator", acr(json!({"operatorIdentity": {}})), Service::Acr, ACR_HOST),
        ],
    )
    .await
}

#[tokio::test]
async fn tokens_of_google_come_by_key_service_account_metadata_and_impersonation() -> Result<()> {
    let world = World::start().await?;
    let home = &world.test.home.name;
    let file = world.cloud.rsa().google_file().to_string();
    world.test.source("google", json!({"key.json": file})).await?;
    world.account("puller", json!({})).await?;
    consent(&world.test, "identity", &[home], true).await?;
    let _operator = world.operator()?.env("GCE_METADATA_HOST", world.cloud.metadata_host()).start().await?;
    let mut impersonating = google_by_account("puller");
    impersonating["googleArtifactRegistry"]["auth"]["impersonate"] = json!(GOOGLE_ACCOUNT);
    let key = json!({"secretRef": {"name": "google"}});
    assert_minted(
        &world,
        &[
            ("key", google(key.clone()), Service::GoogleToken, GOOGLE_HOST),
            ("gcr", gcr(key), Service::GoogleToken, "eu.gcr.io"),
            ("federated", google_by_account("puller"), Service::GoogleSts, GOOGLE_HOST),
            ("impersonating", impersonating, Service::IamCredentials, GOOGLE_HOST),
            ("metadata", google(json!({"operatorIdentity": {}})), Service::Metadata, GOOGLE_HOST),
            (
                "both",
                google(json!({"operatorIdentity": {}, "impersonate": GOOGLE_ACCOUNT})),
                Service::IamCredentials,
                GOOGLE_HOST,
            ),
        ],
    )
    .await
}

#[tokio::test]
async fn tokens_of_github_quay_and_digital_ocean_come_by_their_own_ways() -> Result<()> {
    let world = World::start().await?;
    // Both forms in which such keys are handed out.
    for (name, key) in [("pkcs1", world.cloud.rsa().pkcs1()), ("pkcs8", world.cloud.rsa().pkcs8())] {
        world.test.source(name, json!({"privateKey": key})).await?;
    }
    world.test.source("ocean-token", json!({"token": world.cloud.digital_ocean_token()})).await?;
    world.account("robot", json!({})).await?;
    let app = |source: &str| {
        let auth = json!({"appId": APP, "installationId": INSTALLATION, "secretRef": {"name": source}});
        off(json!({"provider": "GitHub", "gitHub": {"auth": auth}}))
    };
    let ocean = json!({"registry": DO_REGISTRY, "auth": {"secretRef": {"name": "ocean-token"}}});
    let ocean = off(json!({"provider": "DigitalOcean", "digitalOcean": ocean}));
    let _operator = world.operator()?.start().await?;
    assert_minted(
        &world,
        &[
            ("github", app("pkcs1"), Service::GitHub, "ghcr.io"),
            ("github-8", app("pkcs8"), Service::GitHub, "ghcr.io"),
            ("quay", quay("robot"), Service::Quay, "quay.io"),
            ("ocean", ocean, Service::DigitalOcean, "registry.digitalocean.com"),
        ],
    )
    .await?;
    // What was asked for can only pull.
    let asked = world.cloud.asked_of(Service::GitHub);
    let body: Value = serde_json::from_slice(&asked[0].request.body)?;
    assert_eq!(body["permissions"], json!({"packages": "read"}));
    Ok(())
}

/// With several registries, each has a way of its own.
#[tokio::test]
async fn one_secret_has_the_tokens_of_several_vendors() -> Result<()> {
    let world = World::with_aws().await?;
    world.azure_secret().await?;
    let key = &world.cloud.aws()?.puller;
    let data = json!({"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret});
    world.test.source("aws", data).await?;
    world.test.source("hub", json!({"username": "acme", "password": "a-static-password"})).await?;
    let _operator = world.operator()?.start().await?;
    let spec = json!({"registries": [
        ecr(json!({"secretRef": {"name": "aws"}})),
        acr_by_secret(),
        off(json!({"provider": "DockerHub", "secretRef": {"name": "hub"}})),
    ]});
    world.test.credential("all", spec).await?;
    world.test.wait_condition("all", "Refreshed", "True", "Refreshed").await?;
    world.test.wait_condition("all", "Ready", "True", "AllTargetsSynced").await?;
    let auths = super::auths(&world.test, &world.test.home.name, "all").await?;
    let password =
        |key: &str| auths.iter().find(|(found, ..)| found == key).map(|(.., password)| password.clone());
    let newest = |service| world.cloud.newest(service).map(|minted| minted.token);
    assert_eq!(password(ECR_HOST), newest(Service::Ecr));
    assert_eq!(password(ACR_HOST), newest(Service::Acr));
    assert_eq!(password("https://index.docker.io/v1/").as_deref(), Some("a-static-password"));
    assert_eq!(auths.len(), 3);
    world.assert_by_the_book();
    Ok(())
}

/// In place of an account that is not there, the role is that of the tests.
#[tokio::test]
async fn the_example_of_minted_tokens_gets_its_tokens() -> Result<()> {
    let world = World::with_aws().await?;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/minted-tokens.yaml");
    let example = std::fs::read_to_string(path)?.replace("role/ecr-pull", "role/puller");
    apply_yaml(&world.test.client, &example).await?;
    world.cloud.let_in("build", "ecr-puller");
    let home = &world.test.home.name;
    world.account("operator", json!({})).await?;
    let files = Workdir::new("claviger-identity-")?;
    let token = account_token(&world.test.client, home, "operator", "sts.amazonaws.com").await?;
    let file = files.write("token", token)?;
    let irsa = world.operator()?.env("AWS_ROLE_ARN", role("puller"));
    let _operator = irsa.env("AWS_WEB_IDENTITY_TOKEN_FILE", file.display().to_string()).start().await?;
    for namespace in ["build", "platform"] {
        wait_for(super::SOON, &format!("a token in {namespace}"), async || {
            let auths = auths(&world.test, namespace, "ecr").await.map_err(|error| error.to_string())?;
            let minted = matches!(&auths[..], [(key, user, token)] if key == ECR_HOST && user == "AWS" && !token.is_empty());
            if minted { Ok(()) } else { Err(world.told()) }
        })
        .await?;
    }
    Ok(())
}
