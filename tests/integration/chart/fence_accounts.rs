//! The fence around ServiceAccounts: whoever has got hold of the operator's token changes nothing of them but what is
//! Claviger's.

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::release::installed;
use crate::support::{Result, TestNamespace};

const MARK: &str = "claviger.dev/attached-pull-secrets";

struct Break {
    namespace: TestNamespace,
    /// As the operator.
    thief: Api<ServiceAccount>,
}

impl Break {
    async fn new() -> Result<Self> {
        let release = &installed().await?.release;
        let namespace = TestNamespace::new(release.client().await?, "fence").await?;
        let thief = Api::namespaced(release.thief().await?, &namespace.name);
        Ok(Self { thief, namespace })
    }

    /// A ServiceAccount with an entry of ours, and others.
    async fn account(&self, name: &str) -> Result<()> {
        let account: ServiceAccount = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"team": "a"}, "annotations": {"theirs": "x", MARK: "ours=h/a/b"}},
            "imagePullSecrets": [{"name": "first"}, {"name": "ours"}, {"name": "last"}],
            "secrets": [{"name": "token"}],
        }))?;
        self.namespace.api::<ServiceAccount>().create(&PostParams::default(), &account).await?;
        Ok(())
    }

    async fn patch(&self, name: &str, patch: Value) -> kube::Result<ServiceAccount> {
        self.thief.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
    }
}

fn list(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

#[tokio::test]
async fn of_a_service_account_nothing_changes_but_entries_that_are_marked() -> Result<()> {
    let test = Break::new().await?;
    test.account("sa").await?;
    let mark = |text: &str| json!({"annotations": {MARK: text}});
    let breaks = [
        (json!({"metadata": {"labels": {"team": "b"}}}), "may not change labels"),
        (json!({"metadata": {"finalizers": ["example.com/x"]}}), "may not change labels, finalizers"),
        (json!({"metadata": {"annotations": {"theirs": "y"}}}), "may not change annotations"),
        (json!({"metadata": {"annotations": {"theirs": null}}}), "may not change annotations"),
        (
            json!({"metadata": {"annotations": {"eks.amazonaws.com/role-arn": "x"}}}),
            "may not change annotations",
        ),
        (json!({"secrets": []}), "may not change secrets"),
        (json!({"automountServiceAccountToken": false}), "automountServiceAccountToken"),
        (json!({"imagePullSecrets": list(&["ours", "last"])}), "may remove only those entries"),
        (json!({"imagePullSecrets": []}), "may remove only those entries"),
        (json!({"imagePullSecrets": list(&["first", "ours", "last", "evil"])}), "may add only those entries"),
        (
            json!({"imagePullSecrets": list(&["first", "ours", "ours", "ours", "last"])}),
            "may add only those entries",
        ),
        (json!({"imagePullSecrets": list(&["last", "ours", "first"])}), "may not change the order"),
        // To mark what is somebody else's, and to take it off then or at once.
        (json!({"metadata": mark("ours=h/a/b,last=h/a/b")}), "may mark only those entries"),
        (
            json!({"metadata": mark("last=h/a/b"), "imagePullSecrets": list(&["first", "ours"])}),
            "may remove only those entries",
        ),
    ];
    for (patch, sentence) in breaks {
        match test.patch("sa", patch.clone()).await {
            Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains(sentence) => {}
            other => panic!("{patch}: {other:?}, not {sentence:?}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_the_operator_does_passes() -> Result<()> {
    let test = Break::new().await?;
    test.account("sa").await?;
    let marked = |text: Value, names: &[&str]| json!({"metadata": {"annotations": {MARK: text}}, "imagePullSecrets": list(names)});
    let both = json!("ours=h/a/b,more=h/a/c");
    test.patch("sa", marked(both, &["first", "ours", "last", "more"])).await?;
    test.patch("sa", marked(json!("more=h/a/c"), &["first", "last", "more"])).await?;
    test.patch("sa", marked(Value::Null, &["first", "last"])).await?;
    // Somebody else took it off: it is put back, and then the mark goes alone.
    test.patch("sa", marked(json!("again=h/a/c"), &["first", "last", "again"])).await?;
    let owner = test.namespace.api::<ServiceAccount>();
    let off = json!({"imagePullSecrets": list(&["first", "last"])});
    owner.patch("sa", &PatchParams::default(), &Patch::Merge(off.clone())).await?;
    test.patch("sa", marked(json!("again=hub/a/c"), &["first", "last", "again"])).await?;
    owner.patch("sa", &PatchParams::default(), &Patch::Merge(off)).await?;
    test.patch("sa", marked(Value::Null, &["first", "last"])).await?;
    // Other users are not concerned.
    let free = json!({"metadata": {"labels": {"team": "b"}}, "imagePullSecrets": []});
    owner.patch("sa", &PatchParams::default(), &Patch::Merge(free)).await?;
    Ok(())
}
