//! The base for kustomize, and the overlay that docs/install.md shows.

use std::fs;

use kube::ResourceExt;
use serde_json::Value;

use super::{
    documented,
    hack::repository,
    install::{Cluster, DEPLOYED},
};
use crate::support::{Result, workdir::copy_dir};

const REMOTE: &str = "https://github.com/claviger/claviger//deploy?ref=v";

#[tokio::test]
async fn an_overlay_of_the_base_is_installed() -> Result<()> {
    let cluster = Cluster::new().await?;
    // Neither drops nor changes anything by itself.
    let mut base: Vec<Value> =
        serde_saphyr::from_multiple(&cluster.types("kubectl kustomize deploy").await?)?;
    let manifest = fs::read_to_string(repository().join("deploy/install.yaml"))?;
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(&manifest)?;
    for list in [&mut base, &mut objects] {
        list.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    }
    assert_eq!(base, objects);

    // The documented overlay, of the base that is here instead of the one that is published.
    let folder = tempfile::tempdir()?;
    copy_dir(&repository().join("deploy"), &folder.path().join("base"))?;
    let overlay = documented::block("Kustomize", "yaml")?;
    let remote = format!("{REMOTE}{}", env!("CARGO_PKG_VERSION"));
    assert!(overlay.contains(&remote), "{overlay}");
    let own = folder.path().join("overlay");
    fs::create_dir(&own)?;
    fs::write(own.join("kustomization.yaml"), overlay.replace(&remote, "../base"))?;
    cluster.types_in(&own, &documented::block("Kustomize", "sh")?).await?;

    let client = cluster.control_plane.client().await?;
    let pod_spec = DEPLOYED.pod_spec(&client).await?;
    let container = &pod_spec.containers[0];
    let image = format!("registry.example.com/platform/claviger:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(container.image, Some(image));
    let args = container.args.clone().unwrap_or_default();
    assert_eq!(args.first().map(String::as_str), Some("run"));
    assert!(args.contains(&"--hub-id=prod-hub".to_owned()), "{args:?}");
    let _operator = cluster.operator("claviger-1").await?;
    let secret = cluster.first_credential().await?;
    assert_eq!(secret.annotations().get("claviger.dev/hub").map(String::as_str), Some("prod-hub"));
    Ok(())
}
