//! ObjectStorageCredential: what clients read from its Secrets, and what servers say of its access key.

mod closed;
mod enforce;
mod formats;
mod hostile;
mod outcomes;
mod restart;
mod secrecy;

use std::time::Duration;

use claviger::api::{CredentialStatus, ObjectStorageCredential};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    basic_auth::data,
    canary::{Canary, assert_absent, places},
    checks::{events_of, merge},
    reached::reached,
    scenario::Scenario,
    support::{
        Operator, Result,
        pki::Authority,
        registry::{Answer, FaultyRegistry},
        s3::{Key, REGION, Versitygw},
        wait_for,
    },
};

/// For all that a try takes, with an answer that never comes.
const DEADLINE: Duration = Duration::from_secs(90);

const CA: &str = "storage-ca";

/// A server with one bucket.
struct Storage {
    server: Versitygw,
    authority: Authority,
    owner: Key,
    bucket: String,
}

impl Storage {
    async fn start() -> Result<Self> {
        let authority = Authority::new("storage")?;
        let server = Versitygw::start(&authority).await?;
        let owner = server.user().await?;
        let bucket = server.bucket(&owner).await?;
        Ok(Self { server, authority, owner, bucket })
    }

    /// Its authority, as a Secret for `caSecretRef`.
    async fn trust(&self, test: &Scenario) -> Result<()> {
        test.source(CA, json!({"ca.crt": self.authority.pem()})).await.map(drop)
    }

    /// A credential for the bucket, with other fields, or other values of these.
    fn spec(&self, source: &str, more: Value) -> Value {
        let usual = json!({
            "bucket": self.bucket, "region": REGION, "endpoint": self.server.endpoint(),
            "secretRef": {"name": source}, "caSecretRef": {"name": CA}, "format": "Env",
        });
        with(usual, more)
    }
}

/// A credential for a bucket at a server that does what a test says, without TLS.
fn faulty(server: &FaultyRegistry, source: &str, mode: &str) -> Value {
    at(&server.url(), source, mode)
}

/// A credential for a bucket at any endpoint.
fn at(endpoint: &str, source: &str, mode: &str) -> Value {
    json!({
        "bucket": "photos", "region": REGION, "endpoint": endpoint, "secretRef": {"name": source},
        "format": "Env", "verification": {"mode": mode},
    })
}

/// A spec with these fields, also in the place of others.
fn with(mut spec: Value, more: Value) -> Value {
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field.as_str()] = value.clone();
    }
    spec
}

/// A refusal, as S3 writes it.
fn refusal(status: u16, code: &str, more: &str) -> Answer {
    let body =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>{more}</Error>");
    Answer::status(status).header("content-type", "application/xml").body(body)
}

fn api(test: &Scenario) -> Api<ObjectStorageCredential> {
    Api::namespaced(test.client.clone(), &test.home.name)
}

async fn credential(test: &Scenario, name: &str, spec: Value) -> Result<()> {
    let object = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "ObjectStorageCredential", "metadata": {"name": name},
        "spec": spec,
    });
    api(test).patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await?;
    Ok(())
}

/// The Secret that an access key comes from, with the usual keys.
async fn source(test: &Scenario, name: &str, key: &Key) -> Result<()> {
    let data = json!({"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret});
    test.source(name, data).await.map(drop)
}

async fn status(test: &Scenario, name: &str) -> Result<CredentialStatus> {
    Ok(api(test).get(name).await?.status.map(|status| status.common).unwrap_or_default())
}

/// Waits until a condition reads `Type=Status (Reason)`, with these words in its message; the message.
async fn wait_told(test: &Scenario, name: &str, wanted: &str, words: &[&str]) -> Result<String> {
    let what = format!("{name} to be {wanted}, with {words:?}");
    let told = wait_for(DEADLINE, &what, async || {
        let object = api(test).get(name).await.map_err(|error| error.to_string())?;
        let conditions = object.status.map(|status| status.common.conditions).unwrap_or_default();
        let found = conditions.iter().find(|c| {
            c.observed_generation == object.metadata.generation
                && format!("{}={} ({})", c.type_, c.status, c.reason) == wanted
                && words.iter().all(|word| c.message.contains(word))
        });
        found.map(|condition| condition.message.clone()).ok_or_else(|| {
            let told =
                conditions.iter().map(|c| format!("{}={} ({}): {}", c.type_, c.status, c.reason, c.message));
            told.collect::<Vec<_>>().join("\n")
        })
    });
    test.home.explain(told.await).await
}

/// Waits until a credential is ready, at a revision, in every namespace that it means by now.
async fn wait_ready(test: &Scenario, name: &str, revision: i64) -> Result<CredentialStatus> {
    let what = format!("{name} to be ready at revision {revision}");
    let ready = wait_for(DEADLINE, &what, async || {
        let object = api(test).get(name).await.map_err(|error| error.to_string())?;
        let status = object.status.map(|status| status.common).unwrap_or_default();
        let ready = status.conditions.iter().any(|c| {
            c.type_ == "Ready" && c.status == "True" && c.observed_generation == object.metadata.generation
        });
        if !ready || status.revision != Some(revision) {
            return Err(format!("{status:?}"));
        }
        reached(&test.client, &test.home.name, &object.spec.target, &status).await.map(|()| status)
    });
    test.home.explain(ready.await).await
}

/// The secret in a copy of format Env, if it is there.
async fn secret_in(test: &Scenario, namespace: &str, name: &str) -> Result<Option<String>> {
    if test.secrets(namespace).get_opt(name).await?.is_none() {
        return Ok(None);
    }
    Ok(data(&test.client, namespace, name).await?.remove("AWS_SECRET_ACCESS_KEY"))
}

/// Waits until a copy of format Env has the secret of this key.
async fn wait_secret(test: &Scenario, namespace: &str, name: &str, key: &Key) -> Result<()> {
    wait_for(DEADLINE, &format!("the secret in {namespace}/{name}"), async || {
        let found = secret_in(test, namespace, name).await.map_err(|error| error.to_string())?;
        if found.as_ref() == Some(&key.secret) {
            Ok(())
        } else {
            Err(format!("{:?}", found.map(|it| it.len())))
        }
    })
    .await
}

/// Asks for a sync, as a person would.
async fn sync(test: &Scenario, name: &str) -> Result<()> {
    let asked = json!({"metadata": {"annotations": {"claviger.dev/sync-requested-at": "now"}}});
    merge(&api(test), name, asked).await.map(drop)
}

/// How many Events with a reason a credential has.
async fn count_events(test: &Scenario, name: &str, reason: &str) -> Result<usize> {
    let events = events_of(test, "ObjectStorageCredential", name).await?;
    Ok(events.into_iter().filter(|(found, _)| found == reason).count())
}

/// Waits until a credential has one Event with a reason. It comes after the status that it tells of.
async fn wait_event(test: &Scenario, name: &str, reason: &str) -> Result<()> {
    wait_for(DEADLINE, &format!("the Event {reason} about {name}"), async || {
        let found = count_events(test, name, reason).await.map_err(|error| error.to_string())?;
        if found == 1 { Ok(()) } else { Err(format!("{found}")) }
    })
    .await
}

/// Nothing of these stands in what an operator shows of itself, nor in what it writes but the data of Secrets.
async fn assert_untold(test: &Scenario, operator: &Operator, texts: &[&str]) -> Result<()> {
    let places = places(&test.client, operator, std::slice::from_ref(&test.home.name)).await?;
    let canaries: Vec<Canary> =
        texts.iter().map(|text| Canary::new("what is not to be told", text)).collect();
    assert_absent(&places, &canaries)
}
