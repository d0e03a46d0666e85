//! All that may use a Secret besides Pods: what is listed, and what holds.

use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::LONG;
use crate::{
    checks::{delete, exact, good_source, spec, wait_no_credential, wait_no_secret},
    lab::{Lab, wait_accounts},
    scenario::Scenario,
    support::{Operator, Result, operator::Builder, reference_types::GROUPS, wait_for},
};

/// A control plane with an operator, and one credential with copies in some namespaces.
pub struct Kinds {
    pub lab: Lab,
    pub test: Scenario,
    pub operator: Operator,
    pub targets: Vec<String>,
}

impl Kinds {
    pub async fn new(namespaces: usize, operator: impl FnOnce(&Lab) -> Result<Builder>) -> Result<Self> {
        Self::on(Lab::start().await?, namespaces, operator).await
    }

    pub async fn on(
        lab: Lab,
        namespaces: usize,
        operator: impl FnOnce(&Lab) -> Result<Builder>,
    ) -> Result<Self> {
        let test = lab.scenario().await?;
        test.policy().await?;
        let targets = test.targets(namespaces).await?;
        let operator = operator(&lab)?.start().await?;
        good_source(&test, "src", "the-password").await?;
        test.credential("reg", spec(&test, "src")).await?;
        test.wait_ready("reg", 1).await?;
        wait_accounts(&test, &targets).await?;
        Ok(Self { lab, test, operator, targets })
    }

    pub async fn make(&self, namespace: &str, object: &Value) -> Result<()> {
        make(&self.test.client, namespace, object).await
    }

    pub async fn unmake(&self, namespace: &str, object: &Value) -> Result<()> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        api(&self.test.client, object, namespace).delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until the status tells of so many users, and so many that hold.
    pub async fn wait_users(&self, total: i64, blocking: i64) -> Result<Vec<claviger::api::Reference>> {
        // Only that users are there, or are not, is told at once; the rest once in 30 s. And ten thousand of them take an
        // operator that is not optimized 20 s of CPU.
        wait_for(5 * LONG, &format!("{total} users, of which {blocking} hold"), async || {
            let status = self.test.status("reg").await.map_err(|error| error.to_string())?;
            let found = status.references.unwrap_or_default();
            if (found.total, found.blocking) == (total, blocking) {
                Ok(found.items)
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await
    }
}

fn api(client: &Client, object: &Value, namespace: &str) -> Api<DynamicObject> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("kind")));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Makes an object of any kind.
pub async fn make(client: &Client, namespace: &str, object: &Value) -> Result<()> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let params = PatchParams::apply("test").force();
    // A new definition takes a moment to be served.
    wait_for(LONG, &format!("{} {name} to be made", object["kind"]), async || {
        api(client, object, namespace).patch(name, &params, &Patch::Apply(object)).await.map(drop)
    })
    .await
}

pub fn template(secret: &str) -> Value {
    let containers = json!([{"name": "app", "image": "registry.example.com/app"}]);
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": containers, "imagePullSecrets": [{"name": secret}]}})
}

fn object(version: &str, kind: &str, rest: Value) -> Value {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": kind.to_lowercase()}});
    json_patch::merge(&mut object, &rest);
    object
}

pub fn deployment(secret: &str) -> Value {
    let selector = json!({"matchLabels": {"app": "x"}});
    object(
        "apps/v1",
        "Deployment",
        json!({"spec": {"replicas": 0, "selector": selector, "template": template(secret)}}),
    )
}

pub fn ingress(name: &str, secret: &str) -> Value {
    let backend = json!({"service": {"name": "x", "port": {"number": 80}}});
    let spec =
        json!({"defaultBackend": backend, "tls": [{"hosts": ["a.example.com"], "secretName": secret}]});
    object("networking.k8s.io/v1", "Ingress", json!({"metadata": {"name": name}, "spec": spec}))
}

/// Objects of every API server that use a Secret and of which there is no Pod; each with the field.
fn built_in(secret: &str) -> Vec<(Value, &'static str)> {
    let selector = json!({"matchLabels": {"app": "x"}});
    let mut once = template(secret);
    once["spec"]["restartPolicy"] = json!("Never");
    let annotated = json!({"metadata": {"name": "annotated", "annotations": {"nginx.ingress.kubernetes.io/auth-secret": secret}}});
    let mut annotated_ingress = ingress("annotated", "not-ours");
    json_patch::merge(&mut annotated_ingress, &annotated);
    let of_template = "spec.template.spec.imagePullSecrets";
    vec![
        (deployment(secret), of_template),
        (
            object(
                "apps/v1",
                "StatefulSet",
                json!({"spec": {"replicas": 0, "serviceName": "x", "selector": selector, "template": template(secret)}}),
            ),
            of_template,
        ),
        // On no node, as there is none.
        (
            object(
                "apps/v1",
                "DaemonSet",
                json!({"spec": {"selector": selector, "template": template(secret)}}),
            ),
            of_template,
        ),
        (
            object(
                "apps/v1",
                "ReplicaSet",
                json!({"spec": {"replicas": 0, "selector": selector, "template": template(secret)}}),
            ),
            of_template,
        ),
        (object("batch/v1", "Job", json!({"spec": {"suspend": true, "template": once}})), of_template),
        (
            object(
                "batch/v1",
                "CronJob",
                json!({"spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": once}}}}),
            ),
            "spec.jobTemplate.spec.template.spec.imagePullSecrets",
        ),
        (
            object("v1", "ServiceAccount", json!({"imagePullSecrets": [{"name": secret}]})),
            "imagePullSecrets[].name",
        ),
        (ingress("ingress", secret), "spec.tls[].secretName"),
        (annotated_ingress, "metadata.annotations['nginx.ingress.kubernetes.io/auth-secret']"),
    ]
}

/// What holds by default, of those.
const HOLD: [&str; 4] = ["Ingress", "Gateway", "ListenerSet", "BackendTLSPolicy"];

#[tokio::test]
async fn every_kind_is_listed_with_its_field_and_only_some_hold() -> Result<()> {
    let lab = Lab::start().await?;
    let client = lab.control_plane.client().await?;
    for group in GROUPS {
        group.install(&client).await?;
    }
    let stage = Kinds::on(lab, 2, Lab::operator).await?;
    let (namespace, test) = (&stage.targets[0], &stage.test);
    let mut objects: Vec<(Value, String)> =
        built_in("reg").into_iter().map(|(object, field)| (object, field.to_owned())).collect();
    objects.extend(GROUPS.iter().flat_map(|group| group.objects("reg")));
    for (object, _) in &objects {
        stage.make(namespace, object).await?;
    }
    let holds = |object: &Value| HOLD.iter().any(|kind| object["kind"] == *kind);
    let blocking = objects.iter().filter(|(object, _)| holds(object)).count();
    let items = stage.wait_users(i64::try_from(objects.len())?, i64::try_from(blocking)?).await?;
    for (object, field) in &objects {
        let (kind, name) = (object["kind"].as_str(), object["metadata"]["name"].as_str());
        let found = items.iter().find(|item| Some(&*item.kind) == kind && Some(&*item.name) == name);
        let found =
            found.ok_or_else(|| crate::support::Error::new(format!("no {kind:?} {name:?} in {items:?}")))?;
        assert_eq!(
            (&found.field, &found.namespace, &*found.cluster),
            (field, namespace, "local"),
            "{kind:?}"
        );
    }
    let kinds: Vec<_> = items.iter().map(|item| &*item.kind).collect();
    assert!(
        kinds[..blocking].iter().all(|kind| HOLD.contains(kind)),
        "those that hold come first: {kinds:?}"
    );

    delete(test, "reg").await?;
    let blocked = test.wait_condition("reg", "DeletionBlocked", "True", "InUse").await?;
    assert!(
        HOLD.iter().any(|kind| blocked.message.contains(&format!("{kind} {namespace}/"))),
        "{}",
        blocked.message
    );
    assert!(!blocked.message.contains("Deployment"), "{}", blocked.message);
    exact(test, namespace, "reg").await?;
    // All of them but one: it still holds.
    let (last, rest): (Vec<_>, Vec<_>) = objects
        .iter()
        .filter(|(object, _)| holds(object))
        .partition(|(object, _)| object["kind"] == "ListenerSet");
    for (object, _) in rest {
        stage.unmake(namespace, object).await?;
    }
    test.wait_told("reg", "DeletionBlocked", "True", "InUse", &["ListenerSet"]).await?;
    exact(test, namespace, "reg").await?;
    stage.unmake(namespace, &last[0].0).await?;
    // The others still name it, and hold nothing.
    wait_no_credential(test, "reg").await?;
    wait_no_secret(test, namespace, "reg").await?;
    assert_eq!(stage.operator.healthz().await?, 200);
    stage.operator.check_running()
}

#[tokio::test]
async fn workloads_hold_where_the_flag_says_so_and_frozen_copies_too() -> Result<()> {
    let stage = Kinds::new(2, |lab| Ok(lab.operator()?.arg("--block-on=workloads"))).await?;
    let (namespace, test) = (&stage.targets[0], &stage.test);
    stage.make(namespace, &deployment("reg")).await?;
    stage.make(&stage.targets[1], &ingress("web", "reg")).await?;
    stage.wait_users(2, 1).await?;
    // A namespace that leaves the target keeps its copy while something holds it.
    for namespace in &stage.targets {
        crate::checks::label_namespace(test, namespace, json!({"test": null})).await?;
    }
    wait_no_secret(test, &stage.targets[1], "reg").await?;
    test.wait_told("reg", "Synced", "True", "NoTargets", &["another blocking object uses it"]).await?;
    exact(test, namespace, "reg").await?;
    for namespace in &stage.targets {
        crate::checks::label_namespace(test, namespace, json!({"test": test.mark})).await?;
    }
    test.wait_ready("reg", 1).await?;
    delete(test, "reg").await?;
    test.wait_told("reg", "DeletionBlocked", "True", "InUse", &["Deployment"]).await?;
    stage.unmake(namespace, &deployment("reg")).await?;
    wait_no_credential(test, "reg").await
}

/// Nobody but the owners of a namespace's Secrets may hold them.
#[tokio::test]
async fn a_gateway_of_another_namespace_holds_only_while_a_grant_allows_it() -> Result<()> {
    let lab = Lab::start().await?;
    crate::support::reference_types::GATEWAY_API.install(&lab.control_plane.client().await?).await?;
    let stage = Kinds::on(lab, 1, Lab::operator).await?;
    let (namespace, test) = (&stage.targets[0], &stage.test);
    let group = "gateway.networking.k8s.io";
    let certificate = json!({"group": "", "kind": "Secret", "namespace": namespace, "name": "reg"});
    let gateway = object(
        &format!("{group}/v1"),
        "Gateway",
        json!({"spec": {"listeners": [{"tls": {"certificateRefs": [certificate]}}]}}),
    );
    let home = &test.home.name;
    stage.make(home, &gateway).await?;
    // Something that is seen later shows that the Gateway was seen, or never will be.
    stage.make(namespace, &ingress("web", "reg")).await?;
    let items = stage.wait_users(1, 1).await?;
    assert_eq!(items[0].kind, "Ingress");
    stage.unmake(namespace, &ingress("web", "reg")).await?;
    stage.wait_users(0, 0).await?;
    let from = json!([{"group": group, "kind": "Gateway", "namespace": home}]);
    let grant = object(
        &format!("{group}/v1"),
        "ReferenceGrant",
        json!({"spec": {"from": from, "to": [{"group": "", "kind": "Secret"}]}}),
    );
    stage.make(namespace, &grant).await?;
    let items = stage.wait_users(1, 1).await?;
    assert_eq!((&*items[0].kind, &items[0].namespace), ("Gateway", home));
    delete(test, "reg").await?;
    test.wait_told("reg", "DeletionBlocked", "True", "InUse", &[&format!("Gateway {home}/gateway")]).await?;
    stage.unmake(namespace, &grant).await?;
    wait_no_credential(test, "reg").await
}
