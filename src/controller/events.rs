//! Publishing Events.
//!
//! kube's `Recorder` repeats the first note of a series for as long as it goes on; a stale sentence
//! is worse than none, so each transition is an Event of its own here.

use k8s_openapi::{
    api::{
        core::v1::{Namespace, ObjectReference},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, Resource, api::PostParams, core::ApiResource};
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

/// What an Event is about.
#[derive(Clone, Debug)]
pub(crate) struct About {
    api_version: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl About {
    pub fn new(resource: &ApiResource, meta: &ObjectMeta) -> Self {
        Self {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
        }
    }

    /// A namespace, of which not more than the name is known. Its Events are found in itself.
    pub fn namespace(name: &str) -> Self {
        let name = Some(name.to_owned());
        let meta = ObjectMeta { namespace: name.clone(), name, ..ObjectMeta::default() };
        Self::new(&ApiResource::erase::<Namespace>(&()), &meta)
    }

    pub fn object<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::new(&ApiResource::erase::<K>(&()), object.meta())
    }
}

impl Events {
    /// Publishes through `client`; `instance` names this process.
    pub fn new(client: Client, instance: String) -> Self {
        Self { client, instance }
    }

    /// Publishes a note about an object, and logs it. A note that cannot be published is logged
    /// only: that must never fail a reconcile.
    pub async fn publish(&self, about: &About, note: &Note) {
        let own = about.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let (kind, name, namespace) = (&*about.kind, &*about.name, own.unwrap_or_default());
        let reason = note.reason.as_str();
        // Without a span, which would say once more what the fields say.
        if note.warning {
            warn!(parent: None, kind, namespace, name, reason, "{}", note.note);
        } else {
            info!(parent: None, kind, namespace, name, reason, "{}", note.note);
        }
        // Events of what belongs to no namespace are looked for in this one.
        let namespace = own.unwrap_or("default");
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
            regarding: Some(ObjectReference {
                api_version: Some(about.api_version.clone()),
                kind: Some(about.kind.clone()),
                name: Some(about.name.clone()),
                namespace: own.map(str::to_owned),
                uid: about.uid.clone(),
                resource_version: about.resource_version.clone(),
                field_path: None,
            }),
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
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
