//! Hashing passwords: beside the loops, as each hash keeps a core busy for tens of milliseconds. A few are made at
//! once, and namespaces take turns after each, so that a tenant with many passwords holds up another by one.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::Semaphore;

use super::keys::{HashKey, Queues};
use crate::{
    domain::{
        hashes::{Hashed, Hashes, Unhashed},
        identity::OwnerId,
        schedule::hashes_at_once,
    },
    lock::Lock,
    queue::Next,
};

/// The passwords that are being hashed, by credential.
pub(crate) struct Hashing {
    jobs: Lock<HashMap<OwnerId, Job>>,
    queues: Arc<Queues>,
    /// It is fair: of each namespace one waits, behind those of all others.
    places: Semaphore,
}

#[derive(Default)]
struct Job {
    left: VecDeque<Arc<Unhashed>>,
    done: Vec<Hashed>,
}

impl Hashing {
    pub fn new(queues: Arc<Queues>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { jobs: Lock::default(), queues, places: Semaphore::new(hashes_at_once(cores)) }
    }

    /// Has passwords hashed, and no others of that credential any more; then its key is added to the credential loop.
    pub fn begin(&self, key: HashKey, unhashed: Vec<Unhashed>) {
        let left = unhashed.into_iter().map(Arc::new).collect();
        self.jobs.write().insert(key.owner, Job { left, done: Vec::new() });
        self.queues.hash.add(key, ());
    }

    /// Takes what is done. Returns whether nothing is left to do.
    pub fn collect(&self, owner: &OwnerId, hashes: &mut Hashes) -> bool {
        let mut jobs = self.jobs.write();
        let Some(job) = jobs.get_mut(owner) else { return true };
        job.done.drain(..).for_each(|hashed| hashes.add(hashed));
        job.left.is_empty()
    }

    /// Nothing is to be hashed for a credential any more.
    pub fn forget(&self, owner: &OwnerId) {
        self.jobs.write().remove(owner);
    }

    /// Makes one hash.
    pub async fn work(self: Arc<Self>, key: HashKey) -> Next {
        let Ok(_place) = self.places.acquire().await else { return Next::Done };
        let next = self.jobs.read().get(&key.owner).and_then(|job| job.left.front().cloned());
        let Some(next) = next.filter(|_| !self.queues.hash.is_closed()) else { return Next::Done };
        let hashed = match tokio::task::spawn_blocking(move || next.hashed()).await {
            Ok(hashed) => hashed,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The process ends.
            Err(_) => return Next::Done,
        };
        let mut jobs = self.jobs.write();
        let Some(job) = jobs.get_mut(&key.owner) else { return Next::Done };
        let before = job.left.len();
        job.left.retain(|unhashed| !hashed.is_of(unhashed));
        // It may be of a password that nobody wants any more.
        if job.left.len() < before {
            job.done.push(hashed);
        }
        if !job.left.is_empty() {
            return Next::Again;
        }
        self.queues.credential(&key.owner);
        Next::Done
    }
}

#[cfg(test)]
#[path = "hashing_tests.rs"]
mod tests;
