//! The end of a credential, and of the demo.

use std::time::Instant;

use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;

use crate::{
    member,
    programme::Programme,
    screen::{Count, Screen},
    sight::{DEADLINE, Seen, condition},
    spread::{copies, plural},
    stage::{HOME, KIND, LABEL, Stage},
    support::{Error, Result, wait_for},
};

const CREDENTIAL: &str = "quay";
const POD: &str = "shop-7d9f";

/// A deletion that waits for a Pod.
pub async fn deletion(programme: &mut Programme, stage: &mut Stage, namespaces: &[String]) -> Result<()> {
    programme.begin(
        "A deletion while a Pod uses the Secret",
        "All copies stay, and the credential names the Pod. (No node runs the Pod here. Its status says Running, which is \
         all that an operator sees.)",
    );
    let screen = programme.screen.clone();
    let [_, _, home, ..] = namespaces else { return Err(Error::new("too few namespaces")) };
    let all = namespaces.len();
    screen.command(&format!(
        "kubectl run {POD} -n {home} --image=quay.io/acme/shop \\\n  --overrides='{{\"spec\": {{\"imagePullSecrets\": [{{\"name\": \
         \"{CREDENTIAL}\"}}]}}}}'"
    ));
    let since = Instant::now();
    start_pod(stage, home).await?;
    let used = |seen: &Seen| {
        let credential = seen.credential(KIND, HOME, CREDENTIAL);
        let total = credential.and_then(|c| c.data.pointer("/status/references/total")?.as_i64());
        Count::once(total == Some(1))
    };
    let took = stage.sight.until(&screen, "the status", since, used).await?;
    screen.done("the status counts the Pod", Some(took));

    screen.command(&format!("kubectl delete regcred {CREDENTIAL} -n {HOME} --wait=false"));
    let since = Instant::now();
    stage.delete(KIND, HOME, CREDENTIAL).await?;
    let blocked = |seen: &Seen| {
        let credential = seen.credential(KIND, HOME, CREDENTIAL)?;
        let (status, _, message) = condition(credential, "DeletionBlocked")?;
        (status == "True").then(|| message.to_owned())
    };
    let look = |seen: &Seen| Count::once(blocked(seen).is_some());
    let told = stage.sight.until(&screen, "DeletionBlocked=True", since, look).await?;
    let message = stage.sight.look(blocked).unwrap_or_default();
    screen.done("the deletion is blocked", Some(told));
    screen.quote("DeletionBlocked=True", &message);
    screen.command(&format!("kubectl get regcred {CREDENTIAL} -n {HOME}"));
    screen.table(&stage.row(HOME, CREDENTIAL).await?);
    let left = stage.sight.look(|seen| copies(seen, CREDENTIAL));
    if left != all {
        return Err(Error::new(format!("only {left} of {all} copies are left")));
    }
    screen.done(&format!("{left}/{all} Secrets are still in place"), None);
    screen.pause().await;

    screen.command(&format!("kubectl delete pod {POD} -n {home}"));
    let since = Instant::now();
    stage.delete("Pod", home, POD).await?;
    let gone = |seen: &Seen| Count { done: all.saturating_sub(copies(seen, CREDENTIAL)), total: all };
    let took = stage.sight.until(&screen, "Secrets gone", since, gone).await?;
    screen.done(&format!("the Pod is gone, and then {}", plural(all, "Secret")), Some(took));
    let forgotten = |seen: &Seen| Count::once(seen.credential(KIND, HOME, CREDENTIAL).is_none());
    let ended = stage.sight.until(&screen, "the end of the credential", since, forgotten).await?;
    screen.done("the credential is gone", Some(ended));
    programme.end("blocked by a Pod, finished after it was gone", ended).await;
    Ok(())
}

async fn start_pod(stage: &Stage, namespace: &str) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": POD, "namespace": namespace},
        "spec": {
            "containers": [{"name": "shop", "image": "quay.io/acme/shop"}],
            "imagePullSecrets": [{"name": CREDENTIAL}],
        },
    });
    stage.apply(&pod.to_string()).await?;
    let status = kube::api::Patch::Merge(json!({"status": {"phase": "Running"}}));
    stage.api("Pod", namespace).patch_status(POD, &kube::api::PatchParams::default(), &status).await?;
    Ok(())
}

/// What Claviger has told about it all.
pub async fn events(programme: &mut Programme, stage: &Stage) -> Result<()> {
    programme.begin("Events", "Claviger publishes one Event per transition, not one per Secret.");
    let screen = programme.screen.clone();
    screen.command(&format!("kubectl events -n {HOME} --for registrycredential/{CREDENTIAL}"));
    let since = Instant::now();
    let api = Api::<Event>::namespaced(stage.client.clone(), HOME);
    // The last one is published after the credential is gone.
    let told = wait_for(DEADLINE, "the Event of the deletion", async || {
        let mut told = api.list(&ListParams::default()).await?.items;
        told.retain(|event| {
            event.regarding.as_ref().and_then(|about| about.name.as_deref()) == Some(CREDENTIAL)
        });
        told.sort_by_key(|event| (event.event_time.clone(), event.name_any()));
        if told.iter().any(|event| event.reason.as_deref() == Some("Deleted")) {
            return Ok(told);
        }
        Err(Error::new(format!("{} Events, none of them about the deletion", told.len())))
    })
    .await?;
    let rows: Vec<_> = told
        .into_iter()
        .map(|event| {
            let is_warning = event.type_.as_deref() == Some("Warning");
            (event.reason.unwrap_or_default(), is_warning, event.note.unwrap_or_default())
        })
        .collect();
    screen.list(&rows);
    programme.end(plural(rows.len(), "Event"), since.elapsed()).await;
    Ok(())
}

/// For `--keep`: until a signal comes.
pub async fn leave_running(screen: &Screen, stage: &Stage) {
    let again = stage.apply(include_str!("../platform-team.yaml")).await;
    screen.line("");
    screen.line("Everything keeps running until Ctrl-C. In another terminal:");
    screen.line("");
    screen.line(&format!("  export KUBECONFIG={}", stage.control_plane.kubeconfig().display()));
    if let Some(member) = &stage.member {
        let path = member.control_plane.kubeconfig();
        screen.line(&format!("  export MEMBER={}   # {}", path.display(), member::NAME));
    }
    screen.line("");
    if let Err(error) = again {
        screen.failed(&error.to_string());
    }
    for (command, why) in [
        ("kubectl get credentials -A".to_owned(), ""),
        (format!("kubectl describe regcred quay -n {HOME}"), ""),
        ("kubectl describe regcred gitlab -n team-a".to_owned(), "NotPermitted, since step 12"),
        (format!("kubectl create namespace mine && kubectl label namespace mine {LABEL}=true"), ""),
        ("kubectl get secrets -n mine".to_owned(), ""),
        ("kubectl get secrets -A -l app.kubernetes.io/managed-by=claviger".to_owned(), ""),
        ("kubectl get mcl -o wide".to_owned(), ""),
        (
            "kubectl --kubeconfig $MEMBER get secrets -A -l app.kubernetes.io/managed-by=claviger".to_owned(),
            "",
        ),
        ("kubectl explain regcred.spec".to_owned(), ""),
        (format!("tail -f {}", stage.operator.dir().join("claviger.log").display()), "the operator's log"),
    ] {
        let why = if why.is_empty() { String::new() } else { format!("   # {why}") };
        screen.line(&format!("  {command}{why}"));
    }
    screen.line("");
    std::future::pending::<()>().await;
}
