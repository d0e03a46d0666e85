//! Which of the types that not every cluster has are there: asked time and again, as definitions come and go.

use std::collections::{BTreeMap, HashMap, HashSet};

use kube::{Client, api::ApiResource};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use tracing::warn;

use super::{dynamic::resource, error::describe, shared::Shared};
use crate::domain::{
    bounded,
    connectivity::WatchedKind,
    reference_kind::Kinds,
    schedule::{DISCOVERY_INTERVAL, MAX_PARTS},
};

/// Asks a cluster which types it has, for as long as it is polled.
pub(super) async fn discover(shared: &Shared, kinds: Kinds) {
    let mut told = false;
    loop {
        let served = served_types(&shared.connection.client(), kinds).await;
        if let Err(error) = &served
            && !std::mem::replace(&mut told, true)
        {
            warn!(cluster = &*shared.name, "which types there are is not known: {}", describe(error));
        }
        told &= served.is_err();
        let is_denied = matches!(&served, Err(kube::Error::Api(status)) if status.code == 403);
        shared.types.asked(served.ok(), is_denied);
        tokio::time::sleep(DISCOVERY_INTERVAL.mul_f64(0.9 + 0.2 * rand::random::<f64>())).await;
    }
}

/// Of the types that not every cluster has, those that this one has, each in the best version.
pub(crate) async fn served_types(
    client: &Client,
    kinds: Kinds,
) -> Result<HashMap<WatchedKind, ApiResource>, kube::Error> {
    let optional = WatchedKind::optional(kinds).filter_map(|kind| Some((kind, kind.api()?)));
    let wanted: Vec<_> = optional.filter(|(_, api)| !api.is_built_in()).collect();
    let mut served = HashMap::new();
    if wanted.is_empty() {
        return Ok(served);
    }
    let Groups { groups } = get(client, "/apis").await?;
    // By what is wanted: a member may show any number of groups.
    let names: BTreeMap<_, _> = wanted.iter().map(|(_, api)| (api.group, api.versions)).collect();
    for (name, versions) in names {
        let Some(group) = groups.iter().find(|group| group.name == name) else { continue };
        for version in versions.iter().filter(|version| group.has(version)) {
            let Resources { resources } = get(client, &format!("/apis/{name}/{version}")).await?;
            let there: HashSet<&str> = resources.iter().map(|one| &*one.name).collect();
            for (kind, api) in &wanted {
                if api.group == name && there.contains(api.plural) {
                    served.entry(*kind).or_insert_with(|| resource(api, version));
                }
            }
        }
    }
    Ok(served)
}

async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, kube::Error> {
    let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request(request).await
}

/// The groups of an API server.
#[derive(Deserialize)]
struct Groups {
    #[serde(default, deserialize_with = "list")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    #[serde(default, deserialize_with = "list")]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

/// The types of one group, in one version.
#[derive(Deserialize)]
struct Resources {
    #[serde(default, deserialize_with = "list")]
    resources: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Group {
    fn has(&self, version: &str) -> bool {
        self.versions.iter().any(|one| one.version == version)
    }
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    bounded::list::<_, _, MAX_PARTS>(deserializer)
}
