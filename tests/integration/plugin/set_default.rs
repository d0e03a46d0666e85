//! `set-default`: on a namespace and a registry of its own, as all credentials of a cluster are looked at.

use kube::Api;
use serde_json::{Value, json};

use super::{Answer, Plugin};
use crate::{
    checks::merge,
    scenario::Scenario,
    support::{ControlPlane, Result, environment::prepare},
};

struct Desk {
    test: Scenario,
    plugin: Plugin,
    host: String,
}

impl Desk {
    async fn new() -> Result<Self> {
        let control_plane = ControlPlane::shared().await?;
        prepare(&control_plane.client().await?).await?;
        let test = Scenario::alone(control_plane).await?;
        let plugin = Plugin::new(Some(control_plane.kubeconfig()), Some(&test.home.name)).await?;
        let host = format!("{}.example.com", test.mark);
        Ok(Self { test, plugin, host })
    }

    async fn credential(&self, name: &str, default: Option<Value>) -> Result<()> {
        let mut spec = json!({"provider": "Custom", "server": self.host, "secretRef": {"name": "src"}});
        if let Some(default) = default {
            spec["default"] = default;
        }
        self.test.credential(name, spec).await?;
        Ok(())
    }

    async fn default(&self, name: &str) -> Result<Value> {
        let spec = self.test.credentials().get(name).await?.spec;
        Ok(serde_json::to_value(spec.default)?)
    }

    async fn set(&self, args: &[&str]) -> Result<Answer> {
        self.plugin.call(&[&["set-default"], args].concat()).await
    }
}

#[tokio::test]
async fn a_credential_becomes_the_default_above_the_others() -> Result<()> {
    let desk = Desk::new().await?;
    desk.credential("own", None).await?;
    desk.credential("old", Some(json!({"enabled": true, "priority": 4, "serviceAccounts": ["builder"]})))
        .await?;
    desk.credential("off", Some(json!({"enabled": false, "priority": 9}))).await?;

    let told = desk.set(&["own", "--dry-run=client"]).await?;
    assert!(
        told.code == 0 && told.out.contains("would be the default") && told.out.contains("(dry run)"),
        "{told:?}"
    );
    let told = desk.set(&["own", "--dry-run=server"]).await?;
    assert!(told.code == 0 && told.out.contains("(server dry run)"), "{told:?}");
    assert_eq!(desk.default("own").await?, Value::Null, "nothing was changed yet");

    let told = desk.set(&["regcred/own", "-o", "json"]).await?.json()?;
    assert_eq!(
        (&told["changed"], &told["default"]),
        (&json!(true), &json!({"enabled": true, "priority": 5}))
    );
    let old = format!("{}/old", desk.test.home.name);
    assert_eq!(told["loses"], json!([{"credential": old, "priority": 4}]));
    let set = desk.default("own").await?;
    assert_eq!(
        (&set["enabled"], &set["priority"], &set["serviceAccounts"]),
        (&json!(true), &json!(5), &json!(["default"]))
    );
    let again = desk.set(&["own"]).await?;
    assert!(again.code == 0 && again.out.contains("is already the default"), "{again:?}");

    // What else stands there stays.
    let told = desk.set(&["old"]).await?;
    assert!(told.out.contains("with priority 6, and was a default with priority 4 before"), "{told:?}");
    assert!(
        told.out.contains("before RegistryCredential") && told.out.contains("/own, with priority 5"),
        "{told:?}"
    );
    assert_eq!(desk.default("old").await?["serviceAccounts"], json!(["builder"]));
    Ok(())
}

#[tokio::test]
async fn what_cannot_or_should_not_be_done_is_told() -> Result<()> {
    let desk = Desk::new().await?;
    desk.credential("own", None).await?;
    let basic = json!({"apiVersion": "claviger.dev/v1alpha1", "kind": "BasicAuthCredential", "metadata": {"name": "basic"},
        "spec": {"format": "BasicAuth", "secretRef": {"name": "src"}}});
    crate::support::apply_yaml_in(&desk.test.client, &desk.test.home.name, &basic.to_string()).await?;
    for (args, code, says) in [
        (&["none"][..], 5, "there is no credential 'none'"),
        (&["basic"], 5, "there is no credential 'basic'"),
        (&["bacred/basic"], 2, "only a RegistryCredential can be a default"),
        (&["own", "--as", "nobody"], 4, "you may not get registrycredentials.claviger.dev"),
        (&["own", "--dry-run=perhaps"], 2, "possible values"),
    ] {
        let answer = desk.set(args).await?;
        assert!(answer.code == code && answer.err.contains(says), "{args:?}: {answer:?}");
    }
    let marked = json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "x"}}});
    merge(&desk.test.credentials(), "own", marked).await?;
    let answer = desk.set(&["own"]).await?;
    assert!(answer.code == 0 && answer.err.contains("Argo CD manages RegistryCredential"), "{answer:?}");

    let top = json!({"enabled": true, "priority": claviger::api::MAX_PRIORITY});
    desk.credential("top", Some(top)).await?;
    let answer = desk.set(&["own"]).await?;
    assert!(answer.code == 0 && answer.out.contains("cannot be outranked"), "{answer:?}");

    // Who may see one namespace only is told so.
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "jane"},
        "rules": [{"apiGroups": ["claviger.dev"], "resources": ["registrycredentials"], "verbs": ["get", "list", "patch"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "jane"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "jane"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]});
    let both = format!("{role}\n---\n{binding}");
    crate::support::apply_yaml_in(&desk.test.client, &desk.test.home.name, &both).await?;
    let api: Api<claviger::api::RegistryCredential> = desk.test.credentials();
    api.delete("top", &kube::api::DeleteParams::default()).await?;
    crate::checks::wait_no_credential(&desk.test, "top").await?;
    let answer = desk.set(&["own", "--as", "jane"]).await?;
    assert!(answer.code == 0 && answer.err.contains("Only defaults of namespace"), "{answer:?}");
    Ok(())
}
