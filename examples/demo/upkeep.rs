//! Keeping it so: rotation, drift, names that are taken, and namespaces that nobody gave.

use std::{collections::BTreeSet, time::Instant};

use kube::{ResourceExt, api::DynamicObject};
use serde_json::json;

use crate::{
    programme::Programme,
    screen::Count,
    sight::{Seen, condition, is_ready, password},
    stage::{HOME, KIND, LABEL, Stage},
    support::{Error, Result},
};

const CREDENTIAL: &str = "quay";
const NEW_TOKEN: &str = "THISISNOTAREALTOKENEITHERBUTITISTHENEWONE00000000000000000000002";

/// A new value at the source arrives everywhere.
pub async fn rotation(programme: &mut Programme, stage: &mut Stage, namespaces: &[String]) -> Result<()> {
    programme.begin(
        "A rotation",
        "The source Secret gets a new token. Every copy is updated in place and keeps its uid, so kubelet does not have to \
         authenticate for cached images again. The status is written at most about once a second.",
    );
    let screen = programme.screen.clone();
    let uids = |seen: &Seen| -> BTreeSet<String> {
        seen.copies(KIND, HOME, CREDENTIAL).filter_map(ResourceExt::uid).collect()
    };
    let before = stage.sight.look(uids);
    screen.command(&format!(
        "kubectl patch secret quay-robot -n {HOME} -p '{{\"stringData\": {{\"token\": \"THIS...THENEWONE...2\"}}}}'"
    ));
    let since = Instant::now();
    stage.patch("Secret", HOME, "quay-robot", json!({"stringData": {"token": NEW_TOKEN}})).await?;
    let look = |seen: &Seen| Count {
        done: seen
            .copies(KIND, HOME, CREDENTIAL)
            .filter(|copy| password(copy).as_deref() == Some(NEW_TOKEN))
            .count(),
        total: namespaces.len(),
    };
    let took = stage.sight.until(&screen, "namespaces", since, look).await?;
    if stage.sight.look(uids) != before {
        return Err(Error::new("some copies were replaced, not updated"));
    }
    let result = format!("rotation in {} namespaces", namespaces.len());
    screen.done(&format!("{result}, all {} uids unchanged", before.len()), Some(took));
    let told = |seen: &Seen| {
        let credential = seen.credential(KIND, HOME, CREDENTIAL).filter(|credential| is_ready(credential));
        Count::once(credential.and_then(|c| c.data.pointer("/status/revision")?.as_i64()) == Some(2))
    };
    let told = stage.sight.until(&screen, "the status", since, told).await?;
    screen.done("the status reports revision 2, ready", Some(told));
    programme.end(result, took).await;
    Ok(())
}

/// What somebody does to a copy by hand does not last.
pub async fn drift(programme: &mut Programme, stage: &mut Stage, namespaces: &[String]) -> Result<()> {
    programme.begin("Drift", "One copy is deleted by hand, another one is edited. Claviger restores both.");
    let screen = programme.screen.clone();
    let [deleted, edited, ..] = namespaces else { return Err(Error::new("too few namespaces")) };
    let uid = |seen: &Seen, namespace: &str| seen.secret(namespace, CREDENTIAL).and_then(ResourceExt::uid);
    let holds = |secret: Option<&DynamicObject>| secret.and_then(password).as_deref() == Some(NEW_TOKEN);

    screen.command(&format!("kubectl delete secret {CREDENTIAL} -n {deleted}"));
    let old = stage.sight.look(|seen| uid(seen, deleted));
    let since = Instant::now();
    stage.delete("Secret", deleted, CREDENTIAL).await?;
    let look =
        |seen: &Seen| Count::once(uid(seen, deleted) != old && holds(seen.secret(deleted, CREDENTIAL)));
    let back = stage.sight.until(&screen, "the copy", since, look).await?;
    screen.done(&format!("restored in {deleted}, with the current token"), Some(back));

    screen.command(&format!(
        "kubectl patch secret {CREDENTIAL} -n {edited} -p '{{\"data\": {{\".dockerconfigjson\": \"e30=\"}}}}'"
    ));
    let since = Instant::now();
    let spoilt =
        stage.patch("Secret", edited, CREDENTIAL, json!({"data": {".dockerconfigjson": "e30="}})).await?;
    let version = spoilt.resource_version();
    let look = |seen: &Seen| {
        let copy = seen.secret(edited, CREDENTIAL);
        let is_later = copy.and_then(|copy| copy.resource_version().parse_number()) > version.parse_number();
        Count::once(is_later && holds(copy))
    };
    let repaired = stage.sight.until(&screen, "the copy", since, look).await?;
    screen.done(&format!("restored in {edited}"), Some(repaired));
    programme.end("a deleted copy and an edited copy restored", back.max(repaired)).await;
    Ok(())
}

/// The order of events is in the resourceVersion, which has been a number on every server so far.
trait ParseNumber {
    fn parse_number(&self) -> Option<u64>;
}

impl ParseNumber for Option<String> {
    fn parse_number(&self) -> Option<u64> {
        self.as_deref()?.parse().ok()
    }
}

/// A Secret of that name that is somebody else's.
pub async fn foreign_secret(
    programme: &mut Programme,
    stage: &mut Stage,
    namespaces: &mut Vec<String>,
) -> Result<()> {
    let name = "legacy";
    programme.begin(
        "A foreign Secret",
        "A namespace already has a Secret of that name. It is never touched; the credential says so, and its copy appears \
         when the name is free.",
    );
    let screen = programme.screen.clone();
    stage.create_namespace(name, json!({})).await?;
    screen.command(&format!(
        "kubectl create secret generic {CREDENTIAL} -n {name} --from-literal=mine=precious"
    ));
    let (made, _) = stage
        .apply(&format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {CREDENTIAL}, namespace: {name}}}, \
             stringData: {{mine: precious}}}}"
        ))
        .await?;
    screen.command(&format!("kubectl label namespace {name} {LABEL}=true"));
    let since = Instant::now();
    stage.label_namespace(name, json!({LABEL: "true"})).await?;
    let failure = |seen: &Seen| {
        let (_, _, message) = condition(seen.credential(KIND, HOME, CREDENTIAL)?, "Ready")?;
        message.contains("SecretNameConflict").then(|| message.to_owned())
    };
    let told =
        stage.sight.until(&screen, "the status", since, |seen| Count::once(failure(seen).is_some())).await?;
    let message = stage.sight.look(failure).unwrap_or_default();
    screen.done("the credential reports it", Some(told));
    screen.command(&format!("kubectl get regcred {CREDENTIAL} -n {HOME}"));
    screen.table(&stage.row(HOME, CREDENTIAL).await?);
    screen.quote("Ready=False", &message);
    let now = stage.api("Secret", name).get(CREDENTIAL).await?;
    let before = made.first().and_then(ResourceExt::resource_version);
    if now.resource_version() != before {
        return Err(Error::new("somebody else's Secret was changed"));
    }
    screen.done("the Secret was not changed: same resourceVersion as after its creation", None);
    screen.command(&format!("kubectl delete secret {CREDENTIAL} -n {name}"));
    let since = Instant::now();
    stage.delete("Secret", name, CREDENTIAL).await?;
    let look = |seen: &Seen| {
        Count::once(seen.secret(name, CREDENTIAL).and_then(password).as_deref() == Some(NEW_TOKEN))
    };
    let took = stage.sight.until(&screen, "the copy", since, look).await?;
    screen.done("the name is free, and the copy is created", Some(took));
    let ready = |seen: &Seen| Count::once(seen.credential(KIND, HOME, CREDENTIAL).is_some_and(is_ready));
    let is_ready = stage.sight.until(&screen, "Ready=True", since, ready).await?;
    screen.done("the credential is ready again", Some(is_ready));
    namespaces.push(name.to_owned());
    programme.end("not changed, reported; the copy was created once the name was free", took).await;
    Ok(())
}

/// A tenant who aims at the namespaces of others.
pub async fn no_consent(programme: &mut Programme, stage: &mut Stage) -> Result<()> {
    programme.begin(
        "No consent, no Secret",
        "A tenant aims at everybody's namespaces. Without a DistributionPolicy, which only cluster administrators write, it \
         reaches nobody.",
    );
    let screen = programme.screen.clone();
    screen.command("kubectl patch regcred gitlab -n team-a --type merge \\\n  -p '{\"spec\": {\"target\": {\"namespaces\": {\"selector\": {}, \"exclude\": [\"team-a\"]}}}}'");
    let since = Instant::now();
    let target = json!({"namespaces": {"selector": {}, "exclude": ["team-a"]}});
    let patched = stage.patch(KIND, "team-a", "gitlab", json!({"spec": {"target": target}})).await?;
    let refused = |seen: &Seen| {
        let credential = seen.credential(KIND, "team-a", "gitlab")?;
        let (_, reason, message) = condition(credential, "Ready")?;
        let is_current = credential.metadata.generation >= patched.metadata.generation;
        (is_current && reason == "NotPermitted").then(|| message.to_owned())
    };
    let took =
        stage.sight.until(&screen, "the status", since, |seen| Count::once(refused(seen).is_some())).await?;
    let message = stage.sight.look(refused).unwrap_or_default();
    screen.done("the credential says what is missing", Some(took));
    screen.quote("Ready=False", &message);
    let strays = stage.sight.look(|seen| {
        let copies = seen.copies(KIND, "team-a", "gitlab");
        copies.filter(|copy| copy.namespace().as_deref() != Some("team-a")).count()
    });
    if strays > 0 {
        return Err(Error::new(format!("{strays} copies in other namespaces")));
    }
    screen.done("0 Secrets in other namespaces", None);
    programme.end("NotPermitted, nothing written", took).await;
    Ok(())
}
