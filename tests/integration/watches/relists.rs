//! A list of more than a page, in the place of a watch that expired: every change that it brings is handled.

use claviger::api::{MemberCluster, RegistryCredential};
use kube::{Api, ResourceExt, api::DeleteParams};
use serde_json::json;

use super::{LONG, SECONDS, create_all, of_collection, wait_all_ready, wait_password};
use crate::{
    checks::{good_source, merge, wait_no_credential},
    lab::Lab,
    support::{
        Error, HttpProxy, Result,
        http_proxy::{Action, Request},
        wait_for,
    },
};

/// More than fit on a page of 500.
const MANY: usize = 520;

/// Changes on the first page, and on the second.
const CHANGED: [usize; 8] = [0, 1, 2, 250, 498, 499, 505, 519];

/// Nothing is heard of these objects any more.
fn deafen(proxy: &HttpProxy, resource: &'static str) {
    proxy.rule(move |request| match request.resource == resource && of_collection(request) {
        true => Action::Hold,
        false => Action::Pass,
    });
}

/// Has them listed anew, and lets the first page through: the rest is held back. Where lists come in one stream
/// there are no pages, and nothing is held back.
async fn first_page(proxy: &HttpProxy, resource: &'static str) -> Result<usize> {
    let mark = proxy.mark();
    proxy.rule(move |request| match request.resource == resource && of_collection(request) {
        true if request.number < mark && request.is_watch() => Action::Expire,
        true if request.number >= mark && request.is_continued() => Action::HoldAnswer,
        _ => Action::Pass,
    });
    wait_for(LONG, "the list to be half way", async || {
        let lists = |is: fn(&Request) -> bool| {
            proxy.count(mark, |request| request.resource == resource && request.is_list() && is(request))
        };
        (lists(Request::is_continued) > 0 && proxy.held() > 0) || lists(Request::is_watch) > 0
    })
    .await?;
    Ok(mark)
}

#[tokio::test]
async fn a_relist_of_many_credentials_loses_no_change() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let test = lab.scenario().await?;
    let home = &test.home.name;
    let _operator = lab.operator_at(&proxy.url())?.start().await?;
    good_source(&test, "src", "the-password").await?;
    good_source(&test, "new", "another-password").await?;
    let name = |number: usize| format!("reg-{number:04}");
    let credentials = (0..MANY).map(|number| {
        serde_json::from_value(json!({
            "metadata": {"name": name(number)},
            "spec": {"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}},
        }))
    });
    let api: Api<RegistryCredential> = test.credentials();
    create_all(&api, credentials.collect::<Result<Vec<_>, _>>()?).await?;
    wait_all_ready(&test, MANY).await?;

    deafen(&proxy, "registrycredentials");
    for number in CHANGED {
        let change = match number % 2 {
            0 => json!({"spec": {"secretRef": {"name": "new"}}}),
            _ => json!({"spec": {"target": {"secretName": format!("moved-{number:04}")}}}),
        };
        merge(&api, &name(number), change).await?;
    }
    api.delete(&name(3), &DeleteParams::default()).await?;
    let mark = first_page(&proxy, "registrycredentials").await?;
    // Other credentials go on meanwhile. When this one is ready, what the first page woke has long run.
    let other = json!({"format": "BasicAuth", "secretRef": {"name": "src"}});
    crate::basic_auth::apply(&test.client, home, "other", other).await?;
    crate::basic_auth::wait_ready(&test.client, home, "other", 1).await?;
    proxy.pass();

    for number in CHANGED {
        let (secret, password) = match number % 2 {
            0 => (name(number), "another-password"),
            _ => (format!("moved-{number:04}"), "the-password"),
        };
        wait_password(&test, home, &secret, password, SECONDS).await?;
    }
    wait_no_credential(&test, &name(3)).await?;
    wait_all_ready(&test, MANY - 1).await?;
    let again = proxy.count(mark, |request| request.resource == "registrycredentials" && request.is_list());
    assert!(again > 0, "they were not listed anew: the test shows nothing");
    Ok(())
}

#[tokio::test]
async fn a_relist_of_many_members_loses_no_change() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let client = lab.control_plane.client().await?;
    let _operator = lab.operator_at(&proxy.url())?.start().await?;
    let name = |number: usize| format!("member-{number:04}");
    // Members of which no kubeconfig is there: they say so, and cost nothing.
    let members = (0..MANY).map(|number| {
        serde_json::from_value(json!({
            "metadata": {"name": name(number)}, "spec": {"kubeconfigSecretRef": {"name": "nowhere"}},
        }))
    });
    let api: Api<MemberCluster> = Api::all(client.clone());
    create_all(&api, members.collect::<Result<Vec<_>, _>>()?).await?;
    // What of them has no Ready condition about its newest generation that says so.
    let unseen = async |missing: &str| -> Result<Vec<String>> {
        let all = api.list(&Default::default()).await?;
        let unseen = all.iter().filter(|member| {
            let conditions = member.status.as_ref().map_or(&[][..], |status| &status.conditions);
            let missing = match member.metadata.generation {
                Some(1) => "nowhere",
                _ => missing,
            };
            !conditions.iter().any(|c| {
                c.type_ == "Ready"
                    && c.observed_generation == member.metadata.generation
                    && c.message.contains(missing)
            })
        });
        Ok(unseen.map(ResourceExt::name_any).collect())
    };
    let wait_seen = async |missing: &str, within| {
        wait_for(within, "all members to be looked at", async || {
            let unseen = unseen(missing).await?;
            if unseen.is_empty() { Ok(()) } else { Err(Error::new(format!("not {unseen:?}"))) }
        })
        .await
    };
    wait_seen("nowhere", LONG).await?;

    deafen(&proxy, "memberclusters");
    for number in CHANGED {
        merge(&api, &name(number), json!({"spec": {"kubeconfigSecretRef": {"name": "elsewhere"}}})).await?;
    }
    let mark = first_page(&proxy, "memberclusters").await?;
    let test = lab.scenario().await?;
    good_source(&test, "src", "the-password").await?;
    let spec = json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
    test.credential("reg", spec).await?;
    test.wait_ready("reg", 1).await?;
    proxy.pass();
    wait_seen("elsewhere", SECONDS).await?;
    let again = proxy.count(mark, |request| request.resource == "memberclusters" && request.is_list());
    assert!(again > 0, "they were not listed anew: the test shows nothing");
    Ok(())
}
