//! `kubectl claviger references`: who uses the Secrets of a credential, as its status tells and as it is now.

use std::collections::BTreeSet;

use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DynamicObject, ListParams},
    core::{ApiResource, PartialObjectMeta},
};
use serde::Serialize;

use super::{
    connect::Cluster,
    credentials::{Credential, CredentialArgs},
    error::{PluginError, Right},
    news::{News, tell},
    output::{OutputArgs, table},
};
use crate::{
    api::{LABEL_OWNER, Reference},
    domain::{
        foreign_text::foreign_text,
        identity::CredentialId,
        pod_secrets::{PodSecrets, is_finished},
        schedule::{MAX_WORD, PLUGIN_REFERENCES},
        selection::LOCAL,
    },
};

/// Whose references.
#[derive(Clone, Debug, Args)]
pub struct ReferencesArgs {
    #[command(flatten)]
    credential: CredentialArgs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    credential: String,
    secret: String,
    /// What the status counts, over all clusters.
    total: i64,
    blocking: i64,
    items: Vec<Item>,
    /// How many more there are than are listed.
    omitted: usize,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Item {
    #[serde(flatten)]
    reference: Reference,
    /// Whether it was seen just now, and not only told by the status.
    live: bool,
}

pub(super) async fn run(
    args: &ReferencesArgs,
    cluster: &Cluster,
    output: OutputArgs,
) -> Result<News, PluginError> {
    let credential = Credential::find(cluster, &args.credential).await?;
    let told = credential.status().references.unwrap_or_default();
    let secret = credential.secret();
    let (pods, refused) = match pods(cluster, &credential, &secret).await {
        Ok(pods) => (Some(pods), None),
        Err(error) if error.is_forbidden() => (None, Some(error)),
        Err(error) => return Err(error),
    };
    // What was seen now is newer than the status.
    let is_known =
        |reference: &Reference| pods.is_some() && reference.cluster == LOCAL && reference.kind == "Pod";
    let others = told.items.iter().filter(|reference| !is_known(reference));
    let mut items: BTreeSet<Item> =
        others.map(|reference| Item { reference: cleaned(reference), live: false }).collect();
    items.extend(pods.into_iter().flatten().map(|reference| Item { reference, live: true }));
    let omitted = items.len().saturating_sub(PLUGIN_REFERENCES);
    let items = items.into_iter().take(PLUGIN_REFERENCES).collect();
    let title = credential.title();
    let answer =
        Answer { credential: title, secret, total: told.total, blocking: told.blocking, items, omitted };
    output.write(&answer, || in_words(&answer))?;
    refused.map_or(Ok(News::Good), Err)
}

fn cleaned(reference: &Reference) -> Reference {
    let Reference { cluster, kind, namespace, name, field } = reference;
    Reference {
        cluster: foreign_text(cluster, 253),
        kind: foreign_text(kind, MAX_WORD),
        namespace: foreign_text(namespace, MAX_WORD),
        name: foreign_text(name, 253),
        field: foreign_text(field, 253),
    }
}

/// Pods of this cluster that name the Secret now, in the namespaces that have a copy.
async fn pods(
    cluster: &Cluster,
    credential: &Credential,
    secret: &str,
) -> Result<Vec<Reference>, PluginError> {
    let places = copies(cluster, credential, secret).await?;
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
    let api = Api::<DynamicObject>::all_with(cluster.client.clone(), &resource);
    let right = Right::new("list", "pods", None);
    let mut found = Vec::new();
    let visit = |mut pod: DynamicObject| {
        let namespace = pod.metadata.namespace.unwrap_or_default();
        let phase = pod.data.pointer("/status/phase").and_then(|phase| phase.as_str());
        if !places.contains(&namespace) || is_finished(phase, pod.metadata.deletion_timestamp.is_some()) {
            return;
        }
        let spec = pod.data.get_mut("spec").and_then(|spec| serde_json::from_value(spec.take()).ok());
        let spec: PodSecrets = spec.unwrap_or_default();
        let mut field = None;
        spec.visit(|named, place| field = field.or((named == secret).then_some(place)));
        found.extend(field.map(|field| Reference {
            cluster: LOCAL.to_owned(),
            kind: "Pod".to_owned(),
            namespace,
            name: pod.metadata.name.unwrap_or_default(),
            field: field.to_owned(),
        }));
    };
    let fetch = async |params: ListParams| api.list(&params).await;
    cluster.pages(&right, ListParams::default(), fetch, visit).await?;
    Ok(found)
}

/// The namespaces of this cluster that have a copy.
async fn copies(
    cluster: &Cluster,
    credential: &Credential,
    secret: &str,
) -> Result<BTreeSet<String>, PluginError> {
    let id = CredentialId {
        kind: credential.kind,
        namespace: credential.namespace().into(),
        name: credential.name().into(),
    };
    let api = Api::<Secret>::all(cluster.client.clone());
    let right = Right::new("list", "secrets", None);
    let params = ListParams::default().labels(&format!("{LABEL_OWNER}={}", id.owner()));
    let mut places = BTreeSet::new();
    let visit = |PartialObjectMeta { metadata, .. }: PartialObjectMeta<Secret>| {
        places.extend(metadata.namespace.filter(|_| metadata.name.as_deref() == Some(secret)));
    };
    // Without their values.
    cluster.pages(&right, params, async |params: ListParams| api.list_metadata(&params).await, visit).await?;
    Ok(places)
}

fn in_words(answer: &Answer) -> String {
    let Answer { credential, secret, total, blocking, items, omitted } = answer;
    let mut text = format!(
        "{credential}, Secret {secret}: {total} users in all clusters by its status, of which {blocking} hold back a deletion\n"
    );
    if items.is_empty() {
        return text;
    }
    let row = |Item { reference, live }: &Item| {
        let Reference { cluster, kind, namespace, name, field } = reference;
        let seen = if *live { "now" } else { "by status" };
        [cluster, kind, namespace, name, field]
            .map(Clone::clone)
            .into_iter()
            .chain([seen.to_owned()])
            .collect()
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    text += &table(&["CLUSTER", "KIND", "NAMESPACE", "NAME", "FIELD", "SEEN"], &rows);
    if *omitted > 0 {
        tell(&format!("and {omitted} more"));
    }
    text
}
