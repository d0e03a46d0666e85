//! From the spec of a RegistryCredential to the registry it means.

use crate::{
    api::{KeyScope, Provider, RegistryCredentialSpec, RegistryStatus, ScalewayRegion},
    domain::verification::Server,
};

/// Docker Hub's key in `auths`, for every client since docker 1.0; without the slash at its end
/// kubelet would never match it.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// User name of a token of Azure's own exchange, per Azure/acr AAD-OAuth.md.
const ACR_TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

/// Where the API of Docker Hub is.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// Hosts by which people mean Docker Hub.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Works out the registry. The schema has made sure that what a provider needs is there; where
/// it is not, the host is empty.
pub fn registry(spec: &RegistryCredentialSpec) -> RegistryStatus {
    let server = spec.server.as_deref().map(split);
    let (host, path) = match spec.provider {
        Provider::DockerHub => ("docker.io".to_owned(), None),
        Provider::GitHub => server.unwrap_or_else(|| ("ghcr.io".to_owned(), None)),
        Provider::GitLab => server.unwrap_or_else(|| ("registry.gitlab.com".to_owned(), None)),
        Provider::Quay => {
            let (host, path) = server.unwrap_or_else(|| ("quay.io".to_owned(), None));
            (host, spec.quay.as_ref().map(|quay| quay.namespace.clone()).or(path))
        }
        Provider::Scaleway => spec.scaleway.as_ref().map_or_else(Default::default, |scaleway| {
            (format!("rg.{}.scw.cloud", region(scaleway.region)), scaleway.namespace.clone())
        }),
        Provider::DigitalOcean => (
            "registry.digitalocean.com".to_owned(),
            spec.digital_ocean.as_ref().and_then(|block| block.registry.clone()),
        ),
        Provider::GoogleArtifactRegistry => match &spec.google_artifact_registry {
            Some(block) => (format!("{}-docker.pkg.dev", block.location), None),
            None => server.unwrap_or_default(),
        },
        Provider::ECR => match &spec.ecr {
            Some(block) => {
                // The partition of China has a suffix of its own.
                let suffix = if block.region.starts_with("cn-") { ".cn" } else { "" };
                (format!("{}.dkr.ecr.{}.amazonaws.com{suffix}", block.account_id, block.region), None)
            }
            None => server.unwrap_or_default(),
        },
        Provider::ACR => match &spec.acr {
            Some(block) => (format!("{}.azurecr.io", block.registry.to_ascii_lowercase()), None),
            None => server.unwrap_or_default(),
        },
        Provider::Harbor | Provider::Custom => server.unwrap_or_default(),
    };
    let endpoint = match &path {
        Some(path) => format!("{host}/{path}"),
        None => host.clone(),
    };
    let key = if path.is_some() && spec.key_scope == KeyScope::Path {
        endpoint.clone()
    } else if DOCKER_HUB_HOSTS.contains(&host.as_str()) {
        DOCKER_HUB_KEY.to_owned()
    } else {
        host
    };
    RegistryStatus { endpoint, key, namespace_id: None }
}

/// A region as Scaleway writes it.
pub fn region(region: ScalewayRegion) -> &'static str {
    match region {
        ScalewayRegion::FrPar => "fr-par",
        ScalewayRegion::NlAms => "nl-ams",
        ScalewayRegion::PlWaw => "pl-waw",
    }
}

/// Where the API of a registry is. That of Docker Hub has a host of its own, which no image is named by.
pub fn api_server(registry: &RegistryStatus) -> Server {
    let host = registry.endpoint.split('/').next().unwrap_or_default();
    let host = if DOCKER_HUB_HOSTS.contains(&host) { DOCKER_HUB_API } else { host };
    Server::parse(host).unwrap_or_else(|| Server { host: host.to_owned(), port: None })
}

/// An image that a login for this registry must serve, in kubelet's normalised form.
pub fn sample_image(registry: &RegistryStatus) -> String {
    if registry.key == DOCKER_HUB_KEY {
        "docker.io/library/image".to_owned()
    } else {
        format!("{}/image", registry.endpoint)
    }
}

/// Host, in lower case and with its port, and path.
fn split(server: &str) -> (String, Option<String>) {
    match server.split_once('/') {
        Some((host, path)) => (host.to_ascii_lowercase(), Some(path.to_owned())),
        None => (server.to_ascii_lowercase(), None),
    }
}

/// Who logs in when nobody was named; `None` where a provider has no such user.
pub fn default_username(provider: Provider, password: &str) -> Option<&str> {
    match provider {
        Provider::Scaleway => Some("nologin"),
        Provider::ECR => Some("AWS"),
        Provider::ACR => Some(ACR_TOKEN_USER),
        // DigitalOcean wants the token in both places.
        Provider::DigitalOcean => Some(password),
        // GHCR looks at the token only, but clients need some name.
        Provider::GitHub => Some("x-access-token"),
        Provider::GoogleArtifactRegistry if password.trim_start().starts_with('{') => Some("_json_key"),
        Provider::GoogleArtifactRegistry => Some("oauth2accesstoken"),
        Provider::DockerHub | Provider::GitLab | Provider::Quay | Provider::Harbor | Provider::Custom => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::registry::kubelet;

    fn of(spec: Value) -> RegistryStatus {
        let mut full = json!({"secretRef": {"name": "s"}});
        if let (Value::Object(full), Value::Object(spec)) = (&mut full, spec) {
            full.extend(spec);
        }
        registry(&serde_json::from_value(full).unwrap())
    }

    #[test]
    fn every_provider_has_the_key_that_clients_look_for() {
        for (spec, key, endpoint) in [
            (json!({"provider": "DockerHub"}), "https://index.docker.io/v1/", "docker.io"),
            (json!({"provider": "GitHub"}), "ghcr.io", "ghcr.io"),
            (
                json!({"provider": "GitHub", "server": "containers.ghe.example.com"}),
                "containers.ghe.example.com",
                "containers.ghe.example.com",
            ),
            (json!({"provider": "GitLab"}), "registry.gitlab.com", "registry.gitlab.com"),
            (
                json!({"provider": "GitLab", "server": "GitLab.example.com:5050"}),
                "gitlab.example.com:5050",
                "gitlab.example.com:5050",
            ),
            (json!({"provider": "Quay", "quay": {"namespace": "acme"}}), "quay.io", "quay.io/acme"),
            (
                json!({"provider": "Quay", "quay": {"namespace": "acme"}, "keyScope": "Path"}),
                "quay.io/acme",
                "quay.io/acme",
            ),
            (
                json!({"provider": "Quay", "server": "quay.example.com"}),
                "quay.example.com",
                "quay.example.com",
            ),
            (
                json!({"provider": "Scaleway", "scaleway": {"region": "fr-par", "namespace": "web"}}),
                "rg.fr-par.scw.cloud",
                "rg.fr-par.scw.cloud/web",
            ),
            (
                json!({"provider": "Scaleway", "scaleway": {"region": "nl-ams", "namespace": "web"}, "keyScope": "Path"}),
                "rg.nl-ams.scw.cloud/web",
                "rg.nl-ams.scw.cloud/web",
            ),
            (
                json!({"provider": "DigitalOcean", "digitalOcean": {"registry": "acme"}}),
                "registry.digitalocean.com",
                "registry.digitalocean.com/acme",
            ),
            (
                json!({"provider": "GoogleArtifactRegistry", "googleArtifactRegistry": {"location": "europe-west3"}}),
                "europe-west3-docker.pkg.dev",
                "europe-west3-docker.pkg.dev",
            ),
            (
                json!({"provider": "GoogleArtifactRegistry", "server": "eu.gcr.io/acme", "keyScope": "Path"}),
                "eu.gcr.io/acme",
                "eu.gcr.io/acme",
            ),
            (
                json!({"provider": "ECR", "ecr": {"accountId": "123456789012", "region": "eu-central-1"}}),
                "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
                "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
            ),
            (
                json!({"provider": "ECR", "ecr": {"accountId": "123456789012", "region": "cn-north-1"}}),
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            ),
            (json!({"provider": "ACR", "acr": {"registry": "Acme"}}), "acme.azurecr.io", "acme.azurecr.io"),
            (
                json!({"provider": "Harbor", "server": "harbor.example.com/team"}),
                "harbor.example.com",
                "harbor.example.com/team",
            ),
            (
                json!({"provider": "Harbor", "server": "harbor.example.com/team", "keyScope": "Path"}),
                "harbor.example.com/team",
                "harbor.example.com/team",
            ),
            (
                json!({"provider": "Custom", "server": "docker.io"}),
                "https://index.docker.io/v1/",
                "docker.io",
            ),
            (
                json!({"provider": "Custom", "server": "docker.io/me", "keyScope": "Path"}),
                "docker.io/me",
                "docker.io/me",
            ),
            (json!({"provider": "Custom", "server": "[::1]:5000"}), "[::1]:5000", "[::1]:5000"),
        ] {
            let found = of(spec.clone());
            assert_eq!((found.key.as_str(), found.endpoint.as_str()), (key, endpoint), "{spec}");
            let image = sample_image(&found);
            assert!(
                kubelet::matches(&found.key, &image),
                "kubelet would never use {} for {image}",
                found.key
            );
        }
    }

    #[test]
    fn default_users() {
        assert_eq!(default_username(Provider::ECR, "t"), Some("AWS"));
        assert_eq!(default_username(Provider::Scaleway, "t"), Some("nologin"));
        assert_eq!(default_username(Provider::DigitalOcean, "dop_v1"), Some("dop_v1"));
        assert_eq!(default_username(Provider::GoogleArtifactRegistry, " {\"type\":1}"), Some("_json_key"));
        assert_eq!(default_username(Provider::GoogleArtifactRegistry, "ya29.x"), Some("oauth2accesstoken"));
        assert_eq!(default_username(Provider::Quay, "t"), None);
    }
}
