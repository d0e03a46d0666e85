//! Lists that are read object by object as their bytes arrive. A page may have hundreds of objects of more than a
//! megabyte each, all of one tenant, and is never held in memory.

use std::io;

use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::{Client, Resource, api::ListParams, core::Request};
use serde::{Deserialize, de::DeserializeOwned};
use zeroize::Zeroize;

use crate::domain::schedule::MAX_OBJECT_BYTES;

/// Reads one page of a list, and hands over each of its objects. Returns the list's own metadata.
///
/// # Errors
/// What the API server answered, or why its answer cannot be read. Some objects may have been handed over then.
pub(super) async fn page<K>(
    client: &Client,
    url: &str,
    params: &ListParams,
    each: impl FnMut(K),
) -> Result<ListMeta, kube::Error>
where
    K: Resource + DeserializeOwned,
{
    let request = Request::new(url);
    let request = if K::metadata_api() { request.list_metadata(params) } else { request.list(params) };
    let body = client.request_stream(request.map_err(kube::Error::BuildRequest)?).await?;
    read(std::pin::pin!(body), each).await
}

async fn read<K: DeserializeOwned>(
    mut body: impl AsyncBufRead + Unpin,
    mut each: impl FnMut(K),
) -> Result<ListMeta, kube::Error> {
    #[derive(Deserialize)]
    struct Frame {
        metadata: ListMeta,
    }
    let mut splitter = Splitter::default();
    loop {
        let chunk = body.fill_buf().await.map_err(kube::Error::ReadEvents)?;
        if chunk.is_empty() {
            break;
        }
        let length = chunk.len();
        splitter.push(chunk, |item| {
            each(serde_json::from_slice(item).map_err(kube::Error::SerdeError)?);
            Ok(())
        })?;
        body.consume_unpin(length);
    }
    if !splitter.item.is_empty() {
        return Err(invalid("has an item that is not an object"));
    }
    let frame: Frame = serde_json::from_slice(&splitter.frame).map_err(kube::Error::SerdeError)?;
    Ok(frame.metadata)
}

/// Cuts the objects out of the JSON of a list. It knows strings and brackets, and leaves all else to serde.
#[derive(Default)]
struct Splitter {
    /// The list without its objects, and without white space between tokens.
    frame: Vec<u8>,
    /// The object that is being read. It may hold values of a Secret.
    item: Vec<u8>,
    depth: usize,
    in_items: bool,
    in_string: bool,
    is_escaped: bool,
}

/// How deep the objects of a list are: within the list and its array.
const ITEM_DEPTH: usize = 2;
/// Room for an object of usual size. What a larger one takes is given back after it.
const USUAL_BYTES: usize = 16 << 10;

impl Splitter {
    /// Takes in the next bytes, and hands over each object that ends in them.
    fn push(
        &mut self,
        mut chunk: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), kube::Error>,
    ) -> Result<(), kube::Error> {
        while let Some((&byte, rest)) = chunk.split_first() {
            if self.in_string {
                let is_special = |byte: &u8| matches!(byte, b'"' | b'\\');
                let plain = if self.is_escaped {
                    1
                } else {
                    chunk.iter().position(is_special).unwrap_or(chunk.len())
                };
                if plain > 0 {
                    self.is_escaped = false;
                    self.keep(&chunk[..plain])?;
                    chunk = &chunk[plain..];
                    continue;
                }
                self.is_escaped = byte == b'\\';
                self.in_string = self.is_escaped;
                self.keep(&[byte])?;
            } else {
                self.token(byte, &mut each)?;
            }
            chunk = rest;
        }
        Ok(())
    }

    /// Takes in a byte that is not part of a string.
    fn token(
        &mut self,
        byte: u8,
        each: &mut impl FnMut(&[u8]) -> Result<(), kube::Error>,
    ) -> Result<(), kube::Error> {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => return Ok(()),
            // Between two objects.
            b',' if self.in_items && self.depth == ITEM_DEPTH => return Ok(()),
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.checked_sub(1).ok_or_else(|| invalid("is not JSON"))?;
                self.in_items &= self.depth >= ITEM_DEPTH;
            }
            _ => {}
        }
        let begins = byte == b'[' && self.depth == ITEM_DEPTH && self.is_at_items();
        self.keep(&[byte])?;
        self.in_items |= begins;
        if self.in_items && byte == b'}' && self.depth == ITEM_DEPTH {
            let read = each(&self.item);
            self.item.as_mut_slice().zeroize();
            self.item.clear();
            self.item.shrink_to(USUAL_BYTES);
            read?;
        }
        Ok(())
    }

    /// Whether what comes next is the value of the list's field `items`.
    fn is_at_items(&self) -> bool {
        !self.in_items && (self.frame.ends_with(b"{\"items\":") || self.frame.ends_with(b",\"items\":"))
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), kube::Error> {
        let kept = if self.in_items { &mut self.item } else { &mut self.frame };
        let length = kept.len() + bytes.len();
        if length > MAX_OBJECT_BYTES {
            return Err(invalid("has an object that is too large"));
        }
        if length > kept.capacity() {
            // By hand, so that nothing is left behind where it was.
            let mut larger = Vec::with_capacity(USUAL_BYTES.max(2 * length));
            larger.extend_from_slice(kept);
            kept.zeroize();
            *kept = larger;
        }
        kept.extend_from_slice(bytes);
        Ok(())
    }
}

fn invalid(what: &str) -> kube::Error {
    kube::Error::ReadEvents(io::Error::new(io::ErrorKind::InvalidData, format!("the list {what}")))
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, stream};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Reads a list that comes in pieces of this many bytes.
    fn in_pieces(text: &[u8], size: usize) -> Result<(Vec<Value>, ListMeta), kube::Error> {
        let pieces: Vec<io::Result<Vec<u8>>> =
            text.chunks(size.max(1)).map(|piece| Ok(piece.to_vec())).collect();
        let mut items = Vec::new();
        let body = futures::TryStreamExt::into_async_read(stream::iter(pieces).boxed());
        let meta = read(body, |item: Value| items.push(item)).now_or_never().unwrap()?;
        Ok((items, meta))
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            r#"[ -~"\\{}\[\],:é\n]{0,12}"#.prop_map(Value::from),
            Just(json!(r#","items":[{"#)),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let key = prop_oneof!["[a-z\"]{0,6}", Just("items".to_owned())];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(key, inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_objects_of_a_list_are_those_that_serde_reads(
            items in prop::collection::vec(prop::collection::btree_map("[a-z]{1,6}|items", any_json(), 0..4), 0..6),
            other in any_json(), is_pretty: bool, is_first: bool, size in 1_usize..64,
        ) {
            let items: Vec<Value> = items.into_iter().map(|item| json!(item)).collect();
            let print = |value: &Value| {
                if is_pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) }.unwrap()
            };
            let meta = json!({"resourceVersion": "7", "continue": "more", "x": other});
            let fields = [format!("\"items\" :{}", print(&json!(items))), format!("\"metadata\":{}", print(&meta))];
            let [first, second] = if is_first { [0, 1] } else { [1, 0] };
            let text = format!("{{{}, {} }}", fields[first], fields[second]);
            let (read, meta) = in_pieces(text.as_bytes(), size).unwrap();
            prop_assert_eq!(read, items);
            prop_assert_eq!((meta.resource_version.as_deref(), meta.continue_.as_deref()), (Some("7"), Some("more")));
        }

        #[test]
        fn whatever_a_server_answers_is_read_or_refused(
            text in prop::collection::vec(prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just("\"items\":"), Just("\""), Just("\\"), Just(","), Just("1"),
                Just("\"metadata\":{}")
            ], 0..40),
            size in 1_usize..9,
        ) {
            let text = text.concat();
            let read = in_pieces(text.as_bytes(), size);
            if serde_json::from_str::<Value>(&text).is_err() {
                prop_assert!(read.is_err(), "{text}");
            }
        }
    }

    #[test]
    fn no_object_is_larger_than_the_bound() {
        let list =
            |length: usize| format!(r#"{{"items":[{{"x":"{}"}}],"metadata":{{}}}}"#, "x".repeat(length));
        assert_eq!(in_pieces(list(MAX_OBJECT_BYTES - 8).as_bytes(), 9_000).unwrap().0.len(), 1);
        for list in [list(MAX_OBJECT_BYTES), format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_OBJECT_BYTES))] {
            let error = in_pieces(list.as_bytes(), 9_000).unwrap_err();
            assert!(error.to_string().contains("too large"), "{error}");
        }
    }
}
