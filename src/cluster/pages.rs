//! Lists, page by page and object by object: of what an API server sends, no more than one object is held at a time.

use std::{marker::PhantomData, pin::pin, time::Instant};

use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource, api::ListParams, core::Request};
use serde::{Deserialize, de::DeserializeOwned};
use tracing::debug;

use super::{
    answer::ByObject,
    error::is_slow,
    splitter::{ListError, Splitter},
};
use crate::domain::{
    identity::NamespacedName,
    meta::is_plausible,
    schedule::{LEAST_PAGE, LIST_TIME, MAX_OBJECTS, MAX_TOKEN, PAGE},
};

/// A list in progress.
pub(super) struct Pages<K> {
    client: Client,
    request: Request,
    params: ListParams,
    /// How many objects there were so far, at most.
    shown: usize,
    began: Instant,
    kind: PhantomData<fn() -> K>,
}

impl<K: Resource + Clone + DeserializeOwned> Pages<K> {
    pub fn new(api: &Api<K>, params: ListParams) -> Self {
        let (client, request) = (api.clone().into_client(), Request::new(api.resource_url()));
        Self { client, request, params, shown: 0, began: Instant::now(), kind: PhantomData }
    }

    /// Reads the next page as [`Pages::next`]. One that is too slow is asked for again, and smaller, so that objects may
    /// come twice: whoever can make large ones must not keep others from a list.
    pub async fn next_in_time(&mut self, mut each: impl FnMut(K)) -> Result<Option<String>, kube::Error> {
        loop {
            match self.next(&mut each).await {
                Err(error) if is_slow(&error) && self.limit() > LEAST_PAGE => {
                    self.params.limit = Some(smaller(self.limit()));
                }
                read => return read,
            }
        }
    }

    fn limit(&self) -> u32 {
        self.params.limit.unwrap_or(PAGE).clamp(1, PAGE)
    }

    /// Reads the next page, and hands over each object as it comes. Returns the resourceVersion of the list with its
    /// last page.
    pub async fn next(&mut self, mut each: impl FnMut(K)) -> Result<Option<String>, kube::Error> {
        let limit = self.limit();
        if self.began.elapsed() > LIST_TIME {
            return Err(ListError::TooSlow.into());
        }
        let left = MAX_OBJECTS.checked_sub(self.shown).ok_or(ListError::TooMany)?;
        let params = ListParams { limit: Some(limit), ..self.params.clone() };
        let request =
            if K::metadata_api() { self.request.list_metadata(&params) } else { self.request.list(&params) };
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        request.extensions_mut().insert(ByObject);
        let body = self.client.request_stream(request).await?;
        let (PageMeta { resource_version, token }, shown) = read(pin!(body), left, &mut each).await?;
        // One that is not full is the last, unless the server has no end.
        self.shown += if shown < limit as usize { PAGE as usize } else { shown };
        if resource_version.len().max(token.len()) > MAX_TOKEN {
            return Err(ListError::Malformed.into());
        }
        if token.is_empty() {
            return Ok(Some(resource_version));
        }
        self.params.continue_token = Some(token);
        Ok(None)
    }
}

/// The size of a page after one of this size was too slow.
pub(super) fn smaller(page: u32) -> u32 {
    (page / 2).max(LEAST_PAGE)
}

/// Reads a page of at most so many objects. Returns also how many there were.
async fn read<K: Resource + DeserializeOwned>(
    mut body: impl AsyncBufRead + Unpin,
    most: usize,
    each: &mut impl FnMut(K),
) -> Result<(PageMeta, usize), kube::Error> {
    let (mut splitter, mut shown) = (Splitter::default(), 0);
    loop {
        let chunk = body.fill_buf().await.map_err(kube::Error::ReadEvents)?;
        if chunk.is_empty() {
            break;
        }
        let length = chunk.len();
        splitter.push(chunk, |text| {
            shown += 1;
            if shown > most {
                return Err(ListError::TooMany.into());
            }
            let object: K = serde_json::from_slice(text).map_err(kube::Error::SerdeError)?;
            if is_usable(object.meta()) {
                each(object);
            }
            Ok(())
        })?;
        body.consume_unpin(length);
    }
    if !splitter.is_done() {
        return Err(ListError::Malformed.into());
    }
    let Frame { metadata } = serde_json::from_slice(&splitter.frame).map_err(kube::Error::SerdeError)?;
    Ok((metadata, shown))
}

/// Whether an API server can have made an object. One that none can have made is of no interest.
pub(super) fn is_usable(meta: &ObjectMeta) -> bool {
    let texts = [&meta.uid, &meta.resource_version].map(|text| text.as_deref().unwrap_or_default());
    let usable = is_plausible(&name_of(meta), texts);
    if !usable {
        debug!("an object is skipped because its name, uid or resourceVersion is not valid");
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

/// A page without its objects.
#[derive(Deserialize)]
struct Frame {
    #[serde(default)]
    metadata: PageMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    token: String,
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use futures::{FutureExt, TryStreamExt, stream};
    use http_body_util::StreamBody;
    use hyper::body::{Bytes, Frame as Part};
    use tower::{BoxError, service_fn};

    use super::*;
    use crate::{
        cluster::{answer::AnswerError, error::WriteError, object::SecretMetadata},
        domain::failure::Failure,
    };

    /// An API server with large objects: an answer with more than so many does not end in time.
    fn slow_server(most: u32) -> Api<SecretMetadata> {
        let answer = move |request: http::Request<kube::client::Body>| async move {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let limit = query.split('&').find_map(|pair| pair.strip_prefix("limit=")?.parse::<u32>().ok());
            let object = r#"{"metadata":{"name":"a","namespace":"b","uid":"u","resourceVersion":"7"}}"#;
            let page = format!(r#"{{"metadata":{{"resourceVersion":"7"}},"items":[{object}]}}"#);
            let end = if limit > Some(most) {
                Err(BoxError::from(AnswerError::TooSlow(Duration::from_secs(10))))
            } else {
                Ok("")
            };
            let parts = [Ok(page.trim_end_matches('}').to_owned()), end.map(|_| "}".to_owned())];
            let body = stream::iter(parts).map_ok(|part| Part::data(Bytes::from(part)));
            Ok::<_, Infallible>(http::Response::new(StreamBody::new(body)))
        };
        Api::all(Client::new(service_fn(answer), "default"))
    }

    /// Whoever can make objects can make large ones, which many lists of others go through.
    #[tokio::test]
    async fn large_objects_make_pages_smaller_and_are_no_fault_of_the_cluster() {
        let read = async |most| {
            let mut shown = 0;
            let mut pages = Pages::new(&slow_server(most), ListParams::default());
            (pages.next_in_time(|_| shown += 1).await, shown)
        };
        let (version, shown) = read(100).await;
        assert_eq!((version.unwrap().as_deref(), shown > 0), (Some("7"), true));
        let (error, _) = read(LEAST_PAGE - 1).await;
        let error = error.unwrap_err();
        assert!(is_slow(&error), "{error}");
        assert!(matches!(WriteError::of_list(&error), WriteError::Refused(Failure::Write { .. })));
        assert!(matches!(WriteError::of(&error), WriteError::Cluster(_)));
        let too_many = kube::Error::from(ListError::TooMany);
        assert!(matches!(WriteError::of_list(&too_many), WriteError::Refused(_)));
        let gone = kube::Error::Service("connection refused".into());
        assert!(matches!(WriteError::of_list(&gone), WriteError::Cluster(_)));
    }

    fn page(items: &str, most: usize) -> Result<(usize, PageMeta), kube::Error> {
        let text = format!(
            r#"{{"kind":"List","metadata":{{"resourceVersion":"7","continue":"x"}},"items":{items}}}"#
        );
        let mut count = 0;
        let read =
            read(text.as_bytes(), most, &mut |_: SecretMetadata| count += 1).now_or_never().unwrap()?;
        assert_eq!(read.1, count);
        Ok((count, read.0))
    }

    #[test]
    fn a_page_has_as_many_objects_as_it_may_have_at_most() {
        let object = r#"{"metadata":{"name":"a","namespace":"b","uid":"u","resourceVersion":"7"}}"#;
        let (count, meta) = page(&format!("[{object},{object}]"), 2).unwrap();
        assert_eq!((count, &*meta.resource_version, &*meta.token), (2, "7", "x"));
        assert!(page(&format!("[{object},{object}]"), 1).is_err());
        for (none, limit) in [("null", 1), ("[]", 1), ("[]", 0)] {
            assert_eq!(page(none, limit).unwrap().0, 0);
        }
        for bad in ["[1]", "[[]]", r#"["x"]"#, "[{}", "[{\"metadata\":1}]"] {
            assert!(page(bad, 5).is_err(), "{bad}");
        }
    }
}
