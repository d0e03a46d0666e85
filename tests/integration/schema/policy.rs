//! DistributionPolicy.

use serde_json::json;

use super::{ACCEPTED, Case, Subject};
use crate::support::Result;

#[tokio::test]
async fn policies_say_from_where_to_where() -> Result<()> {
    let subject = Subject {
        kind: "DistributionPolicy",
        path: "/apis/claviger.dev/v1alpha1/distributionpolicies",
        spec: json!({
            "from": {"namespaces": {"names": ["platform"]}},
            "to": {"namespaces": {"selector": {}, "exclude": ["sandbox"]}},
        }),
    };
    let cases: Vec<Case<'_>> = vec![
        ("as it stands", json!({}), ACCEPTED),
        ("for a kind", json!({"kinds": ["RegistryCredential"]}), ACCEPTED),
        ("for all kinds", json!({"kinds": []}), ACCEPTED),
        (
            "for an unknown kind",
            json!({"kinds": ["Secret"]}),
            &["spec.kinds[0]", "Unsupported value", "\"RegistryCredential\""],
        ),
        (
            "for a kind twice",
            json!({"kinds": ["RegistryCredential", "RegistryCredential"]}),
            &["spec.kinds[1]: Duplicate value"],
        ),
        ("from nobody", json!({"from": {"namespaces": {"names": null}}}), ACCEPTED),
        ("without from", json!({"from": null}), &["spec.from: Required value"]),
        ("without to", json!({"to": null}), &["spec.to: Required value"]),
        (
            "from no namespaces",
            json!({"from": {"namespaces": null}}),
            &["spec.from.namespaces: Required value"],
        ),
        ("to no namespaces", json!({"to": {"namespaces": null}}), &["spec.to.namespaces: Required value"]),
        (
            "to a wildcard",
            json!({"to": {"namespaces": {"names": ["*"]}}}),
            &["spec.to.namespaces.names[0]", "should match"],
        ),
        (
            "from one twice",
            json!({"from": {"namespaces": {"names": ["a", "a"]}}}),
            &["spec.from.namespaces.names[1]: Duplicate value"],
        ),
        (
            "to an odd selector",
            json!({"to": {"namespaces": {"selector": {"matchExpressions": [{"key": "env", "operator": "In"}]}}}}),
            &["spec.to.namespaces.selector.matchExpressions[0]", "`values` must be given for In and NotIn"],
        ),
        ("to a cluster", json!({"to": {"clusters": {"names": ["local", "us-east-1"]}}}), ACCEPTED),
        ("to all clusters", json!({"to": {"clusters": {"selector": {}, "exclude": ["lab"]}}}), ACCEPTED),
        ("to no cluster", json!({"to": {"clusters": {}}}), ACCEPTED),
        (
            "to a wildcard of clusters",
            json!({"to": {"clusters": {"names": ["*"]}}}),
            &["spec.to.clusters.names[0]", "should match"],
        ),
        (
            "to clusters by an odd selector",
            json!({"to": {"clusters": {"selector": {"matchExpressions": [{"key": "env", "operator": "Exists", "values": ["x"]}]}}}}),
            &["spec.to.clusters.selector.matchExpressions[0]", "may not be given for Exists"],
        ),
        (
            "from a cluster",
            json!({"from": {"clusters": {"names": ["local"]}}}),
            &["unknown field \"spec.from.clusters\""],
        ),
    ];
    subject.check(&cases).await
}
