//! The writes themselves, each guarded by what was seen.

use std::time::Instant;

use futures::{StreamExt, stream};
use hyper::body::Bytes;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Resource,
    api::{DeleteParams, PostParams, Preconditions},
    core::{Request, request},
};

use super::{
    cache::metadata_of,
    error::WriteError,
    live_references::Question,
    object::SecretMetadata,
    writer::{Job, Writer},
};
use crate::{
    domain::{
        SecretBytes,
        content::ReadSecret,
        failure::Failure,
        foreign_text::foreign_text,
        identity::{NamespacedName, OwnerId},
        ownership::{Metadata, Ownership},
        rendered::{RenderedSecret, release},
        schedule::{LIVE_REFERENCES_FEW, MAX_WORD},
        snapshot::ExistingCopy,
    },
    telemetry::{WriteOperation, WriteResult},
};

/// Users that the watches have not shown.
pub(crate) enum Unseen {
    None,
    /// There are some, or may be.
    Some,
    /// Objects of a kind cannot be listed; why.
    Unknown(String),
}

/// Each tells whether the change was made; if not, it has to be planned anew.
impl Writer {
    pub(super) async fn create(
        &self,
        name: &NamespacedName,
        secret: &RenderedSecret,
        body: Bytes,
    ) -> Result<bool, WriteError> {
        match self.send(requests(name).create(&PostParams::default(), Vec::new()), body).await {
            Ok(head) => Ok(self.wrote(name, WriteOperation::Create, &head, &secret.metadata, false, secret)),
            Err(WriteError::AlreadyExists) => self.inspect(name, secret).await,
            Err(error) => Err(error),
        }
    }

    pub(super) async fn update(
        &self,
        name: &NamespacedName,
        copy: &ExistingCopy,
        secret: &RenderedSecret,
    ) -> Result<bool, WriteError> {
        if copy.marks.revision.is_none_or(|found| Some(found) >= secret.marks.revision) {
            // Before it is tried: whoever edits faster than that makes most tries fail.
            let (mut repairs, now) = self.repairs();
            repairs.repaired(name, now);
        }
        if !copy.plain {
            let ours = |found: &Metadata| found.ownership(&secret.id, &secret.hub) == Ownership::Ours;
            return self.update_whole(name, &copy.uid.to_string(), secret, ours).await;
        }
        let head = self.replace(name, secret.body(Some(copy))).await?;
        Ok(self.wrote(name, WriteOperation::Update, &head, &secret.metadata, false, secret))
    }

    /// Updates a Secret that holds more than a plain one, such as finalizers of others: reads it whole first.
    async fn update_whole(
        &self,
        name: &NamespacedName,
        uid: &str,
        secret: &RenderedSecret,
        may: impl FnOnce(&Metadata) -> bool,
    ) -> Result<bool, WriteError> {
        let mut found = self.whole(name).await?;
        let (meta, same_type) = (&found.0.metadata, found.type_() == secret.content.type_);
        if meta.uid.as_deref() != Some(uid) || !same_type || !may(&metadata_of(meta)) {
            return Err(WriteError::Changed);
        }
        let body = secret.update(&mut found);
        let head = self.replace(name, body).await?;
        let (metadata, immutable) = (metadata_of(&head), found.0.immutable == Some(true));
        Ok(self.wrote(name, WriteOperation::Update, &head, &metadata, immutable, secret))
    }

    pub(super) async fn delete(
        &self,
        name: &NamespacedName,
        copy: &ExistingCopy,
        if_unused: bool,
        many: bool,
        job: Job<'_>,
    ) -> Result<bool, WriteError> {
        if !self.may_delete(name, if_unused, many, job).await? {
            // It is in use: the plan will hold it.
            self.shared.write().end_write(name);
            return Ok(false);
        }
        // With the resourceVersion, the Secret still carries our marks; with the uid, it is the same one.
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(copy.uid.to_string()),
                resource_version: Some(copy.resource_version.to_string()),
            }),
            ..DeleteParams::default()
        };
        let delete = requests(name).delete(&name.name, &params).map_err(|_| WriteError::Changed)?;
        // What is left of it, if anything, the watch shows.
        self.shared.connection.client().request_text(delete).await?;
        self.removed(name, WriteOperation::Delete);
        Ok(true)
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
        let question = Question { many, since: job.since, stop: job.stop };
        if self.live.is_in_use(name, &self.shared, question).await? {
            return Ok(false);
        }
        // What was asked for all may be a moment old; what the watch has shown since counts too.
        Ok(!self.shared.read().snapshot().is_in_use(name) && !(job.stop)())
    }

    /// Whether, as the API server says, something holds a copy of an owner of which the watch has shown no user. Where the
    /// cluster as a whole did not answer, that shows in the pause of its connectivity.
    pub async fn unseen_users(
        &self,
        owner: &OwnerId,
        since: Instant,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Unseen {
        let unused: Vec<NamespacedName> = {
            let cache = self.shared.read();
            let snapshot = cache.snapshot();
            let copies = snapshot.copies.of(owner).map(|(name, _)| name);
            copies.filter(|name| !snapshot.is_in_use(name)).cloned().collect()
        };
        let question = Question { many: unused.len() > LIVE_REFERENCES_FEW, since, stop };
        let mut answers = stream::iter(unused)
            .map(|name| async move { self.live.is_in_use(&name, &self.shared, question).await })
            .buffer_unordered(LIVE_REFERENCES_FEW);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(false) => {}
                Err(WriteError::Cluster(condition)) => {
                    self.shared.connectivity.strained(condition);
                    return Unseen::Some;
                }
                Err(WriteError::Refused(Failure::Write { message, .. })) => return Unseen::Unknown(message),
                Ok(true) | Err(_) => return Unseen::Some,
            }
        }
        Unseen::None
    }

    /// Takes our marks off a copy and leaves it.
    pub(super) async fn release(&self, name: &NamespacedName, job: Job<'_>) -> Result<bool, WriteError> {
        let mut found = self.whole(name).await?;
        if metadata_of(&found.0.metadata).ownership(job.id, &self.shared.options.hub) == Ownership::Ours {
            let body = release(&mut found, job.id);
            self.replace(name, body).await?;
        }
        self.removed(name, WriteOperation::Update);
        Ok(true)
    }

    /// Looks at the Secret that is where a copy should be. Ours goes into the cache, as the watch
    /// may not show it: its labels may have been removed.
    async fn inspect(&self, name: &NamespacedName, secret: &RenderedSecret) -> Result<bool, WriteError> {
        // From here on the watch tells us when the name may be free: also while we look.
        self.shared.write().wait_for(vec![name.clone()], &secret.owner);
        let api: Api<SecretMetadata> = Api::namespaced(self.shared.connection.client(), &name.namespace);
        let found = api.get_opt(&name.name).await?.ok_or(WriteError::Changed)?;
        let metadata = metadata_of(&found.metadata);
        let owner = match metadata.ownership(&secret.id, &secret.hub) {
            Ownership::Ours => {
                self.count(WriteOperation::Create, WriteResult::Conflict);
                // Its type and content were not read. It is found out when it is written.
                let unread = self.shared.options.fingerprints.fingerprint("unread", []);
                let (owner, type_) = (secret.owner, Some(secret.content.type_));
                let mut cache = self.shared.write();
                let copy = cache.copy(&found.metadata, owner, type_, unread, &metadata, false);
                cache.wrote_copy(name.clone(), ExistingCopy { plain: false, ..copy });
                return Ok(false);
            }
            Ownership::Foreign if metadata.is_handed_to(&secret.id) => {
                let found = self.whole(name).await?;
                let (type_, wanted) = (found.type_(), secret.content.type_);
                if type_ == wanted {
                    // It is taken over in place, so that it keeps its uid.
                    let uid = found.0.metadata.uid.clone().unwrap_or_default();
                    let handed = |found: &Metadata| found.is_handed_to(&secret.id);
                    return self.update_whole(name, &uid, secret, handed).await;
                }
                let type_ = foreign_text(type_, MAX_WORD);
                format!("somebody else who hands it over, but has type '{type_}' instead of '{wanted}',")
            }
            Ownership::Other(owner) => owner,
            Ownership::Foreign => "somebody else".to_owned(),
        };
        let mut cache = self.shared.write();
        if cache.taken(name.clone(), owner.clone(), &secret.owner) {
            return Err(WriteError::Refused(Failure::SecretNameConflict(owner)));
        }
        cache.end_write(name);
        self.count(WriteOperation::Create, WriteResult::Conflict);
        Ok(false)
    }

    /// Returns whether the copy is still as it was written.
    fn wrote(
        &self,
        name: &NamespacedName,
        operation: WriteOperation,
        meta: &ObjectMeta,
        metadata: &Metadata,
        immutable: bool,
        secret: &RenderedSecret,
    ) -> bool {
        self.count(operation, WriteResult::Ok);
        let (owner, type_) = (secret.owner, Some(secret.content.type_));
        let mut cache = self.shared.write();
        let copy = cache.copy(meta, owner, type_, secret.fingerprint, metadata, immutable);
        cache.wrote_copy(name.clone(), copy)
    }

    fn removed(&self, name: &NamespacedName, operation: WriteOperation) {
        self.count(operation, WriteResult::Ok);
        let changes = self.shared.write().removed_copy(name);
        self.shared.tell(changes);
    }

    /// Reads a Secret with all that it holds.
    async fn whole(&self, name: &NamespacedName) -> Result<ReadSecret, WriteError> {
        self.shared.connection.secret(&name.namespace, &name.name).await?.ok_or(WriteError::Gone)
    }

    /// Updates a Secret as a body says.
    async fn replace(
        &self,
        name: &NamespacedName,
        body: Result<SecretBytes, serde_json::Error>,
    ) -> Result<ObjectMeta, WriteError> {
        let body = Bytes::from_owner(body.map_err(|_| WriteError::Changed)?);
        self.send(requests(name).replace(&name.name, &PostParams::default(), Vec::new()), body).await
    }

    /// Sends a write with a body of ours, which is wiped when the last who needs it has dropped it. Of the answer only
    /// the metadata is read.
    async fn send(
        &self,
        write: Result<http::Request<Vec<u8>>, request::Error>,
        body: Bytes,
    ) -> Result<ObjectMeta, WriteError> {
        let write = write.map_err(|_| WriteError::Changed)?.map(|_| body);
        Ok(self.shared.connection.send::<SecretMetadata>(write).await?.metadata)
    }
}

fn requests(name: &NamespacedName) -> Request {
    Request::new(Secret::url_path(&(), Some(&name.namespace)))
}
