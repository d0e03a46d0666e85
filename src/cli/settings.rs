//! What the operator is told to do: the flags of `claviger run`, checked against each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroUsize, ParseIntError};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args};
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::{
    defaults::DefaultSettings,
    duration::at_least,
    references::ReferenceSettings,
    verification::{RegistryCaError, VerificationSettings},
    words,
};
use crate::domain::adoption::{Adopt, Scope};
use crate::domain::schedule::WATCHES_UNTIL_STALE;
use crate::leader;
use crate::telemetry::{LogFormat, logs};

const SECOND: Duration = Duration::from_secs(1);

/// The flags of `claviger run`, as given; [`Settings`] is what they come to.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    flags: Settings,
}

/// The settings of a running operator: its flags, and what some of them come to together.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// The operator's own namespace, with its lease, its keys and the kubeconfigs of member clusters
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    #[arg(default_value = "claviger-system", value_parser = NonEmptyStringValueParser::new())]
    pub namespace: String,

    /// A name that no other running operator has [default: a random one]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: Option<String>,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "CLAVIGER_LISTEN_ADDRESS", value_name = "IP:PORT", default_value = "0.0.0.0:8080")]
    pub listen_address: SocketAddr,

    /// Serve /metrics only to clients with a token of this cluster that may get the nonResourceURL /metrics
    #[arg(long, env = "CLAVIGER_METRICS_AUTHENTICATION", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = false)]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub metrics_authentication: bool,

    /// Format of log lines
    #[arg(long, env = "CLAVIGER_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// What is logged: a level, or levels per module such as info,claviger=debug
    #[arg(long = "log", env = "CLAVIGER_LOG", value_name = "FILTER")]
    #[arg(default_value = "info", value_parser = logs::check)]
    pub log_filter: String,

    /// Act only while holding the lease, so that several operators can run
    #[arg(long, env = "CLAVIGER_LEADER_ELECT", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = true)]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    leader_elect: bool,

    /// How long a standby waits after the leader's last renewal before it takes over
    #[arg(long, env = "CLAVIGER_LEASE_DURATION", value_name = "DURATION")]
    #[arg(default_value = "15s", value_parser = at_least(SECOND))]
    lease_duration: Duration,

    /// How long the leader tries to renew its lease before it stops
    #[arg(long, env = "CLAVIGER_LEASE_RENEW_DEADLINE", value_name = "DURATION")]
    #[arg(default_value = "10s", value_parser = at_least(SECOND / 10))]
    lease_renew_deadline: Duration,

    /// Time between two tries to acquire or renew the lease
    #[arg(long, env = "CLAVIGER_LEASE_RETRY_PERIOD", value_name = "DURATION")]
    #[arg(default_value = "2s", value_parser = at_least(SECOND / 100))]
    lease_retry_period: Duration,

    /// Concurrent writes per cluster
    #[arg(long, env = "CLAVIGER_CONCURRENCY", value_name = "COUNT")]
    #[arg(default_value = "32", value_parser = count)]
    pub concurrency: usize,

    /// How long one watch request lasts; a watch that is silent for longer counts as dead
    #[arg(long, env = "CLAVIGER_WATCH_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value = "60s", value_parser = at_least(5 * SECOND))]
    pub watch_timeout: Duration,

    /// How long any other request to an API server may take
    #[arg(long, env = "CLAVIGER_REQUEST_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value = "10s", value_parser = at_least(SECOND))]
    pub request_timeout: Duration,

    /// How often every credential is checked in full, even if nothing has changed
    #[arg(long, env = "CLAVIGER_RESYNC_INTERVAL", value_name = "DURATION")]
    #[arg(default_value = "10m", value_parser = at_least(SECOND))]
    pub resync_interval: Duration,

    /// How often copies whose credential is gone are swept, in addition to once at the start [default: the resync
    /// interval]
    #[arg(long = "sweep-interval", env = "CLAVIGER_SWEEP_INTERVAL", value_name = "DURATION")]
    #[arg(value_parser = at_least(SECOND))]
    own_sweep_interval: Option<Duration>,

    /// How long a DistributionPolicy must have been gone or changed before copies are removed for lack of consent;
    /// also counted from the start of the operator
    #[arg(long, env = "CLAVIGER_CONSENT_GRACE_PERIOD", value_name = "DURATION")]
    #[arg(default_value = "30s", value_parser = at_least(Duration::ZERO))]
    pub consent_grace_period: Duration,

    /// How long a credential must have been missing before its copies are swept
    #[arg(long, env = "CLAVIGER_SWEEP_GRACE_PERIOD", value_name = "DURATION")]
    #[arg(default_value = "10m", value_parser = at_least(Duration::ZERO))]
    pub sweep_grace_period: Duration,

    /// Threads that run the operator [default: 2, or 1 on a single core]
    #[arg(long, env = "CLAVIGER_WORKER_THREADS", value_name = "COUNT")]
    #[arg(default_value_t = default_threads(), hide_default_value = true, value_parser = count)]
    pub worker_threads: usize,

    /// The kubeconfig of the cluster named local [default: $KUBECONFIG or ~/.kube/config, else the
    /// Pod's service account]
    #[arg(long, env = "CLAVIGER_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context in that kubeconfig [default: its current one]
    #[arg(long, env = "CLAVIGER_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// Id of this cluster, written on every copy as its origin; keep it when you rebuild the cluster [default: the
    /// uid of its namespace kube-system]
    #[arg(long, env = "CLAVIGER_HUB_ID", value_name = "ID", value_parser = words::id)]
    pub hub_id: Option<String>,

    /// Former ids of this cluster: copies with these ids are taken over and get the present id: a,b
    #[arg(long, env = "CLAVIGER_FORMER_HUB_IDS", value_name = "IDS")]
    #[arg(value_delimiter = ',', value_parser = words::id)]
    pub former_hub_ids: Vec<String>,

    /// Labels of the cluster named local, for cluster selectors: tier=hub,region=eu
    #[arg(long, env = "CLAVIGER_CLUSTER_LABELS", value_name = "KEY=VALUE,..")]
    #[arg(default_value = "", hide_default_value = true, value_parser = words::labels)]
    pub cluster_labels: BTreeMap<String, String>,

    /// How long a member cluster must have been unreachable before deletions go on without it
    #[arg(long, env = "CLAVIGER_UNREACHABLE_GRACE_PERIOD", value_name = "DURATION")]
    #[arg(default_value = "1h", value_parser = at_least(SECOND))]
    pub unreachable_grace_period: Duration,

    /// How often the API server of a member cluster is probed
    #[arg(long, env = "CLAVIGER_MEMBER_PROBE_INTERVAL", value_name = "DURATION")]
    #[arg(default_value = "10s", value_parser = at_least(SECOND))]
    pub member_probe_interval: Duration,

    /// Create a MemberCluster for each cluster that Argo CD has a Secret for in this namespace
    #[arg(long, env = "CLAVIGER_ADOPT_ARGOCD_CLUSTERS", value_name = "NAMESPACE")]
    #[arg(value_parser = words::namespace)]
    adopt_argocd_clusters: Option<String>,

    /// Create a MemberCluster for each cluster that Cluster API has a kubeconfig Secret for in this namespace; *
    /// means all namespaces
    #[arg(long, env = "CLAVIGER_ADOPT_CLUSTER_API", value_name = "NAMESPACE")]
    #[arg(value_parser = words::namespace_or_all)]
    adopt_cluster_api: Option<String>,

    /// Accept kubeconfigs with insecure-skip-tls-verify or http:// too: anybody on the network path can read every
    /// credential
    #[arg(long, env = "CLAVIGER_ALLOW_INSECURE_MEMBERS", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = false)]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub allow_insecure_members: bool,

    /// Which objects count as users of Secrets.
    #[command(flatten)]
    pub references: ReferenceSettings,

    /// Whether Secrets are attached to ServiceAccounts.
    #[command(flatten)]
    pub defaults: DefaultSettings,

    /// Which servers are asked whether they take a credential.
    #[command(flatten)]
    pub verification: VerificationSettings,

    /// None: act at once, without a lease.
    #[arg(skip)]
    pub leader_election: Option<LeaderElection>,

    /// How often copies without a credential are swept.
    #[arg(skip)]
    pub sweep_interval: Duration,

    /// Whose clusters become members by themselves.
    #[arg(skip)]
    pub adopt: Adopt,
}

/// How this process runs for leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderElection {
    /// Who we are: unique among running operators.
    pub identity: String,
    /// Durations of lease, renewal and retry.
    pub timing: leader::Timing,
}

/// Why flags do not go together, or the cluster `local` is not known.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The times of leader election contradict each other.
    #[error("leader election: {0}")]
    Timing(&'static str),
    /// The kubeconfig that was named cannot be used.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// The authorities of registries cannot be used.
    #[error("--registry-ca: {0}")]
    RegistryCa(#[from] RegistryCaError),
    /// Neither a kubeconfig nor a Pod's service account was found.
    #[error("no cluster to work in: {0}")]
    Infer(#[from] InferConfigError),
}

impl Settings {
    /// How old the last good answer of a watch of `local` may grow before liveness fails.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        self.watch_timeout * WATCHES_UNTIL_STALE
    }

    /// Where the cluster `local` is: the kubeconfig or context that was named, else as kube
    /// infers it from `KUBECONFIG`, `~/.kube/config` and the Pod's service account.
    ///
    /// # Errors
    /// A kubeconfig that cannot be read, or none at all.
    pub async fn local_config(&self) -> Result<kube::Config, SettingsError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        Ok(match (&self.kubeconfig, &self.context) {
            (Some(path), _) => {
                let kubeconfig = Kubeconfig::read_from(path)?;
                kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?
            }
            (None, Some(_)) => kube::Config::from_kubeconfig(&options).await?,
            (None, None) => kube::Config::infer().await?,
        })
    }
}

impl TryFrom<RunArgs> for Settings {
    type Error = SettingsError;

    fn try_from(RunArgs { flags: mut settings }: RunArgs) -> Result<Self, SettingsError> {
        if settings.leader_elect {
            let timing = leader::Timing {
                lease_duration: settings.lease_duration,
                renew_deadline: settings.lease_renew_deadline,
                retry_period: settings.lease_retry_period,
            };
            timing.check().map_err(SettingsError::Timing)?;
            let identity = settings.identity.take().filter(|i| !i.is_empty()).unwrap_or_else(random_identity);
            settings.leader_election = Some(LeaderElection { identity, timing });
        }
        settings.sweep_interval = settings.own_sweep_interval.unwrap_or(settings.resync_interval);
        // A chart sets empty variables for values that are not given.
        settings.context = settings.context.filter(|context| !context.is_empty());
        settings.hub_id = settings.hub_id.filter(|id| !id.is_empty());
        settings.former_hub_ids.retain(|id| !id.is_empty());
        settings.adopt = Adopt {
            argocd: settings.adopt_argocd_clusters.take().filter(|namespace| !namespace.is_empty()),
            cluster_api: settings.adopt_cluster_api.as_deref().and_then(Scope::of),
        };
        Ok(settings)
    }
}

fn count(text: &str) -> Result<usize, ParseIntError> {
    text.parse().map(NonZeroUsize::get)
}

/// For processes outside a Pod, several of which may share a host.
fn random_identity() -> String {
    format!("claviger-{:016x}", rand::random::<u64>())
}

/// The work is waiting for API servers: more than two threads cost memory and gain nothing.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;
    use crate::domain::reference_kind::ReferencePolicy;
    use crate::domain::schedule::WATCH_TIMEOUT;

    fn settings(flags: &[&str]) -> Result<Settings, String> {
        let line = ["claviger", "run"].iter().chain(flags);
        let cli = Cli::try_parse_from(line).map_err(|e| e.to_string())?;
        let Command::Run(args) = cli.command else { return Err("not run".into()) };
        Settings::try_from(*args).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_manual() {
        let settings = settings(&["--namespace=ops", "--identity=pod-1"]).unwrap();
        let election = settings.leader_election.clone().unwrap();
        assert_eq!(election.identity, "pod-1");
        assert_eq!(election.timing, leader::Timing::default());
        assert_eq!(settings.concurrency, 32);
        assert_eq!(settings.watch_timeout, WATCH_TIMEOUT);
        assert_eq!(settings.stale_after(), Duration::from_secs(180));
        assert_eq!(settings.resync_interval, Duration::from_secs(600));
        assert_eq!(settings.sweep_interval, settings.resync_interval);
        assert_eq!(settings.listen_address, ([0, 0, 0, 0], 8080).into());
        assert!(!settings.metrics_authentication);
        assert!((1..=2).contains(&settings.worker_threads));
        assert_eq!(settings.log_format, LogFormat::Json);
        assert_eq!((settings.hub_id, settings.cluster_labels), (None, BTreeMap::new()));
        assert_eq!(settings.unreachable_grace_period, Duration::from_secs(3600));
        assert_eq!(settings.member_probe_interval, Duration::from_secs(10));
        assert_eq!(settings.adopt, Adopt::default());
        assert!(!settings.allow_insecure_members);
        assert!(settings.references.policy() == ReferencePolicy::default() && settings.defaults.defaults);
        assert!(settings.verification.outbound().is_ok() && !settings.verification.no_verification);
    }

    #[test]
    fn what_concerns_other_clusters_is_read() {
        let settings = settings(&[
            "--hub-id=hub-eu",
            "--former-hub-ids=old,older",
            "--cluster-labels=env=prod, example.com/tier=,",
            "--adopt-argocd-clusters=argocd",
            "--adopt-cluster-api=*",
            "--allow-insecure-members",
        ])
        .unwrap();
        assert_eq!(settings.hub_id.as_deref(), Some("hub-eu"));
        assert_eq!(settings.former_hub_ids, ["old", "older"]);
        let labels = [("env", "prod"), ("example.com/tier", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(settings.cluster_labels, BTreeMap::from(labels));
        assert_eq!(settings.adopt.argocd.as_deref(), Some("argocd"));
        assert_eq!(settings.adopt.cluster_api, Some(Scope::All));
        assert!(settings.allow_insecure_members);
        // A chart sets empty variables for values that are not given.
        let empty = self::settings(&[
            "--hub-id=",
            "--former-hub-ids=",
            "--cluster-labels=",
            "--adopt-argocd-clusters=",
            "--adopt-cluster-api=",
        ])
        .unwrap();
        assert_eq!((empty.hub_id, empty.adopt), (None, Adopt::default()));
    }

    #[test]
    fn leader_election_can_be_switched_off() {
        assert_eq!(settings(&["--leader-elect=false"]).unwrap().leader_election, None);
        assert!(settings(&["--leader-elect"]).unwrap().leader_election.is_some());
        let one = settings(&[]).unwrap().leader_election.unwrap().identity;
        let other = settings(&[]).unwrap().leader_election.unwrap().identity;
        assert_ne!(one, other);
    }

    #[test]
    fn flags_are_read() {
        let settings = settings(&[
            "--watch-timeout=5s",
            "--log-format=text",
            "--worker-threads=1",
            "--context=",
            "--metrics-authentication",
        ])
        .unwrap();
        assert!(settings.metrics_authentication);
        assert_eq!(settings.stale_after(), Duration::from_secs(15));
        assert_eq!(settings.log_format, LogFormat::Text);
        assert_eq!(settings.worker_threads, 1);
        assert_eq!(settings.context, None);
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_sentence() {
        for (flag, sentence) in [
            ("--lease-duration=5s", "lease duration must be longer than the renew deadline"),
            ("--watch-timeout=4s", "must be at least 5s"),
            ("--watch-timeout=60", "such as 90s, 10m or 1h30m"),
            ("--log=claviger=loud", "is not valid"),
            ("--concurrency=0", "number would be zero"),
            ("--hub-id=-hub", "letters, digits, '-', '_' and '.'"),
            ("--cluster-labels=prod", "as key=value"),
            ("--cluster-labels=env=a b", "is not a valid label value"),
            ("--cluster-labels=/env=a", "is not a valid label key"),
            ("--cluster-labels=env=a,env=b", "given twice"),
            ("--unreachable-grace-period=10ms", "must be at least 1s"),
            ("--member-probe-interval=0s", "must be at least 1s"),
            ("--adopt-argocd-clusters=*", "not a valid namespace name"),
            ("--adopt-cluster-api=Teams", "not a valid namespace name"),
            ("--allow-insecure-members=perhaps", "invalid value"),
            ("--allowed-registries=https://quay.io", "is not a host[:port]"),
            ("--private-registries=10.0.0.0/8", "is not a host[:port]"),
            ("--block-on=pods,ingress", "'ingress' is not one of pods, workloads"),
            ("--references=all", "'all' is not one of pods, workloads"),
        ] {
            let error = settings(&[flag]).unwrap_err();
            assert!(error.contains(sentence), "{flag}: {error}");
        }
    }

    #[test]
    fn registries_are_not_asked_when_that_is_said() {
        let off = settings(&["--no-verification"]).unwrap().verification;
        assert!(off.no_verification);
        let missing = settings(&["--registry-ca=/nowhere/ca.crt"]).unwrap().verification;
        let error = missing.outbound().err().unwrap().to_string();
        assert!(error.contains("/nowhere/ca.crt"), "{error}");
        let empty = settings(&["--allowed-registries=", "--private-registries="]).unwrap().verification;
        assert!(empty.outbound().is_ok());
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_named() {
        let settings = settings(&["--kubeconfig=/nowhere/config"]).unwrap();
        let error = settings.local_config().await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/config"), "{error}");
    }
}
