//! The forms in which people apply what is printed, and what would go wrong without care.

use kube::ResourceExt;
use serde_json::{Value, json};

use super::desk::{CANARY, Desk, LONG, pull_data};
use crate::support::{Result, wait_for};

const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn manifest(namespace: &str, name: &str, host: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name, "labels": {"team": "x"}},
        "type": "kubernetes.io/dockerconfigjson", "stringData": pull_data(host, CANARY)})
    .to_string()
}

#[tokio::test]
async fn what_kubectl_applied_keeps_its_values() -> Result<()> {
    let mut desk = Desk::new(&["platform", "a", "b", "c", "d"]).await?;
    desk.start_operator().await?;
    desk.pull("platform/reg", "r.example.com", json!({})).await?;
    desk.pull("c/reg", "r.example.com", json!({"labels": {"team": "x"}, "annotations": {"note": "kept"}}))
        .await?;
    // Made by `kubectl apply`, of either side: without its values in the manifest, the next one would take them away.
    desk.kubectl(&["apply", "-f", "-"], &manifest("a", "reg", "r.example.com")).await?;
    desk.kubectl(&["apply", "--server-side", "-f", "-"], &manifest("b", "reg", "r.example.com")).await?;
    desk.kubectl(&["apply", "-f", "-"], &manifest("d", "lost", "r.example.com")).await?;
    let places = ["a/reg", "b/reg", "c/reg", "d/lost"];
    let uids = desk.uids(&places).await?;
    let witness = desk.watch().await?;

    let answer = desk.import(&["--source-namespace", "platform"]).await?;
    assert_eq!(answer.code, 3, "{}", answer.err);
    for place in ["--namespace a reg", "--namespace b reg", "--namespace d lost"] {
        assert!(answer.err.contains(place), "{}", answer.err);
    }
    assert_eq!(answer.out.matches("kind: Secret").count(), 1, "{}", answer.out);
    for form in [&["apply", "-f", "-"][..], &["apply", "--server-side", "-f", "-"], &["apply", "-f", "-"]] {
        desk.kubectl(form, &answer.out).await?;
    }
    let copy = desk.get("c/reg").await?;
    assert_eq!(copy.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
    assert_eq!(copy.annotations().get("note").map(String::as_str), Some("kept"));
    assert_eq!(copy.labels().get("team").map(String::as_str), Some("x"));
    for place in places {
        assert_eq!(desk.password(place).await?, CANARY, "{place}");
    }
    let by_hand = answer.err.split("Hand them over by hand").nth(1).unwrap_or_default();
    assert_eq!(desk.run_commands(by_hand).await?, 3, "{by_hand}");
    desk.wait_all_ready().await?;
    desk.assert_adopted(&uids).await?;
    assert!(!desk.get("a/reg").await?.annotations().contains_key(APPLIED), "it quotes the values");
    for place in places {
        assert_eq!(desk.password(place).await?, CANARY, "{place}");
    }
    witness.assert_in_place(&desk, &places).await
}

/// That is why: it shows what the annotation by hand saves from.
#[tokio::test]
async fn kubectl_takes_away_what_it_applied_and_applies_no_more() -> Result<()> {
    let desk = Desk::new(&["a"]).await?;
    let basic = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "a", "name": "x"}, "type": "Opaque", "data": data});
    for form in [&["apply", "-f", "-"][..], &["apply", "--server-side", "-f", "-"]] {
        desk.kubectl(form, &basic(json!({"key": "dmFsdWU="})).to_string()).await?;
        let mut without = basic(json!({}));
        without.as_object_mut().map(|fields| fields.remove("data"));
        desk.kubectl(form, &without.to_string()).await?;
        assert_eq!(desk.get("a/x").await?.data, None, "{form:?}");
        desk.kubectl(&["delete", "secret", "x", "--namespace", "a"], "").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_that_was_replaced_or_is_gone_is_not_handed_over() -> Result<()> {
    let desk = Desk::new(&["platform", "a", "b"]).await?;
    for namespace in ["platform", "a", "b"] {
        desk.pull(&format!("{namespace}/reg"), "r.example.com", json!({})).await?;
    }
    let answer = desk.import(&["--source-namespace", "platform"]).await?;
    for namespace in ["a", "b"] {
        desk.kubectl(&["delete", "secret", "reg", "--namespace", namespace], "").await?;
    }
    let another = desk.pull("a/reg", "another.example.com", json!({})).await?;
    let refused = desk.apply(&answer).await.expect_err("one was replaced, and one is gone");
    assert!(refused.to_string().contains("reg"), "{refused}");
    assert_eq!(desk.get("a/reg").await?.metadata.resource_version, another.metadata.resource_version);
    assert!(desk.secrets("b").get_opt("reg").await?.is_none(), "an empty one was made");
    Ok(())
}

#[tokio::test]
async fn namespaces_move_one_after_the_other() -> Result<()> {
    let mut desk = Desk::new(&["platform", "a", "b"]).await?;
    desk.start_operator().await?;
    for place in ["platform/reg", "a/reg", "b/reg", "b/other"] {
        desk.pull(place, "r.example.com", json!({})).await?;
    }
    let places = ["a/reg", "b/reg", "b/other"];
    let uids = desk.uids(&places).await?;
    let witness = desk.watch().await?;
    let first = desk.import(&["--source-namespace", "platform", "-n", "a", "-o", "json"]).await?;
    let kinds: Vec<_> =
        first.json()?["items"].as_array().into_iter().flatten().map(|one| one["kind"].clone()).collect();
    assert_eq!(kinds, ["Secret", "DistributionPolicy", "RegistryCredential"]);
    desk.apply(&first).await?;
    desk.wait_all_ready().await?;
    assert!(!desk.get("b/reg").await?.labels().contains_key("claviger.dev/owner"));
    // What the first one made is added to, and keeps what a person has put there.
    desk.kubectl(
        &[
            "patch",
            "regcred",
            "reg",
            "-n",
            "platform",
            "--type=merge",
            "-p",
            r#"{"spec":{"description":"mine"}}"#,
        ],
        "",
    )
    .await?;
    let second = desk.import(&["--source-namespace", "platform"]).await?;
    assert!(second.err.contains("RegistryCredential/platform/reg (exists)"), "{}", second.err);
    desk.apply(&second).await?;
    wait_for(LONG, "all to be taken over", async || {
        desk.assert_adopted(&uids).await.map_err(|error| error.to_string())
    })
    .await?;
    desk.wait_all_ready().await?;
    let described = desk
        .kubectl(&["get", "regcred", "reg", "-n", "platform", "-o", "jsonpath={.spec.description}"], "")
        .await?;
    assert_eq!(described, "mine");
    witness.assert_in_place(&desk, &places).await
}
