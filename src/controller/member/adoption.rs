//! Members for the clusters that other tools know: one MemberCluster for each of their Secrets, for as long as
//! that is there. The Secrets themselves are never written to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ObjectMeta, PatchParams, PostParams, Preconditions},
    core::PartialObjectMeta,
    runtime::watcher,
};
use serde_json::json;
use tracing::{info, warn};

use super::{MemberLoop, access_secret};
use crate::{
    api::{AdoptedFrom, ClusterTool, LABEL_MANAGED_BY, MANAGER, MemberCluster, MemberClusterSpec},
    cluster::reflector::{self, Store, reflect},
    controller::{Error, events::about, keys::AdoptionKey, patch},
    domain::{
        access,
        adoption::{ARGOCD_SKIP, Scope, member_labels, member_name},
        event::{Action, Note},
        identity::NamespacedName,
        member::{ARGOCD_CLUSTER, ARGOCD_LABEL, CLUSTER_API_LABEL, CLUSTER_API_SUFFIX},
        reason::Reason,
        schedule::ADOPTION_RETRY,
        selection::LOCAL,
    },
    queue::Next,
};

/// Adopts the clusters of other tools.
pub(crate) struct Adoption {
    members: Arc<MemberLoop>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    secrets: HashMap<AdoptionKey, ObjectMeta>,
    listed: HashSet<ClusterTool>,
    made: HashMap<AdoptionKey, Made>,
    /// What was last said of a Secret that cannot be adopted.
    told: HashMap<AdoptionKey, String>,
}

/// What is to become of a Secret.
#[derive(Clone)]
struct Wanted {
    name: String,
    labels: BTreeMap<String, String>,
}

/// What was made of a Secret, and of which version of it.
#[derive(Clone)]
struct Made {
    version: Option<String>,
    wanted: Wanted,
}

impl Adoption {
    pub fn new(members: Arc<MemberLoop>) -> Self {
        Self { members, inner: Mutex::default() }
    }

    /// Watches of the Secrets of all tools whose clusters are adopted, as metadata; with their names.
    ///
    /// # Errors
    /// When a client cannot be made.
    pub fn watches(
        self: &Arc<Self>,
    ) -> Result<Vec<(&'static str, impl Future<Output = ()> + Send + use<>)>, kube::Error> {
        let adopt = &self.members.options.adopt;
        let argocd = adopt.argocd.clone().map(|namespace| {
            let labels = format!("{ARGOCD_LABEL}={ARGOCD_CLUSTER}");
            (ClusterTool::ArgoCD, "argocd-clusters", Scope::Namespace(namespace), labels)
        });
        let cluster_api = adopt.cluster_api.clone();
        let cluster_api = cluster_api.map(|scope| {
            (ClusterTool::ClusterAPI, "cluster-api-kubeconfigs", scope, CLUSTER_API_LABEL.to_owned())
        });
        let context = &self.members.context;
        let mut watches = Vec::new();
        for (tool, name, scope, labels) in argocd.into_iter().chain(cluster_api) {
            // Its age is told, and liveness fails, as of any watch.
            let beat = context.freshness.register(LOCAL, name);
            let client = context.connector.client(Some(beat))?;
            let api: Api<PartialObjectMeta<Secret>> = match &scope {
                Scope::All => Api::all(client),
                Scope::Namespace(namespace) => Api::namespaced(client, namespace),
            };
            let config = reflector::config(context.connector.timeouts().watch).labels(&labels);
            watches.push((name, reflect(api, config, Secrets { adoption: self.clone(), tool })));
        }
        Ok(watches)
    }

    /// Makes, changes or deletes the member of one Secret.
    pub async fn reconcile(self: Arc<Self>, key: AdoptionKey) -> Next {
        // What is there already must be known before anything is made or deleted.
        self.members.index.started().await;
        let covered = self.members.options.adopt.covers(key.tool, &key.secret.namespace);
        let (known, secret) = {
            let inner = self.lock();
            (inner.listed.contains(&key.tool), inner.secrets.get(&key).cloned())
        };
        if !known || !covered {
            return Next::Done;
        }
        let skipped = |secret: &ObjectMeta| {
            let notes = secret.annotations.as_ref();
            key.tool == ClusterTool::ArgoCD
                && notes.and_then(|notes| notes.get(ARGOCD_SKIP)).is_some_and(|value| value == "true")
        };
        let result = match secret {
            Some(secret) if skipped(&secret) || self.is_made(&key, &secret) => Ok(()),
            Some(secret) => self.ensure(&key, secret).await,
            None => {
                self.forget(&key);
                self.retire(&key, None).await
            }
        };
        match result {
            Ok(()) => Next::Done,
            Err(error) => {
                warn!(
                    namespace = &*key.secret.namespace,
                    name = &*key.secret.name,
                    "cluster not adopted: {error}"
                );
                Next::After(ADOPTION_RETRY)
            }
        }
    }

    fn forget(&self, key: &AdoptionKey) {
        let mut inner = self.lock();
        inner.made.remove(key);
        inner.told.remove(key);
    }

    /// Whether the member that was made of this version of the Secret is as it was made.
    fn is_made(&self, key: &AdoptionKey, secret: &ObjectMeta) -> bool {
        let made = self.lock().made.get(key).cloned();
        let Some(made) = made.filter(|made| made.version == secret.resource_version) else { return false };
        let found = self.members.index.get(&made.wanted.name);
        found.is_some_and(|found| match &found.object.0 {
            Ok(member) => {
                member.labels() == &made.wanted.labels
                    && is_of(member, key)
                    && member.metadata.deletion_timestamp.is_none()
            }
            Err(_) => true,
        })
    }

    async fn ensure(&self, key: &AdoptionKey, secret: ObjectMeta) -> Result<(), Error> {
        let Some(wanted) = self.wanted(key, &secret).await? else {
            self.lock().made.remove(key);
            return self.retire(key, None).await;
        };
        self.retire(key, Some(&wanted.name)).await?;
        let api = self.api();
        match api.get_opt(&wanted.name).await.map_err(Error::api("read a MemberCluster"))? {
            None => {
                let spec = MemberClusterSpec {
                    adopted_from: Some(AdoptedFrom {
                        tool: key.tool,
                        namespace: key.secret.namespace.to_string(),
                        name: key.secret.name.to_string(),
                    }),
                    ..MemberClusterSpec::default()
                };
                let mut member = MemberCluster::new(&wanted.name, spec);
                member.metadata.labels = Some(wanted.labels.clone());
                let made = api.create(&PostParams::default(), &member).await;
                made.map_err(Error::api("create a MemberCluster"))?;
                info!(kind = "MemberCluster", name = wanted.name, secret = %key.secret, "adopted");
            }
            // Made anew when it is gone: its deletion wakes this.
            Some(member) if is_of(&member, key) && member.metadata.deletion_timestamp.is_some() => {
                return Ok(());
            }
            Some(member) if is_of(&member, key) => {
                if member.labels() != &wanted.labels {
                    self.relabel(&member, &wanted).await?;
                }
            }
            Some(_) => {
                self.name_taken(key, secret, &wanted.name).await;
                return Ok(());
            }
        }
        let mut inner = self.lock();
        inner.told.remove(key);
        inner.made.insert(key.clone(), Made { version: secret.resource_version, wanted });
        Ok(())
    }

    /// What a Secret asks for; nothing when it is no other cluster.
    async fn wanted(&self, key: &AdoptionKey, secret: &ObjectMeta) -> Result<Option<Wanted>, Error> {
        let none = BTreeMap::new();
        let labels = secret.labels.as_ref().unwrap_or(&none);
        let name = match key.tool {
            ClusterTool::ClusterAPI => {
                let cluster = labels.get(CLUSTER_API_LABEL).cloned().unwrap_or_default();
                // A cluster has Secrets of other kinds too.
                if key.secret.name.strip_suffix(CLUSTER_API_SUFFIX) != Some(cluster.as_str()) {
                    return Ok(None);
                }
                cluster
            }
            ClusterTool::ArgoCD => {
                let connection = &self.members.context.local().connection;
                let found = connection.secret(&key.secret.namespace, &key.secret.name).await;
                let Some(found) = found.map_err(Error::api("read a cluster Secret of Argo CD"))? else {
                    return Ok(None);
                };
                let data = access_secret(found).data;
                if access::is_in_cluster(&data) {
                    return Ok(None);
                }
                let name =
                    data.get("name").map(|name| String::from_utf8_lossy(name.expose()).trim().to_owned());
                name.filter(|name| !name.is_empty()).unwrap_or_else(|| key.secret.name.to_string())
            }
        };
        Ok(Some(Wanted { name: member_name(&name), labels: member_labels(labels) }))
    }

    /// Deletes what was made of a Secret, but for the member of this name.
    async fn retire(&self, key: &AdoptionKey, but: Option<&str>) -> Result<(), Error> {
        for member in self.members.index.adopted() {
            let name = member.name_any();
            if !is_of(&member, key) || but == Some(&name) || member.metadata.deletion_timestamp.is_some() {
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
        let what = "change the labels of a MemberCluster";
        let test = json!({"op": "test", "path": "/metadata/uid", "value": member.uid()});
        let labels = json!({"op": "add", "path": "/metadata/labels", "value": wanted.labels});
        let patch = patch::parse(vec![test, labels], what)?;
        let done = self.api().patch(&wanted.name, &PatchParams::default(), &patch).await;
        done.map(drop).map_err(Error::api(what))
    }

    /// Says, once, that a MemberCluster which people wrote is in the way.
    async fn name_taken(&self, key: &AdoptionKey, secret: ObjectMeta, name: &str) {
        let text = format!(
            "the cluster is not adopted: there is a MemberCluster '{name}' already that was not made of this Secret; rename one of the two"
        );
        {
            let mut inner = self.lock();
            inner.made.remove(key);
            if inner.told.insert(key.clone(), text.clone()).as_ref() == Some(&text) {
                return;
            }
        }
        let about = about(&Secret { metadata: secret, ..Secret::default() }, &());
        let note = Note::warning(Reason::NameTaken, Action::Adopt, text);
        self.members.context.events.publish(&about, &note).await;
    }

    fn api(&self) -> Api<MemberCluster> {
        Api::all(self.members.context.local().connection.client())
    }

    fn wake(&self, key: AdoptionKey) {
        self.members.context.queues.adoption.add(key, ());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a member was made of a Secret, and not by people.
fn is_of(member: &MemberCluster, key: &AdoptionKey) -> bool {
    member.labels().get(LABEL_MANAGED_BY).is_some_and(|manager| manager == MANAGER)
        && member.spec.adopted_from.as_ref().is_some_and(|from| {
            from.tool == key.tool
                && *from.namespace == *key.secret.namespace
                && *from.name == *key.secret.name
        })
}

/// The Secrets of one tool.
struct Secrets {
    adoption: Arc<Adoption>,
    tool: ClusterTool,
}

impl Secrets {
    fn key(&self, secret: NamespacedName) -> AdoptionKey {
        AdoptionKey { tool: self.tool, secret }
    }
}

impl Store for Secrets {
    type Object = PartialObjectMeta<Secret>;

    fn upsert(&mut self, object: Self::Object, _: bool) {
        let key = self.key(reflector::name_of(&object.metadata));
        self.adoption.lock().secrets.insert(key.clone(), object.metadata);
        self.adoption.wake(key);
    }

    fn remove(&mut self, object: Self::Object) {
        self.vanished(&reflector::name_of(object.meta()));
    }

    fn known(&self) -> Vec<NamespacedName> {
        let inner = self.adoption.lock();
        let of_tool = inner.secrets.keys().filter(|key| key.tool == self.tool);
        of_tool.map(|key| key.secret.clone()).collect()
    }

    fn vanished(&mut self, name: &NamespacedName) {
        let key = self.key(name.clone());
        self.adoption.lock().secrets.remove(&key);
        self.adoption.wake(key);
    }

    fn complete(&mut self) {
        self.adoption.lock().listed.insert(self.tool);
        // Those whose Secret went while nobody watched.
        for from in self.adoption.members.index.adopted().into_iter().filter_map(|m| m.spec.adopted_from) {
            if from.tool == self.tool {
                self.adoption.wake(self.key(NamespacedName::new(from.namespace, from.name)));
            }
        }
        for name in self.known() {
            self.adoption.wake(self.key(name));
        }
    }

    fn failed(&mut self, error: &watcher::Error) {
        warn!(cluster = LOCAL, watch = "adopted clusters", "{}", reflector::describe_failure(error));
    }
}
