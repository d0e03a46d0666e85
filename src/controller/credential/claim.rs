//! A credential comes to be a default, or is one no more: then the place of others changes.

use std::{collections::BTreeSet, sync::Arc};

use super::CredentialLoop;
use crate::{
    controller::{defaults::Claim, keys::Dirty},
    domain::{declared::Lifecycle, identity::OwnerId},
};

impl CredentialLoop {
    /// Leaves what a credential wants of ServiceAccounts, and wakes its rivals where that makes a difference.
    pub(super) fn claim(&self, owner: &OwnerId, claim: Option<Claim>) {
        let (stores, queues) = (&self.context.stores, &self.context.queues);
        let after = claim.clone();
        if let Some(before) = stores.defaults.set(owner, claim) {
            let both = (before.as_deref(), after.as_ref());
            let claims = [both.0, both.1].into_iter().flatten();
            let clusters: BTreeSet<&Arc<str>> = claims.flat_map(|claim| claim.clusters.keys()).collect();
            for name in clusters {
                let Some(member) = self.context.clusters.get(name) else { continue };
                let Some(cluster) = member.seen() else { continue };
                let (rivals, namespaces) = {
                    let cache = cluster.read();
                    stores.defaults.concerned(owner, name, both, cache.snapshot().namespaces.iter())
                };
                for rival in rivals.iter().filter(|_| !namespaces.is_empty()) {
                    queues.sync(rival, name, Dirty { all: false, namespaces: namespaces.clone() });
                }
            }
        }
        // One that was never worked on has nothing attached yet, and does not hold up others.
        let has = |owner: &OwnerId| {
            let is_new = || stores.credentials.get(owner).is_none_or(|one| one.lifecycle() == Lifecycle::New);
            stores.desired.get(owner).is_some() || is_new()
        };
        if stores.defaults.becomes_known(has) {
            for (owner, clusters) in stores.defaults.all() {
                for cluster in clusters {
                    queues.sync(&owner, &cluster, Dirty::all());
                }
            }
        }
    }
}
