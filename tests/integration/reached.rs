//! Whether a status speaks of all namespaces that the API server has by now: the operator's watches come in any
//! order, so that a credential may be ready before a namespace is known that was made first.

use std::collections::BTreeMap;

use claviger::api::{CredentialStatus, LabelSelector, Target};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::support::Result;

const OPT_OUT: &str = "claviger.dev/opt-out";

/// An error, with both numbers, while the row of the local cluster tells of fewer or more namespaces than it should.
pub async fn reached(
    client: &Client,
    home: &str,
    target: &Target,
    status: &CredentialStatus,
) -> Result<(), String> {
    let here = target.clusters.as_ref().is_none_or(|clusters| {
        clusters.names.iter().any(|name| ["local", "in-cluster"].contains(&name.as_str()))
            || clusters.selector.as_ref().is_some_and(|selector| *selector == LabelSelector::default())
    });
    let row = status.clusters.iter().find(|row| row.name == "local");
    let Some(row) = row.filter(|_| here) else { return Ok(()) };
    let Some(meant) = meant(client, home, target).await.map_err(|error| error.to_string())? else {
        return Ok(());
    };
    if row.namespaces.desired == meant {
        return Ok(());
    }
    Err(format!("{} of {meant} namespaces are known", row.namespaces.desired))
}

/// How many namespaces a target means; `None` where more than names and equal labels would have to be judged.
async fn meant(client: &Client, home: &str, target: &Target) -> Result<Option<i64>> {
    let Some(namespaces) = &target.namespaces else { return Ok(Some(1)) };
    let labels = match &namespaces.selector {
        None => None,
        Some(selector) if selector.match_expressions.is_empty() && !selector.match_labels.is_empty() => {
            Some(&selector.match_labels)
        }
        Some(_) => return Ok(None),
    };
    let all = Api::<Namespace>::all(client.clone()).list(&ListParams::default()).await?;
    let is_meant = |namespace: &&Namespace| {
        let name = namespace.name_any();
        let wanted = namespaces.names.contains(&name)
            || labels.is_some_and(|labels| includes(namespace.labels(), labels));
        let out = namespace.labels().get(OPT_OUT).is_some_and(|value| value == "true") && name != home;
        let going = namespace.metadata.deletion_timestamp.is_some();
        wanted && !namespaces.exclude.contains(&name) && !out && !going
    };
    Ok(Some(i64::try_from(all.iter().filter(is_meant).count())?))
}

fn includes(all: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| all.get(key) == Some(value))
}
