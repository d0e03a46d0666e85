//! Types that a cluster may lack: they come, go and break, and nothing else does for it.

use serde_json::Value;

use super::{LONG, kinds::Kinds};
use crate::{
    checks::{delete, exact, wait_no_credential},
    lab::Lab,
    support::{
        Result,
        http_proxy::Action,
        reference_types::{GATEWAY_API, Group},
        stays, wait_for,
    },
};

/// An object of a group that uses the copy and holds it.
fn gateway(group: &Group) -> Value {
    group
        .objects("reg")
        .into_iter()
        .map(|(object, _)| object)
        .find(|object| object["kind"] == "Gateway")
        .unwrap_or_default()
}

#[tokio::test]
async fn a_type_that_is_installed_later_counts_and_holds_until_it_is_removed() -> Result<()> {
    let stage = Kinds::new(1, Lab::operator).await?;
    let (namespace, test) = (&stage.targets[0], &stage.test);
    assert_eq!(stage.operator.readyz().await?, 200, "a cluster without a type lacks nothing");
    let metrics = stage.operator.metrics().await?;
    assert!(metrics.contains("kind=\"ingresses\"") && !metrics.contains("kind=\"gateways\""), "{metrics}");
    GATEWAY_API.install(&test.client).await?;
    stage.make(namespace, &gateway(&GATEWAY_API)).await?;
    stage.wait_users(1, 1).await?;
    delete(test, "reg").await?;
    test.wait_told("reg", "DeletionBlocked", "True", "InUse", &["Gateway"]).await?;
    exact(test, namespace, "reg").await?;
    // The definition goes, and all Gateways with it.
    GATEWAY_API.remove(&test.client).await?;
    wait_for(LONG, "the credential to go", async || {
        test.credentials().get_opt("reg").await.is_ok_and(|left| left.is_none())
    })
    .await?;
    wait_for(LONG, "the watch to be given up", async || {
        stage.operator.metrics().await.is_ok_and(|metrics| !metrics.contains("kind=\"gateways\""))
    })
    .await?;
    assert_eq!(stage.operator.healthz().await?, 200);
    // Again, and it counts again.
    GATEWAY_API.install(&test.client).await?;
    test.credential("reg", crate::checks::spec(test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    stage.make(namespace, &gateway(&GATEWAY_API)).await?;
    stage.wait_users(1, 1).await?;
    stage.operator.check_running()
}

/// A definition whose conversion is broken answers everything with an error. Nobody can say then who uses what: what would be
/// deleted waits, and everything else goes on.
#[tokio::test]
async fn a_type_that_cannot_be_listed_holds_deletions_and_nothing_else() -> Result<()> {
    let lab = Lab::start().await?;
    GATEWAY_API.install(&lab.control_plane.client().await?).await?;
    let proxy = lab.control_plane.http_proxy().await?;
    proxy.rule(|request| {
        let is_broken = request.resource == "gateways" && request.method == "GET";
        if is_broken { Action::Answer(500) } else { Action::Pass }
    });
    let stage = Kinds::on(lab, 2, |lab| lab.operator_at(&proxy.url())).await?;
    let test = &stage.test;
    // It is ready, and rotates.
    crate::checks::good_source(test, "src", "another-password").await?;
    test.wait_password(&stage.targets[0], "reg", "another-password").await?;
    delete(test, "reg").await?;
    test.wait_told("reg", "DeletionBlocked", "True", "UsersUnknown", &["the gateways", "cannot be listed"])
        .await?;
    stays(
        std::time::Duration::from_secs(3),
        "a copy of which it is not known whether it is in use",
        async || test.secrets(&stage.targets[0]).get("reg").await.map(drop),
    )
    .await?;
    proxy.pass();
    wait_no_credential(test, "reg").await?;
    assert_eq!(stage.operator.healthz().await?, 200);
    stage.operator.check_running()
}

/// What is not known to be missing may be there, and hold.
#[tokio::test]
async fn a_cluster_that_does_not_say_which_types_it_has_holds_deletions() -> Result<()> {
    let lab = Lab::start().await?;
    GATEWAY_API.install(&lab.control_plane.client().await?).await?;
    let proxy = lab.control_plane.http_proxy().await?;
    proxy.rule(|request| if request.path == "/apis" { Action::Answer(503) } else { Action::Pass });
    let stage = Kinds::on(lab, 1, |lab| lab.operator_at(&proxy.url())).await?;
    let (namespace, test) = (&stage.targets[0], &stage.test);
    assert_eq!(stage.operator.readyz().await?, 200, "everything else goes on");
    stage.make(namespace, &gateway(&GATEWAY_API)).await?;
    delete(test, "reg").await?;
    test.wait_told("reg", "DeletionBlocked", "True", "UsersUnknown", &["the gateways", "not known"]).await?;
    exact(test, namespace, "reg").await?;
    proxy.pass();
    let items = stage.wait_users(1, 1).await?;
    assert_eq!(items[0].kind, "Gateway");
    exact(test, namespace, "reg").await?;
    stage.unmake(namespace, &gateway(&GATEWAY_API)).await?;
    wait_no_credential(test, "reg").await?;
    stage.operator.check_running()
}

/// The watch is behind: the server itself is asked about each kind that holds.
#[tokio::test]
async fn a_deletion_takes_nothing_while_the_watch_has_not_shown_an_ingress() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let stage = Kinds::on(lab, 2, |lab| lab.operator_at(&proxy.url())).await?;
    let (namespace, test) = (&stage.targets[0], &stage.test);
    proxy.rule(|request| {
        let is_held = request.resource == "ingresses" && request.is_watch();
        if is_held { Action::Hold } else { Action::Pass }
    });
    let ingress = super::kinds::ingress("web", "reg");
    stage.make(namespace, &ingress).await?;
    let mark = proxy.mark();
    delete(test, "reg").await?;
    let asked = || proxy.count(mark, |request| request.resource == "ingresses" && request.is_list());
    wait_for(LONG, "lists of Ingresses", async || {
        if asked() > 2 * stage.targets.len() { Ok(()) } else { Err(asked().to_string()) }
    })
    .await?;
    let deletes = proxy.count(mark, |request| request.resource == "secrets" && request.method == "DELETE");
    assert_eq!(deletes, 0, "a copy was to go while an Ingress used another");
    proxy.pass();
    test.wait_told("reg", "DeletionBlocked", "True", "InUse", &["Ingress"]).await?;
    stage.unmake(namespace, &ingress).await?;
    wait_no_credential(test, "reg").await?;
    stage.operator.check_running()
}

/// etcd is restored from a backup: an Ingress that was made after it was never there.
#[tokio::test]
async fn what_a_restore_took_away_holds_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    let stage =
        Kinds::on(lab, 1, |lab| Ok(lab.operator()?.args(&["--watch-timeout=5s", "--request-timeout=2s"])))
            .await?;
    let (namespace, test) = (&stage.targets[0], &stage.test);
    stage.make(namespace, &super::kinds::ingress("before", "reg")).await?;
    stage.wait_users(1, 1).await?;
    let backup = stage.lab.control_plane.backup().await?;
    stage.make(namespace, &super::kinds::ingress("after", "reg")).await?;
    stage.unmake(namespace, &super::kinds::ingress("before", "reg")).await?;
    wait_for(LONG, "the change to be told", async || {
        let references =
            test.status("reg").await.map_err(|error| error.to_string())?.references.unwrap_or_default();
        if references.items.iter().any(|item| item.name == "after") {
            Ok(())
        } else {
            Err(format!("{references:?}"))
        }
    })
    .await?;
    stage.lab.control_plane.restore(&backup).await?;
    delete(test, "reg").await?;
    test.wait_told("reg", "DeletionBlocked", "True", "InUse", &["before"]).await?;
    let status = test.wait_status("reg", "one Ingress", |status| {
        status
            .references
            .as_ref()
            .is_some_and(|references| references.total == 1 && references.items[0].name == "before")
    });
    status.await?;
    stage.unmake(namespace, &super::kinds::ingress("before", "reg")).await?;
    wait_no_credential(test, "reg").await?;
    stage.operator.check_running()
}
