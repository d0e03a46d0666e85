//! Members: from a MemberCluster, and the Secret that says how to reach it, to a cluster of the fleet.

mod adopt;
mod pass;
mod register;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        controller::Controller,
        predicates,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use kube_runtime::{controller, utils::PredicateConfig};
use tokio::sync::watch;
use tracing::{debug, warn};

use super::{Context, Fleet, Guarded, Link};
use crate::{
    api::{ANNOTATION_FORCE_DELETE, MemberCluster},
    cluster::{LOCAL, backoff, fault},
    domain::{access::Tolerance, adoption::Adopt},
};
use register::Register;

/// How many members are worked on at once. A pass waits for the API server of the hub alone.
const CONCURRENCY: u16 = 8;

/// How long the start waits for members to be listed, or to be found not to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the operator was told of members.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Whose clusters become members by themselves.
    pub adopt: Adopt,
    /// What is taken although it is not safe.
    pub tolerance: Tolerance,
}

/// What the controller of members works with.
struct Members {
    shared: Arc<Context>,
    rules: Rules,
    register: Arc<Register>,
    store: Store<Guarded<MemberCluster>>,
    shutdown: watch::Receiver<bool>,
}

/// Runs the controller of members until `shutdown` turns true. `known` turns true when all members that there
/// were at the start are in the fleet, and each was listed or does not answer.
///
/// # Errors
/// When a client cannot be made.
pub async fn run(
    context: Arc<Context>,
    rules: Rules,
    known: watch::Sender<bool>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), kube::Error> {
    let beat = context.freshness.register(LOCAL, "memberclusters");
    let api: Api<Guarded<MemberCluster>> = Api::all(context.connector.client(Some(beat))?);
    let seconds = u32::try_from(context.connector.timeouts().watch.as_secs()).unwrap_or(60);
    let (store, writer) = reflector::store();
    let register = Arc::new(Register::new(context.roster.clone()));
    let (observed, fleet) = (register.clone(), context.fleet.clone());
    let changes = watcher(api, watcher::Config::default().timeout(seconds))
        .backoff(backoff())
        .reflect(writer)
        .inspect_ok(move |event| {
            for gone in observed.observe(event) {
                fleet.remove(&gone);
            }
            // Here rather than in the pass, which comes later than that of a credential may.
            if let watcher::Event::InitApply(object) | watcher::Event::Apply(object) = event
                && let Ok(object) = &object.0
                && object.metadata.deletion_timestamp.is_none()
            {
                fleet.announce(&object.name_any(), object.labels());
            }
        })
        .inspect_err(|error| warn!(cluster = LOCAL, watch = "memberclusters", "{}", fault(error)))
        .touched_objects()
        .predicate_filter(concern, PredicateConfig::default());
    let wakes = context.roster.members.clone().stream().map(|name| ObjectRef::new(&name));
    let members = Arc::new(Members {
        shared: context.clone(),
        rules,
        register: register.clone(),
        store: store.clone(),
        shutdown: shutdown.clone(),
    });
    let adoption = adopt::run(members.clone());
    let mut stop = shutdown.clone();
    let passes = Controller::for_stream(changes, store)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(wakes)
        .graceful_shutdown_on(async move {
            let _ = shutdown.wait_for(|down| *down).await;
        })
        .run(pass::reconcile, pass::after_error, members)
        .for_each(|result| async move {
            if let Err(error) = result {
                // Failed passes were reported where they failed; an object that is gone is no fault.
                debug!(%error, "member controller");
            }
        });
    let listed = register.clone();
    let unlisted = async move {
        let _ = stop.wait_for(|down| *down).await.map(drop);
        if listed.is_listed() {
            std::future::pending::<()>().await;
        }
    };
    let start = async move {
        register.started().await;
        let _ = tokio::time::timeout(PATIENCE, settled(&context.fleet)).await;
        known.send_replace(true);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = passes => {}
        // These two end with the operator.
        _ = async { tokio::join!(adoption, start) } => {}
        // Before all members are known no pass begins, and there is nothing to finish.
        () = unlisted => {}
    }
    Ok(())
}

/// Ends when each member was listed, or shows that this will take longer.
async fn settled(fleet: &Fleet) {
    for member in fleet.all() {
        if let Link::Connected(cluster) = &member.link {
            cluster.settled().await;
        }
    }
}

/// What of a member concerns its controller: all but its status, and notes of others.
fn concern(object: &Guarded<MemberCluster>) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    object.uid().hash(&mut hasher);
    predicates::generation(object).hash(&mut hasher);
    predicates::finalizers(object).hash(&mut hasher);
    predicates::labels(object).hash(&mut hasher);
    object.annotations().get(ANNOTATION_FORCE_DELETE).hash(&mut hasher);
    Some(hasher.finish())
}
