//! The same where adoption gives the token rights to MemberClusters; and where somebody gave it all rights.

use http::Method;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use super::{
    super::release::{FULL_NAME, NAMESPACE, Release},
    Attack, By, OURS, assert_refused, kinds, of_ours, policy, send, spec, wait_refused,
};
use crate::support::{ControlPlane, Result};

/// The attack: where clusters are adopted, the token may make MemberClusters: it names the thief's cluster, under a name that
/// policies give. And then it gets hold of all rights by mistake.
#[tokio::test]
async fn adoption_lets_the_token_make_members_of_adopted_clusters_and_no_others() -> Result<()> {
    let values = [
        "--set=adopt.argocd.enabled=true",
        "--set=adopt.argocd.namespace=gitops",
        "--set=adopt.clusterApi.enabled=true",
        "--set=adopt.clusterApi.namespace=*",
    ];
    let release = Release::install(ControlPlane::builder().start().await?, &values).await?;
    let (admin, thief) = (release.client().await?, release.thief().await?);
    let members = format!("{OURS}/memberclusters");
    let marked = json!({"app.kubernetes.io/managed-by": "claviger"});
    let made = |name: &str, labels: &Value, spec: Value| of_ours("MemberCluster", name, labels.clone(), spec);
    let from = |name: &str, labels: &Value, origin: &str| {
        let mut object = made(name, labels, json!({}));
        object["metadata"]["annotations"] = json!({"claviger.dev/adopted-from": format!("{origin}/x")});
        object
    };
    let mut held = from("west", &marked, "ArgoCD/gitops");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let mut forced = from("west", &marked, "ArgoCD/gitops");
    forced["metadata"]["annotations"]["claviger.dev/force-delete"] = json!("true");
    let mut stolen = from("west", &marked, "ArgoCD/gitops");
    stolen["spec"] = spec("MemberCluster");
    let attacks = [
        ("the thief's cluster", made("west", &marked, spec("MemberCluster"))),
        ("the thief's cluster, as an adopted one", stolen),
        ("of nothing", made("west", &marked, json!({}))),
        ("without the mark", from("west", &json!({}), "ArgoCD/gitops")),
        ("from another namespace", from("west", &marked, "ArgoCD/default")),
        ("under another's name", from("west", &marked, "ClusterAPI/team")),
        ("held", held),
        ("with an annotation", forced),
    ];
    let create = |(what, body)| (what, Method::POST, members.clone(), body, By::ResourceFence);
    let mut attacks: Vec<Attack<'_>> = attacks.into_iter().map(create).collect();
    wait_refused(&thief, attacks[0].clone()).await?;

    // What adoption does.
    let adopted = [from("west", &marked, "ArgoCD/gitops"), from("team.east", &marked, "ClusterAPI/team")];
    for object in &adopted {
        send(&thief, &Method::POST, &members, object).await?;
    }
    let relabelled = json!({"metadata": {"labels": {"env": "prod"}}});
    send(&thief, &Method::PATCH, &format!("{members}/west"), &relabelled).await?;

    send(&admin, &Method::POST, &members, &made("mine", &marked, spec("MemberCluster"))).await?;
    send(&admin, &Method::POST, &members, &from("by-hand", &json!({}), "ArgoCD/gitops")).await?;
    let (mine, west) = (format!("{members}/mine"), format!("{members}/west"));
    let unmarked = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
    let (moved, paused) = (
        json!({"metadata": {"annotations": {"claviger.dev/adopted-from": "ArgoCD/gitops/y"}}}),
        json!({"spec": {"paused": true}}),
    );
    for (what, path, body) in [
        ("a label on a person's member", &mine, relabelled.clone()),
        (
            "the mark on a person's member",
            &format!("{members}/by-hand"),
            json!({"metadata": {"labels": marked}}),
        ),
        (
            "the spec of a person's member",
            &mine,
            json!({"spec": {"kubeconfigSecretRef": {"name": "stolen"}}}),
        ),
        ("the mark off", &west, unmarked),
        ("another Secret", &west, moved),
        ("a pause", &west, paused),
    ] {
        attacks.push((what, Method::PATCH, path.clone(), body, By::ResourceFence));
    }
    for path in [&mine, &format!("{members}/by-hand")] {
        attacks.push(("a person's member", Method::DELETE, path.clone(), Value::Null, By::ResourceFence));
    }
    assert_refused(&thief, attacks).await?;
    for name in ["west", "team.east"] {
        send(&thief, &Method::DELETE, &format!("{members}/{name}"), &Value::Null).await?;
    }
    all_rights(&admin, &thief).await
}

/// Somebody has bound the service account to cluster-admin: the fences hold all the same.
async fn all_rights(admin: &Client, thief: &Client) -> Result<()> {
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "mistake"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": FULL_NAME, "namespace": NAMESPACE}],
    }))?;
    Api::all(admin.clone()).create(&PostParams::default(), &binding).await?;
    let policies = format!("{OURS}/distributionpolicies");
    wait_refused(thief, ("consent", Method::POST, policies.clone(), policy(), By::ResourceFence)).await?;
    send(admin, &Method::POST, &policies, &policy()).await?;
    let wider = json!({"spec": {"from": {"namespaces": {"selector": null, "names": ["x"]}}}});
    let held = json!({"metadata": {"finalizers": ["claviger.dev/protect"]}});
    let all = format!("{policies}/all");
    let mut attacks: Vec<Attack<'_>> = vec![
        ("a wider policy", Method::PATCH, all.clone(), wider, By::ResourceFence),
        ("a policy that stays", Method::PATCH, all.clone(), held, By::ResourceFence),
        ("no policy", Method::DELETE, all, Value::Null, By::ResourceFence),
        ("no policies", Method::DELETE, policies, Value::Null, By::ResourceFence),
        (
            "a Secret by patch",
            Method::PATCH,
            "/api/v1/namespaces/default/secrets/theirs".into(),
            json!({"data": {"a": "Yg=="}}),
            By::Fence,
        ),
        (
            "all Secrets at once",
            Method::DELETE,
            "/api/v1/namespaces/default/secrets".into(),
            Value::Null,
            By::Fence,
        ),
    ];
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs"}});
    send(admin, &Method::POST, "/api/v1/namespaces/default/secrets", &theirs).await?;
    for (kind, path) in kinds("default") {
        let object = of_ours(&kind, "x", json!({}), spec(&kind));
        attacks.push(("one of our objects", Method::POST, path.clone(), object.clone(), By::ResourceFence));
        send(admin, &Method::POST, &path, &object).await?;
        attacks.push(("the end of one", Method::DELETE, format!("{path}/x"), Value::Null, By::ResourceFence));
    }
    assert_refused(thief, attacks).await
}
