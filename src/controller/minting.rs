//! Minting tokens: beside the loops, as a cloud may take its time. Of each identity and registry there is one token,
//! whoever wants it. Each namespace has places of its own.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    keys::{Queues, SharedKey},
    shared::{Item, Shared},
};
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
    entries: Shared<Entry, Reader>,
    /// How often the tokens of an owner have changed.
    changes: HashMap<OwnerId, u64>,
}

/// One token.
struct Entry {
    grant: Arc<Grant>,
    /// The one of its ServiceAccount.
    namespace: Arc<str>,
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

impl Item<Entry, Reader> {
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
        !state.entries.items.get(&grant).is_some_and(|item| item.readers.contains_key(&id.owner()))
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
        state.entries.keep(&owner, &ids);
        let mut minted = BTreeMap::new();
        for (key, grant_id, Wanted { grant, permitted, recorded }) in wanted {
            let group = (!grant.is_operators()).then(|| id.namespace.clone());
            let key_of_grant = SharedKey { id: grant_id, namespace: group };
            let item = state.entries.entry(key_of_grant, || Entry {
                grant: Arc::new(grant),
                namespace: id.namespace.clone(),
                token: None,
                error: None,
                in_a_row: 0,
                due: Due::after(Duration::ZERO, now),
                tried: None,
            });
            let is_waited_for = item.is_permitted();
            let Item { value: entry, readers, .. } = item;
            let is_new = !readers.contains_key(&owner);
            let reader = readers.entry(owner).or_default();
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
            let others_have = readers.iter().any(|(other, reader)| *other != owner && reader.last.is_some());
            if anew && is_permitted && (!others_have || entry.error.is_some()) {
                let pause = entry.tried.map_or(Duration::ZERO, |at| MINT_PAUSE.saturating_sub(at.elapsed()));
                if pause < entry.due.left(now) {
                    entry.due = Due::after(pause, now);
                    is_due_anew = true;
                }
            }
            let error = if is_permitted { entry.error.clone() } else { Some(MintError::not_permitted()) };
            if is_due_anew && item.is_permitted() {
                let wait = item.value.due.left(now).min(MINT_LOOK);
                self.queues.mint.add_after(item.key.clone(), (), wait);
            }
            minted.insert(key, Minted { token: last, error });
        }
        if ids.is_empty() {
            state.changes.remove(&owner);
        }
        minted
    }

    /// A credential wants no tokens any more.
    pub fn forget(&self, owner: &OwnerId) {
        let mut state = self.state.write();
        state.entries.keep(owner, &[]);
        state.changes.remove(owner);
    }

    /// Mints one token, when it is due; ServiceAccounts are those of the namespace.
    pub async fn work<F: Future<Output = Result<Token, MintError>>>(
        self: Arc<Self>,
        mint: impl FnOnce(Arc<Grant>, Arc<str>) -> F,
        key: SharedKey,
    ) -> Next {
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
        let minted = mint(grant.clone(), namespace).await;
        let outcome = minted.as_ref().map_or_else(|error| error.reason, |_| Reason::Refreshed);
        self.metrics.minted(grant.provider(), outcome.as_str());
        let now = (self.clock)();
        let mut state = self.state.write();
        let State { entries, changes } = &mut *state;
        let item = entries.items.get_mut(&key.id).filter(|item| Arc::ptr_eq(&item.value.grant, &grant));
        let Some(item) = item else { return Next::Done };
        let left = item.left(now);
        let Item { value: entry, readers, .. } = item;
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
                let wait = retry_mint(&error, entry.in_a_row, left, rand::random());
                entry.error = Some(error);
                wait
            }
        };
        entry.due = Due::after(wait, now);
        for reader in readers.keys() {
            *changes.entry(*reader).or_default() += 1;
        }
        self.queues.credentials(readers.keys().copied());
        Next::After(wait.min(MINT_LOOK))
    }

    /// What is to be minted, if it is due; else when to look again.
    fn due(&self, key: &SharedKey) -> Result<(Arc<Grant>, Arc<str>), Next> {
        let state = self.state.read();
        let item = state.entries.items.get(&key.id).filter(|item| item.key == *key && item.is_permitted());
        let entry = &item.ok_or(Next::Done)?.value;
        let left = entry.due.left((self.clock)());
        if left.is_zero() {
            Ok((entry.grant.clone(), entry.namespace.clone()))
        } else {
            Err(Next::After(left.min(MINT_LOOK)))
        }
    }
}

#[cfg(test)]
#[path = "minting_tests.rs"]
mod tests;
