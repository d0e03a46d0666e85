//! Publishing Events.
//!
//! kube's `Recorder` repeats the first note of a series for as long as it goes on; a stale sentence
//! is worse than none, so each transition is an Event of its own here.

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, Resource, ResourceExt, api::PostParams};
use tracing::{info, warn};

use crate::{cluster::describe, domain::event::Note};

/// The API server takes notes of up to 1,024 bytes.
const MAX_NOTE: usize = 1_000;

/// Publishes Events, as one reporting controller.
#[derive(Clone)]
pub struct Events {
    client: Client,
    instance: String,
}

impl Events {
    /// Publishes through `client`; `instance` names this process.
    #[must_use]
    pub fn new(client: Client, instance: String) -> Self {
        Self { client, instance }
    }

    /// Publishes a note about an object, and logs it. A note that cannot be published is logged
    /// only: that must never fail a pass.
    pub async fn publish<K: Resource<DynamicType = ()>>(&self, about: &K, note: &Note) {
        let own = about.namespace();
        let namespace = own.as_deref().unwrap_or_default();
        let name = about.name_any();
        let kind = K::kind(&());
        // Without kube's span, which would say once more what the fields say.
        if note.warning {
            warn!(parent: None, kind = &*kind, namespace, name, reason = note.reason, "{}", note.note);
        } else {
            info!(parent: None, kind = &*kind, namespace, name, reason = note.reason, "{}", note.note);
        }
        // Events of what belongs to no namespace are looked for in this one.
        let namespace = own.clone().unwrap_or_else(|| "default".to_owned());
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                // As client-go names them: the object, and the time in hex.
                name: Some(format!("{}.{:x}", truncated(&name, 230), now.as_nanosecond())),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            action: Some(note.action.to_owned()),
            reason: Some(note.reason.clone()),
            note: Some(truncated(&note.note, MAX_NOTE).to_owned()),
            type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
            event_time: Some(MicroTime(now)),
            reporting_controller: Some("claviger.dev/claviger".to_owned()),
            reporting_instance: Some(truncated(&self.instance, 128).to_owned()),
            regarding: Some(ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(kind.into_owned()),
                name: Some(name.clone()),
                namespace: own,
                uid: about.uid(),
                resource_version: about.resource_version(),
                field_path: None,
            }),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {}
            // A namespace that is going takes no Events.
            Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() => {}
            Err(error) => warn!(namespace, name, "event not published: {}", describe(&error)),
        }
    }
}

fn truncated(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}
