//! A pass over a credential that is being deleted.

use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::{
    Error, finalizer, keep,
    memory::Memory,
    reconcile::{KindContext, Next, Urgency},
    status,
};
use crate::{
    api::ANNOTATION_FORCE_DELETE,
    cluster::{Pace, Source, Trouble},
    domain::{
        Credential, CredentialId,
        deletion::{Circumstances, decide},
        event::Note,
        plan::{self, Disposition},
        status::{self as verdict, ClusterOutcome, Observation, SourceState},
    },
};

/// How long deletions go on before the plan is made anew and the status is written.
const SLICE: std::time::Duration = std::time::Duration::from_secs(1);

/// Takes a credential's copies back, or holds them while they are used; then takes our finalizer
/// off.
pub async fn dismiss<K: Credential>(
    context: &KindContext<K>,
    object: &K,
    memory: &mut Memory,
) -> Result<Next, Error> {
    let id = CredentialId::of(object);
    let owner = id.owner();
    let clusters = context.shared.clusters();
    let local = context.shared.local()?;
    let hub = local.read().hub().unwrap_or_default();
    let references = keep::references(&clusters, &owner);
    let disposition = decide(Circumstances {
        policy: object.deletion_policy(),
        forced: object.annotations().get(ANNOTATION_FORCE_DELETE).is_some_and(|value| value == "true"),
        namespace_terminating: local
            .read()
            .view()
            .namespaces
            .get(id.namespace.as_str())
            .is_none_or(|namespace| namespace.terminating),
        blocking: usize::try_from(references.blocking).unwrap_or(0),
    });
    let previous = memory.status.clone().or_else(|| object.status().cloned());
    let mut next = Next::default();
    let mut outcomes = Vec::new();
    let mut left = 0;
    for cluster in &clusters {
        let plan = plan::dismiss(cluster.read().view(), &owner, disposition);
        let unsure = !plan.delete.is_empty()
            && disposition != Disposition::Remove
            && cluster.stale(Source::Pods, context.shared.stale_after);
        let guessed = disposition == Disposition::Remove
            && !is_forced(object)
            && cluster.stale(Source::Pods, context.shared.stale_after);
        if !plan.delete.is_empty() && (unsure || guessed) {
            // Who uses what is not known just now; nothing is pulled away on a guess.
            left += plan.delete.len();
            next = next.sooner(Urgency::Trouble);
            outcomes.push(outcome(
                cluster.name(),
                plan.held.len() + plan.delete.len(),
                Some("its Pods are not known just now".to_owned()),
            ));
            continue;
        }
        let applied = cluster.apply(&plan, &id, &hub, None, Pace { slice: SLICE }).await;
        left += plan.delete.len() + plan.release.len() - applied.removed;
        if disposition == Disposition::Keep {
            left += plan.held.len();
        }
        if applied.again {
            next = next.sooner(if applied.removed > 0 { Urgency::Now } else { Urgency::Shortly });
        }
        if applied.trouble.is_some() || !applied.failures.is_empty() {
            next = next.sooner(Urgency::Trouble);
        }
        let unreachable = match applied.trouble {
            Some(Trouble::Unreachable(why)) => Some(why),
            _ => None,
        };
        outcomes.push(outcome(cluster.name(), plan.held.len(), unreachable));
    }
    if left == 0 && disposition != Disposition::Keep {
        let api: Api<K> = Api::namespaced(local.client().clone(), &id.namespace);
        finalizer::remove(&api, object).await?;
        let (reason, note) = match disposition {
            Disposition::Release => ("Orphaned", "the Secrets stay, without the marks of Claviger"),
            Disposition::RemoveUnused => {
                ("Deleted", "unused Secrets were deleted; those in use follow when they are not")
            }
            _ => ("Deleted", "all Secrets were deleted"),
        };
        let note =
            Note { warning: false, reason: reason.to_owned(), action: "Delete", note: note.to_owned() };
        context.shared.events.publish(object, &note).await;
        context.forget(&id);
        if disposition == Disposition::RemoveUnused {
            context.shared.roster.orphans.notify_one();
        }
        return Ok(Next::from(Urgency::Gone));
    }
    let seen = Observation {
        generation: object.meta().generation.unwrap_or_default(),
        revision: previous.as_ref().and_then(|status| status.revision),
        secret_name: object.target().secret_name.clone().unwrap_or_else(|| object.name_any()),
        source: SourceState::NotRead,
        clusters: outcomes,
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

fn is_forced<K: Credential>(object: &K) -> bool {
    object.deletion_policy() == crate::api::DeletionPolicy::Force
        || object.annotations().get(ANNOTATION_FORCE_DELETE).is_some_and(|value| value == "true")
}

fn outcome(name: &str, held: usize, unreachable: Option<String>) -> ClusterOutcome {
    ClusterOutcome { name: name.to_owned(), desired: 0, synced: 0, failures: Vec::new(), held, unreachable }
}
