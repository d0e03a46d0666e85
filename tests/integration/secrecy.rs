//! Values stand in the data of Secrets and nowhere else, however much is logged and whatever goes wrong.

mod hashes;
mod keys;
mod members;
mod registry;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    canary::{Canary, assert_absent, places},
    lab::Lab,
    scenario::Scenario,
    support::{Operator, Result},
};

/// All that there is, of every library: what is asked for after an incident.
pub const ALL: &str = "--log=trace";

/// An error when one of the values, or the operator's own token, stands where it should not.
pub async fn assert_secret(
    lab: &Lab,
    test: &Scenario,
    operator: &Operator,
    canaries: &[Canary],
) -> Result<()> {
    let logs = operator.logs();
    assert!(
        logs.contains("\"TRACE\"") && logs.contains("\"DEBUG\""),
        "little was logged, so little was shown"
    );
    let namespaces = Api::<Namespace>::all(test.client.clone()).list(&ListParams::default()).await?;
    let namespaces: Vec<String> = namespaces.iter().map(ResourceExt::name_any).collect();
    let mut places = places(&test.client, operator, &namespaces).await?;
    // Also what was asked for by a path or a query.
    let uris: String =
        lab.control_plane.audit_events()?.iter().map(|event| format!("{}\n", event.uri)).collect();
    places.push(("the audit log".to_owned(), uris));
    assert_absent(&places, &[Canary::new("the operator's own token", lab.token()?)])?;
    assert_absent(&places, canaries)
}

/// Makes a Secret, of any type, anew.
async fn replace(test: &Scenario, mut object: Value, name: &str) -> Result<Secret> {
    let secrets = test.secrets(&test.home.name);
    if secrets.get_opt(name).await?.is_some() {
        secrets.delete(name, &DeleteParams::default()).await?;
    }
    object["metadata"] = json!({"name": name});
    Ok(secrets.create(&PostParams::default(), &serde_json::from_value(object)?).await?)
}
