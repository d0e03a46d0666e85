//! What all loops share.

use std::{sync::Arc, time::Duration};

use tokio::sync::SetOnce;

use super::{
    clusters::ClusterRegistry, credentials::Credentials, defaults::Defaults, desired::DesiredStates,
    events::Events, hashing::Hashing, keys::Queues, members::MemberIndex, minting::Minting,
    outcomes::Outcomes, policies::Policies, verifications::Verifications,
};
use crate::{
    cluster::{Cluster, Connector},
    domain::{
        adoption::Adopt, fingerprint::FingerprintKey, identity::CredentialId, namespace::Namespace,
        ownership::Hub, withdrawal::Consent,
    },
    supervisor::Supervisor,
    telemetry::Metrics,
};

/// What the API server has, and the values that loops leave for each other.
pub(crate) struct Stores {
    pub credentials: Credentials,
    pub policies: Policies,
    pub members: MemberIndex,
    pub hashing: Arc<Hashing>,
    pub verifications: Arc<Verifications>,
    pub minting: Arc<Minting>,
    pub desired: DesiredStates,
    pub defaults: Defaults,
    pub outcomes: Outcomes,
}

/// What all loops share.
pub(crate) struct Context {
    /// The operator's own namespace.
    pub namespace: Arc<str>,
    pub hub: Arc<Hub>,
    /// Makes clients of `local`.
    pub connector: Connector,
    pub clusters: Arc<ClusterRegistry>,
    pub stores: Arc<Stores>,
    pub queues: Arc<Queues>,
    pub fingerprints: Arc<FingerprintKey>,
    pub events: Events,
    pub metrics: Arc<Metrics>,
    pub supervisor: Supervisor,
    /// Set when the members are known that there were at the start, and each was listed or does not answer.
    pub members_known: SetOnce<()>,
    /// Whose clusters become members by themselves.
    pub adopt: Adopt,
    /// Whether servers whose identity is not checked are accepted as members.
    pub allow_insecure_members: bool,
    pub resync_interval: Duration,
    /// How long a cluster that does not answer holds a deletion up.
    pub unreachable_grace: Duration,
    /// How long an owner must have been missing before its copies are swept.
    pub sweep_grace: Duration,
}

impl Context {
    /// Waits until everything that the loops read was listed once, except in members that do not answer.
    pub async fn filled(self: Arc<Self>) {
        self.stores.policies.listed.wait().await;
        self.members_known.wait().await;
        self.local().connectivity.filled().await;
    }

    /// Whether a lack of consent takes copies of a credential away by now.
    pub fn consent(&self, id: &CredentialId) -> Consent {
        let own = self.own_namespace(id).unwrap_or_default();
        self.stores.policies.consent(id.kind, &id.namespace, &own)
    }

    /// Whether tokens for a credential may be minted by the operator's own identity; `None` while a policy that could allow
    /// it cannot be read.
    pub fn may_use_own_identity(&self, id: &CredentialId) -> Option<bool> {
        let own = self.own_namespace(id).unwrap_or_default();
        let (covering, are_all) = self.stores.policies.covering(id.kind, &id.namespace, &own);
        let is_allowed = covering.iter().any(|policy| policy.allows_operator_identity);
        (is_allowed || are_all).then_some(is_allowed)
    }

    /// The namespace of a credential, as it was seen last.
    pub fn own_namespace(&self, id: &CredentialId) -> Option<Namespace> {
        self.local().read().snapshot().namespaces.get(&id.namespace).cloned()
    }

    /// The cluster that the operator runs in.
    pub fn local(&self) -> &Arc<Cluster> {
        self.clusters.local()
    }
}
