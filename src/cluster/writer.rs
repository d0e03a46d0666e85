//! Carrying changes out: a bounded number of writes at once, each guarded by what was seen.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
    core::Request,
};
use tokio::sync::Semaphore;

use super::{
    cache::{Cache, Changes, metadata_of},
    connection::Connection,
    connectivity::Connectivity,
    error::{WriteError, describe},
    handler::EventHandler,
    live_references::{LiveReferences, Question},
    object::{Head, MarkedSecret},
};
use crate::{
    api::{LABEL_MANAGED_BY, LABEL_OWNER, MANAGER},
    domain::{
        cluster_condition::ClusterCondition,
        failure::Failure,
        fingerprint::FingerprintKey,
        identity::{CredentialId, NamespacedName, OwnerId},
        ownership::{Hub, Metadata, Ownership},
        plan::{Action, Change, Object},
        rendered::{RenderedSecret, release},
        repair_limiter::RepairLimiter,
        schedule::{LIVE_REFERENCES_FEW, PAGE},
        snapshot::ExistingCopy,
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
    live: LiveReferences,
    writes: Semaphore,
    concurrency: usize,
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

enum Done {
    Changed,
    /// The namespace went away meanwhile, as a watch will show.
    Gone,
    Stale,
    Refused(Object, Failure),
    Stopped(ClusterCondition),
}

/// A copy as the API server answered that it is now.
struct Written {
    head: ObjectMeta,
    metadata: Metadata,
    immutable: bool,
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
        let body = job.secret.and_then(|secret| secret.create_body().ok());
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
        let mut running: FuturesUnordered<_> = changes.by_ref().take(self.concurrency).map(act).collect();
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
                running.extend(changes.next().map(act));
            }
        }
        applied.left = changes.len();
        if applied.condition.is_none() && applied.done > 0 {
            self.connectivity.eased();
        }
        applied
    }

    async fn act(&self, change: Change, job: Job<'_>, body: Option<&[u8]>, many: bool) -> Done {
        let Ok(_permit) = self.writes.acquire().await else { return Done::Stale };
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
            Err(error) => self.failed(&change.object, operation, error).await,
        }
    }

    async fn create(
        &self,
        name: &NamespacedName,
        secret: &RenderedSecret,
        body: &[u8],
    ) -> Result<Done, WriteError> {
        let sent =
            request(name).create(&PostParams::default(), body.to_vec()).map_err(|_| WriteError::Changed)?;
        match self.connection.client().request::<Head>(sent).await {
            Ok(head) => {
                let metadata = Metadata::clone(&secret.metadata);
                let written = Written { head: head.metadata, metadata, immutable: false };
                Ok(self.wrote(name, WriteOperation::Create, written, secret))
            }
            Err(error) => match WriteError::of(&error) {
                WriteError::AlreadyExists => self.inspect(name, secret).await,
                error => Err(error),
            },
        }
    }

    async fn update(
        &self,
        name: &NamespacedName,
        copy: &ExistingCopy,
        secret: &RenderedSecret,
    ) -> Result<Done, WriteError> {
        if !copy.plain {
            return self
                .update_whole(name, &copy.uid, secret, |found| {
                    metadata_of(found).ownership(&secret.id, &secret.hub) == Ownership::Ours
                })
                .await;
        }
        let metadata = copy.metadata.merged(&secret.metadata);
        let body = secret.replace_body(copy, &metadata).map_err(|_| WriteError::Changed)?;
        let sent = request(name)
            .replace(&name.name, &PostParams::default(), body)
            .map_err(|_| WriteError::Changed)?;
        let head =
            self.connection.client().request::<Head>(sent).await.map_err(|error| WriteError::of(&error))?;
        if copy.metadata.revision().is_none_or(|found| Some(found) >= secret.metadata.revision()) {
            let (mut repairs, now) = self.repairs();
            repairs.repaired(name, now);
        }
        let written = Written { head: head.metadata, metadata, immutable: false };
        Ok(self.wrote(name, WriteOperation::Update, written, secret))
    }

    /// Updates a Secret that holds more than a plain one, such as finalizers of others: reads it whole first.
    async fn update_whole(
        &self,
        name: &NamespacedName,
        uid: &str,
        secret: &RenderedSecret,
        may: impl FnOnce(&ObjectMeta) -> bool,
    ) -> Result<Done, WriteError> {
        let api: Api<Secret> = Api::namespaced(self.connection.client(), &name.namespace);
        let mut found = api.get(&name.name).await.map_err(|error| WriteError::of(&error))?;
        if found.metadata.uid.as_deref() != Some(uid) || !may(&found.metadata) {
            return Err(WriteError::Changed);
        }
        secret.update(&mut found);
        let sent = api.replace(&name.name, &PostParams::default(), &found).await;
        let head = sent.map_err(|error| WriteError::of(&error))?;
        let written = Written {
            metadata: metadata_of(&head.metadata),
            immutable: head.immutable == Some(true),
            head: head.metadata,
        };
        Ok(self.wrote(name, WriteOperation::Update, written, secret))
    }

    /// Looks once more, in this moment, whether a copy may go.
    async fn may_delete(
        &self,
        name: &NamespacedName,
        if_unused: bool,
        many: bool,
        job: Job<'_>,
    ) -> Result<bool, WriteError> {
        if (job.stop)() {
            return Ok(false);
        }
        if !if_unused {
            return Ok(true);
        }
        let is_copy = |name: &NamespacedName| {
            let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
            cache.snapshot().copies.get(name).is_some()
        };
        let question = Question { many, since: job.since, stop: job.stop, is_copy: &is_copy };
        if self.live.is_in_use(name, question).await? {
            return Ok(false);
        }
        // What was asked for all may be a moment old; what the watch has shown since counts too.
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        Ok(!cache.snapshot().is_in_use(name) && !(job.stop)())
    }

    async fn delete(&self, name: &NamespacedName, copy: &ExistingCopy) -> Result<Done, WriteError> {
        // With the resourceVersion, the Secret still carries our marks; with the uid, it is the same one.
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(copy.uid.to_string()),
                resource_version: Some(copy.resource_version.to_string()),
            }),
            ..DeleteParams::default()
        };
        let sent = request(name).delete(&name.name, &params).map_err(|_| WriteError::Changed)?;
        self.connection.client().request_text(sent).await.map_err(|error| WriteError::of(&error))?;
        Ok(self.removed(name, WriteOperation::Delete))
    }

    /// Takes our marks off a copy and leaves it.
    async fn release(&self, name: &NamespacedName, job: Job<'_>) -> Result<Done, WriteError> {
        let api: Api<Secret> = Api::namespaced(self.connection.client(), &name.namespace);
        let mut found = api.get(&name.name).await.map_err(|error| WriteError::of(&error))?;
        if metadata_of(&found.metadata).ownership(job.id, job.hub) == Ownership::Ours {
            release(&mut found);
            let sent = api.replace(&name.name, &PostParams::default(), &found).await;
            sent.map_err(|error| WriteError::of(&error))?;
        }
        Ok(self.removed(name, WriteOperation::Update))
    }

    /// Looks at the Secret that is where a copy should be. Ours goes into the cache, as the watch
    /// may not show it: its labels may have been removed.
    async fn inspect(&self, name: &NamespacedName, secret: &RenderedSecret) -> Result<Done, WriteError> {
        // From here on the watch tells us when the name may be free: also while we look.
        self.write().wait_for(vec![name.clone()], &secret.owner);
        let api: Api<Secret> = Api::namespaced(self.connection.client(), &name.namespace);
        let found = api.get_metadata_opt(&name.name).await.map_err(|error| WriteError::of(&error))?;
        let found = found.ok_or(WriteError::Changed)?;
        let meta = found.meta();
        let metadata = metadata_of(meta);
        let owner = match metadata.ownership(&secret.id, &secret.hub) {
            Ownership::Ours => {
                self.metrics.secret_write(&self.cluster, WriteOperation::Create, WriteResult::Conflict);
                let mut cache = self.write();
                let metadata = cache.share(metadata);
                let copy = ExistingCopy {
                    owner: secret.owner.clone(),
                    uid: meta.uid.as_deref().unwrap_or_default().into(),
                    resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
                    // Its content was not read, so it counts as a stranger's until it is written.
                    content: self.fingerprints.fingerprint("unread", []),
                    metadata,
                    plain: false,
                    immutable: false,
                    terminating: meta.deletion_timestamp.is_some(),
                };
                cache.wrote_copy(name.clone(), copy);
                return Ok(Done::Stale);
            }
            Ownership::Foreign if metadata.is_handed_to(&secret.id) => {
                return self.take_over(name, secret).await;
            }
            Ownership::Other(owner) => owner,
            Ownership::Foreign => "somebody else".to_owned(),
        };
        self.metrics.secret_write(&self.cluster, WriteOperation::Create, WriteResult::Conflict);
        let mut cache = self.write();
        cache.end_write(name);
        if !cache.taken(name.clone(), owner.clone(), &secret.owner) {
            return Ok(Done::Stale);
        }
        let failure = Failure::SecretNameConflict(owner);
        Ok(Done::Refused(Object::Secret(name.clone()), failure))
    }

    /// Takes a Secret over whose owner has handed it to the credential: in place, so that it keeps its uid.
    async fn take_over(&self, name: &NamespacedName, secret: &RenderedSecret) -> Result<Done, WriteError> {
        let api: Api<Secret> = Api::namespaced(self.connection.client(), &name.namespace);
        let found = api.get(&name.name).await.map_err(|error| WriteError::of(&error))?;
        let type_ = found.type_.as_deref().unwrap_or("Opaque");
        if type_ != secret.type_() {
            let owner = format!(
                "somebody else who hands it over, but is of type '{type_}' and not '{}',",
                secret.type_()
            );
            let mut cache = self.write();
            cache.end_write(name);
            cache.taken(name.clone(), owner.clone(), &secret.owner);
            return Ok(Done::Refused(Object::Secret(name.clone()), Failure::SecretNameConflict(owner)));
        }
        let uid = found.metadata.uid.unwrap_or_default();
        self.update_whole(name, &uid, secret, |meta| metadata_of(meta).is_handed_to(&secret.id)).await
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

    fn wrote(
        &self,
        name: &NamespacedName,
        operation: WriteOperation,
        written: Written,
        secret: &RenderedSecret,
    ) -> Done {
        let Written { head: meta, metadata, immutable } = written;
        self.metrics.secret_write(&self.cluster, operation, WriteResult::Ok);
        let mut cache = self.write();
        let metadata = cache.share(metadata);
        let first = cache.wrote_copy(
            name.clone(),
            ExistingCopy {
                owner: secret.owner.clone(),
                uid: meta.uid.unwrap_or_default().into(),
                resource_version: meta.resource_version.unwrap_or_default().into(),
                content: secret.fingerprint,
                metadata,
                plain: meta.finalizers.is_none_or(|list| list.is_empty())
                    && meta.owner_references.is_none()
                    && !immutable,
                immutable,
                terminating: false,
            },
        );
        if first { Done::Changed } else { Done::Stale }
    }

    fn removed(&self, name: &NamespacedName, operation: WriteOperation) -> Done {
        self.metrics.secret_write(&self.cluster, operation, WriteResult::Ok);
        let changes = self.write().removed_copy(name);
        self.tell(changes);
        Done::Changed
    }

    async fn failed(&self, object: &Object, operation: WriteOperation, error: WriteError) -> Done {
        let Object::Secret(name) = object;
        self.write().end_write(name);
        let condition = error.condition();
        let (result, done) = match (error, condition) {
            (_, Some(condition)) => {
                self.connectivity.strained(condition.clone());
                (WriteResult::Error, Done::Stopped(condition))
            }
            (WriteError::Refused { reason, message }, _) => {
                let failure = Failure::Write { reason, message };
                (WriteResult::Refused, Done::Refused(object.clone(), failure))
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

    fn tell(&self, changes: Changes) {
        if !changes.touched.is_empty() && self.connectivity.is_filled() {
            self.handler.touched(&self.cluster, changes.touched);
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Cache> {
        self.cache.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn request(name: &NamespacedName) -> Request {
    Request::new(Secret::url_path(&(), Some(&name.namespace)))
}
