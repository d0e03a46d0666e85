//! Carrying changes out: a bounded number of writes at once, each guarded by what was seen.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, RwLockWriteGuard},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use hyper::body::Bytes;
use kube::{Api, Resource, api::ListParams};
use tokio::sync::Semaphore;
use tracing::debug;

use super::{
    changes::Changes,
    error::{WriteError, describe},
    live_references::LiveReferences,
    object::MarkedSecret,
    pages::Pages,
    reflector::name_of,
    shared::Shared,
    turns::Turns,
};
use crate::{
    api::{LABEL_MANAGED_BY, LABEL_OWNER, MANAGER},
    domain::{
        cluster_condition::ClusterCondition,
        content::Data,
        eviction_limiter::EvictionLimiter,
        failure::Failure,
        identity::{CredentialId, NamespacedName, OwnerId},
        plan::{Action, Change, Object},
        rendered::RenderedSecret,
        repair_limiter::RepairLimiter,
        schedule::{LIVE_REFERENCES_FEW, SYNC_SLICE},
        snapshot::ExistingCopy,
    },
    lock::Lock,
    telemetry::{WriteOperation, WriteResult},
};

/// Writes to one cluster.
pub(crate) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) live: LiveReferences,
    pub(super) turns: Turns,
    writes: Semaphore,
    /// One clone for each job that writes.
    jobs: Arc<()>,
    pub(super) began: Instant,
    pub(super) evicted: Lock<EvictionLimiter>,
    repairs: Lock<RepairLimiter>,
}

/// Whose changes are carried out, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub id: &'a CredentialId,
    /// Needed for creating and updating.
    pub secret: Option<&'a RenderedSecret>,
    /// What was wanted before, as copies may still have it.
    pub before: Option<&'a RenderedSecret>,
    /// Since when the changes are wanted.
    pub since: Instant,
    /// Turns true when what is wanted has changed: then no write begins any more.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// What became of changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied {
    /// Changes that were made.
    pub done: usize,
    /// Namespaces whose copies are not as they were.
    pub touched: HashSet<Arc<str>>,
    /// Changes that were refused for a reason that may pass.
    pub refusals: Vec<(Object, Failure)>,
    /// Whether the snapshot was found out of date, so that the changes have to be planned anew.
    pub stale: bool,
    /// How many changes were not begun.
    pub left: usize,
    /// Why the rest was given up, when the cluster does not take more at the moment.
    pub condition: Option<ClusterCondition>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            writes: Semaphore::new(shared.options.concurrency),
            shared,
            live: LiveReferences::default(),
            turns: Turns::default(),
            jobs: Arc::default(),
            began: Instant::now(),
            evicted: Lock::default(),
            repairs: Lock::default(),
        }
    }

    /// How often copies were repaired lately, and the time on its clock.
    pub fn repairs(&self) -> (RwLockWriteGuard<'_, RepairLimiter>, Duration) {
        (self.repairs.write(), self.began.elapsed())
    }

    /// Carries changes out, in their order.
    pub async fn apply(&self, changes: Vec<Change>, job: Job<'_>) -> Applied {
        let mut applied = Applied::default();
        let began = Instant::now();
        let body = job.secret.and_then(|secret| secret.body(None).ok()).map(Bytes::from_owner);
        let deletions =
            changes.iter().filter(|change| matches!(change.action, Action::Delete { .. })).count();
        let act = |change: Change| {
            let body = body.clone();
            async move {
                let made = self.act(&change, job, body, deletions > LIVE_REFERENCES_FEW).await;
                (change, made)
            }
        };
        let mut changes = changes.into_iter();
        let _counted = self.jobs.clone();
        let mut running: FuturesUnordered<_> = changes.by_ref().take(self.share()).map(act).collect();
        while let Some((Change { object, action }, made)) = running.next().await {
            applied.touched.insert(object.namespace().clone());
            match made {
                Ok(true) => applied.done += 1,
                // The namespace went away meanwhile, as a watch will show.
                Err(WriteError::Gone) if action == Action::Create => {}
                Err(WriteError::Refused(failure)) => applied.refusals.push((object, failure)),
                Err(WriteError::Cluster(condition)) => applied.condition = Some(condition),
                Ok(false) | Err(WriteError::AlreadyExists | WriteError::Changed | WriteError::Gone) => {
                    applied.stale = true;
                }
            }
            // What is left after this long is planned anew, from newer facts.
            if applied.condition.is_none() && began.elapsed() < SYNC_SLICE && !(job.stop)() {
                let room = self.share().saturating_sub(running.len());
                running.extend(changes.by_ref().take(room).map(act));
            }
        }
        applied.left = changes.len();
        if applied.condition.is_none() && applied.done > 0 {
            self.shared.connectivity.eased();
        }
        applied
    }

    /// How many writes one job may have waiting: those of many jobs queue up, and a small one comes last.
    fn share(&self) -> usize {
        let jobs = Arc::strong_count(&self.jobs).saturating_sub(1).max(1);
        self.shared.options.concurrency.div_ceil(jobs)
    }

    /// Carries one change out. Returns whether it was made; if not, it has to be planned anew.
    async fn act(
        &self,
        change: &Change,
        job: Job<'_>,
        body: Option<Bytes>,
        many: bool,
    ) -> Result<bool, WriteError> {
        let Ok(_permit) = self.writes.acquire().await else { return Ok(false) };
        if !(self.shared.options.may_write)() {
            // Another operator may be at work already, and this one is about to end.
            return Err(WriteError::Cluster(ClusterCondition::Failing("leadership was lost".to_owned())));
        }
        let name = match (&change.object, &change.action) {
            (Object::ServiceAccount(name), Action::Edit(wanted)) => {
                return self.edit(name, wanted, job).await;
            }
            (Object::Pod(_), Action::Evict(candidate)) => return self.evict(candidate, job).await,
            (Object::Secret(name) | Object::ServiceAccount(name) | Object::Pod(name), _) => name,
        };
        self.shared.write().begin_write(name);
        let operation = match &change.action {
            Action::Create => WriteOperation::Create,
            Action::Update(_) | Action::Release(_) | Action::Edit(_) => WriteOperation::Update,
            Action::Delete { .. } | Action::Evict(_) => WriteOperation::Delete,
        };
        let result = match (&change.action, job.secret, body) {
            (Action::Create, Some(secret), Some(body)) => self.create(name, secret, body).await,
            (Action::Update(copy), Some(secret), _) => self.update(name, copy, secret).await,
            (Action::Delete { copy, if_unused }, ..) => self.delete(name, copy, *if_unused, many, job).await,
            (Action::Release(_), ..) => self.release(name, job).await,
            // Nothing is planned to be written without a content.
            (Action::Create | Action::Update(_) | Action::Edit(_) | Action::Evict(_), ..) => {
                Err(WriteError::Changed)
            }
        };
        let Err(error) = result else { return result };
        let known = || job.secret.into_iter().chain(job.before);
        let is_known = |copy: &ExistingCopy| known().any(|secret| secret.fingerprint == copy.content);
        let all_known = match &change.action {
            Action::Create | Action::Edit(_) | Action::Evict(_) => true,
            Action::Update(copy) | Action::Delete { copy, .. } | Action::Release(copy) => is_known(copy),
        };
        let values: Vec<&Data> = known().map(|secret| &secret.content.data).collect();
        let error = error.without_values(&values, all_known);
        self.failed(name, operation, &error).await;
        Err(error)
    }

    /// Reads a copy anew that was not as the watch had shown it.
    async fn read(&self, name: &NamespacedName) {
        let api: Api<MarkedSecret> = Api::namespaced(self.shared.connection.client(), &name.namespace);
        let before = self.shared.read().version(name);
        // Where the read fails too, the watch will bring it.
        let Ok(found) = api.get_opt(&name.name).await else { return };
        let changes = {
            let mut cache = self.shared.write();
            // Unless the watch was faster, the answer holds whatever its number: etcd may have been restored.
            let believed = cache.version(name) == before;
            let changes = found.and_then(|secret| cache.observe_copy(&secret, believed));
            changes.unwrap_or_else(|| cache.remove_copy(name, None))
        };
        // Only what a watch shows counts as drift.
        self.shared.tell(Changes { drift: 0, ..changes });
    }

    /// Reads copies of which a list could not tell whether they are there.
    pub(super) fn read_again(self: &Arc<Self>, names: Vec<NamespacedName>) {
        if names.is_empty() {
            return;
        }
        let writer = self.clone();
        let task = format!("reading copies again in cluster {}", self.shared.name);
        self.shared.options.supervisor.spawn(task, async move {
            for name in names {
                let Ok(_permit) = writer.writes.acquire().await else { return };
                writer.read(&name).await;
            }
        });
    }

    /// Reads all copies of one owner from the API server into the cache, past the watch. That it did not succeed
    /// shows in the pause of the cluster's connectivity.
    pub async fn refresh(&self, owner: &OwnerId) {
        if let Err(error) = self.try_refresh(owner).await {
            match WriteError::of_list(&error) {
                WriteError::Cluster(condition) => self.shared.connectivity.strained(condition),
                // There is too much to read of this owner: the watch knows it, and nobody else is concerned.
                _ => debug!(cluster = &*self.shared.name, %owner, "not read again: {}", describe(&error)),
            }
        }
    }

    async fn try_refresh(&self, owner: &OwnerId) -> Result<(), kube::Error> {
        let api: Api<MarkedSecret> = Api::all(self.shared.connection.client());
        let labels = format!("{LABEL_MANAGED_BY}={MANAGER},{LABEL_OWNER}={owner}");
        let params = ListParams::default().labels(&labels);
        let mut before: HashMap<NamespacedName, _> = {
            let cache = self.shared.read();
            let copies = cache.snapshot().copies.of(owner);
            copies.map(|(name, copy)| (name.clone(), copy.resource_version.clone())).collect()
        };
        let mut pages = Pages::new(&api, params);
        loop {
            let each = |secret: MarkedSecret| {
                let name = name_of(secret.meta());
                let mut cache = self.shared.write();
                let believed = cache.version(&name) == before.get(&name).cloned();
                if cache.observe_copy(&secret, believed).is_some() {
                    before.remove(&name);
                }
            };
            if pages.next_in_time(each).await?.is_some() {
                break;
            }
        }
        let changes = {
            let mut cache = self.shared.write();
            for name in before.keys() {
                cache.remove_copy(name, None);
            }
            cache.retry_conflicts()
        };
        self.shared.tell(changes);
        Ok(())
    }

    async fn failed(&self, name: &NamespacedName, operation: WriteOperation, error: &WriteError) {
        self.shared.write().end_write(name);
        let result = match error {
            WriteError::Cluster(condition) => {
                self.shared.connectivity.strained(condition.clone());
                WriteResult::Error
            }
            WriteError::Refused(Failure::SecretNameConflict(_)) => WriteResult::Conflict,
            WriteError::Refused(_) => WriteResult::Refused,
            WriteError::Gone if operation == WriteOperation::Create => WriteResult::Conflict,
            WriteError::AlreadyExists | WriteError::Changed | WriteError::Gone => {
                self.read(name).await;
                WriteResult::Conflict
            }
        };
        self.count(operation, result);
    }

    /// Counts a write, in the metrics.
    pub(super) fn count(&self, operation: WriteOperation, result: WriteResult) {
        self.shared.options.metrics.secret_write(&self.shared.name, operation, result);
    }
}
