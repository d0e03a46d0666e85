//! Several registries in one credential, and how a login is verified.

use serde_json::{Value, json};

use super::{ACCEPTED, Case, custom, registry_credential};
use crate::support::Result;

fn entry(more: Value) -> Value {
    let mut entry =
        json!({"provider": "Custom", "server": "registry.example.com", "secretRef": {"name": "src"}});
    json_patch::merge(&mut entry, &more);
    entry
}

#[tokio::test]
async fn registries_are_one_or_several() -> Result<()> {
    const EITHER: &[&str] = &["give either `provider` and the fields of a single registry, or `registries`"];
    const SINGLE: &[&str] = &["may not be given with the fields of a single registry"];
    let several = |entries: Vec<Value>| json!({"registries": entries});
    let quay = json!({"provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "quay"}});
    let cases: Vec<Case<'_>> = vec![
        ("one", several(vec![entry(json!({}))]), ACCEPTED),
        ("two", several(vec![entry(json!({})), quay.clone()]), ACCEPTED),
        ("as many as there may be", several(vec![entry(json!({})); 32]), ACCEPTED),
        ("more", several(vec![entry(json!({})); 33]), &["spec.registries", "must have at most 32"]),
        ("none", several(Vec::new()), &["spec.registries", "at least 1"]),
        ("nothing at all", json!({}), EITHER),
        (
            "a single one, too",
            json!({"registries": [entry(json!({}))], "provider": "GitHub", "secretRef": {"name": "s"}}),
            EITHER,
        ),
        ("a Secret for all", json!({"registries": [entry(json!({}))], "secretRef": {"name": "s"}}), SINGLE),
        ("a scope for all", json!({"registries": [entry(json!({}))], "keyScope": "Path"}), SINGLE),
        ("a user for all", json!({"registries": [entry(json!({}))], "username": "me"}), SINGLE),
        (
            "one without a provider",
            several(vec![entry(json!({"provider": null}))]),
            &["spec.registries[0].provider", "Required"],
        ),
        (
            "one without a Secret",
            several(vec![entry(json!({"secretRef": null}))]),
            &["spec.registries[0].secretRef", "`secretRef` is required"],
        ),
        (
            "one without its server",
            several(vec![entry(json!({})), entry(json!({"server": null}))]),
            &["spec.registries[1].server", "`server` is required"],
        ),
        (
            "one with another's block",
            several(vec![entry(json!({"quay": {"namespace": "acme"}}))]),
            &["spec.registries[0].quay", "only be given with provider Quay"],
        ),
        (
            "one with an odd robot",
            several(vec![{
                let mut robot = quay.clone();
                robot["username"] = json!("other+ci");
                robot
            }]),
            &["spec.registries[0].username", "must be a robot of the namespace"],
        ),
        ("provider without a Secret", json!({"provider": "GitHub"}), &["`secretRef` is required"]),
    ];
    registry_credential(json!({})).check(&cases).await
}

#[tokio::test]
async fn a_verification_has_a_mode_an_interval_and_a_repository() -> Result<()> {
    const INTERVAL: &[&str] = &["spec.verification.interval", "must be a duration from 1h to 168h"];
    const REPOSITORY: &[&str] = &["spec.verification.repository", "must be a repository as name[:tag]"];
    let with = |field: &str, value: Value| json!({"verification": {field: value}});
    let cases: Vec<Case<'_>> = vec![
        ("nothing", json!({"verification": {}}), ACCEPTED),
        ("Enforce", with("mode", json!("Enforce")), ACCEPTED),
        ("Off", with("mode", json!("Off")), ACCEPTED),
        ("another mode", with("mode", json!("Strict")), &["spec.verification.mode", "Unsupported value"]),
        ("an hour", with("interval", json!("1h")), ACCEPTED),
        ("an hour and a half", with("interval", json!("1h30m")), ACCEPTED),
        ("a week", with("interval", json!("168h")), ACCEPTED),
        ("in seconds", with("interval", json!("7200s")), ACCEPTED),
        ("too short", with("interval", json!("59m59s")), INTERVAL),
        ("too long", with("interval", json!("168h1s")), INTERVAL),
        ("in days", with("interval", json!("2d")), INTERVAL),
        ("in odd order", with("interval", json!("30m1h")), INTERVAL),
        ("twice", with("interval", json!("1h1h")), INTERVAL),
        ("without a unit", with("interval", json!("3600")), INTERVAL),
        ("negative", with("interval", json!("-2h")), INTERVAL),
        ("a repository", with("repository", json!("team/app")), ACCEPTED),
        ("with a tag", with("repository", json!("team/app:v1.2_3")), ACCEPTED),
        ("with a host", with("repository", json!("registry.example.com:5000/team/app")), REPOSITORY),
        ("in capitals", with("repository", json!("Team/app")), REPOSITORY),
        ("with a query", with("repository", json!("team/app?x")), REPOSITORY),
        ("that climbs", with("repository", json!("../app")), REPOSITORY),
        ("an authority", with("caSecretRef", json!({"name": "ca", "key": "root.pem"})), ACCEPTED),
        (
            "an authority elsewhere",
            with("caSecretRef", json!({"name": "ca", "namespace": "other"})),
            &["unknown field", "caSecretRef.namespace"],
        ),
        ("an odd name", with("caSecretRef", json!({"name": "CA"})), &["must be a valid Secret name"]),
        (
            "in an entry",
            json!({"provider": null, "server": null, "secretRef": null,
            "registries": [entry(json!({"verification": {"interval": "1m"}}))]}),
            &["spec.registries[0].verification.interval"],
        ),
    ];
    custom().check(&cases).await
}
