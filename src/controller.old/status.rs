//! Writing the status: only when it differs, and at most about once a second for one object.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Context, Error, memory::Memory};
use crate::{
    api::CredentialStatus,
    domain::{Content, Credential, CredentialId, event},
    telemetry::{ClusterRow, ConditionState, CredentialRow},
};

/// The least time between two writes of one object's status.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes a status, tells its transitions, and notes it in memory. Returns how long to wait when it
/// is too soon to write.
///
/// # Errors
/// What the API server answered.
pub async fn write<K: Credential>(
    context: &Context,
    object: &K,
    memory: &mut Memory,
    content: Option<&Content>,
    next: CredentialStatus,
) -> Result<Option<Duration>, Error> {
    gauge(context, object, &next);
    let previous = memory.status.clone().or_else(|| object.status().cloned());
    if previous.as_ref() == Some(&next) && details_stand(object, content) {
        return Ok(None);
    }
    if let Some(wait) = memory.status_written.and_then(|at| PAUSE.checked_sub(at.elapsed())) {
        // What is about to be deleted or refused, or that work has come to its end, is told at once; the rest can
        // wait a moment.
        let ended = memory.written_busy && !memory.busy;
        if !ended && !is_urgent(previous.as_ref(), &next) {
            return Ok(Some(wait));
        }
    }
    let mut status = match serde_json::to_value(&next) {
        Ok(Value::Object(status)) => status,
        _ => return Err(Error::Json { what: "the status" }),
    };
    status.extend(object.details(content));
    let api: Api<K> = Api::namespaced(context.local().client(), &object.namespace().unwrap_or_default());
    replace(&api, &object.name_any(), object.meta().uid.as_deref(), &Value::Object(status)).await?;
    let notes = event::transitions(previous.as_ref(), &next);
    memory.status = Some(next);
    memory.status_written = Some(Instant::now());
    memory.written_busy = memory.busy;
    for note in &notes {
        context.events.publish(object, note).await;
    }
    Ok(None)
}

/// Puts a whole status in the place of the last one. The uid is tested, so that the status of an
/// object never lands on another one of its name. An object that is gone needs none.
///
/// # Errors
/// What the API server answered.
pub async fn replace<T>(api: &Api<T>, name: &str, uid: Option<&str>, status: &Value) -> Result<(), Error>
where
    T: Clone + DeserializeOwned + Debug,
{
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "add", "path": "/status", "value": status},
    ]);
    let patch: json_patch::Patch =
        serde_json::from_value(patch).map_err(|_| Error::Json { what: "the status" })?;
    match api.patch_subresource("status", name, &PatchParams::default(), &Patch::Json::<()>(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::api("write the status")(error)),
    }
}

fn is_urgent(previous: Option<&CredentialStatus>, next: &CredentialStatus) -> bool {
    let blocked = |status: &CredentialStatus| {
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "DeletionBlocked")
            .map(|c| c.status.clone())
    };
    // The status may be one revision behind the copies, and no more: see domain::revision.
    let lags = |previous: &CredentialStatus| next.revision.unwrap_or(0) > previous.revision.unwrap_or(0) + 1;
    previous.is_none_or(|previous| blocked(previous) != blocked(next) || lags(previous))
}

/// Whether what only this kind's status has is already there.
fn details_stand<K: Credential>(object: &K, content: Option<&Content>) -> bool {
    let Ok(Value::Object(whole)) = serde_json::to_value(object) else { return false };
    let status = whole.get("status").and_then(Value::as_object);
    object
        .details(content)
        .iter()
        .all(|(key, value)| status.and_then(|status| status.get(key)) == Some(value))
}

fn gauge<K: Credential>(context: &Context, object: &K, status: &CredentialStatus) {
    let id = CredentialId::of(object);
    let number = |n: i64| u64::try_from(n).unwrap_or(0);
    let state = |condition: &Condition| ConditionState::from(condition.status.as_str());
    let row = CredentialRow {
        provider: Some(object.provider().into()),
        revision: status.revision.unwrap_or(0),
        conditions: status.conditions.iter().map(|c| (c.type_.clone().into(), state(c))).collect(),
        clusters: status
            .clusters
            .iter()
            .map(|cluster| ClusterRow {
                cluster: cluster.name.as_str().into(),
                desired: number(cluster.namespaces.desired),
                synced: number(cluster.namespaces.synced),
                failed: number(cluster.namespaces.failed),
                last_sync: cluster.last_sync_time.as_ref().map(|time| time.0),
            })
            .collect(),
        references: status.references.as_ref().map_or(0, |references| number(references.total)),
        expires: status.expiration_time.as_ref().map(|time| time.0),
    };
    context.metrics.credentials().set(id.kind, &id.namespace, &id.name, row);
}
