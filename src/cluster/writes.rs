//! The writes themselves, each guarded by what was seen.

use std::{sync::PoisonError, time::Instant};

use futures::{StreamExt, stream};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Resource,
    api::{DeleteParams, PostParams, Preconditions},
    core::Request,
};

use super::{
    cache::metadata_of,
    error::WriteError,
    live_references::Question,
    object::Head,
    writer::{Done, Job, Writer},
};
use crate::{
    domain::{
        failure::Failure,
        identity::{NamespacedName, OwnerId},
        ownership::{Metadata, Ownership},
        plan::Object,
        rendered::{RenderedSecret, release},
        schedule::LIVE_REFERENCES_FEW,
        snapshot::ExistingCopy,
    },
    telemetry::{WriteOperation, WriteResult},
};

/// A copy as the API server answered that it is now.
struct Written {
    head: ObjectMeta,
    metadata: Metadata,
    immutable: bool,
}

impl Writer {
    pub(super) async fn create(
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

    pub(super) async fn update(
        &self,
        name: &NamespacedName,
        copy: &ExistingCopy,
        secret: &RenderedSecret,
    ) -> Result<Done, WriteError> {
        if !copy.plain {
            return self
                .update_whole(name, &copy.uid.to_string(), secret, |found| {
                    metadata_of(found).ownership(&secret.id, &secret.hub) == Ownership::Ours
                })
                .await;
        }
        let metadata = copy.metadata.merged(&secret.metadata);
        let body = secret.body(Some(copy), &metadata).map_err(|_| WriteError::Changed)?;
        let sent = request(name)
            .replace(&name.name, &PostParams::default(), body)
            .map_err(|_| WriteError::Changed)?;
        if copy.metadata.revision().is_none_or(|found| Some(found) >= secret.metadata.revision()) {
            // Before it is tried: whoever edits faster than that makes most tries fail.
            let (mut repairs, now) = self.repairs();
            repairs.repaired(name, now);
        }
        let head =
            self.connection.client().request::<Head>(sent).await.map_err(|error| WriteError::of(&error))?;
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
        let same_type = found.type_.as_deref() == Some(secret.content.type_);
        if found.metadata.uid.as_deref() != Some(uid) || !same_type || !may(&found.metadata) {
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
    pub(super) async fn may_delete(
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
        let is_copy = |name: &NamespacedName| self.is_copy(name);
        let question = Question { many, since: job.since, stop: job.stop, is_copy: &is_copy };
        if self.live.is_in_use(name, question).await? {
            return Ok(false);
        }
        // What was asked for all may be a moment old; what the watch has shown since counts too.
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        Ok(!cache.snapshot().is_in_use(name) && !(job.stop)())
    }

    fn is_copy(&self, name: &NamespacedName) -> bool {
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        cache.snapshot().copies.get(name).is_some()
    }

    /// Whether, as the API server says, a Pod uses a copy of an owner of which the watch has shown no user. It is true
    /// when the server does not say, too; why it did not shows in [`Connectivity::pause`](super::Connectivity::pause).
    pub async fn has_unseen_users(
        &self,
        owner: &OwnerId,
        since: Instant,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> bool {
        let unused: Vec<NamespacedName> = {
            let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
            let snapshot = cache.snapshot();
            let copies = snapshot.copies.of(owner).map(|(name, _)| name);
            copies.filter(|name| !snapshot.is_in_use(name)).cloned().collect()
        };
        let is_copy = |name: &NamespacedName| self.is_copy(name);
        let question = Question { many: unused.len() > LIVE_REFERENCES_FEW, since, stop, is_copy: &is_copy };
        let mut answers = stream::iter(unused)
            .map(|name| async move { self.live.is_in_use(&name, question).await })
            .buffer_unordered(LIVE_REFERENCES_FEW);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(false) => {}
                Ok(true) => return true,
                Err(error) => {
                    if let Some(condition) = error.condition() {
                        self.connectivity.strained(condition);
                    }
                    return true;
                }
            }
        }
        false
    }

    pub(super) async fn delete(
        &self,
        name: &NamespacedName,
        copy: &ExistingCopy,
    ) -> Result<Done, WriteError> {
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
    pub(super) async fn release(&self, name: &NamespacedName, job: Job<'_>) -> Result<Done, WriteError> {
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
                    // Its type and content were not read. It is found out when it is written.
                    type_: Some(secret.content.type_),
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
        if type_ != secret.content.type_ {
            let owner = format!(
                "somebody else who hands it over, but is of type '{type_}' and not '{}',",
                secret.content.type_
            );
            let mut cache = self.write();
            cache.end_write(name);
            cache.taken(name.clone(), owner.clone(), &secret.owner);
            return Ok(Done::Refused(Object::Secret(name.clone()), Failure::SecretNameConflict(owner)));
        }
        let uid = found.metadata.uid.unwrap_or_default();
        self.update_whole(name, &uid, secret, |meta| metadata_of(meta).is_handed_to(&secret.id)).await
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
                uid: meta.uid.as_deref().unwrap_or_default().into(),
                resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
                type_: Some(secret.content.type_),
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
}

fn request(name: &NamespacedName) -> Request {
    Request::new(Secret::url_path(&(), Some(&name.namespace)))
}
