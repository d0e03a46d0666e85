//! Credentials that want a pull Secret in a namespace.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::{CredentialKind, DistributionPolicySpec, RegistryCredentialSpec, RegistryCredentialStatus},
    domain::{
        condition::{self, ConditionStatus, ConditionType},
        consent::Policy,
        namespace::Namespace,
        reason::Reason,
        registry::{kubelet, registry},
        selection::{LOCAL, NamespaceMatcher, lists_cluster, selects_cluster},
        targets::{ClusterTargets, Verdict},
    },
};

/// A RegistryCredential as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    pub namespace: String,
    pub name: String,
    pub spec: RegistryCredentialSpec,
    pub status: RegistryCredentialStatus,
}

/// What decides who may push where. `None` for what could not be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsentInputs {
    pub policies: Option<Vec<DistributionPolicySpec>>,
    pub namespaces: BTreeMap<String, Namespace>,
}

/// A credential that wants a Secret in the namespace of a Pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    /// Kind, namespace and name.
    pub credential: String,
    /// The name of its Secrets.
    pub secret: String,
    /// The keys of their entries.
    pub keys: Vec<String>,
    pub is_permitted: bool,
    pub expires: Option<Timestamp>,
    /// What its status says of the namespace, or else of itself, where that is bad news.
    pub status_message: Option<String>,
}

impl Offer {
    /// Whether its Secrets have an entry for an image.
    pub fn serves(&self, repository: &str) -> bool {
        self.keys.iter().any(|key| kubelet::matches(key, repository))
    }
}

/// What the credentials have for a namespace.
pub(crate) fn offers(declarations: &[Declaration], inputs: &ConsentInputs, namespace: &str) -> Vec<Offer> {
    let unknown = Namespace::default();
    let seen = |name: &str| inputs.namespaces.get(name).unwrap_or(&unknown);
    // Which namespace is the operator's is not known here; it has no Pods with images of users.
    let operator: Arc<str> = "".into();
    let policies: Option<Vec<Policy>> =
        inputs.policies.as_ref().map(|specs| specs.iter().map(|spec| Policy::new(spec, &operator)).collect());
    let offer = |declared: &Declaration| {
        let target = &declared.spec.target;
        let labels = BTreeMap::new();
        if !selects_cluster(target.clusters.as_ref(), LOCAL, &labels) {
            return None;
        }
        let kind = CredentialKind::RegistryCredential;
        let home: Arc<str> = declared.namespace.as_str().into();
        let selector = target.namespaces.as_ref();
        let selector = selector.map(|selector| Arc::new(NamespaceMatcher::new(selector, &operator)));
        let covering = policies.iter().flatten();
        let covering = covering.filter(|policy| policy.covers(kind, &home, seen(&home)));
        let is_listed = lists_cluster(target.clusters.as_ref(), LOCAL);
        let targets = ClusterTargets::new(&home, selector, covering, LOCAL, is_listed, &labels);
        let verdict = targets.with_metadata(target).judge(namespace, seen(namespace));
        let row = declared.status.common.clusters.iter().find(|row| row.name == LOCAL);
        let mut failures = row.into_iter().flat_map(|row| &row.failures);
        let failure = failures.find(|failure| failure.namespace == namespace);
        let is_permitted = match (verdict, &policies) {
            (Verdict::NotTargeted, _) => return None,
            (_, None) => failure.is_none_or(|failure| failure.reason != Reason::NotPermitted.as_str()),
            (verdict, Some(_)) => verdict == Verdict::Permitted,
        };
        let conditions = &declared.status.common.conditions;
        let ready = condition::find(conditions, ConditionType::Ready);
        let ready = ready.filter(|ready| ConditionStatus::of(ready) != ConditionStatus::True);
        let status_message = failure.map(|failure| &failure.message).or(ready.map(|ready| &ready.message));
        Some(Offer {
            credential: format!("{} {}/{}", kind.name(), declared.namespace, declared.name),
            secret: target.secret_name.clone().unwrap_or_else(|| declared.name.clone()),
            keys: declared.spec.entries().iter().map(|login| registry(login).key).collect(),
            is_permitted,
            expires: declared.status.common.expiration_time.as_ref().map(|time| time.0),
            status_message: status_message.cloned(),
        })
    };
    declarations.iter().filter_map(offer).collect()
}
