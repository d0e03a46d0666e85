//! Passwords of users, and the hashes that are made of them.

use claviger::api::BasicAuthCredential;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

use super::{ALL, assert_secret, replace};
use crate::{
    basic_auth::{apply, data, team, wait_condition, wait_ready},
    canary::Canary,
    checks::{foreign, merge},
    lab::Lab,
    scenario::Scenario,
    support::{Result, random_name, wait::DEADLINE, wait_for},
};

/// Each format and hash; the first one keeps the password as it is.
const CREDENTIALS: [(&str, &str, Option<&str>); 7] = [
    ("plain", "BasicAuth", None),
    ("bcrypt", "Htpasswd", None),
    ("sha1", "Htpasswd", Some("Sha1")),
    ("sha512", "Htpasswd", Some("Sha512Crypt")),
    ("map", "HtpasswdMap", Some("Sha512Crypt")),
    ("nginx", "NginxOrg", None),
    ("envoy", "EnvoyGateway", None),
];

/// The hashes in the copies of all credentials but the first.
async fn hashes(test: &Scenario, namespace: &str) -> Result<Vec<Canary>> {
    let mut found = Vec::new();
    for (name, ..) in &CREDENTIALS[1..] {
        let secret = test.secrets(namespace).get(name).await?;
        for (key, value) in data(&test.client, namespace, name).await? {
            for line in value.lines() {
                let hash = line.rsplit_once(':').map_or(line, |(_, hash)| hash);
                let canary = Canary::new(format!("a hash in {key} of {name}"), hash);
                canary.assert_seen(&secret);
                found.push(canary);
            }
        }
    }
    assert!(found.len() >= 2 * CREDENTIALS[1..].len(), "only {} hashes", found.len());
    Ok(found)
}

#[tokio::test]
async fn passwords_of_users_and_their_hashes_are_nowhere_but_in_the_data_of_secrets() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    let (client, home) = (&test.client, &test.home.name);
    test.policy().await?;
    let targets = test.targets(2).await?;
    let operator = lab.operator()?.arg(ALL).start().await?;
    let values: Vec<String> = (0..5).map(|n| random_name(&format!("canary{n}"))).collect();
    let mut canaries: Vec<Canary> =
        values.iter().enumerate().map(|(n, value)| Canary::new(format!("value {n}"), value)).collect();

    test.source("team", json!({"alice": values[0], "bob": values[1]})).await?;
    for (name, format, hash) in CREDENTIALS {
        let mut spec = json!({"format": format, "target": test.selector()});
        if format == "BasicAuth" {
            spec["username"] = json!("alice");
            spec["secretRef"] = json!({"name": "team", "passwordKey": "alice"});
        } else {
            spec["users"] = team(&["alice", "bob"]);
        }
        if let Some(hash) = hash {
            spec["hash"] = json!(hash);
        }
        apply(client, home, name, spec).await?;
        wait_ready(client, home, name, 1).await?;
    }
    canaries[0].assert_seen(&test.secrets(&targets[0]).get("plain").await?);
    canaries.extend(hashes(&test, &targets[0]).await?);

    // A new password; a copy that was edited; a name that is taken.
    test.source("team", json!({"alice": values[2], "bob": values[1]})).await?;
    for (name, ..) in CREDENTIALS {
        wait_ready(client, home, name, 2).await?;
    }
    canaries.extend(hashes(&test, &targets[0]).await?);
    for name in ["plain", "bcrypt"] {
        merge(&test.secrets(&targets[1]), name, json!({"stringData": {"stray": values[3]}})).await?;
        wait_for(DEADLINE, "the copy to be put right", async || {
            test.secrets(&targets[1])
                .get(name)
                .await
                .is_ok_and(|copy| copy.data.is_some_and(|data| !data.contains_key("stray")))
        })
        .await?;
    }
    foreign(&test, &targets[0], "taken").await?;
    let taken = json!({"format": "Htpasswd", "users": team(&["alice"]), "target": test.selector()});
    apply(client, home, "taken", taken).await?;
    wait_condition(client, home, "taken", |_, condition| condition == "Ready=False (PartiallySynced)")
        .await?;

    // Passwords that cannot be used.
    let mut bytes = vec![0xff];
    bytes.extend(values[4].as_bytes());
    for broken in [
        json!({"data": {"alice": k8s_openapi::ByteString(bytes)}}),
        json!({"stringData": {"alice": format!("{}{}", values[4], "x".repeat(20_000))}}),
        json!({"stringData": {"alice": format!("{}\n\n", values[4])}}),
        json!({"type": "example.com/other", "stringData": {"alice": values[4]}}),
    ] {
        canaries[4].assert_seen(&replace(&test, broken, "team").await?);
        wait_condition(client, home, "bcrypt", |_, condition| {
            condition.starts_with("SourceResolved=False") && !condition.contains("SecretNotFound")
        })
        .await?;
    }
    assert_secret(&lab, &test, &operator, &canaries).await?;

    let credentials: Api<BasicAuthCredential> = Api::namespaced(client.clone(), home);
    credentials.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    wait_for(DEADLINE, "the credentials to be gone", async || {
        credentials.list(&ListParams::default()).await.is_ok_and(|left| left.items.is_empty())
    })
    .await?;
    assert_secret(&lab, &test, &operator, &canaries).await
}
