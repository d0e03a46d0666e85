//! The watch of one kind of credential.

use std::sync::Arc;

use kube::{
    Api, Resource,
    core::{ApiResource, DynamicResourceScope},
    runtime::watcher,
};
use serde::Deserialize;
use tracing::warn;

use crate::{
    api::CredentialKind,
    cluster::reflector::{self, Store, reflect},
    controller::{Context, credentials::Difference, sweep},
    domain::{
        declared::Declared,
        identity::{CredentialId, NamespacedName},
        selection::LOCAL,
    },
};

/// A credential as the reflector takes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
struct Object(Declared);

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(dynamic: &ApiResource) -> std::borrow::Cow<'_, str> {
        dynamic.kind.as_str().into()
    }
    fn group(dynamic: &ApiResource) -> std::borrow::Cow<'_, str> {
        dynamic.group.as_str().into()
    }
    fn version(dynamic: &ApiResource) -> std::borrow::Cow<'_, str> {
        dynamic.version.as_str().into()
    }
    fn plural(dynamic: &ApiResource) -> std::borrow::Cow<'_, str> {
        dynamic.plural.as_str().into()
    }
    fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        &self.0.meta
    }
    fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        &mut self.0.meta
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
    let beat = context.freshness.register(LOCAL, &resource.plural);
    let api: Api<Object> = Api::all_with(context.connector.client(Some(beat))?, &resource);
    let config = reflector::config(context.connector.timeouts().watch);
    Ok(reflect(api, config, Kind { context: context.clone(), kind }))
}

struct Kind {
    context: Arc<Context>,
    kind: CredentialKind,
}

impl Kind {
    fn count_unreadable(&self) {
        let of_kind = self.context.stores.credentials.of_kind(self.kind);
        let unreadable = of_kind.iter().filter(|declared| declared.spec.is_err()).count();
        self.context.metrics.set_unreadable(self.kind.name(), unreadable);
    }

    fn gone(&self, name: &NamespacedName) {
        let id = CredentialId { kind: self.kind, namespace: name.namespace.clone(), name: name.name.clone() };
        let owner = id.owner();
        self.context.stores.credentials.remove(&owner);
        self.context.queues.credential(&owner);
    }
}

impl Store for Kind {
    type Object = Object;

    fn upsert(&mut self, Object(declared): Object, listed: bool) {
        let owner = declared.id.owner();
        let unreadable = declared.spec.is_err();
        let difference = self.context.stores.credentials.set(declared);
        match difference {
            Difference::Credential => {
                self.context.queues.credential(&owner);
                if unreadable || !listed {
                    self.count_unreadable();
                }
            }
            Difference::Status => {
                self.context.queues.status(&owner);
                // A request that was answered is not asked again.
                self.context.queues.credential(&owner);
            }
            Difference::Nothing => {}
        }
    }

    fn remove(&mut self, Object(declared): Object) {
        let owner = declared.id.owner();
        let known = self.context.stores.credentials.get(&owner);
        // The end of an older object of this name says nothing of the one that is there now.
        if known.is_none_or(|known| known.uid() == declared.uid()) {
            self.gone(&NamespacedName { namespace: declared.id.namespace, name: declared.id.name });
        }
    }

    fn known(&self) -> Vec<NamespacedName> {
        let of_kind = self.context.stores.credentials.of_kind(self.kind);
        let name = |declared: &Arc<Declared>| NamespacedName {
            namespace: declared.id.namespace.clone(),
            name: declared.id.name.clone(),
        };
        of_kind.iter().map(name).collect()
    }

    fn vanished(&mut self, name: &NamespacedName) {
        self.gone(name);
    }

    fn complete(&mut self) {
        self.context.stores.credentials.listed(self.kind);
        self.count_unreadable();
        for declared in self.context.stores.credentials.of_kind(self.kind) {
            self.context.queues.credential(&declared.id.owner());
        }
        sweep::wake_all(&self.context);
    }

    fn failed(&mut self, error: &watcher::Error) {
        let watch = self.kind.resource().plural;
        warn!(cluster = LOCAL, watch, "{}", reflector::describe_failure(error));
    }
}
