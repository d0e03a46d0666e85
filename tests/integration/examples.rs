//! The manifests of `examples/` work as they stand. A new file is tested by being there.

use std::{fs, path::Path, time::Duration};

use claviger::{
    api::{MemberCluster, RegistryCredential},
    cli::member_rbac::{MemberRbacArgs, manifests as member_rbac},
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective},
    core::GroupVersionKind,
    discovery::{Scope, pinned_kind},
};
use serde_json::json;

use crate::{
    member_rbac::token_in_member,
    support::{
        self, ControlPlane, Error, Result,
        apply::apply,
        apply_yaml,
        error::Context,
        wait::{DEADLINE, wait_for},
    },
};

/// It needs another cluster.
const MEMBER: &str = "member-cluster.yaml";

/// It needs a cloud, and is tried where one is: `tokens::flows`.
const MINTED: &str = "minted-tokens.yaml";

#[tokio::test]
async fn every_example_is_accepted_and_every_credential_in_it_gets_ready() -> Result<()> {
    let client = support::environment().await?.client().await?;
    for (file, yaml) in
        manifests()?.into_iter().filter(|(file, _)| !file.ends_with(MEMBER) && !file.ends_with(MINTED))
    {
        let objects = apply_yaml(&client, &yaml).await.context(&file)?;
        let credentials: Vec<_> = objects.iter().filter(|object| is_credential(object)).collect();
        assert!(!credentials.is_empty(), "{file} shows no credential");
        for credential in credentials {
            ready(&client, credential).await.context(&file)?;
        }
    }
    Ok(())
}

/// The member of the example does not exist: a real cluster takes its place, with the rights and the token that
/// `claviger member-rbac` gives.
#[tokio::test]
async fn the_example_of_a_member_brings_a_secret_there_and_takes_it_back() -> Result<()> {
    let client = support::environment().await?.client().await?;
    let member = ControlPlane::builder().start().await?;
    let there = member.client().await?;
    apply_yaml(&there, &member_rbac(&MemberRbacArgs::default())?).await?;
    let token = token_in_member(&there, &MemberRbacArgs::default()).await?;
    let kubeconfig = member.kubeconfig_text(member.server_url(), &token);
    let namespace: Namespace = serde_json::from_value(
        json!({"metadata": {"name": "web", "labels": {"acme.example.com/fleet": "true"}}}),
    )?;
    Api::all(there.clone()).create(&PostParams::default(), &namespace).await?;

    let (file, yaml) = manifests()?.into_iter().find(|(file, _)| file.ends_with(MEMBER)).unwrap_or_default();
    for mut object in serde_saphyr::from_multiple::<DynamicObject>(&yaml)? {
        if let Some(placeholder) = object.data.pointer_mut("/stringData/kubeconfig") {
            *placeholder = json!(kubeconfig);
        }
        let applied = apply(&client, "default", object).await.context(&file)?;
        if is_credential(&applied) {
            ready(&client, &applied).await.context(&file)?;
        }
    }
    let copies = Api::<Secret>::namespaced(there, "web");
    let copy = wait_for(DEADLINE, "the copy in the member", async || copies.get("quay").await).await?;
    assert_eq!(copy.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));

    let members = Api::<MemberCluster>::all(client.clone());
    members.delete("us-east-1", &DeleteParams::default()).await?;
    wait_for(DEADLINE, "the member to be let go", async || {
        members.get_opt("us-east-1").await.is_ok_and(|left| left.is_none())
    })
    .await?;
    assert!(copies.get_opt("quay").await?.is_none(), "an unused copy was left behind");
    let here = Api::<Secret>::namespaced(client.clone(), "fleet-web");
    assert!(here.get_opt("quay").await?.is_some(), "the copy in the hub went too");
    let credentials = Api::<RegistryCredential>::namespaced(client, "fleet");
    credentials.delete("quay", &DeleteParams::default()).await?;
    Ok(())
}

/// A misspelt field would only be dropped by the server, and nobody would notice.
#[tokio::test]
async fn no_example_has_a_field_that_the_server_does_not_know() -> Result<()> {
    let client = support::environment().await?.client().await?;
    for (file, yaml) in manifests()?.into_iter().chain(in_docs()?) {
        let objects: Vec<DynamicObject> = serde_saphyr::from_multiple(&yaml)?;
        for mut object in objects.into_iter().filter(is_ours) {
            let types = object.types.clone().unwrap_or_default();
            let (resource, capabilities) = pinned_kind(&client, &GroupVersionKind::try_from(&types)?).await?;
            // A dry run, in a namespace that is there: that of the example may not be yet.
            object.metadata.namespace = None;
            let api: Api<DynamicObject> = match capabilities.scope {
                Scope::Namespaced => Api::namespaced_with(client.clone(), "default", &resource),
                Scope::Cluster => Api::all_with(client.clone(), &resource),
            };
            let params = PatchParams {
                dry_run: true,
                field_validation: Some(ValidationDirective::Strict),
                ..PatchParams::apply("examples").force()
            };
            api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await.context(format!(
                "{file}: {} {}",
                types.kind,
                object.name_any()
            ))?;
        }
    }
    Ok(())
}

/// Name and text of each.
fn manifests() -> Result<Vec<(String, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push((path.display().to_string(), fs::read_to_string(&path)?));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no manifests in {}", folder.display());
    Ok(found)
}

/// Whole objects among the examples of the documentation.
fn in_docs() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for file in ["docs/members.md", "docs/providers.md", "docs/verification.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let whole: Vec<_> = blocks.filter(|block| block.contains("kind: ")).map(str::to_owned).collect();
        assert!(!whole.is_empty(), "no examples in {file}");
        found.extend(whole.into_iter().map(|yaml| (file.to_owned(), yaml)));
    }
    Ok(found)
}

fn is_ours(object: &DynamicObject) -> bool {
    object.types.as_ref().is_some_and(|types| types.api_version.starts_with("claviger.dev/"))
}

fn is_credential(object: &DynamicObject) -> bool {
    is_ours(object) && object.types.as_ref().is_some_and(|types| types.kind.ends_with("Credential"))
}

async fn ready(client: &kube::Client, credential: &DynamicObject) -> Result<()> {
    let types = credential.types.clone().unwrap_or_default();
    let (resource, _) = pinned_kind(client, &GroupVersionKind::try_from(&types)?).await?;
    let namespace = credential.namespace().unwrap_or_else(|| "default".into());
    let name = credential.name_any();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    wait_for(Duration::from_secs(20), &format!("{} {namespace}/{name} to be ready", types.kind), async || {
        let object = api.get(&name).await?;
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let generation = json!(object.metadata.generation);
        let is_ready = conditions.iter().any(|condition| {
            condition["type"] == "Ready"
                && condition["status"] == "True"
                && condition["observedGeneration"] == generation
        });
        let secrets = object.data["status"]["summary"]["namespaces"].clone();
        if is_ready && secrets != "0/0" {
            return Ok(());
        }
        Err(Error::new(format!("{secrets} {}", serde_json::to_string(&conditions)?)))
    })
    .await
}
