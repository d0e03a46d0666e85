//! The operator's own token, in the hands of a thief, tried on everything, verb by verb: what is refused, and by whom. What it
//! does to Secrets is in `fence`.

mod adoption;

use std::fmt::{Display, Formatter};

use http::Method;
use kube::Client;
use serde_json::{Value, json};

use super::release::{FULL_NAME, NAMESPACE, Release, installed};
use crate::support::{Error, Result, TestNamespace, wait::DEADLINE, wait_for};

/// Who says no.
#[derive(Clone, Copy)]
enum By {
    Rbac,
    Fence,
    ResourceFence,
}

impl Display for By {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rbac => write!(f, "User \"{}\" cannot ", Release::user()),
            Self::Fence => write!(f, "ValidatingAdmissionPolicy '{FULL_NAME}-fence'"),
            Self::ResourceFence => write!(f, "ValidatingAdmissionPolicy '{FULL_NAME}-resource-fence'"),
        }
    }
}

/// What is tried, and who must refuse it.
type Attack<'a> = (&'a str, Method, String, Value, By);

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const OURS: &str = "/apis/claviger.dev/v1alpha1";

async fn send(client: &Client, method: &Method, path: &str, body: &Value) -> kube::Result<Value> {
    let content = if *method == Method::PATCH { MERGE } else { JSON };
    let request = http::Request::builder().method(method).uri(path).header("content-type", content);
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    client.request(request.body(body).expect("a request")).await
}

/// What is not right with an answer, if anything.
fn complaint(what: &str, answer: kube::Result<Value>, by: By) -> Option<String> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains(&by.to_string()) => {
            None
        }
        other => Some(format!("{what}: not refused by \"{by}\": {other:?}")),
    }
}

async fn assert_refused(thief: &Client, attacks: Vec<Attack<'_>>) -> Result<()> {
    let mut wrong = Vec::new();
    for (what, method, path, body, by) in attacks {
        let what = format!("{what}: {method} {path} {body}");
        wrong.extend(complaint(&what, send(thief, &method, &path, &body).await, by));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::new(wrong.join("\n"))) }
}

/// The API server takes a moment to heed a new policy.
async fn wait_refused(thief: &Client, (what, method, path, body, by): Attack<'_>) -> Result<()> {
    wait_for(DEADLINE, what, async || {
        let path = format!("{path}?dryRun=All");
        complaint(what, send(thief, &method, &path, &body).await, by).map_or(Ok(()), Err)
    })
    .await
}

fn of_ours(kind: &str, name: &str, labels: Value, spec: Value) -> Value {
    let metadata = json!({"name": name, "labels": labels});
    json!({"apiVersion": "claviger.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn policy() -> Value {
    let all = json!({"namespaces": {"selector": {}}});
    of_ours("DistributionPolicy", "all", json!({}), json!({"from": all, "to": all}))
}

fn spec(kind: &str) -> Value {
    match kind {
        "RegistryCredential" => {
            json!({"provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}})
        }
        "BasicAuthCredential" => {
            json!({"format": "BasicAuth", "username": "ci", "secretRef": {"name": "src"}})
        }
        "TlsCredential" => json!({"secretRef": {"name": "src"}}),
        "ObjectStorageCredential" => {
            json!({"bucket": "backups", "region": "eu-central-1", "format": "Env", "secretRef": {"name": "src"}})
        }
        _ => json!({"kubeconfigSecretRef": {"name": "src"}}),
    }
}

/// Each kind that the operator patches, with where its objects are.
fn kinds(namespace: &str) -> Vec<(String, String)> {
    let crds = claviger::api::crds().into_iter().filter(|crd| crd.spec.names.kind != "DistributionPolicy");
    let place = |scope: &str| match scope {
        "Namespaced" => format!("{OURS}/namespaces/{namespace}"),
        _ => OURS.to_owned(),
    };
    crds.map(|crd| (crd.spec.names.kind, format!("{}/{}", place(&crd.spec.scope), crd.spec.names.plural)))
        .collect()
}

/// The attack: with the token, to more than it is for. All of it is refused by RBAC already.
#[tokio::test]
async fn the_token_opens_nothing_that_it_is_not_for() -> Result<()> {
    let thief = installed().await?.release.thief().await?;
    let by = By::Rbac;
    let none = Value::Null;
    let grant = |kind: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"), "metadata": {"name": "x"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": FULL_NAME, "namespace": NAMESPACE}],
        })
    };
    let rule = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    let role = |kind: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": FULL_NAME}, "rules": rule});
    let named = |api: &str, kind: &str| json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "x"}]}});
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {"audiences": []}});
    let lease = named("coordination.k8s.io/v1", "Lease");
    let (own, system) = (format!("namespaces/{NAMESPACE}"), "namespaces/kube-system");
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let (post, put, patch, get, delete) =
        (Method::POST, Method::PUT, Method::PATCH, Method::GET, Method::DELETE);
    let mut attacks: Vec<(&str, &Method, String, &Value)> = vec![
        ("Secrets, by another way", &patch, format!("/api/v1/{own}/secrets/x"), &none),
        ("a part of one", &put, format!("/api/v1/{own}/secrets/x/status"), &none),
        ("all Secrets at once", &delete, format!("/api/v1/{own}/secrets"), &none),
        ("its own token", &post, format!("/api/v1/{own}/serviceaccounts/{FULL_NAME}/token"), &token),
        ("a stronger token", &post, format!("/api/v1/{system}/serviceaccounts/default/token"), &token),
        ("a Pod", &post, "/api/v1/namespaces/default/pods".into(), &pod),
        ("a Pod's file system", &post, format!("/api/v1/{own}/pods/x/exec?command=sh"), &none),
        ("the same", &get, format!("/api/v1/{own}/pods/x/exec?command=sh"), &none),
        ("a Pod's network", &post, format!("/api/v1/{own}/pods/x/portforward"), &none),
        ("a Pod's logs", &get, format!("/api/v1/{own}/pods/x/log"), &none),
        ("a debugger", &patch, format!("/api/v1/{own}/pods/x/ephemeralcontainers"), &none),
        ("nodes", &get, "/api/v1/nodes".into(), &none),
        ("a kubelet", &get, "/api/v1/nodes/x/proxy/pods".into(), &none),
        ("ConfigMaps", &get, format!("/api/v1/{own}/configmaps/x"), &none),
        ("all ConfigMaps", &get, "/api/v1/configmaps".into(), &none),
        ("its own Deployment", &patch, format!("/apis/apps/v1/{own}/deployments/{FULL_NAME}"), &none),
        ("labels of a namespace", &patch, "/api/v1/namespaces/default".into(), &none),
        ("leave to sweep", &patch, format!("/api/v1/{own}"), &none),
        ("the end of a namespace", &delete, "/api/v1/namespaces/default".into(), &none),
        ("a lease of others", &put, format!("/apis/coordination.k8s.io/v1/{own}/leases/x"), &lease),
        ("another's lease", &get, format!("/apis/coordination.k8s.io/v1/{system}/leases/x"), &none),
        ("a lease elsewhere", &post, format!("/apis/coordination.k8s.io/v1/{system}/leases"), &lease),
        (
            "the end of its lease",
            &delete,
            format!("/apis/coordination.k8s.io/v1/{own}/leases/claviger"),
            &none,
        ),
        ("what others said", &get, "/apis/events.k8s.io/v1/events".into(), &none),
        ("another's Event", &patch, format!("/apis/events.k8s.io/v1/{own}/events/x"), &none),
        ("the metrics of the API server", &get, "/metrics".into(), &none),
        ("what it is itself", &patch, format!("{rbac}/clusterroles/{FULL_NAME}"), &none),
        ("the fence", &delete, format!("{admission}/validatingadmissionpolicies/{FULL_NAME}-fence"), &none),
        (
            "the other fence",
            &delete,
            format!("{admission}/validatingadmissionpolicies/{FULL_NAME}-resource-fence"),
            &none,
        ),
        (
            "what a fence says",
            &patch,
            format!("{admission}/validatingadmissionpolicies/{FULL_NAME}-fence"),
            &none,
        ),
        (
            "a fence that only warns",
            &patch,
            format!("{admission}/validatingadmissionpolicybindings/{FULL_NAME}-fence"),
            &none,
        ),
        (
            "a schema",
            &patch,
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/memberclusters.claviger.dev".into(),
            &none,
        ),
        ("a certificate", &get, "/apis/certificates.k8s.io/v1/certificatesigningrequests".into(), &none),
        ("another's policy", &patch, format!("{OURS}/distributionpolicies/all"), &none),
        ("no policies", &delete, format!("{OURS}/distributionpolicies"), &none),
        ("no members", &delete, format!("{OURS}/memberclusters"), &none),
        ("a member's end", &delete, format!("{OURS}/memberclusters/x"), &none),
    ];
    let objects = [
        ("consent", format!("{OURS}/distributionpolicies"), policy()),
        ("power", format!("{rbac}/clusterrolebindings"), grant("ClusterRole")),
        ("power in its namespace", format!("{rbac}/{own}/rolebindings"), grant("Role")),
        ("a role", format!("{rbac}/clusterroles"), role("ClusterRole")),
        ("a role in its namespace", format!("{rbac}/{own}/roles"), role("Role")),
        ("an account", format!("/api/v1/{own}/serviceaccounts"), named("v1", "ServiceAccount")),
        ("a namespace", "/api/v1/namespaces".into(), named("v1", "Namespace")),
        ("an old Event", format!("/api/v1/{own}/events"), named("v1", "Event")),
        (
            "a webhook",
            format!("{admission}/mutatingwebhookconfigurations"),
            named("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
        ),
        (
            "a binding",
            format!("{admission}/validatingadmissionpolicybindings"),
            named("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"),
        ),
        (
            "an API",
            "/apis/apiregistration.k8s.io/v1/apiservices".into(),
            named("apiregistration.k8s.io/v1", "APIService"),
        ),
        (
            "a certificate",
            "/apis/certificates.k8s.io/v1/certificatesigningrequests".into(),
            named("certificates.k8s.io/v1", "CertificateSigningRequest"),
        ),
    ];
    attacks.extend(objects.iter().map(|(what, path, object)| (*what, &post, path.clone(), object)));
    let nothing = json!({});
    let mut all: Vec<Attack<'_>> = attacks
        .into_iter()
        .map(|(what, method, path, body)| {
            let body = if method == patch && body.is_null() { &nothing } else { body };
            (what, method.clone(), path, body.clone(), by)
        })
        .collect();
    for (kind, path) in kinds("default") {
        let object = of_ours(&kind, "x", json!({}), spec(&kind));
        all.push(("one of our objects", post.clone(), path.clone(), object.clone(), by));
        all.push(("the whole of one", put.clone(), format!("{path}/x"), object.clone(), by));
        all.push(("a whole status", put.clone(), format!("{path}/x/status"), object, by));
        all.push(("the end of one", delete.clone(), format!("{path}/x"), none.clone(), by));
        all.push(("the end of all", delete.clone(), path, none.clone(), by));
    }
    assert_refused(&thief, all).await?;

    for (header, value) in
        [("Impersonate-User", "admin"), ("Impersonate-User", "system:serviceaccount:kube-system:default")]
    {
        let request = http::Request::get("/api/v1/namespaces").header(header, value).body(Vec::new())?;
        let what = format!("{header}: {value}");
        assert_eq!(complaint(&what, thief.request(request).await, by), None);
    }
    if thief.apiserver_version().await?.major.is_empty() {
        return Err(Error::new("the token does not work at all"));
    }
    Ok(())
}

/// The attack: `patch` of a credential is there for the finalizer, and would change a target or skip the protection.
#[tokio::test]
async fn of_its_own_objects_the_token_changes_the_finalizer_and_nothing_else() -> Result<()> {
    let release = &installed().await?.release;
    let (admin, thief) = (release.client().await?, release.thief().await?);
    let namespace = TestNamespace::new(admin.clone(), "patched").await?;
    for (kind, path) in kinds(&namespace.name) {
        let mut object = of_ours(&kind, "mine", json!({"team": "web"}), spec(&kind));
        object["metadata"]["finalizers"] = json!(["example.com/hold"]);
        object["metadata"]["annotations"] = json!({"note": "x"});
        send(&admin, &Method::POST, &path, &object).await?;
        let mine = format!("{path}/mine");
        let held = async |by: &[&str]| {
            wait_for(DEADLINE, &format!("{kind} held by {by:?}"), async || {
                let finalizers =
                    send(&admin, &Method::GET, &mine, &Value::Null).await?["metadata"]["finalizers"].clone();
                if finalizers == json!(by) { Ok(()) } else { Err(Error::new(finalizers.to_string())) }
            })
            .await
        };
        // By the operator, under the same token.
        held(&["example.com/hold", "claviger.dev/protect"]).await?;
        let metadata = |change: Value| json!({"metadata": change});
        let owner = json!([{"apiVersion": "v1", "kind": "Namespace", "name": "x", "uid": "x"}]);
        let new_spec = match &*kind {
            "MemberCluster" => json!({"kubeconfigSecretRef": {"name": "stolen"}}),
            _ => json!({"target": {"namespaces": {"selector": {}}}}),
        };
        let changes = [
            ("the spec", json!({"spec": new_spec})),
            (
                "another source",
                json!({"spec": {"secretRef": {"name": "stolen"}, "kubeconfigSecretRef": {"name": "stolen"}}}),
            ),
            ("how it is left", json!({"spec": {"deletionPolicy": "Orphan"}})),
            ("no protection", metadata(json!({"annotations": {"claviger.dev/force-delete": "true"}}))),
            ("another's annotation", metadata(json!({"annotations": {"note": "y"}}))),
            ("no annotations", metadata(json!({"annotations": null}))),
            ("a label", metadata(json!({"labels": {"env": "prod"}}))),
            ("another's label", metadata(json!({"labels": {"team": null}}))),
            ("an owner", metadata(json!({"ownerReferences": owner}))),
            ("another's finalizer off", metadata(json!({"finalizers": ["claviger.dev/protect"]}))),
            ("all finalizers off", metadata(json!({"finalizers": null}))),
            (
                "a finalizer of others on",
                metadata(
                    json!({"finalizers": ["example.com/hold", "claviger.dev/protect", "foregroundDeletion"]}),
                ),
            ),
        ];
        let attack = |(what, body)| (what, Method::PATCH, mine.clone(), body, By::ResourceFence);
        let mut attacks: Vec<Attack<'_>> = changes.into_iter().map(attack).collect();
        wait_refused(&thief, attacks[0].clone()).await?;
        // Through the status, the API server takes nothing but the status.
        let smuggled =
            json!({"metadata": {"labels": {"env": "prod"}}, "spec": {"paused": true, "displayName": "x"}});
        let before = send(&admin, &Method::GET, &mine, &Value::Null).await?;
        let after = send(&thief, &Method::PATCH, &format!("{mine}/status"), &smuggled).await?;
        assert_eq!(
            (&after["spec"], &after["metadata"]["labels"]),
            (&before["spec"], &before["metadata"]["labels"])
        );
        // What does not exist is not made by a patch either.
        let absent = format!("{path}/other?fieldManager=x");
        let object = of_ours(&kind, "other", json!({}), spec(&kind));
        let apply = http::Request::patch(absent).header("content-type", "application/apply-patch+yaml");
        let applied = thief.request(apply.body(object.to_string().into_bytes())?).await;
        assert_eq!(complaint("made by a patch", applied, By::Rbac), None);
        attacks.push((
            "a Secret in passing",
            Method::POST,
            format!("/api/v1/namespaces/{}/secrets", namespace.name),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}),
            By::Fence,
        ));
        assert_refused(&thief, attacks).await?;
        // The one thing that it may do is put right by the operator.
        send(&thief, &Method::PATCH, &mine, &metadata(json!({"finalizers": ["example.com/hold"]}))).await?;
        held(&["example.com/hold", "claviger.dev/protect"]).await?;
        send(&admin, &Method::PATCH, &mine, &metadata(json!({"finalizers": ["claviger.dev/protect"]})))
            .await?;
        send(&admin, &Method::DELETE, &mine, &Value::Null).await?;
    }
    Ok(())
}
