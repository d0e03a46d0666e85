//! Minting tokens: beside the loops, as a cloud may take its time. Of each identity and registry there is one token,
//! whoever wants it; namespaces have places of their own, so that a tenant whose cloud does not answer holds up nobody
//! else.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use tokio::{sync::Semaphore, time::Instant};

use super::keys::{MintKey, Queues};
use crate::{
    domain::{
        fingerprint::{Fingerprint, FingerprintKey},
        identity::{CredentialId, OwnerId},
        reason::Reason,
        schedule::{MINT_LOOK, MINT_PAUSE, MINTS},
        token::{Grant, MintError, Minted, Token, next_mint, retry_mint},
    },
    lock::Lock,
    queue::Next,
    telemetry::Metrics,
};

/// Who mints.
pub(crate) trait Mint: Send + Sync {
    /// Mints one token; ServiceAccounts are those of the namespace.
    fn mint(
        &self,
        grant: Arc<Grant>,
        namespace: &str,
    ) -> impl Future<Output = Result<Token, MintError>> + Send;
}

/// The tokens that are minted.
pub(crate) struct Minting {
    state: Lock<State>,
    queues: Arc<Queues>,
    fingerprints: Arc<FingerprintKey>,
    metrics: Arc<Metrics>,
    /// It is fair: who waits longest comes next.
    places: Semaphore,
}

#[derive(Default)]
struct State {
    entries: HashMap<Fingerprint, Entry>,
    by_owner: HashMap<OwnerId, Vec<Fingerprint>>,
    /// How often the tokens of an owner have changed.
    changes: HashMap<OwnerId, u64>,
}

/// One token, and who wants it.
struct Entry {
    grant: Arc<Grant>,
    key: MintKey,
    readers: Vec<OwnerId>,
    token: Option<Arc<Token>>,
    error: Option<MintError>,
    /// How often in a row it failed.
    in_a_row: u32,
    due: Due,
    /// When it was tried last.
    tried: Option<Instant>,
}

/// When something is due: by both clocks, as one stands still while a machine sleeps, and the other one jumps.
#[derive(Clone, Copy)]
struct Due {
    at: Instant,
    wall: Timestamp,
}

impl Due {
    fn after(wait: Duration) -> Self {
        Self { at: Instant::now() + wait, wall: Timestamp::now() + wait }
    }

    /// How long it still takes.
    fn left(self) -> Duration {
        let wall = Duration::try_from(self.wall.duration_since(Timestamp::now())).unwrap_or_default();
        self.at.saturating_duration_since(Instant::now()).min(wall)
    }
}

impl Minting {
    pub fn new(queues: Arc<Queues>, fingerprints: Arc<FingerprintKey>, metrics: Arc<Metrics>) -> Self {
        let places = Semaphore::new(MINTS);
        Self { state: Lock::default(), queues, fingerprints, metrics, places }
    }

    /// How often the tokens of a credential have changed.
    pub fn changes(&self, owner: &OwnerId) -> u64 {
        self.state.read().changes.get(owner).copied().unwrap_or_default()
    }

    /// Whether nothing is known of a token yet.
    pub fn is_new(&self, id: &CredentialId, grant: &Grant) -> bool {
        let grant = grant.id(&self.fingerprints, &id.namespace);
        !self.state.read().entries.contains_key(&grant)
    }

    /// What is known of the tokens of a credential, which are minted from now on; those that it had before are not
    /// minted for it any more. `recorded` are those of another process, and `anew` says that a person wants new ones.
    pub fn look(
        &self,
        id: &CredentialId,
        grants: BTreeMap<String, Grant>,
        mut recorded: BTreeMap<String, Token>,
        anew: bool,
    ) -> BTreeMap<String, Minted> {
        let owner = id.owner();
        let grants: Vec<(String, Fingerprint, Grant)> = grants
            .into_iter()
            .map(|(key, grant)| (key, grant.id(&self.fingerprints, &id.namespace), grant))
            .collect();
        let ids: Vec<Fingerprint> = grants.iter().map(|(_, id, _)| *id).collect();
        let mut state = self.state.write();
        state.leave(&owner, &ids);
        let mut minted = BTreeMap::new();
        for (key, grant_id, grant) in grants {
            let mint = state.entries.entry(grant_id).or_insert_with(|| Entry {
                grant: Arc::new(grant),
                key: MintKey { grant: grant_id, namespace: id.namespace.clone() },
                readers: Vec::new(),
                token: None,
                error: None,
                in_a_row: 0,
                due: Due::after(Duration::ZERO),
                tried: None,
            });
            let first = !mint.readers.contains(&owner);
            if first {
                mint.readers.push(owner);
            }
            let mut is_due_anew = first;
            if mint.token.is_none()
                && let Some(token) = recorded.remove(&key)
            {
                mint.due = Due::after(next_mint(token.life, rand::random()));
                mint.token = Some(Arc::new(token));
                is_due_anew = true;
            }
            if anew {
                let pause =
                    mint.tried.map_or(Duration::ZERO, |tried| MINT_PAUSE.saturating_sub(tried.elapsed()));
                if pause < mint.due.left() {
                    mint.due = Due::after(pause);
                    is_due_anew = true;
                }
            }
            if is_due_anew {
                self.queues.mint.add_after(mint.key.clone(), (), mint.due.left());
            }
            minted.insert(key, Minted { token: mint.token.clone(), error: mint.error.clone() });
        }
        if ids.is_empty() {
            state.changes.remove(&owner);
        } else {
            state.by_owner.insert(owner, ids);
        }
        minted
    }

    /// A credential has no tokens any more.
    pub fn forget(&self, owner: &OwnerId) {
        let mut state = self.state.write();
        state.leave(owner, &[]);
        state.changes.remove(owner);
    }

    /// Mints one token, when it is due.
    pub async fn work(self: Arc<Self>, clouds: Arc<impl Mint>, key: MintKey) -> Next {
        let Ok(_place) = self.places.acquire().await else { return Next::Done };
        if self.queues.mint.is_closed() {
            return Next::Done;
        }
        let grant = {
            let state = self.state.read();
            let Some(mint) = state.entries.get(&key.grant).filter(|mint| mint.key == key) else {
                return Next::Done;
            };
            let left = mint.due.left();
            if !left.is_zero() {
                return Next::After(left.min(MINT_LOOK));
            }
            mint.grant.clone()
        };
        let minted = clouds.mint(grant.clone(), &key.namespace).await;
        let outcome = minted.as_ref().map_or_else(|error| error.reason, |_| Reason::Refreshed);
        self.metrics.minted(grant.provider(), outcome.as_str());
        let mut state = self.state.write();
        let Some(mint) = state.entries.get_mut(&key.grant) else { return Next::Done };
        mint.tried = Some(Instant::now());
        let wait = match minted {
            Ok(token) => {
                let wait = next_mint(token.life, rand::random());
                (mint.token, mint.error, mint.in_a_row) = (Some(Arc::new(token)), None, 0);
                wait
            }
            Err(error) => {
                mint.in_a_row = mint.in_a_row.saturating_add(1);
                let left = mint.token.as_ref().map(|token| token.left(Timestamp::now()));
                let left = left.filter(|left| !left.is_zero());
                let wait = retry_mint(&error, mint.in_a_row, left, rand::random());
                mint.error = Some(error);
                wait
            }
        };
        mint.due = Due::after(wait);
        let readers = mint.readers.clone();
        for reader in &readers {
            *state.changes.entry(*reader).or_default() += 1;
        }
        self.queues.credentials(readers);
        Next::After(wait.min(MINT_LOOK))
    }
}

impl State {
    /// Only these are still of a credential. What nobody wants is forgotten.
    fn leave(&mut self, owner: &OwnerId, but: &[Fingerprint]) {
        let had = self.by_owner.remove(owner).unwrap_or_default();
        for id in had.iter().filter(|id| !but.contains(id)) {
            let Some(mint) = self.entries.get_mut(id) else { continue };
            mint.readers.retain(|reader| reader != owner);
            if mint.readers.is_empty() {
                self.entries.remove(id);
            }
        }
    }
}

#[cfg(test)]
#[path = "minting_tests.rs"]
mod tests;
