//! Bytes that must not be printed and do not outlive their use.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    io,
};

use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

/// Secret bytes: wiped when dropped, and never shown by `Debug`. There is no `Display`.
///
/// What cannot be wiped are the copies that libraries make on the way; SECURITY.md lists them.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Puts parts together. All room is taken at once: a buffer that grows leaves copies of what it held behind.
    pub fn concat(parts: &[&[u8]]) -> Self {
        Self::new(parts.concat())
    }

    /// Writes JSON. It is written twice, the first time only to learn how much room it takes; see
    /// [`SecretBytes::concat`].
    ///
    /// # Errors
    /// What the value itself answers.
    pub fn json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        let mut length = Length(0);
        serde_json::to_writer(&mut length, value)?;
        let mut bytes = Self::new(Vec::with_capacity(length.0));
        serde_json::to_writer(&mut *bytes.0, value)?;
        Ok(bytes)
    }

    /// The bytes themselves; for rendering and hashing only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The text that the bytes were read from, as of JSON.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The data of a Secret.
pub type Data = BTreeMap<String, SecretBytes>;

/// Counts what is written to it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsRef<[u8]> for SecretBytes {
    fn as_ref(&self) -> &[u8] {
        self.expose()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl Hash for SecretBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

impl From<&str> for SecretBytes {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    /// Reads a text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(text.into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_length_only() {
        assert_eq!(format!("{:?}", SecretBytes::from("hunter2")), "[7 bytes]");
    }

    /// A buffer that grows is copied, and what it held before is not overwritten.
    #[test]
    fn what_is_put_together_never_grows() {
        let text = "p\u{e4}ss\"word\n".repeat(1000);
        let json = SecretBytes::json(&[("user", &text), ("other", &text)]).unwrap();
        assert_eq!(serde_json::from_slice::<Vec<(String, String)>>(json.expose()).unwrap()[1].1, text);
        let parts = SecretBytes::concat(&[text.as_bytes(), b":", text.as_bytes()]);
        assert_eq!(parts.text(), format!("{text}:{text}"));
        for bytes in [json, parts] {
            assert_eq!(bytes.0.capacity(), bytes.0.len());
        }
    }
}
