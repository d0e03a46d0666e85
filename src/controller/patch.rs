//! JSON patches of custom resources that hold only if nobody was faster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Error;
use crate::{api::FINALIZER, domain::identity::CredentialId};

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
        let what = "write the status";
        let mut patch = vec![json!({"op": "test", "path": "/metadata/uid", "value": uid})];
        match before {
            Some(before) => patch.extend(differences(before, next)),
            None => patch.push(json!({"op": "add", "path": "/status", "value": next})),
        }
        let patch = parse(patch, what)?;
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

/// Operations that make one status of another, field by field, so that each field has one owner; and row by row where
/// the rows have kept their names, as one cluster of many changes much more often than all.
fn differences(before: &Map<String, Value>, next: &Map<String, Value>) -> Vec<Value> {
    let path = |key: &str| format!("/status/{}", key.replace('~', "~0").replace('/', "~1"));
    let gone = before.keys().filter(|key| !next.contains_key(*key));
    let gone = gone.map(|key| json!({"op": "remove", "path": path(key)}));
    let new = next.iter().filter(|(key, value)| before.get(*key) != Some(value)).flat_map(|(key, value)| {
        rows(&path(key), before.get(key), value)
            .unwrap_or_else(|| vec![json!({"op": "add", "path": path(key), "value": value})])
    });
    gone.chain(new).collect()
}

/// Operations that replace those rows of a list that differ; `None` unless all rows have kept their names.
fn rows(path: &str, before: Option<&Value>, next: &Value) -> Option<Vec<Value>> {
    let (before, next) = (before?.as_array()?, next.as_array()?);
    let name = |row: &Value| row.get("name").map(Value::to_string);
    let same = before.len() == next.len()
        && before.iter().zip(next).all(|(before, next)| name(next).is_some() && name(before) == name(next));
    let differing = before.iter().zip(next).enumerate().filter(|(_, (before, next))| before != next);
    let operations = differing.flat_map(|(at, (_, row))| {
        [
            json!({"op": "test", "path": format!("{path}/{at}/name"), "value": row["name"]}),
            json!({"op": "replace", "path": format!("{path}/{at}"), "value": row}),
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

    #[test]
    fn a_list_with_names_is_patched_row_by_row_while_it_has_the_same_names() {
        let list = |rows: Value| Map::from_iter([("clusters".to_owned(), rows)]);
        let before = list(json!([{"name": "a", "n": 1}, {"name": "b", "n": 1}]));
        let patch = differences(&before, &list(json!([{"name": "a", "n": 1}, {"name": "b", "n": 2}])));
        assert_eq!(
            Value::Array(patch).to_string(),
            json!([
                {"op": "test", "path": "/status/clusters/1/name", "value": "b"},
                {"op": "replace", "path": "/status/clusters/1", "value": {"name": "b", "n": 2}},
            ])
            .to_string()
        );
        for other in
            [json!([{"name": "a", "n": 2}]), json!([{"name": "b"}, {"name": "a"}]), json!(["a", "b"])]
        {
            let patch = differences(&before, &list(other.clone()));
            assert_eq!(patch, [json!({"op": "add", "path": "/status/clusters", "value": other})]);
        }
    }
}
