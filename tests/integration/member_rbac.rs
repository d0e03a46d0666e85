//! What `claviger member-rbac` prints, on a real cluster: its token is enough for the operator's work there, and
//! for nothing else.

use claviger::cli::member_rbac::{MemberRbacArgs, manifests};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::Secret,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{
    ControlPlane, Error, Result, TestNamespace, apply_yaml, client_from, random_name, wait::DEADLINE,
    wait_for,
};

/// The token that the manifests have brought.
pub async fn token_in_member(admin: &Client, args: &MemberRbacArgs) -> Result<String> {
    let secrets = Api::<Secret>::namespaced(admin.clone(), &args.namespace);
    let token = wait_for(DEADLINE, "the token", async || {
        let data = secrets.get(&args.service_account).await?.data.unwrap_or_default();
        assert!(data.is_empty() || data.contains_key("ca.crt"), "a kubeconfig needs it");
        data.get("token").map(|token| token.0.clone()).ok_or_else(|| Error::new("not yet"))
    })
    .await?;
    String::from_utf8(token).map_err(|error| Error::new(error.to_string()))
}

/// A client that is the operator there.
pub async fn operator_in_member(control_plane: &ControlPlane, args: &MemberRbacArgs) -> Result<Client> {
    let token = token_in_member(&control_plane.client().await?, args).await?;
    client_from(&control_plane.kubeconfig_with(control_plane.server_url(), &token)?).await
}

/// For a hub, with a namespace of its own on the control plane that tests share.
fn of_hub(name: &str) -> MemberRbacArgs {
    let (namespace, service_account) = (random_name("member"), name.to_owned());
    MemberRbacArgs { namespace, service_account, ..MemberRbacArgs::default() }
}

async fn may(client: &Client, verb: &str, group: &str, resource: &str, subresource: &str) -> Result<bool> {
    let attributes = ResourceAttributes {
        verb: Some(verb.into()),
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource: Some(subresource.into()).filter(|name: &String| !name.is_empty()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[tokio::test]
async fn the_token_of_a_member_is_good_for_the_work_there_and_nothing_else() -> Result<()> {
    let control_plane = ControlPlane::shared().await?;
    let args = of_hub("hub");
    apply_yaml(&control_plane.client().await?, &manifests(&args)?).await?;
    let client = operator_in_member(control_plane, &args).await?;
    assert!(!client.apiserver_version().await?.git_version.is_empty());
    let verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
    let allowed = [
        ("", "secrets", "", &["get", "list", "watch", "create", "update", "delete"][..]),
        ("", "namespaces", "", &["list", "watch"]),
        ("", "pods", "", &["list", "watch"]),
        ("", "pods", "exec", &[]),
        ("", "serviceaccounts", "", &["list", "watch", "patch"]),
        ("", "serviceaccounts", "token", &[]),
        ("", "events", "", &[]),
        ("", "nodes", "", &[]),
        ("apps", "deployments", "", &["list", "watch"]),
        ("apps", "deployments", "scale", &[]),
        ("networking.k8s.io", "ingresses", "", &["list", "watch"]),
        ("gateway.networking.k8s.io", "referencegrants", "", &["list", "watch"]),
        ("", "configmaps", "", &[]),
        ("coordination.k8s.io", "leases", "", &[]),
        ("rbac.authorization.k8s.io", "clusterroles", "", &[]),
        ("claviger.dev", "registrycredentials", "", &[]),
    ];
    let mut wrong = Vec::new();
    for (group, resource, subresource, expected) in allowed {
        for verb in verbs {
            if may(&client, verb, group, resource, subresource).await? != expected.contains(&verb) {
                wrong.push(format!("{verb} {resource} {subresource}"));
            }
        }
    }
    assert!(wrong.is_empty(), "otherwise than expected: {wrong:?}");
    Ok(())
}

fn secret(type_: &str, labels: Value, annotations: Value) -> Result<Secret> {
    let metadata = json!({"name": "x", "labels": labels, "annotations": annotations});
    Ok(serde_json::from_value(json!({"metadata": metadata, "type": type_, "stringData": {"a": "b"}}))?)
}

/// Whether a fence of this name holds whoever has got hold of the credentials of a client, and lets the operator work.
async fn assert_fenced(thief: Client, owner: &TestNamespace, fence: &str) -> Result<()> {
    let secrets = Api::<Secret>::namespaced(thief, &owner.name);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let (none, marks) =
        (json!({}), json!({"app.kubernetes.io/managed-by": "claviger", "claviger.dev/owner": "x"}));
    let by = format!("ValidatingAdmissionPolicy '{fence}'");
    let refused = |answer: kube::Result<Secret>| match answer {
        Err(kube::Error::Api(status)) if status.message.contains(&by) => Ok(()),
        other => Err(Error::new(format!("not refused by {by}: {:?}", other.map(|_| "written")))),
    };
    // The API server takes a moment to heed a new policy.
    let foreign = secret("Opaque", none.clone(), none.clone())?;
    wait_for(DEADLINE, &format!("the fence {fence}"), async || {
        refused(secrets.create(&dry_run, &foreign).await)
    })
    .await?;
    let token = json!({"kubernetes.io/service-account.name": "default"});
    let token = secret("kubernetes.io/service-account-token", marks.clone(), token)?;
    refused(secrets.create(&dry_run, &token).await)?;
    let params = PostParams::default();
    let theirs = owner.api::<Secret>().create(&params, &foreign).await?;
    refused(secrets.replace("x", &params, &theirs).await)?;
    let deleted = secrets.delete("x", &DeleteParams::default()).await;
    refused(deleted.map(|_| theirs))?;
    owner.api::<Secret>().delete("x", &DeleteParams::default()).await?;
    // What it is there for.
    secrets.create(&params, &secret("Opaque", marks, none)?).await?;
    secrets.delete("x", &DeleteParams::default()).await?;
    Ok(())
}

/// The attack: the tokens of two hubs are stolen, and the fence of the second must not have replaced that of the first.
#[tokio::test]
async fn the_fences_of_two_hubs_stand_side_by_side_and_both_hold() -> Result<()> {
    let control_plane = ControlPlane::shared().await?;
    let admin = control_plane.client().await?;
    let first = of_hub("hub-eu");
    // In the same namespace, as docs/members.md has it.
    let second = MemberRbacArgs { service_account: "hub-us".into(), ..first.clone() };
    for args in [&first, &second] {
        apply_yaml(&admin, &manifests(args)?).await?;
    }
    let owner = TestNamespace::new(admin, "fenced").await?;
    for args in [&first, &second] {
        let fence = format!("claviger-fence.{}.{}", args.namespace, args.service_account);
        assert_fenced(operator_in_member(control_plane, args).await?, &owner, &fence).await?;
    }
    Ok(())
}

/// The attack: an identity that was adopted, which is a cluster admin, is stolen. The fence is told its name.
#[tokio::test]
async fn an_identity_that_there_is_already_can_be_fenced_in_by_its_name() -> Result<()> {
    let control_plane = ControlPlane::shared().await?;
    let admin = control_plane.client().await?;
    let user = random_name("kubernetes-admin");
    let args = MemberRbacArgs { user: Some(user.clone()), ..MemberRbacArgs::default() };
    apply_yaml(&admin, &manifests(&args)?).await?;
    let owner = TestNamespace::new(admin, "fenced").await?;
    let thief = client_from(&control_plane.kubeconfig_by_certificate(&user, &["system:masters"])?).await?;
    assert_fenced(thief, &owner, &format!("claviger-fence.{user}")).await
}
