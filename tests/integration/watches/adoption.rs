//! The watches by which clusters of Argo CD and Cluster API are adopted fall silent.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use serde_json::json;

use super::LONG;
use crate::{
    lab::Lab,
    member::Desk,
    support::{
        Error, Operator, Result,
        http_proxy::{Action, Request},
        wait_for,
    },
};

const ARGOCD: &str = "argocd";

/// Three times the time-out of a watch: older news is stale.
const STALE: f64 = 15.0;

const CLAVIGERS: [&str; 6] =
    ["namespaces", "copies", "pods", "secrets", "registrycredentials", "distributionpolicies"];

fn of_adoption(request: &Request) -> bool {
    request.resource == "secrets"
        && request.labels().iter().any(|label| {
            ["argocd.argoproj.io/secret-type", "cluster.x-k8s.io/cluster-name"]
                .iter()
                .any(|key| label.starts_with(key))
        })
}

async fn adopt(desk: &Desk, name: &str) -> Result<()> {
    let labels = json!({"argocd.argoproj.io/secret-type": "cluster"});
    let data = json!({"name": name, "server": "https://127.0.0.1:1", "config": "{\"bearerToken\": \"x\"}"});
    desk.secret(ARGOCD, name, &labels, data).await
}

async fn wait_adopted(desk: &Desk, name: &str) -> Result<()> {
    wait_for(LONG, &format!("member {name}"), async || desk.members().get(name).await.map(drop)).await
}

/// The watches of `local` whose last good answer is stale.
async fn stale(operator: &Operator) -> Result<Vec<String>> {
    let metrics = operator.metrics().await?;
    let ages = metrics
        .lines()
        .filter(|line| line.starts_with("claviger_watch_age_seconds{") && line.contains("cluster=\"local\""));
    let stale = ages.filter(|line| {
        line.rsplit_once(' ').and_then(|(_, age)| age.parse::<f64>().ok()).is_some_and(|age| age > STALE)
    });
    Ok(stale.map(str::to_owned).collect())
}

#[tokio::test]
async fn watches_for_adoption_that_fall_silent_are_noticed_and_recover() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let client = lab.control_plane.client().await?;
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": ARGOCD}}))?;
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let desk = Desk { client };
    let operator = lab
        .operator_at(&proxy.url())?
        .arg("--watch-timeout=5s")
        .arg("--request-timeout=2s")
        .arg(format!("--adopt-argocd-clusters={ARGOCD}"))
        .arg("--adopt-cluster-api=*")
        .start()
        .await?;
    adopt(&desk, "first").await?;
    wait_adopted(&desk, "first").await?;

    // A connection that is dead is given up by itself, and another one made.
    let mark = proxy.mark();
    proxy.rule(move |request| match of_adoption(request) && request.number < mark {
        true => Action::Hold,
        false => Action::Pass,
    });
    adopt(&desk, "second").await?;
    wait_adopted(&desk, "second").await?;

    // While no connection has an answer, that is told.
    proxy.rule(|request| if of_adoption(request) { Action::Hold } else { Action::Pass });
    adopt(&desk, "third").await?;
    wait_for(LONG, "stale watches of both tools in the metrics", async || {
        let stale = stale(&operator).await?;
        if stale.len() >= 2 { Ok(()) } else { Err(Error::new(format!("{stale:?}"))) }
    })
    .await?;
    let others = stale(&operator).await?;
    for kind in CLAVIGERS {
        assert!(!others.iter().any(|line| line.contains(&format!("kind=\"{kind}\""))), "{others:?}");
    }
    wait_for(LONG, "liveness to fail", async || {
        let answer = operator.get("/healthz").await?;
        if answer.status == 503 { Ok(()) } else { Err(Error::new(answer.body)) }
    })
    .await?;
    assert!(desk.members().get_opt("third").await?.is_none(), "the watch was not frozen");

    proxy.pass();
    wait_adopted(&desk, "third").await?;
    wait_for(LONG, "liveness to be well again", async || {
        let (answer, stale) = (operator.get("/healthz").await?, stale(&operator).await?);
        if answer.status == 200 && stale.is_empty() {
            return Ok(());
        }
        Err(Error::new(format!("{} {stale:?}", answer.body)))
    })
    .await?;
    // The Secret that goes takes its member with it.
    desk.secrets(ARGOCD).delete("third", &Default::default()).await?;
    desk.wait_gone("third").await
}
