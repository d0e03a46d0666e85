//! Each tool tells the truth of each state, and the button of Argo CD does what it says.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{
    judge::{Verdict, judge, judge_with},
    life::{FORMS, Life, Seen, api},
};
use crate::support::{Result, wait_for};

const CREDENTIALS: [&str; 4] =
    ["RegistryCredential", "BasicAuthCredential", "TlsCredential", "ObjectStorageCredential"];
const REGISTRY: [&str; 1] = ["RegistryCredential"];
const MEMBER: [&str; 1] = ["MemberCluster"];

/// Of which kinds, in which state, what Argo CD, kstatus and Flux say. Argo CD knows no health of a policy, as of no
/// other object without conditions.
#[rustfmt::skip]
const TRUTH: &[(&[&str], &str, &str, &str, &str)] = &[
    (&CREDENTIALS, "fresh",         "Progressing", "InProgress",  "InProgress"),
    (&CREDENTIALS, "healthy",       "Healthy",     "Current",     "Current"),
    (&CREDENTIALS, "waiting",       "Progressing", "InProgress",  "InProgress"),
    (&CREDENTIALS, "broken",        "Degraded",    "Failed",      "Failed"),
    (&CREDENTIALS, "partly-failed", "Degraded",    "InProgress",  "Failed"),
    (&CREDENTIALS, "deletion-held", "Progressing", "Terminating", "InProgress"),
    (&REGISTRY,    "paused",        "Suspended",   "Current",     "Current"),
    (&REGISTRY,    "member-lost",   "Progressing", "InProgress",  "InProgress"),
    (&MEMBER,      "fresh",         "Progressing", "InProgress",  "InProgress"),
    (&MEMBER,      "healthy",       "Healthy",     "Current",     "Current"),
    (&MEMBER,      "waiting",       "Progressing", "InProgress",  "InProgress"),
    (&MEMBER,      "broken",        "Degraded",    "Failed",      "Failed"),
    (&MEMBER,      "never-reached", "Progressing", "InProgress",  "InProgress"),
    (&MEMBER,      "paused",        "Suspended",   "Current",     "Current"),
    (&MEMBER,      "lost",          "Degraded",    "InProgress",  "InProgress"),
    (&MEMBER,      "deletion-held", "Progressing", "Terminating", "InProgress"),
    (&["DistributionPolicy"], "in-force", "",      "Current",     "Current"),
];

fn truth(kind: &str, state: &str) -> Option<[&'static str; 3]> {
    let row = TRUTH.iter().find(|(kinds, of, ..)| kinds.contains(&kind) && *of == state);
    row.map(|(_, _, argocd, kstatus, flux)| [*argocd, *kstatus, *flux])
}

async fn verdicts(life: &Life) -> Result<Vec<(&Seen, Verdict)>> {
    let verdicts = judge(life.seen.iter().map(|seen| &seen.object)).await?;
    Ok(life.seen.iter().zip(verdicts).collect())
}

fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn argo_cd_helm_and_flux_tell_the_truth_over_the_whole_life_of_each_kind() -> Result<()> {
    let life = Life::shared().await?;
    let mut wrong = Vec::new();
    for (seen, verdict) in verdicts(life).await? {
        let told = [verdict.argocd(), &verdict.kstatus.status, &verdict.flux.status];
        if truth(seen.kind, seen.state) != Some(told) {
            let conditions = super::life::conditions(&seen.object).join(", ");
            wrong.push(format!("{} {}: {told:?} of {conditions}", seen.kind, seen.state));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (kinds, state, ..) in TRUTH {
        for kind in *kinds {
            assert!(
                life.seen.iter().any(|seen| seen.kind == *kind && seen.state == *state),
                "{kind} {state}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn argo_cd_shows_the_sentence_of_the_status() -> Result<()> {
    let life = Life::shared().await?;
    for (seen, verdict) in verdicts(life).await? {
        let shown = verdict.argocd.map(|told| told.message).unwrap_or_default();
        match seen.state {
            "in-force" => {}
            "fresh" => assert_eq!(shown, "Waiting for Claviger"),
            // Argo CD looks no further once an object is being deleted.
            "deletion-held" => assert_eq!(shown, "Pending deletion"),
            _ => {
                assert_eq!(shown, condition(&seen.object, "Ready")["message"], "{} {}", seen.kind, seen.state)
            }
        }
    }
    Ok(())
}

/// A spec that nobody has looked at yet is in progress, however good the last one was.
#[tokio::test]
async fn what_is_told_of_an_older_spec_counts_for_nothing() -> Result<()> {
    let life = Life::shared().await?;
    let mut older: Vec<Value> = Vec::new();
    for seen in life.seen.iter().filter(|seen| seen.state == "healthy") {
        let mut object = seen.object.clone();
        object["metadata"]["generation"] = json!(7);
        older.push(object);
    }
    for verdict in judge(&older).await? {
        let told = [verdict.argocd(), &verdict.kstatus.status, &verdict.flux.status];
        assert_eq!(told, ["Progressing", "InProgress", "InProgress"]);
    }
    Ok(())
}

#[tokio::test]
async fn the_button_is_there_for_credentials_and_grey_while_they_are_deleted() -> Result<()> {
    let life = Life::shared().await?;
    for (seen, verdict) in verdicts(life).await? {
        let what = format!("{} {}", seen.kind, seen.state);
        if !CREDENTIALS.contains(&seen.kind) {
            assert!(verdict.actions.is_empty(), "{what}: {:?}", verdict.actions);
            continue;
        }
        assert!(verdict.actions.keys().eq(["sync"]), "{what}: {:?}", verdict.actions);
        assert_eq!(verdict.actions["sync"].disabled, seen.state == "deletion-held", "{what}");
        // Nothing else of the object, such as an empty selector that Lua takes for a list.
        let version = seen.object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let annotation = json!({"claviger.dev/sync-requested-at": format!("argocd-{version}")});
        assert_eq!(verdict.actions["sync"].patch, json!({"metadata": {"annotations": annotation}}), "{what}");
    }
    Ok(())
}

/// What Argo CD would send is sent, and answered.
#[tokio::test]
async fn the_button_has_a_credential_synced() -> Result<()> {
    let life = Life::shared().await?;
    let client = life.lab.control_plane.client().await?;
    for form in &FORMS {
        let (api, name) = (api(&client, form.kind), format!("{}-healthy", form.short));
        let mut requests = Vec::new();
        for _ in 0..2 {
            let object = serde_json::to_value(api.get(&name).await?)?;
            let verdict = judge([&object]).await?.remove(0);
            let patch = &verdict.actions["sync"].patch;
            let request = patch["metadata"]["annotations"]["claviger.dev/sync-requested-at"].clone();
            api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            wait_for(Duration::from_secs(30), &format!("the sync of {name}"), async || {
                let sync =
                    api.get(&name).await.map_err(|error| error.to_string())?.data["status"]["sync"].clone();
                let done =
                    json!({"lastHandledRequest": request, "attempted": 2, "succeeded": 2, "failed": 0});
                if sync == done { Ok(()) } else { Err(sync.to_string()) }
            })
            .await?;
            requests.push(request);
        }
        assert_ne!(requests[0], requests[1], "a second press would do nothing");
    }
    Ok(())
}

/// Why there is one key for each kind: if this ever changes, one for all would do.
#[tokio::test]
async fn a_wildcard_gives_health_and_no_button() -> Result<()> {
    let script = json!({"claviger.dev/*": {
        "health.lua": "return {status = 'Healthy'}",
        "actions": "discovery.lua: return {['sync'] = {}}\ndefinitions: [{name: sync, action.lua: return obj}]",
    }});
    let life = Life::shared().await?;
    let object = &life.seen.iter().find(|seen| seen.state == "broken").expect("one is broken").object;
    let verdict =
        judge_with(json!({"resource.customizations": script.to_string()}), [object]).await?.remove(0);
    assert_eq!((verdict.argocd(), verdict.actions.len()), ("Healthy", 0));
    // Who has put that there before loses nothing by ours.
    let patch: Value = serde_saphyr::from_str(&super::judge::read("docs/argocd/argocd-cm.yaml")?)?;
    let mut both = patch["data"].clone();
    both["resource.customizations"] = json!(script.to_string());
    let verdict = judge_with(both, [object]).await?.remove(0);
    assert_eq!((verdict.argocd(), verdict.actions.len()), ("Degraded", 1));
    Ok(())
}
