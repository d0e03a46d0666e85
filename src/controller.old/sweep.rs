//! Copies whose credential is gone, as when somebody took the finalizer off by hand, or the
//! credential's namespace went while Pods used them. They go when nobody uses them.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};
use tracing::{info, warn};

use super::Context;
use crate::{
    api::{ANNOTATION_HUB, ANNOTATION_SOURCE},
    cluster::{Cluster, Pace, Source},
    domain::{
        CredentialId,
        ownership::OwnerId,
        plan::{Disposition, dismiss},
    },
};

/// Pause between two sweeps that were asked for, so that a crowd of events makes one.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one cluster is swept at a time.
const SLICE: Duration = Duration::from_secs(60);

/// Sweeps at start, from time to time, and when asked, until `shutdown` turns true. Each cluster on its own, so that
/// none waits for another.
pub async fn sweep(context: Arc<Context>, interval: Duration, mut shutdown: watch::Receiver<bool>) {
    tokio::select! {
        () = context.filled() => {}
        () = down(&mut shutdown) => return,
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut asked = context.roster.orphans();
    let mut sweeping: HashSet<Arc<str>> = HashSet::new();
    let mut tasks: JoinSet<Arc<str>> = JoinSet::new();
    loop {
        asked.mark_unchanged();
        if context.roster.listeners().iter().all(|listener| listener.is_ready()) {
            for member in context.fleet.all() {
                let Some(cluster) = member.up().filter(|_| !member.membership.paused).cloned() else {
                    continue;
                };
                if sweeping.insert(member.name.clone()) {
                    let (context, stop) = (context.clone(), stop.clone());
                    tasks.spawn(async move {
                        sweep_cluster(&context, &cluster, &stop).await;
                        member.name
                    });
                }
            }
        }
        let due = async {
            let _ = tokio::time::timeout(interval, asked.changed()).await;
            tokio::time::sleep(PAUSE).await;
        };
        tokio::pin!(due);
        loop {
            tokio::select! {
                () = &mut due => break,
                Some(Ok(name)) = tasks.join_next() => {
                    sweeping.remove(&name);
                }
                () = down(&mut shutdown) => {
                    // The deletions in flight come to their end.
                    stop.store(true, Ordering::Relaxed);
                    while tasks.join_next().await.is_some() {}
                    return;
                }
            }
        }
    }
}

async fn down(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|down| *down).await;
}

async fn sweep_cluster(context: &Context, cluster: &Cluster, stop: &AtomicBool) {
    if cluster.stale(Source::Pods, context.stale_after) {
        return;
    }
    for (owner, id) in orphans(context, cluster) {
        let mut plan = dismiss(cluster.read().view(), &owner, Disposition::RemoveUnused);
        if plan.is_settled() {
            continue;
        }
        if let Err(trouble) = cluster.spare_used(&mut plan).await {
            warn!(cluster = &**cluster.name(), credential = %id, ?trouble, "who uses what cannot be asked");
            context.roster.orphans_appeared();
            return;
        }
        let applied = cluster.apply(&plan, &id, &context.hub, None, Pace { slice: SLICE, stop }).await;
        info!(cluster = &**cluster.name(), credential = %id, deleted = applied.removed, held = plan.held.len(), "swept Secrets whose credential is gone");
        if let Some(trouble) = applied.trouble {
            warn!(cluster = &**cluster.name(), credential = %id, ?trouble, "sweep not finished");
            context.roster.orphans_appeared();
            return;
        }
    }
}

/// Owners of copies that no credential of any kind we serve stands behind. Copies of another hub,
/// or of a kind that this version does not know, are not ours to judge.
fn orphans(context: &Context, cluster: &Cluster) -> Vec<(OwnerId, CredentialId)> {
    let kinds: HashSet<String> = context.roster.listeners().iter().map(|listener| listener.kind()).collect();
    let cache = cluster.read();
    let view = cache.view();
    view.copies
        .owners()
        .filter(|owner| !context.roster.listeners().iter().any(|listener| listener.has(owner)))
        .filter_map(|owner| {
            let (_, copy) = view.copies.of(owner).next()?;
            let annotations = &copy.metadata.annotations;
            let id = CredentialId::parse(annotations.get(ANNOTATION_SOURCE)?)?;
            let ours = annotations.get(ANNOTATION_HUB).is_some_and(|of| context.hub.owns(of))
                && kinds.contains(&id.kind)
                && id.owner() == *owner;
            ours.then(|| (owner.clone(), id))
        })
        .collect()
}
