//! Publishing Events.
//!
//! kube's `Recorder` repeats the first note of a series for as long as it goes on; a stale sentence
//! is worse than none, so each transition is an Event of its own here.

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, Resource, api::PostParams};
use tracing::{info, warn};

use crate::{
    cluster::describe,
    domain::{event::Note, schedule::MAX_NOTE},
};

/// Publishes Events, as one reporting controller.
#[derive(Clone)]
pub(crate) struct Events {
    client: Client,
    instance: String,
}

/// What an Event about an object refers to.
pub(crate) fn about<K: Resource>(object: &K, resource: &K::DynamicType) -> ObjectReference {
    let resource_version = object.meta().resource_version.clone();
    ObjectReference { resource_version, ..object.object_ref(resource) }
}

impl Events {
    /// Publishes through `client`; `instance` names this process.
    pub fn new(client: Client, instance: String) -> Self {
        Self { client, instance }
    }

    /// Publishes a note about an object, and logs it. A note that cannot be published is logged
    /// only: that must never fail a reconcile.
    pub async fn publish(&self, about: &ObjectReference, note: &Note) {
        let kind = about.kind.as_deref().unwrap_or_default();
        let name = about.name.as_deref().unwrap_or_default();
        let namespace = about.namespace.as_deref().unwrap_or_default();
        let reason = note.reason.as_str();
        // Without a span, which would say once more what the fields say.
        if note.warning {
            warn!(parent: None, kind, namespace, name, reason, "{}", note.note);
        } else {
            info!(parent: None, kind, namespace, name, reason, "{}", note.note);
        }
        // Events of what belongs to no namespace are looked for in this one.
        let namespace = if namespace.is_empty() { "default" } else { namespace };
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                // As client-go names them: the object, and the time in hex.
                name: Some(format!("{}.{:x}", truncated(name, 230), now.as_nanosecond())),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            action: Some(note.action.as_str().to_owned()),
            reason: Some(reason.to_owned()),
            note: Some(truncated(&note.note, MAX_NOTE).to_owned()),
            type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
            event_time: Some(MicroTime(now)),
            reporting_controller: Some("claviger.dev/claviger".to_owned()),
            reporting_instance: Some(truncated(&self.instance, 128).to_owned()),
            regarding: Some(about.clone()),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {}
            // A namespace that is going takes no Events.
            Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() => {}
            Err(error) => warn!(namespace, name, "event not published: {}", describe(&error)),
        }
    }
}

fn truncated(text: &str, bytes: usize) -> &str {
    let mut ends = (0..=bytes.min(text.len())).rev();
    // Up to the last whole character.
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}
