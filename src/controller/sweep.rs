//! The sync loop for owners without a credential: their copies go after a while, when nothing uses them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ObjectReference;
use tracing::{info, warn};

use super::{
    Context,
    clusters::Member,
    keys::{Dirty, SyncKey},
};
use crate::{
    api::ANNOTATION_ALLOW_SWEEP,
    cluster::{Applied, Cluster, Job},
    domain::{
        event::{Action, Note},
        identity::{CredentialId, OwnerId},
        reason::Reason,
        schedule::{STALE_RETRY, SWEEP_HELD_RETRY},
        snapshot::Snapshot,
        sweep_plan::{plan_sweep, plan_sweep_accounts},
        withdrawal::{Missing, Sweep, is_braked},
    },
    queue::Next,
};

/// What is remembered of an owner without a credential.
#[derive(Default)]
pub(super) struct Memory {
    missing_since: Option<Instant>,
    failures: u32,
}

/// Queues all owners without a credential, at the start and then at each `interval`.
pub(crate) async fn run(context: Arc<Context>, interval: Duration) {
    loop {
        forget_finalized(&context);
        wake_all(&context);
        tokio::time::sleep(interval).await;
    }
}

/// Forgets which owners went through our finalizer where no copies are left, so that the list does not grow for ever.
fn forget_finalized(context: &Context) {
    let members = context.clusters.all();
    for owner in context.stores.credentials.finalized_owners() {
        let may_have_copies =
            |member: &Member| member.seen().is_none_or(|cluster| cluster.read().snapshot().has(&owner));
        if !members.iter().any(may_have_copies) {
            context.stores.credentials.forget_finalized(&owner);
        }
    }
}

/// Queues all owners without a credential.
pub(crate) fn wake_all(context: &Context) {
    for member in context.clusters.all() {
        let Some(cluster) = member.up() else { continue };
        for owner in cluster.read().snapshot().owners() {
            if !context.stores.credentials.has(owner) {
                context.queues.sync(owner, &member.name, Dirty::all());
            }
        }
        let (owners, missing) = count(context, cluster);
        if !is_braked(owners, missing) {
            // What `hold` said is not so any more.
            context.metrics.set_sweep_held(&member.name, 0);
        }
    }
}

/// Looks at the copies of an owner without a credential in one cluster.
pub(super) async fn sweep(context: &Context, key: &SyncKey, memory: &mut Memory) -> Next {
    let credentials = &context.stores.credentials;
    if credentials.has(&key.owner) {
        // The credential loop is about to say what it wants.
        return Next::Done;
    }
    let Some(member) = context.clusters.get(&key.cluster) else { return Next::Done };
    // Once it can be worked with, all is looked at.
    let Some(cluster) = member.up().filter(|_| !member.settings.paused) else { return Next::Done };
    let id = orphan(cluster.read().snapshot(), &key.owner);
    let Some(id) = id else { return Next::Done };
    if !credentials.is_listed() || cluster.is_blind_to_users() {
        return Next::After(STALE_RETRY.limit);
    }
    let since = *memory.missing_since.get_or_insert_with(Instant::now);
    let (owners, missing) = count(context, cluster);
    let missing_owner = Missing {
        age: since.elapsed(),
        finalized: credentials.is_finalized(&key.owner),
        leaving: member.settings.leaving,
        braked: is_braked(owners, missing) && !is_allowed(context, &member),
    };
    match missing_owner.judge(context.sweep_grace) {
        Sweep::Wait(left) => Next::After(left),
        Sweep::Held => {
            hold(context, &member, owners, missing).await;
            Next::After(SWEEP_HELD_RETRY)
        }
        Sweep::Now => remove(context, cluster, &key.owner, &id, memory).await,
    }
}

async fn remove(
    context: &Context,
    cluster: &Cluster,
    owner: &OwnerId,
    id: &CredentialId,
    memory: &mut Memory,
) -> Next {
    let (accounts, changes) = {
        let cache = cluster.read();
        let accounts = plan_sweep_accounts(cache.snapshot(), owner);
        let accounts = if context.stores.defaults.enabled { accounts } else { Vec::new() };
        (accounts, plan_sweep(cache.snapshot(), owner))
    };
    if accounts.is_empty() && changes.is_empty() {
        // What is in use is looked at again when that changes.
        let left = cluster.read().snapshot().has(owner);
        return if left { Next::After(SWEEP_HELD_RETRY) } else { Next::Done };
    }
    // Whether the credential came back is looked at in the moment of each write.
    let stop = || context.stores.credentials.has(owner);
    let since = Instant::now();
    let job = Job { id, secret: None, before: None, since, stop: &stop };
    let name = &*cluster.name;
    // What is attached goes first, as far as it goes at all: a refusal holds no Secret back.
    let mut applied = cluster.writer.apply(accounts, job).await;
    if applied.left == 0 && applied.condition.is_none() {
        let copies = cluster.writer.apply(changes, job).await;
        let done = applied.done + copies.done;
        let refusals = applied.refusals.into_iter().chain(copies.refusals).collect();
        applied = Applied { done, refusals, stale: applied.stale || copies.stale, ..copies };
    }
    if applied.done > 0 {
        info!(cluster = name, credential = %id, done = applied.done, left = applied.left, "swept Secrets whose credential is gone");
    }
    if let Some((_, failure)) = applied.refusals.first() {
        let count = applied.refusals.len();
        warn!(cluster = name, credential = %id, count, reason = failure.reason().as_str(), "Secrets cannot be swept");
    }
    if applied.left > 0 && applied.condition.is_none() {
        memory.failures = 0;
        return Next::Again;
    }
    let complete = applied.condition.is_none() && applied.refusals.is_empty() && !applied.stale;
    memory.failures = if complete { 0 } else { memory.failures.saturating_add(1) };
    if complete && !cluster.read().snapshot().has(owner) {
        return Next::Done;
    }
    Next::After(STALE_RETRY.wait(memory.failures.max(4), rand::random()))
}

/// The credential that an owner without one was, where its copies are ours to judge: not those of another hub, nor of
/// a kind that this version does not serve.
fn orphan(snapshot: &Snapshot, owner: &OwnerId) -> Option<CredentialId> {
    let mut copies = snapshot.copies.of(owner);
    let of_copies = copies.find_map(|(_, copy)| {
        copy.marks.source.clone().filter(|id| copy.marks.has_hub && id.owner() == *owner)
    });
    of_copies.or_else(|| {
        let marks = snapshot.accounts.of(owner).flat_map(|(_, account)| account.marks.iter());
        marks.filter(|mark| mark.is_ours && mark.owner == *owner).map(|mark| mark.id.clone()).next()
    })
}

/// How many owners have copies in a cluster, and how many of these are missing.
fn count(context: &Context, cluster: &Cluster) -> (usize, usize) {
    let cache = cluster.read();
    let snapshot = cache.snapshot();
    let credentials = &context.stores.credentials;
    let (mut owners, mut missing) = (0, 0);
    for owner in snapshot.copies.owners() {
        owners += 1;
        let gone = !credentials.has(owner) && !credentials.is_finalized(owner);
        missing += usize::from(gone && orphan(snapshot, owner).is_some());
    }
    (owners, missing)
}

/// Whether an administrator lets the sweep of a cluster go on.
fn is_allowed(context: &Context, member: &Member) -> bool {
    let cache = context.local().read();
    cache.sweep_allowance(&context.namespace).split(',').any(|name| name.trim() == &*member.name)
}

/// Says, once, that the sweep of a cluster has stopped.
async fn hold(context: &Context, member: &Member, owners: usize, missing: usize) {
    if !context.metrics.set_sweep_held(&member.name, missing) {
        return;
    }
    let text = format!(
        "the sweep of cluster '{}' has stopped: the credentials of {missing} of {owners} owners of Secrets there are missing, which looks like a mistake; if it is not, annotate namespace '{}' with {ANNOTATION_ALLOW_SWEEP}={}",
        member.name, context.namespace, member.name
    );
    // Events of the namespace are found in itself.
    let namespace = Some(context.namespace.to_string());
    let about = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Namespace".to_owned()),
        name: namespace.clone(),
        namespace,
        ..ObjectReference::default()
    };
    context.events.publish(&about, &Note::warning(Reason::SweepHeld, Action::Sweep, text)).await;
}
