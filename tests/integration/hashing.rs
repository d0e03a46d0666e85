//! Hashing passwords costs CPU: whose it is, and how much.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use claviger::api::BasicAuthCredential;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use crate::{
    basic_auth::{apply, data, team, wait_condition, wait_ready},
    checks::{delete, good_source},
    lab::Lab,
    scenario::Scenario,
    support::{Error, Result, wait_for},
};

/// As many as a credential may have.
const USERS: usize = 100;

/// A hash takes 60 ms, on a machine that has nothing else to do.
const LONG: Duration = Duration::from_secs(120);

/// A second or two on such a machine; the rest is for what is run beside this test.
const SOON: Duration = Duration::from_secs(8);

fn names() -> Vec<String> {
    (0..USERS).map(|n| format!("user-{n:02}")).collect()
}

/// Everybody's password, in Secret `team`.
async fn passwords(test: &Scenario, password: &str) -> Result<()> {
    let all: BTreeMap<String, String> =
        names().into_iter().map(|name| (name.clone(), format!("{password}-{name}"))).collect();
    test.source("team", json!(all)).await.map(drop)
}

fn everybody() -> Value {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    json!({"format": "Htpasswd", "users": team(&names)})
}

/// Waits until the copy has other lines than `before` for so many users.
async fn wait_changed(test: &Scenario, name: &str, before: &str, changed: usize) -> Result<String> {
    wait_for(LONG, &format!("{changed} new hashes in {name}"), async || {
        let data = data(&test.client, &test.home.name, name).await.map_err(|error| error.to_string())?;
        let file = data["auth"].clone();
        let same = file.lines().filter(|line| before.lines().any(|old| old == *line)).count();
        let new = file.lines().count() - same;
        if new == changed { Ok(file) } else { Err(format!("{new} of {}", file.lines().count())) }
    })
    .await
}

async fn ready(test: &Scenario, name: &str) -> Result<Condition> {
    let api: Api<BasicAuthCredential> = Api::namespaced(test.client.clone(), &test.home.name);
    let conditions = api.get(name).await?.status.map(|status| status.common.conditions).unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    found.ok_or_else(|| Error::new("no condition Ready"))
}

/// A tenant who rotates one password of a hundred, again and again, pays for one hash with each; and a restart finds
/// all that holds, writes nothing, and says nothing else meanwhile.
#[tokio::test]
async fn a_new_password_of_a_hundred_costs_one_hash_and_a_restart_writes_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let other = test.targets(1).await?.remove(0);
    let mut spec = everybody();
    spec["target"] = json!({"namespaces": {"names": [test.home.name, other]}});
    let operator = lab.operator()?.start().await?;
    let idle = operator.cpu_seconds()?;
    passwords(&test, "first").await?;
    apply(&test.client, &test.home.name, "web", spec.clone()).await?;
    let mut file = wait_changed(&test, "web", "", USERS).await?;
    wait_ready(&test.client, &test.home.name, "web", 1).await?;
    let all = operator.cpu_seconds()? - idle;
    for round in 0..3 {
        let before = operator.cpu_seconds()?;
        test.source("one", json!({"password": format!("another-{round}")})).await?;
        spec["users"][42]["secretRef"] = json!({"name": "one"});
        apply(&test.client, &test.home.name, "web", spec.clone()).await?;
        file = wait_changed(&test, "web", &file, 1).await?;
        wait_ready(&test.client, &test.home.name, "web", 2 + round).await?;
        let one = operator.cpu_seconds()? - before;
        assert!(one < all / 5.0, "one password took {one} s of CPU, all of them {all} s");
    }

    operator.terminate(LONG).await?;
    let told = ready(&test, "web").await?;
    let requests = lab.requests()?;
    let secrets = test.secrets(&other);
    secrets.delete("web", &DeleteParams::default()).await?;
    let operator = lab.operator()?.start().await?;
    // While hashes are checked, copies are healed with what they had.
    wait_for(LONG, "the copy to be put back", async || {
        let found = secrets.get_opt("web").await.map_err(|error| error.to_string())?;
        let data = found.and_then(|found| found.data).unwrap_or_default();
        if data.get("auth").is_some_and(|found| found.0 == file.as_bytes()) {
            Ok(())
        } else {
            Err(data.len().to_string())
        }
    })
    .await?;
    // What comes meanwhile waits for that, and is written alone.
    test.source("one", json!({"password": "the-last-one"})).await?;
    wait_changed(&test, "web", &file, 1).await?;
    wait_ready(&test.client, &test.home.name, "web", 5).await?;
    let secrets: Vec<_> =
        lab.writes(requests)?.into_iter().filter(|write| write.resource == "secrets").collect();
    let verbs: Vec<&str> = secrets.iter().map(|write| &*write.verb).collect();
    assert_eq!(verbs, ["create", "update", "update"]);
    let waited = secrets[1].received.duration_since(secrets[0].received).as_secs_f64();
    assert!(waited > all / 2.0, "healed {waited} s before the end of the hashes, which take {all} s");
    assert_eq!(
        ready(&test, "web").await?.last_transition_time,
        told.last_transition_time,
        "Ready was taken back"
    );
    operator.check_running()
}

/// How long a tenant waits for a pull secret, and for an htpasswd file of one user.
async fn served(test: &Scenario, round: usize) -> Result<[Duration; 2]> {
    let (pull, web) = (format!("pull-{round}"), format!("web-{round}"));
    let (client, home) = (&test.client, &test.home.name);
    good_source(test, "src", "the-password").await?;
    let source = format!("users-{round}");
    test.source(&source, json!({"password": format!("password-{round}")})).await?;
    let began = Instant::now();
    let spec = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
    test.credential(&pull, spec).await?;
    test.wait_ready(&pull, 1).await?;
    let first = began.elapsed();
    let began = Instant::now();
    apply(client, home, &web, json!({"format": "Htpasswd", "username": "me", "secretRef": {"name": source}}))
        .await?;
    wait_ready(client, home, &web, 1).await?;
    let second = began.elapsed();
    delete(test, &pull).await?;
    Ok([first, second])
}

/// A tenant floods the operator: 40 credentials of 100 users each, whose passwords all change twice a second. Each
/// change is 4,000 hashes, or four minutes of a core.
#[tokio::test]
async fn a_tenant_who_floods_hashes_delays_nobody_else() -> Result<()> {
    const CREDENTIALS: usize = 40;
    let lab = Lab::start().await?;
    let (greedy, other) = (lab.scenario().await?, lab.scenario().await?);
    let operator = lab.operator()?.start().await?;
    let alone = served(&other, 0).await?;
    passwords(&greedy, "first").await?;
    for n in 0..CREDENTIALS {
        apply(&greedy.client, &greedy.home.name, &format!("flood-{n}"), everybody()).await?;
    }
    let flood = async {
        for round in 0.. {
            passwords(&greedy, &format!("flood-{round}")).await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok::<_, Error>(())
    };
    let serve = async {
        let busy = |_: &_, condition: &str| condition == "SourceResolved=Unknown (Progressing)";
        wait_condition(&greedy.client, &greedy.home.name, "flood-7", busy).await?;
        for round in 1..5 {
            let took = served(&other, round).await?;
            for (took, alone) in took.iter().zip(&alone) {
                assert!(*took < *alone + SOON, "round {round}: {took:?}, alone {alone:?}");
            }
            eprintln!("round {round}: {took:?}, alone {alone:?}");
        }
        Ok::<_, Error>(())
    };
    tokio::select! {
        flooded = flood => flooded?,
        served = serve => served?,
    }
    let ready = ready(&greedy, "flood-7").await?;
    assert_eq!(ready.reason, "Progressing", "the flood is over: the test shows nothing");

    // A deletion of the tenant's own waits for no hash either, and ends the work.
    let began = Timestamp::now();
    let credentials: Api<BasicAuthCredential> = Api::namespaced(greedy.client.clone(), &greedy.home.name);
    credentials.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    wait_for(LONG, "the credentials to be gone", async || {
        credentials.list(&ListParams::default()).await.is_ok_and(|left| left.items.is_empty())
    })
    .await?;
    let took = Duration::try_from(Timestamp::now().duration_since(began))?;
    assert!(took < Duration::from_secs(30), "the deletion took {took:?}");
    let before = operator.cpu_seconds()?;
    served(&other, 9).await?;
    let after = operator.cpu_seconds()? - before;
    assert!(after < 5.0, "{after} s of CPU for credentials that are gone");
    operator.check_running()
}
