//! Lists, page by page and object by object: of what an API server sends, no more than one answer and one object is
//! held at a time.

use std::{marker::PhantomData, time::Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource, api::ListParams, core::Request};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;
use thiserror::Error;
use tracing::debug;

use super::{answer::AnswerError, error::causes};
use crate::domain::{
    bounded,
    identity::NamespacedName,
    meta::is_plausible,
    schedule::{LIST_TIME, MAX_OBJECTS, MAX_TOKEN, PAGE},
};

/// A list that is beyond what is read of one.
#[derive(Debug, Error)]
pub(super) enum ListError {
    #[error("the cluster shows more than {MAX_OBJECTS} objects")]
    TooMany,
    #[error("the list did not end within {} s", LIST_TIME.as_secs())]
    TooSlow,
    #[error("the cluster shows more than is kept of one")]
    TooMuch,
    #[error("the answer is not one of an API server")]
    Malformed,
}

impl From<ListError> for kube::Error {
    fn from(error: ListError) -> Self {
        Self::Service(error.into())
    }
}

/// A list in progress.
pub(super) struct Pages<K> {
    client: Client,
    request: Request,
    params: ListParams,
    /// How many objects were asked for so far.
    asked: usize,
    began: Instant,
    kind: PhantomData<fn() -> K>,
}

impl<K: Resource + Clone + DeserializeOwned> Pages<K> {
    pub fn new(api: &Api<K>, params: ListParams) -> Self {
        let (client, request) = (api.clone().into_client(), Request::new(api.resource_url()));
        Self { client, request, params, asked: 0, began: Instant::now(), kind: PhantomData }
    }

    /// Reads the next page. Returns the resourceVersion of the list with its last one.
    pub async fn next(&mut self, mut each: impl FnMut(K)) -> Result<Option<String>, kube::Error> {
        let text = self.read().await?;
        let page: Page<'_> = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
        for object in page.items {
            let object: K = serde_json::from_str(object.get()).map_err(kube::Error::SerdeError)?;
            if is_usable(object.meta()) {
                each(object);
            }
        }
        let PageMeta { resource_version, token } = page.metadata;
        if resource_version.len().max(token.len()) > MAX_TOKEN {
            return Err(ListError::Malformed.into());
        }
        if token.is_empty() {
            return Ok(Some(resource_version));
        }
        self.params.continue_token = Some(token);
        Ok(None)
    }

    /// One page; of fewer objects, where they are too large for as many.
    async fn read(&mut self) -> Result<String, kube::Error> {
        loop {
            let limit = self.params.limit.unwrap_or(PAGE).clamp(1, PAGE);
            let params = ListParams { limit: Some(limit), ..self.params.clone() };
            let request = if K::metadata_api() {
                self.request.list_metadata(&params)
            } else {
                self.request.list(&params)
            };
            // A page counts as full: one that is not is the last, unless the server has no end.
            let asked = self.asked + limit as usize;
            if asked > MAX_OBJECTS + PAGE as usize {
                return Err(ListError::TooMany.into());
            }
            if self.began.elapsed() > LIST_TIME {
                return Err(ListError::TooSlow.into());
            }
            match self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await {
                Err(error) if limit > 1 && is_too_long(&error) => self.params.limit = Some(limit / 2),
                answer => {
                    self.asked = asked;
                    return answer;
                }
            }
        }
    }
}

fn is_too_long(error: &kube::Error) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(AnswerError::TooLong(_))))
}

/// Whether an API server can have made an object. One that none can have made is of no interest.
pub(super) fn is_usable(meta: &ObjectMeta) -> bool {
    let texts = [&meta.uid, &meta.resource_version].map(|text| text.as_deref().unwrap_or_default());
    let usable = is_plausible(&name_of(meta), texts);
    if !usable {
        debug!("an object is passed over whose name, uid or resourceVersion cannot be one");
    }
    usable
}

/// The namespace, empty where it has none, and name of an object.
pub(crate) fn name_of(meta: &ObjectMeta) -> NamespacedName {
    NamespacedName::new(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

/// A page as it is read: its objects are texts until each has its turn.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(borrow, deserialize_with = "few")]
    items: Vec<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    token: String,
}

fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'de RawValue>, D::Error> {
    bounded::list::<_, _, { PAGE as usize }>(deserializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(items: &str) -> Result<usize, serde_json::Error> {
        let text = format!(r#"{{"kind":"List","metadata":{{"resourceVersion":"7"}},"items":{items}}}"#);
        serde_json::from_str::<Page<'_>>(&text).map(|page| page.items.len())
    }

    #[test]
    fn a_page_has_as_many_objects_as_were_asked_for_at_most() {
        assert_eq!(page("null").unwrap(), 0);
        assert_eq!(page("[]").unwrap(), 0);
        assert_eq!(page(&format!("[{}{{}}]", "{},".repeat(PAGE as usize - 1))).unwrap(), PAGE as usize);
        assert!(page(&format!("[{}{{}}]", "{},".repeat(PAGE as usize))).is_err());
    }
}
