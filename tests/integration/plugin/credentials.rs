//! `sync`, `rotate`, `status` and `doctor`, beside a real operator.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::{Answer, Plugin};
use crate::{
    checks::{SOON, good_source, merge, spec},
    lab::Lab,
    scenario::Scenario,
    support::{ControlPlane, Result, environment::OPERATOR_NAMESPACE, wait_for},
};

pub struct Desk {
    pub test: Scenario,
    plugin: Plugin,
}

impl Desk {
    pub async fn new() -> Result<Self> {
        let test = Scenario::shared().await?;
        let kubeconfig = ControlPlane::shared().await?.kubeconfig();
        let plugin = Plugin::new(Some(kubeconfig), Some(&test.home.name)).await?;
        Ok(Self { test, plugin })
    }

    pub async fn call(&self, args: &[&str]) -> Result<Answer> {
        let answer = self.plugin.call(args).await?;
        assert!(!answer.out.contains("canary") && !answer.err.contains("canary"), "{answer:?}");
        Ok(answer)
    }

    pub async fn json(&self, args: &[&str]) -> Result<(i32, Value)> {
        let answer = self.call(&[args, &["-o", "json"]].concat()).await?;
        Ok((answer.code, answer.json()?))
    }
}

#[tokio::test]
async fn a_sync_is_asked_for_and_answered_with_numbers() -> Result<()> {
    let desk = Desk::new().await?;
    let test = &desk.test;
    test.policy().await?;
    let targets = test.targets(3).await?;
    good_source(test, "src", "canary-password").await?;
    test.credential("reg", spec(test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let asked = desk.call(&["sync", "reg"]).await?;
    assert_eq!((asked.code, asked.out.contains("a sync was requested")), (0, true), "{asked:?}");
    let (code, told) = desk.json(&["sync", "regcred/reg", "--wait"]).await?;
    assert_eq!(
        (code, &told["attempted"], &told["ok"], &told["failed"]),
        (0, &json!(3), &json!(3), &json!(0))
    );
    let table = desk.call(&["sync", "reg", "--wait"]).await?;
    assert!(table.out.contains("ATTEMPTED   OK   FAILED"), "{}", table.out);

    // What cannot be brought in line is counted, and the exit code says so.
    merge(&test.secrets(&targets[0]), "reg", json!({"metadata": {"labels": null, "annotations": null}}))
        .await?;
    test.wait_condition("reg", "Synced", "False", "PartiallySynced").await?;
    let (code, told) = desk.json(&["sync", "reg", "--wait"]).await?;
    assert_eq!((code, &told["failed"]), (3, &json!(1)));

    let (code, told) = desk.json(&["status", "regcred/reg"]).await?;
    assert_eq!(code, 0);
    let item = &told["items"][0];
    assert_eq!(
        (&item["kind"], &item["ready"], &item["reason"]),
        (&json!("RegistryCredential"), &json!("False"), &json!("PartiallySynced"))
    );
    let failure = &item["clusters"][0]["failures"][0];
    assert_eq!(
        (&failure["namespace"], &failure["reason"]),
        (&json!(targets[0]), &json!("SecretNameConflict"))
    );
    let tree = desk.call(&["status"]).await?;
    assert!(tree.out.contains("─ local Error 2/3, for "), "{}", tree.out);
    assert!(tree.out.contains(&format!("└─ {} SecretNameConflict: ", targets[0])), "{}", tree.out);
    let everywhere = desk.call(&["status", "-A"]).await?;
    assert!(
        everywhere.code == 0 && everywhere.out.contains(&format!("{}/reg", test.home.name)),
        "{}",
        everywhere.out
    );
    Ok(())
}

#[tokio::test]
async fn names_are_looked_up_and_wrong_ones_told() -> Result<()> {
    let desk = Desk::new().await?;
    let test = &desk.test;
    good_source(test, "src", "canary-password").await?;
    let own = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
    test.credential("two", own).await?;
    let basic = json!({"apiVersion": "claviger.dev/v1alpha1", "kind": "BasicAuthCredential", "metadata": {"name": "two"},
        "spec": {"format": "BasicAuth", "secretRef": {"name": "src"}, "target": {"secretName": "two-basic"}}});
    crate::support::apply_yaml_in(&test.client, &test.home.name, &basic.to_string()).await?;
    for (args, code, says) in [
        (&["sync", "two"][..], 2, "several credentials have that name"),
        (&["sync", "none"], 5, "there is no credential 'none'"),
        (&["status", "pod/two"], 2, "is not a kind of credential"),
        (&["references", "../two"], 2, "is not a kind of credential"),
        (&["status", "regcred/\u{1b}[2J"], 2, "is not a valid name"),
        (
            &["sync", "regcred/two", "--as", "nobody"],
            4,
            "you may not get registrycredentials.claviger.dev in namespace",
        ),
        (&["status", "--as", "nobody"], 4, "you may not list registrycredentials.claviger.dev"),
    ] {
        let answer = desk.call(args).await?;
        assert_eq!(answer.code, code, "{args:?}: {answer:?}");
        assert!(answer.err.contains(says) && !answer.err.contains('\u{1b}'), "{args:?}: {answer:?}");
    }
    let done = desk.call(&["sync", "regcred/two", "--wait"]).await?;
    assert_eq!(done.code, 0, "{done:?}");
    Ok(())
}

#[tokio::test]
async fn a_rotation_reads_the_source_now_and_tells_what_came_of_it() -> Result<()> {
    let desk = Desk::new().await?;
    let test = &desk.test;
    good_source(test, "src", "canary-password").await?;
    let mut own = spec(test, "src");
    own["target"] = json!({});
    own["verification"] = json!({"mode": "Off"});
    test.credential("reg", own).await?;
    test.wait_ready("reg", 1).await?;
    let (code, told) = desk.json(&["rotate", "reg"]).await?;
    assert_eq!(
        (code, &told["revision"], &told["ok"]),
        (0, &json!({"before": 1, "after": 1}), &json!(1)),
        "{told}"
    );
    merge(&test.secrets(&test.home.name), "src", json!({"data": {"password": null}})).await?;
    test.wait_condition("reg", "SourceResolved", "False", "KeyMissing").await?;
    let told = desk.call(&["rotate", "reg"]).await?;
    assert!(told.code == 3 && told.out.contains("SourceResolved   False     KeyMissing"), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn without_an_operator_the_wait_ends() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    good_source(&test, "src", "canary-password").await?;
    let mut own = spec(&test, "src");
    own["target"] = json!({});
    test.credential("reg", own).await?;
    let plugin = Plugin::new(Some(lab.control_plane.kubeconfig()), Some(&test.home.name)).await?;
    let answer = plugin.call(&["sync", "reg", "--wait", "--timeout=1s"]).await?;
    assert!(answer.code == 6 && answer.err.contains("NotHandled"), "{answer:?}");
    let status = plugin.call(&["status"]).await?;
    assert!(
        status.code == 0
            && status.out.contains("Ready=Unknown")
            && status.out.contains("has not seen it yet"),
        "{status:?}"
    );

    // doctor: the definitions are those of this version, nobody leads, and one definition was changed.
    let checks = async || -> Result<(i32, Vec<Value>)> {
        let answer = plugin.call(&["doctor", "-o", "json"]).await?;
        let told = answer.json()?;
        Ok((answer.code, told["checks"].as_array().cloned().unwrap_or_default()))
    };
    let of = |checks: &[Value], check: &str, subject: &str| -> Value {
        let found = checks.iter().find(|one| {
            one["check"] == check && one["subject"].as_str().is_some_and(|text| text.contains(subject))
        });
        found.map_or(Value::Null, |one| one["result"].clone())
    };
    let (code, told) = checks().await?;
    assert_eq!(code, 3, "{told:#?}");
    for definition in ["registrycredentials", "memberclusters", "distributionpolicies"] {
        assert_eq!(of(&told, "definition", definition), "ok", "{told:#?}");
    }
    assert_eq!(of(&told, "leader", "claviger-system/claviger"), "problem");
    assert_eq!(of(&told, "operator", ""), "unknown");

    let client = lab.control_plane.client().await?;
    let operator = lab.candidate()?.start().await?;
    wait_for(SOON, "a leader", async || {
        let (_, told) = checks().await.map_err(|error| error.to_string())?;
        if of(&told, "leader", "claviger") == "ok" { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), OPERATOR_NAMESPACE);
    let labels = json!({"app.kubernetes.io/part-of": "claviger", "app.kubernetes.io/version": "0.0.1"});
    let deployment = json!({"metadata": {"name": "claviger", "labels": labels}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}});
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    let (_, told) = checks().await?;
    let versions: Vec<_> =
        told.iter().filter(|one| one["check"] == "operator").map(|one| one["message"].to_string()).collect();
    assert!(
        versions.iter().any(|message| message.contains("version 0.0.1"))
            && versions.iter().any(|message| message.contains("0 of 1 Pods")),
        "{versions:?}"
    );
    // The Pod that a failed `helm test` leaves behind serves nothing, and is nothing to worry about.
    let pods: Api<Pod> = Api::namespaced(client.clone(), OPERATOR_NAMESPACE);
    for (name, component) in [("an-operator", "operator"), ("a-self-test", "self-test")] {
        let labels =
            json!({"app.kubernetes.io/part-of": "claviger", "app.kubernetes.io/component": component});
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "c", "image": "x"}]}}))?;
        wait_for(SOON, "a Pod", async || pods.create(&PostParams::default(), &pod).await).await?;
    }
    let (_, told) = checks().await?;
    assert_ne!(of(&told, "watches", "an-operator"), Value::Null, "{told:#?}");
    assert_eq!(of(&told, "watches", "a-self-test"), Value::Null, "{told:#?}");
    let definitions: Api<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    > = Api::all(client.clone());
    let crd = definitions.get("tlscredentials.claviger.dev").await?;
    let mut changed = crd.clone();
    let schema = changed.spec.versions[0]
        .schema
        .as_mut()
        .and_then(|schema| schema.open_api_v3_schema.as_mut())
        .expect("schema");
    schema.description = Some("another".to_owned());
    definitions.replace("tlscredentials.claviger.dev", &PostParams::default(), &changed).await?;
    assert_eq!(of(&checks().await?.1, "definition", "tlscredentials"), "problem");

    // Who may read nothing is told each right, and gets no good news.
    let nobody = plugin.call(&["doctor", "--as", "nobody"]).await?;
    assert!(
        nobody.code == 4 && nobody.out.contains("you may not list deployments.apps in the whole cluster"),
        "{nobody:?}"
    );
    drop(operator);
    Ok(())
}
