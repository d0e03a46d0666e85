//! What the status tells of Pods that were created before a default was attached.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value};

use super::observation::{Observation, count};
use crate::{
    api::{StuckPod, StuckPods},
    domain::{
        desired::DesiredState,
        event::{Action, Note},
        failure::Failure,
        reason::Reason,
        schedule::MAX_LISTED_STUCK,
        selection::LOCAL,
        stuck::{ListedPod, Stuck},
    },
};

fn all<'a>(seen: &'a Observation<'_>) -> impl Iterator<Item = (&'a str, &'a Stuck)> {
    seen.clusters.iter().filter_map(|(name, outcome)| Some((&**name, &outcome.default.as_ref()?.stuck)))
}

/// The Pods of all clusters, the oldest first; `None` when there are none.
pub(super) fn listed(seen: &Observation<'_>) -> Option<StuckPods> {
    let total = all(seen).map(|(_, stuck)| stuck.total).sum();
    let mut pods: Vec<(&ListedPod, &str)> =
        all(seen).flat_map(|(cluster, stuck)| stuck.oldest.iter().map(move |pod| (pod, cluster))).collect();
    pods.sort_unstable();
    let items = pods.into_iter().take(MAX_LISTED_STUCK).map(|(pod, cluster)| StuckPod {
        cluster: cluster.to_owned(),
        namespace: pod.namespace.to_string(),
        name: pod.name.to_string(),
        since: Time(pod.since),
        reason: pod.reason.to_owned(),
    });
    (total > 0).then(|| StuckPods { total: count(total), items: items.collect() })
}

/// What is worth telling of the step from one status to the next: that there are stuck Pods where there were none.
pub(crate) fn stuck_note(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    desired: &DesiredState,
) -> Option<Note> {
    let total = |status: &Map<String, Value>| status.get("default")?.pointer("/stuck/total")?.as_i64();
    let now = total(after).filter(|_| total(before).unwrap_or_default() == 0)?;
    let secret = &desired.secret_name;
    let evicted = desired.default.as_ref().is_some_and(|wish| wish.restart_stuck_pods);
    let remedy = if evicted {
        "Pods of a controller are evicted once the Secret is in place; delete the others"
    } else {
        "delete them, so that a controller creates new ones with it, or set `spec.default.restartStuckPods`"
    };
    let text = format!(
        "Pods that were created before Secret '{secret}' was attached cannot pull ({now} at the moment): {remedy}"
    );
    Some(Note::warning(Reason::PodsStuck, Action::Attach, text))
}

/// How many there are, and the remedy.
pub(super) fn sentence(seen: &Observation<'_>) -> Option<String> {
    let wish = seen.desired.default.as_ref()?;
    let (what, them) = match all(seen).map(|(_, stuck)| stuck.total).sum::<usize>() {
        0 => return None,
        1 => ("1 Pod was created before that, and cannot pull".to_owned(), "it"),
        n => (format!("{n} Pods were created before that, and cannot pull"), "them"),
    };
    let refused = all(seen).find_map(|(cluster, stuck)| match stuck.refused.as_ref()? {
        Failure::Write { reason, message } => Some((cluster, *reason, message)),
        _ => None,
    });
    let place = |cluster| match cluster {
        LOCAL => String::new(),
        cluster => format!(" in cluster '{cluster}'"),
    };
    let remedy = match refused {
        Some((cluster, Reason::Forbidden, _)) => format!(
            "the operator may not evict Pods{}: set `defaults.restartStuckPods` of the chart, or apply what `claviger member-rbac --restart-stuck-pods` prints; or delete {them}, so that a controller creates new ones",
            place(cluster)
        ),
        Some((cluster, _, message)) => format!("an eviction waits{}: {message}", place(cluster)),
        None if wish.restart_stuck_pods => {
            "Pods of a controller are evicted; delete other Pods yourself, and create them again".to_owned()
        }
        None => format!(
            "delete {them}, so that a controller creates new ones with the Secret, or set `spec.default.restartStuckPods`"
        ),
    };
    Some(format!("{what}: {remedy}"))
}
