//! The watch of MemberClusters.

use std::sync::Arc;

use kube::{Api, Resource, ResourceExt, runtime::watcher};

use crate::{
    api::MemberCluster,
    cluster::{
        Guarded,
        reflector::{Store, reflect},
    },
    controller::{Context, member::MemberIndex},
    domain::identity::NamespacedName,
};

/// Follows the members for as long as it is polled.
///
/// # Errors
/// When a client cannot be made.
pub(crate) fn watch(
    context: &Arc<Context>,
    index: &Arc<MemberIndex>,
) -> Result<impl Future<Output = ()> + Send + use<>, kube::Error> {
    let store = Members { context: context.clone(), index: index.clone() };
    reflect(&context.connector, "memberclusters", Api::all, watcher::Config::default(), store)
}

struct Members {
    context: Arc<Context>,
    index: Arc<MemberIndex>,
}

impl Members {
    fn gone(&self, name: &str) {
        self.index.remove(name);
        self.context.clusters.remove(name);
        self.context.queues.member(name);
    }
}

impl Store for Members {
    type Object = Guarded<MemberCluster>;

    fn upsert(&mut self, object: Self::Object, listed: bool) {
        let name = object.name_any();
        // Here rather than in the loop, which comes later than that of a credential may.
        if let Ok(member) = &object.0
            && member.metadata.deletion_timestamp.is_none()
        {
            self.context.clusters.announce(&name, member.labels());
        }
        if self.index.set(object) {
            self.context.queues.member(&name);
        }
        if !listed {
            self.context.metrics.set_unreadable("MemberCluster", self.index.unreadable());
        }
    }

    fn remove(&mut self, object: Self::Object) {
        let name = object.name_any();
        let known = self.index.get(&name);
        // The end of an older object of this name says nothing of the one that is there now.
        if known.is_none_or(|known| Some(known.uid()) == object.meta().uid.as_deref()) {
            self.gone(&name);
        }
    }

    fn known(&self) -> Vec<NamespacedName> {
        self.index.names().into_iter().map(|name| NamespacedName::new("", name)).collect()
    }

    fn complete(&mut self, vanished: Vec<NamespacedName>) {
        for member in vanished {
            self.gone(&member.name);
        }
        self.context.metrics.set_unreadable("MemberCluster", self.index.unreadable());
        self.context.queues.members(self.index.names());
        self.index.listed();
    }
}
