//! A hub that is being rebuilt knows its members before its credentials.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::world::{LONG, Member, World, merge, start};
use crate::{
    checks::{good_source, merge as merge_into},
    lab::Lab,
    support::{Operator, Result, environment::OPERATOR_NAMESPACE, wait_for},
};

const HUB: &str = "--hub-id=acme-hub";

/// A hub that has gone, but for the copies of these credentials in two namespaces of a member. Returns its home
/// namespace and its mark, which are needed to be it again.
async fn former(east: &Member, names: &[String]) -> Result<(String, String)> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    let operator = start(&lab, &[HUB]).await?;
    let world = World { lab, test, operator };
    east.namespaces(&world.test, &["web", "db"]).await?;
    prepare(&world, east).await?;
    for name in names {
        world.test.credential(name, world.spec(json!({"names": ["east"]}))).await?;
    }
    for name in names {
        world.test.wait_ready(name, 1).await?;
    }
    Ok((world.test.home.name.clone(), world.test.mark.clone()))
}

/// The source, the policy and the member, as a tool applies what stands in Git; the credentials come later.
async fn prepare(world: &World, east: &Member) -> Result<()> {
    good_source(&world.test, "src", "the-password").await?;
    let to = merge(world.test.selector(), json!({"clusters": {"selector": {}}}));
    let policy = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "fleet"},
        "spec": {"from": {"namespaces": {"names": [world.test.home.name]}}, "to": to},
    });
    world.test.apply_cluster("DistributionPolicy", "fleet", policy).await?;
    world.join(east, json!({})).await
}

/// Waits for that many more probes of the member, one a second: so long could it have been swept.
async fn probed(east: &Member, more: usize) -> Result<()> {
    let probes = || -> Result<usize> {
        let events = east.control_plane.audit_events()?;
        Ok(events.iter().filter(|e| e.user.contains("claviger-member") && e.uri == "/version").count())
    };
    let wanted = probes()? + more;
    wait_for(LONG, "some probes of the member", async || {
        let found = probes().map_err(|error| error.to_string())?;
        if found >= wanted { Ok(()) } else { Err(format!("{found} of {wanted}")) }
    })
    .await
}

async fn rebuilt(home: &str, mark: &str, grace: Duration) -> Result<World> {
    let lab = Lab::start().await?;
    let test = lab.scenario_as(home, mark).await?;
    let operator = operator(&lab, grace).await?;
    Ok(World { lab, test, operator })
}

async fn operator(lab: &Lab, grace: Duration) -> Result<Operator> {
    let args = [
        "--request-timeout=2s",
        "--watch-timeout=5s",
        "--member-probe-interval=1s",
        "--sweep-interval=1s",
        HUB,
    ];
    let builder = lab.operator()?.env("CLAVIGER_SWEEP_GRACE_PERIOD", format!("{}s", grace.as_secs()));
    args.into_iter().fold(builder, |builder, arg| builder.arg(arg)).start().await
}

#[tokio::test]
async fn copies_in_members_wait_for_the_credentials_of_a_hub_that_is_being_rebuilt() -> Result<()> {
    const GRACE: Duration = Duration::from_secs(25);
    let east = Member::start("east").await?;
    let (home, mark) = former(&east, &["reg".to_owned(), "witness".to_owned()]).await?;
    let before = [east.secrets("web").get("reg").await?, east.secrets("db").get("reg").await?];
    let after = east.requests()?;

    let began = Instant::now();
    let world = rebuilt(&home, &mark, GRACE).await?;
    prepare(&world, &east).await?;
    probed(&east, 4).await?;
    assert_eq!(east.copies().await?, 4, "some were swept");
    world.test.credential("reg", world.spec(json!({"names": ["east"]}))).await?;
    world.test.wait_ready("reg", 1).await?;

    // The one that does not come back is swept in the end; of the other one nothing was written.
    for namespace in ["web", "db"] {
        east.wait_no_copy(namespace, "witness").await?;
    }
    assert!(began.elapsed() >= GRACE, "it was swept after {:?}", began.elapsed());
    for copy in before {
        let now = east.secrets(&copy.namespace().unwrap_or_default()).get("reg").await?;
        assert_eq!((now.uid(), now.resource_version()), (copy.uid(), copy.resource_version()));
    }
    let writes = east.writes(after)?;
    assert_eq!(writes, ["delete secrets", "delete secrets"], "more than the witness");
    Ok(())
}

/// By default, a hub has ten minutes to get its credentials back.
#[tokio::test]
async fn nothing_is_swept_in_the_first_seconds_by_default() -> Result<()> {
    let east = Member::start("east").await?;
    let (home, mark) = former(&east, &["reg".to_owned(), "witness".to_owned()]).await?;
    let lab = Lab::start().await?;
    let test = lab.scenario_as(&home, &mark).await?;
    let operator = start(&lab, &["--sweep-interval=1s", HUB]).await?;
    let world = World { lab, test, operator };
    prepare(&world, &east).await?;
    probed(&east, 6).await?;
    assert_eq!(east.copies().await?, 4, "some were swept");
    Ok(())
}

/// Ten minutes may not be enough. Then it is more likely that the credentials are missing than that nobody wants them.
#[tokio::test]
async fn a_member_in_which_all_owners_are_missing_is_not_swept_before_it_is_allowed() -> Result<()> {
    let east = Member::start("east").await?;
    let names: Vec<String> = (0..11).map(|n| format!("reg-{n}")).collect();
    let (home, mark) = former(&east, &names).await?;
    let world = rebuilt(&home, &mark, Duration::ZERO).await?;
    prepare(&world, &east).await?;
    let held = async |wanted: f64| {
        wait_for(LONG, &format!("{wanted} owners held"), async || {
            let metric = world.operator.metric(r#"claviger_sweep_held{cluster="east"}"#).await;
            let found = metric.map_err(|error| error.to_string())?.unwrap_or(0.0);
            if found == wanted { Ok(()) } else { Err(format!("{found}")) }
        })
        .await
    };
    held(11.0).await?;
    probed(&east, 3).await?;
    assert_eq!(east.copies().await?, 22, "some were swept");
    let namespaces: Api<Namespace> = Api::all(world.test.client.clone());
    for (allowed, swept) in [("local", false), ("east", true)] {
        let patch = json!({"metadata": {"annotations": {"claviger.dev/allow-sweep": allowed}}});
        merge_into(&namespaces, OPERATOR_NAMESPACE, patch).await?;
        if swept {
            held(0.0).await?;
            wait_for(LONG, "the sweep", async || east.copies().await.is_ok_and(|left| left == 0)).await?;
        } else {
            probed(&east, 3).await?;
            assert_eq!(east.copies().await?, 22, "some were swept");
        }
    }
    Ok(())
}
