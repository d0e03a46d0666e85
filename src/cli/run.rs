//! The flags of `claviger run`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args};

use super::duration::at_least;
use super::words;
use crate::telemetry::{LogFormat, logs};

const SECOND: Duration = Duration::from_secs(1);

/// The flags of `claviger run`, as given; [`super::Settings`] is what they come to.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The operator's own namespace: its lease, its keys and the kubeconfigs of member clusters
    #[arg(
        long,
        env = "POD_NAMESPACE",
        value_name = "NAME",
        default_value = "claviger-system",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub namespace: String,

    /// A name that no other running operator has; a random one when not set
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub identity: Option<String>,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "CLAVIGER_LISTEN_ADDRESS", value_name = "IP:PORT", default_value = "0.0.0.0:8080")]
    pub listen_address: SocketAddr,

    /// How log lines look
    #[arg(long, env = "CLAVIGER_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// What is logged: a level, or levels per module such as info,claviger=debug
    #[arg(
        long,
        env = "CLAVIGER_LOG",
        value_name = "FILTER",
        default_value = "info",
        value_parser = logs::check
    )]
    pub log: String,

    /// Act only while holding the lease, so that several operators can run
    #[arg(
        long,
        env = "CLAVIGER_LEADER_ELECT",
        value_name = "BOOL",
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true
    )]
    pub leader_elect: bool,

    /// How long a standby waits, after the last sign of the leader, before it takes over
    #[arg(
        long,
        env = "CLAVIGER_LEASE_DURATION",
        value_name = "DURATION",
        default_value = "15s",
        value_parser = at_least(SECOND)
    )]
    pub lease_duration: Duration,

    /// A leader that could not renew its lease for this long stops
    #[arg(
        long,
        env = "CLAVIGER_LEASE_RENEW_DEADLINE",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = at_least(SECOND / 10)
    )]
    pub lease_renew_deadline: Duration,

    /// Between two tries to acquire or renew the lease
    #[arg(
        long,
        env = "CLAVIGER_LEASE_RETRY_PERIOD",
        value_name = "DURATION",
        default_value = "2s",
        value_parser = at_least(SECOND / 100)
    )]
    pub lease_retry_period: Duration,

    /// Writes in flight at once, per cluster
    #[arg(long, env = "CLAVIGER_CONCURRENCY", value_name = "COUNT", default_value = "32")]
    pub concurrency: NonZeroUsize,

    /// How long one watch request lasts; a watch silent for longer is taken for dead
    #[arg(
        long,
        env = "CLAVIGER_WATCH_TIMEOUT",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = at_least(5 * SECOND)
    )]
    pub watch_timeout: Duration,

    /// How long any other request to an API server may take
    #[arg(
        long,
        env = "CLAVIGER_REQUEST_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = at_least(SECOND)
    )]
    pub request_timeout: Duration,

    /// How often every credential is gone through in full, also when nothing happened
    #[arg(
        long,
        env = "CLAVIGER_RESYNC_INTERVAL",
        value_name = "DURATION",
        default_value = "10m",
        value_parser = at_least(SECOND)
    )]
    pub resync_interval: Duration,

    /// How often copies whose credential is gone are swept; also done at start [default: as often
    /// as the resync]
    #[arg(
        long,
        env = "CLAVIGER_SWEEP_INTERVAL",
        value_name = "DURATION",
        value_parser = at_least(SECOND)
    )]
    pub sweep_interval: Option<Duration>,

    /// How long a DistributionPolicy must have been gone or changed before copies are taken back for
    /// lack of consent; also counted from the start
    #[arg(
        long,
        env = "CLAVIGER_CONSENT_GRACE_PERIOD",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = at_least(Duration::ZERO)
    )]
    pub consent_grace_period: Duration,

    /// How long a credential must have been missing before its copies are swept
    #[arg(
        long,
        env = "CLAVIGER_SWEEP_GRACE_PERIOD",
        value_name = "DURATION",
        default_value = "10m",
        value_parser = at_least(Duration::ZERO)
    )]
    pub sweep_grace_period: Duration,

    /// Threads that run the operator [default: 2, or 1 on a single core]
    #[arg(long, env = "CLAVIGER_WORKER_THREADS", value_name = "COUNT")]
    pub worker_threads: Option<NonZeroUsize>,

    /// The kubeconfig of the cluster named local [default: $KUBECONFIG or ~/.kube/config, else the
    /// Pod's service account]
    #[arg(long, env = "CLAVIGER_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context in that kubeconfig [default: its current one]
    #[arg(long, env = "CLAVIGER_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// What this cluster is called on every copy, as the one that they come from; keep it when the
    /// cluster is rebuilt [default: the uid of its namespace kube-system]
    #[arg(long, env = "CLAVIGER_HUB_ID", value_name = "ID", value_parser = words::id)]
    pub hub_id: Option<String>,

    /// Ids under which this cluster has written copies before: they are taken over, and get the
    /// present id: a,b
    #[arg(
        long,
        env = "CLAVIGER_FORMER_HUB_IDS",
        value_name = "IDS",
        value_delimiter = ',',
        value_parser = words::id
    )]
    pub former_hub_ids: Vec<String>,

    /// Labels of the cluster named local, for cluster selectors: tier=hub,region=eu
    #[arg(
        long,
        env = "CLAVIGER_CLUSTER_LABELS",
        value_name = "KEY=VALUE,..",
        default_value = "",
        hide_default_value = true,
        value_parser = words::labels
    )]
    pub cluster_labels: BTreeMap<String, String>,

    /// How long a member cluster must have been unreachable before deletions go on without it
    #[arg(
        long,
        env = "CLAVIGER_UNREACHABLE_GRACE_PERIOD",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = at_least(SECOND)
    )]
    pub unreachable_grace_period: Duration,

    /// How often the API server of a member cluster is asked whether it is there
    #[arg(
        long,
        env = "CLAVIGER_MEMBER_PROBE_INTERVAL",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = at_least(SECOND)
    )]
    pub member_probe_interval: Duration,

    /// Make a MemberCluster of each cluster that Argo CD knows, by its Secrets in this namespace
    #[arg(
        long,
        env = "CLAVIGER_ADOPT_ARGOCD_CLUSTERS",
        value_name = "NAMESPACE",
        value_parser = words::namespace
    )]
    pub adopt_argocd_clusters: Option<String>,

    /// Make a MemberCluster of each cluster that Cluster API made, by its kubeconfig Secrets in this
    /// namespace; * means all namespaces
    #[arg(
        long,
        env = "CLAVIGER_ADOPT_CLUSTER_API",
        value_name = "NAMESPACE",
        value_parser = words::namespace_or_all
    )]
    pub adopt_cluster_api: Option<String>,

    /// Take kubeconfigs with insecure-skip-tls-verify or http:// too: whoever stands between reads
    /// every credential
    #[arg(
        long,
        env = "CLAVIGER_ALLOW_INSECURE_MEMBERS",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true
    )]
    pub allow_insecure_members: bool,
}
