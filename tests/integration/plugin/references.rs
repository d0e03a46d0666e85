//! `references`: of all kinds, as they are now, and in members by contexts of the caller.

use std::fs;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::ServiceAccount,
    networking::v1::Ingress,
    rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use super::{Plugin, credentials::Desk};
use crate::{
    checks::{SOON, good_source, spec},
    fleet::world::{Member, World},
    support::{Result, random_name, wait_for},
};

#[tokio::test]
async fn references_are_those_of_now() -> Result<()> {
    let desk = Desk::new().await?;
    let test = &desk.test;
    test.policy().await?;
    let targets = test.targets(2).await?;
    good_source(test, "src", "canary-password").await?;
    test.credential("reg", spec(test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let (code, told) = desk.json(&["references", "reg"]).await?;
    assert_eq!((code, &told["items"]), (0, &json!([])));
    test.pod(&targets[0], "user", "reg").await?;
    test.pod(&targets[1], "done", "reg").await?;
    test.phase(&targets[1], "done", "Succeeded").await?;
    let item = json!({"cluster": "local", "kind": "Pod", "namespace": targets[0], "name": "user", "field": "spec.imagePullSecrets", "live": true});
    let (_, told) = desk.json(&["references", "reg"]).await?;
    assert_eq!(
        (&told["items"], &told["clusters"]),
        (&json!([item]), &json!([{"name": "local", "live": true}]))
    );
    let table = desk.call(&["references", "reg"]).await?;
    assert!(table.out.contains("now") && table.out.contains("user"), "{}", table.out);

    // Without the right to list Pods and Secrets, the status is told, and what is missing.
    wait_for(SOON, "the status", async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        status.references.filter(|references| references.total == 1).ok_or_else(|| "not yet".to_owned())
    })
    .await?;
    let name = random_name("reader");
    let rules = json!({"metadata": {"name": name}, "rules": [{"apiGroups": ["claviger.dev"], "resources": ["*"], "verbs": ["get", "list"]}]});
    Api::<ClusterRole>::all(test.client.clone())
        .create(&PostParams::default(), &serde_json::from_value(rules)?)
        .await?;
    let binding = json!({"metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]});
    Api::<ClusterRoleBinding>::all(test.client.clone())
        .create(&PostParams::default(), &serde_json::from_value(binding)?)
        .await?;
    let told = wait_for(SOON, "the right to count", async || {
        let told = desk.call(&["references", "reg", "--as", &name, "-o", "json"]).await;
        told.map_err(|error| error.to_string())
            .and_then(|told| if told.out.is_empty() { Err(told.err) } else { Ok(told) })
    })
    .await?;
    assert!(told.code == 4 && told.err.contains("you may not list secrets in the whole cluster"), "{told:?}");
    assert_eq!(told.json()?["items"][0]["live"], false);
    Ok(())
}

/// Kind, namespace, name, field, and whether it was seen.
fn told(items: &Value) -> Vec<String> {
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    let line = |item: &Value| {
        let text = |key: &str| item[key].as_str().unwrap_or_default();
        format!("{} {} {} {}", text("cluster"), text("kind"), text("name"), item["live"])
    };
    items.iter().map(line).collect()
}

#[tokio::test]
async fn users_of_all_kinds_are_seen_now_where_the_caller_may_list_them() -> Result<()> {
    let desk = Desk::new().await?;
    let test = &desk.test;
    test.policy().await?;
    let targets = test.targets(2).await?;
    good_source(test, "src", "canary-password").await?;
    test.credential("reg", spec(test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let place = &targets[0];
    let api = |namespace: &str| -> (Api<Deployment>, Api<Ingress>, Api<ServiceAccount>) {
        let client = || test.client.clone();
        (
            Api::namespaced(client(), namespace),
            Api::namespaced(client(), namespace),
            Api::namespaced(client(), namespace),
        )
    };
    let (deployments, ingresses, accounts) = api(place);
    let pulls = json!([{"name": "reg"}]);
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}], "imagePullSecrets": pulls}});
    let deployment = json!({"metadata": {"name": "asleep"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    let ingress = json!({"metadata": {"name": "shop"}, "spec": {"tls": [{"secretName": "reg"}], "defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}});
    ingresses.create(&PostParams::default(), &serde_json::from_value(ingress)?).await?;
    let account = json!({"metadata": {"name": "robot"}, "imagePullSecrets": pulls});
    accounts.create(&PostParams::default(), &serde_json::from_value(account)?).await?;
    test.pod(&targets[1], "user", "reg").await?;
    let (code, all) = desk.json(&["references", "reg"]).await?;
    let wanted = ["Deployment asleep", "Ingress shop", "Pod user", "ServiceAccount robot"];
    let live = wanted.map(|wanted| format!("local {wanted} true"));
    assert_eq!((code, told(&all["items"])), (0, live.to_vec()), "{all:#}");
    wait_for(SOON, "the status", async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        status.references.filter(|references| references.total == 4).ok_or_else(|| "not yet".to_owned())
    })
    .await?;

    // Who may list Secrets, and all else in one namespace only, is told of that one as it is now, and of the others what was.
    let name = random_name("reader");
    let rules = json!({"metadata": {"name": name}, "rules": [
        {"apiGroups": ["claviger.dev"], "resources": ["*"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]},
    ]});
    let roles: Api<ClusterRole> = Api::all(test.client.clone());
    roles.create(&PostParams::default(), &serde_json::from_value(rules)?).await?;
    let subjects = json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]);
    let binding = |role: &str| {
        json!({"metadata": {"name": name}, "subjects": subjects,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}})
    };
    let bindings: Api<ClusterRoleBinding> = Api::all(test.client.clone());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding(&name))?).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(test.client.clone(), place);
    bindings.create(&PostParams::default(), &serde_json::from_value(binding("view"))?).await?;
    ingresses.delete("shop", &DeleteParams::default()).await?;
    let part = wait_for(SOON, "the rights to count", async || {
        let some = desk.call(&["references", "reg", "--as", &name, "-o", "json"]).await;
        let some = some.map_err(|error| error.to_string())?;
        let items = some.json().map_err(|error| error.to_string())?["items"].clone();
        if told(&items).contains(&"local Deployment asleep true".to_owned()) {
            Ok((some, items))
        } else {
            Err(format!("{some:?}"))
        }
    })
    .await?;
    let (answer, items) = part;
    assert!(answer.code == 4 && answer.err.contains("in the whole cluster"), "{answer:?}");
    let wanted = ["Deployment asleep true", "Pod user false", "ServiceAccount robot true"]
        .map(|line| format!("local {line}"));
    assert_eq!(told(&items), wanted);
    Ok(())
}

#[tokio::test]
async fn members_are_asked_by_contexts_of_the_caller() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    let test = &world.test;
    test.target("web").await?;
    east.namespaces(test, &["web"]).await?;
    world.join(&east, json!({})).await?;
    test.credential("reg", world.spec(json!({"names": ["local", "east"]}))).await?;
    test.wait_ready("reg", 1).await?;
    east.pod("web", "user", "reg").await?;
    wait_for(SOON, "the status", async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        status.references.filter(|references| references.total == 1).ok_or_else(|| "not yet".to_owned())
    })
    .await?;

    let hub = world.lab.control_plane.kubeconfig();
    let plugin = Plugin::new(Some(hub.clone()), Some(&test.home.name)).await?;
    let answer = plugin.call(&["references", "reg", "-o", "json"]).await?;
    let json = answer.json()?;
    assert_eq!(
        (answer.code, told(&json["items"])),
        (0, vec!["east Pod user false".to_owned()]),
        "{answer:?}"
    );
    assert_eq!(json["clusters"][0]["live"], false, "{json:#}");
    let words = plugin.call(&["references", "reg"]).await?;
    assert!(
        words.out.contains("by status") && words.err.contains("cluster east was not asked: "),
        "{words:?}"
    );

    // A second kubeconfig, as people have them.
    let text = east.kubeconfig.replace(": test", ": east");
    let file = plugin.dir.join("east.yaml");
    fs::write(&file, &text)?;
    let both = format!("{}:{}", hub.display(), file.display());
    let plugin = Plugin::new(Some(both.into()), Some(&test.home.name)).await?;
    let answer = plugin.call(&["references", "reg", "-o", "json"]).await?;
    assert_eq!(told(&answer.json()?["items"]), ["east Pod user true"], "{answer:?}");
    east.delete_pod("web", "user").await?;
    let answer = plugin.call(&["references", "reg", "-o", "json"]).await?;
    assert_eq!((answer.code, &answer.json()?["items"]), (0, &json!([])), "{answer:?}");

    // Another cluster at the address of the member, as behind a tunnel, tells nothing of it.
    let status = json!({"status": {"clusterId": "00000000-0000-4000-8000-000000000000"}});
    drop(world.operator);
    let patch = kube::api::Patch::Merge(status);
    let members: Api<claviger::api::MemberCluster> = Api::all(test.client.clone());
    members.patch_status("east", &Default::default(), &patch).await?;
    let words = plugin.call(&["references", "reg"]).await?;
    assert!(words.code == 0 && words.err.contains("another cluster answers at its address"), "{words:?}");
    Ok(())
}
