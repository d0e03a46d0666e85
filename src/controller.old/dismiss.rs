//! A pass over a credential that is being deleted.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};

use super::{
    Error, Member, finalizer,
    keep::{references, row},
    lane::Purpose,
    memory::Memory,
    reconcile::{KindContext, Next, Urgency},
    share::Shares,
    status,
};
use crate::{
    api::{ClusterState, ClusterStatus, DeletionPolicy},
    cluster::Reach,
    domain::{
        Credential, CredentialId,
        deletion::{Circumstances, awaited_until, decide},
        event::Note,
        ownership::OwnerId,
        plan::{self, Disposition},
        status::{self as verdict, ClusterOutcome, Observation, SourceState},
        trouble::ClusterTrouble,
        view::ClusterView,
    },
};

/// Takes a credential's copies back, or holds them while they are used; then takes our finalizer
/// off.
pub async fn dismiss<K: Credential>(
    context: &KindContext<K>,
    object: &K,
    memory: &mut Memory,
) -> Result<Next, Error> {
    let shared = &context.shared;
    let id = CredentialId::of(object);
    let owner = id.owner();
    let previous = memory.status.clone().or_else(|| object.status().cloned());
    let rows = previous.as_ref().map_or(&[][..], |status| &status.clusters);
    let now = Timestamp::now();
    let deleted = object.meta().deletion_timestamp.as_ref().map_or(now, |time| time.0);
    let forced = object.deletion_policy() == DeletionPolicy::Force || finalizer::is_forced(object);
    let namespace_terminating = {
        let local = shared.local().read();
        local.view().namespaces.get(id.namespace.as_str()).is_none_or(|seen| seen.terminating)
    };

    let members = shared.fleet.all();
    let places: Vec<(&Member, Standing)> = members
        .iter()
        .map(|member| {
            let busy = shared.lanes.is_busy(&owner, &member.name);
            let mut standing = stand(member, row(rows, &member.name), &owner, busy, now);
            if let Standing::Dark { since } = standing {
                // Nobody is made to wait who says not to, nor a namespace that is going.
                let until = awaited_until(deleted, since, shared.unreachable_grace);
                let let_go = forced || namespace_terminating || until <= now;
                standing = if let_go { Standing::LeftBehind } else { Standing::Awaited { until } };
            }
            (member, standing)
        })
        .collect();
    let awaited: Vec<(String, Timestamp)> = places
        .iter()
        .filter_map(|(member, standing)| match standing {
            Standing::Awaited { until } => Some((member.name.to_string(), *until)),
            _ => None,
        })
        .collect();
    let counted = places.iter().filter(|(_, standing)| !matches!(standing, Standing::LeftBehind));
    let references = references(counted.filter_map(|(member, _)| member.seen()), &owner);
    let disposition = decide(Circumstances {
        policy: object.deletion_policy(),
        forced,
        namespace_terminating,
        blocking: usize::try_from(references.blocking).unwrap_or(0),
        awaited: awaited.len(),
    });

    let shares = Shares {
        context: shared,
        id: &id,
        owner: &owner,
        purpose: Purpose {
            generation: object.meta().generation.unwrap_or_default(),
            revision: None,
            deleting: true,
        },
        stale_after: (!forced).then_some(shared.stale_after),
    };
    let mut next = Next::default();
    let mut left = awaited.len();
    let mut outcomes = Vec::new();
    for (member, standing) in &places {
        match (standing, member.seen()) {
            (Standing::Bare, _) => {}
            (Standing::Present, Some(cluster)) => {
                let plan = |view: ClusterView<'_>| plan::dismiss(view, &owner, disposition);
                let share = shares.tend(member, cluster, plan, None, None);
                // A deletion that is held leaves everything as it is, and counts it so.
                let kept = if disposition == Disposition::Keep { share.outcome.held } else { 0 };
                let outcome = share.outcome;
                left += share.left + kept + usize::from(share.busy);
                next = next.and(share.next);
                outcomes.push(ClusterOutcome {
                    desired: kept,
                    synced: kept,
                    held: outcome.held - kept,
                    ..outcome
                });
            }
            (_, _) => {
                let trouble = member.trouble().unwrap_or(ClusterTrouble::Connecting);
                outcomes.push(ClusterOutcome::unseen(&member.name, row(rows, &member.name), trouble));
            }
        }
    }
    if left == 0 {
        let api: Api<K> = Api::namespaced(shared.local().client(), &id.namespace);
        finalizer::remove(&api, object).await?;
        for (member, _) in places.iter().filter(|(_, standing)| matches!(standing, Standing::LeftBehind)) {
            shared.events.publish(object, &left_behind(member, row(rows, &member.name), &owner)).await;
        }
        shared.events.publish(object, &farewell(disposition)).await;
        context.forget(&id);
        if disposition == Disposition::RemoveUnused {
            shared.roster.orphans_appeared();
        }
        return Ok(Urgency::Gone.into());
    }
    for (_, until) in &awaited {
        next = next.within(Duration::try_from(until.duration_since(now)).unwrap_or_default());
    }
    let seen = Observation {
        generation: object.meta().generation.unwrap_or_default(),
        revision: previous.as_ref().and_then(|status| status.revision),
        secret_name: object.target().secret_name.clone().unwrap_or_else(|| object.name_any()),
        source: SourceState::NotRead,
        clusters: outcomes,
        references,
        deletion: Some(disposition),
        awaited,
        validity: memory.validity(object),
        sync_request: None,
    };
    let status = verdict::compute(previous.as_ref(), &seen, now);
    let good = memory.good.clone();
    if let Some(wait) = status::write(shared, object, memory, good.as_deref(), status).await? {
        next = next.within(wait);
    }
    Ok(next)
}

/// How a cluster stands to a deletion.
#[derive(Clone, Copy, Debug)]
enum Standing {
    /// Nothing is there.
    Bare,
    /// It answers, and what is there is known.
    Present,
    /// It does not answer, and something may be there.
    Dark { since: Timestamp },
    /// The same, and the deletion waits for it.
    Awaited { until: Timestamp },
    /// The same, and the deletion does not wait any more.
    LeftBehind,
}

fn stand(
    member: &Member,
    row: Option<&ClusterStatus>,
    owner: &OwnerId,
    busy: bool,
    now: Timestamp,
) -> Standing {
    let known = member.seen().map(|cluster| cluster.read().view().copies.has(owner));
    if member.up().is_some() {
        return if known == Some(true) || busy { Standing::Present } else { Standing::Bare };
    }
    // Of what was written after it was last seen only a row tells.
    let clean = row.is_none_or(|row| row.state == ClusterState::Synced && row.namespaces.desired == 0);
    if clean && known != Some(true) {
        return Standing::Bare;
    }
    // The row is older than this process may be.
    let told = row.filter(|row| row.state == ClusterState::Unreachable);
    let since = told.and_then(|row| row.last_transition_time.as_ref()).map(|time| time.0);
    let down = match &member.link {
        super::Link::Connected(cluster) => match cluster.reach() {
            Reach::Down { since, .. } => Some(since),
            _ => None,
        },
        super::Link::Broken(_) | super::Link::Coming => None,
    };
    Standing::Dark { since: since.or(down).unwrap_or(now) }
}

fn left_behind(member: &Member, row: Option<&ClusterStatus>, owner: &OwnerId) -> Note {
    let known = member.seen().map(|cluster| cluster.read().view().copies.of(owner).count());
    let told = row.and_then(|row| usize::try_from(row.namespaces.synced).ok());
    let count = known.or(told).unwrap_or(0);
    let why = member.trouble().map_or_else(String::new, |trouble| trouble.message(&member.name));
    Note {
        warning: true,
        reason: "LeftBehind".to_owned(),
        action: "Delete",
        note: format!(
            "{count} Secrets, as last seen, were left behind in cluster '{}', used or not: {why}; when it answers again, those that no Pod uses are swept",
            member.name
        ),
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
