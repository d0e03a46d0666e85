//! How long it takes until copies are right again: after somebody changed one by hand, and after the source changed.
//! Measured from the API server's answer to the change until a watch shows what should be there.

use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};

use futures::{TryStream, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};

use crate::{
    checks::{good_source, merge, spec},
    lab::Lab,
    scenario::Scenario,
    support::{Error, Operator, Result},
};

/// What is promised, and what half of the tries must hold: one that met a busy moment of the machine proves nothing.
const PROMISE: Duration = Duration::from_secs(1);

/// What each try must hold, however busy the machine is; far below what a resync or a poll would take.
const LIMIT: Duration = Duration::from_secs(10);

const TRIES: usize = 7;

async fn start() -> Result<(Lab, Scenario, Operator)> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let operator = lab.operator()?.start().await?;
    Ok((lab, test, operator))
}

/// One change that somebody makes to a copy.
struct Edit {
    what: &'static str,
    /// None: the copy is deleted.
    patch: Option<Value>,
}

fn edits() -> [Edit; 5] {
    let edit = |what, patch| Edit { what, patch: Some(patch) };
    [
        edit("another content", json!({"data": {".dockerconfigjson": "e30="}})),
        Edit { what: "deleted", patch: None },
        // Without them it is out of the operator's sight.
        edit("no labels", json!({"metadata": {"labels": null}})),
        edit("no owner label", json!({"metadata": {"labels": {"claviger.dev/owner": null}}})),
        edit("no annotations", json!({"metadata": {"annotations": null}})),
    ]
}

#[tokio::test]
async fn a_copy_changed_by_hand_is_right_again_within_a_second() -> Result<()> {
    let (_lab, test, operator) = start().await?;
    // One for each change, as a copy that is changed again and again is repaired at a bounded rate.
    let targets = test.targets(edits().len() * TRIES).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let (mut took, mut namespaces) = (BTreeMap::<_, Vec<Duration>>::new(), targets.iter());
    for _ in 0..TRIES {
        for (edit, namespace) in edits().into_iter().zip(&mut namespaces) {
            let healed = heal(&test, namespace, &edit).await;
            let healed = healed.map_err(|error| error.context(format!("{} in {namespace}", edit.what)))?;
            took.entry(edit.what).or_default().push(healed);
        }
    }
    for (what, tries) in took {
        assert_quick(what, tries);
    }
    test.wait_ready("reg", 1).await?;
    operator.check_running()
}

/// Makes the change, and waits until a watch shows the copy as it was.
async fn heal(test: &Scenario, namespace: &str, edit: &Edit) -> Result<Duration> {
    let secrets = test.secrets(namespace);
    let before = secrets.get("reg").await?;
    let params = WatchParams::default().fields("metadata.name=reg");
    let mut shown = pin!(secrets.watch(&params, &before.resource_version().unwrap_or_default()).await?);
    let edited = match &edit.patch {
        Some(patch) => merge(&secrets, "reg", patch.clone()).await?.resource_version(),
        None => {
            secrets.delete("reg", &DeleteParams::default()).await?;
            None
        }
    };
    let answered = Instant::now();
    let same = |copy: &Secret| {
        (&copy.data, &copy.metadata.labels, &copy.metadata.annotations, &copy.type_)
            == (&before.data, &before.metadata.labels, &before.metadata.annotations, &before.type_)
    };
    assert!(edited != before.resource_version(), "the edit changed nothing");
    loop {
        let copy = next(&mut shown, answered).await?;
        if copy.resource_version() != edited && same(&copy) {
            return Ok(answered.elapsed());
        }
    }
}

#[tokio::test]
async fn a_source_that_changes_is_at_all_copies_within_a_second() -> Result<()> {
    let (_lab, test, operator) = start().await?;
    let targets = test.targets(10).await?;
    good_source(&test, "src", "password-0").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let copies: Api<Secret> = Api::all(test.client.clone());
    let mut took = Vec::new();
    for round in 1..=TRIES {
        let password = format!("password-{round}");
        let list = copies.list(&ListParams::default().fields("metadata.name=reg")).await?;
        let version = list.metadata.resource_version.unwrap_or_default();
        let params = WatchParams::default().fields("metadata.name=reg");
        let mut shown = pin!(copies.watch(&params, &version).await?);
        good_source(&test, "src", &password).await?;
        let answered = Instant::now();
        let mut missing: Vec<&str> = targets.iter().map(String::as_str).collect();
        while !missing.is_empty() {
            let copy = next(&mut shown, answered).await;
            let copy = copy.map_err(|error| error.context(format!("round {round}, without {missing:?}")))?;
            if login(&copy).is_some_and(|found| found == password) {
                missing.retain(|namespace| copy.metadata.namespace.as_deref() != Some(namespace));
            }
        }
        took.push(answered.elapsed());
    }
    assert_quick("a new password", took);
    test.wait_ready("reg", i64::try_from(TRIES)? + 1).await?;
    operator.check_running()
}

/// The password of the one login.
fn login(copy: &Secret) -> Option<String> {
    let file = &copy.data.as_ref()?.get(".dockerconfigjson")?.0;
    let file: Value = serde_json::from_slice(file).ok()?;
    file["auths"].as_object()?.values().next()?["password"].as_str().map(str::to_owned)
}

/// The next state that a watch shows; it has to come within the limit of this try.
async fn next<S>(shown: &mut S, answered: Instant) -> Result<Secret>
where
    S: TryStream<Ok = WatchEvent<Secret>, Error = kube::Error> + Unpin,
{
    let end = tokio::time::Instant::from_std(answered + LIMIT);
    loop {
        let event = tokio::time::timeout_at(end, shown.try_next()).await;
        let event = event.map_err(|_| Error::new(format!("it was not right after {LIMIT:?}")))?;
        match event?.ok_or_else(|| Error::new("the watch ended"))? {
            WatchEvent::Added(copy) | WatchEvent::Modified(copy) => return Ok(copy),
            WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => return Err(Error::new(format!("the watch broke: {status:?}"))),
        }
    }
}

fn assert_quick(what: &str, mut tries: Vec<Duration>) {
    tries.sort();
    let median = tries[tries.len() / 2];
    assert!(median < PROMISE, "{what}: the median of {tries:?} is {median:?}");
    assert!(tries.iter().all(|took| *took < LIMIT), "{what}: {tries:?}");
}
