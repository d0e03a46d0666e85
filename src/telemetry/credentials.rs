//! The `claviger_credential_*` gauges, in the manner of kube-state-metrics.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// What the metrics say of one credential: names, counts and times, nothing secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CredentialRow {
    /// The provider as spelt in the spec; none for kinds without one.
    pub provider: Option<Cow<'static, str>>,
    /// `status.revision`.
    pub revision: i64,
    /// Condition types and their status.
    pub conditions: Vec<(Cow<'static, str>, ConditionState)>,
    /// One row per cluster the credential goes to.
    pub clusters: Vec<ClusterRow>,
    /// `status.references.total`.
    pub references: u64,
    /// When the produced credential expires, where that is known.
    pub expires: Option<Timestamp>,
}

/// How far one cluster got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRow {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Namespaces that should have a copy.
    pub desired: u64,
    /// Namespaces that have the right one.
    pub synced: u64,
    /// Namespaces that it could not be written to.
    pub failed: u64,
    /// When this cluster was last fully in sync.
    pub last_sync: Option<Timestamp>,
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionState {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`, and whatever else stands there
    Unknown,
}

impl From<&str> for ConditionState {
    fn from(status: &str) -> Self {
        match status {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

/// The table that the gauges are made of at each scrape. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Credentials(Arc<RwLock<BTreeMap<Key, CredentialRow>>>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: Cow<'static, str>,
    namespace: String,
    name: String,
}

impl Key {
    fn new(kind: impl Into<Cow<'static, str>>, namespace: &str, name: &str) -> Self {
        Self { kind: kind.into(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn labels<'a, const N: usize>(&'a self, more: [(&'a str, &'a str); N]) -> Labels<'a, N> {
        ([("kind", &*self.kind), ("namespace", &*self.namespace), ("name", &*self.name)], more)
    }
}

type Labels<'a, const N: usize> = ([(&'a str, &'a str); 3], [(&'a str, &'a str); N]);

impl Credentials {
    /// What is now true of a credential.
    pub fn set(&self, kind: impl Into<Cow<'static, str>>, namespace: &str, name: &str, row: CredentialRow) {
        let key = Key::new(kind, namespace, name);
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key, row);
    }

    /// The credential is gone.
    pub fn remove(&self, kind: impl Into<Cow<'static, str>>, namespace: &str, name: &str) {
        let key = Key::new(kind, namespace, name);
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// Forgets all, as a process does that no longer leads: the leader tells.
    pub fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Collector for Credentials {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let rows = self.0.read().unwrap_or_else(PoisonError::into_inner);

        let mut m = gauge(&mut encoder, "claviger_credential_info", "A credential, always 1")?;
        for (key, row) in rows.iter() {
            let provider = row.provider.as_deref().unwrap_or_default();
            put(&mut m, &key.labels([("provider", provider)]), 1)?;
        }

        let help = "1 for the status that a condition has, 0 for the others";
        let mut m = gauge(&mut encoder, "claviger_credential_condition", help)?;
        for (key, row) in rows.iter() {
            for (condition, state) in &row.conditions {
                for (status, is) in [
                    ("true", ConditionState::True),
                    ("false", ConditionState::False),
                    ("unknown", ConditionState::Unknown),
                ] {
                    let labels = key.labels([("condition", condition), ("status", status)]);
                    put(&mut m, &labels, u64::from(*state == is))?;
                }
            }
        }

        let help = "Namespaces of a cluster that should have, have, or could not be given a copy";
        let mut m = gauge(&mut encoder, "claviger_credential_targets", help)?;
        for (key, row) in rows.iter() {
            for c in &row.clusters {
                for (state, count) in [("desired", c.desired), ("synced", c.synced), ("failed", c.failed)] {
                    put(&mut m, &key.labels([("cluster", &*c.cluster), ("state", state)]), count)?;
                }
            }
        }

        let help = "Objects that reference a produced Secret";
        let mut m = gauge(&mut encoder, "claviger_credential_references", help)?;
        for (key, row) in rows.iter() {
            put(&mut m, &key.labels([]), row.references)?;
        }

        let help = "Grows by one each time the produced content changes";
        let mut m = gauge(&mut encoder, "claviger_credential_revision", help)?;
        for (key, row) in rows.iter() {
            put(&mut m, &key.labels([]), u64::try_from(row.revision).unwrap_or(0))?;
        }

        let name = "claviger_credential_last_sync_timestamp_seconds";
        let help = "When a cluster was last fully in sync, as Unix time";
        let mut m = gauge(&mut encoder, name, help)?;
        for (key, row) in rows.iter() {
            for c in &row.clusters {
                if let Some(time) = c.last_sync {
                    put(&mut m, &key.labels([("cluster", &*c.cluster)]), seconds(time))?;
                }
            }
        }

        let name = "claviger_credential_expiration_timestamp_seconds";
        let help = "When the credential expires, as Unix time";
        let mut m = gauge(&mut encoder, name, help)?;
        for (key, row) in rows.iter() {
            if let Some(time) = row.expires {
                put(&mut m, &key.labels([]), seconds(time))?;
            }
        }
        Ok(())
    }
}

fn gauge<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
) -> Result<MetricEncoder<'e>, Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn put(m: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> Result<(), Error> {
    ConstGauge::new(value).encode(m.encode_family(labels)?)
}

fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::{Freshness, Metrics};
    use super::*;

    fn row() -> CredentialRow {
        CredentialRow {
            provider: Some("Quay".into()),
            revision: 7,
            conditions: vec![("Ready".into(), ConditionState::from("False"))],
            clusters: vec![ClusterRow {
                cluster: "local".into(),
                desired: 120,
                synced: 119,
                failed: 1,
                last_sync: Timestamp::from_second(1_700_000_000).ok(),
            }],
            references: 2,
            expires: None,
        }
    }

    #[test]
    fn shows_the_row_until_it_is_removed() {
        let metrics = Metrics::new(Freshness::new());
        metrics.credentials().set("RegistryCredential", "platform", "quay", row());
        let text = metrics.encode();
        let own = "kind=\"RegistryCredential\",namespace=\"platform\",name=\"quay\"";
        for line in [
            format!("claviger_credential_info{{{own},provider=\"Quay\"}} 1"),
            format!("claviger_credential_condition{{{own},condition=\"Ready\",status=\"true\"}} 0"),
            format!("claviger_credential_condition{{{own},condition=\"Ready\",status=\"false\"}} 1"),
            format!("claviger_credential_targets{{{own},cluster=\"local\",state=\"desired\"}} 120"),
            format!("claviger_credential_targets{{{own},cluster=\"local\",state=\"failed\"}} 1"),
            format!("claviger_credential_references{{{own}}} 2"),
            format!("claviger_credential_revision{{{own}}} 7"),
            format!("claviger_credential_last_sync_timestamp_seconds{{{own},cluster=\"local\"}} 1700000000"),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        metrics.credentials().remove("RegistryCredential", "platform", "quay");
        assert!(!metrics.encode().contains("quay"));
    }
}
