//! The watch of DistributionPolicies.

use std::sync::Arc;

use kube::{Api, ResourceExt, runtime::watcher};

use crate::{
    api::DistributionPolicy,
    cluster::{
        Guarded,
        reflector::{Store, reflect},
    },
    controller::{Context, events::about, keys::Dirty},
    domain::{
        event::{Action, Note},
        identity::NamespacedName,
        reason::Reason,
    },
};

/// Follows the policies for as long as it is polled.
///
/// # Errors
/// When a client cannot be made.
pub(crate) fn watch(context: &Arc<Context>) -> Result<impl Future<Output = ()> + Send + use<>, kube::Error> {
    let store = Policies { context: context.clone(), changed: false };
    reflect(&context.connector, "distributionpolicies", Api::all, watcher::Config::default(), store)
}

struct Policies {
    context: Arc<Context>,
    /// Whether the list in progress has shown anything new.
    changed: bool,
}

impl Policies {
    fn changed(&self) {
        let unreadable = self.context.stores.policies.unreadable();
        self.context.metrics.set_unreadable("DistributionPolicy", unreadable);
        self.context.queues.credentials(self.context.stores.credentials.owners());
        // What waits for policies to be readable again.
        for (owner, cluster) in self.context.stores.outcomes.deferred() {
            self.context.queues.sync(&owner, &cluster, Dirty::default());
        }
    }

    fn tell_unreadable(&self, object: &Guarded<DistributionPolicy>, error: &str) {
        let text = format!(
            "this version of Claviger cannot read the policy, so that it allows nothing; nothing is withdrawn for lack of consent meanwhile: {error}; upgrade Claviger, or fix the spec"
        );
        let note = Note::warning(Reason::UnsupportedSpec, Action::Read, text);
        let about = about(object, &());
        let events = self.context.events.clone();
        self.context.supervisor.spawn("event of an unreadable policy", async move {
            events.publish(&about, &note).await;
        });
    }
}

impl Store for Policies {
    type Object = Guarded<DistributionPolicy>;

    fn upsert(&mut self, object: Self::Object, listed: bool) {
        let policies = &self.context.stores.policies;
        let spec = object.0.as_ref().ok().map(|policy| &policy.spec);
        let changed = policies.set(&object.name_any(), spec);
        if let (Err(bad), true) = (&object.0, changed) {
            self.tell_unreadable(&object, &bad.error);
        }
        self.changed |= changed;
        if changed && !listed {
            self.changed();
        }
    }

    fn remove(&mut self, object: Self::Object) {
        if self.context.stores.policies.remove(&object.name_any()) {
            self.changed();
        }
    }

    fn known(&self) -> Vec<NamespacedName> {
        let names = self.context.stores.policies.names();
        names.into_iter().map(|name| NamespacedName::new("", name)).collect()
    }

    fn complete(&mut self, vanished: Vec<NamespacedName>) {
        for policy in vanished {
            self.changed |= self.context.stores.policies.remove(&policy.name);
        }
        // Once is enough.
        let _ = self.context.stores.policies.listed.set(());
        if std::mem::take(&mut self.changed) {
            self.changed();
        }
    }
}
