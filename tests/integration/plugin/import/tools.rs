//! The move from each tool: its Secrets as it leaves them, then `import | kubectl apply -f -`, then what the summary says.

use kube::ResourceExt;
use serde_json::{Value, json};

use super::desk::{CANARY, Desk, LONG, pull_data};
use crate::{
    checks::merge,
    support::{Result, apply_yaml, pki::Authority, wait_for},
};

const REFLECTOR: &str = "reflector.v1.k8s.emberstack.com";
const REPLICATOR: &str = "replicator.v1.mittwald.de";

/// A definition of somebody else.
fn definition(group: &str, version: &str, kind: &str, plural: &str, scope: &str) -> String {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {"group": group, "scope": scope, "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
    .to_string()
}

/// An object that owns Secrets, and the reference to it.
async fn owner(desk: &Desk, api: &str, kind: &str, namespace: &str, name: &str) -> Result<Value> {
    let object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}}).to_string();
    let made = crate::support::apply_yaml_in(&desk.client, namespace, &object).await?;
    Ok(json!([{"apiVersion": api, "kind": kind, "name": name, "uid": made[0].uid(), "controller": true}]))
}

#[tokio::test]
async fn every_tool_hands_over_in_place() -> Result<()> {
    // Names that YAML takes for something else.
    let mut desk = Desk::new(&["platform", "ops", "a", "b", "1e3", "null"]).await?;
    desk.start_operator().await?;
    let crds = [
        definition("images.banzaicloud.io", "v1alpha1", "ImagePullSecret", "imagepullsecrets", "Cluster"),
        definition("ops.alexellis.io", "v1", "ClusterPullSecret", "clusterpullsecrets", "Cluster"),
        definition("external-secrets.io", "v1", "ExternalSecret", "externalsecrets", "Namespaced"),
    ];
    apply_yaml(&desk.client, &crds.join("\n---\n")).await?;

    // reflector names the source on each copy.
    let allowed = json!({format!("{REFLECTOR}/reflection-allowed"): "true", format!("{REFLECTOR}/reflection-auto-enabled"): "true"});
    let source = desk.pull("platform/regcred", "r.example.com", json!({ "annotations": allowed })).await?;
    for namespace in ["a", "b", "1e3", "null"] {
        let marks = json!({format!("{REFLECTOR}/reflects"): "platform/regcred", format!("{REFLECTOR}/auto-reflects"): "True",
            format!("{REFLECTOR}/reflected-version"): source.resource_version(), format!("{REFLECTOR}/reflected-at"): "\"2026-01-01\""});
        desk.pull(&format!("{namespace}/regcred"), "r.example.com", json!({ "annotations": marks })).await?;
    }
    // kubernetes-replicator pushes under the same name, and pulls under any.
    let pair = Authority::new("authority")?.server(&["a.example.com"])?;
    let tls = json!({"tls.crt": pair.certificate, "tls.key": pair.key});
    let push = json!({"annotations": {format!("{REPLICATOR}/replicate-to"): "a,b"}, "labels": {"team": "x"}});
    let source = desk.secret("platform/wildcard", "kubernetes.io/tls", tls.clone(), push).await?;
    for namespace in ["a", "b"] {
        let marks = json!({"labels": {"team": "x"}, "annotations": {format!("{REPLICATOR}/replicated-at"): "2026-01-01T00:00:00Z",
            format!("{REPLICATOR}/replicated-from-version"): source.resource_version(), format!("{REPLICATOR}/replicated-keys"): "tls.crt,tls.key"}});
        desk.secret(&format!("{namespace}/wildcard"), "kubernetes.io/tls", tls.clone(), marks).await?;
    }
    let pulls = json!({"annotations": {format!("{REPLICATOR}/replicate-from"): "platform/wildcard"}});
    desk.secret("a/pulled", "kubernetes.io/tls", tls, pulls).await?;
    // imps and registry-creds own theirs by cluster-wide objects, External Secrets by one in each namespace.
    let imps = owner(&desk, "images.banzaicloud.io/v1alpha1", "ImagePullSecret", "", "pull").await?;
    let cluster = owner(&desk, "ops.alexellis.io/v1", "ClusterPullSecret", "", "dockerhub").await?;
    desk.pull("ops/seed", "index.docker.io", json!({})).await?;
    for namespace in ["ops", "a", "b"] {
        let owned =
            json!({"ownerReferences": imps, "labels": {"images.banzaicloud.io/owner-uid": imps[0]["uid"]}});
        desk.pull(&format!("{namespace}/imps"), "imps.example.com", owned).await?;
        let patched = json!({"annotations": {"app.kubernetes.io/managed-by": "imagepullsecret-patcher"},
            "labels": {"app.kubernetes.io/managed-by": "imagepullsecret-patcher"}});
        desk.pull(&format!("{namespace}/global-imagepullsecret"), "patched.example.com", patched).await?;
        let external = owner(&desk, "external-secrets.io/v1", "ExternalSecret", namespace, "basic").await?;
        let marks = json!({"ownerReferences": external, "annotations": {"reconcile.external-secrets.io/data-hash": "x"},
            "labels": {"reconcile.external-secrets.io/managed": "true", "reconcile.external-secrets.io/created-by": "x"}});
        let data = json!({"username": "robot", "password": CANARY});
        desk.secret(&format!("{namespace}/basic"), "kubernetes.io/basic-auth", data, marks).await?;
        let owned = json!({ "ownerReferences": cluster });
        desk.pull(&format!("{namespace}/dockerhub-registrycreds"), "index.docker.io", owned).await?;
    }
    let moved = [
        "a/regcred",
        "b/regcred",
        "1e3/regcred",
        "null/regcred",
        "a/wildcard",
        "b/wildcard",
        "a/pulled",
        "a/imps",
        "b/imps",
        "a/global-imagepullsecret",
        "b/global-imagepullsecret",
        "a/basic",
        "b/basic",
        "ops/dockerhub-registrycreds",
        "a/dockerhub-registrycreds",
        "b/dockerhub-registrycreds",
    ];
    let uids = desk.uids(&moved).await?;
    let witness = desk.watch().await?;

    let answer = desk.import(&["--source-namespace", "ops"]).await?;
    assert_eq!(answer.code, 0, "{}", answer.err);
    for tool in [
        "reflector (4)",
        "kubernetes-replicator (2)",
        "imps (2)",
        "registry-creds (3)",
        "imagepullsecret-patcher (2)",
        "External Secrets (2)",
    ] {
        assert!(answer.err.contains(tool), "{tool}: {}", answer.err);
    }
    let applied = desk.apply(&answer).await?;
    assert!(!applied.contains("secret/regcred created"), "{applied}");
    desk.wait_all_ready().await?;
    desk.assert_adopted(&uids).await?;

    // What the summary says to do after it leaves them in place, too, also with the garbage collector at work.
    let after = answer.err.split("When the credentials are Ready:").nth(1).unwrap_or_default();
    assert!(desk.run_commands(after).await? >= 4, "{after}");
    let external =
        ["delete", "externalsecrets.external-secrets.io", "basic", "--cascade=orphan", "--namespace"];
    for namespace in ["a", "b"] {
        desk.kubectl(&[&external[..], &[namespace]].concat(), "").await?;
    }
    for place in ["a/imps", "b/dockerhub-registrycreds", "a/basic", "ops/imps"] {
        wait_for(LONG, &format!("{place} to have no owner"), async || {
            desk.get(place).await.is_ok_and(|secret| secret.owner_references().is_empty())
        })
        .await?;
    }
    let copy = desk.get("a/regcred").await?;
    assert!(!copy.annotations().keys().any(|key| key.starts_with(REFLECTOR)), "{:?}", copy.annotations());

    // From now on they follow the source.
    for (place, host) in [
        ("platform/regcred", "r.example.com"),
        ("ops/imps", "imps.example.com"),
        ("ops/seed", "index.docker.io"),
    ] {
        let (namespace, name) = place.split_once('/').expect("a place");
        merge(&desk.secrets(namespace), name, json!({"stringData": pull_data(host, "canary-rotated")}))
            .await?;
    }
    for place in ["a/regcred", "null/regcred", "1e3/regcred", "b/imps", "a/dockerhub-registrycreds"] {
        wait_for(LONG, &format!("the new password in {place}"), async || {
            desk.password(place).await.is_ok_and(|password| password == "canary-rotated")
        })
        .await?;
    }
    desk.wait_all_ready().await?;
    desk.assert_adopted(&uids).await?;
    witness.assert_in_place(&desk, &moved).await?;

    // There is nothing left to do.
    let again = desk.import(&["--source-namespace", "ops", "-o", "json"]).await?;
    assert_eq!(again.json()?["items"], json!([]), "{}", again.err);
    Ok(())
}
