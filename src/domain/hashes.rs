//! Hashes of passwords. Each takes tens of milliseconds, so that they are made one by one, before the content is
//! rendered; and once, as long as a credential is known.

use std::{collections::BTreeMap, fmt};

use super::{
    content::Data,
    fingerprint::{Fingerprint, FingerprintKey},
    htpasswd,
    sensitive::SecretBytes,
};
use crate::api::PasswordHash;

/// A password of which a content needs a hash.
#[derive(Clone, Copy)]
pub(crate) struct Password<'a> {
    pub hash: PasswordHash,
    pub user: &'a str,
    pub password: &'a str,
    /// What an existing copy has for the user.
    pub existing: Option<&'a str>,
}

impl Password<'_> {
    /// The existing hash where it holds, so that nothing is written for the sake of another salt; else a new one.
    pub fn hashed(&self, entropy: &[u8; 32]) -> SecretBytes {
        match self.existing {
            Some(found) if htpasswd::holds(self.hash, self.password, found) => found.into(),
            _ => htpasswd::make(self.hash, self.user, self.password, entropy).as_str().into(),
        }
    }

    fn fingerprint(&self, key: &FingerprintKey) -> Fingerprint {
        key.fingerprint(&format!("{:?}", self.hash), [(self.user, self.password)])
    }
}

/// A password that is still to be hashed.
pub(crate) struct Unhashed {
    hash: PasswordHash,
    user: String,
    password: SecretBytes,
    existing: Option<SecretBytes>,
    fingerprint: Fingerprint,
    entropy: [u8; 32],
}

impl fmt::Debug for Unhashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unhashed").finish_non_exhaustive()
    }
}

impl Unhashed {
    /// Hashes it: this is what takes its time.
    pub fn hashed(&self) -> Hashed {
        let password = Password {
            hash: self.hash,
            user: &self.user,
            password: self.password.text(),
            existing: self.existing.as_ref().map(SecretBytes::text),
        };
        let text = password.hashed(&self.entropy);
        Hashed { user: self.user.clone(), fingerprint: self.fingerprint, text }
    }
}

/// A hash, and whose it is.
pub(crate) struct Hashed {
    user: String,
    fingerprint: Fingerprint,
    text: SecretBytes,
}

impl Hashed {
    /// Whether it is the hash of this password.
    pub fn is_of(&self, unhashed: &Unhashed) -> bool {
        self.user == unhashed.user && self.fingerprint == unhashed.fingerprint
    }
}

/// The hashes of one credential: one for each user, with a keyed fingerprint of the password that it is of.
#[derive(Default)]
pub(crate) struct Hashes {
    of: BTreeMap<String, Fingerprint>,
    texts: Data,
}

impl Hashes {
    /// Takes a hash in.
    pub fn add(&mut self, hashed: Hashed) {
        self.of.insert(hashed.user.clone(), hashed.fingerprint);
        self.texts.insert(hashed.user, hashed.text);
    }

    /// The hashes, by user.
    pub fn texts(&self) -> &Data {
        &self.texts
    }

    /// Keeps what is of these passwords and nothing else. Returns those of which the hash is not known.
    pub fn plan(
        &mut self,
        key: &FingerprintKey,
        passwords: &[Password<'_>],
        entropy: &[u8; 32],
    ) -> Vec<Unhashed> {
        let wanted: BTreeMap<&str, Fingerprint> =
            passwords.iter().map(|password| (password.user, password.fingerprint(key))).collect();
        self.of.retain(|user, of| wanted.get(user.as_str()) == Some(of));
        let unknown = passwords.iter().filter(|password| !self.of.contains_key(password.user));
        let unhashed = unknown.map(|password| Unhashed {
            hash: password.hash,
            user: password.user.to_owned(),
            password: password.password.into(),
            existing: password.existing.filter(|found| !self.is_known(password.user, found)).map(Into::into),
            fingerprint: password.fingerprint(key),
            entropy: *entropy,
        });
        let unhashed = unhashed.collect();
        self.texts.retain(|user, _| self.of.contains_key(user));
        unhashed
    }

    /// Whether a text is known to be the hash of a password, so that it need not be tried on another one.
    fn is_known(&self, user: &str, text: &str) -> bool {
        self.texts.get(user).is_some_and(|known| known.text() == text)
    }
}

#[cfg(test)]
#[path = "hashes_tests.rs"]
mod tests;
