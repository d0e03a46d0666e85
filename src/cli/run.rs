//! The flags of `claviger run`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args};

use super::duration::at_least;
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
}
