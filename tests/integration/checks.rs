//! What tests look at, and small things that they do, beyond what a scenario has.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    ByteString,
    api::{
        core::v1::{Namespace, Pod, Secret},
        events::v1::Event,
    },
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    canary::{Canary, assert_absent, places},
    scenario::Scenario,
    support::{Operator, Result, stays, wait::wait_for},
};

/// Marks that only Claviger puts on a Secret.
pub const MARKS: [&str; 4] =
    ["claviger.dev/owner", "claviger.dev/source", "claviger.dev/hub", "claviger.dev/revision"];

/// For what comes at once where nothing else is running.
pub const SOON: Duration = Duration::from_secs(60);

/// Longer than any pass over one credential takes.
const MOMENT: Duration = Duration::from_millis(1500);

/// A spec for `r.example.com`, into all namespaces of the test.
pub fn spec(test: &Scenario, source: &str) -> Value {
    json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": source}, "target": test.selector()})
}

/// A spec with another target than the test's selector.
pub fn spec_to(source: &str, target: Value) -> Value {
    json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": source}, "target": target})
}

/// A good source Secret with this password.
pub async fn good_source(test: &Scenario, name: &str, password: &str) -> Result<Secret> {
    test.source(name, json!({"username": "me", "password": password})).await
}

/// Makes or changes an object by a merge patch, as a person would.
pub async fn merge<K>(api: &Api<K>, name: &str, patch: Value) -> Result<K>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    Ok(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
}

/// A Secret that is not Claviger's.
pub async fn foreign(test: &Scenario, namespace: &str, name: &str) -> Result<Secret> {
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": name}, "stringData": {"theirs": "kept"}}))?;
    Ok(test.secrets(namespace).create(&PostParams::default(), &secret).await?)
}

pub async fn wait_copy(test: &Scenario, namespace: &str, name: &str) -> Result<Secret> {
    wait_copy_within(SOON, test, namespace, name).await
}

pub async fn wait_copy_within(
    limit: Duration,
    test: &Scenario,
    namespace: &str,
    name: &str,
) -> Result<Secret> {
    let secrets = test.secrets(namespace);
    wait_for(limit, &format!("the copy {namespace}/{name}"), async || match secrets.get_opt(name).await {
        Ok(Some(copy)) if copy.annotations().contains_key("claviger.dev/source") => Ok(copy),
        Ok(Some(other)) => Err(format!("a Secret that is not ours: {:?}", other.metadata.labels)),
        Ok(None) => Err("nothing".to_owned()),
        Err(error) => Err(error.to_string()),
    })
    .await
}

pub async fn wait_no_secret(test: &Scenario, namespace: &str, name: &str) -> Result<()> {
    let secrets = test.secrets(namespace);
    wait_for(SOON, &format!("{namespace}/{name} to be gone"), async || {
        secrets.get_opt(name).await.is_ok_and(|found| found.is_none())
    })
    .await
}

pub async fn wait_no_credential(test: &Scenario, name: &str) -> Result<()> {
    let credentials = test.credentials();
    let what = format!("credential {name} to be gone");
    let gone = wait_for(SOON, &what, async || match credentials.get_opt(name).await {
        Ok(None) => Ok(()),
        Ok(Some(left)) => Err(format!("{:?} {:?}", left.metadata.finalizers, left.status)),
        Err(error) => Err(error.to_string()),
    });
    test.home.explain(gone.await).await
}

/// Waits until a credential is stalled, or is not, for whatever reason.
pub async fn wait_stalled(test: &Scenario, name: &str, wanted: &str) -> Result<()> {
    wait_for(SOON, &format!("{name} to be Stalled={wanted}"), async || {
        let status = test.status(name).await.map_err(|error| error.to_string())?;
        let found = status.conditions.into_iter().find(|condition| condition.type_ == "Stalled");
        if found.as_ref().is_some_and(|c| c.status == wanted) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
}

/// uid, resourceVersion and data of a Secret: whether it was touched at all.
pub async fn exact(
    test: &Scenario,
    namespace: &str,
    name: &str,
) -> Result<(String, String, BTreeMap<String, ByteString>)> {
    let secret = test.secrets(namespace).get(name).await?;
    let version = secret.resource_version().unwrap_or_default();
    Ok((secret.uid().unwrap_or_default(), version, secret.data.unwrap_or_default()))
}

/// Exact states of a Secret of one name in several namespaces.
pub async fn exact_all(
    test: &Scenario,
    namespaces: &[String],
    name: &str,
) -> Result<Vec<(String, String, BTreeMap<String, ByteString>)>> {
    let mut all = Vec::new();
    for namespace in namespaces {
        all.push(exact(test, namespace, name).await?);
    }
    Ok(all)
}

/// Checks for a moment that a Secret stays as it is: what must not be written may be written a little later.
pub async fn stays_exact(
    test: &Scenario,
    namespace: &str,
    name: &str,
    before: &(String, String, BTreeMap<String, ByteString>),
) -> Result<()> {
    stays(MOMENT, &format!("Secret {namespace}/{name} as it was"), async || {
        let now = exact(test, namespace, name).await.map_err(|error| error.to_string())?;
        if now == *before { Ok(()) } else { Err(format!("resourceVersion {}, not {}", now.1, before.1)) }
    })
    .await
}

/// The same of a name that nobody has.
pub async fn stays_absent(test: &Scenario, namespace: &str, name: &str) -> Result<()> {
    let secrets = test.secrets(namespace);
    stays(MOMENT, &format!("no Secret {namespace}/{name}"), async || match secrets.get_opt(name).await {
        Ok(None) => Ok(()),
        Ok(Some(found)) => Err(format!("{:?}", found.metadata.annotations)),
        Err(error) => Err(error.to_string()),
    })
    .await
}

/// Deletes a credential without waiting for it to be gone.
pub async fn delete(test: &Scenario, name: &str) -> Result<()> {
    test.credentials().delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// Deletes a Pod for good: nothing here has a kubelet that would confirm it.
pub async fn delete_pod(test: &Scenario, namespace: &str, name: &str) -> Result<()> {
    let pods: Api<Pod> = test.pods(namespace);
    pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
    Ok(())
}

pub async fn label_namespace(test: &Scenario, name: &str, labels: Value) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(test.client.clone());
    merge(&namespaces, name, json!({"metadata": {"labels": labels}})).await?;
    Ok(())
}

/// The Events about one RegistryCredential, as reason and note.
pub async fn events(test: &Scenario, name: &str) -> Result<Vec<(String, String)>> {
    events_of(test, "RegistryCredential", name).await
}

/// The Events about one object of ours, as reason and note.
pub async fn events_of(test: &Scenario, kind: &str, name: &str) -> Result<Vec<(String, String)>> {
    let api: Api<Event> = Api::namespaced(test.client.clone(), &test.home.name);
    let mut events = api.list(&ListParams::default()).await?.items;
    events.retain(|event| {
        event
            .regarding
            .as_ref()
            .is_some_and(|about| about.name.as_deref() == Some(name) && about.kind.as_deref() == Some(kind))
    });
    events.sort_by_key(|event| event.event_time.clone());
    Ok(events
        .into_iter()
        .map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default()))
        .collect())
}

/// Waits until a credential has this many Events with a reason. They come after the status that they tell of.
pub async fn wait_events(test: &Scenario, name: &str, reason: &str, count: usize) -> Result<()> {
    wait_for(SOON, &format!("{count} Events {reason} about {name}"), async || {
        let found = count_events(test, name, reason).await.map_err(|error| error.to_string())?;
        if found == count { Ok(()) } else { Err(format!("{found}")) }
    })
    .await
}

/// Makes sure that the operator knows a source, the policy and all namespaces of the test: its watches come in any
/// order, and a credential that it sees first would be told of what seems to be missing.
pub async fn wait_known(test: &Scenario, source: &str) -> Result<()> {
    test.credential("known", spec(test, source)).await?;
    test.wait_ready("known", 1).await.map(drop)
}

/// How many Events with a reason a credential has.
pub async fn count_events(test: &Scenario, name: &str, reason: &str) -> Result<usize> {
    Ok(events(test, name).await?.into_iter().filter(|(found, _)| found == reason).count())
}

/// Checks that a value stands nowhere but in the data of Secrets: not in what the operator shows of itself, nor in
/// anything else in these namespaces.
pub async fn assert_hidden(
    test: &Scenario,
    operator: &Operator,
    namespaces: &[String],
    canary: &str,
) -> Result<()> {
    let all = [namespaces, std::slice::from_ref(&test.home.name)].concat();
    let places = places(&test.client, operator, &all).await?;
    assert_absent(&places, &[Canary::new("the value", canary)])
}

/// Whether what is generated from the code, or recorded, is to be written anew and not only compared.
pub fn writes_testdata() -> bool {
    std::env::var_os("CLAVIGER_WRITE_TESTDATA").is_some()
}
