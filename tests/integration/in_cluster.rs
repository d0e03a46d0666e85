//! The operator as it finds its cluster in a Pod: by the folder of its ServiceAccount, whose token kubelet rotates.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Secret, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{
    checks::{good_source, spec, wait_copy},
    scenario::Scenario,
    support::{
        ControlPlane, Error, Operator, Result, apply_yaml, client_from,
        environment::{OPERATOR_NAMESPACE, prepare},
        operator_binary,
        pod::ServiceAccountFolder,
        skips::skipped,
        wait_for,
    },
};

const ACCOUNT: &str = "claviger";
const USER: &str = "system:serviceaccount:claviger-system:claviger";

/// The library reads the token's file again after 50 s.
const ROTATED: Duration = Duration::from_secs(90);

/// A token of the operator's ServiceAccount that is good for as long as a Secret of this name exists, as a Pod's is for
/// as long as the Pod.
async fn token(client: &Client, bound_to: &str) -> Result<String> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), OPERATOR_NAMESPACE);
    let secret = json!({"metadata": {"name": bound_to}});
    let secret = secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    let reference =
        json!({"apiVersion": "v1", "kind": "Secret", "name": bound_to, "uid": secret.metadata.uid});
    let request: TokenRequest = serde_json::from_value(json!({
        "metadata": {}, "spec": {"audiences": [], "expirationSeconds": 3600, "boundObjectRef": reference},
    }))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), OPERATOR_NAMESPACE);
    let answer = accounts.create_token_request(ACCOUNT, &PostParams::default(), &request).await?;
    answer.status.and_then(|status| status.token).ok_or_else(|| Error::new("no token"))
}

/// The operator's ServiceAccount, which may do everything; other tests cover the chart's rights.
async fn prepare_account(client: &Client) -> Result<()> {
    prepare(client).await?;
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": OPERATOR_NAMESPACE},
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": OPERATOR_NAMESPACE}],
    });
    apply_yaml(client, &format!("{account}\n---\n{binding}\n")).await?;
    Ok(())
}

/// The tokens that the operator has used, from a moment on.
fn credentials(control_plane: &ControlPlane, after: usize) -> Result<BTreeSet<String>> {
    let events = control_plane.audit_events()?.into_iter().skip(after);
    Ok(events.filter(|event| event.user == USER).map(|event| event.credential).collect())
}

fn requests(control_plane: &ControlPlane, after: usize) -> Result<usize> {
    Ok(control_plane.audit_events()?.iter().skip(after).filter(|event| event.user == USER).count())
}

#[tokio::test]
async fn an_operator_in_a_pod_finds_its_cluster_and_uses_a_rotated_token() -> Result<()> {
    if !ServiceAccountFolder::is_possible() && std::env::var_os("CI").is_none() {
        // A laptop whose kernel gives its users no namespaces of their own. A pipeline has to be root, or allow them.
        return skipped(
            "the operator in a Pod",
            "this user can put nothing at the path of a Pod's ServiceAccount",
        );
    }
    let control_plane = ControlPlane::builder().audit(true).start().await?;
    let test = Scenario::alone(&control_plane).await?;
    prepare_account(&test.client).await?;
    let first = token(&test.client, "first-pod").await?;
    let folder = ServiceAccountFolder::new(OPERATOR_NAMESPACE, control_plane.ca_pem(), &first).await?;
    let folder = Arc::new(folder);
    let binary = tokio::task::spawn_blocking(operator_binary).await??;
    let operator = Operator::in_cluster(binary, folder.clone(), control_plane.address())
        .namespace(OPERATOR_NAMESPACE)
        .arg("--watch-timeout=5s")
        .start()
        .await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let used = credentials(&control_plane, 0)?;
    assert!(used.len() == 1 && used.iter().all(|id| id.starts_with("JTI=")), "{used:?}");

    folder.rotate_token(&token(&test.client, "second-pod").await?)?;
    wait_for(ROTATED, "only the new token to be used", async || {
        let mark = control_plane.audit_events().map_err(|error| error.to_string())?.len();
        // More than one round of the watches, each of which is renewed with the token that its client has.
        let asked =
            wait_for(ROTATED, "requests", async || requests(&control_plane, mark).is_ok_and(|n| n > 20));
        asked.await.map_err(|error| error.to_string())?;
        let now = credentials(&control_plane, mark).map_err(|error| error.to_string())?;
        if now.is_disjoint(&used) { Ok(()) } else { Err(format!("{now:?}, and before {used:?}")) }
    })
    .await?;
    // The old one is no longer valid, as soon as the API server's own cache forgets it.
    let secrets: Api<Secret> = Api::namespaced(test.client.clone(), OPERATOR_NAMESPACE);
    secrets.delete("first-pod", &DeleteParams::default()).await?;
    let old = client_from(&control_plane.kubeconfig_with(control_plane.server_url(), &first)?).await?;
    wait_for(
        ROTATED,
        "the old token to be refused",
        async || matches!(old.apiserver_version().await, Err(kube::Error::Api(status)) if status.code == 401),
    )
    .await?;
    test.secrets(&targets[0]).delete("reg", &DeleteParams::default()).await?;
    wait_copy(&test, &targets[0], "reg").await?;
    good_source(&test, "src", "another-password").await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", "another-password").await?;
    }
    test.wait_ready("reg", 2).await?;
    operator.check_running()
}

#[tokio::test]
async fn an_operator_that_finds_no_cluster_says_so_and_ends() -> Result<()> {
    let binary = tokio::task::spawn_blocking(operator_binary).await??;
    let error = match Operator::nowhere(binary).without_waiting().start().await {
        Ok(operator) => Error::new(format!("it runs: {}", operator.logs())),
        Err(error) => error,
    };
    let error = error.to_string();
    assert!(error.contains("no cluster to work in"), "{error}");
    Ok(())
}
