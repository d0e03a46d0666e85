//! From a key of `auths` to the fields of a login that gives the same key.

use serde_json::{Value, json};

use super::json::set;
use crate::domain::registry::kubelet::Key;

/// A key as kubelet files it; `None` for one that it leaves out.
pub(super) fn filed(key: &str) -> Option<String> {
    let filed = String::from_utf8(Key::new(key).index?).ok()?;
    // Both are all of Docker Hub.
    Some(if filed == "docker.io" { "index.docker.io".to_owned() } else { filed })
}

/// Logins that may give this key, as in a spec and without the Secret, the most telling one first.
pub(super) fn logins(filed: &str) -> Vec<Value> {
    let (host, path) = filed.split_once('/').map_or((filed, None), |(host, path)| (host, Some(path)));
    let mut custom = json!({"provider": "Custom", "server": filed});
    let mut logins: Vec<Value> = known(host, path, filed).into_iter().collect();
    if path.is_some() {
        for login in logins.iter_mut().chain([&mut custom]) {
            set(login, &["keyScope"], "Path");
        }
    }
    logins.push(custom);
    logins
}

fn known(host: &str, path: Option<&str>, server: &str) -> Option<Value> {
    let named = |provider: &str| json!({"provider": provider});
    let at = |provider: &str| json!({"provider": provider, "server": server});
    let with_path = |provider: &str| if path.is_some() { at(provider) } else { named(provider) };
    let login = match host {
        "index.docker.io" => named("DockerHub"),
        "ghcr.io" => with_path("GitHub"),
        "registry.gitlab.com" => with_path("GitLab"),
        // Without a path or a robot in the spec it does not say whose images it is for.
        "quay.io" if path.is_some() => at("Quay"),
        "registry.digitalocean.com" => match path {
            Some(registry) => json!({"provider": "DigitalOcean", "digitalOcean": {"registry": registry}}),
            None => named("DigitalOcean"),
        },
        "public.ecr.aws" => with_path("ECRPublic"),
        "nvcr.io" => with_path("NVIDIA"),
        "gcr.io" => at("GoogleArtifactRegistry"),
        _ if host.ends_with(".gcr.io") || host.ends_with("-docker.pkg.dev") => at("GoogleArtifactRegistry"),
        _ if host == "icr.io" || host.ends_with(".icr.io") => at("IBM"),
        _ if host.contains(".azurecr.") => at("ACR"),
        _ if host.contains(".dkr.ecr") || host.contains(".dkr-ecr") => at("ECR"),
        _ => {
            let region = host.strip_prefix("rg.")?.strip_suffix(".scw.cloud")?;
            let mut scaleway = json!({ "region": region });
            if let Some(path) = path {
                set(&mut scaleway, &["namespace"], path);
            }
            json!({"provider": "Scaleway", "scaleway": scaleway})
        }
    };
    Some(login)
}
