//! One process, from its start to its end: health, leadership, clusters, loops.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, pending},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use thiserror::Error;
use tokio::{net::TcpListener, sync::SetOnce, task::JoinSet};
use tracing::{info, warn};

use crate::{
    cli::{LeaderElection, Settings, SettingsError},
    cluster::{ClusterOptions, Connector, Timeouts, describe},
    controller::{
        Context,
        clouds::Clouds,
        clusters::ClusterRegistry,
        context::Stores,
        credential::CredentialLoop,
        credentials::Credentials,
        defaults::Defaults,
        desired::DesiredStates,
        events::Events,
        hashing::Hashing,
        keys::Queues,
        member::{Adoption, MemberLoop},
        members::MemberIndex,
        minting::Minting,
        outcomes::Outcomes,
        policies::Policies,
        policy::PolicyLoop,
        router::{self, Router},
        status::StatusLoop,
        sweep,
        sync::SyncLoop,
        verifications::Verifications,
    },
    domain::{
        fingerprint::FingerprintKey,
        ownership::Hub,
        schedule::{SHUTDOWN_GRACE, WATCH_RETRY},
        selection::LOCAL,
    },
    leader::{self, Elector, Leadership},
    provider::{Minter, Verifier},
    supervisor::Supervisor,
    telemetry::{Authenticator, Freshness, Health, Metrics, Server},
};

/// The name of the Lease.
const LEASE: &str = "claviger";

/// Resolves at SIGTERM or SIGINT.
type Stop = Shared<BoxFuture<'static, ()>>;

/// Why the operator ended.
#[derive(Debug, Error)]
pub enum Error {
    /// The address for health and metrics cannot be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
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
    Client(#[from] kube::Error),
    /// The lease could not be used.
    #[error("leader election: {0}")]
    Leader(#[from] leader::Error),
    /// Somebody else leads now, or the lease could not be renewed: to go on would be two at work.
    #[error("leadership was lost")]
    LeadershipLost,
    /// A task of the background ended that must not; its name, and how.
    #[error("{0}")]
    Task(String),
}

/// Runs until a signal to stop, the loss of leadership, or the end of a task that must not end.
///
/// # Errors
/// See [`Error`].
pub async fn run(settings: Settings) -> Result<(), Error> {
    let stop = stop_signal().map_err(Error::Signals)?;
    let (supervisor, mut failures) = Supervisor::new();
    let freshness = Freshness::default();
    let metrics = Arc::new(Metrics::new(freshness.clone()));
    let health = Arc::new(Health::new(freshness.clone(), settings.stale_after()));
    let address = settings.listen_address;
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    info!(version = env!("CARGO_PKG_VERSION"), %address, "started");

    let timeouts = Timeouts { watch: settings.watch_timeout, request: settings.request_timeout };
    let config = settings.local_config().await?;
    let connector = Connector::new(config, timeouts, LOCAL.into(), metrics.clone(), freshness.clone());
    let authenticates = settings.metrics_authentication;
    let client = authenticates.then(|| connector.client(None)).transpose()?;
    let server = Server::new(health.clone(), metrics.clone(), client.map(Authenticator::new));
    supervisor.spawn("server of health and metrics", server.serve(listener, stop.clone()));
    let process = Process { settings, connector, freshness, metrics, health, supervisor };
    let started = tokio::select! {
        started = process.start(stop.clone()) => started?,
        Some(ended) = failures.recv() => return Err(Error::Task(ended)),
    };
    let Some(Running { leadership, queues, mut loops }) = started else { return Ok(()) };
    let lost = async {
        match &leadership {
            Some(leadership) => leadership.lost().await,
            None => pending().await,
        }
    };
    let outcome = tokio::select! {
        () = stop => Ok(()),
        () = lost => Err(Error::LeadershipLost),
        Some(ended) = failures.recv() => Err(Error::Task(ended)),
        Some(ended) = loops.join_next() => Err(Error::Task(match ended {
            Err(error) if error.is_panic() => format!("a loop panicked: {error}"),
            _ => "a loop ended".to_owned(),
        })),
    };
    process.metrics.set_leader(false);
    if let Err(error) = outcome {
        // Whoever leads now is at work already: stop on the spot, not in an orderly manner.
        loops.abort_all();
        return Err(error);
    }
    info!("stopping");
    queues.close();
    let finish = async { while loops.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE, finish).await.is_err() {
        warn!("work in progress did not end in time");
        loops.abort_all();
    }
    if let Some(leadership) = leadership {
        leadership.release().await;
    }
    info!("stopped");
    Ok(())
}

/// What the leader does.
struct Running {
    /// None when there is no election.
    leadership: Option<Leadership>,
    queues: Arc<Queues>,
    loops: JoinSet<()>,
}

struct Process {
    settings: Settings,
    connector: Connector,
    freshness: Freshness,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    supervisor: Supervisor,
}

impl Process {
    /// Who we are on copies: the id that was set, else the uid of `kube-system`. What carries that uid is ours in any
    /// case, so that an id can be set later.
    async fn hub(&self) -> Result<Hub, Error> {
        let namespaces: Api<Namespace> = Api::all(self.connector.client(None)?);
        let mut failures = 0;
        let uid = loop {
            match namespaces.get_metadata("kube-system").await {
                Ok(namespace) => {
                    if let Some(uid) = namespace.metadata.uid {
                        break uid;
                    }
                }
                Err(error) => warn!("the uid of namespace kube-system cannot be read: {}", describe(&error)),
            }
            failures += 1;
            tokio::time::sleep(WATCH_RETRY.wait(failures, rand::random())).await;
        };
        let id = self.settings.hub_id.clone().unwrap_or_else(|| uid.clone());
        let former = self.settings.former_hub_ids.iter().cloned().chain([uid]);
        Ok(Hub::new(&id, former))
    }

    /// Waits for leadership, then starts everything that the leader does; `None` when the signal to stop came first.
    async fn start(&self, stop: Stop) -> Result<Option<Running>, Error> {
        let mut leadership = None;
        if let Some(LeaderElection { identity, timing }) = &self.settings.leader_election {
            self.health.set_ready(Ok(()));
            let client = self.connector.client(None)?;
            let mut elector = Elector::new(client, &self.settings.namespace, LEASE, identity, *timing);
            leadership = Leadership::acquire(&mut elector, stop.clone()).await?;
            if leadership.is_none() {
                return Ok(None);
            }
        }
        self.metrics.set_leader(true);
        self.health.set_ready(Err("caches are being filled"));
        let hub = tokio::select! {
            hub = self.hub() => Arc::new(hub?),
            () = stop => return Ok(None),
        };
        let may_write: Arc<dyn Fn() -> bool + Send + Sync> = match &leadership {
            Some(leadership) => Arc::new(leadership.guard()),
            None => Arc::new(|| true),
        };
        let queues = Arc::new(Queues::default());
        let outbound = self.settings.verification.outbound().map_err(SettingsError::from)?;
        let context = self.context(hub, may_write, &queues)?;
        let members = Arc::new(MemberLoop::new(context.clone()));
        let adoption = Arc::new(Adoption::new(context.clone()));

        let supervisor = &self.supervisor;
        router::watch(&context)?;
        adoption.watch()?;
        supervisor.spawn("start of members", members.clone().started());

        let credentials = Arc::new(CredentialLoop::new(context.clone()));
        let syncs = Arc::new(SyncLoop::new(context.clone()));
        let statuses = Arc::new(StatusLoop::new(context.clone()));
        let policies = Arc::new(PolicyLoop::new(context.clone()));
        let local = context.local().clone();
        // The hub must be known before members are told from it.
        let hub_known = async move { local.connectivity.filled().await };
        let filled = || context.clone().filled();
        let mut loops = JoinSet::new();
        loops.spawn(queues.member.clone().run(hub_known, move |key, ()| members.clone().reconcile(key)));
        loops.spawn(queues.adoption.clone().run(async {}, move |key, ()| adoption.clone().reconcile(key)));
        loops.spawn(
            queues.credential.clone().run(filled(), move |key, ()| credentials.clone().reconcile(key)),
        );
        let hashing = context.stores.hashing.clone();
        loops.spawn(queues.hash.clone().run(async {}, move |key, ()| hashing.clone().work(key)));
        let verifier = Arc::new(Verifier::new(outbound.clone()));
        let verifications = context.stores.verifications.clone();
        let verify = move |key, ()| {
            let verifier = verifier.clone();
            verifications.clone().work(|login| async move { verifier.verify(login).await }, key)
        };
        loops.spawn(queues.verification.clone().run(async {}, verify));
        let clouds = Arc::new(Clouds::new(Minter::new(outbound), context.local().clone()));
        let minting = context.stores.minting.clone();
        let mint = move |key, ()| {
            let clouds = clouds.clone();
            let mint = |grant, namespace: Arc<str>| async move { clouds.mint(grant, &namespace).await };
            minting.clone().work(mint, key)
        };
        loops.spawn(queues.mint.clone().run(async {}, mint));
        loops.spawn(queues.sync.clone().run(filled(), move |key, dirty| syncs.clone().sync(key, dirty)));
        loops.spawn(queues.status.clone().run(filled(), move |key, ()| statuses.clone().tell(key)));
        loops.spawn(queues.policy.clone().run(filled(), move |key, ()| policies.clone().tell(key)));
        let (filled, sweep) = (filled(), sweep::run(context.clone(), self.settings.sweep_interval));
        supervisor.spawn_endless("sweep", filled.then(|()| sweep));
        let health = self.health.clone();
        supervisor.spawn("start", async move {
            context.clone().filled().await;
            while !context.stores.credentials.is_listed() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            health.set_ready(Ok(()));
            info!("ready");
        });
        Ok(Some(Running { leadership, queues, loops }))
    }

    /// What all loops share.
    fn context(
        &self,
        hub: Arc<Hub>,
        may_write: Arc<dyn Fn() -> bool + Send + Sync>,
        queues: &Arc<Queues>,
    ) -> Result<Arc<Context>, Error> {
        let settings = &self.settings;
        let fingerprints = Arc::new(FingerprintKey::new(rand::random()));
        let verifications = Arc::new(Verifications::new(
            settings.verification.no_verification,
            queues.clone(),
            self.metrics.clone(),
        ));
        let (prints, metrics) = (fingerprints.clone(), self.metrics.clone());
        let minting = Arc::new(Minting::new(queues.clone(), prints, metrics));
        let stores = Arc::new(Stores {
            credentials: Credentials::default(),
            policies: Policies::new(&settings.namespace, settings.consent_grace_period),
            members: MemberIndex::new(queues.clone()),
            hashing: Arc::new(Hashing::new(queues.clone())),
            verifications,
            minting,
            desired: DesiredStates::default(),
            defaults: Defaults::new(settings.defaults.defaults),
            outcomes: Outcomes::default(),
        });
        let router = Arc::new(Router::new(stores.clone(), queues.clone()));
        let options = ClusterOptions {
            concurrency: settings.concurrency,
            may_write,
            hub: hub.clone(),
            probe_interval: settings.member_probe_interval,
            fingerprints: fingerprints.clone(),
            references: settings.references.policy(),
            accounts: stores.defaults.names(),
            handler: router.clone(),
            metrics: self.metrics.clone(),
            freshness: self.freshness.clone(),
            stale_after: settings.stale_after(),
            supervisor: self.supervisor.clone(),
        };
        let labels = settings.cluster_labels.clone();
        let clusters = Arc::new(ClusterRegistry::new(options, self.connector.clone(), labels)?);
        router.set_clusters(&clusters);
        let election = settings.leader_election.as_ref();
        let instance = election.map_or_else(|| "claviger".to_owned(), |election| election.identity.clone());
        Ok(Arc::new(Context {
            namespace: settings.namespace.as_str().into(),
            hub,
            connector: self.connector.clone(),
            events: Events::new(clusters.local().connection.client(), instance),
            clusters,
            stores,
            queues: queues.clone(),
            fingerprints,
            metrics: self.metrics.clone(),
            supervisor: self.supervisor.clone(),
            members_known: SetOnce::new(),
            adopt: settings.adopt.clone(),
            allow_insecure_members: settings.allow_insecure_members,
            resync_interval: settings.resync_interval,
            unreachable_grace: settings.unreachable_grace_period,
            sweep_grace: settings.sweep_grace_period,
        }))
    }
}

#[cfg(unix)]
fn stop_signal() -> io::Result<Stop> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(stop.boxed().shared())
}

/// Windows has the plugin, which is the same program; an operator that is started there ends with its terminal.
#[cfg(not(unix))]
fn stop_signal() -> io::Result<Stop> {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            pending().await
        }
    };
    Ok(interrupt.boxed().shared())
}
