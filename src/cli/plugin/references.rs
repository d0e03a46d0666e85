//! `kubectl claviger references`: who uses the Secrets of a credential, as it is now, and as its status tells.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use kube::Api;
use serde::Serialize;

use super::{
    connect::{Cluster, ConnectionArgs},
    credentials::{Credential, CredentialArgs},
    error::{PluginError, Right},
    news::{News, tell},
    output::{OutputArgs, table},
    users::Users,
};
use crate::{
    api::{MemberCluster, Reference},
    domain::{
        counted::counted,
        foreign_text::foreign_text,
        schedule::{MAX_MESSAGE, MAX_WORD, PLUGIN_REFERENCES},
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
    clusters: Vec<Asked>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Item {
    #[serde(flatten)]
    reference: Reference,
    /// Whether it was seen just now, and not only told by the status.
    live: bool,
}

/// Whether a cluster could be asked.
#[derive(Serialize)]
struct Asked {
    name: String,
    live: bool,
    /// Why not, or what could not be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

pub(super) async fn run(
    args: &ReferencesArgs,
    connection: &ConnectionArgs,
    cluster: &Cluster,
    output: OutputArgs,
) -> Result<News, PluginError> {
    let credential = Credential::find(cluster, &args.credential).await?;
    let status = credential.status();
    let told = status.references.unwrap_or_default();
    let owner = credential.id();
    let mut members = BTreeSet::new();
    members.extend(status.clusters.iter().map(|row| row.name.as_str()).filter(|name| *name != LOCAL));
    members.extend(told.items.iter().map(|item| item.cluster.as_str()).filter(|name| *name != LOCAL));

    let mut asked = BTreeMap::from([(LOCAL, Users::ask(cluster, LOCAL, &owner).await)]);
    for name in members {
        let users = match member(cluster, connection, name).await {
            Ok(member) => Users::ask(&member, name, &owner).await,
            Err(error) => Err(error),
        };
        asked.insert(name, users);
    }
    // What was seen now is newer than the status.
    let is_known = |reference: &Reference| matches!(asked.get(reference.cluster.as_str()), Some(Ok(users)) if users.cover(reference));
    let others = told.items.iter().filter(|reference| !is_known(reference));
    let mut items: BTreeSet<Item> =
        others.map(|reference| Item { reference: cleaned(reference), live: false }).collect();
    let (mut clusters, mut refused) = (Vec::new(), None);
    for (name, users) in asked {
        let error = match users {
            Ok(users) => {
                let found = users.found.iter();
                items.extend(found.map(|reference| Item { reference: cleaned(reference), live: true }));
                clusters.push(Asked {
                    name: name.to_owned(),
                    live: true,
                    message: users.missing.as_ref().map(ToString::to_string),
                });
                users.missing
            }
            // One member that cannot be asked is told, and hides nothing of the others.
            Err(error) if name == LOCAL => return Err(error),
            Err(error) => {
                let message = Some(foreign_text(&error.to_string(), MAX_MESSAGE));
                clusters.push(Asked { name: foreign_text(name, 253), live: false, message });
                None
            }
        };
        refused = refused.or(error);
    }
    let omitted = items.len().saturating_sub(PLUGIN_REFERENCES);
    let items = items.into_iter().take(PLUGIN_REFERENCES).collect();
    let answer = Answer {
        credential: credential.title(),
        secret: foreign_text(&credential.secret(), 253),
        total: told.total,
        blocking: told.blocking,
        items,
        omitted,
        clusters,
    };
    output.write(&answer, || in_words(&answer))?;
    refused.map_or(Ok(News::Good), Err)
}

/// A member, by a context of the caller's own.
async fn member(hub: &Cluster, connection: &ConnectionArgs, name: &str) -> Result<Cluster, PluginError> {
    let api = Api::<MemberCluster>::all(hub.client.clone());
    let right = Right::new("get", "memberclusters.claviger.dev", None);
    let status = hub.ask(right, api.get(name)).await?.status.unwrap_or_default();
    let server = status.server.unwrap_or_default();
    let found = Cluster::at(&server, connection).await?;
    let member = found.ok_or_else(|| {
        PluginError::NotFound(format!("the kubeconfig has no context for its address {server}"))
    })?;
    // At an address like that of a tunnel may be another cluster.
    if status.cluster_id.is_none() || member.id().await? != status.cluster_id {
        return Err(PluginError::NotFound(format!("another cluster answers at its address {server}")));
    }
    Ok(member)
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

fn in_words(answer: &Answer) -> String {
    let Answer { credential, secret, total, blocking, items, omitted, clusters } = answer;
    let mut text = format!(
        "{credential}, Secret {secret}. Its status counts {} in all clusters. Users that block a deletion: {blocking}\n",
        counted(*total, "user")
    );
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
    if !rows.is_empty() {
        text += &table(&["CLUSTER", "KIND", "NAMESPACE", "NAME", "FIELD", "SEEN"], &rows);
    }
    if *omitted > 0 {
        tell(&format!("and {omitted} more"));
    }
    for Asked { name, message, .. } in clusters.iter().filter(|asked| !asked.live) {
        tell(&format!("cluster {name} was not asked: {}", message.as_deref().unwrap_or_default()));
    }
    text
}
