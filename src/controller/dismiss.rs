//! A pass over a credential that is being deleted.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::{
    Error, finalizer, keep,
    memory::Memory,
    reconcile::{KindContext, Next, Urgency},
    status,
};
use crate::{
    api::{ANNOTATION_FORCE_DELETE, DeletionPolicy},
    cluster::{Cluster, Pace, Source, Trouble},
    domain::{
        Credential, CredentialId,
        deletion::{Circumstances, decide},
        event::Note,
        plan::{self, Disposition},
        status::{self as verdict, ClusterOutcome, Observation, SourceState},
    },
};

/// How long deletions go on before the plan is made anew and the status is written.
const SLICE: Duration = Duration::from_secs(1);

/// Takes a credential's copies back, or holds them while they are used; then takes our finalizer
/// off.
pub async fn dismiss<K: Credential>(
    context: &KindContext<K>,
    object: &K,
    memory: &mut Memory,
) -> Result<Next, Error> {
    let id = CredentialId::of(object);
    let clusters = context.shared.clusters();
    let local = context.shared.local()?;
    let references = keep::references(&clusters, &id.owner());
    let forced = is_forced(object);
    let disposition = decide(Circumstances {
        policy: object.deletion_policy(),
        forced,
        namespace_terminating: local
            .read()
            .view()
            .namespaces
            .get(id.namespace.as_str())
            .is_none_or(|namespace| namespace.terminating),
        blocking: usize::try_from(references.blocking).unwrap_or(0),
    });
    let departure = Departure {
        id: &id,
        hub: local.read().hub().unwrap_or_default(),
        disposition,
        stale_after: (!forced).then_some(context.shared.stale_after),
    };
    let taken = futures::future::join_all(clusters.iter().map(|cluster| departure.from(cluster))).await;
    let left: usize = taken.iter().map(|taken| taken.left).sum();
    if left == 0 {
        let api: Api<K> = Api::namespaced(local.client().clone(), &id.namespace);
        finalizer::remove(&api, object).await?;
        context.shared.events.publish(object, &farewell(disposition)).await;
        context.forget(&id);
        if disposition == Disposition::RemoveUnused {
            context.shared.roster.orphans.notify_one();
        }
        return Ok(Urgency::Gone.into());
    }
    let mut next = taken.iter().fold(Next::default(), |next, taken| next.and(taken.next));
    let previous = memory.status.clone().or_else(|| object.status().cloned());
    let seen = Observation {
        generation: object.meta().generation.unwrap_or_default(),
        revision: previous.as_ref().and_then(|status| status.revision),
        secret_name: object.target().secret_name.clone().unwrap_or_else(|| object.name_any()),
        source: SourceState::NotRead,
        clusters: taken.into_iter().map(|taken| taken.outcome).collect(),
        references,
        deletion: Some(disposition),
        validity: memory.validity(object),
        sync_request: None,
    };
    let status = verdict::compute(previous.as_ref(), &seen, Timestamp::now());
    let good = memory.good.clone();
    if let Some(wait) = status::write(&context.shared, object, memory, good.as_deref(), status).await? {
        next = next.within(wait);
    }
    Ok(next)
}

/// A credential on its way out.
struct Departure<'a> {
    id: &'a CredentialId,
    hub: Arc<str>,
    disposition: Disposition,
    /// How old the news of Pods may be; `None` when it does not matter who uses what.
    stale_after: Option<Duration>,
}

/// How one cluster stands after its part.
struct Taken {
    outcome: ClusterOutcome,
    /// Copies that still stand in the way of the credential's end.
    left: usize,
    next: Next,
}

impl Departure<'_> {
    async fn from(&self, cluster: &Cluster) -> Taken {
        let mut plan = plan::dismiss(cluster.read().view(), &self.id.owner(), self.disposition);
        let mut next = Next::default();
        let mut left = 0;
        let mut unreachable = None;
        if !plan.delete.is_empty() && self.stale_after.is_some_and(|limit| cluster.stale(Source::Pods, limit))
        {
            // Who uses what is not known just now; nothing is pulled away on a guess.
            left += plan.delete.len();
            plan.held.extend(plan.delete.drain(..).map(|(key, _)| key));
            next = next.sooner(Urgency::Trouble);
            unreachable = Some("which Pods it runs is not known just now".to_owned());
        }
        let applied = cluster.apply(&plan, self.id, &self.hub, None, Pace { slice: SLICE }).await;
        left += plan.delete.len() + plan.release.len() - applied.removed;
        if applied.again {
            next = next.sooner(if applied.removed > 0 { Urgency::Now } else { Urgency::Shortly });
        }
        if applied.trouble.is_some() || !applied.failures.is_empty() {
            next = next.sooner(Urgency::Trouble);
        }
        if let Some(Trouble::Unreachable(why)) = applied.trouble {
            unreachable = Some(why);
        }
        // A deletion that is held leaves everything as it is, and counts it so.
        let kept = if self.disposition == Disposition::Keep { plan.held.len() } else { 0 };
        let outcome = ClusterOutcome {
            name: cluster.name().to_string(),
            desired: kept,
            synced: kept,
            failures: Vec::new(),
            held: plan.held.len() - kept,
            unreachable,
        };
        Taken { outcome, left: left + kept, next }
    }
}

fn farewell(disposition: Disposition) -> Note {
    let (reason, note) = match disposition {
        Disposition::Release => ("Orphaned", "the Secrets stay, without the marks of Claviger"),
        Disposition::RemoveUnused => {
            ("Deleted", "unused Secrets were deleted; those in use follow when they are not")
        }
        Disposition::Remove | Disposition::Keep => ("Deleted", "all Secrets were deleted"),
    };
    Note { warning: false, reason: reason.to_owned(), action: "Delete", note: note.to_owned() }
}

fn is_forced<K: Credential>(object: &K) -> bool {
    object.deletion_policy() == DeletionPolicy::Force
        || object.annotations().get(ANNOTATION_FORCE_DELETE).is_some_and(|value| value == "true")
}
