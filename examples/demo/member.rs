//! Another cluster: taken in, cut off, and back.

use std::{process::Command, sync::Arc, time::Instant};

use claviger::{
    api::{DistributionPolicy, MemberCluster},
    cli::member_rbac::MemberRbacArgs,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    kubectl,
    programme::Programme,
    screen::{Count, Screen},
    sight::{DEADLINE, Seen, Sight, condition, is_ready, password},
    spread::{copies, plural},
    stage::{HOME, KIND, LABEL, Stage, create_namespace},
    support::{
        ControlPlane, Error, FaultProxy, Result, apply_yaml, environment::OPERATOR_NAMESPACE, error::Context,
        wait_for,
    },
};

pub const NAME: &str = "eu-west-1";
pub const MEMBER_KIND: &str = "MemberCluster";
const CREDENTIAL: &str = "scaleway";
const SOURCE: &str = "scaleway-api-key";
const NEW_KEY: &str = "00000000-0000-4000-8000-000000000002";
const NAMESPACES: [&str; 3] = ["team-blue", "team-green", "team-red"];

pub struct Member {
    pub sight: Sight,
    pub proxy: FaultProxy,
    pub control_plane: ControlPlane,
}

/// A member, from nothing to its first copies.
pub async fn second_cluster(programme: &mut Programme, stage: &mut Stage, here: usize) -> Result<()> {
    programme.begin(
        "A second cluster",
        "Another control plane with a few namespaces. No operator runs there; the hub's operator uses a service account. It \
         connects through a proxy, which the next step cuts off.",
    );
    let screen = programme.screen.clone();
    let (control_plane, took) = programme
        .wait("starting etcd, kube-apiserver, kube-controller-manager", ControlPlane::builder().start())
        .await?;
    let client = control_plane.client().await?;
    let proxy = FaultProxy::start(control_plane.address()).await?;
    screen.done(
        &format!("{NAME} at {}, its proxy at {}", control_plane.address(), proxy.address()),
        Some(took),
    );
    screen.command(&format!(
        "for team in blue green red; do kubectl --context {NAME} create namespace team-$team; done\n\
         for team in blue green red; do kubectl --context {NAME} label namespace team-$team {LABEL}=true; done"
    ));
    for name in NAMESPACES {
        create_namespace(&client, name, json!({LABEL: "true"})).await?;
    }
    screen.command(&format!("claviger member-rbac | kubectl --context {NAME} apply -f -"));
    let since = Instant::now();
    let token = admit(stage, &client).await?;
    screen.done("the operator has a service account there, and its token", Some(since.elapsed()));
    let kubeconfig = control_plane.kubeconfig_text(proxy.url(), &token);
    let sight = Sight::open(&client, &[], stage.operator.clone());
    stage.member = Some(Member { sight, proxy, control_plane });

    screen.command(&format!(
        "kubectl create secret generic {NAME}-kubeconfig -n {OPERATOR_NAMESPACE} --from-file=kubeconfig={NAME}.yaml\n\
         kubectl apply -f - <<EOF\n\
         apiVersion: claviger.dev/v1alpha1\nkind: {MEMBER_KIND}\nmetadata: {{name: {NAME}}}\n\
         spec: {{kubeconfigSecretRef: {{name: {NAME}-kubeconfig}}}}\nEOF"
    ));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("{NAME}-kubeconfig"), "namespace": OPERATOR_NAMESPACE},
        "stringData": {"kubeconfig": kubeconfig},
    });
    let declared = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": MEMBER_KIND, "metadata": {"name": NAME},
        "spec": {"kubeconfigSecretRef": {"name": format!("{NAME}-kubeconfig")}},
    });
    let since = Instant::now();
    apply_yaml(&stage.client, &format!("{secret}\n---\n{declared}\n")).await?;
    let connected = stage.sight.until(&screen, "the member", since, |seen| told_of(seen, "Ready")).await?;
    screen.done("connected, listed, and ready", Some(connected));
    show_member(&screen, &stage.client).await?;

    let both = json!({"names": ["local", NAME]});
    screen.command(&format!(
        "kubectl patch distributionpolicy {HOME} --type merge \\\n  -p '{{\"spec\": {{\"to\": {{\"clusters\": {both}}}}}}}'\n\
         kubectl patch regcred {CREDENTIAL} -n {HOME} --type merge \\\n  -p '{{\"spec\": {{\"target\": {{\"clusters\": {both}}}}}}}'"
    ));
    let patch = Patch::Merge(json!({"spec": {"to": {"clusters": both}}}));
    Api::<DistributionPolicy>::all(stage.client.clone())
        .patch(HOME, &PatchParams::default(), &patch)
        .await
        .context("widening the policy")?;
    let since = Instant::now();
    let patch = json!({"spec": {"target": {"clusters": both}}});
    stage.patch(KIND, HOME, CREDENTIAL, patch).await?;
    let there = |seen: &Seen| Count { done: copies(seen, CREDENTIAL), total: NAMESPACES.len() };
    let member = stage.member.as_mut().ok_or_else(nobody)?;
    let took = member.sight.until(&screen, &format!("Secrets in {NAME}"), since, there).await?;
    screen.done(&format!("{} in {NAME}", plural(NAMESPACES.len(), "Secret")), Some(took));
    let told = |seen: &Seen| in_state(seen, NAME, "Synced", 1);
    let told = stage.sight.until(&screen, "the status", since, told).await?;
    if stage.sight.look(|seen| copies(seen, CREDENTIAL)) != here {
        return Err(Error::new("the copies of this cluster are not what they were"));
    }
    screen.done(&format!("the status reports it; the {here} of this cluster are unchanged"), Some(told));
    show_credential(&screen, stage).await?;
    let result = format!("{} in another cluster", plural(NAMESPACES.len(), "Secret"));
    programme.end(result, took).await;
    Ok(())
}

/// The member is not there; everything else goes on.
pub async fn cut_off(programme: &mut Programme, stage: &mut Stage, namespaces: &[String]) -> Result<()> {
    programme.begin(
        "Cut off",
        &format!(
            "The connection to {NAME} goes dead, as behind a firewall that dropped it: connections stay open, and no byte \
             passes. At the same time the source gets a new key."
        ),
    );
    let screen = programme.screen.clone();
    let member = stage.member.as_mut().ok_or_else(nobody)?;
    let holds = |seen: &Seen| passwords(seen).count();
    let before: Vec<String> = member.sight.look(|seen| passwords(seen).collect());
    member.proxy.freeze();
    let cut = Instant::now();
    screen.command(&format!(
        "kubectl patch secret {SOURCE} -n {HOME} -p '{{\"stringData\": {{\"secretKey\": \"{NEW_KEY}\"}}}}'"
    ));
    let since = Instant::now();
    let patch = json!({"stringData": {"secretKey": NEW_KEY}});
    stage.patch("Secret", HOME, SOURCE, patch).await?;
    let total = namespaces.len();
    let took = stage.sight.until(&screen, "namespaces", since, |seen| renewed(seen, total)).await?;
    screen.done(&format!("rotation in {total} namespaces of this cluster"), Some(took));
    let noticed = stage.sight.until(&screen, "the member", cut, |seen| told_of(seen, "Unreachable")).await?;
    screen.done(&format!("{NAME} is reported as unreachable"), Some(noticed));
    let rows = |seen: &Seen| {
        let (here, there) = (in_state(seen, "local", "Synced", 2), in_state(seen, NAME, "Unreachable", 1));
        Count::once(here.is_complete() && there.is_complete())
    };
    let told = stage.sight.until(&screen, "the status", cut, rows).await?;
    screen.done("the status of the credential reports it; this cluster is at revision 2", Some(told));
    show_member(&screen, &stage.client).await?;
    show_credential(&screen, stage).await?;
    let member = stage.member.as_ref().ok_or_else(nobody)?;
    if member.sight.look(|seen| passwords(seen).collect::<Vec<_>>()) != before || before.is_empty() {
        return Err(Error::new(format!("the copies in {NAME} changed while it was cut off")));
    }
    let left = member.sight.look(holds);
    screen.done(&format!("{left}/{left} Secrets in {NAME} are unchanged, and its Pods can use them"), None);
    programme.end(format!("rotation in {total} namespaces, {NAME} reported as unreachable"), took).await;
    Ok(())
}

/// The member is back, and gets what it has missed.
pub async fn back(programme: &mut Programme, stage: &mut Stage) -> Result<()> {
    programme.begin(
        "Back",
        "The connection works again; what was sent meanwhile is lost. The operator notices by itself.",
    );
    let screen = programme.screen.clone();
    let member = stage.member.as_mut().ok_or_else(nobody)?;
    let since = Instant::now();
    // Else a write from before the cut could still arrive, and look like a quick recovery.
    member.proxy.reset();
    member.proxy.thaw();
    let total = NAMESPACES.len();
    let took = member.sight.until(&screen, "namespaces", since, |seen| renewed(seen, total)).await?;
    screen.done(&format!("the new key in {total} namespaces of {NAME}"), Some(took));
    let told = |seen: &Seen| {
        let credential = seen.credential(KIND, HOME, CREDENTIAL);
        let all = credential.is_some_and(is_ready)
            && told_of(seen, "Ready").is_complete()
            && in_state(seen, NAME, "Synced", 2).is_complete();
        Count::once(all)
    };
    let told = stage.sight.until(&screen, "the status", since, told).await?;
    screen.done("member and credential are ready again", Some(told));
    show_member(&screen, &stage.client).await?;
    show_credential(&screen, stage).await?;
    programme.end(format!("{NAME} is up to date again"), took).await;
    Ok(())
}

/// Gives the operator its account in the member; returns the token.
async fn admit(stage: &Stage, client: &Client) -> Result<String> {
    let mut command = Command::new(&stage.binary);
    command.arg("member-rbac");
    let printed = tokio::task::spawn_blocking(move || command.output()).await??;
    if !printed.status.success() {
        return Err(Error::new(String::from_utf8_lossy(&printed.stderr)));
    }
    apply_yaml(client, &String::from_utf8_lossy(&printed.stdout)).await?;
    let MemberRbacArgs { namespace, service_account, .. } = MemberRbacArgs::default();
    let secrets = Api::<k8s_openapi::api::core::v1::Secret>::namespaced(client.clone(), &namespace);
    wait_for(DEADLINE, "the token of the service account", async || {
        let data = secrets.get(&service_account).await?.data.unwrap_or_default();
        let token = data.get("token").ok_or_else(|| Error::new("not there yet"))?;
        Ok::<_, Error>(String::from_utf8_lossy(&token.0).into_owned())
    })
    .await
}

/// Whether the member's Ready has this reason; `Ready` stands for True.
fn told_of(seen: &Seen, reason: &str) -> Count {
    let found = seen.credential(MEMBER_KIND, "", NAME).and_then(|member| condition(member, "Ready"));
    Count::once(found.is_some_and(|(status, why, _)| {
        if reason == "Ready" { status == "True" } else { status == "False" && why == reason }
    }))
}

/// Whether a cluster's row in the credential says so.
fn in_state(seen: &Seen, cluster: &str, state: &str, revision: i64) -> Count {
    let rows = seen.credential(KIND, HOME, CREDENTIAL).map(rows).unwrap_or_default();
    Count::once(rows.iter().any(|r| r["name"] == cluster && r["state"] == state && r["revision"] == revision))
}

fn rows(credential: &DynamicObject) -> Vec<Value> {
    credential.data.pointer("/status/clusters").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn passwords(seen: &Seen) -> impl Iterator<Item = String> {
    seen.copies(KIND, HOME, CREDENTIAL).filter_map(password)
}

fn renewed(seen: &Seen, total: usize) -> Count {
    Count { done: passwords(seen).filter(|password| password == NEW_KEY).count(), total }
}

async fn show_member(screen: &Arc<Screen>, client: &Client) -> Result<()> {
    screen.command(&format!("kubectl get mcl {NAME}"));
    let resource = ApiResource::erase::<MemberCluster>(&());
    screen.table(&kubectl::get(client, &resource, None, &format!("metadata.name={NAME}")).await?);
    Ok(())
}

async fn show_credential(screen: &Arc<Screen>, stage: &Stage) -> Result<()> {
    screen.command(&format!("kubectl get regcred {CREDENTIAL} -n {HOME}"));
    screen.table(&stage.row(HOME, CREDENTIAL).await?);
    screen.command(&format!(
        "kubectl get regcred {CREDENTIAL} -n {HOME} \\\n  \
         -o jsonpath='{{range .status.clusters[*]}}{{.name}} {{.state}}, revision {{.revision}} {{.message}}{{\"\\n\"}}{{end}}'"
    ));
    let credential = stage.api(KIND, HOME).get(CREDENTIAL).await?;
    for row in rows(&credential) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = format!("{}, revision {} {}", text(&row["state"]), row["revision"], text(&row["message"]));
        screen.quote(&text(&row["name"]), &told);
    }
    Ok(())
}

fn nobody() -> Error {
    Error::new("there is no second cluster")
}
