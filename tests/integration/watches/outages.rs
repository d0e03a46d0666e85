//! Custom resources cannot be listed or watched for a while, as during a broken conversion or an upgrade of their
//! definition, and all else works.

use std::time::{Duration, Instant};

use claviger::api::MemberCluster;
use kube::{Api, api::DeleteParams};
use serde_json::json;

use super::{LONG, of_collection, wait_password};
use crate::{
    checks::{good_source, merge, spec_to},
    lab::Lab,
    support::{Error, Result, http_proxy::Action, wait_for},
};

/// The longest wait between two tries, and a little for a busy machine.
const BOUND: Duration = Duration::from_secs(8);

/// So many failures in a row bring every back-off to its longest wait.
const FAILURES: usize = 6;

const KINDS: [&str; 3] = ["registrycredentials", "memberclusters", "distributionpolicies"];

#[tokio::test]
async fn custom_resources_that_could_not_be_watched_delay_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let test = lab.scenario().await?;
    let home = &test.home.name;
    let operator = lab.operator_at(&proxy.url())?.start().await?;
    good_source(&test, "src", "password-0").await?;
    good_source(&test, "new", "another-password").await?;
    test.credential("own", spec_to("src", json!({}))).await?;
    test.credential("far", spec_to("src", test.selector())).await?;
    test.targets(1).await?;
    test.wait_ready("own", 1).await?;
    test.wait_condition("far", "Ready", "False", "NotPermitted").await?;
    let member = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "MemberCluster", "metadata": {"name": "east"},
        "spec": {"kubeconfigSecretRef": {"name": "nowhere"}},
    });
    test.apply_cluster("MemberCluster", "east", member).await?;
    let members: Api<MemberCluster> = Api::all(test.client.clone());
    let wait_member = async |missing: &str, within| {
        wait_for(within, &format!("the member to miss {missing}"), async || {
            let conditions = members.get("east").await?.status.unwrap_or_default().conditions;
            let found = conditions.iter().any(|c| c.type_ == "Ready" && c.message.contains(missing));
            if found { Ok(()) } else { Err(Error::new(format!("{conditions:?}"))) }
        })
        .await
    };
    wait_member("nowhere", LONG).await?;

    let mark = proxy.mark();
    proxy.rule(|request| match KINDS.contains(&&*request.resource) && of_collection(request) {
        true => Action::Answer(503),
        false => Action::Pass,
    });
    // What needs no news of a custom resource goes on: the first failure, and the last, delay no rotation.
    let failures =
        |kind: &str| proxy.count(mark, |request| request.resource == kind && of_collection(request));
    for seen in [1, FAILURES] {
        for kind in KINDS {
            wait_for(LONG, &format!("{seen} failed requests for {kind}"), async || {
                let failures = failures(kind);
                if failures >= seen { Ok(()) } else { Err(Error::new(format!("{failures}"))) }
            })
            .await?;
        }
        let password = format!("password-{seen}");
        good_source(&test, "src", &password).await?;
        wait_password(&test, home, "own", &password, BOUND).await?;
    }
    merge(&test.credentials(), "own", json!({"spec": {"secretRef": {"name": "new"}}})).await?;
    merge(&members, "east", json!({"spec": {"kubeconfigSecretRef": {"name": "elsewhere"}}})).await?;
    test.policy().await?;
    assert_eq!(test.login(home, "own").await?.map(|login| login.1), Some(format!("password-{FAILURES}")));

    proxy.pass();
    let back = Instant::now();
    let left = || BOUND.saturating_sub(back.elapsed());
    wait_password(&test, home, "own", "another-password", left()).await?;
    wait_password(&test, &format!("{}-0", test.mark), "far", &format!("password-{FAILURES}"), left()).await?;
    wait_member("elsewhere", left()).await?;
    // Also what is deleted.
    test.credentials().delete("own", &DeleteParams::default()).await?;
    crate::checks::wait_no_credential(&test, "own").await?;
    operator.check_running()
}
