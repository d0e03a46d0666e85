//! Credentials take turns: a small one does not wait behind large ones.

use std::time::Duration;

use crate::{
    checks::{good_source, spec, spec_to},
    heavy::heavy,
    lab::{Lab, copies, many_targets},
    scenario::Scenario,
    support::{Error, FaultProxy, Result, wait_for},
};
use serde_json::json;

const LARGE: usize = 12;
const NAMESPACES: usize = 600;

/// Each write takes that long, four at a time: all of them take three minutes, which no machine makes shorter.
const DELAY: Duration = Duration::from_millis(100);

const LONG: Duration = Duration::from_secs(120);

/// How many other Secrets may be written before that of a small credential: about as many as in five seconds. How long that takes
/// tells nothing beside other tests. One that waited for a single large one would wait for 600.
const MEANWHILE: usize = 200;

/// Makes a credential for one namespace, and tells how many other Secrets were written before its copy.
async fn serve_small(lab: &Lab, test: &Scenario, name: &str) -> Result<usize> {
    let after = lab.requests()?;
    test.credential(name, spec_to("src", json!({"namespaces": {"names": [test.home.name]}}))).await?;
    wait_for(LONG, &format!("the copy of {name}"), async || {
        test.secrets(&test.home.name).get_opt(name).await.is_ok_and(|found| found.is_some())
    })
    .await?;
    written_before(lab, after, &test.home.name, name)
}

/// How many other Secrets operators wrote before this one, from the `after`-th request on.
fn written_before(lab: &Lab, after: usize, namespace: &str, name: &str) -> Result<usize> {
    let writes = lab.writes(after)?;
    let mut secrets = writes.iter().filter(|write| write.resource == "secrets");
    let found = secrets.position(|write| write.namespace == namespace && write.name == name);
    found.ok_or_else(|| Error::new(format!("no write of {namespace}/{name}")))
}

#[tokio::test]
async fn a_small_credential_does_not_wait_for_twelve_large_ones() -> Result<()> {
    let _turn = heavy().await;
    let lab = Lab::start().await?;
    let proxy = FaultProxy::start(lab.control_plane.address()).await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    many_targets(&test, NAMESPACES).await?;
    good_source(&test, "src", "the-password").await?;
    let operator = lab.operator_behind(&proxy)?.arg("--concurrency=4").start().await?;
    proxy.delay(DELAY);
    for n in 0..LARGE {
        test.credential(&format!("large-{n}"), spec(&test, "src")).await?;
    }
    // They are all under way.
    let written = |name: &str, found: &[k8s_openapi::api::core::v1::Secret]| {
        found.iter().filter(|copy| copy.metadata.name.as_deref() == Some(name)).count()
    };
    wait_for(LONG, "work on the large ones", async || {
        let found = copies(&test).await.map_err(|error| error.to_string())?.items;
        let begun = (0..LARGE).filter(|n| written(&format!("large-{n}"), &found) > 0).count();
        if begun == LARGE { Ok(()) } else { Err(format!("{begun} have begun")) }
    })
    .await?;
    for round in 0..6 {
        let before = serve_small(&lab, &test, &format!("small-{round}")).await?;
        assert!(before < MEANWHILE, "round {round}: {before} others came first");
    }
    // A rotation of a small one is as quick.
    good_source(&test, "other-src", "the-first").await?;
    test.credential("rotated", spec_to("other-src", json!({"namespaces": {"names": [test.home.name]}})))
        .await?;
    test.wait_password(&test.home.name, "rotated", "the-first").await?;
    let after = lab.requests()?;
    good_source(&test, "other-src", "the-second").await?;
    test.wait_password(&test.home.name, "rotated", "the-second").await?;
    let before = written_before(&lab, after, &test.home.name, "rotated")?;
    assert!(before < MEANWHILE, "{before} others came before a rotation");

    let found = copies(&test).await?.items;
    let done = (0..LARGE).filter(|n| written(&format!("large-{n}"), &found) == NAMESPACES).count();
    if done == LARGE {
        return Err(Error::new("the large ones were done before: the test shows nothing"));
    }
    operator.check_running()
}
