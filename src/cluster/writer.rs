//! Carrying changes out: a bounded number of writes at once, each guarded by what was seen.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use kube::{Api, api::ListParams};
use tokio::sync::Semaphore;

use super::{
    cache::{Cache, Changes},
    connection::Connection,
    connectivity::Connectivity,
    error::{WriteError, describe},
    handler::EventHandler,
    live_references::LiveReferences,
    object::MarkedSecret,
};
use crate::{
    api::{LABEL_MANAGED_BY, LABEL_OWNER, MANAGER},
    domain::{
        cluster_condition::ClusterCondition,
        failure::Failure,
        fingerprint::FingerprintKey,
        identity::{CredentialId, NamespacedName, OwnerId},
        ownership::Hub,
        plan::{Action, Change, Object},
        rendered::RenderedSecret,
        repair_limiter::RepairLimiter,
        schedule::{LIVE_REFERENCES_FEW, PAGE},
    },
    supervisor::Supervisor,
    telemetry::{Metrics, WriteOperation, WriteResult},
};

/// Writes to one cluster.
pub(crate) struct Writer {
    pub(super) cluster: Arc<str>,
    pub(super) connection: Arc<Connection>,
    pub(super) cache: Arc<RwLock<Cache>>,
    pub(super) connectivity: Arc<Connectivity>,
    pub(super) fingerprints: Arc<FingerprintKey>,
    pub(super) handler: Arc<dyn EventHandler>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) supervisor: Supervisor,
    pub(super) live: LiveReferences,
    writes: Semaphore,
    concurrency: usize,
    /// One clone for each job that writes.
    jobs: Arc<()>,
    may_write: Arc<dyn Fn() -> bool + Send + Sync>,
    began: Instant,
    repairs: Mutex<RepairLimiter>,
}

/// What a [`Writer`] is made of.
pub(super) struct Parts {
    pub cluster: Arc<str>,
    pub connection: Arc<Connection>,
    pub cache: Arc<RwLock<Cache>>,
    pub connectivity: Arc<Connectivity>,
    pub fingerprints: Arc<FingerprintKey>,
    pub handler: Arc<dyn EventHandler>,
    pub metrics: Arc<Metrics>,
    pub supervisor: Supervisor,
    pub concurrency: usize,
    pub may_write: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Whose changes are carried out, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub id: &'a CredentialId,
    pub hub: &'a Hub,
    /// Needed for creating and updating.
    pub secret: Option<&'a RenderedSecret>,
    /// No write begins after this long. What is left is planned anew, from newer facts.
    pub slice: Duration,
    /// Since when the changes are wanted.
    pub since: Instant,
    /// Turns true when what is wanted has changed: then no write begins any more.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// What became of changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied {
    /// Copies that were written, deleted or released.
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

/// How one change ended.
pub(super) enum Done {
    Changed,
    /// The namespace went away meanwhile, as a watch will show.
    Gone,
    Stale,
    Refused(Object, Failure),
    Stopped(ClusterCondition),
}

impl Writer {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            cluster,
            connection,
            cache,
            connectivity,
            fingerprints,
            handler,
            metrics,
            supervisor,
            concurrency,
            may_write,
        } = parts;
        Self {
            cluster,
            live: LiveReferences::new(connection.clone()),
            connection,
            cache,
            connectivity,
            fingerprints,
            handler,
            metrics,
            supervisor,
            writes: Semaphore::new(concurrency),
            concurrency,
            jobs: Arc::default(),
            may_write,
            began: Instant::now(),
            repairs: Mutex::default(),
        }
    }

    /// How often copies were repaired lately, and the time on its clock.
    pub fn repairs(&self) -> (MutexGuard<'_, RepairLimiter>, Duration) {
        (self.repairs.lock().unwrap_or_else(PoisonError::into_inner), self.began.elapsed())
    }

    /// Carries changes out, in their order.
    pub async fn apply(&self, changes: Vec<Change>, job: Job<'_>) -> Applied {
        let mut applied = Applied::default();
        let began = Instant::now();
        let body = job.secret.and_then(|secret| secret.body(None, &secret.metadata).ok());
        let deletions =
            changes.iter().filter(|change| matches!(change.action, Action::Delete { .. })).count();
        let act = |change: Change| {
            let body = body.as_deref();
            async move {
                let namespace = change.object.namespace().clone();
                (namespace, self.act(change, job, body, deletions > LIVE_REFERENCES_FEW).await)
            }
        };
        let mut changes = changes.into_iter();
        let _counted = self.jobs.clone();
        let mut running: FuturesUnordered<_> = changes.by_ref().take(self.share()).map(act).collect();
        while let Some((namespace, done)) = running.next().await {
            match done {
                Done::Changed => applied.done += 1,
                Done::Gone => {}
                Done::Stale => applied.stale = true,
                Done::Refused(object, failure) => applied.refusals.push((object, failure)),
                Done::Stopped(condition) => applied.condition = Some(condition),
            }
            applied.touched.insert(namespace);
            if applied.condition.is_none() && began.elapsed() < job.slice && !(job.stop)() {
                let room = self.share().saturating_sub(running.len());
                running.extend(changes.by_ref().take(room).map(act));
            }
        }
        applied.left = changes.len();
        if applied.condition.is_none() && applied.done > 0 {
            self.connectivity.eased();
        }
        applied
    }

    /// How many writes one job may have waiting: those of many jobs queue up, and a small one comes last.
    fn share(&self) -> usize {
        let jobs = Arc::strong_count(&self.jobs).saturating_sub(1).max(1);
        self.concurrency.div_ceil(jobs)
    }

    async fn act(&self, change: Change, job: Job<'_>, body: Option<&[u8]>, many: bool) -> Done {
        let Ok(_permit) = self.writes.acquire().await else { return Done::Stale };
        if !(self.may_write)() {
            // Another operator may be at work already, and this one is about to end.
            return Done::Stopped(ClusterCondition::Failing("leadership was lost".to_owned()));
        }
        let Object::Secret(name) = &change.object;
        self.write().begin_write(name);
        let operation = match &change.action {
            Action::Create => WriteOperation::Create,
            Action::Update(_) | Action::Release(_) => WriteOperation::Update,
            Action::Delete { .. } => WriteOperation::Delete,
        };
        let result = match (&change.action, job.secret, body) {
            (Action::Create, Some(secret), Some(body)) => self.create(name, secret, body).await,
            (Action::Update(copy), Some(secret), _) => self.update(name, copy, secret).await,
            (Action::Delete { copy, if_unused }, ..) => {
                let asked = self.may_delete(name, *if_unused, many, job).await;
                match asked {
                    Ok(true) => self.delete(name, copy).await,
                    // It is in use: the plan will hold it.
                    Ok(false) => {
                        self.write().end_write(name);
                        return Done::Stale;
                    }
                    Err(error) => Err(error),
                }
            }
            (Action::Release(_), ..) => self.release(name, job).await,
            // Nothing is planned to be written without a content.
            (Action::Create | Action::Update(_), ..) => Err(WriteError::Changed),
        };
        match result {
            Ok(done) => done,
            Err(error) => self.failed(name, operation, error).await,
        }
    }

    /// Reads a copy anew that was not as the watch had shown it.
    async fn read(&self, name: &NamespacedName) {
        let api: Api<MarkedSecret> = Api::namespaced(self.connection.client(), &name.namespace);
        // Where the read fails too, the watch will bring it.
        let Ok(found) = api.get_opt(&name.name).await else { return };
        let changes = {
            let mut cache = self.write();
            match found.and_then(|secret| cache.read_copy(&secret, &self.fingerprints)) {
                Some((name, copy)) => cache.observe_copy(name, copy, false),
                None => cache.remove_copy(name, None),
            }
        };
        self.tell(changes);
    }

    /// Reads copies of which a list could not tell whether they are there.
    pub(super) fn read_again(self: &Arc<Self>, names: Vec<NamespacedName>) {
        if names.is_empty() {
            return;
        }
        let writer = self.clone();
        self.supervisor.spawn(format!("reading copies again in cluster {}", self.cluster), async move {
            for name in names {
                let Ok(_permit) = writer.writes.acquire().await else { return };
                writer.read(&name).await;
            }
        });
    }

    /// Reads all copies of one owner from the API server into the cache, past the watch. That it did not succeed
    /// shows in [`Connectivity::pause`].
    pub async fn refresh(&self, owner: &OwnerId) {
        if let Err(error) = self.try_refresh(owner).await {
            let condition = WriteError::of(&error).condition();
            self.connectivity
                .strained(condition.unwrap_or_else(|| ClusterCondition::Failing(describe(&error))));
        }
    }

    async fn try_refresh(&self, owner: &OwnerId) -> Result<(), kube::Error> {
        let api: Api<MarkedSecret> = Api::all(self.connection.client());
        let labels = format!("{LABEL_MANAGED_BY}={MANAGER},{LABEL_OWNER}={}", owner.as_str());
        let mut params = ListParams::default().labels(&labels).limit(PAGE);
        let before: Vec<NamespacedName> = {
            let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
            cache.snapshot().copies.of(owner).map(|(name, _)| name.clone()).collect()
        };
        let mut seen = HashSet::new();
        loop {
            let page = api.list(&params).await?;
            let mut cache = self.write();
            for secret in &page.items {
                if let Some((name, copy)) = cache.read_copy(secret, &self.fingerprints) {
                    seen.insert(name.clone());
                    cache.observe_copy(name, copy, false);
                }
            }
            drop(cache);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        let changes = {
            let mut cache = self.write();
            for name in before.iter().filter(|name| !seen.contains(*name)) {
                cache.remove_copy(name, None);
            }
            cache.retry_conflicts()
        };
        self.tell(changes);
        Ok(())
    }

    async fn failed(&self, name: &NamespacedName, operation: WriteOperation, error: WriteError) -> Done {
        self.write().end_write(name);
        let condition = error.condition();
        let (result, done) = match (error, condition) {
            (_, Some(condition)) => {
                self.connectivity.strained(condition.clone());
                (WriteResult::Error, Done::Stopped(condition))
            }
            (WriteError::Refused { reason, message }, _) => {
                let failure = Failure::Write { reason, message };
                (WriteResult::Refused, Done::Refused(Object::Secret(name.clone()), failure))
            }
            (WriteError::Gone, _) if operation == WriteOperation::Create => {
                (WriteResult::Conflict, Done::Gone)
            }
            _ => {
                self.read(name).await;
                (WriteResult::Conflict, Done::Stale)
            }
        };
        self.metrics.secret_write(&self.cluster, operation, result);
        done
    }

    pub(super) fn tell(&self, changes: Changes) {
        if !changes.touched.is_empty() && self.connectivity.is_filled() {
            self.handler.touched(&self.cluster, changes.touched);
        }
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Cache> {
        self.cache.write().unwrap_or_else(PoisonError::into_inner)
    }
}
