//! The shell: wires triggers to the pure middle, and plans to clusters.
//!
//! One generic controller serves every kind of [`Credential`]; a kind is registered with one call
//! of [`run`].

mod context;
mod dismiss;
mod error;
mod events;
mod finalizer;
mod fleet;
mod index;
mod keep;
mod lane;
pub mod member;
mod memory;
mod queue;
mod reconcile;
mod share;
mod source;
mod status;
mod sweep;
mod unreadable;
mod wake;

pub use context::{Context, Roster};
pub use error::{Error, Retry};
pub use events::Events;
pub use fleet::{Fleet, Link, Means, Member, Membership};
pub use index::Index;
use index::Listener as _;
pub use lane::Lanes;
pub use sweep::sweep;
pub use wake::Wakes;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use futures::{FutureExt, StreamExt, TryStreamExt};
use kube::{
    Api, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{WatchStreamExt, controller::Controller, predicates, reflector, watcher},
};
use kube_runtime::{controller, utils::PredicateConfig};
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::{
    api::{ANNOTATION_FORCE_DELETE, ANNOTATION_SYNC},
    cluster::{LOCAL, backoff, fault},
    domain::{Credential, CredentialId},
};

/// How many credentials of one kind are worked on at once.
const CONCURRENCY: u16 = 8;

/// A credential, or what could be read of one.
pub type Guarded<K> = DeserializeGuard<K>;

/// Runs the controller of one kind until `shutdown` turns true; what is in flight is finished.
///
/// # Errors
/// When a client cannot be made.
pub async fn run<K: Credential>(
    context: Arc<Context>,
    index: Arc<Index<K>>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), kube::Error> {
    let plural = K::plural(&()).into_owned();
    let beat = context.freshness.register(LOCAL, &plural);
    let api: Api<Guarded<K>> = Api::all(context.connector.client(Some(beat))?);
    let seconds = u32::try_from(context.connector.timeouts().watch.as_secs()).unwrap_or(60);
    let (store, writer) = reflector::store();
    let kind_context = Arc::new(reconcile::KindContext::new(context.clone(), index.clone()));
    let (observed, roster, gone) = (index.clone(), context.roster.clone(), kind_context.clone());
    let changes = watcher(api, watcher::Config::default().timeout(seconds))
        .backoff(backoff())
        .reflect(writer)
        .inspect_ok(move |event| {
            observed.observe(event);
            if let watcher::Event::Delete(object) = event {
                gone.forget(&CredentialId::of_kind::<K>(object.meta()));
            }
            // A finalizer may have been taken off by hand: then copies are left without a credential.
            if let watcher::Event::Delete(_) | watcher::Event::InitDone = event {
                roster.orphans_appeared();
            }
        })
        .inspect_err(move |error| warn!(cluster = LOCAL, watch = plural, "{}", fault(error)))
        .touched_objects()
        .predicate_filter(concern, PredicateConfig::default());
    let (shared, mut stop) = (context.clone(), shutdown.clone());
    let ready = index.clone();
    let unfilled = async move {
        let _ = stop.wait_for(|down| *down).await;
        if ready.is_ready() && shared.filled().now_or_never().is_some() {
            std::future::pending::<()>().await;
        }
    };
    let passes = Controller::for_stream(changes, store)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_on(index.wakes())
        .graceful_shutdown_on(async move {
            let _ = shutdown.wait_for(|down| *down).await;
        })
        .run(reconcile::reconcile, reconcile::after_error, kind_context)
        .for_each(|result| async move {
            if let Err(error) = result {
                // Failed passes were reported where they failed; an object that is gone is no fault.
                debug!(%error, "controller");
            }
        });
    tokio::select! {
        () = passes => {}
        // Before everything was listed once no pass gets beyond waiting for it: there is nothing to finish,
        // and what a finish would wait for may never come.
        () = unfilled => {}
    }
    Ok(())
}

/// What of a credential concerns the engine: all but its status, and notes of others.
fn concern<K: Credential>(object: &Guarded<K>) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    object.uid().hash(&mut hasher);
    predicates::generation(object).hash(&mut hasher);
    predicates::finalizers(object).hash(&mut hasher);
    for annotation in [ANNOTATION_SYNC, ANNOTATION_FORCE_DELETE] {
        object.annotations().get(annotation).hash(&mut hasher);
    }
    Some(hasher.finish())
}
