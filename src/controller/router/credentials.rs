//! The watch of one kind of credential.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource,
    core::{ApiResource, DynamicResourceScope},
    runtime::watcher,
};

use crate::{
    api::CredentialKind,
    cluster::reflector::{self, Store, reflect},
    controller::{Context, credentials::Difference, sweep},
    domain::{
        declared::Declared,
        identity::{CredentialId, NamespacedName, OwnerId},
    },
};

impl Resource for Declared {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(dynamic: &ApiResource) -> Cow<'_, str> {
        dynamic.kind.as_str().into()
    }
    fn group(dynamic: &ApiResource) -> Cow<'_, str> {
        dynamic.group.as_str().into()
    }
    fn version(dynamic: &ApiResource) -> Cow<'_, str> {
        dynamic.version.as_str().into()
    }
    fn plural(dynamic: &ApiResource) -> Cow<'_, str> {
        dynamic.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

/// Follows the credentials of one kind for as long as it is polled.
///
/// # Errors
/// When a client cannot be made.
pub(crate) fn watch_kind(
    context: &Arc<Context>,
    kind: CredentialKind,
) -> Result<impl Future<Output = ()> + Send + use<>, kube::Error> {
    let resource = kind.resource();
    let watch = resource.plural.clone();
    let api = move |client| Api::all_with(client, &resource);
    reflect(
        &context.connector,
        &watch,
        api,
        watcher::Config::default(),
        Kind { context: context.clone(), kind },
    )
}

struct Kind {
    context: Arc<Context>,
    kind: CredentialKind,
}

impl Kind {
    fn declared(&self) -> Vec<Arc<Declared>> {
        self.context.stores.credentials.of_kind(self.kind)
    }

    fn count_unreadable(&self) {
        let unreadable = self.declared().iter().filter(|declared| declared.spec.is_err()).count();
        self.context.metrics.set_unreadable(self.kind.name(), unreadable);
    }

    fn gone(&self, owner: &OwnerId) {
        self.context.stores.credentials.remove(owner);
        self.context.queues.credential(owner);
    }
}

impl Store for Kind {
    type Object = Declared;

    fn upsert(&mut self, declared: Declared, listed: bool) {
        let owner = declared.id.owner();
        let unreadable = declared.spec.is_err();
        match self.context.stores.credentials.set(declared) {
            Difference::Credential => {
                self.context.queues.credential(&owner);
                if unreadable || !listed {
                    self.count_unreadable();
                }
            }
            Difference::Status => self.context.queues.status(&owner),
            Difference::Nothing => {}
        }
    }

    fn remove(&mut self, declared: Declared) {
        let owner = declared.id.owner();
        let known = self.context.stores.credentials.get(&owner);
        // The end of an older object of this name says nothing of the one that is there now.
        if known.is_none_or(|known| known.uid() == declared.uid()) {
            self.gone(&owner);
        }
    }

    fn known(&self) -> Vec<NamespacedName> {
        self.declared().iter().map(|declared| reflector::name_of(&declared.meta)).collect()
    }

    fn complete(&mut self, vanished: Vec<NamespacedName>) {
        for NamespacedName { namespace, name } in vanished {
            self.gone(&CredentialId { kind: self.kind, namespace, name }.owner());
        }
        self.context.stores.credentials.listed(self.kind);
        self.count_unreadable();
        self.context.queues.credentials(self.declared().iter().map(|declared| declared.id.owner()));
        sweep::wake_all(&self.context);
    }
}
