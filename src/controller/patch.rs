//! JSON patches of custom resources that hold only if nobody was faster.

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use serde_json::{Map, Value, json};

use super::Error;
use crate::api::FINALIZER;

/// The finalizers of an object, and what the patch of them is guarded by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finalizers<'a> {
    pub list: &'a [String],
    pub resource_version: &'a str,
}

/// An object that is patched.
pub(crate) struct Target {
    pub api: Api<DynamicObject>,
    pub name: String,
}

impl Target {
    /// An object in a namespace, or without one.
    pub fn new(client: kube::Client, resource: &ApiResource, namespace: &str, name: &str) -> Self {
        let api = if namespace.is_empty() {
            Api::all_with(client, resource)
        } else {
            Api::namespaced_with(client, namespace, resource)
        };
        Self { api, name: name.to_owned() }
    }

    /// Puts our finalizer on.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn add_finalizer(&self, finalizers: Finalizers<'_>) -> Result<(), Error> {
        let change = if finalizers.list.is_empty() {
            json!({"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]})
        } else {
            json!({"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER})
        };
        self.patch_finalizers(finalizers, change, "add the finalizer").await
    }

    /// Takes our finalizer off. kube's own helper does so whenever a cleanup returns Ok, also one that merely waits, so
    /// it is not used.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn remove_finalizer(&self, finalizers: Finalizers<'_>) -> Result<(), Error> {
        let Some(at) = finalizers.list.iter().position(|finalizer| finalizer == FINALIZER) else {
            return Ok(());
        };
        let change = json!({"op": "remove", "path": format!("/metadata/finalizers/{at}")});
        self.patch_finalizers(finalizers, change, "remove the finalizer").await
    }

    async fn patch_finalizers(
        &self,
        finalizers: Finalizers<'_>,
        change: Value,
        what: &'static str,
    ) -> Result<(), Error> {
        let test =
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": finalizers.resource_version});
        let patch = json_patch(json!([test, change]), what)?;
        match self.api.patch_metadata(&self.name, &PatchParams::default(), &patch).await {
            Ok(_) => Ok(()),
            // Gone is as good as done.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(Error::api(what)(error)),
        }
    }

    /// Writes those fields of a status that differ from the last ones. The uid is tested, so that the status of an
    /// object never lands on another one of its name. Returns the resourceVersion, none for an object that is gone.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn status(
        &self,
        uid: &str,
        before: Option<&Map<String, Value>>,
        next: &Map<String, Value>,
    ) -> Result<Option<String>, Error> {
        let test = json!({"op": "test", "path": "/metadata/uid", "value": uid});
        let mut patch = vec![test];
        match before {
            Some(before) => patch.extend(differences(before, next)),
            None => patch.push(json!({"op": "add", "path": "/status", "value": next})),
        }
        let patch = json_patch(Value::Array(patch), "write the status")?;
        let written = self.api.patch_subresource("status", &self.name, &PatchParams::default(), &patch).await;
        match written {
            Ok(object) => Ok(object.metadata.resource_version),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(Error::api("write the status")(error)),
        }
    }
}

/// A JSON patch of its operations.
pub(crate) fn json_patch(patch: Value, what: &'static str) -> Result<Patch<()>, Error> {
    serde_json::from_value(patch).map(Patch::Json).map_err(|_| Error::Json { what })
}

/// Operations that make one status of another, field by field, so that each field has one owner.
fn differences(before: &Map<String, Value>, next: &Map<String, Value>) -> Vec<Value> {
    let path = |key: &str| format!("/status/{}", key.replace('~', "~0").replace('/', "~1"));
    let gone = before.keys().filter(|key| !next.contains_key(*key));
    let gone = gone.map(|key| json!({"op": "remove", "path": path(key)}));
    let new = next.iter().filter(|(key, value)| before.get(*key) != Some(value));
    gone.chain(new.map(|(key, value)| json!({"op": "add", "path": path(key), "value": value}))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_patched_field_by_field() {
        let (Value::Object(before), Value::Object(next)) =
            (json!({"a": 1, "b": {"c": 1}, "old": true}), json!({"a": 1, "b": {"c": 2}, "new": 3}))
        else {
            panic!("objects")
        };
        let operations = Value::Array(differences(&before, &next)).to_string();
        assert_eq!(
            operations,
            json!([
                {"op": "remove", "path": "/status/old"},
                {"op": "add", "path": "/status/b", "value": {"c": 2}},
                {"op": "add", "path": "/status/new", "value": 3},
            ])
            .to_string()
        );
        assert!(differences(&next, &next).is_empty());
    }
}
