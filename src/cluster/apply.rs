//! Carrying a plan out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Resource,
    api::{DeleteParams, PostParams, Preconditions},
    core::Request,
};

use super::{
    Cluster,
    cache::metadata_of,
    error::Trouble,
    object::{Head, MarkedSecret},
    secret::{self, Produced},
};
use crate::{
    domain::{
        credential::CredentialId,
        ownership::{Hub, Metadata, Ownership},
        plan::{Failure, Plan},
        view::{Key, ObservedCopy},
    },
    telemetry::{WriteOperation, WriteResult},
};

/// How long one go at a plan may take. What is left is planned anew, from newer facts, and a
/// status can be written in between.
#[derive(Clone, Copy, Debug)]
pub struct Pace<'a> {
    /// No write begins after this long.
    pub slice: Duration,
    /// No write begins once this is true: what is wanted has changed.
    pub stop: &'a AtomicBool,
}

/// What became of a plan.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Copies that were made or put right.
    pub written: usize,
    /// Copies that were deleted or let go.
    pub removed: usize,
    /// Namespaces whose copy could not be made, and why.
    pub failures: Vec<(Arc<str>, Failure)>,
    /// Namespaces that went away meanwhile, as a watch will show.
    pub gone: usize,
    /// Whether the view was found out of date, or time ran out, so that it is to be planned anew at
    /// once.
    pub again: bool,
    /// Why the rest was given up, when the cluster does not take more just now.
    pub trouble: Option<Trouble>,
}

#[derive(Clone, Copy)]
enum Action<'a> {
    Create(&'a Key),
    Update(&'a Key, &'a ObservedCopy),
    Delete(&'a Key, &'a ObservedCopy),
    Release(&'a Key),
}

impl Action<'_> {
    fn key(&self) -> &Key {
        match self {
            Self::Create(key) | Self::Update(key, _) | Self::Delete(key, _) | Self::Release(key) => key,
        }
    }

    fn operation(&self) -> WriteOperation {
        match self {
            Self::Create(_) => WriteOperation::Create,
            Self::Update(..) | Self::Release(_) => WriteOperation::Update,
            Self::Delete(..) => WriteOperation::Delete,
        }
    }
}

enum Done {
    Written,
    Removed,
    Gone,
    Again,
    Failed(Arc<str>, Failure),
    Stopped(Trouble),
}

impl Cluster {
    /// Carries out a plan: first what is wanted, then what is not. `produced` is needed for
    /// creating and updating.
    pub async fn apply(
        &self,
        plan: &Plan,
        id: &CredentialId,
        hub: &Hub,
        produced: Option<&Produced>,
        pace: Pace<'_>,
    ) -> Applied {
        let mut applied = Applied::default();
        if plan.is_settled() {
            return applied;
        }
        let began = Instant::now();
        let body = produced.and_then(|produced| produced.create_body().ok());
        let means = Means { id, hub, produced, body: body.as_deref() };
        let mut actions = actions(plan).into_iter();
        let mut running: FuturesUnordered<_> =
            actions.by_ref().take(self.concurrency).map(|action| self.act(action, means)).collect();
        while let Some(done) = running.next().await {
            match done {
                Done::Written => applied.written += 1,
                Done::Removed => applied.removed += 1,
                Done::Gone => applied.gone += 1,
                Done::Again => applied.again = true,
                Done::Failed(namespace, failure) => applied.failures.push((namespace, failure)),
                Done::Stopped(trouble) => applied.trouble = Some(trouble),
            }
            let stop = pace.stop.load(Ordering::Relaxed) || began.elapsed() >= pace.slice;
            if applied.trouble.is_none() && !stop {
                running.extend(actions.next().map(|action| self.act(action, means)));
            }
        }
        applied.again |= applied.trouble.is_none() && actions.len() > 0;
        if applied.trouble.is_none() && applied.written + applied.removed > 0 {
            self.eased();
        }
        applied
    }

    async fn act(&self, action: Action<'_>, means: Means<'_>) -> Done {
        let Ok(_permit) = self.writes.acquire().await else { return Done::Again };
        self.write().writing(action.key());
        let operation = action.operation();
        let result = match (action, means.produced, means.body) {
            (Action::Create(key), Some(produced), Some(body)) => self.create(key, produced, body).await,
            (Action::Update(key, copy), Some(produced), _) => self.update(key, copy, produced).await,
            (Action::Delete(key, copy), ..) => self.delete(key, copy).await,
            (Action::Release(key), ..) => self.release(key, means).await,
            // Nothing is planned to be written without a content.
            (Action::Create(_) | Action::Update(..), ..) => Err(Trouble::Changed),
        };
        match result {
            Ok(done) => done,
            Err(trouble) => self.failed(action.key(), operation, trouble).await,
        }
    }

    async fn create(&self, key: &Key, produced: &Produced, body: &[u8]) -> Result<Done, Trouble> {
        let sent =
            request(key).create(&PostParams::default(), body.to_vec()).map_err(|_| Trouble::Changed)?;
        match self.client().request::<Head>(sent).await {
            Ok(head) => {
                let metadata = produced.metadata.clone();
                let seen = Written { head: head.metadata, metadata, immutable: false };
                Ok(self.wrote(key, WriteOperation::Create, seen, produced))
            }
            Err(error) => match Trouble::of(&error) {
                Trouble::AlreadyExists => self.inspect(key, produced).await,
                trouble => Err(trouble),
            },
        }
    }

    async fn update(&self, key: &Key, copy: &ObservedCopy, produced: &Produced) -> Result<Done, Trouble> {
        if !copy.plain {
            return self.mend(key, copy, produced).await;
        }
        let metadata = copy.metadata.merged(&produced.metadata);
        let body = produced.replace_body(copy, &metadata).map_err(|_| Trouble::Changed)?;
        let sent =
            request(key).replace(&key.name, &PostParams::default(), body).map_err(|_| Trouble::Changed)?;
        let head = self.client().request::<Head>(sent).await.map_err(|error| Trouble::of(&error))?;
        if copy.metadata.revision() == produced.metadata.revision() {
            self.contests().repaired(key, self.began.elapsed());
        }
        let seen = Written { head: head.metadata, metadata, immutable: false };
        Ok(self.wrote(key, WriteOperation::Update, seen, produced))
    }

    /// Puts a Secret right that carries finalizers or the like of others: reads it whole first.
    async fn mend(&self, key: &Key, copy: &ObservedCopy, produced: &Produced) -> Result<Done, Trouble> {
        let api: Api<Secret> = Api::namespaced(self.client(), &key.namespace);
        let mut secret = api.get(&key.name).await.map_err(|error| Trouble::of(&error))?;
        if secret.metadata.uid.as_deref() != Some(&*copy.uid)
            || metadata_of(&secret.metadata).ownership(&produced.id, &produced.hub) != Ownership::Ours
        {
            return Err(Trouble::Changed);
        }
        produced.mend(&mut secret);
        let sent = api.replace(&key.name, &PostParams::default(), &secret).await;
        let written = sent.map_err(|error| Trouble::of(&error))?;
        let metadata = metadata_of(&written.metadata);
        let seen = Written { head: written.metadata, metadata, immutable: written.immutable == Some(true) };
        Ok(self.wrote(key, WriteOperation::Update, seen, produced))
    }

    async fn delete(&self, key: &Key, copy: &ObservedCopy) -> Result<Done, Trouble> {
        // With the resourceVersion, the Secret still carries our mark; with the uid, it is the same one.
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(copy.uid.to_string()),
                resource_version: Some(copy.resource_version.to_string()),
            }),
            ..DeleteParams::default()
        };
        let sent = request(key).delete(&key.name, &params).map_err(|_| Trouble::Changed)?;
        self.client().request_text(sent).await.map_err(|error| Trouble::of(&error))?;
        Ok(self.removed(key, WriteOperation::Delete))
    }

    /// Takes our marks off a copy and leaves it.
    async fn release(&self, key: &Key, means: Means<'_>) -> Result<Done, Trouble> {
        let api: Api<Secret> = Api::namespaced(self.client(), &key.namespace);
        let mut found = api.get(&key.name).await.map_err(|error| Trouble::of(&error))?;
        if metadata_of(&found.metadata).ownership(means.id, means.hub) == Ownership::Ours {
            secret::release(&mut found);
            let sent = api.replace(&key.name, &PostParams::default(), &found).await;
            sent.map_err(|error| Trouble::of(&error))?;
        }
        Ok(self.removed(key, WriteOperation::Update))
    }

    /// Looks at the Secret that stands where a copy should. Ours goes into the cache, as the watch
    /// may not show it: its labels may have been removed.
    async fn inspect(&self, key: &Key, produced: &Produced) -> Result<Done, Trouble> {
        // From here on the watch tells us when the name may be free: also while we look.
        self.write().wait_for(key.clone(), produced.owner.clone());
        let api: Api<Secret> = Api::namespaced(self.client(), &key.namespace);
        let found = api.get_metadata_opt(&key.name).await.map_err(|error| Trouble::of(&error))?;
        let found = found.ok_or(Trouble::Changed)?;
        let meta = found.meta();
        let metadata = metadata_of(meta);
        self.metrics.secret_write(&self.name, WriteOperation::Create, WriteResult::Conflict);
        let mut cache = self.write();
        cache.written(key);
        let owner = match metadata.ownership(&produced.id, &produced.hub) {
            Ownership::Ours => {
                let metadata = cache.intern_metadata(metadata);
                cache.wrote_copy(
                    key.clone(),
                    ObservedCopy {
                        owner: produced.owner.clone(),
                        uid: meta.uid.as_deref().unwrap_or_default().into(),
                        resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
                        // Its content was not read, so it counts as a stranger's until it is written.
                        content: self.fingerprints.fingerprint("unread", []),
                        metadata,
                        plain: false,
                        immutable: false,
                        terminating: meta.deletion_timestamp.is_some(),
                    },
                );
                return Ok(Done::Again);
            }
            Ownership::Other(owner) => owner,
            Ownership::Foreign => "somebody else".to_owned(),
        };
        if !cache.taken(key.clone(), owner.clone(), &produced.owner) {
            return Ok(Done::Again);
        }
        Ok(Done::Failed(key.namespace.clone(), Failure::SecretNameConflict(owner)))
    }

    /// Reads a copy anew that was not as the watch had shown it.
    async fn look_again(&self, key: &Key) {
        let api: Api<MarkedSecret> = Api::namespaced(self.client(), &key.namespace);
        // Where the read fails too, the watch will bring it.
        let Ok(found) = api.get_opt(&key.name).await else { return };
        let mut cache = self.write();
        match found.and_then(|secret| cache.read_copy(&secret, &self.fingerprints)) {
            Some((key, copy)) => {
                cache.observe_copy(key, copy);
            }
            None => {
                cache.remove_copy(key, true);
            }
        }
    }

    fn wrote(&self, key: &Key, operation: WriteOperation, written: Written, produced: &Produced) -> Done {
        let Written { head: meta, metadata, immutable } = written;
        self.metrics.secret_write(&self.name, operation, WriteResult::Ok);
        let mut cache = self.write();
        let metadata = cache.intern_metadata(metadata);
        let first = cache.wrote_copy(
            key.clone(),
            ObservedCopy {
                owner: produced.owner.clone(),
                uid: meta.uid.unwrap_or_default().into(),
                resource_version: meta.resource_version.unwrap_or_default().into(),
                content: produced.fingerprint,
                metadata,
                plain: meta.finalizers.is_none_or(|list| list.is_empty())
                    && meta.owner_references.is_none()
                    && !immutable,
                immutable,
                terminating: false,
            },
        );
        if first { Done::Written } else { Done::Again }
    }

    fn removed(&self, key: &Key, operation: WriteOperation) -> Done {
        self.metrics.secret_write(&self.name, operation, WriteResult::Ok);
        let changes = self.write().remove_copy(key, true);
        self.tell_freed(&changes);
        Done::Removed
    }

    async fn failed(&self, key: &Key, operation: WriteOperation, trouble: Trouble) -> Done {
        self.write().written(key);
        let (result, done) = match trouble {
            Trouble::Gone if operation == WriteOperation::Create => (WriteResult::Conflict, Done::Gone),
            Trouble::Gone | Trouble::AlreadyExists | Trouble::Changed => {
                self.look_again(key).await;
                (WriteResult::Conflict, Done::Again)
            }
            Trouble::Refused { reason, message } => (
                WriteResult::Refused,
                Done::Failed(key.namespace.clone(), Failure::Write { reason, message }),
            ),
            trouble @ (Trouble::Throttled(_) | Trouble::Failing(_) | Trouble::Unreachable(_)) => {
                self.strained(&trouble);
                (WriteResult::Error, Done::Stopped(trouble))
            }
        };
        self.metrics.secret_write(&self.name, operation, result);
        done
    }
}

/// A copy as the API server answered that it is now.
struct Written {
    head: ObjectMeta,
    metadata: Metadata,
    immutable: bool,
}

/// What actions work with.
#[derive(Clone, Copy)]
struct Means<'a> {
    id: &'a CredentialId,
    hub: &'a Hub,
    produced: Option<&'a Produced>,
    body: Option<&'a [u8]>,
}

fn actions(plan: &Plan) -> Vec<Action<'_>> {
    let mut actions =
        Vec::with_capacity(plan.create.len() + plan.update.len() + plan.delete.len() + plan.release.len());
    actions.extend(plan.create.iter().map(Action::Create));
    actions.extend(plan.update.iter().map(|(key, copy)| Action::Update(key, copy)));
    actions.extend(plan.delete.iter().map(|(key, copy)| Action::Delete(key, copy)));
    actions.extend(plan.release.iter().map(|(key, _)| Action::Release(key)));
    actions
}

fn request(key: &Key) -> Request {
    Request::new(Secret::url_path(&(), Some(&key.namespace)))
}
