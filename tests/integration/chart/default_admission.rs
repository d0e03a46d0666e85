//! The policy that attaches defaults in the moment in which a ServiceAccount is created. The operator is not running in most of these
//! tests: all that happens is the API server's doing.

mod rules;

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{Namespace, Pod, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use self::rules::rules;
use super::{
    helm::{chart, helm, template},
    release::{FULL_NAME, NAME, NAMESPACE, Release},
};
use crate::{
    checks::{good_source, wait_copy},
    scenario::Scenario,
    support::{ControlPlane, Error, Result, discovery::serves_mutating_policies, wait::DEADLINE, wait_for},
};

const ANNOTATION: &str = "claviger.dev/attached-pull-secrets";

/// A ServiceAccount that no controller makes, which credentials here are a default of, too.
const ROBOT: &str = "robot";

/// A release whose policy looks at the credentials of the scenario's namespace.
struct Stage {
    release: Release,
    test: Scenario,
}

impl Stage {
    /// None on a server that is older than these policies: there, the chart says so and installs nothing.
    async fn new() -> Result<Option<Self>> {
        let control_plane = ControlPlane::builder().start().await?;
        let test = Scenario::alone(&control_plane).await?;
        let values = format!(
            "--set=defaults.admissionPolicy.enabled=true,defaults.admissionPolicy.namespaces={{{},{NAMESPACE}}}",
            test.home.name
        );
        if !serves_mutating_policies(&test.client, "defaults by admission policy").await? {
            let refused =
                Release::install(control_plane, &[&values]).await.err().map(|error| error.to_string());
            let refused = refused.unwrap_or_default();
            assert!(refused.contains("needs an API server that has MutatingAdmissionPolicy"), "{refused}");
            return Ok(None);
        }
        let release = Release::install(control_plane, &[&values]).await?;
        Ok(Some(Self { release, test }))
    }

    fn accounts(&self, namespace: &str) -> Api<ServiceAccount> {
        Api::namespaced(self.test.client.clone(), namespace)
    }

    /// A credential; `spec` replaces what a usual one has.
    async fn declare(&self, name: &str, spec: Value) -> Result<()> {
        let mut usual = json!({
            "provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}, "username": "acme+ci",
            "default": {"enabled": true, "serviceAccounts": ["default", ROBOT]},
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            usual[field] = value.clone();
        }
        if let Some(fields) = usual.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        self.test.credential(name, usual).await.map(drop)
    }

    /// The condition `Default` as the operator would write it; `condition` replaces what a good one has.
    async fn judge(&self, name: &str, condition: Value) -> Result<()> {
        let generation = self.test.credentials().get(name).await?.metadata.generation;
        let mut usual = json!({
            "type": "Default", "status": "True", "reason": "AllAttached", "message": "", "observedGeneration": generation,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        for (field, value) in condition.as_object().into_iter().flatten() {
            usual[field] = value.clone();
        }
        let status = json!({"status": {"conditions": [usual]}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(status));
        self.test.credentials().patch_status(name, &params, &patch).await?;
        Ok(())
    }

    async fn namespace(&self, name: &str, labels: Value) -> Result<()> {
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
        Api::all(self.test.client.clone()).create(&PostParams::default(), &namespace).await?;
        Ok(())
    }

    async fn wait_account(&self, namespace: &str) -> Result<()> {
        let accounts = self.accounts(namespace);
        wait_for(DEADLINE, "the default ServiceAccount", async || accounts.get("default").await)
            .await
            .map(drop)
    }

    /// A ServiceAccount as it would be created.
    async fn dry_run(&self, namespace: &str, account: Value) -> Result<ServiceAccount> {
        let params = PostParams { dry_run: true, ..PostParams::default() };
        Ok(self.accounts(namespace).create(&params, &serde_json::from_value(account)?).await?)
    }

    /// Waits until the policy looks at a default. What was declared before it, in the same namespace, it has seen then, too.
    async fn wait_seen(&self, secret: &str, namespace: &str) -> Result<()> {
        wait_for(DEADLINE, &format!("{secret} to be attached"), async || {
            let account = self.dry_run(namespace, json!({"metadata": {"name": ROBOT}})).await?;
            if listed(&account).contains(&secret) { Ok(()) } else { Err(Error::new(format!("{account:?}"))) }
        })
        .await
    }
}

fn listed(account: &ServiceAccount) -> Vec<&str> {
    account.image_pull_secrets.iter().flatten().map(|secret| secret.name.as_str()).collect()
}

fn noted(account: &ServiceAccount) -> &str {
    account.metadata.annotations.as_ref().and_then(|notes| notes.get(ANNOTATION)).map_or("", String::as_str)
}

/// Creates a Pod as soon as the API server takes one.
async fn pod_right_behind(test: &Scenario, namespace: &str) -> Result<Pod> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"generateName": "early-"}, "spec": {"containers": [{"name": "app", "image": "quay.io/acme/app"}]},
    }))?;
    let pods = test.pods(namespace);
    wait_for(DEADLINE, "a ServiceAccount for the Pod", async || {
        pods.create(&PostParams::default(), &pod).await
    })
    .await
}

#[tokio::test]
async fn a_pod_right_behind_its_namespace_has_the_pull_secret() -> Result<()> {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    let test = &stage.test;
    stage.declare("quay", json!({"target": test.selector()})).await?;
    stage.judge("quay", json!({})).await?;
    stage.namespace("seen", json!({"test": test.mark})).await?;
    stage.wait_seen("quay", "seen").await?;
    for n in 0..10 {
        let namespace = format!("{}-{n}", test.mark);
        test.target(&namespace).await?;
        let pod = pod_right_behind(test, &namespace).await?;
        let secrets = pod.spec.and_then(|spec| spec.image_pull_secrets).unwrap_or_default();
        let names: Vec<_> = secrets.iter().map(|secret| secret.name.as_str()).collect();
        assert_eq!(names, ["quay"], "{namespace}");
        let default = stage.accounts(&namespace).get("default").await?;
        assert_eq!(noted(&default), format!("quay=/{}/quay", test.home.name));
    }

    // What the chart brought goes with it, and takes nothing away.
    let policies = |kind| {
        let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        Api::<DynamicObject>::all_with(test.client.clone(), &ApiResource::from_gvk(&kind))
    };
    let kinds = ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"];
    let mut before = 0;
    for kind in kinds {
        before += policies(kind).list(&ListParams::default()).await?.items.len();
    }
    assert_eq!(before, 3, "one policy, and a binding for each namespace");
    let kubeconfig = stage.release.control_plane.kubeconfig();
    helm(Some(&kubeconfig), &["uninstall", NAME, "--namespace", NAMESPACE]).await?;
    for kind in kinds {
        assert!(policies(kind).list(&ListParams::default()).await?.items.is_empty(), "{kind}");
    }
    let default = stage.accounts(&format!("{}-0", test.mark)).get("default").await?;
    assert_eq!(listed(&default), ["quay"]);
    Ok(())
}

#[tokio::test]
async fn each_rule_of_a_default_holds_at_creation() -> Result<()> {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    let home = stage.test.home.name.as_str();
    for (name, labels) in [
        ("web", json!({"team": "billing", "env": "prod"})),
        ("db", json!({"team": "billing"})),
        ("out", json!({"team": "billing", "env": "prod", "claviger.dev/opt-out": "true"})),
    ] {
        stage.namespace(name, labels).await?;
    }
    // It is there before the first credential, so that no policy has seen it come.
    stage.wait_account("web").await?;
    let rules = rules(home);
    for (name, spec, said, _) in &rules {
        stage.declare(name, spec.clone()).await?;
        if let Some(said) = said {
            stage.judge(name, said.clone()).await?;
        }
    }
    // One that is being deleted.
    stage.declare("going", json!({"target": {"namespaces": {"names": ["web"]}}})).await?;
    stage.judge("going", json!({})).await?;
    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    let credentials = stage.test.credentials();
    credentials.patch("going", &PatchParams::default(), &Patch::Merge(held)).await?;
    credentials.delete("going", &DeleteParams::default()).await?;
    // The last one that is declared.
    let renamed = json!({"target": {"secretName": "another", "namespaces": {"names": ["web", "out", home]}}});
    stage.declare("renamed", renamed).await?;
    stage.judge("renamed", json!({})).await?;
    stage.wait_seen("another", "web").await?;

    for namespace in ["web", "db", "out", home, "kube-system", NAMESPACE] {
        let made = stage.dry_run(namespace, json!({"metadata": {"name": ROBOT}})).await?;
        let found: BTreeSet<&str> = listed(&made).into_iter().collect();
        let mut expected: BTreeSet<&str> =
            rules.iter().filter(|rule| rule.3.contains(&namespace)).map(|rule| rule.0).collect();
        if ["web", home].contains(&namespace) {
            expected.insert("another");
        }
        assert_eq!(found, expected, "{namespace}");
        assert_eq!(listed(&made).len(), found.len(), "{made:?}");
        let notes: BTreeSet<String> =
            noted(&made).split(',').filter(|entry| !entry.is_empty()).map(str::to_owned).collect();
        let entry = |secret: &&str| {
            let credential = if *secret == "another" { "renamed" } else { secret };
            format!("{secret}=/{home}/{credential}")
        };
        assert_eq!(notes, expected.iter().map(entry).collect(), "{namespace}");
    }

    // What is there stays as it is, and is nobody else's.
    let own = json!({
        "metadata": {"name": ROBOT, "annotations": {"a": "b", ANNOTATION: "x=hub/team/y"}},
        "imagePullSecrets": [{"name": "mine"}, {"name": "all"}],
    });
    let made = stage.dry_run("db", own).await?;
    assert_eq!(listed(&made)[..2], ["mine", "all"]);
    assert!(
        listed(&made).contains(&"labels") && listed(&made).iter().filter(|name| **name == "all").count() == 1
    );
    assert!(noted(&made).starts_with("x=hub/team/y,") && !noted(&made).contains("all="), "{}", noted(&made));
    assert_eq!(
        made.metadata.annotations.as_ref().and_then(|notes| notes.get("a")).map(String::as_str),
        Some("b")
    );
    // Only creation is looked at: what a person takes away stays away until the operator comes.
    let accounts = stage.accounts("web");
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let made = accounts.patch("default", &PatchParams::default(), &Patch::Merge(label)).await?;
    assert_eq!(listed(&made), Vec::<&str>::new());
    Ok(())
}

/// Who may write credentials in the namespace that the policy looks at tries to have no ServiceAccount created any more.
#[tokio::test]
async fn no_credential_keeps_a_service_account_from_being_created() -> Result<()> {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    stage.namespace("web", json!({"team": "billing"})).await?;
    // As large as the schema allows.
    let names = |prefix: &str| -> Vec<String> { (0..1024).map(|n| format!("{prefix}-{n:0>50}")).collect() };
    let values: Vec<String> = (0..256).map(|n| format!("v-{n:0>50}")).collect();
    let requirement = |n: usize| json!({"key": format!("key-{n}"), "operator": "NotIn", "values": values});
    let large = json!({"target": {"namespaces": {
        "names": names("n"), "exclude": names("x"),
        "selector": {"matchExpressions": (0..64).map(requirement).collect::<Vec<_>>()},
    }}});
    stage.declare("large", large).await?;
    stage.judge("large", json!({})).await?;
    let everywhere = json!({"target": {"namespaces": {"selector": {}}}});
    for n in 0..80 {
        let name = format!("many-{n}");
        stage.declare(&name, everywhere.clone()).await?;
        stage.judge(&name, json!({})).await?;
    }
    wait_for(DEADLINE, "as many as a ServiceAccount gets", async || {
        let made = stage.dry_run("web", json!({"metadata": {"name": ROBOT}})).await?;
        match (listed(&made).len(), listed(&made).contains(&"large")) {
            (64, true) => Ok(()),
            (64, false) => Err(Error::new("without the large one")),
            (len, _) => Err(Error::new(format!("{len}"))),
        }
    })
    .await?;

    // No room for a note of what is ours.
    let full = "x".repeat(60_000);
    let made = stage.dry_run("web", json!({"metadata": {"name": ROBOT, "annotations": {"a": full}}})).await?;
    assert_eq!((listed(&made).len(), noted(&made)), (0, ""));
    let nonsense = json!({"metadata": {"name": ROBOT, "annotations": {ANNOTATION: "\u{0},==//,\n\"'"}}});
    assert!(noted(&stage.dry_run("web", nonsense).await?).starts_with("\u{0},==//,\n\"',"));

    // The definition goes, and with it what the policy reads.
    let definitions = Api::<CustomResourceDefinition>::all(stage.test.client.clone());
    let name = "registrycredentials.claviger.dev";
    definitions.delete(name, &DeleteParams::default()).await?;
    for n in 0..20 {
        let made = json!({"metadata": {"name": format!("{ROBOT}-{n}")}});
        stage.accounts("web").create(&PostParams::default(), &serde_json::from_value(made)?).await?;
    }
    wait_for(DEADLINE, "the definition to be gone", async || {
        definitions.get_opt(name).await.map(|left| left.is_none()).unwrap_or_default()
    })
    .await?;
    stage.dry_run("web", json!({"metadata": {"name": ROBOT}})).await.map(drop)
}

/// The operator is away when a namespace comes; then it completes the note, which it can take away again.
#[tokio::test]
async fn the_operator_completes_what_the_policy_has_noted() -> Result<()> {
    let Some(stage) = Stage::new().await? else { return Ok(()) };
    let test = &stage.test;
    good_source(test, "src", "the-password").await?;
    let consent = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy", "metadata": {"name": "defaults"},
        "spec": {
            "from": {"namespaces": {"names": [test.home.name]}},
            "to": {"namespaces": {"selector": {"matchLabels": {"test": test.mark}}}},
            "allowDefault": true,
        },
    });
    test.apply_cluster("DistributionPolicy", "defaults", consent).await?;
    let operator = stage.release.operator("keys-1").await?;
    let first = test.targets(1).await?.remove(0);
    stage.wait_account(&first).await?;
    stage.declare("reg", json!({"target": test.selector(), "verification": {"mode": "Off"}})).await?;
    test.wait_condition("reg", "Default", "True", "Attached").await?;
    test.wait_told("reg", "Default", "True", "Attached", &["attached to"]).await?;
    let hub = noted(&stage.accounts(&first).get("default").await?).to_owned();
    stage.namespace("seen", json!({"test": test.mark})).await?;
    stage.wait_seen("reg", "seen").await?;
    operator.terminate(DEADLINE).await?;

    let late = format!("{}-late", test.mark);
    test.target(&late).await?;
    let pod = pod_right_behind(test, &late).await?;
    let secrets = pod.spec.and_then(|spec| spec.image_pull_secrets).unwrap_or_default();
    assert_eq!(secrets.len(), 1);
    let accounts = stage.accounts(&late);
    assert_eq!(noted(&accounts.get("default").await?), format!("reg=/{}/reg", test.home.name));

    let _operator = stage.release.operator("keys-2").await?;
    wait_copy(test, &late, "reg").await?;
    let wait_noted = async |expected: &str| {
        wait_for(DEADLINE, &format!("the note '{expected}'"), async || {
            let account = accounts.get("default").await.map_err(|error| error.to_string())?;
            let found = (noted(&account).to_owned(), listed(&account).len());
            let names = usize::from(!expected.is_empty());
            if found == (expected.to_owned(), names) { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await
    };
    assert!(hub.starts_with("reg=") && !hub.starts_with("reg=/"), "{hub}");
    wait_noted(&hub).await?;
    stage.declare("reg", json!({"target": test.selector(), "default": {"enabled": false}})).await?;
    wait_noted("").await
}

/// Where the API server does not have such policies, that is said, and nothing is installed that it would refuse.
#[tokio::test]
async fn a_server_without_such_policies_is_told_apart() -> Result<()> {
    let chart = chart().display().to_string();
    let all =
        ["template", NAME, &chart, "--namespace", NAMESPACE, "--set=defaults.admissionPolicy.enabled=true"];
    let refused = helm(None, &all).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("needs an API server that has MutatingAdmissionPolicy"), "{refused}");

    let objects = template(&[all[5]]).await?;
    let bindings: Vec<_> =
        objects.iter().filter(|object| object["kind"] == "MutatingAdmissionPolicyBinding").collect();
    assert_eq!(bindings.len(), 1, "one for the release namespace by default");
    assert_eq!(bindings[0]["spec"]["policyName"], format!("{FULL_NAME}-defaults"));
    let params = json!({"namespace": NAMESPACE, "selector": {}, "parameterNotFoundAction": "Allow"});
    assert_eq!(bindings[0]["spec"]["paramRef"], params);
    Ok(())
}
