//! The chart from the tree, as a person installs it by the documentation, and does it wrongly.

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;

use super::{
    documented,
    install::{Cluster, DEPLOYED},
};
use crate::support::{Result, wait::DEADLINE};

/// The documented command, with more arguments.
fn install(more: &str) -> Result<String> {
    Ok(format!("{} {more}", documented::blocks("Helm", "sh")?[0].trim_end()))
}

#[tokio::test]
async fn what_is_installed_twice_wrongly_or_over_an_edited_object_is_told_and_nothing_is_lost() -> Result<()>
{
    let cluster = Cluster::new().await?;
    // Values that do not exist, before anything is there.
    let refused = cluster.refusal(&install("--set replicas=3")?).await;
    assert!(refused.contains(&documented::refusal("additional properties")?), "{refused}");
    assert!(refused.contains("'replicas' not allowed"), "{refused}");

    cluster.types(&install("")?).await?;
    let operator = cluster.operator("claviger-1").await?;
    let secret = cluster.first_credential().await?;

    // The same once more; and a second operator beside it.
    let refused = cluster.refusal(&install("")?).await;
    assert!(refused.contains(&documented::refusal("still in use")?), "{refused}");
    let second = install("")?.replace("install claviger ", "install second ").replace("-system", "-second");
    let refused = cluster.refusal(&second).await;
    assert!(refused.contains(&documented::refusal("cannot be imported")?), "{refused}");

    // Over an object that somebody has edited: it is told, and kept until they agree.
    let deployments: Api<Deployment> =
        Api::namespaced(cluster.control_plane.client().await?, DEPLOYED.namespace);
    let image = async || -> Result<Option<String>> {
        let found = deployments.get(DEPLOYED.name).await?;
        Ok(found.spec.template.spec.and_then(|spec| spec.containers[0].image.clone()))
    };
    let edit =
        "kubectl -n claviger-system set image deployment/claviger claviger=registry.example.com/edited:1";
    cluster.types(edit).await?;
    let upgrade = install("")?.replace("helm install", "helm upgrade").replace(" --create-namespace", "");
    let refused = cluster.refusal(&format!("{upgrade} --set image.tag=99.0.0")).await;
    for part in [documented::refusal("conflict with")?.as_str(), "kubectl-set", ".image"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    assert_eq!(image().await?.as_deref(), Some("registry.example.com/edited:1"));
    cluster.types(&format!("{upgrade} --set image.tag=99.0.0 --force-conflicts")).await?;
    assert_eq!(image().await?.as_deref(), Some("ghcr.io/claviger/claviger:99.0.0"));

    // All the time nobody has lost a Secret.
    operator.check_running()?;
    assert_eq!(operator.terminate(DEADLINE).await?, 0);
    let operator = cluster.operator("claviger-2").await?;
    cluster.types("kubectl wait --for=condition=Ready registrycredential/quay --timeout=30s").await?;
    let kept = cluster.first_secret().await?;
    assert_eq!(kept.metadata.resource_version, secret.metadata.resource_version);

    // Away with it, in the documented order.
    cluster.types(&documented::blocks("Uninstalling", "sh")?[0]).await?;
    assert!(cluster.first_secret().await.is_err(), "the Secret of a deleted credential stays");
    assert_eq!(operator.terminate(DEADLINE).await?, 0);
    cluster.types("helm uninstall claviger --namespace claviger-system").await?;
    assert!(deployments.get_opt(DEPLOYED.name).await?.is_none());
    Ok(())
}
