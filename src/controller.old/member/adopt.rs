//! Members for the clusters that other tools know: one MemberCluster for each of their Secrets, for as long as
//! that is there. The Secrets themselves are never written to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, reflector::ObjectRef, watcher, watcher::Event},
};
use serde_json::json;
use tracing::{info, warn};

use super::{Members, pass::origin};
use crate::{
    api::{AdoptedFrom, ClusterTool, LABEL_MANAGED_BY, MANAGER, MemberCluster, MemberClusterSpec},
    cluster::{LOCAL, backoff, fault},
    controller::Error,
    domain::{
        access,
        adoption::{ARGOCD_SKIP, Scope, member_labels, member_name},
        event::Note,
        member::{ARGOCD_CLUSTER, ARGOCD_LABEL, CLUSTER_API_LABEL, CLUSTER_API_SUFFIX},
        view::Key,
    },
};

/// How long it waits after something did not work.
const RETRY: Duration = Duration::from_secs(10);

type Meta = PartialObjectMeta<Secret>;
type Id = (ClusterTool, Key);
type Changes = BoxStream<'static, (ClusterTool, Result<Event<Meta>, watcher::Error>)>;

/// Adopts for as long as it is polled.
pub async fn run(members: Arc<Members>) {
    let mut changes = match changes(&members) {
        Ok(changes) => changes,
        Err(error) => return warn!("adoption did not start: {}", crate::cluster::describe(&error)),
    };
    let mut wakes = members.register.adopted.clone().stream().boxed();
    // What is there already must be known before anything is made or deleted.
    members.register.started().await;
    let mut adopter = Adopter {
        members,
        secrets: HashMap::new(),
        listings: HashMap::new(),
        listed: HashSet::new(),
        made: HashMap::new(),
        told: HashMap::new(),
    };
    loop {
        tokio::select! {
            Some((tool, event)) = changes.next() => match event {
                Ok(event) => adopter.observe(tool, event),
                Err(error) => warn!(cluster = LOCAL, watch = "adopted clusters", "{}", fault(&error)),
            },
            Some(id) = wakes.next() => adopter.tend(id).await,
            else => return,
        }
    }
}

/// The Secrets of all tools whose clusters are adopted, as metadata.
fn changes(members: &Members) -> Result<Changes, kube::Error> {
    let adopt = &members.rules.adopt;
    let argocd = adopt.argocd.clone().map(|namespace| {
        let labels = format!("{ARGOCD_LABEL}={ARGOCD_CLUSTER}");
        (ClusterTool::ArgoCD, Scope::Namespace(namespace), labels)
    });
    let cluster_api =
        adopt.cluster_api.clone().map(|scope| (ClusterTool::ClusterAPI, scope, CLUSTER_API_LABEL.to_owned()));
    let connector = &members.shared.connector;
    let seconds = u32::try_from(connector.timeouts().watch.as_secs()).unwrap_or(60);
    let mut all: Vec<Changes> = vec![futures::stream::pending().boxed()];
    for (tool, scope, labels) in argocd.into_iter().chain(cluster_api) {
        let client = connector.client(None)?;
        let api: Api<Meta> = match &scope {
            Scope::All => Api::all(client),
            Scope::Namespace(namespace) => Api::namespaced(client, namespace),
        };
        let config = watcher::Config::default().labels(&labels).timeout(seconds);
        all.push(watcher(api, config).backoff(backoff()).map(move |event| (tool, event)).boxed());
    }
    Ok(futures::stream::select_all(all).boxed())
}

/// What is to become of a Secret.
struct Wanted {
    name: String,
    labels: BTreeMap<String, String>,
}

/// What was made of a Secret, and of which version of it.
struct Made {
    version: Option<String>,
    wanted: Wanted,
}

struct Adopter {
    members: Arc<Members>,
    secrets: HashMap<Id, ObjectMeta>,
    listings: HashMap<ClusterTool, HashSet<Id>>,
    listed: HashSet<ClusterTool>,
    made: HashMap<Id, Made>,
    /// What was last said of a Secret that cannot be adopted.
    told: HashMap<Id, String>,
}

impl Adopter {
    fn observe(&mut self, tool: ClusterTool, event: Event<Meta>) {
        let id = |meta: &ObjectMeta| {
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            (tool, Key::new(namespace, meta.name.as_deref().unwrap_or_default()))
        };
        match event {
            Event::Init => {
                self.listings.insert(tool, HashSet::new());
            }
            Event::InitApply(secret) | Event::Apply(secret) => {
                let id = id(&secret.metadata);
                if let Some(listing) = self.listings.get_mut(&tool) {
                    listing.insert(id.clone());
                }
                self.secrets.insert(id.clone(), secret.metadata);
                self.wake(id);
            }
            Event::InitDone => {
                self.listed.insert(tool);
                let listing = self.listings.remove(&tool).unwrap_or_default();
                self.secrets.retain(|id, _| id.0 != tool || listing.contains(id));
                // Those whose Secret went while nobody watched.
                for from in self.adopted().into_iter().filter_map(|member| member.spec.adopted_from) {
                    if from.tool == tool {
                        self.wake((tool, Key::new(from.namespace, from.name)));
                    }
                }
                let known: Vec<Id> = self.secrets.keys().filter(|id| id.0 == tool).cloned().collect();
                known.into_iter().for_each(|id| self.wake(id));
            }
            Event::Delete(secret) => {
                let id = id(&secret.metadata);
                self.secrets.remove(&id);
                self.wake(id);
            }
        }
    }

    fn wake(&self, id: Id) {
        self.members.register.adopted.now(id);
    }

    /// Makes, mends or deletes the member of one Secret.
    async fn tend(&mut self, id: Id) {
        if !self.listed.contains(&id.0) || !self.members.rules.adopt.covers(id.0, &id.1.namespace) {
            return;
        }
        let result = match self.secrets.get(&id).cloned() {
            Some(secret)
                if secret.annotations.as_ref().is_some_and(|notes| {
                    id.0 == ClusterTool::ArgoCD && notes.get(ARGOCD_SKIP).is_some_and(|value| value == "true")
                }) =>
            {
                Ok(())
            }
            Some(secret) if self.stands(&id, &secret) => Ok(()),
            Some(secret) => self.ensure(&id, secret).await,
            None => {
                self.made.remove(&id);
                self.told.remove(&id);
                self.retire(&id, None).await
            }
        };
        if let Err(error) = result {
            warn!(namespace = &*id.1.namespace, name = &*id.1.name, "cluster not adopted: {error}");
            let wakes = self.members.register.adopted.clone();
            tokio::spawn(async move {
                tokio::time::sleep(RETRY).await;
                wakes.now(id);
            });
        }
    }

    /// Whether the member that was made of this version of the Secret is as it was made.
    fn stands(&self, id: &Id, secret: &ObjectMeta) -> bool {
        let Some(made) = self.made.get(id).filter(|made| made.version == secret.resource_version) else {
            return false;
        };
        let found = self.members.store.get(&ObjectRef::new(&made.wanted.name));
        found.is_some_and(|found| match &found.0 {
            Ok(member) => {
                member.labels() == &made.wanted.labels
                    && is_of(member, id)
                    && member.metadata.deletion_timestamp.is_none()
            }
            Err(_) => true,
        })
    }

    async fn ensure(&mut self, id: &Id, secret: ObjectMeta) -> Result<(), Error> {
        let Some(wanted) = self.wanted(id, &secret).await? else {
            self.made.remove(id);
            return self.retire(id, None).await;
        };
        self.retire(id, Some(&wanted.name)).await?;
        let api = self.api();
        match api.get_opt(&wanted.name).await.map_err(Error::api("read a MemberCluster"))? {
            None => {
                let mut member = MemberCluster::new(
                    &wanted.name,
                    MemberClusterSpec {
                        adopted_from: Some(AdoptedFrom {
                            tool: id.0,
                            namespace: id.1.namespace.to_string(),
                            name: id.1.name.to_string(),
                        }),
                        ..MemberClusterSpec::default()
                    },
                );
                member.metadata.labels = Some(wanted.labels.clone());
                api.create(&PostParams::default(), &member)
                    .await
                    .map_err(Error::api("create a MemberCluster"))?;
                info!(
                    kind = "MemberCluster",
                    name = wanted.name,
                    namespace = &*id.1.namespace,
                    secret = &*id.1.name,
                    "adopted"
                );
            }
            // Made anew when it is gone: its deletion wakes this.
            Some(member) if is_of(&member, id) && member.metadata.deletion_timestamp.is_some() => {
                return Ok(());
            }
            Some(member) if is_of(&member, id) => {
                if member.labels() != &wanted.labels {
                    self.relabel(&member, &wanted).await?;
                }
            }
            Some(_) => {
                self.left_alone(id, secret, &wanted.name).await;
                return Ok(());
            }
        }
        self.told.remove(id);
        self.made.insert(id.clone(), Made { version: secret.resource_version, wanted });
        Ok(())
    }

    /// What a Secret asks for; nothing when it is no other cluster.
    async fn wanted(&self, id: &Id, secret: &ObjectMeta) -> Result<Option<Wanted>, Error> {
        let none = BTreeMap::new();
        let labels = secret.labels.as_ref().unwrap_or(&none);
        let name = match id.0 {
            ClusterTool::ClusterAPI => {
                let cluster = labels.get(CLUSTER_API_LABEL).cloned().unwrap_or_default();
                // A cluster has Secrets of other kinds too.
                if id.1.name.strip_suffix(CLUSTER_API_SUFFIX) != Some(cluster.as_str()) {
                    return Ok(None);
                }
                cluster
            }
            ClusterTool::ArgoCD => {
                let found = self.members.shared.local().secret(&id.1.namespace, &id.1.name).await;
                let Some(found) = found.map_err(Error::api("read a cluster Secret of Argo CD"))? else {
                    return Ok(None);
                };
                let data = origin(found).data;
                if access::is_in_cluster(&data) {
                    return Ok(None);
                }
                let name =
                    data.get("name").map(|name| String::from_utf8_lossy(name.expose()).trim().to_owned());
                name.filter(|name| !name.is_empty()).unwrap_or_else(|| id.1.name.to_string())
            }
        };
        Ok(Some(Wanted { name: member_name(&name), labels: member_labels(labels) }))
    }

    /// Deletes what was made of a Secret, but for the member of this name.
    async fn retire(&self, id: &Id, but: Option<&str>) -> Result<(), Error> {
        for member in self.adopted() {
            let name = member.name_any();
            if !is_of(&member, id) || but == Some(&name) || member.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let exactly = Preconditions { uid: member.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams { preconditions: Some(exactly), ..DeleteParams::default() };
            match self.api().delete(&name, &params).await {
                Ok(_) => info!(kind = "MemberCluster", name, "its cluster is gone from where it was adopted"),
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
                Err(error) => return Err(Error::api("delete a MemberCluster")(error)),
            }
        }
        Ok(())
    }

    async fn relabel(&self, member: &MemberCluster, wanted: &Wanted) -> Result<(), Error> {
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": member.uid()},
            {"op": "add", "path": "/metadata/labels", "value": wanted.labels},
        ]);
        let patch: json_patch::Patch =
            serde_json::from_value(patch).map_err(|_| Error::Json { what: "the labels" })?;
        let done = self.api().patch(&wanted.name, &PatchParams::default(), &Patch::Json::<()>(patch)).await;
        done.map(drop).map_err(Error::api("change the labels of a MemberCluster"))
    }

    /// Says, once, that a MemberCluster which people wrote stands in the way.
    async fn left_alone(&mut self, id: &Id, secret: ObjectMeta, name: &str) {
        self.made.remove(id);
        let text = format!(
            "the cluster is not adopted: there is a MemberCluster '{name}' already that was not made of this Secret; rename one of the two"
        );
        if self.told.insert(id.clone(), text.clone()).as_ref() == Some(&text) {
            return;
        }
        let note = Note { warning: true, reason: "NameTaken".to_owned(), action: "Adopt", note: text };
        let about = Secret { metadata: secret, ..Secret::default() };
        self.members.shared.events.publish(&about, &note).await;
    }

    /// Members that were made of other tools' Secrets, and not by people.
    fn adopted(&self) -> Vec<MemberCluster> {
        let all = self.members.store.state();
        let read = all.iter().filter_map(|member| member.0.as_ref().ok());
        read.filter(|member| member.spec.adopted_from.is_some() && is_ours(member)).cloned().collect()
    }

    fn api(&self) -> Api<MemberCluster> {
        Api::all(self.members.shared.local().client())
    }
}

fn is_ours(member: &MemberCluster) -> bool {
    member.labels().get(LABEL_MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

/// Whether a member was made of a Secret.
fn is_of(member: &MemberCluster, (tool, key): &Id) -> bool {
    is_ours(member)
        && member.spec.adopted_from.as_ref().is_some_and(|from| {
            from.tool == *tool && *from.namespace == *key.namespace && *from.name == *key.name
        })
}
