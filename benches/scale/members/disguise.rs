//! What a member's proxy changes in the texts that pass through it.

use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use serde_json::{Value, json};

/// An object with one more label; anything else as it is.
pub fn with_label(body: &[u8], key: &str, value: &str) -> Vec<u8> {
    let labelled =
        serde_json::from_slice::<Value>(body).ok().filter(Value::is_object).and_then(|mut object| {
            object["metadata"]["labels"][key] = json!(value);
            serde_json::to_vec(&object).ok()
        });
    labelled.unwrap_or_else(|| body.to_vec())
}

/// A watch whose lines do not contain a text.
pub fn lines_without(body: Body, text: String) -> UnsyncBoxBody<Bytes, kube::Error> {
    let chunks = body.into_data_stream();
    let lines = stream::unfold((chunks, Vec::new()), move |(mut chunks, mut rest)| {
        let text = text.clone();
        async move {
            loop {
                let chunk = match chunks.next().await {
                    Some(Ok(chunk)) => chunk,
                    Some(Err(error)) => return Some((Err(error), (chunks, rest))),
                    None if rest.is_empty() => return None,
                    None => {
                        return Some((
                            Ok(Frame::data(Bytes::from(std::mem::take(&mut rest)))),
                            (chunks, rest),
                        ));
                    }
                };
                rest.extend_from_slice(&chunk);
                if let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
                    let tail = rest.split_off(end + 1);
                    let lines = without(Bytes::from(rest), text.as_bytes());
                    return Some((Ok(Frame::data(lines)), (chunks, tail)));
                }
            }
        }
    });
    StreamBody::new(lines).boxed_unsync()
}

/// The same without all places of a text.
pub fn without(bytes: Bytes, text: &[u8]) -> Bytes {
    replaced(bytes, text, b"")
}

/// The same with another text in all places of one.
pub fn replaced(bytes: Bytes, text: &[u8], other: &[u8]) -> Bytes {
    let Some(&first) = text.first() else { return bytes };
    let mut result = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == first).map(|offset| at + offset) {
        if bytes[found..].starts_with(text) {
            result.extend_from_slice(&bytes[copied..found]);
            result.extend_from_slice(other);
            copied = found + text.len();
            at = copied;
        } else {
            at = found + 1;
        }
    }
    if copied == 0 {
        return bytes;
    }
    result.extend_from_slice(&bytes[copied..]);
    result.into()
}
