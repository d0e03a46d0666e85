//! Our finalizer, by JSON patches that hold only if nobody was faster. kube's own helper takes the
//! finalizer off whenever a cleanup returns Ok, also one that merely waits, so it is not used.

use std::fmt::Debug;

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Error;
use crate::api::{ANNOTATION_FORCE_DELETE, FINALIZER};

/// Whether an object carries our finalizer.
pub fn is_set<K: ResourceExt>(object: &K) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Whether somebody said, on an object that is being deleted, not to wait for anything.
pub fn is_forced<K: ResourceExt>(object: &K) -> bool {
    object.annotations().get(ANNOTATION_FORCE_DELETE).is_some_and(|value| value == "true")
}

/// Puts our finalizer on.
///
/// # Errors
/// What the API server answered.
pub async fn add<K>(api: &Api<K>, object: &K) -> Result<(), Error>
where
    K: ResourceExt + Clone + DeserializeOwned + Debug,
{
    let place = if object.finalizers().is_empty() {
        json!({"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]})
    } else {
        json!({"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER})
    };
    patch(api, object, place, "add the finalizer").await
}

/// Takes our finalizer off.
///
/// # Errors
/// What the API server answered.
pub async fn remove<K>(api: &Api<K>, object: &K) -> Result<(), Error>
where
    K: ResourceExt + Clone + DeserializeOwned + Debug,
{
    let Some(at) = object.finalizers().iter().position(|finalizer| finalizer == FINALIZER) else {
        return Ok(());
    };
    let place = json!({"op": "remove", "path": format!("/metadata/finalizers/{at}")});
    patch(api, object, place, "remove the finalizer").await
}

async fn patch<K>(
    api: &Api<K>,
    object: &K,
    change: serde_json::Value,
    what: &'static str,
) -> Result<(), Error>
where
    K: ResourceExt + Clone + DeserializeOwned + Debug,
{
    let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": object.resource_version()});
    let patch: json_patch::Patch =
        serde_json::from_value(json!([test, change])).map_err(|_| Error::Json { what })?;
    let patch = Patch::Json::<()>(patch);
    match api.patch_metadata(&object.name_any(), &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        // Gone is as good as done.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::api(what)(error)),
    }
}
