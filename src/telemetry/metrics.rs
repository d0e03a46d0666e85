//! Counters, gauges and histograms, and their text.
//!
//! Labels are bounded: kinds, outcomes and reasons are fixed words; clusters and credentials leave
//! when they go. No user name and nothing of a Secret's content is ever a label.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::credentials::Credentials;
use super::freshness::Freshness;
use super::process::Process;
use super::tracked::{Labels, Tracked};

const RECONCILE_BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0];
const REQUEST_BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How one reconcile of a credential ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Everything is as wanted.
    Synced,
    /// It waits for something, such as a deletion that is held back; this is not an error.
    Waiting,
    /// It failed; [`Metrics::reconcile_failed`] says why.
    Failed,
}

/// What was done to a produced Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteOperation {
    /// A copy was made.
    Create,
    /// A copy was changed in place.
    Update,
    /// A copy was removed.
    Delete,
}

/// What was done to a ServiceAccount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountOperation {
    /// It names a Secret from then on.
    Attach,
    /// It names one no more, or the entry is not ours any more.
    Detach,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteResult {
    /// It is done.
    Ok,
    /// Somebody else has a Secret of that name, or another write was faster.
    Conflict,
    /// The server refused it: permission, quota, an admission policy.
    Refused,
    /// No answer, or a server fault: tried again.
    Error,
}

impl WriteResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Error => "error",
        }
    }
}

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Labels<2>, Counter>,
    durations: Family<Labels<1>, Histogram>,
    errors: Family<Labels<2>, Counter>,
    requests: Tracked<3, Counter>,
    latencies: Tracked<1, Histogram>,
    verifications: Family<Labels<2>, Counter>,
    mints: Family<Labels<2>, Counter>,
    writes: Tracked<2, Counter>,
    account_writes: Tracked<2, Counter>,
    repairs: Tracked<0, Counter>,
    up: Tracked<0, Gauge>,
    sweep_held: Tracked<0, Gauge>,
    unreadable: Family<Labels<1>, Gauge>,
    leader: Gauge,
    credentials: Credentials,
}

impl Metrics {
    /// All metrics, at zero; the ages of watches come from `freshness` at each scrape.
    #[must_use]
    pub fn new(freshness: Freshness) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            reconciles: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(RECONCILE_BUCKETS)),
            errors: Family::default(),
            requests: Tracked::new(Counter::default),
            latencies: Tracked::new(|| Histogram::new(REQUEST_BUCKETS)),
            verifications: Family::default(),
            mints: Family::default(),
            writes: Tracked::new(Counter::default),
            account_writes: Tracked::new(Counter::default),
            repairs: Tracked::new(Counter::default),
            up: Tracked::new(Gauge::default),
            sweep_held: Tracked::new(Gauge::default),
            unreadable: Family::default(),
            leader: Gauge::default(),
            credentials: Credentials::default(),
        };
        let registry = &mut metrics.registry;
        let help = "The version of the running operator";
        registry.register("claviger_build", help, Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let help = "Reconciles of a credential, by result";
        registry.register("claviger_reconcile", help, metrics.reconciles.clone());
        let help = "How long a reconcile took";
        registry.register("claviger_reconcile_duration_seconds", help, metrics.durations.clone());
        let help = "Failed reconciles, by reason";
        registry.register("claviger_reconcile_errors", help, metrics.errors.clone());
        let help = "Requests to a cluster's API server; code is the HTTP status, error or cancelled";
        registry.register("claviger_api_requests", help, metrics.requests.family.clone());
        let help = "Time until a cluster's API server answered";
        registry.register("claviger_api_request_duration_seconds", help, metrics.latencies.family.clone());
        let help = "Logins that were tested at their registry or endpoint, by result";
        registry.register("claviger_verifications", help, metrics.verifications.clone());
        let help = "Registry tokens that were requested, by result";
        registry.register("claviger_token_mints", help, metrics.mints.clone());
        let help = "Writes of copies";
        registry.register("claviger_secret_writes", help, metrics.writes.family.clone());
        let help = "Writes of ServiceAccounts, to attach Secrets of defaults and to detach them";
        registry.register("claviger_service_account_writes", help, metrics.account_writes.family.clone());
        let help = "Copies that somebody had changed or deleted and that were restored";
        registry.register("claviger_drift_repaired", help, metrics.repairs.family.clone());
        let help = "1 when the cluster answers and everything that is watched there was listed, else 0";
        registry.register("claviger_cluster_up", help, metrics.up.family.clone());
        let help = "Owners of Secrets whose credential is missing, if so many are missing that the sweep of the cluster has stopped";
        registry.register("claviger_sweep_held", help, metrics.sweep_held.family.clone());
        let help = "Custom resources that this version cannot read";
        registry.register("claviger_unreadable_objects", help, metrics.unreadable.clone());
        let help = "1 while this process leads, 0 while it stands by";
        registry.register("claviger_leader", help, metrics.leader.clone());
        registry.register_collector(Box::new(freshness));
        registry.register_collector(Box::new(metrics.credentials.clone()));
        registry.register_collector(Box::new(Process));
        metrics
    }

    /// One reconcile of a credential of `kind` ended.
    pub fn reconciled(&self, kind: &'static str, outcome: Outcome, took: Duration) {
        let outcome = match outcome {
            Outcome::Synced => "synced",
            Outcome::Waiting => "waiting",
            Outcome::Failed => "failed",
        };
        self.reconciles.get_or_create(&[("kind", kind.into()), ("outcome", outcome.into())]).inc();
        self.durations.get_or_create(&[("kind", kind.into())]).observe(took.as_secs_f64());
    }

    /// A reconcile failed, for a stable `PascalCase` reason.
    pub fn reconcile_failed(&self, kind: &'static str, reason: &'static str) {
        self.errors.get_or_create(&[("kind", kind.into()), ("reason", reason.into())]).inc();
    }

    /// A login was tried at the server of a provider; the outcome is a reason of condition `Verified`.
    pub fn verified(&self, provider: &str, outcome: &'static str) {
        let provider = Cow::Owned(provider.to_owned());
        self.verifications.get_or_create(&[("provider", provider), ("outcome", outcome.into())]).inc();
    }

    /// A token was asked for, of the cloud of a provider; the outcome is a reason of condition `Refreshed`.
    pub fn minted(&self, provider: &'static str, outcome: &'static str) {
        self.mints.get_or_create(&[("provider", provider.into()), ("outcome", outcome.into())]).inc();
    }

    /// One request to a cluster's API server ended. `code` is the HTTP status, `error` when there was no answer, or
    /// `cancelled` when the caller gave up, as at a deadline. [`super::RequestReport`] calls it.
    pub fn api_request(
        &self,
        cluster: &str,
        verb: &'static str,
        resource: &'static str,
        code: Cow<'static, str>,
        took: Duration,
    ) {
        let labels = [("verb", verb.into()), ("resource", resource.into()), ("code", code)];
        self.requests.of(cluster, labels).inc();
        self.latencies.of(cluster, [("verb", verb.into())]).observe(took.as_secs_f64());
    }

    /// One write of a produced Secret ended.
    pub fn secret_write(&self, cluster: &str, operation: WriteOperation, result: WriteResult) {
        let operation = match operation {
            WriteOperation::Create => "create",
            WriteOperation::Update => "update",
            WriteOperation::Delete => "delete",
        };
        let result = result.as_str();
        self.writes.of(cluster, [("operation", operation.into()), ("result", result.into())]).inc();
    }

    /// One write of a ServiceAccount ended.
    pub fn account_write(&self, cluster: &str, operation: AccountOperation, result: WriteResult) {
        let operation = match operation {
            AccountOperation::Attach => "attach",
            AccountOperation::Detach => "detach",
        };
        let labels = [("operation", operation.into()), ("result", result.as_str().into())];
        self.account_writes.of(cluster, labels).inc();
    }

    /// A copy that somebody had changed or deleted was put right.
    pub fn drift_repaired(&self, cluster: &str) {
        self.repairs.of(cluster, []).inc();
    }

    /// Whether a cluster can be worked with.
    pub fn set_cluster_up(&self, cluster: &str, up: bool) {
        self.up.of(cluster, []).set(i64::from(up));
    }

    /// How many owners are missing in a cluster whose sweep has stopped. Returns whether it had not stopped before.
    pub(crate) fn set_sweep_held(&self, cluster: &str, owners: usize) -> bool {
        let owners = i64::try_from(owners).unwrap_or(i64::MAX);
        let before = self.sweep_held.of(cluster, []).set(owners);
        before == 0 && owners > 0
    }

    /// How many objects of a kind this version cannot read.
    pub(crate) fn set_unreadable(&self, kind: &'static str, objects: usize) {
        let objects = i64::try_from(objects).unwrap_or(i64::MAX);
        self.unreadable.get_or_create(&[("kind", kind.into())]).set(objects);
    }

    /// Whether this process acts (or stands by).
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The table behind the `claviger_credential_*` gauges.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Drops the series of a cluster that is no longer a member. Watch ages go with
    /// [`Freshness::remove_cluster`].
    pub fn forget_cluster(&self, cluster: &str) {
        self.requests.forget(cluster);
        self.latencies.forget(cluster);
        self.writes.forget(cluster);
        self.account_writes.forget(cluster);
        self.repairs.forget(cluster);
        self.up.forget(cluster);
        self.sweep_held.forget(cluster);
    }

    /// The `OpenMetrics` text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        self.encode_to(&mut text);
        text
    }

    /// The same, to where it belongs.
    pub(super) fn encode_to(&self, text: &mut impl fmt::Write) {
        if let Err(error) = prometheus_client::encoding::text::encode(text, &self.registry) {
            // Writing to memory cannot fail; a metric that cannot be written is our fault.
            tracing::error!(%error, "cannot encode metrics");
        }
    }
}

impl Collector for Freshness {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Time since the last good answer to a watch, or since it started";
        let mut ages =
            encoder.encode_descriptor("claviger_watch_age_seconds", help, None, MetricType::Gauge)?;
        for watch in self.watches(Instant::now()) {
            let labels = [("cluster", &*watch.cluster), ("kind", &*watch.kind)];
            ConstGauge::new(watch.age.as_secs_f64()).encode(ages.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_carries_the_name_and_labels_of_the_manual() {
        let freshness = Freshness::default();
        freshness.register("local", "pods", true);
        let metrics = Metrics::new(freshness);
        let took = Duration::from_millis(3);
        metrics.reconciled("RegistryCredential", Outcome::Synced, took);
        metrics.reconcile_failed("RegistryCredential", "SourceMissing");
        metrics.api_request("local", "create", "secrets", "201".into(), took);
        metrics.api_request("local", "create", "secrets", "cancelled".into(), took);
        metrics.secret_write("local", WriteOperation::Create, WriteResult::Ok);
        metrics.drift_repaired("local");
        metrics.set_cluster_up("local", true);
        metrics.set_leader(true);
        let text = metrics.encode();
        for line in [
            "claviger_build_info{version=",
            "claviger_reconcile_total{kind=\"RegistryCredential\",outcome=\"synced\"} 1",
            "claviger_reconcile_duration_seconds_count{kind=\"RegistryCredential\"} 1",
            "claviger_reconcile_errors_total{kind=\"RegistryCredential\",reason=\"SourceMissing\"} 1",
            "claviger_api_requests_total{cluster=\"local\",verb=\"create\",resource=\"secrets\",code=\"201\"} 1",
            "claviger_api_requests_total{cluster=\"local\",verb=\"create\",resource=\"secrets\",code=\"cancelled\"} 1",
            "claviger_api_request_duration_seconds_count{cluster=\"local\",verb=\"create\"} 2",
            "claviger_secret_writes_total{cluster=\"local\",operation=\"create\",result=\"ok\"} 1",
            "claviger_drift_repaired_total{cluster=\"local\"} 1",
            "claviger_cluster_up{cluster=\"local\"} 1",
            "claviger_leader 1",
            "claviger_watch_age_seconds{cluster=\"local\",kind=\"pods\"} ",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        #[cfg(target_os = "linux")]
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }

    #[test]
    fn a_cluster_that_left_takes_its_series_along() {
        let metrics = Metrics::new(Freshness::default());
        for cluster in ["east", "west"] {
            metrics.api_request(cluster, "list", "pods", "error".into(), Duration::ZERO);
            metrics.secret_write(cluster, WriteOperation::Delete, WriteResult::Error);
            metrics.drift_repaired(cluster);
        }
        metrics.forget_cluster("east");
        let text = metrics.encode();
        assert!(!text.contains("east") && text.contains("west"), "{text}");
    }
}
