//! Copies whose credential is gone, as when somebody took the finalizer off by hand, or the
//! credential's namespace went while Pods used them. They go when nobody uses them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::sync::watch;
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

/// Sweeps at start, from time to time, and when asked, until `shutdown` turns true.
pub async fn sweep(context: Arc<Context>, interval: Duration, mut shutdown: watch::Receiver<bool>) {
    tokio::select! {
        () = context.filled() => {}
        _ = shutdown.wait_for(|down| *down) => return,
    }
    loop {
        if context.roster.listeners().iter().all(|listener| listener.is_ready()) {
            for cluster in context.clusters() {
                sweep_cluster(&context, &cluster).await;
            }
        }
        let asked = async {
            let _ = tokio::time::timeout(interval, context.roster.orphans.notified()).await;
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            () = asked => {}
            _ = shutdown.wait_for(|down| *down) => return,
        }
    }
}

async fn sweep_cluster(context: &Context, cluster: &Cluster) {
    let Ok(Some(hub)) = context.local().map(|local| local.read().hub()) else { return };
    if cluster.stale(Source::Pods, context.stale_after) {
        return;
    }
    for (owner, id) in orphans(context, cluster, &hub) {
        let plan = dismiss(cluster.read().view(), &owner, Disposition::RemoveUnused);
        if plan.is_settled() {
            continue;
        }
        let pace = Pace { slice: Duration::from_secs(60) };
        let applied = cluster.apply(&plan, &id, &hub, None, pace).await;
        info!(cluster = &**cluster.name(), credential = %id, deleted = applied.removed, held = plan.held.len(), "swept Secrets whose credential is gone");
        if let Some(trouble) = applied.trouble {
            warn!(cluster = &**cluster.name(), credential = %id, ?trouble, "sweep not finished");
            context.roster.orphans.notify_one();
            return;
        }
    }
}

/// Owners of copies that no credential of any kind we serve stands behind. Copies of another hub,
/// or of a kind that this version does not know, are not ours to judge.
fn orphans(context: &Context, cluster: &Cluster, hub: &str) -> Vec<(OwnerId, CredentialId)> {
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
            let ours = annotations.get(ANNOTATION_HUB).is_some_and(|of| of == hub)
                && kinds.contains(&id.kind)
                && id.owner() == *owner;
            ours.then(|| (owner.clone(), id))
        })
        .collect()
}
