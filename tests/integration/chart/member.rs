//! The chart's fence, put up in a member: what a stolen token of the operator cannot do there.

use claviger::cli::member_rbac::{MemberRbacArgs, manifests};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use super::helm::template;
use crate::{
    member_rbac::operator_in_member,
    support::{ControlPlane, Error, Result, TestNamespace, apply_yaml, wait::DEADLINE, wait_for},
};

/// As docs/members.md says, for the service account of the member.
async fn fenced_member() -> Result<(Client, Client)> {
    let args = MemberRbacArgs { namespace: "keys-system".into(), ..MemberRbacArgs::default() };
    let control_plane = ControlPlane::shared().await?;
    let admin = control_plane.client().await?;
    apply_yaml(&admin, &manifests(&args)?).await?;
    let account = format!("serviceAccount.name={}", args.service_account);
    for object in template(&["--set", &account, "--show-only=templates/fence.yaml"]).await? {
        apply_yaml(&admin, &object.to_string()).await?;
    }
    Ok((admin, operator_in_member(control_plane, &args).await?))
}

fn secret(metadata: Value, type_: &str) -> Result<Secret> {
    Ok(serde_json::from_value(json!({"metadata": metadata, "type": type_, "stringData": {"a": "b"}}))?)
}

#[tokio::test]
async fn the_fence_holds_the_operator_in_a_member_too() -> Result<()> {
    let (admin, operator) = fenced_member().await?;
    let namespace = TestNamespace::new(admin, "fenced").await?;
    let secrets = Api::<Secret>::namespaced(operator, &namespace.name);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let foreign = secret(json!({"name": "foreign"}), "Opaque")?;
    wait_for(DEADLINE, "the fence in the member", async || match secrets.create(&dry_run, &foreign).await {
        Err(kube::Error::Api(status)) if status.message.contains("Claviger may create only") => Ok(()),
        other => Err(Error::new(format!("{:?}", other.map(|_| "written")))),
    })
    .await?;
    let ours = json!({"name": "ours", "labels": {
        "app.kubernetes.io/managed-by": "claviger", "claviger.dev/owner": "x",
    }});
    secrets.create(&dry_run, &secret(ours.clone(), "Opaque")?).await?;
    let mut token = ours;
    token["annotations"] = json!({"kubernetes.io/service-account.name": "default"});
    let token = secret(token, "kubernetes.io/service-account-token")?;
    let minted = secrets.create(&dry_run, &token).await;
    assert!(matches!(minted, Err(kube::Error::Api(status)) if status.code == 403), "a token was minted");
    Ok(())
}
