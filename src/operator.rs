//! One process, from its start to its end: health, leadership, clusters, loops.

use std::{io, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tracing::{info, warn};

use crate::{
    api::CredentialKind,
    cli::{Settings, SettingsError},
    cluster::{ClusterOptions, Connector, Timeouts, describe},
    controller::{
        Context,
        clusters::ClusterRegistry,
        context::{Finalized, Stores},
        credential::CredentialLoop,
        credentials::Credentials,
        desired::DesiredStates,
        events::Events,
        keys::Queues,
        member::{Adoption, MemberIndex, MemberLoop},
        outcomes::Outcomes,
        policies::Policies,
        router::{self, Router},
        status::StatusLoop,
        sweep,
        sync::SyncLoop,
    },
    domain::{
        fingerprint::FingerprintKey,
        ownership::Hub,
        schedule::{SHUTDOWN_GRACE, WATCH_RETRY},
        selection::LOCAL,
    },
    leader::{self, Elector, Leadership},
    queue::{Key, Next, Queue, Work},
    supervisor::{Supervisor, TaskEnded},
    telemetry::{Freshness, Health, Metrics, server},
};

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
    /// A task of the background ended that must not; its name, and how.
    #[error("{0}")]
    Task(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

impl From<TaskEnded> for Error {
    fn from(ended: TaskEnded) -> Self {
        Self::Task(ended.to_string())
    }
}

/// Runs until a signal to stop, the loss of leadership, or the end of a task that must not end.
///
/// # Errors
/// See [`Error`].
pub async fn run(settings: Settings) -> Result<(), Error> {
    let stop = stop_signal().map_err(Error::Signals)?;
    let (supervisor, mut failures) = Supervisor::new();
    let freshness = Freshness::new();
    let metrics = Arc::new(Metrics::new(freshness.clone()));
    let health = Arc::new(Health::new(freshness.clone(), settings.stale_after()));
    let listener = TcpListener::bind(settings.listen_address)
        .await
        .map_err(|source| Error::Listen { address: settings.listen_address, source })?;
    let serve = server::serve(listener, health.clone(), metrics.clone(), stopped(stop.clone()));
    supervisor.spawn("server of health and metrics", serve);
    info!(version = env!("CARGO_PKG_VERSION"), address = %settings.listen_address, "started");

    let timeouts = Timeouts { watch: settings.watch_timeout, request: settings.request_timeout };
    let connector = Connector::new(settings.local_config().await?, timeouts, LOCAL.into(), metrics.clone());
    let process = Process { settings, connector, freshness, metrics, health, supervisor };
    let Some(leadership) = process.become_leader(stop.clone(), &mut failures).await? else { return Ok(()) };
    process.metrics.set_leader(true);
    let leads = leadership.as_ref().map(Leadership::guard);
    let may_write: Arc<dyn Fn() -> bool + Send + Sync> =
        Arc::new(move || leads.as_ref().is_none_or(|leads| leads()));
    let Some(mut work) = process.start(may_write, stop.clone(), &mut failures).await? else { return Ok(()) };
    let lost: BoxFuture<'_, ()> = match &leadership {
        Some(leadership) => Box::pin(leadership.lost()),
        None => Box::pin(std::future::pending()),
    };
    let outcome = tokio::select! {
        () = stopped(stop) => Ok(()),
        () = lost => Err(Error::LeadershipLost),
        ended = failures.recv() => Err(ended_task(ended)),
        Some(ended) = work.loops.join_next() => Err(Error::Task(match ended {
            Err(error) if error.is_panic() => format!("a loop panicked: {error}"),
            _ => "a loop came to its end".to_owned(),
        })),
    };
    process.metrics.set_leader(false);
    if let Err(error) = outcome {
        // Whoever leads now is at work already: stop on the spot, not in an orderly manner.
        work.loops.abort_all();
        return Err(error);
    }
    info!("stopping");
    work.queues.close();
    let finish = async { while work.loops.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE, finish).await.is_err() {
        warn!("work in progress did not end in time");
        work.loops.abort_all();
    }
    if let Some(leadership) = leadership {
        leadership.release().await;
    }
    info!("stopped");
    Ok(())
}

fn ended_task(ended: Option<TaskEnded>) -> Error {
    ended.map_or_else(|| Error::Task("the supervisor ended".to_owned()), Error::from)
}

/// What the leader does.
struct Running {
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
    /// Waits for leadership. The outer `None` means that the signal to stop came first; the inner
    /// one that there is no election.
    async fn become_leader(
        &self,
        stop: watch::Receiver<bool>,
        failures: &mut mpsc::UnboundedReceiver<TaskEnded>,
    ) -> Result<Option<Option<Leadership>>, Error> {
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
        tokio::select! {
            acquired = Leadership::acquire(&mut elector, stopped(stop)) => Ok(acquired?.map(Some)),
            ended = failures.recv() => Err(ended_task(ended)),
        }
    }

    /// Who we are on copies: the id that was set, else the uid of `kube-system`. What carries that uid is ours in any
    /// case, so that an id can be set later.
    async fn hub(&self) -> Result<Hub, Error> {
        let namespaces: Api<Namespace> = Api::all(self.connector.client(None)?);
        let mut failures = 0;
        let uid = loop {
            match namespaces.get_metadata("kube-system").await {
                Ok(namespace) if namespace.metadata.uid.is_some() => break namespace.metadata.uid,
                Ok(_) => {}
                Err(error) => warn!("the uid of namespace kube-system cannot be read: {}", describe(&error)),
            }
            failures += 1;
            tokio::time::sleep(WATCH_RETRY.wait(failures, rand::random())).await;
        };
        let uid = uid.unwrap_or_default();
        let id = self.settings.hub_id.clone().unwrap_or_else(|| uid.clone());
        let former = self.settings.former_hub_ids.iter().cloned().chain([uid]);
        Ok(Hub::new(&id, former))
    }

    /// Starts everything that the leader does; `None` when the signal to stop came first.
    async fn start(
        &self,
        may_write: Arc<dyn Fn() -> bool + Send + Sync>,
        stop: watch::Receiver<bool>,
        failures: &mut mpsc::UnboundedReceiver<TaskEnded>,
    ) -> Result<Option<Running>, Error> {
        self.health.set_ready(false, "caches are being filled");
        let hub = tokio::select! {
            hub = self.hub() => Arc::new(hub?),
            () = stopped(stop) => return Ok(None),
            ended = failures.recv() => return Err(ended_task(ended)),
        };
        let queues = Arc::new(Queues::default());
        let index = Arc::new(MemberIndex::new(queues.clone()));
        let context = self.context(hub, may_write, &queues, &index)?;
        let (adopt, allow_insecure) = (self.settings.adopt.clone(), self.settings.allow_insecure_members);
        let members = Arc::new(MemberLoop::new(context.clone(), index.clone(), adopt, allow_insecure));
        let adoption = Arc::new(Adoption::new(members.clone()));

        let endless = |name: &str, task: BoxFuture<'static, ()>| self.supervisor.spawn_endless(name, task);
        endless("watch of DistributionPolicy", Box::pin(router::watch_policies(&context)?));
        endless("watch of MemberCluster", Box::pin(router::watch_members(&context, &index)?));
        for kind in CredentialKind::ALL {
            let watch = router::watch_kind(&context, *kind)?;
            endless(&format!("watch of {}", kind.name()), Box::pin(watch));
        }
        for (name, watch) in adoption.watches()? {
            endless(&format!("watch of {name}"), Box::pin(watch));
        }

        let mut loops = JoinSet::new();
        let started = members.clone();
        self.supervisor.spawn("start of members", async move { started.started().await });
        // The hub must be known before members are told from it.
        let ready = context.clone();
        let hub_known = move || {
            let context = ready.clone();
            async move { context.local().connectivity.filled().await }
        };
        run_loop(&mut loops, &queues.member, hub_known, move |key, ()| {
            let members = members.clone();
            async move { members.reconcile(key).await }
        });
        run_loop(
            &mut loops,
            &queues.adoption,
            || async {},
            move |key, ()| {
                let adoption = adoption.clone();
                async move { adoption.reconcile(key).await }
            },
        );
        let ready = context.clone();
        let filled = move || {
            let context = ready.clone();
            async move { context.filled().await }
        };
        let credentials = Arc::new(CredentialLoop::new(context.clone()));
        run_loop(&mut loops, &queues.credential, filled.clone(), move |key, ()| {
            let credentials = credentials.clone();
            async move { credentials.reconcile(key).await }
        });
        let syncs = Arc::new(SyncLoop::new(context.clone()));
        run_loop(&mut loops, &queues.sync, filled.clone(), move |key, dirty| {
            let syncs = syncs.clone();
            async move { syncs.sync(key, dirty).await }
        });
        let statuses = Arc::new(StatusLoop::new(context.clone()));
        run_loop(&mut loops, &queues.status, filled, move |key, ()| {
            let statuses = statuses.clone();
            async move { statuses.tell(key).await }
        });
        let (sweeping, interval) = (context.clone(), self.settings.sweep_interval);
        endless(
            "sweep",
            Box::pin(async move {
                sweeping.filled().await;
                sweep::run(sweeping, interval).await;
            }),
        );
        let health = self.health.clone();
        self.supervisor.spawn("start", async move {
            context.filled().await;
            while !context.stores.credentials.is_listed() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            health.set_ready(true, "caches are filled");
            info!("ready");
        });
        Ok(Some(Running { queues, loops }))
    }

    /// What all loops share.
    fn context(
        &self,
        hub: Arc<Hub>,
        may_write: Arc<dyn Fn() -> bool + Send + Sync>,
        queues: &Arc<Queues>,
        index: &Arc<MemberIndex>,
    ) -> Result<Arc<Context>, Error> {
        let settings = &self.settings;
        let stores = Arc::new(Stores {
            credentials: Credentials::default(),
            policies: Policies::new(&settings.namespace, settings.consent_grace_period),
            desired: DesiredStates::default(),
            outcomes: Outcomes::default(),
            finalized: Finalized::default(),
        });
        let router = Arc::new(Router::new(stores.clone(), queues.clone(), index.clone()));
        let mut random = [0; 32];
        rand::fill(&mut random);
        let fingerprints = Arc::new(FingerprintKey::new(random));
        let options = ClusterOptions {
            concurrency: settings.concurrency,
            may_write,
            hub: hub.clone(),
            probe_interval: settings.member_probe_interval,
            fingerprints: fingerprints.clone(),
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
            freshness: self.freshness.clone(),
            supervisor: self.supervisor.clone(),
            members_known: watch::Sender::new(false),
            resync_interval: settings.resync_interval,
            unreachable_grace: settings.unreachable_grace_period,
            sweep_grace: settings.sweep_grace_period,
        }))
    }
}

/// Works a queue off, once everything that its keys need is there. Until then there is nothing to finish, and what a
/// finish would wait for may never come.
fn run_loop<K: Key, W: Work, H, F, R, S>(
    loops: &mut JoinSet<()>,
    queue: &Arc<Queue<K, W>>,
    ready: R,
    handle: H,
) where
    H: Fn(K, W) -> F + Send + Sync + 'static,
    F: Future<Output = Next> + Send + 'static,
    R: FnOnce() -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let queue = queue.clone();
    loops.spawn(async move {
        tokio::select! {
            () = ready() => {}
            () = queue.closed() => return,
        }
        queue.run(handle).await;
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
