//! Tokens, keys and passwords by which other clusters are reached.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::{Value, json};

use super::{ALL, assert_secret};
use crate::{
    canary::Canary,
    checks::{good_source, spec_to},
    lab::Lab,
    member::{Desk, kubeconfig},
    support::{ControlPlane, Result, environment::OPERATOR_NAMESPACE, random_name, wait::DEADLINE, wait_for},
};

const ARGOCD: &str = "argocd";
const NOWHERE: &str = "https://127.0.0.1:1";
const MASTERS: &[&str] = &["system:masters"];

/// Kubeconfigs that are refused, or lead nowhere, each with the value where a secret would stand.
fn broken(value: &str) -> Vec<(&'static str, String)> {
    let data = STANDARD.encode(value);
    let env = json!([{"name": "TOKEN", "value": value}]);
    vec![
        (
            "exec",
            kubeconfig(NOWHERE, json!({}), json!({"exec": {"command": "aws", "args": [value], "env": env}})),
        ),
        (
            "provider",
            kubeconfig(
                NOWHERE,
                json!({}),
                json!({"auth-provider": {"name": "x", "config": {"token": value}}}),
            ),
        ),
        ("basic", kubeconfig(NOWHERE, json!({}), json!({"username": "me", "password": value}))),
        (
            "in-server",
            kubeconfig(&format!("https://me:{value}@127.0.0.1:1"), json!({}), json!({"token": value})),
        ),
        ("server", kubeconfig(&format!("{value}://{value}"), json!({}), json!({"token": value}))),
        (
            "key",
            kubeconfig(NOWHERE, json!({}), json!({"client-key-data": data, "client-certificate-data": data})),
        ),
        (
            "authority",
            kubeconfig(NOWHERE, json!({"certificate-authority-data": data}), json!({"token": value})),
        ),
        ("header", kubeconfig(NOWHERE, json!({}), json!({"token": format!("{value}\n{value}")}))),
        ("yaml", format!("users:\n- token: {value}\n  {value}: [{value}\n")),
        ("type", json!({"users": value, "clusters": [value], "contexts": {(value): value}}).to_string()),
        ("dark", kubeconfig(NOWHERE, json!({}), json!({"token": value}))),
    ]
}

#[tokio::test]
async fn what_leads_into_members_is_nowhere_but_in_the_data_of_secrets() -> Result<()> {
    let (lab, east) = tokio::try_join!(
        Lab::start(),
        ControlPlane::builder().user("first", MASTERS).user("second", MASTERS).user("stranger", &[]).start()
    )?;
    let test = lab.scenario().await?;
    let desk = Desk { client: test.client.clone() };
    let argocd: Namespace = serde_json::from_value(json!({"metadata": {"name": ARGOCD}}))?;
    Api::all(test.client.clone()).create(&PostParams::default(), &argocd).await?;
    let operator = lab
        .operator()?
        .args(&[ALL, "--member-probe-interval=1s", "--request-timeout=2s", "--watch-timeout=5s"])
        .args(&["--adopt-argocd-clusters=argocd", "--adopt-cluster-api=*"])
        .start()
        .await?;
    let values: Vec<String> = (0..4).map(|n| random_name(&format!("canary{n}"))).collect();
    let mut canaries: Vec<Canary> =
        values.iter().enumerate().map(|(n, value)| Canary::new(format!("value {n}"), value)).collect();

    // A member that works, by two tokens; a token that nobody knows; one that gives no rights; a certificate.
    for (user, condition, status, reason) in [
        ("first", "Ready", "True", "Connected"),
        ("second", "Ready", "True", "Connected"),
        ("nobody", "Reachable", "False", "Unauthorized"),
        ("stranger", "Ready", "False", "Forbidden"),
    ] {
        let token = if user == "nobody" { &values[0] } else { east.token(user)? };
        canaries.push(Canary::new(format!("the token of {user}"), token));
        desk.kubeconfig("east", &east.kubeconfig_text(east.server_url(), token)).await?;
        desk.member("east", json!({})).await?;
        desk.wait("east", condition, status, reason).await?;
    }
    let certified = std::fs::read_to_string(east.kubeconfig_by_certificate("certified", MASTERS)?)?;
    let key =
        certified.lines().find_map(|line| line.trim().strip_prefix("client-key-data: ")).unwrap_or_default();
    let [line, bytes] =
        Canary::private_key("the key of certified", &String::from_utf8(STANDARD.decode(key)?)?)?;
    desk.kubeconfig("east", &certified).await?;
    desk.wait("east", "Ready", "True", "Connected").await?;
    line.assert_seen(&desk.secrets(OPERATOR_NAMESPACE).get("east").await?);
    canaries.extend([line, bytes]);

    // What is pushed there.
    let policy = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "east"},
        "spec": {
            "from": {"namespaces": {"names": [test.home.name]}},
            "to": {"namespaces": {"names": ["default"]}, "clusters": {"names": ["east"]}},
        },
    });
    test.apply_cluster("DistributionPolicy", "east", policy).await?;
    good_source(&test, "src", &values[1]).await?;
    let target = json!({"namespaces": {"names": ["default"]}, "clusters": {"names": ["east"]}});
    test.credential("reg", spec_to("src", target)).await?;
    let there = Api::namespaced(east.client().await?, "default");
    let copy = wait_for(DEADLINE, "the copy in the member", async || there.get("reg").await).await?;
    canaries[1].assert_seen(&copy);
    let there = serde_json::to_string(&copy.metadata)?;
    assert!(canaries[1].find(&there).is_none(), "the value is in the metadata of the copy");

    // Kubeconfigs of people, and what Argo CD and Cluster API keep.
    let all = broken(&values[2]);
    for (name, text) in &all {
        desk.kubeconfig(&format!("broken-{name}"), text).await?;
        desk.member(&format!("broken-{name}"), json!({})).await?;
    }
    let capi = json!({"cluster.x-k8s.io/cluster-name": "blue"});
    desk.secret(&test.home.name, "blue-kubeconfig", &capi, json!({"value": all[10].1})).await?;
    let value = &values[3];
    let data = STANDARD.encode(value);
    for (name, config) in [
        ("token", json!({"bearerToken": value}).to_string()),
        ("password", json!({"username": "me", "password": value}).to_string()),
        ("key", json!({"tlsClientConfig": {"keyData": data, "certData": data, "caData": data}}).to_string()),
        ("exec", json!({"execProviderConfig": {"command": "x", "env": {"TOKEN": value}}}).to_string()),
        ("json", format!("{{\"bearerToken\": \"{value}\", {value}")),
        ("type", json!({"bearerToken": [value], "tlsClientConfig": value}).to_string()),
    ] {
        let labels = json!({"argocd.argoproj.io/secret-type": "cluster"});
        let data = json!({"name": format!("argo-{name}"), "server": NOWHERE, "config": config});
        desk.secret(ARGOCD, &format!("cluster-{name}"), &labels, data).await?;
    }
    let broken = all.iter().map(|(name, _)| format!("broken-{name}"));
    let adopted = ["token", "password", "key", "exec", "json", "type"].map(|name| format!("argo-{name}"));
    let names: Vec<String> = broken.chain(adopted).chain([format!("{}.blue", test.home.name)]).collect();
    wait_for(DEADLINE, "every member to be judged", async || {
        let members = desk.members().list(&Default::default()).await.map_err(|error| error.to_string())?;
        let judged = |name: &String| {
            members.iter().any(|member| {
                member.name_any() == *name
                    && member.status.as_ref().is_some_and(|status| {
                        status.conditions.iter().any(|c| {
                            c.type_ == "Ready" && c.status == "False" && c.reason != "KubeconfigMissing"
                        })
                    })
            })
        };
        let open: Vec<_> = names.iter().filter(|name| !judged(name)).collect();
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
    })
    .await?;
    assert_secret(&lab, &test, &operator, &canaries).await?;

    for name in ["east", "broken-exec", "broken-dark"] {
        let force = json!({"metadata": {"annotations": {"claviger.dev/force-delete": "true"}}});
        crate::checks::merge::<claviger::api::MemberCluster>(&desk.members(), name, Value::clone(&force))
            .await?;
        desk.delete(name).await?;
        desk.wait_gone(name).await?;
    }
    assert_secret(&lab, &test, &operator, &canaries).await
}
