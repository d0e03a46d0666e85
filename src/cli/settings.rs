//! What the operator is told to do: the flags, checked against each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::run::RunArgs;
use crate::domain::adoption::{Adopt, Scope};
use crate::leader;
use crate::telemetry::LogFormat;

/// The name of the Lease.
const LEASE: &str = "claviger";

/// The settings of a running operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The operator's own namespace.
    pub namespace: String,
    /// Where health and metrics are served.
    pub listen_address: SocketAddr,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: String,
    /// None: act at once, without a lease.
    pub leader_election: Option<LeaderElection>,
    /// Writes in flight at once, per cluster. At least 1.
    pub concurrency: usize,
    /// How long one watch request lasts. At least 5 s.
    pub watch_timeout: Duration,
    /// How long any other request may take.
    pub request_timeout: Duration,
    /// How often every credential is gone through in full.
    pub resync_interval: Duration,
    /// How often copies without a credential are swept.
    pub sweep_interval: Duration,
    /// The quiet period after a change of policies, before a lack of consent takes copies away.
    pub consent_grace_period: Duration,
    /// How long an owner must have been missing before its copies are swept.
    pub sweep_grace_period: Duration,
    /// Threads of the runtime. At least 1.
    pub worker_threads: usize,
    /// The kubeconfig of the cluster `local`, where one was named.
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig, where one was named.
    pub context: Option<String>,
    /// What the cluster `local` is called on every copy; none: the uid of its namespace `kube-system`.
    pub hub_id: Option<String>,
    /// Ids that copies of this hub may still carry.
    pub former_hub_ids: Vec<String>,
    /// Labels of the cluster `local`.
    pub cluster_labels: BTreeMap<String, String>,
    /// How long a member must have been unreachable before deletions go on without it.
    pub unreachable_grace_period: Duration,
    /// How often the API server of a member is asked whether it is there.
    pub member_probe_interval: Duration,
    /// Whose clusters become members by themselves.
    pub adopt: Adopt,
    /// Whether members may be reached without checking who answers.
    pub allow_insecure_members: bool,
}

/// How this process runs for leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderElection {
    /// The Lease's name, in the operator's namespace.
    pub lease: String,
    /// Who we are: unique among running operators.
    pub identity: String,
    /// Durations of lease, renewal and retry.
    pub timing: leader::Timing,
}

/// Why flags do not go together, or the cluster `local` is not known.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The times of leader election contradict each other.
    #[error(transparent)]
    Timing(#[from] leader::Error),
    /// The kubeconfig that was named cannot be used.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// Neither a kubeconfig nor a Pod's service account was found.
    #[error("no cluster to work in: {0}")]
    Infer(#[from] InferConfigError),
}

impl Settings {
    /// How old the last good answer of a watch of `local` may grow before liveness fails. A watch
    /// is renewed, which is an answer, at least once per watch timeout; twice more is for
    /// reconnecting with back-off to an API server that restarts.
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        self.watch_timeout * 3
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

    fn try_from(args: RunArgs) -> Result<Self, SettingsError> {
        let timing = leader::Timing {
            lease_duration: args.lease_duration,
            renew_deadline: args.lease_renew_deadline,
            retry_period: args.lease_retry_period,
        };
        let leader_election = if args.leader_elect {
            timing.check()?;
            let identity = args.identity.filter(|i| !i.is_empty()).unwrap_or_else(random_identity);
            Some(LeaderElection { lease: LEASE.to_owned(), identity, timing })
        } else {
            None
        };
        Ok(Self {
            namespace: args.namespace,
            listen_address: args.listen_address,
            log_format: args.log_format,
            log_filter: args.log,
            leader_election,
            concurrency: args.concurrency.get(),
            watch_timeout: args.watch_timeout,
            request_timeout: args.request_timeout,
            resync_interval: args.resync_interval,
            sweep_interval: args.sweep_interval.unwrap_or(args.resync_interval),
            consent_grace_period: args.consent_grace_period,
            sweep_grace_period: args.sweep_grace_period,
            worker_threads: args.worker_threads.map_or_else(default_threads, usize::from),
            // A chart sets empty variables for values that are not given.
            kubeconfig: args.kubeconfig.filter(|path| !path.as_os_str().is_empty()),
            context: args.context.filter(|context| !context.is_empty()),
            hub_id: args.hub_id.filter(|id| !id.is_empty()),
            former_hub_ids: args.former_hub_ids.into_iter().filter(|id| !id.is_empty()).collect(),
            cluster_labels: args.cluster_labels,
            unreachable_grace_period: args.unreachable_grace_period,
            member_probe_interval: args.member_probe_interval,
            adopt: Adopt {
                argocd: args.adopt_argocd_clusters.filter(|namespace| !namespace.is_empty()),
                cluster_api: args.adopt_cluster_api.as_deref().and_then(Scope::of),
            },
            allow_insecure_members: args.allow_insecure_members,
        })
    }
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
        assert_eq!(settings.watch_timeout, Duration::from_secs(60));
        assert_eq!(settings.stale_after(), Duration::from_secs(180));
        assert_eq!(settings.resync_interval, Duration::from_secs(600));
        assert_eq!(settings.sweep_interval, settings.resync_interval);
        assert_eq!(settings.listen_address, ([0, 0, 0, 0], 8080).into());
        assert!((1..=2).contains(&settings.worker_threads));
        assert_eq!(settings.log_format, LogFormat::Json);
        assert_eq!((settings.hub_id, settings.cluster_labels), (None, BTreeMap::new()));
        assert_eq!(settings.unreachable_grace_period, Duration::from_secs(3600));
        assert_eq!(settings.member_probe_interval, Duration::from_secs(10));
        assert_eq!(settings.adopt, Adopt::default());
        assert!(!settings.allow_insecure_members);
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
        let settings =
            settings(&["--watch-timeout=5s", "--log-format=text", "--worker-threads=1", "--context="])
                .unwrap();
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
            ("--cluster-labels=env=a b", "is no value of a label"),
            ("--cluster-labels=/env=a", "is no key of a label"),
            ("--cluster-labels=env=a,env=b", "given twice"),
            ("--unreachable-grace-period=10ms", "must be at least 1s"),
            ("--member-probe-interval=0s", "must be at least 1s"),
            ("--adopt-argocd-clusters=*", "no name of a namespace"),
            ("--adopt-cluster-api=Teams", "no name of a namespace"),
            ("--allow-insecure-members=perhaps", "invalid value"),
        ] {
            let error = settings(&[flag]).unwrap_err();
            assert!(error.contains(sentence), "{flag}: {error}");
        }
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_named() {
        let settings = settings(&["--kubeconfig=/nowhere/config"]).unwrap();
        let error = settings.local_config().await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/config"), "{error}");
    }
}
