//! Objects whose type is known at run time alone: where they are, and how they are asked for.

use kube::{Api, Client, Resource, api::ApiResource, core::DynamicResourceScope};

use crate::domain::{connectivity::WatchedKind, reference_kind::ApiType};

/// Makes a type a [`Resource`] of whatever kind it is asked for as; its `ObjectMeta` is in that field.
macro_rules! dynamic_resource {
    ($object:ty, $meta:ident) => {
        impl kube::Resource for $object {
            type DynamicType = kube::api::ApiResource;
            type Scope = kube::core::DynamicResourceScope;

            fn kind(dynamic: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                dynamic.kind.as_str().into()
            }
            fn group(dynamic: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                dynamic.group.as_str().into()
            }
            fn version(dynamic: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                dynamic.version.as_str().into()
            }
            fn plural(dynamic: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                dynamic.plural.as_str().into()
            }
            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.$meta
            }
            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.$meta
            }
        }
    };
}

pub(crate) use dynamic_resource;

/// Where objects of a type are, in one of its versions.
pub(crate) fn resource(api: &ApiType, version: &str) -> ApiResource {
    let api_version =
        if api.group.is_empty() { version.to_owned() } else { format!("{}/{version}", api.group) };
    ApiResource {
        group: api.group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: api.kind.to_owned(),
        plural: api.plural.to_owned(),
    }
}

/// Where objects of a kind are: of a built-in one everywhere, of another where it was `found`.
pub(crate) fn resource_of(
    kind: WatchedKind,
    found: impl FnOnce() -> Option<ApiResource>,
) -> Option<ApiResource> {
    let built_in = kind.api().filter(ApiType::is_built_in);
    let built_in = built_in.and_then(|api| Some(resource(&api, api.versions.first()?)));
    built_in.or_else(found)
}

/// Objects of one namespace, or of all.
pub(crate) fn api<K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>>(
    client: Client,
    namespace: Option<&str>,
    resource: &ApiResource,
) -> Api<K> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    }
}
