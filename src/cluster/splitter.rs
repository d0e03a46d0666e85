//! The objects of a list, cut out of its JSON as the bytes arrive: a page may have hundreds of objects of more than a
//! megabyte each, all of one tenant, and is never held in memory.

use memchr::memchr2;
use thiserror::Error;
use zeroize::Zeroize;

use crate::domain::schedule::{LIST_TIME, MAX_ANSWER, MAX_OBJECTS};

/// A list that is beyond what is read of one.
#[derive(Debug, Error)]
pub(super) enum ListError {
    #[error("the cluster has more than {MAX_OBJECTS} objects")]
    TooMany,
    #[error("the cluster has more data than is kept for one cluster")]
    TooMuch,
    #[error("an object is longer than {} KiB", MAX_ANSWER >> 10)]
    TooLarge,
    #[error("the list did not end within {} s", LIST_TIME.as_secs())]
    TooSlow,
    #[error("the answer is not one of an API server")]
    Malformed,
}

impl From<ListError> for kube::Error {
    fn from(error: ListError) -> Self {
        Self::Service(error.into())
    }
}

/// Cuts the objects out of the JSON of a list. It knows strings and brackets, and leaves all else to serde.
#[derive(Default)]
pub(super) struct Splitter {
    /// The list without its objects, and without white space between tokens.
    pub frame: Vec<u8>,
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
    ///
    /// # Errors
    /// Where the text is not a list, or has an object that is too large; and those of `each`.
    pub fn push(
        &mut self,
        mut chunk: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), kube::Error>,
    ) -> Result<(), kube::Error> {
        while let Some((&byte, rest)) = chunk.split_first() {
            if self.in_string {
                let plain =
                    if self.is_escaped { 1 } else { memchr2(b'"', b'\\', chunk).unwrap_or(chunk.len()) };
                if plain > 0 {
                    self.is_escaped = false;
                    let (plain, rest) = chunk.split_at(plain);
                    self.keep(plain)?;
                    chunk = rest;
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
                self.depth = self.depth.checked_sub(1).ok_or(ListError::Malformed)?;
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
        if length > MAX_ANSWER {
            return Err(ListError::TooLarge.into());
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

    /// Whether nothing is left of an item that is not an object.
    pub fn is_done(&self) -> bool {
        self.item.is_empty() && self.depth == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Reads a list that comes in pieces of this many bytes.
    fn in_pieces(text: &[u8], size: usize) -> Result<(Vec<Value>, Value), kube::Error> {
        let (mut splitter, mut items) = (Splitter::default(), Vec::new());
        for piece in text.chunks(size) {
            splitter.push(piece, |item| {
                items.push(serde_json::from_slice(item).map_err(kube::Error::SerdeError)?);
                Ok(())
            })?;
        }
        if !splitter.is_done() {
            return Err(ListError::Malformed.into());
        }
        let frame = serde_json::from_slice(&splitter.frame).map_err(kube::Error::SerdeError)?;
        Ok((items, frame))
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
            let (read, frame) = in_pieces(text.as_bytes(), size).unwrap();
            prop_assert_eq!(read, items);
            prop_assert_eq!(frame, json!({"items": [], "metadata": meta}));
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
        assert_eq!(in_pieces(list(MAX_ANSWER - 8).as_bytes(), 9_000).unwrap().0.len(), 1);
        for list in [list(MAX_ANSWER), format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_ANSWER))] {
            let error = in_pieces(list.as_bytes(), 9_000).unwrap_err();
            assert!(error.to_string().contains("is longer than"), "{error}");
        }
    }
}
