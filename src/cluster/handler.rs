//! Who is told what changed in a cluster.

use std::sync::Arc;

use crate::domain::{
    identity::{NamespacedName, OwnerId},
    namespace::Namespace,
};

/// A namespace in which something changed for an owner of copies.
pub(crate) type Touched = (OwnerId, Arc<str>);

/// A ServiceAccount that came, went or lost an entry.
#[derive(Debug)]
pub(crate) struct AccountChange {
    pub name: NamespacedName,
    /// Whose write it was.
    pub except: Option<OwnerId>,
}

/// Who is told what changed in a cluster. Calls must not block. Until a cluster was listed once nobody is told
/// anything: the first sync looks at all of it.
pub(crate) trait EventHandler: Send + Sync {
    /// Copies changed by another hand, or a name that somebody waits for is free, or the users of a copy changed.
    fn touched(&self, cluster: &Arc<str>, touched: Vec<Touched>);

    /// A ServiceAccount came, went or lost an entry, so that whoever asks for one of this name has to look at it.
    fn account_changed(&self, cluster: &Arc<str>, change: AccountChange);

    /// A namespace came, changed or went.
    fn namespace_changed(
        &self,
        cluster: &Arc<str>,
        name: &Arc<str>,
        before: Option<&Namespace>,
        after: Option<&Namespace>,
    );

    /// Another Pod of a namespace cannot pull an image, or one can, or is gone.
    fn stuck_changed(&self, cluster: &Arc<str>, namespace: &Arc<str>);

    /// Everything was listed anew, so that anything may have changed.
    fn relisted(&self, cluster: &Arc<str>);

    /// Whether the cluster can be worked with has changed.
    fn connectivity_changed(&self, cluster: &Arc<str>);

    /// A Secret of `local` that may be somebody's source came, changed or went (then without a resourceVersion).
    fn secret_changed(&self, name: &NamespacedName, resource_version: Option<&str>);

    /// A complete list of the Secrets of `local` began.
    fn secrets_listing(&self);

    /// A complete list of the Secrets of `local` ended: what it did not show is gone.
    fn secrets_listed(&self);
}
