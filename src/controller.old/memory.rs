//! What is remembered of a credential between two passes. All of it can be lost: it saves reads
//! and writes, and nothing depends on it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::CredentialStatus,
    domain::{
        Content, Credential, SourceError, fingerprint::Fingerprint, ownership::OwnerId, validity::Validity,
    },
};

/// What is remembered of one credential.
#[derive(Clone, Default)]
pub struct Memory {
    /// The object that this is about; another one of the same name starts anew.
    pub uid: String,
    /// What its source gave, and of which version.
    pub material: Option<Material>,
    /// The last content that could be used: what the copies have while the source gives none.
    pub good: Option<Arc<Content>>,
    /// The status as it was written last; a watch shows it later.
    pub status: Option<CredentialStatus>,
    /// When that was.
    pub status_written: Option<Instant>,
    /// The revision that was given last, and the content that it was given to.
    pub assigned: Option<(i64, Fingerprint)>,
    /// Passes in a row that met trouble.
    pub failures: u32,
    /// Since when a status is held back because work is in flight.
    pub held_since: Option<Instant>,
    /// Whether work is in flight.
    pub busy: bool,
    /// Whether it was when the status was written.
    pub written_busy: bool,
}

impl Memory {
    /// How much longer a status is to be held back while work is in flight and it has no news of clusters where
    /// none is: at most `limit` in all, and then again after each one that was told.
    pub fn hold(&mut self, busy: bool, news: bool, limit: Duration) -> Option<Duration> {
        self.busy = busy;
        if !busy {
            self.held_since = None;
            return None;
        }
        let since = *self.held_since.get_or_insert_with(Instant::now);
        let left = limit.checked_sub(since.elapsed()).filter(|left| !left.is_zero());
        if left.is_none() {
            self.held_since = Some(Instant::now());
        }
        left.filter(|_| !news)
    }

    /// When what the copies have is valid; where nothing was distributed yet, what the source has.
    #[must_use]
    pub fn validity<K: Credential>(&self, object: &K) -> Option<Validity> {
        let standing = match &self.good {
            Some(content) => content.validity,
            None => object.standing(),
        };
        standing.or_else(|| self.material.as_ref().and_then(Material::validity))
    }
}

/// What the source of a credential gave.
#[derive(Clone)]
pub struct Material {
    /// The generation of the credential that it was made for.
    pub generation: i64,
    /// The newest version of the sources that it was made from.
    pub version: u64,
    /// When it is to be made anew although nothing changed, as time passes.
    pub until: Option<Timestamp>,
    /// The content, or what is wrong.
    pub content: Result<Arc<Content>, SourceError>,
}

impl Material {
    /// When it is valid, where it is for a time only.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        match &self.content {
            Ok(content) => content.validity,
            Err(error) => error.validity(),
        }
    }
}

/// What is remembered, by credential.
#[derive(Default)]
pub struct Memories(Mutex<HashMap<OwnerId, Memory>>);

impl Memories {
    /// What is remembered of an object.
    #[must_use]
    pub fn recall(&self, owner: &OwnerId, uid: &str) -> Memory {
        match self.lock().get(owner) {
            Some(memory) if memory.uid == uid => memory.clone(),
            _ => Memory { uid: uid.to_owned(), ..Memory::default() },
        }
    }

    /// Remembers.
    pub fn keep(&self, owner: &OwnerId, memory: Memory) {
        self.lock().insert(owner.clone(), memory);
    }

    /// How many passes in a row met trouble.
    #[must_use]
    pub fn failures(&self, owner: &OwnerId) -> u32 {
        self.lock().get(owner).map_or(0, |memory| memory.failures)
    }

    /// Forgets.
    pub fn forget(&self, owner: &OwnerId) {
        self.lock().remove(owner);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnerId, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
