//! The way out that docs/uninstall.md tells, for those who removed the operator first: its commands, as they stand.

use std::{path::Path, process::Command, time::Duration};

use k8s_openapi::{
    api::core::v1::ServiceAccount,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, PostParams},
    core::GroupVersionKind,
    discovery::pinned_kind,
};
use serde_json::json;

use crate::{
    checks::{MARKS, delete, exact_all, good_source, spec, wait_copy, wait_no_credential},
    lab::{Lab, copies},
    scenario::Scenario,
    support::{self, Error, Result, apply_yaml_in, error::Context, pki::Authority, wait_for},
};

const LONG: Duration = Duration::from_secs(60);
const FINALIZER: &str = "claviger.dev/protect";

/// The blocks of commands in the document, in order.
fn blocks() -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/uninstall.md");
    let text = std::fs::read_to_string(&path).context(path.display())?;
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    Ok(blocks.map(str::to_owned).collect())
}

/// Runs commands as an administrator at a terminal would.
pub async fn run(lab: &Lab, commands: String) -> Result<String> {
    let kubectl = tokio::task::spawn_blocking(support::kubectl).await??;
    let home = tempfile::tempdir()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = kubectl.parent().map(Path::to_path_buf);
    let path = std::env::join_paths(folder.into_iter().chain(std::env::split_paths(&path)))?;
    let mut shell = Command::new("sh");
    shell.args(["-eu", "-c", &commands]).env("PATH", path).env("HOME", home.path());
    shell.env("KUBECONFIG", lab.control_plane.kubeconfig());
    let output = tokio::task::spawn_blocking(move || shell.output()).await?.context("sh")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, complaints) = (text(&output.stdout), text(&output.stderr));
    // In a pipe the shell tells only how the last command ended.
    if output.status.success() && complaints.is_empty() {
        return Ok(printed);
    }
    Err(Error::new(format!("{}: {printed}{complaints}", output.status)))
}

/// One of each kind that has a finalizer.
async fn objects(test: &Scenario) -> Result<Vec<DynamicObject>> {
    good_source(test, "src", "the-password").await?;
    let pair = Authority::new("authority")?.server(&["a.example.com"])?;
    test.source("tls-src", json!({"tls.crt": pair.certificate, "tls.key": pair.key})).await?;
    let object = |kind: &str, name: &str, spec: serde_json::Value| {
        json!({"apiVersion": "claviger.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
            .to_string()
    };
    let bucket = json!({
        "bucket": "backups", "endpoint": "https://s3.example.com", "format": "Flux",
        "secretRef": {"name": "src", "accessKeyKey": "username", "secretKeyKey": "password"},
        "verification": {"mode": "Off"},
    });
    let manifest = [
        object("RegistryCredential", "reg", spec(test, "src")),
        object("RegistryCredential", "other", spec(test, "src")),
        object("BasicAuthCredential", "basic", json!({"format": "BasicAuth", "secretRef": {"name": "src"}})),
        object("TlsCredential", "tls", json!({"secretRef": {"name": "tls-src"}})),
        object("ObjectStorageCredential", "bucket", bucket),
        object("MemberCluster", "east", json!({"kubeconfigSecretRef": {"name": "nowhere"}})),
    ];
    let applied = apply_yaml_in(&test.client, &test.home.name, &manifest.join("\n---\n")).await?;
    for object in &applied {
        let types = object.types.clone().unwrap_or_default();
        let (resource, _) = pinned_kind(&test.client, &GroupVersionKind::try_from(&types)?).await?;
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(test.client.clone(), &namespace, &resource),
            None => Api::all_with(test.client.clone(), &resource),
        };
        wait_for(LONG, &format!("the finalizer of {}", object.name_any()), async || {
            let found = api.get(&object.name_any()).await.map_err(|error| error.to_string())?;
            let finalizers = found.finalizers().to_vec();
            if finalizers.iter().any(|name| name == FINALIZER) {
                Ok(())
            } else {
                Err(format!("{finalizers:?}"))
            }
        })
        .await?;
    }
    Ok(applied)
}

#[tokio::test]
async fn whoever_removed_the_operator_first_gets_out_by_the_documented_commands() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let operator = lab.operator()?.start().await?;
    objects(&test).await?;
    for name in ["reg", "other"] {
        test.wait_ready(name, 1).await?;
    }
    for name in ["basic", "tls", "bucket"] {
        wait_copy(&test, &test.home.name, name).await?;
    }
    let before = exact_all(&test, &targets, "reg").await?;
    let count = copies(&test).await?.items.len();
    assert_eq!(operator.terminate(LONG).await?, 0);

    // The fault: nobody is there to let it go.
    delete(&test, "reg").await?;
    let stuck = test.credentials().get("reg").await?;
    assert!(stuck.metadata.deletion_timestamp.is_some() && stuck.finalizers() == [FINALIZER]);
    let blocks = blocks()?;
    let [free, remove, attached] = blocks.as_slice() else {
        return Err(Error::new(format!("three blocks of commands are expected: {blocks:#?}")));
    };
    let printed = run(&lab, free.clone()).await?;
    assert_eq!(printed.matches("patched").count(), 6, "{printed}");
    wait_no_credential(&test, "reg").await?;
    // What nobody had deleted is there, and free.
    let other = test.credentials().get("other").await?;
    assert!(other.finalizers().is_empty() && other.metadata.deletion_timestamp.is_none());
    assert_eq!(exact_all(&test, &targets, "reg").await?, before, "a copy was touched");
    assert_eq!(copies(&test).await?.items.len(), count);

    // Definitions and the namespace of the credentials can go now.
    let crds: Api<CustomResourceDefinition> = Api::all(test.client.clone());
    let names = claviger::api::crds().into_iter().filter_map(|crd| crd.metadata.name);
    for name in names.clone() {
        crds.delete(&name, &DeleteParams::default()).await?;
    }
    wait_for(LONG, "the definitions to be gone", async || {
        let left = crds.list(&Default::default()).await.map_err(|error| error.to_string())?;
        let left: Vec<String> = left.iter().map(ResourceExt::name_any).collect();
        if names.clone().any(|name| left.contains(&name)) { Err(format!("{left:?}")) } else { Ok(()) }
    })
    .await?;
    test.home.delete().await?;
    test.home.wait_gone().await?;
    assert_eq!(exact_all(&test, &targets, "reg").await?, before, "a copy was touched");

    // The copies go by the last command, and nothing else does.
    crate::checks::foreign(&test, &targets[0], "theirs").await?;
    let marks = json!({"claviger.dev/attached-pull-secrets": "reg=hub/web/reg"});
    let account = serde_json::from_value(json!({"metadata": {"name": "marked", "annotations": marks}}))?;
    let accounts: Api<ServiceAccount> = Api::namespaced(test.client.clone(), &targets[0]);
    accounts.create(&PostParams::default(), &account).await?;
    let printed = run(&lab, attached.clone()).await?;
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert!(printed.contains("marked") && printed.contains("reg=hub/web/reg"), "{printed}");
    run(&lab, remove.clone()).await?;
    assert_eq!(copies(&test).await?.items.len(), 0);
    test.secrets(&targets[0]).get("theirs").await?;
    Ok(())
}

/// What the last sentence of the document says: a Secret without our marks is kept for good.
#[tokio::test]
async fn a_copy_whose_marks_were_taken_off_outlives_the_next_operator() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let operator = lab.operator()?.start().await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    assert_eq!(operator.terminate(LONG).await?, 0);
    let blocks = blocks()?;
    run(&lab, blocks.first().cloned().unwrap_or_default()).await?;
    delete(&test, "reg").await?;
    wait_no_credential(&test, "reg").await?;

    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/uninstall.md"))?;
    let commands: Vec<String> = text
        .split('`')
        .filter(|part| {
            part.starts_with("kubectl label secret") || part.starts_with("kubectl annotate secret")
        })
        .map(|part| part.replace("NAMESPACE", &targets[0]).replace("NAME", "reg"))
        .collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    run(&lab, commands.join("\n")).await?;
    let free = test.secrets(&targets[0]).get("reg").await?;
    let owned = ["claviger.dev/owner", "claviger.dev/source", "claviger.dev/hub"];
    let marked = |secret: &k8s_openapi::api::core::v1::Secret, mark: &str| {
        secret.labels().contains_key(mark) || secret.annotations().contains_key(mark)
    };
    assert!(owned.iter().all(|mark| MARKS.contains(mark) && !marked(&free, mark)), "{:?}", free.metadata);

    let operator =
        lab.operator()?.env("CLAVIGER_SWEEP_GRACE_PERIOD", "0s").arg("--sweep-interval=1s").start().await?;
    crate::checks::wait_no_secret(&test, &targets[1], "reg").await?;
    assert_eq!(test.secrets(&targets[0]).get("reg").await?.resource_version(), free.resource_version());
    // Nor does a credential of the same name take it.
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_condition("reg", "Ready", "False", "PartiallySynced").await?;
    assert_eq!(test.secrets(&targets[0]).get("reg").await?.resource_version(), free.resource_version());
    operator.check_running()
}
