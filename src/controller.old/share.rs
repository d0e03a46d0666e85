//! One cluster's share of a pass: sets out what is to be done there, and tells how it stands. Nothing waits.

use std::{sync::Arc, time::Duration};

use super::{
    Context, Member,
    lane::{Errand, Purpose, TURN},
    reconcile::{Next, Urgency},
};
use crate::{
    cluster::{Cluster, Produced, Source},
    domain::{
        CredentialId,
        ownership::OwnerId,
        plan::{Failure, Plan},
        status::ClusterOutcome,
        trouble::ClusterTrouble,
        view::{ClusterView, Key},
    },
};

/// What is the same for all clusters in a pass.
pub struct Shares<'a> {
    /// What all controllers share.
    pub context: &'a Arc<Context>,
    /// The credential.
    pub id: &'a CredentialId,
    /// Its mark.
    pub owner: &'a OwnerId,
    /// What errands are for.
    pub purpose: Purpose,
    /// How old the news of Pods may be for a Secret to be deleted; `None` when it does not matter who uses what.
    pub stale_after: Option<Duration>,
}

/// How a cluster stands, with its work set out.
pub struct Share {
    /// For the status.
    pub outcome: ClusterOutcome,
    /// Copies that are still to be deleted or let go.
    pub left: usize,
    /// When to look again at the latest; the end of an errand is told in any case.
    pub next: Next,
    /// Whether an errand is in flight.
    pub busy: bool,
    /// Whether the copies were read past the watch, where that was asked for.
    pub refreshed: bool,
}

impl Shares<'_> {
    /// Plans, and sets the plan out. `refresh` asks to read the copies past the watch first.
    pub fn tend(
        &self,
        member: &Member,
        cluster: &Arc<Cluster>,
        plan: impl FnOnce(ClusterView<'_>) -> Plan,
        produced: Option<&Arc<Produced>>,
        refresh: Option<&str>,
    ) -> Share {
        let mut next = Next::default();
        // First of all: when nothing is in flight now, the view holds all that was done.
        let glance = self.context.lanes.look(self.owner, cluster.name(), &self.purpose);
        let mut plan = plan(cluster.read().view());
        let left = plan.delete.len() + plan.release.len();
        if !plan.delete.is_empty() && self.stale_after.is_some_and(|limit| cluster.stale(Source::Pods, limit))
        {
            // Who uses what is not known just now; nothing is pulled away on a guess.
            plan.held.extend(plan.delete.drain(..).map(|(key, _)| key));
            next = next.sooner(Urgency::Trouble);
        }
        if let Some(wait) = produced
            .and_then(|produced| produced.metadata.revision())
            .and_then(|revision| cluster.pace_repairs(&mut plan, revision))
        {
            next = next.within(wait);
        }
        let mut failures = std::mem::take(&mut plan.failures);
        if !glance.refusals.is_empty() {
            let mut refused = |key: &Key| {
                let refusal = glance.refusals.get(&key.namespace);
                failures.extend(refusal.map(|refusal| (key.namespace.clone(), refusal.clone())));
                refusal.is_some()
            };
            plan.create.retain(|key| !refused(key));
            plan.update.retain(|(key, _)| !refused(key));
            plan.delete.retain(|(key, _)| !refused(key));
            plan.release.retain(|(key, _)| !refused(key));
        }
        if let (Some(produced), true) = (produced, !failures.is_empty()) {
            let taken = failures.iter().filter(|(_, f)| matches!(f, Failure::SecretNameConflict(_)));
            let keys =
                taken.map(|(namespace, _)| Key { namespace: namespace.clone(), name: produced.name.clone() });
            cluster.wait_for(keys, self.owner);
        }
        let (desired, synced, held) = (plan.desired, plan.synced, plan.held.len());
        let refreshed = refresh.is_none_or(|request| glance.refreshed.as_deref() == Some(request));
        let mut trouble = member.trouble();
        let mut busy = glance.busy;
        next = glance.wait.map_or(next, |wait| next.within(wait));
        if trouble.is_some() {
        } else if plan.is_settled() && refreshed {
            if !busy && glance.refusals.is_empty() {
                self.context.lanes.rest(self.owner, cluster.name());
            }
        } else if member.membership.paused {
            trouble = Some(ClusterTrouble::Paused);
        } else if let Some((wait, why)) = cluster.pause() {
            trouble = Some(why);
            // Not all that wait at the same moment.
            next = next.within(wait.mul_f64(1.0 + rand::random::<f64>()));
        } else if !busy && !glance.paused {
            let errand = Errand {
                id: self.id.clone(),
                hub: self.context.hub.clone(),
                // What is read anew is planned anew.
                plan: if refreshed { plan } else { Plan::default() },
                produced: produced.cloned(),
                confirm: self.stale_after.is_some(),
                refresh: refresh.filter(|_| !refreshed).map(str::to_owned),
            };
            if !self.context.lanes.start(cluster, self.purpose.clone(), errand) {
                next = next.within(TURN);
            }
            busy = true;
        }
        self.context.lanes.call_next(cluster.name());
        let outcome =
            ClusterOutcome { name: cluster.name().to_string(), desired, synced, failures, held, trouble };
        Share { outcome, left, next, busy, refreshed }
    }
}
