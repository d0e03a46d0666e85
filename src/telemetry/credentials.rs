//! The `claviger_credential_*` gauges, in the manner of kube-state-metrics.

use std::{collections::BTreeMap, fmt::Error, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::{MetricType, gauge::ConstGauge};

use crate::api::{ClusterStatus, CredentialStatus};
use crate::domain::{condition::ConditionStatus, identity::CredentialId};
use crate::lock::Lock;

/// What the metrics say of one credential: names, counts and times, nothing secret.
#[derive(Debug)]
struct Row {
    /// Empty for kinds without one.
    provider: String,
    status: Arc<CredentialStatus>,
}

/// The table that the gauges are made of at each scrape. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials(Arc<Lock<BTreeMap<CredentialId, Row>>>);

impl Credentials {
    /// What is now true of a credential; `provider` is empty for kinds without one.
    pub fn set(&self, id: &CredentialId, provider: String, status: Arc<CredentialStatus>) {
        self.0.write().insert(id.clone(), Row { provider, status });
    }

    /// The credential is gone.
    pub fn remove(&self, id: &CredentialId) {
        self.0.write().remove(id);
    }
}

impl Collector for Credentials {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let rows = self.0.read();
        let mut gauge = |name: &str, help: &str, samples: fn(&Row, &mut Put<'_>) -> Result<(), Error>| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (id, row) in rows.iter() {
                let own = [("kind", id.kind.name()), ("namespace", &id.namespace), ("name", &id.name)];
                let mut put = |more: &[(&str, &str)], value: i64| {
                    ConstGauge::new(value).encode(metric.encode_family(&(own, more))?)
                };
                samples(row, &mut put)?;
            }
            Ok(())
        };

        gauge("claviger_credential_info", "A credential, always 1", |row, put| {
            put(&[("provider", &row.provider)], 1)
        })?;

        let help = "1 for the status that a condition has, 0 for the others";
        gauge("claviger_credential_condition", help, |row, put| {
            for condition in &row.status.conditions {
                let state = ConditionStatus::of(condition);
                for (status, is) in [
                    ("true", ConditionStatus::True),
                    ("false", ConditionStatus::False),
                    ("unknown", ConditionStatus::Unknown),
                ] {
                    put(&[("condition", &condition.type_), ("status", status)], i64::from(state == is))?;
                }
            }
            Ok(())
        })?;

        let help = "Namespaces of a cluster that should have, have, or could not be given a copy";
        gauge("claviger_credential_targets", help, |row, put| {
            for ClusterStatus { name, namespaces: counts, .. } in &row.status.clusters {
                put(&[("cluster", name), ("state", "desired")], counts.desired)?;
                put(&[("cluster", name), ("state", "synced")], counts.synced)?;
                put(&[("cluster", name), ("state", "failed")], counts.failed)?;
            }
            Ok(())
        })?;

        let help = "Objects that use a copy";
        gauge("claviger_credential_references", help, |row, put| {
            put(&[], row.status.references.as_ref().map_or(0, |references| references.total))
        })?;

        let help = "Increases by one each time the content of the copies changes";
        gauge("claviger_credential_revision", help, |row, put| put(&[], row.status.revision.unwrap_or(0)))?;

        let help = "When the copies in a cluster last became in sync, as Unix time";
        gauge("claviger_credential_last_sync_timestamp_seconds", help, |row, put| {
            row.status.clusters.iter().try_for_each(|cluster| match &cluster.last_sync_time {
                Some(time) => put(&[("cluster", &cluster.name)], seconds(time)),
                None => Ok(()),
            })
        })?;

        let help = "When the credential expires, as Unix time";
        gauge("claviger_credential_expiration_timestamp_seconds", help, |row, put| {
            row.status.expiration_time.as_ref().map_or(Ok(()), |time| put(&[], seconds(time)))
        })
    }
}

/// Writes one sample: labels besides those of the credential, and the value.
type Put<'a> = dyn FnMut(&[(&str, &str)], i64) -> Result<(), Error> + 'a;

fn seconds(time: &Time) -> i64 {
    time.0.as_second().max(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::super::{Freshness, Metrics};
    use super::*;
    use crate::api::CredentialKind;

    fn status() -> CredentialStatus {
        let time = Timestamp::from_second(1_700_000_000).unwrap().to_string();
        serde_json::from_value(json!({
            "revision": 7,
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "Progressing", "message": "",
                "lastTransitionTime": time,
            }],
            "clusters": [{
                "name": "local", "state": "Error", "lastSyncTime": time,
                "namespaces": {"desired": 120, "synced": 119, "failed": 1},
            }],
            "references": {"total": 2, "blocking": 0},
        }))
        .unwrap()
    }

    #[test]
    fn shows_the_row_until_it_is_removed() {
        let metrics = Metrics::new(Freshness::default());
        let id = CredentialId {
            kind: CredentialKind::RegistryCredential,
            namespace: "platform".into(),
            name: "quay".into(),
        };
        metrics.credentials().set(&id, "Quay".to_owned(), Arc::new(status()));
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
        metrics.credentials().remove(&id);
        assert!(!metrics.encode().contains("quay"));
    }
}
