//! What a watch or a list shows, and the answers to our own writes, in an order that nobody expects.

use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use super::{LONG, SECONDS, metric, of_copies, wait_another, wait_password};
use crate::{
    checks::{delete, delete_pod, exact, exact_all, good_source, spec, spec_to, wait_no_credential},
    lab::Lab,
    scenario::Scenario,
    support::{Error, Result, http_proxy::Action, random_name, wait_for},
};

/// Longer than any answer is held back.
const PATIENT: &str = "--request-timeout=60s";

/// Waits until the operator has seen all that has happened to copies so far: one is deleted, and it heals that.
async fn catch_up(test: &Scenario, namespace: &str, name: &str) -> Result<()> {
    let uid = test.secrets(namespace).get(name).await?.uid().unwrap_or_default();
    test.secrets(namespace).delete(name, &DeleteParams::default()).await?;
    wait_another(test, namespace, name, &uid).await
}

/// Waits until the server has a copy with this password, and deletes it at once.
async fn delete_as_soon_as(test: &Scenario, namespace: &str, name: &str, password: &str) -> Result<String> {
    wait_password(test, namespace, name, password, LONG).await?;
    let found: Secret = test.secrets(namespace).get(name).await?;
    test.secrets(namespace).delete(name, &DeleteParams::default()).await?;
    Ok(found.uid().unwrap_or_default())
}

#[tokio::test]
async fn a_copy_that_came_and_went_before_our_own_answer_is_made_again() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let (slow, quick) = (targets[0].clone(), targets[1].clone());
    let operator = lab.operator_at(&proxy.url())?.arg(PATIENT).start().await?;
    good_source(&test, "src", "password-1").await?;
    test.credential("other", spec_to("src", json!({"namespaces": {"names": [quick]}}))).await?;
    test.wait_ready("other", 1).await?;

    for (method, password) in [("POST", "password-1"), ("PUT", "password-2")] {
        let (mark, held) = (proxy.mark(), slow.clone());
        proxy.rule(move |request| {
            let ours = request.resource == "secrets" && request.namespace == held && request.method == method;
            // What comes after the first of them shows that it was given up.
            if ours { Action::HoldAnswer } else { Action::Pass }
        });
        let writes =
            || proxy.count(mark, |r| r.resource == "secrets" && r.namespace == slow && r.method == method);
        if method == "POST" {
            test.credential("reg", spec_to("src", json!({"namespaces": {"names": [slow]}}))).await?;
        } else {
            good_source(&test, "src", password).await?;
        }
        let uid = delete_as_soon_as(&test, &slow, "reg", password).await?;
        wait_for(LONG, "the answer to be held", async || proxy.held() > 0).await?;
        wait_password(&test, &quick, "other", password, LONG).await?;
        catch_up(&test, &quick, "other").await?;
        assert_eq!(writes(), 1, "the write was given up: the test shows nothing");
        assert!(test.login(&slow, "reg").await?.is_none());
        proxy.pass();
        wait_another(&test, &slow, "reg", &uid).await.map_err(|error| error.context(method))?;
        wait_password(&test, &slow, "reg", password, SECONDS).await?;
    }
    test.wait_ready("reg", 2).await?;
    operator.check_running()
}

#[tokio::test]
async fn a_list_from_before_our_own_writes_is_no_drift() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    let operator = lab.operator_at(&proxy.url())?.arg(PATIENT).start().await?;
    good_source(&test, "src", "password-1").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let drift = async || metric(&operator, "claviger_drift_repaired_total").await;
    let before = drift().await?;

    // Copies are listed, and the list is long on its way.
    let mark = proxy.mark();
    proxy.rule(move |request| match of_copies(request) {
        true if request.is_watch() && request.number < mark => Action::Expire,
        true if request.is_list() && request.number >= mark => Action::HoldAnswer,
        _ => Action::Pass,
    });
    wait_for(LONG, "the list to be on its way", async || {
        proxy.count(mark, |request| of_copies(request) && request.is_list()) > 0 && proxy.held() > 0
    })
    .await?;
    let late: Vec<String> = (0..3).map(|_| random_name("late")).collect();
    for namespace in &late {
        test.target(namespace).await?;
    }
    for namespace in &late {
        wait_password(&test, namespace, "reg", "password-1", LONG).await?;
    }
    good_source(&test, "src", "password-2").await?;
    let mut all = Vec::new();
    for namespace in targets.iter().chain(&late) {
        wait_password(&test, namespace, "reg", "password-2", LONG).await?;
        all.push((namespace, exact(&test, namespace, "reg").await?));
    }
    // The operator has all its answers.
    test.wait_ready("reg", 2).await?;
    let mark = proxy.mark();
    proxy.pass();

    // What the list could not tell of is read; a deletion that the operator finds so would be no event.
    wait_for(LONG, "the list to be taken in", async || {
        let read = proxy.count(mark, |request| request.resource == "secrets" && request.name == "reg");
        if read >= late.len() { Ok(()) } else { Err(Error::new(format!("{read} were read"))) }
    })
    .await?;
    catch_up(&test, &late[0], "reg").await?;
    test.wait_ready("reg", 2).await?;
    wait_for(LONG, "the one repair to be counted", async || {
        let now = drift().await? - before;
        if now >= 1.0 { Ok(()) } else { Err(Error::new(format!("{now}"))) }
    })
    .await?;
    assert_eq!(drift().await? - before, 1.0, "our own writes were counted as drift");
    let writes = proxy.count(mark, |request| request.resource == "secrets" && request.method != "GET");
    assert_eq!(writes, 1, "copies that were right were written again");
    for (namespace, exactly) in all.into_iter().filter(|(namespace, _)| **namespace != late[0]) {
        assert_eq!(exact(&test, namespace, "reg").await?, exactly, "{namespace}");
    }
    Ok(())
}

#[tokio::test]
async fn a_deletion_takes_nothing_while_the_watch_has_not_shown_a_pod() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    let operator = lab.operator_at(&proxy.url())?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let copies = exact_all(&test, &targets, "reg").await?;

    proxy.rule(
        |request| {
            if request.resource == "pods" && request.is_watch() { Action::Hold } else { Action::Pass }
        },
    );
    test.pod(&targets[0], "app", "reg").await?;
    let mark = proxy.mark();
    delete(&test, "reg").await?;
    // It asks again and again until the watch shows what the server has said.
    let asked = || proxy.count(mark, |request| request.resource == "pods" && request.is_list());
    wait_for(LONG, "lists of Pods", async || {
        if asked() > 2 * targets.len() { Ok(()) } else { Err(asked().to_string()) }
    })
    .await?;
    assert_eq!(exact_all(&test, &targets, "reg").await?, copies);
    let deletes = proxy.count(mark, |request| request.resource == "secrets" && request.method == "DELETE");
    assert_eq!(deletes, 0, "a copy was to go while a Pod used another");
    proxy.pass();
    test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    assert_eq!(exact_all(&test, &targets, "reg").await?, copies);
    delete_pod(&test, &targets[0], "app").await?;
    wait_no_credential(&test, "reg").await?;
    operator.check_running()
}
