//! Whether a credential works, as its registry says.

mod closed;
mod enforce;
mod hostile;
mod load;
mod outcomes;
mod restart;
mod several;

use serde_json::{Value, json};

use kube::api::ListParams;

use crate::{
    checks::events,
    scenario::Scenario,
    support::{Result, pki::Authority},
};

const USER: &str = "acme";
const GOOD: &str = "the-good-password";
const BAD: &str = "a-wrong-password";

/// The certificate of an authority, as a Secret for `caSecretRef`.
async fn trust(test: &Scenario, authority: &Authority) -> Result<()> {
    test.source("registry-ca", json!({"ca.crt": authority.pem()})).await?;
    Ok(())
}

async fn login(test: &Scenario, name: &str, password: &str) -> Result<()> {
    test.source(name, json!({"username": USER, "password": password})).await?;
    Ok(())
}

/// A credential for a registry of one's own, with more about its verification.
fn spec(server: &str, source: &str, verification: Value) -> Value {
    json!({"provider": "Custom", "server": server, "secretRef": {"name": source}, "verification": verification})
}

/// Nothing of these stands in the status or the Events of a credential.
async fn assert_untold(test: &Scenario, texts: &[&str]) -> Result<()> {
    for object in test.credentials().list(&ListParams::default()).await? {
        let name = object.metadata.name.clone().unwrap_or_default();
        let told = format!("{} {:?}", serde_json::to_string(&object.status)?, events(test, &name).await?);
        for text in texts {
            assert!(!told.contains(text), "{text} stands in what is told of {name}: {told}");
        }
    }
    Ok(())
}
