//! Telling whether two contents are equal without keeping either.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::sensitive::Data;

/// A keyed hash of a Secret's type and data. Tells equality, and nothing to who lacks the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[fingerprint]")
    }
}

/// The key: drawn at random when the process starts and kept nowhere. What is compared is
/// always hashed in the same process, so nothing has to outlive it, and no hash is ever stored.
pub struct FingerprintKey(Zeroizing<[u8; 32]>);

impl FingerprintKey {
    /// A key from random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(Zeroizing::new(random))
    }

    /// Hashes a type and data, whose values are in base64, in the order of their keys.
    ///
    /// Values are hashed as the text that is on the wire, so that thousands of observed Secrets
    /// need no decoding. The key stands first and every part is preceded by its length: SHA-256
    /// of this is a sound MAC here as the result is cut short and never leaves the process.
    pub fn fingerprint<'a>(
        &self,
        type_: &str,
        data: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(self.0.as_slice());
        part(&mut hash, type_);
        for (key, value) in data {
            part(&mut hash, key);
            part(&mut hash, value);
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Fingerprint(short)
    }

    /// Hashes a type and data that are not in base64.
    pub fn of(&self, type_: &str, data: &Data) -> Fingerprint {
        let data: Vec<(&str, Zeroizing<String>)> =
            data.iter().map(|(key, value)| (key.as_str(), encode(value.expose()))).collect();
        self.fingerprint(type_, data.iter().map(|(key, value)| (*key, value.as_str())))
    }
}

/// Standard base64, as the API server writes Secret data.
pub fn encode(bytes: &[u8]) -> Zeroizing<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    Zeroizing::new(STANDARD.encode(bytes))
}

fn part(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_contents_apart_and_depends_on_the_key() {
        let key = FingerprintKey::new([7; 32]);
        let one = key.fingerprint("Opaque", [("a", "eA=="), ("b", "")]);
        assert_eq!(one, key.fingerprint("Opaque", [("a", "eA=="), ("b", "")]));
        assert_ne!(one, key.fingerprint("Opaque", [("a", "eA==b"), ("", "")]));
        assert_ne!(one, key.fingerprint("Opaque", [("a", "eA==")]));
        assert_ne!(one, key.fingerprint("kubernetes.io/tls", [("a", "eA=="), ("b", "")]));
        assert_ne!(one, FingerprintKey::new([8; 32]).fingerprint("Opaque", [("a", "eA=="), ("b", "")]));
    }
}
