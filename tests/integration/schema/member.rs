//! MemberCluster.

use serde_json::json;

use super::{ACCEPTED, Case, Refusal, Subject, client};
use crate::support::{Error, Result};

fn member() -> Subject {
    Subject {
        kind: "MemberCluster",
        path: "/apis/claviger.dev/v1alpha1/memberclusters",
        spec: json!({"kubeconfigSecretRef": {"name": "east-kubeconfig"}}),
    }
}

#[tokio::test]
async fn a_member_says_how_it_is_reached() -> Result<()> {
    let secret = |name: &str| json!({"kubeconfigSecretRef": {"name": name}});
    let cases: Vec<Case<'_>> = vec![
        ("as it stands", json!({}), ACCEPTED),
        ("with a key", json!({"kubeconfigSecretRef": {"key": "kubeconfig.yaml"}}), ACCEPTED),
        ("paused", json!({"paused": true}), ACCEPTED),
        ("left as it is", json!({"deletionPolicy": "Orphan"}), ACCEPTED),
        ("emptied", json!({"deletionPolicy": "RemoveUnused"}), ACCEPTED),
        // Its condition says so: the operator makes such a one for a cluster that it adopts.
        ("no Secret", json!({"kubeconfigSecretRef": null}), ACCEPTED),
        ("what is in the status", json!({"adoptedFrom": {}}), &["unknown field \"spec.adoptedFrom\""]),
        ("no name", json!({"kubeconfigSecretRef": {"name": null}}), &["kubeconfigSecretRef.name: Required"]),
        ("an empty name", secret(""), &["kubeconfigSecretRef.name", "at least 1"]),
        ("another namespace", secret("tenant/east"), &["kubeconfigSecretRef.name", "valid Secret name"]),
        (
            "a namespace",
            json!({"kubeconfigSecretRef": {"namespace": "tenant"}}),
            &["unknown field \"spec.kubeconfigSecretRef.namespace\""],
        ),
        (
            "a key that no Secret has",
            json!({"kubeconfigSecretRef": {"key": "a/b"}}),
            &["kubeconfigSecretRef.key", "should match"],
        ),
        (
            "a kubeconfig inline",
            json!({"kubeconfig": "apiVersion: v1"}),
            &["unknown field \"spec.kubeconfig\""],
        ),
        ("forced", json!({"deletionPolicy": "Force"}), &["deletionPolicy", "Unsupported value"]),
    ];
    member().check(&cases).await
}

#[tokio::test]
async fn a_member_has_a_name_that_a_target_can_give() -> Result<()> {
    const FORM: &str = "the name of a cluster may have at most 63 lower-case letters, digits and '-'";
    const OWN: &str = "mean the cluster that the operator runs in; choose another name";
    let (most, more) = ("c".repeat(63), "c".repeat(64));
    let longest = format!("{most}.{most}");
    let by_hand = member().spec;
    let adopted = json!({"kubeconfigSecretRef": null});
    let cases = [
        ("eu-west-3", &by_hand, None),
        ("9", &by_hand, None),
        (most.as_str(), &by_hand, None),
        (more.as_str(), &by_hand, Some(FORM)),
        ("us.east", &by_hand, Some(FORM)),
        ("local", &by_hand, Some(OWN)),
        ("in-cluster", &by_hand, Some(OWN)),
        ("local-2", &by_hand, None),
        ("blue", &adopted, None),
        ("team.blue", &adopted, None),
        (longest.as_str(), &adopted, None),
        ("team.blue.x", &adopted, Some(FORM)),
        ("team.blue", &by_hand, Some(FORM)),
    ];
    let client = client().await?;
    let mut wrong = Vec::new();
    for (name, spec, expected) in cases {
        let answer = member().dry_run(&client, json!({"name": name}), spec.clone()).await;
        match (answer, expected) {
            (Ok(_), None) => {}
            (Err(Refusal(message)), Some(part)) if message.contains(part) => {}
            (Ok(_), Some(part)) => wrong.push(format!("{name}: accepted, not refused with {part}")),
            (Err(Refusal(message)), _) => wrong.push(format!("{name}: {message}")),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::new(wrong.join("\n"))) }
}

#[tokio::test]
async fn defaults_of_a_member_are_filled_in() -> Result<()> {
    let made = member().dry_run(&client().await?, json!({"name": "fresh"}), member().spec).await;
    let made = made.map_err(|refusal| Error::new(refusal.0))?;
    assert_eq!(made["spec"]["deletionPolicy"], "RemoveUnused");
    assert_eq!(made["spec"].get("paused"), None);
    Ok(())
}
