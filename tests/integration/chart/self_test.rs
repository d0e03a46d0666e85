//! `helm test`, with a kubelet of ours that runs the Pod's program, under the Pod's account.

use std::process::Command;

use claviger::api::RegistryCredential;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Pod, Secret, ServiceAccount},
        rbac::v1::{PolicyRule, Role, RoleBinding},
    },
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{
    helm::{helm, template_with_tests},
    rbac,
    release::{FULL_NAME, NAME, NAMESPACE, Release},
};
use crate::support::{ControlPlane, Error, Result, operator_binary, wait::DEADLINE, wait_for};

/// Neither that of the release, nor one that is known to anything.
const HOME: &str = "keys-home";

/// Runs the Pod once it is there, as a kubelet does: its program, with its arguments and variables, under its account. Back with
/// what the program said, when its end stands in the Pod's status.
async fn kubelet(release: &Release, name: &str) -> Result<String> {
    let pods = Api::<Pod>::namespaced(release.client().await?, &release.namespace);
    let pod = wait_for(DEADLINE, "the Pod of the test", async || {
        let pod = pods.get(name).await?;
        let waits = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending");
        if waits { Ok(pod) } else { Err(Error::new("it has run before")) }
    })
    .await?;
    let spec = pod.spec.ok_or_else(|| Error::new("no spec"))?;
    let account = spec.service_account_name.unwrap_or_default();
    let container = &spec.containers[0];
    assert!(container.command.is_none(), "there is no other program in the image");
    let mut command = Command::new(tokio::task::spawn_blocking(operator_binary).await??);
    command.args(container.args.iter().flatten()).env_clear();
    command
        .envs(release.deployed().environment(container, name)?)
        .env("KUBECONFIG", release.deployed().kubeconfig(&release.control_plane, &account).await?);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let phase = if output.status.success() { "Succeeded" } else { "Failed" };
    let status = Patch::Merge(json!({"status": {"phase": phase}}));
    pods.patch_status(name, &PatchParams::default(), &status).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(text(&output.stdout) + &text(&output.stderr))
}

/// What Helm says, or why it fails; and what the Pod said.
async fn helm_test(release: &Release) -> Result<(Result<String>, String)> {
    let kubeconfig = release.control_plane.kubeconfig();
    let name = test_name();
    let args = ["test", NAME, "--namespace", NAMESPACE, "--timeout=2m"];
    let (told, seen) = tokio::join!(helm(Some(&kubeconfig), &args), kubelet(release, &name));
    match seen {
        Ok(seen) => Ok((told, seen)),
        // It is why there was no Pod.
        Err(error) => Err(Error::new(format!("{error}; helm: {told:?}"))),
    }
}

fn test_name() -> String {
    format!("{FULL_NAME}-self-test")
}

/// Names of objects that the test has left.
async fn left<K>(release: &Release) -> Result<Vec<String>>
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let api = Api::<K>::namespaced(release.client().await?, &release.namespace);
    let all = api.list(&ListParams::default()).await?.items;
    let names = all.into_iter().filter_map(|object| object.meta().name.clone());
    Ok(names.filter(|name| name.contains("self-test")).collect())
}

async fn nothing_left_of_it(release: &Release) -> Result<()> {
    let mut names = left::<Secret>(release).await?;
    names.extend(left::<RegistryCredential>(release).await?);
    names.extend(left::<Role>(release).await?);
    names.extend(left::<RoleBinding>(release).await?);
    names.extend(left::<ServiceAccount>(release).await?);
    if names.is_empty() { Ok(()) } else { Err(Error::new(format!("left behind: {names:?}"))) }
}

#[tokio::test]
async fn helm_test_tells_whether_the_operator_does_its_work() -> Result<()> {
    let control_plane = ControlPlane::builder().audit(true).start().await?;
    // In a namespace that is not the release's: there the policies must hold the operator, and its own rights do.
    let namespace = format!("--set=namespaceOverride={HOME}");
    let release = Release::install_in(HOME, control_plane, &[&namespace]).await?;
    let operator = release.operator("keys-1").await?;

    let (told, seen) = helm_test(&release).await?;
    let told = told.map_err(|error| Error::new(format!("{error}; the Pod: {seen}")))?;
    assert!(told.contains("Phase:          Succeeded"), "{told}");
    let credential = format!("RegistryCredential {HOME}/{}", test_name());
    let mut rest = seen.as_str();
    for step in [
        format!("Secret {HOME}/{}-source exists", test_name()),
        format!("{credential} is created"),
        format!("{credential} is ready: "),
        format!("Secret {HOME}/{} has the login of its source", test_name()),
        format!("{credential} and its copy are deleted"),
        "passed".to_owned(),
    ] {
        let (_, behind) =
            rest.split_once(&step).ok_or_else(|| Error::new(format!("no {step:?} in {seen}")))?;
        rest = behind;
    }
    nothing_left_of_it(&release).await?;
    assert_eq!(left::<Pod>(&release).await?, [""; 0], "a test that passed needs no Pod to look at");

    // It could do no more than it did.
    let objects = template_with_tests(&[&namespace]).await?;
    let role = objects
        .iter()
        .find(|object| object["kind"] == "Role" && object["metadata"]["name"] == test_name().as_str())
        .ok_or_else(|| Error::new("no Role"))?;
    let rules: Vec<PolicyRule> = serde_json::from_value(role["rules"].clone())?;
    let user = format!("system:serviceaccount:{HOME}:{}", test_name());
    rbac::assert_used("the self-test's Role", rules, &user, &release.control_plane)?;

    // Without an operator it fails in time, says why, and leaves nothing but the Pod.
    operator.kill9()?;
    release.helm("upgrade", &["--reuse-values", "--set=selfTest.timeout=3s"]).await?;
    let (told, seen) = helm_test(&release).await?;
    assert!(told.is_err_and(|error| error.to_string().contains("failed")), "{seen}");
    assert!(seen.contains("the operator has not reported on it; is it running"), "{seen}");
    assert!(!seen.contains("passed"), "{seen}");
    nothing_left_of_it(&release).await?;
    assert_eq!(left::<Pod>(&release).await?, [test_name()]);
    Ok(())
}
