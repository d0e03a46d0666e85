//! A status that another hand has written, a person's or a former leader's, is put right though nothing else
//! changes.

use std::time::Duration;

use claviger::api::{BasicAuthCredential, RegistryCredential};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    basic_auth,
    checks::{good_source, spec},
    member::Hub,
    scenario::Scenario,
    support::{Error, Result, wait_for},
};

/// A status is written at most about once a second.
const SECONDS: Duration = Duration::from_secs(10);

/// The status of an object, but for times: whether a condition that was turned and turned back keeps its time is
/// not the matter here.
async fn status<K>(api: &Api<K>, name: &str) -> Result<Value>
where
    K: Resource + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    fn without_times(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|key, _| !key.ends_with("Time"));
                fields.values_mut().for_each(without_times);
            }
            Value::Array(items) => items.iter_mut().for_each(without_times),
            _ => {}
        }
    }
    let mut status = serde_json::to_value(api.get(name).await?)?["status"].take();
    without_times(&mut status);
    Ok(status)
}

/// The status once it has stayed the same for longer than one is held back.
async fn settled<K>(api: &Api<K>, name: &str) -> Result<Value>
where
    K: Resource + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let mut before = status(api, name).await?;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let now = status(api, name).await?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
    Err(Error::new(format!("the status of {name} does not come to rest: {before}")))
}

/// Has another hand write each of these, and waits until the status is as it was.
async fn write_all<K>(api: &Api<K>, name: &str, writings: &[(&str, Value)]) -> Result<()>
where
    K: Resource + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let good = settled(api, name).await?;
    for (what, writing) in writings {
        let patch = Patch::Merge(json!({"status": writing}));
        let written = api.patch_status(name, &PatchParams::default(), &patch).await?;
        let what = format!("the status of {name} to be put right after {what}");
        wait_for(SECONDS, &what, async || {
            let seen = api.get(name).await?;
            if seen.resource_version() == written.resource_version() {
                return Err(Error::new("nobody has written it"));
            }
            let now = status(api, name).await?;
            if now == good { Ok(()) } else { Err(Error::new(now.to_string())) }
        })
        .await?;
    }
    Ok(())
}

/// One of our conditions turned, and one that nobody knows.
fn conditions(type_: &str, status: &str) -> Value {
    let condition = |type_: &str| {
        json!({
            "type": type_, "status": status, "reason": "ByHand", "message": "by hand",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        })
    };
    json!({"conditions": [condition(type_), condition("Bogus")]})
}

/// What is put right in every credential.
fn writings() -> Vec<(&'static str, Value)> {
    let row = |name: &str, state: &str| json!({"name": name, "state": state, "namespaces": {"desired": 9, "synced": 1, "failed": 8}});
    vec![
        ("bogus conditions", conditions("Ready", "False")),
        ("wrong counts", json!({"clusters": [row("local", "Error")]})),
        ("a row too many", json!({"clusters": [row("local", "Synced"), row("nowhere", "Error")]})),
        ("no row", json!({"clusters": null})),
        ("a wrong sum", json!({"summary": {"namespaces": "7/9", "clusters": "1/3"}})),
        ("users that are not there", json!({"references": {"total": 3, "blocking": 3}})),
        ("another generation", json!({"observedGeneration": 77})),
    ]
}

#[tokio::test]
async fn the_status_of_a_credential_is_put_right() -> Result<()> {
    let test = Scenario::shared().await?;
    let (client, home) = (&test.client, &test.home.name);
    test.policy().await?;
    test.targets(2).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    let basic = json!({"format": "Htpasswd", "secretRef": {"name": "src"}});
    basic_auth::apply(client, home, "web", basic).await?;
    test.wait_ready("reg", 1).await?;
    basic_auth::wait_ready(client, home, "web", 1).await?;
    let api: Api<RegistryCredential> = test.credentials();
    let more = [("another registry", json!({"registry": {"endpoint": "evil.example.com", "key": "evil"}}))];
    write_all(&api, "reg", &[writings(), more.to_vec()].concat()).await?;
    let api: Api<BasicAuthCredential> = Api::namespaced(client.clone(), home);
    write_all(&api, "web", &writings()).await?;
    // Nothing is written to copies for it.
    assert_eq!(status(&api, "web").await?["revision"], 1);
    Ok(())
}

#[tokio::test]
async fn the_status_of_a_credential_that_is_taken_away_comes_again() -> Result<()> {
    let test = Scenario::shared().await?;
    good_source(&test, "src", "the-password").await?;
    let spec = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
    test.credential("reg", spec).await?;
    test.wait_ready("reg", 1).await?;
    write_all(&test.credentials(), "reg", &[("its loss", Value::Null)]).await
}

#[tokio::test]
async fn what_blocks_a_deletion_cannot_be_talked_away() -> Result<()> {
    let test = Scenario::shared().await?;
    let home = &test.home.name;
    good_source(&test, "src", "the-password").await?;
    let spec = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
    test.credential("reg", spec).await?;
    test.wait_ready("reg", 1).await?;
    test.pod(home, "app", "reg").await?;
    test.credentials().delete("reg", &DeleteParams::default()).await?;
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    let talk = [
        ("users talked away", json!({"references": {"total": 0, "blocking": 0, "items": null}})),
        ("a deletion that is not blocked", conditions("DeletionBlocked", "False")),
    ];
    write_all(&test.credentials(), "reg", &talk).await?;
    assert!(test.secrets(home).get_opt("reg").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn the_status_of_a_member_is_put_right() -> Result<()> {
    let desk = Hub::shared().await?.desk().await?;
    desk.member("by-many-hands", json!({})).await?;
    desk.wait("by-many-hands", "Ready", "False", "KubeconfigMissing").await?;
    desk.wait("by-many-hands", "Reconciling", "True", "KubeconfigMissing").await?;
    let writings = [
        ("bogus conditions", conditions("Ready", "True")),
        ("another generation", json!({"observedGeneration": 77})),
        ("its loss", Value::Null),
    ];
    write_all(&desk.members(), "by-many-hands", &writings).await?;
    desk.delete("by-many-hands").await?;
    desk.wait_gone("by-many-hands").await
}
