//! The fence: whoever has got hold of the operator's token tries to do with it what the operator never does.

use std::fmt::Debug;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::release::installed;
use crate::support::{Result, TestNamespace};

const PULL: &str = "kubernetes.io/dockerconfigjson";

const RELEASED: &str = "claviger.dev/released-from";

struct Break {
    _namespace: TestNamespace,
    /// As the operator.
    thief: Api<Secret>,
    /// As an administrator.
    owner: Api<Secret>,
}

impl Break {
    async fn new() -> Result<Self> {
        let release = &installed().await?.release;
        let namespace = TestNamespace::new(release.client().await?, "fence").await?;
        let thief = Api::namespaced(release.thief().await?, &namespace.name);
        Ok(Self { thief, owner: namespace.api(), _namespace: namespace })
    }

    async fn create(&self, api: &Api<Secret>, object: Secret) -> kube::Result<Secret> {
        api.create(&PostParams::default(), &object).await
    }
}

fn secret(name: &str, type_: &str, labels: Value, annotations: Value) -> Secret {
    let data = match type_ {
        PULL => json!({".dockerconfigjson": "{\"auths\":{}}"}),
        _ => json!({}),
    };
    let object = json!({
        "metadata": {"name": name, "labels": labels, "annotations": annotations}, "type": type_, "stringData": data,
    });
    serde_json::from_value(object).expect("a Secret")
}

/// One of ours, as the operator writes it.
fn copy(name: &str) -> Secret {
    let source = json!({"claviger.dev/source": "RegistryCredential/a/b", "claviger.dev/hub": "h"});
    secret(name, PULL, marks(), source)
}

fn marks() -> Value {
    json!({"app.kubernetes.io/managed-by": "claviger", "claviger.dev/owner": "0123456789abcdef01234567"})
}

#[track_caller]
fn refused<T: Debug>(what: &str, answer: kube::Result<T>, sentence: &str) {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains(sentence) => {}
        other => panic!("{what}: {other:?}, not {sentence:?}"),
    }
}

#[tokio::test]
async fn only_secrets_of_our_types_with_our_labels_are_created() -> Result<()> {
    let test = Break::new().await?;
    for type_ in [
        "kubernetes.io/service-account-token",
        "bootstrap.kubernetes.io/token",
        "helm.sh/release.v1",
        "example.com/own",
    ] {
        let sentence = format!("Claviger may not write a Secret of type {type_}");
        let object = secret("x", type_, marks(), json!({"kubernetes.io/service-account.name": "default"}));
        refused(type_, test.create(&test.thief, object).await, &sentence);
    }
    let unmarked = [
        ("no labels", json!({})),
        ("no owner", json!({"app.kubernetes.io/managed-by": "claviger"})),
        ("empty owner", json!({"app.kubernetes.io/managed-by": "claviger", "claviger.dev/owner": ""})),
        ("no manager", json!({"claviger.dev/owner": "0123456789abcdef01234567"})),
        ("Helm's", json!({"app.kubernetes.io/managed-by": "Helm", "claviger.dev/owner": "0123"})),
    ];
    for (what, labels) in unmarked {
        let sentence =
            "Claviger may create only Secrets with the labels app.kubernetes.io/managed-by=claviger";
        refused(what, test.create(&test.thief, secret("x", PULL, labels, json!({}))).await, sentence);
    }
    for (what, labels, annotations) in [
        ("a cluster of Argo CD", json!({"argocd.argoproj.io/secret-type": "cluster"}), json!({})),
        ("an Application's", json!({"app.kubernetes.io/instance": "guestbook"}), json!({})),
        ("Flux's", json!({"kustomize.toolkit.fluxcd.io/name": "x"}), json!({})),
        ("a release of Helm", json!({}), json!({"meta.helm.sh/release-name": "x"})),
        ("an apply set's", json!({"applyset.kubernetes.io/part-of": "x"}), json!({})),
        ("kapp's", json!({"kapp.k14s.io/app": "x"}), json!({})),
        ("a cluster of Cluster API", json!({"cluster.x-k8s.io/cluster-name": "x"}), json!({})),
        // Helm looks at this label and not at the type, and deletes what a forged release lists.
        ("a release that Helm lists", json!({"owner": "helm", "name": "x", "version": "2"}), json!({})),
    ] {
        let mut labels = labels;
        json_patch::merge(&mut labels, &marks());
        let answer = test.create(&test.thief, secret("x", PULL, labels, annotations)).await;
        refused(what, answer, "Claviger may not put ownership marks of Argo CD");
    }
    // They decide when an object goes, and when its namespace can.
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"});
    for hold in [json!({"finalizers": ["example.com/hold"]}), json!({"ownerReferences": [owner]})] {
        let mut object = serde_json::to_value(copy("x"))?;
        json_patch::merge(&mut object["metadata"], &hold);
        let answer = test.create(&test.thief, serde_json::from_value(object)?).await;
        refused(&hold.to_string(), answer, "Claviger may not change the finalizers or ownerReferences");
    }
    let mut generated = secret("x", PULL, json!({}), json!({}));
    (generated.metadata.name, generated.metadata.generate_name) = (None, Some("x-".into()));
    refused("a generated name", test.create(&test.thief, generated).await, "Claviger may create only");
    test.create(&test.thief, copy("ours")).await?;
    // Nobody else is fenced in.
    test.create(&test.owner, secret("x", "Opaque", json!({}), json!({}))).await?;
    Ok(())
}

#[tokio::test]
async fn foreign_secrets_are_neither_overwritten_nor_deleted() -> Result<()> {
    const UPDATE: &str = "Claviger may not update a Secret that is not its own";
    const DELETE: &str = "Claviger may not delete a Secret that is not its own";
    let test = Break::new().await?;
    let foreign = secret("foreign", PULL, json!({"team": "web"}), json!({}));
    let foreign = test.create(&test.owner, foreign).await?;
    for (what, mut object) in [("as ours", copy("foreign")), ("as it was", foreign.clone())] {
        object.metadata.resource_version = foreign.metadata.resource_version.clone();
        refused(what, test.thief.replace("foreign", &PostParams::default(), &object).await, UPDATE);
    }
    refused("foreign", test.thief.delete("foreign", &DeleteParams::default()).await, DELETE);

    // Somebody else's that wears half of our marks is not ours either.
    let half = secret("half", PULL, json!({"app.kubernetes.io/managed-by": "claviger"}), json!({}));
    let half = test.create(&test.owner, half).await?;
    refused("half", test.thief.replace("half", &PostParams::default(), &half).await, UPDATE);
    refused("half", test.thief.delete("half", &DeleteParams::default()).await, DELETE);

    let forbidden = "cannot";
    let patch = Patch::Merge(json!({"metadata": {"labels": marks()}}));
    refused("patch", test.thief.patch("foreign", &PatchParams::default(), &patch).await, forbidden);
    let all = test.thief.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
    refused("deletecollection", all.map(|_| ()), forbidden);
    assert_eq!(test.owner.get("foreign").await?.data, foreign.data);
    Ok(())
}

#[tokio::test]
async fn what_the_operator_does_passes() -> Result<()> {
    let test = Break::new().await?;
    let params = PostParams::default();
    let mut ours = test.create(&test.thief, copy("ours")).await?;
    ours.metadata.annotations.get_or_insert_default().insert("claviger.dev/revision".into(), "2".into());
    test.thief.replace("ours", &params, &ours).await?;

    // Labels that were taken off by hand come back: the annotation still says whose it is.
    let strip = Patch::Merge(json!({"metadata": {"labels": null}}));
    let stripped = test.owner.patch("ours", &PatchParams::default(), &strip).await?;
    refused("stripped", test.thief.delete("ours", &DeleteParams::default()).await, "not its own");
    let mut healed = copy("ours");
    healed.metadata.resource_version = stripped.metadata.resource_version;
    test.thief.replace("ours", &params, &healed).await?;

    // A mark that somebody else has put there stays, and no other comes with it.
    let marked = json!({"metadata": {"labels": {"argocd.argoproj.io/instance": "theirs"}}});
    let mut marked = test.owner.patch("ours", &PatchParams::default(), &Patch::Merge(marked)).await?;
    marked = test.thief.replace("ours", &params, &marked).await?;
    let mut more = marked.clone();
    more.metadata
        .labels
        .get_or_insert_default()
        .insert("argocd.argoproj.io/secret-type".into(), "cluster".into());
    refused("one more mark", test.thief.replace("ours", &params, &more).await, "ownership marks");

    // Nor does the one that is there become another.
    let mut changed = marked.clone();
    changed.metadata.labels.get_or_insert_default().insert("argocd.argoproj.io/instance".into(), "x".into());
    refused("another mark", test.thief.replace("ours", &params, &changed).await, "ownership marks");

    // Letting go of it, as deletionPolicy Orphan does; after that it is a stranger's.
    let mut orphan = marked;
    orphan.metadata.labels = None;
    orphan.metadata.annotations = Some([(RELEASED.to_owned(), "RegistryCredential/a/b".to_owned())].into());
    let mut orphan = test.thief.replace("ours", &params, &orphan).await?;
    orphan.metadata.labels = copy("ours").metadata.labels;
    refused("taking it back", test.thief.replace("ours", &params, &orphan).await, "not its own");

    // A Secret that its owner hands over, with what kubectl noted of it; nothing but a takeover is done to it.
    let applied = json!({"claviger.dev/adopt": "RegistryCredential/a/b", "kubectl.kubernetes.io/last-applied-configuration": "{}"});
    let handed = test.create(&test.owner, secret("handed", PULL, json!({"team": "web"}), applied)).await?;
    refused("written to", test.thief.replace("handed", &params, &handed).await, "remove its labels from");
    refused("deleted", test.thief.delete("handed", &DeleteParams::default()).await, "not its own");
    let mut taken = copy("handed");
    taken.metadata.resource_version = handed.metadata.resource_version;
    test.thief.replace("handed", &params, &taken).await?;

    test.create(&test.thief, copy("other")).await?;
    test.thief.delete("other", &DeleteParams::default()).await?;
    Ok(())
}

/// The attack: a thief makes a Secret of an allowed type with our marks, and takes these off again, so that nobody sees where
/// it came from and nothing ever sweeps it.
#[tokio::test]
async fn what_the_token_has_written_never_looks_like_somebody_elses() -> Result<()> {
    const UNMARKED: &str = "Claviger may not remove its labels from a Secret, unless the annotation";
    let test = Break::new().await?;
    let params = PostParams::default();
    let made = test.create(&test.thief, copy("planted")).await?;
    let sources = [
        ("nothing left", json!({})),
        ("an empty one", json!({RELEASED: ""})),
        ("still ours by annotation", json!({RELEASED: "x", "claviger.dev/source": "RegistryCredential/a/b"})),
        ("half", json!({"claviger.dev/source": "RegistryCredential/a/b", "claviger.dev/hub": "h"})),
    ];
    for (what, annotations) in sources {
        for labels in [json!({}), json!({"app.kubernetes.io/managed-by": "Helm"}), json!({"team": "web"})] {
            let mut bare = secret("planted", PULL, labels, annotations.clone());
            bare.metadata.resource_version = made.metadata.resource_version.clone();
            refused(what, test.thief.replace("planted", &params, &bare).await, UNMARKED);
        }
    }
    // One that is handed over to us is not a way around: it carries our marks from then on, or says where it came from.
    let adopt = json!({"claviger.dev/adopt": "RegistryCredential/a/b"});
    let handed = test.create(&test.owner, secret("handed", PULL, json!({}), adopt)).await?;
    let mut other = handed.clone();
    let planted = ByteString(br#"{"auths":{"r.example.com":{}}}"#.to_vec());
    other.data = Some([(".dockerconfigjson".to_owned(), planted)].into());
    refused("handed over", test.thief.replace("handed", &params, &other).await, UNMARKED);
    Ok(())
}
