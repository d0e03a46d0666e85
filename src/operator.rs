//! One process, from its start to its end: health, leadership, clusters, controllers.

use std::{io, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    runtime::{WatchStreamExt, reflector, watcher},
};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use tracing::{info, warn};

use crate::{
    api::{BasicAuthCredential, DistributionPolicy, RegistryCredential, TlsCredential},
    cli::{Settings, SettingsError},
    cluster::{Connector, LOCAL, Timeouts, backoff, describe, fault},
    controller::{self, Context, Events, Fleet, Index, Lanes, Means, Roster, member},
    domain::{Credential, access::Tolerance, fingerprint::FingerprintKey, ownership::Hub},
    leader::{self, Elector, Leadership},
    telemetry::{Freshness, Health, Metrics, server},
};

/// How long work in flight may go on after the signal to stop.
const GRACE: Duration = Duration::from_secs(20);

/// Why the operator ended.
#[derive(Debug, Error)]
pub enum Error {
    /// The address for health and metrics cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signals(io::Error),
    /// No cluster, or one that cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A client cannot be made.
    #[error("cannot connect: {}", describe(.0))]
    Client(Box<kube::Error>),
    /// The lease could not be used.
    #[error("leader election: {0}")]
    Leader(#[from] leader::Error),
    /// Somebody else leads now, or the lease could not be renewed: to go on would be two at work.
    #[error("leadership was lost")]
    LeadershipLost,
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

/// Runs until a signal to stop, or the loss of leadership.
///
/// # Errors
/// See [`Error`].
pub async fn run(settings: Settings) -> Result<(), Error> {
    let stop = stop_signal().map_err(Error::Signals)?;
    let freshness = Freshness::new();
    let metrics = Arc::new(Metrics::new(freshness.clone()));
    let health = Arc::new(Health::new(freshness.clone(), settings.stale_after()));
    let listener = TcpListener::bind(settings.listen_address)
        .await
        .map_err(|source| Error::Listen { address: settings.listen_address, source })?;
    tokio::spawn(server::serve(listener, health.clone(), metrics.clone(), stopped(stop.clone())));
    info!(version = env!("CARGO_PKG_VERSION"), address = %settings.listen_address, "started");

    let timeouts = Timeouts { watch: settings.watch_timeout, request: settings.request_timeout };
    let connector = Connector::new(settings.local_config().await?, timeouts, LOCAL.into(), metrics.clone());
    let process = Process { settings, connector, freshness, metrics, health };
    let Some(leadership) = process.become_leader(stop.clone()).await? else { return Ok(()) };
    process.metrics.set_leader(true);
    let (down, shutdown) = watch::channel(false);
    let Some(Work { tasks: mut work, lanes }) = process.start(shutdown, stop.clone()).await? else {
        return Ok(());
    };
    let lost: BoxFuture<'_, ()> = match &leadership {
        Some(leadership) => Box::pin(leadership.lost()),
        None => Box::pin(std::future::pending()),
    };
    let outcome = tokio::select! {
        () = stopped(stop) => Ok(()),
        () = lost => Err(Error::LeadershipLost),
    };
    process.metrics.set_leader(false);
    if let Err(error) = outcome {
        // Whoever leads now is at work already: stop on the spot, not in an orderly manner.
        work.abort_all();
        return Err(error);
    }
    info!("stopping");
    down.send_replace(true);
    let finish = async {
        lanes.close().await;
        while work.join_next().await.is_some() {}
    };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        warn!("work in flight did not end in time");
        work.abort_all();
    }
    if let Some(leadership) = leadership {
        leadership.release().await;
    }
    info!("stopped");
    Ok(())
}

/// What the leader does.
struct Work {
    tasks: JoinSet<()>,
    lanes: Arc<Lanes>,
}

struct Process {
    settings: Settings,
    connector: Connector,
    freshness: Freshness,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Process {
    /// Waits for leadership. The outer `None` means that the signal to stop came first; the inner
    /// one that there is no election.
    async fn become_leader(&self, stop: watch::Receiver<bool>) -> Result<Option<Option<Leadership>>, Error> {
        let Some(election) = &self.settings.leader_election else { return Ok(Some(None)) };
        self.health.set_ready(true, "standing by: another replica leads");
        let client = self.connector.client(None)?;
        let mut elector = Elector::new(
            client,
            &self.settings.namespace,
            &election.lease,
            &election.identity,
            election.timing,
        );
        Ok(elector.acquire(stopped(stop)).await?.map(Some))
    }

    /// Who we are on copies: the id that was set, else the uid of `kube-system`. What carries that uid is ours in any
    /// case, so that an id can be set later. `None` when the signal to stop came first.
    async fn hub(&self, stop: watch::Receiver<bool>) -> Result<Option<Hub>, Error> {
        let namespaces: Api<Namespace> = Api::all(self.connector.client(None)?);
        let found = async {
            let mut waits = backoff();
            loop {
                match namespaces.get_metadata("kube-system").await {
                    Ok(namespace) if namespace.metadata.uid.is_some() => break namespace.metadata.uid,
                    Ok(_) => {}
                    Err(error) => {
                        warn!("the uid of namespace kube-system cannot be read: {}", describe(&error))
                    }
                }
                tokio::time::sleep(waits.next().unwrap_or(Duration::from_secs(5))).await;
            }
        };
        let uid = tokio::select! {
            uid = found => uid.unwrap_or_default(),
            () = stopped(stop) => return Ok(None),
        };
        let id = self.settings.hub_id.clone().unwrap_or_else(|| uid.clone());
        let former = self.settings.former_hub_ids.iter().cloned().chain([uid]);
        Ok(Some(Hub::new(&id, former)))
    }

    /// Starts everything that the leader does; `None` when the signal to stop came first.
    async fn start(
        &self,
        shutdown: watch::Receiver<bool>,
        stop: watch::Receiver<bool>,
    ) -> Result<Option<Work>, Error> {
        self.health.set_ready(false, "caches are being filled");
        let Some(hub) = self.hub(stop).await?.map(Arc::new) else { return Ok(None) };
        let mut work = JoinSet::new();
        let roster = Arc::new(Roster::default());
        let (policies, writer) = reflector::store();
        let (listed, policies_listed) = watch::channel(false);
        let registry = Arc::new(Index::<RegistryCredential>::new(&self.settings.namespace));
        let basic_auth = Arc::new(Index::<BasicAuthCredential>::new(&self.settings.namespace));
        let tls = Arc::new(Index::<TlsCredential>::new(&self.settings.namespace));
        // A new kind is registered in this list, and run below.
        roster.register(vec![registry.clone(), basic_auth.clone(), tls.clone()]);

        let mut random = [0; 32];
        rand::fill(&mut random);
        let fingerprints = Arc::new(FingerprintKey::new(random));
        let means = Means {
            timeouts: self.connector.timeouts(),
            concurrency: self.settings.concurrency,
            probe: self.settings.member_probe_interval,
            hub: hub.clone(),
            fingerprints: fingerprints.clone(),
            roster: roster.clone(),
            metrics: self.metrics.clone(),
            freshness: self.freshness.clone(),
            stale_after: self.settings.stale_after(),
        };
        let fleet =
            Arc::new(Fleet::new(means, self.connector.clone(), self.settings.cluster_labels.clone())?);
        let instance = self
            .settings
            .leader_election
            .as_ref()
            .map_or_else(|| "claviger".to_owned(), |election| election.identity.clone());
        let (known, members_known) = watch::channel(false);
        let lanes = Arc::new(Lanes::new(&roster));
        let context = Arc::new(Context {
            namespace: self.settings.namespace.clone(),
            hub,
            connector: self.connector.clone(),
            events: Events::new(fleet.local().client(), instance),
            fleet,
            lanes: lanes.clone(),
            policies,
            policies_listed,
            members_known,
            roster: roster.clone(),
            fingerprints,
            metrics: self.metrics.clone(),
            freshness: self.freshness.clone(),
            stale_after: self.settings.stale_after(),
            resync_interval: self.settings.resync_interval,
            unreachable_grace: self.settings.unreachable_grace_period,
        });
        self.watch_policies(&mut work, writer, listed, roster, shutdown.clone())?;
        self.run_members(&mut work, &context, known, &shutdown);
        run_kind(&mut work, &context, registry, &shutdown);
        run_kind(&mut work, &context, basic_auth, &shutdown);
        run_kind(&mut work, &context, tls, &shutdown);
        work.spawn(controller::sweep(context.clone(), self.settings.sweep_interval, shutdown.clone()));

        let health = self.health.clone();
        work.spawn(async move {
            let filled = async {
                context.filled().await;
                for listener in context.roster.listeners() {
                    while !listener.is_ready() {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            };
            tokio::select! {
                () = filled => {
                    health.set_ready(true, "caches are filled");
                    info!("ready");
                }
                () = stopped(shutdown) => {}
            }
        });
        Ok(Some(Work { tasks: work, lanes }))
    }

    fn run_members(
        &self,
        work: &mut JoinSet<()>,
        context: &Arc<Context>,
        known: watch::Sender<bool>,
        shutdown: &watch::Receiver<bool>,
    ) {
        let rules = member::Rules {
            adopt: self.settings.adopt.clone(),
            tolerance: Tolerance { insecure: self.settings.allow_insecure_members },
        };
        let (context, shutdown) = (context.clone(), shutdown.clone());
        work.spawn(async move {
            if let Err(error) = member::run(context, rules, known, shutdown).await {
                warn!("controller of members did not start: {}", describe(&error));
            }
        });
    }

    fn watch_policies(
        &self,
        work: &mut JoinSet<()>,
        writer: reflector::store::Writer<DistributionPolicy>,
        listed: watch::Sender<bool>,
        roster: Arc<Roster>,
        shutdown: watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let beat = self.freshness.register(LOCAL, "distributionpolicies");
        let api: Api<DistributionPolicy> = Api::all(self.connector.client(Some(beat))?);
        let seconds = u32::try_from(self.settings.watch_timeout.as_secs()).unwrap_or(60);
        let mut changes = watcher(api, watcher::Config::default().timeout(seconds))
            .backoff(backoff())
            .reflect(writer)
            .boxed();
        work.spawn(async move {
            let follow = async {
                while let Some(event) = changes.next().await {
                    match event {
                        Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                        Ok(event) => {
                            if let watcher::Event::InitDone = event {
                                listed.send_replace(true);
                            }
                            roster.all();
                        }
                        Err(error) => {
                            warn!(cluster = LOCAL, watch = "distributionpolicies", "{}", fault(&error))
                        }
                    }
                }
            };
            tokio::select! {
                () = follow => {}
                () = stopped(shutdown) => {}
            }
        });
        Ok(())
    }
}

fn run_kind<K: Credential>(
    work: &mut JoinSet<()>,
    context: &Arc<Context>,
    index: Arc<Index<K>>,
    shutdown: &watch::Receiver<bool>,
) {
    let (context, shutdown) = (context.clone(), shutdown.clone());
    work.spawn(async move {
        if let Err(error) = controller::run(context, index, shutdown).await {
            warn!("controller did not start: {}", describe(&error));
        }
    });
}

/// Turns true at SIGTERM or SIGINT.
fn stop_signal() -> io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        sender.send_replace(true);
        // Held to the end: a receiver whose sender is gone waits for nothing.
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|down| *down).await.is_err() {
        std::future::pending::<()>().await;
    }
}
