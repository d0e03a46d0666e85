//! Tenants who write objects only to be in the way.

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::networking::v1::Ingress;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use super::{
    LONG,
    kinds::{Kinds, ingress},
};
use crate::{
    checks::{delete, exact, wait_no_credential},
    heavy::heavy,
    lab::Lab,
    support::{Error, Result, stays, wait_for},
};

/// How many there are. Each names a copy, and many Secrets that nobody has.
const INGRESSES: usize = 10_000;

/// Of a tenant's namespace; the bound is that of all hostile input, with what an operator that is not optimised needs more.
const MOST: u64 = (128 + 48) << 20;

async fn many(stage: &Kinds, count: usize) -> Result<()> {
    let api: Api<Ingress> = Api::namespaced(stage.test.client.clone(), &stage.targets[0]);
    let made = futures::stream::iter(0..count).map(|n| {
        let mut object = ingress(&format!("web-{n}"), "reg");
        let junk = (0..20).map(|m| json!({"secretName": format!("junk-{n}-{m}")}));
        if let Some(tls) = object["spec"]["tls"].as_array_mut() {
            tls.extend(junk);
        }
        let api = api.clone();
        async move {
            let object: Ingress = serde_json::from_value(object)?;
            Result::Ok(api.create(&PostParams::default(), &object).await.map(drop)?)
        }
    });
    made.buffer_unordered(32).collect::<Vec<_>>().await.into_iter().collect()
}

#[tokio::test]
async fn ten_thousand_ingresses_are_counted_exactly_and_cost_no_more_than_is_allowed() -> Result<()> {
    let _turn = heavy().await;
    let stage = Kinds::new(2, Lab::operator).await?;
    let test = &stage.test;
    let after = stage.lab.requests()?;
    let began = Instant::now();
    many(&stage, INGRESSES).await?;
    let count = i64::try_from(INGRESSES)?;
    let items = stage.wait_users(count, count).await?;
    assert_eq!(items.len(), 50);
    let writes = stage.lab.writes(after)?;
    let statuses = writes.iter().filter(|write| write.subresource == "status" && write.name == "reg").count();
    let most = 3 + usize::try_from(began.elapsed().as_secs() / 30)?;
    assert!(statuses <= most, "{statuses} statuses in {:?}", began.elapsed());
    let peak = stage.operator.peak_rss_bytes()?;
    assert!(peak < MOST, "{} MiB", peak >> 20);

    // Their owner's credential is held, and that of nobody else.
    delete(test, "reg").await?;
    test.wait_told("reg", "DeletionBlocked", "True", "InUse", &["and 9997 more"]).await?;
    exact(test, &stage.targets[0], "reg").await?;
    let api: Api<Ingress> = Api::namespaced(test.client.clone(), &stage.targets[0]);
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    // The watch shows each of them. An operator that is not optimized takes 2 ms of CPU for one: 20 s, and thrice that beside other tests.
    let gone = wait_for(3 * LONG, "the credential to go", async || {
        let left = test.credentials().get_opt("reg").await?;
        left.map_or(Ok(()), |left| Err(Error::new(json!(left.status).to_string())))
    });
    let log = |error| Error::new(format!("{error}; the operator:\n{}", stage.operator.logs()));
    gone.await.map_err(log)?;
    stage.operator.check_running()
}

/// By a name that somebody else's copy has, in a namespace of their own, or by naming that of the other.
#[tokio::test]
async fn who_names_a_secret_of_another_namespace_holds_nothing() -> Result<()> {
    let stage = Kinds::new(1, Lab::operator).await?;
    let test = &stage.test;
    let home = &test.home.name;
    stage.make(home, &ingress("same-name", "reg")).await?;
    let mut pointing = ingress("pointing", "not-ours");
    pointing["metadata"]["annotations"] = json!({
        "nginx.ingress.kubernetes.io/auth-secret": format!("{}/reg", stage.targets[0]),
        "haproxy.org/auth-secret": format!("{}/reg", stage.targets[0]),
    });
    stage.make(home, &pointing).await?;
    // What is seen after it.
    stage.make(&stage.targets[0], &ingress("own", "reg")).await?;
    let items = stage.wait_users(1, 1).await?;
    assert_eq!(items[0].name, "own");
    stays(Duration::from_secs(1), "one user", async || {
        let references =
            test.status("reg").await.map_err(|error| error.to_string())?.references.unwrap_or_default();
        if references.total == 1 { Ok(()) } else { Err(format!("{references:?}")) }
    })
    .await?;
    stage.unmake(&stage.targets[0], &ingress("own", "reg")).await?;
    delete(test, "reg").await?;
    wait_no_credential(test, "reg").await
}
