//! What `claviger member-rbac` prints, on a real cluster: its token is enough for the operator's work there, and
//! for nothing else.

use claviger::cli::member_rbac::{MemberRbacArgs, manifests};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::Secret,
};
use kube::{Api, Client, api::PostParams};

use crate::support::{
    ControlPlane, Error, Result, apply_yaml, client_from, random_name, wait::DEADLINE, wait_for,
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
    let args = MemberRbacArgs { namespace: random_name("member"), service_account: "hub".into() };
    apply_yaml(&control_plane.client().await?, &manifests(&args)?).await?;
    let client = operator_in_member(control_plane, &args).await?;
    assert!(!client.apiserver_version().await?.git_version.is_empty());
    let verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
    let allowed = [
        ("", "secrets", "", &["get", "list", "watch", "create", "update", "delete"][..]),
        ("", "namespaces", "", &["list", "watch"]),
        ("", "pods", "", &["list", "watch"]),
        ("", "pods", "exec", &[]),
        ("", "serviceaccounts", "", &[]),
        ("", "serviceaccounts", "token", &[]),
        ("", "events", "", &[]),
        ("", "nodes", "", &[]),
        ("apps", "deployments", "", &[]),
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
