//! Objects of a watch that may not be readable: one bad object must not end a watch.
//!
//! kube's `DeserializeGuard` does the same by way of a copy of the whole object, managed fields and
//! secret values included, made twice. A watch of thousands of our own writes is worth more care.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::object::slim;
use crate::domain::{foreign_text::foreign_text, schedule::MAX_MESSAGE};

/// An object, or what could be read of one.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<K>(pub Result<K, Unreadable>);

/// An object that cannot be read.
#[derive(Clone)]
pub(crate) struct Unreadable {
    pub metadata: Box<ObjectMeta>,
    /// What serde says, which may quote a value: only for kinds that hold no secret.
    pub error: String,
}

impl fmt::Debug for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unreadable").field("name", &self.metadata.name).finish_non_exhaustive()
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    /// Works on text in memory only, which is what kube reads lists and events from. In an event,
    /// its type must come before its object, as the API server writes it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Bad {
            #[serde(default, deserialize_with = "slim")]
            metadata: Box<ObjectMeta>,
        }
        let text = <&RawValue>::deserialize(deserializer)?.get();
        match serde_json::from_str(text) {
            Ok(object) => Ok(Self(Ok(object))),
            Err(error) => match serde_json::from_str(text) {
                Ok(Bad { metadata }) => Ok(Self(Err(Unreadable {
                    metadata,
                    error: foreign_text(&error.to_string(), MAX_MESSAGE),
                }))),
                // Said without what was read.
                Err(_) => Err(serde::de::Error::custom(format_args!(
                    "object unreadable at column {}",
                    error.column()
                ))),
            },
        }
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }
    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }
    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }
    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }
    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|bad| &*bad.metadata, K::meta)
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|bad| &mut *bad.metadata, K::meta_mut)
    }
    // Without this the values of all Secrets would come over the wire.
    fn metadata_api() -> bool {
        K::metadata_api()
    }
}
#[cfg(test)]
mod tests {
    use kube::core::{ObjectList, WatchEvent};

    use super::{super::object::MarkedSecret, *};

    const GOOD: &str =
        r#"{"metadata":{"name":"a","managedFields":[{"fieldsV1":{"f:x":{}}}]},"data":{"k":"dg=="}}"#;
    const BAD: &str = r#"{"metadata":{"name":"b","namespace":"web"},"data":"no map"}"#;

    #[test]
    fn good_and_bad_objects_come_through_lists_and_events() {
        let list = format!(
            r#"{{"kind":"SecretList","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":[{GOOD},{BAD}]}}"#
        );
        let list: ObjectList<Guarded<MarkedSecret>> = serde_json::from_str(&list).unwrap();
        assert!(list.items[0].0.as_ref().is_ok_and(|secret| secret.data.contains_key("k")));
        assert_eq!(list.items[1].meta().name.as_deref(), Some("b"));
        assert!(list.items[1].0.is_err());
        let event: WatchEvent<Guarded<MarkedSecret>> =
            serde_json::from_str(&format!(r#"{{"type":"ADDED","object":{BAD}}}"#)).unwrap();
        let WatchEvent::Added(bad) = event else { panic!("not an addition") };
        assert_eq!(bad.meta().namespace.as_deref(), Some("web"));
    }

    #[test]
    fn an_event_without_an_object_is_an_error_that_quotes_nothing() {
        let text = r#"{"type":"ADDED","object":{"metadata":"hunter2"}}"#;
        let error = serde_json::from_str::<WatchEvent<Guarded<MarkedSecret>>>(text).unwrap_err().to_string();
        assert!(error.contains("unreadable") && !error.contains("hunter2"), "{error}");
    }
}
