//! Who uses the Secrets of a credential in one cluster, as its API server says now.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
};

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Resource,
    api::{ApiResource, ListParams},
    core::{DynamicResourceScope, PartialObjectMeta},
};
use serde::de::DeserializeOwned;

use super::{
    connect::Cluster,
    error::{PluginError, Right},
};
use crate::{
    api::{LABEL_OWNER, Reference},
    cluster::{
        GrantObject, Referrer, Refers, SlimPod, UNFINISHED, Workload,
        dynamic::{self, resource_of},
        served_types,
    },
    domain::{
        connectivity::WatchedKind,
        identity::{CredentialId, NamespacedName},
        reference_kind::{Family, GrantKind, Kinds, ReferenceKind},
        references::{References, Use, User},
        schedule::PLUGIN_NAMESPACES,
    },
};

/// All namespaces, or one.
type Scope = Option<String>;

/// The users of one cluster, as far as they may be listed.
pub(super) struct Users {
    pub found: Vec<Reference>,
    seen: BTreeSet<(&'static str, Scope)>,
    /// Why not all could be listed: the first reason.
    pub missing: Option<PluginError>,
}

impl Users {
    /// Whether a user would be among those found if it were still there.
    pub fn cover(&self, reference: &Reference) -> bool {
        let seen = |of: &Scope| of.as_ref().is_none_or(|namespace| *namespace == reference.namespace);
        self.seen.iter().any(|(kind, of)| *kind == reference.kind && seen(of))
    }

    /// Asks a cluster, which is known by this name.
    pub async fn ask(cluster: &Cluster, name: &str, owner: &CredentialId) -> Result<Self, PluginError> {
        let mut search = Search {
            cluster,
            copies: BTreeSet::new(),
            references: References::default(),
            seen: BTreeSet::new(),
            missing: None,
        };
        let all = search.find_copies(owner).await?;
        let kinds = Kinds::of(&Family::ALL);
        if search.copies.is_empty() && all {
            let seen = kinds.iter().map(|kind| (kind.name(), None)).collect();
            return Ok(Self { found: Vec::new(), seen, missing: None });
        }
        let right = Right::new("get", "/apis", None);
        let served = cluster.ask(right, served_types(&cluster.client, kinds)).await?;
        for kind in kinds.grants() {
            if let Some(at) = place(WatchedKind::Grants(kind), &served) {
                search.grants(kind, &at).await?;
            }
        }
        for kind in kinds.iter() {
            let scopes = match place(WatchedKind::Users(kind), &served) {
                Some(at) => search.users(kind, &at).await?,
                None => vec![None],
            };
            // Where it is not known which Secrets there are, nobody knows who uses them.
            let known = |scope: &Scope| all || scope.as_ref() == Some(&owner.namespace.to_string());
            search.seen.extend(scopes.into_iter().filter(known).map(|scope| (kind.name(), scope)));
        }
        let Search { copies, references, seen, missing, .. } = search;
        let users = copies.iter().flat_map(|copy| references.of(copy));
        let found = users.map(|(namespace, user)| Reference {
            cluster: name.to_owned(),
            kind: user.kind.name().to_owned(),
            namespace: namespace.to_string(),
            name: user.name.to_string(),
            field: user.kind.whole_field(user.field),
        });
        Ok(Self { found: found.collect(), seen, missing })
    }
}

/// Where objects of a kind are, if the cluster has such a type.
fn place(kind: WatchedKind, served: &HashMap<WatchedKind, ApiResource>) -> Option<ApiResource> {
    resource_of(kind, || served.get(&kind).cloned())
}

fn named(metadata: &ObjectMeta) -> NamespacedName {
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
    NamespacedName::new(text(&metadata.namespace), text(&metadata.name))
}

struct Search<'a> {
    cluster: &'a Cluster,
    copies: BTreeSet<NamespacedName>,
    references: References,
    seen: BTreeSet<(&'static str, Scope)>,
    missing: Option<PluginError>,
}

impl Search<'_> {
    /// Lists objects of the whole cluster, else of those of these namespaces that may be listed; returns where it could.
    async fn list<K: Clone + Debug + DeserializeOwned>(
        &mut self,
        resource: &ApiResource,
        params: &ListParams,
        namespaces: impl IntoIterator<Item = String>,
        fetch: impl AsyncFn(&Scope, ListParams) -> Result<kube::core::ObjectList<K>, kube::Error>,
        mut visit: impl FnMut(K),
    ) -> Result<Vec<Scope>, PluginError> {
        let name = match resource.group.as_str() {
            "" => resource.plural.clone(),
            group => format!("{}.{group}", resource.plural),
        };
        let mut seen = Vec::new();
        let scopes = namespaces.into_iter().take(PLUGIN_NAMESPACES).map(Some);
        for scope in std::iter::once(None).chain(scopes) {
            let right = Right::new("list", name.clone(), scope.clone());
            let fetch = async |params: ListParams| fetch(&scope, params).await;
            match self.cluster.pages(&right, params.clone(), fetch, &mut visit).await {
                // A type that has gone a moment ago has no objects.
                Ok(()) | Err(PluginError::NotFound(_)) => seen.push(scope),
                Err(error @ (PluginError::Forbidden { .. } | PluginError::Refused(_))) => {
                    self.missing.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
            if seen.contains(&None) {
                break;
            }
        }
        Ok(seen)
    }

    /// Finds the Secrets of a credential, those under an earlier name too. Returns whether these are all.
    async fn find_copies(&mut self, owner: &CredentialId) -> Result<bool, PluginError> {
        let secrets = ApiResource::erase::<Secret>(&());
        let params = ListParams::default().labels(&format!("{LABEL_OWNER}={}", owner.owner()));
        let cluster = self.cluster;
        // Without their values.
        let fetch = async |scope: &Scope, params: ListParams| {
            cluster.api::<Secret>(scope.as_deref()).list_metadata(&params).await
        };
        let mut copies = BTreeSet::new();
        let visit = |copy: PartialObjectMeta<Secret>| _ = copies.insert(named(&copy.metadata));
        let seen = self.list(&secrets, &params, [owner.namespace.to_string()], fetch, visit).await?;
        self.copies = copies;
        Ok(seen.contains(&None))
    }

    fn namespaces(&self) -> BTreeSet<String> {
        self.copies.iter().map(|copy| copy.namespace.to_string()).collect()
    }

    async fn objects<K>(
        &mut self,
        at: &ApiResource,
        params: ListParams,
        visit: impl FnMut(K),
    ) -> Result<Vec<Scope>, PluginError>
    where
        K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let cluster = self.cluster;
        let fetch = async |scope: &Scope, params: ListParams| {
            dynamic::api::<K>(cluster.client.clone(), scope.as_deref(), at).list(&params).await
        };
        self.list(at, &params, self.namespaces(), fetch, visit).await
    }

    async fn grants(&mut self, kind: GrantKind, at: &ApiResource) -> Result<(), PluginError> {
        let mut found = Vec::new();
        let visit = |grant: GrantObject| found.push((named(grant.meta()), grant.spec.grants(kind)));
        self.objects(at, ListParams::default(), visit).await?;
        for (name, grants) in found {
            self.references.set_grants(kind, &name, grants);
        }
        Ok(())
    }

    /// Notes who of a kind uses the Secrets; returns where it could be listed.
    async fn users(&mut self, kind: ReferenceKind, at: &ApiResource) -> Result<Vec<Scope>, PluginError> {
        let copies = self.copies.clone();
        let mut found = Vec::new();
        let mut add = |object: &dyn Uses| {
            let uses = object.uses(kind, &copies);
            if !uses.is_empty() {
                found.push((object.name(), uses));
            }
        };
        let scopes = match kind {
            ReferenceKind::Pod => {
                let params = ListParams::default().fields(UNFINISHED);
                let cluster = self.cluster;
                let fetch = async |scope: &Scope, params: ListParams| {
                    cluster.api::<SlimPod>(scope.as_deref()).list(&params).await
                };
                self.list(at, &params, self.namespaces(), fetch, |pod: SlimPod| add(&pod)).await?
            }
            _ if kind.template().is_some() => {
                self.objects(at, ListParams::default(), |workload: Workload| add(&workload)).await?
            }
            _ => self.objects(at, ListParams::default(), |referrer: Referrer| add(&referrer)).await?,
        };
        for (name, uses) in found {
            self.references.set(&User { kind, name }, uses, |_| true);
        }
        Ok(scopes)
    }
}

/// An object that may use Secrets, of whatever type.
trait Uses {
    fn name(&self) -> NamespacedName;
    /// Which of these it uses.
    fn uses(&self, kind: ReferenceKind, copies: &BTreeSet<NamespacedName>) -> Vec<Use>;
}

impl<K: Refers> Uses for K {
    fn name(&self) -> NamespacedName {
        named(self.meta())
    }

    fn uses(&self, kind: ReferenceKind, copies: &BTreeSet<NamespacedName>) -> Vec<Use> {
        let own = Uses::name(self).namespace;
        let mut uses = Vec::new();
        self.visit(kind, &mut |of, name, field| {
            let namespace = of.map_or_else(|| own.clone(), Into::into);
            let secret = NamespacedName { namespace, name: name.into() };
            if copies.contains(&secret) {
                uses.push(Use { namespace: Some(secret.namespace), name: secret.name, field });
            }
        });
        uses
    }
}
