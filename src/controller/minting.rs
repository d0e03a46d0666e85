//! Minting tokens: beside the loops, as a cloud may take its time. Of each identity and registry there is one token,
//! whoever wants it. Each namespace has places of its own.

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

/// A token that a credential wants.
pub(crate) struct Wanted {
    pub grant: Grant,
    /// Whether consent lets it be minted; `None` while that is not known, so that it is as before.
    pub permitted: Option<bool>,
    /// The token that an earlier process has distributed, and whether that could still renew it.
    pub recorded: Option<(Token, bool)>,
}

/// The tokens that are minted.
pub(crate) struct Minting {
    state: Lock<State>,
    queues: Arc<Queues>,
    fingerprints: Arc<FingerprintKey>,
    metrics: Arc<Metrics>,
    /// It is fair: who waits longest comes next.
    places: Semaphore,
    /// What time it is.
    clock: fn() -> Timestamp,
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
    namespace: Arc<str>,
    readers: HashMap<OwnerId, Reader>,
    /// The last one that this process has minted.
    token: Option<Arc<Token>>,
    error: Option<MintError>,
    /// How often in a row it failed.
    in_a_row: u32,
    due: Due,
    /// When it was tried last.
    tried: Option<Instant>,
}

/// Who wants a token.
#[derive(Default)]
struct Reader {
    /// Whether consent lets it be minted for them.
    is_permitted: bool,
    /// The last token that they were given, or that was read back from their copies, which is nobody else's: whoever may
    /// edit a copy would have it in all copies of others. Without consent there is no other one for them.
    last: Option<Arc<Token>>,
}

impl Entry {
    fn is_permitted(&self) -> bool {
        self.readers.values().any(|reader| reader.is_permitted)
    }

    /// How long all tokens that there are are still good.
    fn left(&self, now: Timestamp) -> Option<Duration> {
        let permitted = self.readers.values().filter(|reader| reader.is_permitted);
        let lefts = permitted.filter_map(|reader| Some(reader.last.as_ref()?.left(now)));
        lefts.filter(|left| !left.is_zero()).min()
    }
}

/// When something is due: by both clocks, as one stands still while a machine sleeps, and the other one jumps.
#[derive(Clone, Copy)]
struct Due {
    at: Instant,
    wall: Timestamp,
}

impl Due {
    fn after(wait: Duration, now: Timestamp) -> Self {
        Self { at: Instant::now() + wait, wall: now + wait }
    }

    /// How long it still takes.
    fn left(self, now: Timestamp) -> Duration {
        let wall = Duration::try_from(self.wall.duration_since(now)).unwrap_or_default();
        self.at.saturating_duration_since(Instant::now()).min(wall)
    }
}

impl Minting {
    pub fn new(queues: Arc<Queues>, fingerprints: Arc<FingerprintKey>, metrics: Arc<Metrics>) -> Self {
        let places = Semaphore::new(MINTS);
        Self { state: Lock::default(), queues, fingerprints, metrics, places, clock: Timestamp::now }
    }

    /// How often the tokens of a credential have changed.
    pub fn changes(&self, owner: &OwnerId) -> u64 {
        self.state.read().changes.get(owner).copied().unwrap_or_default()
    }

    /// Whether a credential has not wanted such a token yet.
    pub fn is_new(&self, id: &CredentialId, grant: &Grant) -> bool {
        let grant = grant.id(&self.fingerprints, &id.namespace);
        let state = self.state.read();
        !state.entries.get(&grant).is_some_and(|entry| entry.readers.contains_key(&id.owner()))
    }

    /// Has the tokens minted that a credential wants, and none of those any more that it wanted before. Returns what is
    /// known of them. `anew` says that a person wants new ones.
    pub fn sync(
        &self,
        id: &CredentialId,
        wanted: BTreeMap<String, Wanted>,
        anew: bool,
    ) -> BTreeMap<String, Minted> {
        let owner = id.owner();
        let wanted: Vec<(String, Fingerprint, Wanted)> = wanted
            .into_iter()
            .map(|(key, wanted)| (key, wanted.grant.id(&self.fingerprints, &id.namespace), wanted))
            .collect();
        let ids: Vec<Fingerprint> = wanted.iter().map(|(_, id, _)| *id).collect();
        let now = (self.clock)();
        let mut state = self.state.write();
        state.leave(&owner, &ids);
        let mut minted = BTreeMap::new();
        for (key, grant_id, Wanted { grant, permitted, recorded }) in wanted {
            let entry = state.entries.entry(grant_id).or_insert_with(|| {
                let group = (!grant.is_operators()).then(|| id.namespace.clone());
                Entry {
                    grant: Arc::new(grant),
                    key: MintKey { grant: grant_id, namespace: group },
                    namespace: id.namespace.clone(),
                    readers: HashMap::new(),
                    token: None,
                    error: None,
                    in_a_row: 0,
                    due: Due::after(Duration::ZERO, now),
                    tried: None,
                }
            });
            let is_waited_for = entry.is_permitted();
            let is_new = !entry.readers.contains_key(&owner);
            let reader = entry.readers.entry(owner).or_default();
            // While policies cannot be read, what was minted shows that there was consent.
            let before = reader.is_permitted || (is_new && recorded.is_some());
            let begins = permitted.unwrap_or(before) && !reader.is_permitted;
            reader.is_permitted = permitted.unwrap_or(before);
            let is_permitted = reader.is_permitted;
            let is_renewed = recorded.as_ref().is_none_or(|(_, is_renewed)| *is_renewed);
            if let Some((token, _)) = recorded.filter(|_| is_new) {
                reader.last = Some(Arc::new(token));
            }
            if is_permitted && entry.token.is_some() {
                reader.last = entry.token.clone();
            }
            let last = reader.last.clone();
            let mut is_due_anew = begins && !is_waited_for;
            if begins && entry.token.is_none() && entry.tried.is_none() {
                let left = last.as_ref().map(|token| token.left(now)).filter(|left| !left.is_zero());
                let wait = left
                    .filter(|_| is_renewed)
                    .map_or(Duration::ZERO, |left| next_mint(left, rand::random()));
                if !is_waited_for || wait < entry.due.left(now) {
                    entry.due = Due::after(wait, now);
                    is_due_anew = true;
                }
            }
            // One that others have too is not theirs to change.
            let others_have =
                entry.readers.iter().any(|(other, reader)| *other != owner && reader.last.is_some());
            if anew && is_permitted && (!others_have || entry.error.is_some()) {
                let pause = entry.tried.map_or(Duration::ZERO, |at| MINT_PAUSE.saturating_sub(at.elapsed()));
                if pause < entry.due.left(now) {
                    entry.due = Due::after(pause, now);
                    is_due_anew = true;
                }
            }
            if is_due_anew && entry.is_permitted() {
                let wait = entry.due.left(now).min(MINT_LOOK);
                self.queues.mint.add_after(entry.key.clone(), (), wait);
            }
            let error = if is_permitted { entry.error.clone() } else { Some(MintError::not_permitted()) };
            minted.insert(key, Minted { token: last, error });
        }
        if ids.is_empty() {
            state.changes.remove(&owner);
        } else {
            state.by_owner.insert(owner, ids);
        }
        minted
    }

    /// A credential wants no tokens any more.
    pub fn forget(&self, owner: &OwnerId) {
        let mut state = self.state.write();
        state.leave(owner, &[]);
        state.changes.remove(owner);
    }

    /// Mints one token, when it is due.
    pub async fn work(self: Arc<Self>, clouds: Arc<impl Mint>, key: MintKey) -> Next {
        if let Err(next) = self.due(&key) {
            return next;
        }
        let Ok(_place) = self.places.acquire().await else { return Next::Done };
        if self.queues.mint.is_closed() {
            return Next::Done;
        }
        // It may have gone meanwhile.
        let (grant, namespace) = match self.due(&key) {
            Ok(due) => due,
            Err(next) => return next,
        };
        let minted = clouds.mint(grant.clone(), &namespace).await;
        let outcome = minted.as_ref().map_or_else(|error| error.reason, |_| Reason::Refreshed);
        self.metrics.minted(grant.provider(), outcome.as_str());
        let now = (self.clock)();
        let mut state = self.state.write();
        let Some(entry) = state.entries.get_mut(&key.grant).filter(|entry| Arc::ptr_eq(&entry.grant, &grant))
        else {
            return Next::Done;
        };
        entry.tried = Some(Instant::now());
        let wait = match minted {
            Ok(token) => {
                let wait = next_mint(token.life, rand::random());
                // Some give the same one until shortly before its end.
                if entry.token.as_ref().is_none_or(|before| before.password != token.password) {
                    entry.token = Some(Arc::new(token));
                }
                (entry.error, entry.in_a_row) = (None, 0);
                wait
            }
            Err(error) => {
                entry.in_a_row = entry.in_a_row.saturating_add(1);
                let wait = retry_mint(&error, entry.in_a_row, entry.left(now), rand::random());
                entry.error = Some(error);
                wait
            }
        };
        entry.due = Due::after(wait, now);
        let readers: Vec<OwnerId> = entry.readers.keys().copied().collect();
        for reader in &readers {
            *state.changes.entry(*reader).or_default() += 1;
        }
        self.queues.credentials(readers);
        Next::After(wait.min(MINT_LOOK))
    }

    /// What is to be minted, if it is due; else when to look again.
    fn due(&self, key: &MintKey) -> Result<(Arc<Grant>, Arc<str>), Next> {
        let state = self.state.read();
        let entry = state.entries.get(&key.grant).filter(|entry| entry.key == *key && entry.is_permitted());
        let entry = entry.ok_or(Next::Done)?;
        let left = entry.due.left((self.clock)());
        if left.is_zero() {
            Ok((entry.grant.clone(), entry.namespace.clone()))
        } else {
            Err(Next::After(left.min(MINT_LOOK)))
        }
    }
}

impl State {
    /// Only these are still of a credential. What nobody wants is forgotten.
    fn leave(&mut self, owner: &OwnerId, but: &[Fingerprint]) {
        let had = self.by_owner.remove(owner).unwrap_or_default();
        for id in had.iter().filter(|id| !but.contains(id)) {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            entry.readers.remove(owner);
            if entry.readers.is_empty() {
                self.entries.remove(id);
            }
        }
    }
}

#[cfg(test)]
#[path = "minting_tests.rs"]
mod tests;
