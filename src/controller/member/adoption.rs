//! Members for the clusters that other tools know: one MemberCluster for each of their Secrets, for as long as the
//! Secret exists. The Secrets themselves are never written to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PatchParams, PostParams, Preconditions},
};
use serde_json::json;
use tracing::{info, warn};

use crate::{
    api::{
        ANNOTATION_ADOPTED_FROM, AdoptedFrom, ClusterTool, LABEL_MANAGED_BY, MANAGER, MemberCluster,
        MemberClusterSpec,
    },
    cluster::{
        SecretMetadata,
        reflector::{self, Store, reflect},
    },
    controller::{Context, Error, events::about, patch},
    domain::{
        access,
        adoption::{ARGOCD_SKIP, Scope, adopted_from, adoption_mark},
        event::{Action, Note},
        identity::NamespacedName,
        member::{ARGOCD_CLUSTER, ARGOCD_LABEL, CLUSTER_API_LABEL, CLUSTER_API_SUFFIX},
        reason::Reason,
        schedule::ADOPTION_RETRY,
    },
    lock::Lock,
    queue::Next,
};

/// Adopts the clusters of other tools.
pub(crate) struct Adoption {
    context: Arc<Context>,
    inner: Lock<Inner>,
}

#[derive(Default)]
struct Inner {
    secrets: HashMap<AdoptedFrom, Known>,
    listed: HashSet<ClusterTool>,
}

/// A Secret, and what became of it.
#[derive(Clone, Default)]
struct Known {
    secret: ObjectMeta,
    /// The member that was made of it, and of which version of it.
    made: Option<(Wanted, Option<String>)>,
    /// What was last said of why it cannot be adopted.
    told: Option<String>,
}

/// The member that a Secret asks for.
#[derive(Clone)]
struct Wanted {
    name: String,
    /// None: they are whatever administrators make of them.
    labels: Option<BTreeMap<String, String>>,
}

impl Wanted {
    fn is_labelled(&self, member: &MemberCluster) -> bool {
        self.labels.as_ref().is_none_or(|labels| labels == member.labels())
    }
}

impl Adoption {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, inner: Lock::default() }
    }

    /// Follows the Secrets of all tools whose clusters are adopted, as metadata.
    ///
    /// # Errors
    /// When a client cannot be made.
    pub fn watch(self: &Arc<Self>) -> Result<(), kube::Error> {
        let adopt = &self.context.adopt;
        let (argocd, cluster_api) = (adopt.argocd.clone().map(Scope::Namespace), adopt.cluster_api.clone());
        let argocd_label = format!("{ARGOCD_LABEL}={ARGOCD_CLUSTER}");
        let tools = [
            (ClusterTool::ArgoCD, "argocd-clusters", argocd, &*argocd_label),
            (ClusterTool::ClusterAPI, "cluster-api-kubeconfigs", cluster_api, CLUSTER_API_LABEL),
        ];
        let context = &self.context;
        for (tool, name, scope, labels) in tools {
            let Some(scope) = scope else { continue };
            let api = move |client| match &scope {
                Scope::All => Api::all(client),
                Scope::Namespace(namespace) => Api::namespaced(client, namespace),
            };
            let params = ListParams::default().labels(labels);
            let secrets = Secrets { adoption: self.clone(), tool };
            let watch = reflect(&context.connector, name, api, params, secrets)?;
            context.supervisor.spawn_endless(format!("watch of {name}"), watch);
        }
        Ok(())
    }

    /// Makes, changes or deletes the member of one Secret.
    pub async fn reconcile(self: Arc<Self>, key: AdoptedFrom) -> Next {
        // What is there already must be known before anything is made or deleted.
        self.context.stores.members.started.wait().await;
        let covered = self.context.adopt.covers(key.tool, &key.namespace);
        let (listed, known) = {
            let inner = self.inner.read();
            (inner.listed.contains(&key.tool), inner.secrets.get(&key).cloned())
        };
        if !listed || !covered {
            return Next::Done;
        }
        let result = match known {
            Some(known) if is_skipped(&key, &known.secret) || self.is_made(&key, &known) => Ok(()),
            Some(known) => self.ensure(&key, known.secret).await,
            None => self.retire(&key, None).await,
        };
        let Err(error) = result else { return Next::Done };
        warn!(namespace = key.namespace, name = key.name, "cluster not adopted: {error}");
        Next::After(ADOPTION_RETRY)
    }

    /// Changes what is known of a Secret, if it still exists.
    fn change(&self, key: &AdoptedFrom, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.inner.write().secrets.get_mut(key) {
            change(known);
        }
    }

    /// Whether the member that was made of this version of the Secret is as it was made.
    fn is_made(&self, key: &AdoptedFrom, known: &Known) -> bool {
        let Some((wanted, version)) = &known.made else { return false };
        let as_made = |member: &MemberCluster| {
            wanted.is_labelled(member) && is_of(member, key) && member.metadata.deletion_timestamp.is_none()
        };
        let found = self.context.stores.members.get(&wanted.name);
        *version == known.secret.resource_version
            && found.is_some_and(|found| found.object.0.as_ref().map_or(true, as_made))
    }

    async fn ensure(&self, key: &AdoptedFrom, secret: ObjectMeta) -> Result<(), Error> {
        let Some(wanted) = self.wanted(key, &secret).await? else { return self.retire(key, None).await };
        let api = self.api();
        match api.get_opt(&wanted.name).await.map_err(Error::api("read a MemberCluster"))? {
            None => {
                let mut member = MemberCluster::new(&wanted.name, MemberClusterSpec::default());
                let mark = (ANNOTATION_ADOPTED_FROM.to_owned(), adoption_mark(key));
                member.metadata.annotations = Some([mark].into());
                let managed = || [(LABEL_MANAGED_BY.to_owned(), MANAGER.to_owned())].into();
                member.metadata.labels = Some(wanted.labels.clone().unwrap_or_else(managed));
                let made = api.create(&PostParams::default(), &member).await;
                made.map_err(Error::api("create a MemberCluster"))?;
                let secret = format_args!("{}/{}", key.namespace, key.name);
                info!(kind = "MemberCluster", name = wanted.name, %secret, "adopted");
            }
            Some(member) if !is_of(&member, key) => {
                self.name_taken(key, secret, &wanted.name).await;
                return self.retire(key, None).await;
            }
            // It is created again when the old one is gone: that deletion wakes this.
            Some(member) if member.metadata.deletion_timestamp.is_some() => return Ok(()),
            Some(member) if !wanted.is_labelled(&member) => self.relabel(&member, &wanted).await?,
            Some(_) => {}
        }
        // Afterwards, so that a member which only changes its name leaves its copies to the one that comes after it.
        self.retire(key, Some(&wanted.name)).await?;
        self.change(key, |known| {
            known.told = None;
            known.made = Some((wanted, secret.resource_version));
        });
        Ok(())
    }

    /// The member that a Secret asks for; none when it is not about another cluster.
    async fn wanted(&self, key: &AdoptedFrom, secret: &ObjectMeta) -> Result<Option<Wanted>, Error> {
        let labels = secret.labels.clone().unwrap_or_default();
        let name = match key.tool {
            ClusterTool::ClusterAPI => {
                let cluster = labels.get(CLUSTER_API_LABEL).cloned().unwrap_or_default();
                // A cluster has Secrets of other kinds too.
                if key.name.strip_suffix(CLUSTER_API_SUFFIX) != Some(cluster.as_str()) {
                    return Ok(None);
                }
                cluster
            }
            ClusterTool::ArgoCD => {
                let connection = &self.context.local().connection;
                let found = connection.secret(&key.namespace, &key.name).await;
                let Some(mut found) = found.map_err(Error::api("read a cluster Secret of Argo CD"))? else {
                    return Ok(None);
                };
                let data = found.take_data();
                if access::is_in_cluster(&data) {
                    return Ok(None);
                }
                let name =
                    data.get("name").map(|name| String::from_utf8_lossy(name.expose()).trim().to_owned());
                name.filter(|name| !name.is_empty()).unwrap_or_else(|| key.name.clone())
            }
        };
        let adopt = &self.context.adopt;
        Ok(Some(Wanted {
            name: adopt.member_name(key, &name),
            labels: adopt.member_labels(key.tool, &labels),
        }))
    }

    /// Deletes the members that were made of a Secret, except the one of the name `but`.
    async fn retire(&self, key: &AdoptedFrom, but: Option<&str>) -> Result<(), Error> {
        for member in self.context.stores.members.adopted() {
            let name = member.name_any();
            if !is_of(&member, key) || but == Some(&name) || member.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let exactly = Preconditions { uid: member.metadata.uid.clone(), resource_version: None };
            let params = DeleteParams { preconditions: Some(exactly), ..DeleteParams::default() };
            match self.api().delete(&name, &params).await {
                Ok(_) => info!(
                    kind = "MemberCluster",
                    name, "its cluster no longer exists in the tool that it was adopted from"
                ),
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

    /// Publishes, once, that a MemberCluster that people wrote has the name already.
    async fn name_taken(&self, key: &AdoptedFrom, secret: ObjectMeta, name: &str) {
        let text = format!(
            "the cluster is not adopted: a MemberCluster '{name}' exists that was not created from this Secret; rename one of the two"
        );
        let mut is_news = false;
        self.change(key, |known| {
            known.made = None;
            is_news = known.told.replace(text.clone()).as_ref() != Some(&text);
        });
        if is_news {
            let about = about(&SecretMetadata { metadata: secret }, &());
            let note = Note::warning(Reason::NameTaken, Action::Adopt, text);
            self.context.events.publish(&about, &note).await;
        }
    }

    fn api(&self) -> Api<MemberCluster> {
        Api::all(self.context.local().connection.client())
    }
}

/// Whether a member was made of a Secret, and not by people.
fn is_of(member: &MemberCluster, key: &AdoptedFrom) -> bool {
    member.labels().get(LABEL_MANAGED_BY).is_some_and(|manager| manager == MANAGER)
        && adopted_from(member).as_ref() == Some(key)
}

/// Whether Argo CD was told to leave the cluster of a Secret alone.
fn is_skipped(key: &AdoptedFrom, secret: &ObjectMeta) -> bool {
    let skip = secret.annotations.as_ref().and_then(|annotations| annotations.get(ARGOCD_SKIP));
    key.tool == ClusterTool::ArgoCD && skip.is_some_and(|value| value == "true")
}

/// The Secrets of one tool.
struct Secrets {
    adoption: Arc<Adoption>,
    tool: ClusterTool,
}

impl Secrets {
    fn key(&self, secret: &NamespacedName) -> AdoptedFrom {
        let (namespace, name) = (secret.namespace.to_string(), secret.name.to_string());
        AdoptedFrom { tool: self.tool, namespace, name }
    }

    fn gone(&self, name: &NamespacedName) {
        let key = self.key(name);
        self.adoption.inner.write().secrets.remove(&key);
        self.wake(key);
    }

    fn wake(&self, key: AdoptedFrom) {
        self.adoption.context.queues.adoption.add(key, ());
    }
}

impl Store for Secrets {
    type Object = SecretMetadata;

    fn upsert(&mut self, object: Self::Object, _: bool) {
        let key = self.key(&reflector::name_of(&object.metadata));
        self.adoption.inner.write().secrets.entry(key.clone()).or_default().secret = object.metadata;
        self.wake(key);
    }

    fn remove(&mut self, object: Self::Object) {
        self.gone(&reflector::name_of(object.meta()));
    }

    fn known(&self) -> Vec<NamespacedName> {
        let inner = self.adoption.inner.read();
        let of_tool = inner.secrets.keys().filter(|key| key.tool == self.tool);
        of_tool.map(|key| NamespacedName::new(&*key.namespace, &*key.name)).collect()
    }

    fn complete(&mut self, vanished: Vec<NamespacedName>) {
        for name in &vanished {
            self.gone(name);
        }
        self.adoption.inner.write().listed.insert(self.tool);
        // Also those whose Secret was deleted while nothing watched.
        let adopted = self.adoption.context.stores.members.adopted();
        let adopted = adopted.iter().filter_map(adopted_from);
        let adopted = adopted.filter(|from| from.tool == self.tool);
        for key in adopted.chain(self.known().iter().map(|name| self.key(name))) {
            self.wake(key);
        }
    }
}
