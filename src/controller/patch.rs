//! JSON patches of custom resources that hold only if nobody was faster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Error;
use crate::{
    api::{ClusterStatus, CredentialStatus, FINALIZER},
    domain::identity::CredentialId,
};

/// An object that is patched.
pub(crate) struct Target {
    pub api: Api<DynamicObject>,
    pub name: String,
}

impl Target {
    /// A credential.
    pub fn credential(client: kube::Client, id: &CredentialId) -> Self {
        let api = Api::namespaced_with(client, &id.namespace, &id.kind.resource());
        Self { api, name: id.name.to_string() }
    }

    /// Puts our finalizer on. `seen` is the metadata of the object, by which the patch is guarded.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn add_finalizer(&self, seen: &ObjectMeta) -> Result<(), Error> {
        let change = if seen.finalizers.as_ref().is_none_or(Vec::is_empty) {
            json!({"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]})
        } else {
            json!({"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER})
        };
        self.patch_finalizers(seen, change, "add the finalizer").await
    }

    /// Takes our finalizer off. kube's own helper does so whenever a cleanup returns Ok, also one that merely waits, so
    /// it is not used.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn remove_finalizer(&self, seen: &ObjectMeta) -> Result<(), Error> {
        let mut finalizers = seen.finalizers.iter().flatten();
        let Some(at) = finalizers.position(|finalizer| finalizer == FINALIZER) else { return Ok(()) };
        let change = json!({"op": "remove", "path": format!("/metadata/finalizers/{at}")});
        self.patch_finalizers(seen, change, "remove the finalizer").await
    }

    async fn patch_finalizers(
        &self,
        seen: &ObjectMeta,
        change: Value,
        what: &'static str,
    ) -> Result<(), Error> {
        let version = seen.resource_version.as_deref().unwrap_or_default();
        let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
        let patch = parse(vec![test, change], what)?;
        let patched = self.api.patch_metadata(&self.name, &PatchParams::default(), &patch).await;
        unless_gone(patched).map(drop).map_err(Error::api(what))
    }

    /// Changes a status. The uid is tested, so that the status of an object never lands on another one of its name.
    /// Returns the resourceVersion, none for an object that is gone.
    ///
    /// # Errors
    /// What the API server answered.
    pub async fn status(&self, uid: &str, changes: Vec<Value>) -> Result<Option<String>, Error> {
        let what = "write the status";
        let test = json!({"op": "test", "path": "/metadata/uid", "value": uid});
        let patch = parse([test].into_iter().chain(changes).collect(), what)?;
        // The answer is the metadata alone, as a status of many clusters is long.
        let name = format!("{}/status", self.name);
        let written = self.api.patch_metadata(&name, &PatchParams::default(), &patch).await;
        let written = unless_gone(written).map_err(Error::api(what))?;
        Ok(written.and_then(|object| object.metadata.resource_version))
    }
}

/// The fields of a status.
///
/// # Errors
/// When it does not serialize.
pub(crate) fn fields(status: &impl Serialize) -> Result<Map<String, Value>, Error> {
    let fields = serde_json::to_value(status).and_then(serde_json::from_value);
    fields.map_err(Error::json("write the status"))
}

/// A patch of these operations.
///
/// # Errors
/// When they do not serialize.
pub(crate) fn parse(operations: Vec<Value>, what: &'static str) -> Result<Patch<()>, Error> {
    serde_json::from_value(Value::Array(operations)).map(Patch::Json).map_err(Error::json(what))
}

/// What is gone needs no patch.
fn unless_gone<T>(patched: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match patched {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        patched => patched.map(Some),
    }
}

/// Operations that make one status of another, field by field, so that each field has one owner.
pub(crate) fn differences(before: Option<&Map<String, Value>>, next: &Map<String, Value>) -> Vec<Value> {
    let Some(before) = before else {
        return vec![json!({"op": "add", "path": "/status", "value": next})];
    };
    let path = |key: &str| format!("/status/{}", key.replace('~', "~0").replace('/', "~1"));
    let gone = before.keys().filter(|key| !next.contains_key(*key));
    let gone = gone.map(|key| json!({"op": "remove", "path": path(key)}));
    let new = next.iter().filter(|(key, value)| before.get(*key) != Some(value));
    gone.chain(new.map(|(key, value)| json!({"op": "add", "path": path(key), "value": value}))).collect()
}

/// The status of a credential: the common part, and the fields of its kind.
type Credential<'a> = (&'a CredentialStatus, &'a Map<String, Value>);

/// Operations that make one status of a credential of another. Where the clusters have kept their names, only the rows that
/// differ are written: one cluster of many changes much more often than all.
///
/// # Errors
/// When it does not serialize.
pub(crate) fn status(before: Option<Credential<'_>>, next: Credential<'_>) -> Result<Vec<Value>, Error> {
    let rows = before.and_then(|(before, _)| rows(&before.clusters, &next.0.clusters));
    let all = |(status, details): Credential<'_>| -> Result<_, Error> {
        let mut all = if rows.is_some() {
            fields(&CredentialStatus { clusters: Vec::new(), ..status.clone() })?
        } else {
            fields(status)?
        };
        all.extend(details.clone());
        Ok(all)
    };
    let mut changes = differences(before.map(all).transpose()?.as_ref(), &all(next)?);
    changes.extend(rows.into_iter().flatten());
    Ok(changes)
}

/// Operations that replace those rows that differ; `None` unless all clusters have kept their names.
fn rows(before: &[ClusterStatus], next: &[ClusterStatus]) -> Option<Vec<Value>> {
    let same = before.len() == next.len() && before.iter().zip(next).all(|(a, b)| a.name == b.name);
    let differing = before.iter().zip(next).enumerate().filter(|(_, (before, next))| before != next);
    let operations = differing.flat_map(|(at, (_, row))| {
        [
            json!({"op": "test", "path": format!("/status/clusters/{at}/name"), "value": row.name}),
            json!({"op": "replace", "path": format!("/status/clusters/{at}"), "value": row}),
        ]
    });
    same.then(|| operations.collect())
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
        let operations = Value::Array(differences(Some(&before), &next)).to_string();
        assert_eq!(
            operations,
            json!([
                {"op": "remove", "path": "/status/old"},
                {"op": "add", "path": "/status/b", "value": {"c": 2}},
                {"op": "add", "path": "/status/new", "value": 3},
            ])
            .to_string()
        );
        assert!(differences(Some(&next), &next).is_empty());
    }

    fn of(clusters: &[(&str, i64)], revision: i64) -> CredentialStatus {
        let clusters: Vec<Value> = clusters
            .iter()
            .map(|(name, n)| {
                json!({"name": name, "state": "Synced", "namespaces": {"desired": n, "synced": n, "failed": 0}})
            })
            .collect();
        serde_json::from_value(json!({"revision": revision, "clusters": clusters})).unwrap()
    }

    #[test]
    fn rows_are_patched_one_by_one_while_the_clusters_keep_their_names() {
        let details = Map::from_iter([("registry".to_owned(), json!({"key": "k"}))]);
        let changes = |before: Option<&CredentialStatus>, next: &CredentialStatus| {
            Value::Array(status(before.map(|before| (before, &details)), (next, &details)).unwrap())
        };
        let (before, next) = (of(&[("a", 1), ("b", 1)], 1), of(&[("a", 1), ("b", 2)], 2));
        let row =
            json!({"name": "b", "state": "Synced", "namespaces": {"desired": 2, "synced": 2, "failed": 0}});
        assert_eq!(
            changes(Some(&before), &next),
            json!([
                {"op": "add", "path": "/status/revision", "value": 2},
                {"op": "test", "path": "/status/clusters/1/name", "value": "b"},
                {"op": "replace", "path": "/status/clusters/1", "value": row},
            ])
        );
        assert_eq!(changes(Some(&next), &next), json!([]));
        for other in [of(&[("a", 2)], 1), of(&[("b", 1), ("a", 1)], 1)] {
            let all = json!([{"op": "add", "path": "/status/clusters", "value": other.clusters}]);
            assert_eq!(changes(Some(&before), &other), all);
        }
        let first = changes(None, &next);
        assert_eq!(
            (&first[0]["path"], &first[0]["value"]["registry"]["key"]),
            (&json!("/status"), &json!("k"))
        );
        assert_eq!(first[0]["value"]["clusters"][1], row);
    }
}
