//! What the operator asks for, as seen on the wire.

use kube::{Api, api::PostParams};
use serde_json::json;

use super::{LONG, of_collection, of_copies};
use crate::{
    checks::good_source,
    fleet::world::{Member, World},
    lab::Lab,
    support::{Error, HttpProxy, Result, http_proxy::Action, http_proxy::Request, wait_for},
};

/// Whether a request is for all Secrets of others, or for a part of them.
fn of_foreign_secrets(request: &Request) -> bool {
    request.resource == "secrets" && of_collection(request) && !of_copies(request)
}

/// Whether each form of answer that is accepted leaves the values out.
fn without_values(request: &Request) -> bool {
    request.accept.split(',').all(|form| form.contains("as=PartialObjectMetadata"))
}

/// Has every watch begin anew, with a list; returns the number of the first request after it.
fn expire_all(proxy: &HttpProxy) -> usize {
    let mark = proxy.mark();
    proxy.rule(
        move |request| {
            if request.is_watch() && request.number < mark { Action::Expire } else { Action::Pass }
        },
    );
    mark
}

#[tokio::test]
async fn the_values_of_other_secrets_are_not_asked_for() -> Result<()> {
    let lab = Lab::start().await?;
    let hub = lab.control_plane.http_proxy().await?;
    let operator = [
        "--request-timeout=5s",
        "--watch-timeout=5s",
        "--member-probe-interval=1s",
        "--adopt-argocd-clusters=argocd",
        "--adopt-cluster-api=*",
    ];
    let operator = operator.into_iter().fold(lab.operator_at(&hub.url())?, |builder, arg| builder.arg(arg));
    let world = World::of(lab, operator.start().await?).await?;
    world.consent(serde_json::json!({"selector": {}})).await?;
    let mut east = Member::start("east").await?;
    let member = east.http_proxy().await?;
    let test = &world.test;
    test.target("web").await?;
    east.namespaces(test, &["web"]).await?;
    // One that is nobody's source, there as well as here.
    for client in [&test.client, &east.admin] {
        let secret =
            serde_json::from_value(json!({"metadata": {"name": "bystander"}, "stringData": {"a": "b"}}))?;
        let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client.clone(), "web");
        secrets.create(&PostParams::default(), &secret).await?;
    }
    world.join(&east, json!({})).await?;
    test.credential("reg", world.spec(json!({"selector": {}}))).await?;
    test.wait_ready("reg", 1).await?;

    let marks = [(&hub, expire_all(&hub)), (&member, expire_all(&member))];
    good_source(test, "src", "another-password").await?;
    east.wait_copy("web", "reg", "2").await?;
    test.wait_ready("reg", 2).await?;
    for (proxy, mark) in marks {
        // Else the test would show nothing.
        wait_for(LONG, "Secrets to be listed and watched anew", async || {
            let listed = proxy.count(mark, |r| of_foreign_secrets(r) && r.is_list());
            let watched = proxy.count(mark, |r| of_foreign_secrets(r) && r.is_watch());
            let copies = proxy.count(mark, |r| of_collection(r) && of_copies(r));
            if listed > 0 && watched > 0 && copies > 0 {
                return Ok(());
            }
            Err(Error::new(format!("{listed} lists, {watched} watches, {copies} of copies")))
        })
        .await?;
    }
    let mut asked = Vec::new();
    for (place, proxy) in [("hub", &hub), ("member", &member)] {
        let requests = proxy.requests();
        let bad = requests.iter().filter(|request| of_foreign_secrets(request) && !without_values(request));
        asked.extend(bad.map(|r| format!("{place}: {} {:?} accepts {:?}", r.path, r.labels(), r.accept)));
    }
    assert!(asked.is_empty(), "{asked:#?}");
    Ok(())
}
