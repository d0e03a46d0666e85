//! What the API server accepts and refuses of our kinds, and the sentence that a person gets. By dry runs
//! against the real one: it alone knows what it makes of a schema.

mod kinds;
mod login;
mod member;
mod minted;
mod object_storage;
mod policy;
mod ratchet;
mod registries;
mod registry;
mod shape;
pub mod target;
mod tls;

use kube::Client;
use serde_json::{Value, json};

use crate::support::{self, ControlPlane, Error, Result};

/// What is tried, what is changed in an object that would be accepted, and what the refusal must say: nothing
/// of it, when the object must be accepted.
type Case<'a> = (&'a str, Value, &'a [&'a str]);

/// The object must be accepted.
const ACCEPTED: &[&str] = &[];

/// A kind, with a spec that the API server accepts as it stands.
struct Subject {
    kind: &'static str,
    path: &'static str,
    spec: Value,
}

fn registry_credential(spec: Value) -> Subject {
    Subject {
        kind: "RegistryCredential",
        path: "/apis/claviger.dev/v1alpha1/namespaces/default/registrycredentials",
        spec,
    }
}

/// At a registry of nobody that we know of.
fn custom() -> Subject {
    registry_credential(
        json!({"provider": "Custom", "server": "registry.example.com", "secretRef": {"name": "src"}}),
    )
}

impl Subject {
    /// Tries every case, and names all that went otherwise.
    async fn check(&self, cases: &[Case<'_>]) -> Result<()> {
        let client = client().await?;
        let mut wrong = Vec::new();
        for (what, change, expected) in cases {
            let mut spec = self.spec.clone();
            json_patch::merge(&mut spec, change);
            let offline = claviger::cli::plugin::manifest_errors(
                &self.object(json!({"name": "dry-run"}), spec.clone()),
            );
            let answer = self.dry_run(&client, json!({"name": "dry-run"}), spec).await;
            // `kubectl claviger verify` says the same without a server.
            if answer.is_ok() != offline.is_empty() {
                wrong.push(format!("{what}: accepted is {}, and offline: {offline:?}", answer.is_ok()));
            }
            match (answer, *expected) {
                (Ok(_), []) => {}
                (Ok(_), parts) => wrong.push(format!("{what}: accepted, not refused with {parts:?}")),
                (Err(Refusal(message)), []) => wrong.push(format!("{what}: refused: {message}")),
                (Err(Refusal(message)), parts) => {
                    let missing: Vec<_> = parts.iter().filter(|part| !message.contains(**part)).collect();
                    if !missing.is_empty() {
                        wrong.push(format!("{what}: lacks {missing:?}: {message}"));
                    }
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(Error::new(format!("\n{}", wrong.join("\n")))) }
    }

    fn object(&self, metadata: Value, spec: Value) -> Value {
        json!({"apiVersion": "claviger.dev/v1alpha1", "kind": self.kind, "metadata": metadata, "spec": spec})
    }

    /// As `kubectl create --dry-run=server --validate=strict`.
    async fn dry_run(&self, client: &Client, metadata: Value, spec: Value) -> Result<Value, Refusal> {
        create(client, self, "dryRun=All&fieldValidation=Strict", metadata, spec).await
    }
}

/// Why an object was refused, in the server's words.
struct Refusal(String);

async fn create(
    client: &Client,
    subject: &Subject,
    query: &str,
    metadata: Value,
    spec: Value,
) -> Result<Value, Refusal> {
    let object = subject.object(metadata, spec);
    let request = http::Request::post(format!("{}?{query}", subject.path))
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())
        .map_err(|error| Refusal(error.to_string()))?;
    client.request(request).await.map_err(|error| match error {
        kube::Error::Api(status) => Refusal(status.message.clone()),
        other => Refusal(other.to_string()),
    })
}

/// A client of a server that has our definitions.
async fn client() -> Result<Client> {
    let client = ControlPlane::shared().await?.client().await?;
    support::environment::prepare(&client).await?;
    Ok(client)
}
