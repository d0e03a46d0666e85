//! Inputs: valid ones that are damaged, more often by structure than by byte, and noise.

use std::sync::Arc;

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use serde_json::{Value, json};

use super::CANARY;

/// The longest input that is made of short ones.
const LONGEST: usize = 64 << 10;

/// Pieces that parsers of text stumble over: brackets, quotes, anchors, byte order marks, control characters, text that
/// is written from right to left, bytes that are no text, numbers without end.
const PIECES: [&[u8]; 48] = [
    b"[",
    b"{",
    b"}",
    b"]",
    b"\"",
    b"'",
    b":",
    b": ",
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b"\0",
    b" ",
    b"  ",
    b"- ",
    b"? ",
    b"| ",
    b">-\n",
    b"&a ",
    b"*a ",
    b"*a, *a, ",
    b"<<: *a\n",
    b"!!binary ",
    b"%YAML 1.1\n---\n",
    b"---\n",
    b"...\n",
    b"#",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\\"",
    b"=",
    b"/",
    b"//",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"99999999999999999999999999999999999999",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc3",
    b"\xe2\x80\xae",
    b"\x1b[31m",
    b"$",
    b"{SHA}",
];

/// One thing that happens to an input.
#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    /// A piece many times over.
    Pile(Index, Vec<u8>, usize),
    Remove(Index, usize),
    /// A slice of it many times over.
    Repeat(Index, usize, usize),
    /// A slice of it, somewhere else.
    Copy(Index, usize, Index),
    Cut(Index),
    Flip(Index, u8),
}

impl Damage {
    fn hit(&self, bytes: &mut Vec<u8>) {
        let at = |index: &Index| index.index(bytes.len() + 1);
        let slice = |index: &Index, length: usize| at(index)..(at(index) + length).min(bytes.len());
        match self {
            Self::Set(index, byte) => {
                let at = at(index);
                bytes.get_mut(at).into_iter().for_each(|found| *found = *byte);
            }
            Self::Flip(index, bit) => {
                let at = at(index);
                bytes.get_mut(at).into_iter().for_each(|found| *found ^= 1 << (bit % 8));
            }
            Self::Insert(index, piece) => {
                let at = at(index);
                bytes.splice(at..at, piece.iter().copied());
            }
            Self::Pile(index, piece, times) => {
                let at = at(index);
                bytes.splice(at..at, piece.repeat(*times));
            }
            Self::Remove(index, length) => drop(bytes.drain(slice(index, *length))),
            Self::Repeat(index, length, times) => {
                let range = slice(index, *length);
                let again = bytes[range.clone()].repeat(*times);
                bytes.splice(range.end..range.end, again);
            }
            Self::Copy(index, length, to) => {
                let (copied, to) = (bytes[slice(index, *length)].to_vec(), at(to));
                bytes.splice(to..to, copied);
            }
            Self::Cut(index) => bytes.truncate(at(index)),
        }
        bytes.truncate(LONGEST);
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => select(&PIECES[..]).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 1..8),
        1 => "\\PC{1,6}".prop_map(String::into_bytes),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    prop_oneof![
        3 => (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        3 => (index(), any::<u8>()).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        4 => (index(), piece()).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        1 => (index(), piece(), 2..2000_usize).prop_map(|(at, piece, times)| Damage::Pile(at, piece, times)),
        3 => (index(), 1..40_usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        2 => (index(), 1..60_usize, 1..60_usize).prop_map(|(at, length, times)| Damage::Repeat(at, length, times)),
        3 => (index(), 1..200_usize, index()).prop_map(|(at, length, to)| Damage::Copy(at, length, to)),
        1 => index().prop_map(Damage::Cut),
    ]
}

/// Inputs with a few bytes of damage, and some without any.
pub fn damaged(inputs: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (inputs, vec(damage(), 0..5)).prop_map(|(mut bytes, damages)| {
        damages.iter().for_each(|damage| damage.hit(&mut bytes));
        bytes
    })
}

/// Valid inputs and such with damage, and now and then mere noise.
pub fn from(inputs: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![15 => damaged(select(inputs)), 1 => noise()]
}

/// Bytes without any sense, and pieces without order.
pub fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..300), vec(piece(), 0..60).prop_map(|pieces| pieces.concat()),]
}

/// JSON documents of which some values are other ones, or stand elsewhere, written as text. Some of that has damage too.
pub fn json(documents: Vec<Value>) -> impl Strategy<Value = Vec<u8>> {
    let texts = rearranged(documents).prop_map(|document| document.to_string().into_bytes()).boxed();
    prop_oneof![4 => texts.clone(), 3 => damaged(texts), 1 => noise()]
}

/// Documents of which some values are other ones, or stand elsewhere.
pub fn rearranged(documents: Vec<Value>) -> impl Strategy<Value = Value> {
    let documents: Vec<Arc<Value>> = documents.into_iter().map(Arc::new).collect();
    let changes = vec(
        (any::<Index>(), prop_oneof![3 => value().prop_map(Some), 1 => Just(None)], any::<Index>()),
        0..4,
    );
    (select(documents), changes).prop_map(|(document, changes)| {
        let mut document = (*document).clone();
        for (at, value, from) in changes {
            let value = value.unwrap_or_else(|| node(&mut document, from).clone());
            *node(&mut document, at) = value;
        }
        document
    })
}

/// A value that was not expected where it stands.
fn value() -> impl Strategy<Value = Value> {
    let nested = |depth: usize| {
        (0..depth)
            .fold(json!(CANARY), |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({"a": inner}) })
    };
    prop_oneof![
        4 => select(vec![
            Value::Null, json!(true), json!(false), json!(0), json!(-1), json!(i64::MIN), json!(u64::MAX), json!(1e308),
            json!(0.5), json!(""), json!(CANARY), json!([]), json!({}), json!([CANARY]), json!({"a": CANARY}), json!("\0"),
            json!("\u{202e}\u{feff}\r\n"), json!("true"), json!("9223372036854775808"), json!("2026-01-01T00:00:00Z"),
            json!("9999-12-31T23:59:60+99:99"), json!([null, {}, [], "", 1]), json!("Y2FuYXJ5N2YzYTljNTFjYW5hcnk="),
            json!("https://10.0.0.1:6443"), json!("http://a@b:99999/?x#y"), json!("a/b/c"), json!("."),
        ]),
        1 => "\\PC{0,30}".prop_map(Value::from),
        1 => (1..150_usize).prop_map(nested),
        1 => (1..5000_usize).prop_map(|length| Value::from("x".repeat(length))),
        1 => (1..300_usize).prop_map(|length| (0..length).map(|n| (n.to_string(), json!(""))).collect()),
    ]
}

/// One of all values of a document, in the order in which it is written.
fn node(document: &mut Value, at: Index) -> &mut Value {
    let at = at.index(count(document));
    nth(document, at)
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

fn nth(value: &mut Value, at: usize) -> &mut Value {
    if at == 0 {
        return value;
    }
    let children: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => Vec::new(),
    };
    let mut left = at - 1;
    for child in children {
        let inside = count(child);
        if left < inside {
            return nth(child, left);
        }
        left -= inside;
    }
    unreachable!("as many values as were counted")
}
