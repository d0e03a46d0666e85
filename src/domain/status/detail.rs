//! How much a status tells. An API server may refuse a long one, and a status that stays as it was tells lies.

use serde_json::{Map, Value};

use crate::{
    api::{ClusterStatus, CredentialStatus, References},
    domain::condition::shortened,
};

/// The longest message of a status that is not told in full, in bytes.
const SHORT: usize = 128;

/// How much a status tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Detail {
    #[default]
    Full,
    /// Without failures and users, and with short messages. Counts stay.
    Brief,
    /// Conditions and sums only.
    Least,
}

impl Detail {
    /// What to try when a status with this much is refused.
    pub fn less(self) -> Option<Self> {
        match self {
            Self::Full => Some(Self::Brief),
            Self::Brief => Some(Self::Least),
            Self::Least => None,
        }
    }

    /// A status with as much as this. `own` are the fields of its kind alone.
    pub fn of(
        self,
        mut status: CredentialStatus,
        mut own: Map<String, Value>,
    ) -> (CredentialStatus, Map<String, Value>) {
        if self == Self::Full {
            return (status, own);
        }
        for condition in &mut status.conditions {
            condition.message = shortened(&condition.message, SHORT);
        }
        let counts = |users: References| References { items: Vec::new(), ..users };
        status.references = status.references.map(counts);
        let brief = |row: ClusterStatus| ClusterStatus { failures: Vec::new(), message: None, ..row };
        status.clusters = status.clusters.into_iter().map(brief).collect();
        for login in status.verification.iter_mut().flat_map(|verification| &mut verification.logins) {
            login.message = shortened(&login.message, SHORT);
        }
        if let Some(default) = own.get_mut("default").and_then(Value::as_object_mut) {
            default.remove("failures");
            if let Some(stuck) = default.get_mut("stuck").and_then(Value::as_object_mut) {
                stuck.remove("items");
            }
        }
        if self == Self::Least {
            status.clusters.clear();
            status.verification = None;
            own.clear();
        }
        (status, own)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_step_tells_less_and_keeps_what_conditions_and_sums_say() {
        let status: CredentialStatus = serde_json::from_value(json!({
            "conditions": [{"type": "Ready", "status": "False", "reason": "PartiallySynced", "message": "m".repeat(5_000),
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "summary": {"namespaces": "1/2", "clusters": "0/1"},
            "clusters": [{"name": "local", "state": "Error", "message": "m".repeat(500),
                "namespaces": {"desired": 2, "synced": 1, "failed": 1},
                "failures": [{"namespace": "web", "reason": "Forbidden", "message": "m"}]}],
            "references": {"total": 1, "blocking": 1, "items": [
                {"cluster": "local", "kind": "Pod", "namespace": "web", "name": "api", "field": "spec.imagePullSecrets"}]},
        }))
        .unwrap();
        let own = Map::from_iter([("registry".to_owned(), json!({"key": "quay.io"}))]);
        let mut detail = Detail::Full;
        let mut sizes = Vec::new();
        loop {
            let (told, own) = detail.of(status.clone(), own.clone());
            assert_eq!(
                (&told.summary, &told.conditions[0].reason),
                (&status.summary, &status.conditions[0].reason)
            );
            assert_eq!(told.references.as_ref().map(|users| users.blocking), Some(1));
            sizes.push(serde_json::to_string(&told).unwrap().len() + own.len());
            let Some(less) = detail.less() else { break };
            detail = less;
        }
        assert!(sizes[0] > 10 * sizes[1] && sizes[1] > sizes[2], "{sizes:?}");
    }
}
