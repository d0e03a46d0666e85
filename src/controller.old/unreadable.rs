//! A custom resource that this version cannot read, such as one with a field of a later version.
//! Its copies stay as they are, and it says so.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Resource,
    api::ApiResource,
    core::{DeserializeGuard, DynamicObject, error_boundary::InvalidObject},
};
use serde_json::{Map, Value, json};

use super::{
    Context, Error, Guarded,
    reconcile::{Next, Urgency},
    status,
};
use crate::domain::event::Note;

/// The reason of its conditions.
const REASON: &str = "UnsupportedSpec";

/// Says on the object that it cannot be read.
pub async fn tell<K>(context: &Context, bad: &InvalidObject) -> Result<Next, Error>
where
    K: Resource<DynamicType = ()>,
{
    let local = context.local();
    let name = bad.metadata.name.clone().unwrap_or_default();
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match &bad.metadata.namespace {
        Some(namespace) => Api::namespaced_with(local.client(), namespace, &resource),
        None => Api::all_with(local.client(), &resource),
    };
    let Some(object) = api.get_opt(&name).await.map_err(Error::api("read the object"))? else {
        return Ok(Urgency::Gone.into());
    };
    let generation = object.metadata.generation.unwrap_or_default();
    // serde names the field and the values that it knows; what stands there is not secret.
    let message = format!(
        "this version of Claviger cannot read the object, and leaves its Secrets as they are: {}; upgrade Claviger, or mend the spec",
        bad.error
    );
    let status = object.data.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
    let Some(next) = marked(&status, &message, generation, Timestamp::now()) else {
        return Ok(Next::default());
    };
    status::replace(&api, &name, object.metadata.uid.as_deref(), &Value::Object(next)).await?;
    let about: Guarded<K> = DeserializeGuard(Err(bad.clone()));
    let note = Note { warning: true, reason: REASON.to_owned(), action: "Read", note: message };
    context.events.publish(&about, &note).await;
    Ok(Next::default())
}

/// The status with its conditions told; `None` when they are already.
fn marked(
    status: &Map<String, Value>,
    message: &str,
    generation: i64,
    now: Timestamp,
) -> Option<Map<String, Value>> {
    let before: Vec<Condition> =
        status.get("conditions").and_then(|c| serde_json::from_value(c.clone()).ok()).unwrap_or_default();
    let verdicts = [("Ready", "False"), ("Reconciling", "False"), ("Stalled", "True")];
    let mut conditions: Vec<Condition> =
        before.iter().filter(|c| verdicts.iter().all(|(type_, _)| c.type_ != *type_)).cloned().collect();
    for (type_, value) in verdicts {
        let old = before.iter().find(|condition| condition.type_ == type_ && condition.status == value);
        conditions.push(Condition {
            last_transition_time: old.map_or(Time(now), |old| old.last_transition_time.clone()),
            message: message.to_owned(),
            observed_generation: Some(generation),
            reason: REASON.to_owned(),
            status: value.to_owned(),
            type_: type_.to_owned(),
        });
    }
    let mut next = status.clone();
    next.insert("observedGeneration".to_owned(), json!(generation));
    next.insert("conditions".to_owned(), json!(conditions));
    (next != *status).then_some(next)
}
