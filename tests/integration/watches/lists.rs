//! A first list that breaks off after its first page, while what it showed goes.

use claviger::api::CredentialStatus;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use super::{LONG, create_all, of_collection, of_copies, wait_password};
use crate::{
    checks::{delete_pod, good_source, spec, spec_to, wait_no_credential},
    lab::{Lab, copies, many_targets},
    support::{
        Error, HttpProxy, Result,
        http_proxy::{Action, Request},
        wait_for,
    },
};

/// More than fit on a page of 500.
const MANY: usize = 540;

/// Of a list in one stream: the first objects, not the last.
const PART: usize = 150_000;

/// Lets no list of these come to its end.
fn interrupt(proxy: &HttpProxy, of: impl Fn(&Request) -> bool + Send + Sync + 'static) {
    proxy.rule(move |request| match request.is_list() && of(request) {
        true if request.is_continued() => Action::Answer(500),
        true if request.is_watch() => Action::CutAfter(PART),
        _ => Action::Pass,
    });
}

/// Waits until a list has shown its first objects and was broken off.
async fn wait_interrupted(proxy: &HttpProxy, what: &str, of: impl Fn(&Request) -> bool) -> Result<()> {
    wait_for(LONG, &format!("a list of {what} to be broken off"), async || {
        let pages = proxy.count(0, |request| request.is_list() && request.is_continued() && of(request));
        let streams = proxy.count(0, |request| request.is_list() && request.is_watch() && of(request));
        // That a stream was tried again shows that it has ended.
        pages > 0 || streams > 1
    })
    .await
}

#[tokio::test]
async fn a_first_list_that_broke_off_leaves_no_ghosts_of_copies_and_namespaces() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let mut targets = many_targets(&test, MANY).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    operator.terminate(LONG).await?;

    let of_namespaces = |request: &Request| request.resource == "namespaces";
    interrupt(&proxy, move |request| of_copies(request) || of_namespaces(request));
    let operator = lab.operator_at(&proxy.url())?.without_waiting().start().await?;
    wait_interrupted(&proxy, "copies", of_copies).await?;
    wait_interrupted(&proxy, "namespaces", of_namespaces).await?;
    // Those that a first page shows, as lists are sorted.
    targets.sort();
    let doomed = targets.remove(0);
    let namespaces: Api<Namespace> = Api::all(test.client.clone());
    namespaces.delete(&doomed, &DeleteParams::default()).await?;
    for namespace in &targets[..3] {
        test.secrets(namespace).delete("reg", &DeleteParams::default()).await?;
    }
    wait_for(LONG, "the namespace to be gone", async || {
        namespaces.get_opt(&doomed).await.is_ok_and(|found| found.is_none())
    })
    .await?;
    for namespace in &targets[..3] {
        assert!(test.login(namespace, "reg").await?.is_none(), "somebody has made it again already");
    }
    proxy.pass();

    for namespace in &targets[..3] {
        wait_password(&test, namespace, "reg", "the-password", LONG).await?;
    }
    wait_for(LONG, "an honest count", async || {
        let status = test.status("reg").await?;
        let ready = status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        let told = status.summary.map(|summary| summary.namespaces);
        let there = copies(&test).await?.items.len();
        let wanted = format!("{0}/{0}", targets.len());
        if ready && told.as_ref() == Some(&wanted) && there == targets.len() {
            return Ok(());
        }
        Err(Error::new(format!("ready {ready}, {told:?}, there are {there}")))
    })
    .await?;
    wait_for(LONG, "the operator to be ready", async || operator.readyz().await.is_ok_and(|code| code == 200))
        .await
}

/// A storm found that such a copy counted as in place for ever.
#[tokio::test]
async fn a_copy_that_another_secret_replaced_while_nobody_watched_is_no_ghost() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let operator = lab.operator_at(&proxy.url())?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;

    proxy.rule(|request| if of_copies(request) { Action::Cut } else { Action::Pass });
    let secrets = test.secrets(&targets[0]);
    secrets.delete("reg", &DeleteParams::default()).await?;
    let foreign: Secret = serde_json::from_value(json!({
        "metadata": {
            "name": "reg",
            "labels": {"app.kubernetes.io/managed-by": "claviger"},
            "annotations": {"claviger.dev/hub": "another", "claviger.dev/source": "RegistryCredential/their/own"},
        },
        "stringData": {"theirs": "value"},
    }))?;
    let foreign = secrets.create(&PostParams::default(), &foreign).await?;
    proxy.pass();

    test.wait_condition("reg", "Ready", "False", "PartiallySynced").await?;
    let failed = |status: &CredentialStatus| status.clusters.iter().any(|row| row.failures.len() == 1);
    let status = test.wait_status("reg", "one failure", failed).await?;
    assert_eq!(status.clusters[0].failures[0].reason, "SecretNameConflict");
    assert_eq!(secrets.get("reg").await?.resource_version(), foreign.resource_version(), "it was touched");
    secrets.delete("reg", &DeleteParams::default()).await?;
    test.wait_ready("reg", 1).await?;
    operator.check_running()
}

#[tokio::test]
async fn a_first_list_that_broke_off_leaves_no_pods_that_block() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let test = lab.scenario().await?;
    let home = test.home.name.clone();
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec_to("src", json!({}))).await?;
    test.wait_ready("reg", 1).await?;
    // The users are the first of the list.
    let pods = (0..MANY).map(|number| {
        let secret = if number < 3 { "reg" } else { "another" };
        serde_json::from_value(json!({
            "metadata": {"name": format!("pod-{number:04}")},
            "spec": {"containers": [{"name": "app", "image": "app"}], "imagePullSecrets": [{"name": secret}]},
        }))
    });
    let api: Api<Pod> = test.pods(&home);
    create_all(&api, pods.collect::<Result<Vec<Pod>, _>>()?).await?;
    let users = async || -> Result<i64> {
        Ok(test.status("reg").await?.references.map_or(0, |references| references.total))
    };
    wait_for(LONG, "the users to be seen", async || users().await.is_ok_and(|users| users == 3)).await?;
    operator.terminate(LONG).await?;

    interrupt(&proxy, |request| request.resource == "pods" && of_collection(request));
    let operator = lab.operator_at(&proxy.url())?.without_waiting().start().await?;
    wait_interrupted(&proxy, "Pods", |request| request.resource == "pods").await?;
    for number in 0..2 {
        delete_pod(&test, &home, &format!("pod-{number:04}")).await?;
    }
    proxy.pass();
    wait_for(LONG, "the operator to be ready", async || {
        operator.readyz().await.is_ok_and(|code| code == 200)
    })
    .await?;
    wait_for(LONG, "an honest count of users", async || {
        let users = users().await?;
        if users == 1 { Ok(()) } else { Err(Error::new(format!("{users} users"))) }
    })
    .await?;
    test.credentials().delete("reg", &DeleteParams::default()).await?;
    let blocked = test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    assert!(blocked.message.contains("pod-0002"), "{}", blocked.message);
    delete_pod(&test, &home, "pod-0002").await?;
    wait_no_credential(&test, "reg").await?;
    assert!(
        test.secrets(&home).list(&Default::default()).await?.iter().all(|secret| secret.name_any() != "reg")
    );
    Ok(())
}
