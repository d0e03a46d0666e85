//! What watches and lists bring, and what becomes of them: interrupted, behind, frozen, from before a restore.

mod adoption;
mod blind;
mod lists;
mod outages;
mod races;
mod relists;
pub(crate) mod restore;
mod wire;

use std::time::Duration;

use claviger::api::RegistryCredential;
use futures::StreamExt;
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    scenario::Scenario,
    support::{Operator, Result, http_proxy::Request, wait_for},
};

/// For what takes a few time-outs, or a thousand objects, while other tests use the machine.
const LONG: Duration = Duration::from_secs(90);

/// For what must happen within seconds.
const SECONDS: Duration = Duration::from_secs(10);

/// Makes many objects, several at a time.
async fn create_all<K>(api: &Api<K>, objects: Vec<K>) -> Result<()>
where
    K: Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    let params = PostParams::default();
    let made = futures::stream::iter(&objects).map(|object| api.create(&params, object)).buffer_unordered(16);
    made.collect::<Vec<_>>().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

/// Whether a request is about our copies alone.
fn of_copies(request: &Request) -> bool {
    request.resource == "secrets" && request.labels().contains(&"app.kubernetes.io/managed-by=claviger")
}

/// Whether a request is one of those that keep a cache: of a collection.
fn of_collection(request: &Request) -> bool {
    request.method == "GET" && !request.resource.is_empty() && request.name.is_empty()
}

/// Waits until a copy has a password, for no longer than the test allows.
async fn wait_password(
    test: &Scenario,
    namespace: &str,
    name: &str,
    password: &str,
    within: Duration,
) -> Result<()> {
    let what = format!("the new password in {namespace}/{name}");
    let seen = wait_for(within, &what, async || match test.login(namespace, name).await {
        Ok(Some((_, found))) if found == password => Ok(()),
        Ok(Some(_)) => Err("another password".to_owned()),
        Ok(None) => Err("no copy".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    seen.await
}

/// Waits until a Secret is there that is another one than that with this uid.
async fn wait_another(test: &Scenario, namespace: &str, name: &str, uid: &str) -> Result<()> {
    wait_for(LONG, &format!("another {namespace}/{name}"), async || {
        let found = test.secrets(namespace).get_opt(name).await.ok().flatten();
        found.and_then(|secret| secret.uid()).filter(|found| found != uid).map(drop)
    })
    .await
}

/// Waits until all of the test's credentials are ready.
async fn wait_all_ready(test: &Scenario, count: usize) -> Result<()> {
    let api: Api<RegistryCredential> = test.credentials();
    wait_for(LONG, "all credentials to be ready", async || {
        let all = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let ready = all.iter().filter(|object| {
            let conditions = object.status.as_ref().map_or(&[][..], |status| &status.common.conditions);
            conditions.iter().any(|c| {
                c.type_ == "Ready" && c.status == "True" && c.observed_generation == object.meta().generation
            })
        });
        let ready = ready.count();
        if ready == count { Ok(()) } else { Err(format!("{ready} of {count}")) }
    })
    .await
}

/// A metric, 0 before it was counted first.
async fn metric(operator: &Operator, selector: &str) -> Result<f64> {
    Ok(operator.metric(selector).await?.unwrap_or(0.0))
}
