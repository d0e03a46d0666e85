//! From the spec of a RegistryCredential to the registry it means.

use crate::{
    api::{KeyScope, Provider, RegistryLogin, RegistryStatus, ScalewayRegion},
    domain::verification::Server,
};

/// Docker Hub's key in `auths`, for every client since docker 1.0; without the slash at its end
/// kubelet would never match it.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// User name of a token of Azure's own exchange, per Azure/acr AAD-OAuth.md.
pub const ACR_TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

/// User name of a token of a GitHub App.
pub const GITHUB_TOKEN_USER: &str = "x-access-token";

/// Where the API of Docker Hub is.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// The host of Docker Hub in the names of images, once kubelet has made them whole.
const DOCKER_HUB: &str = "docker.io";

/// Other hosts by which people mean Docker Hub.
const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// Domains of AWS's partitions but the first, by how their regions begin: `partitions.json` of the
/// AWS SDKs; that ECR's hosts follow them: `ecr-credential-provider` of kubernetes/cloud-provider-aws.
const AWS_DOMAINS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
];

/// Works out the registry. The schema has made sure that what a provider needs is there; where
/// it is not, the host is empty.
pub fn registry(spec: &RegistryLogin) -> RegistryStatus {
    let own = || (default_server(spec.provider()).to_owned(), None);
    let (mut host, mut path) = spec.server.as_deref().map_or_else(own, split);
    match spec.provider() {
        Provider::Quay => {
            let namespace = spec.quay.as_ref().map(|quay| quay.namespace.clone());
            path = namespace.or(path).or_else(|| robot_owner(spec.username.as_deref()?));
        }
        Provider::Scaleway => {
            if let Some(scaleway) = &spec.scaleway {
                host = format!("rg.{}.scw.cloud", region(scaleway.region));
                path = scaleway.namespace.clone();
            }
        }
        Provider::DigitalOcean => path = spec.digital_ocean.as_ref().and_then(|block| block.registry.clone()),
        Provider::GoogleArtifactRegistry => {
            let block = spec.google_artifact_registry.as_ref();
            if let Some(location) = block.and_then(|block| block.location.as_ref()) {
                host = format!("{location}-docker.pkg.dev");
            }
        }
        Provider::ECR => {
            if let Some(block) = spec.ecr.as_ref().filter(|_| spec.server.is_none()) {
                let domain = aws_domain(&block.region);
                host = format!("{}.dkr.ecr.{}.{domain}", block.account_id, block.region);
            }
        }
        Provider::ACR => {
            if let Some(block) = &spec.acr {
                host = format!("{}.azurecr.io", block.registry.to_ascii_lowercase());
            }
        }
        _ => {}
    }
    if DOCKER_HUB_ALIASES.contains(&host.as_str()) {
        DOCKER_HUB.clone_into(&mut host);
    }
    let endpoint = path.as_ref().map_or_else(|| host.clone(), |path| format!("{host}/{path}"));
    let key = if path.is_some() && spec.key_scope == KeyScope::Path {
        endpoint.clone()
    } else if host == DOCKER_HUB {
        DOCKER_HUB_KEY.to_owned()
    } else {
        host
    };
    RegistryStatus { endpoint, key, namespace_id: None, token: None }
}

/// The domain of the partition of AWS that a region is in.
pub fn aws_domain(region: &str) -> &'static str {
    let found = AWS_DOMAINS.iter().find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("amazonaws.com", |(_, domain)| domain)
}

/// A region as Scaleway writes it.
pub fn region(region: ScalewayRegion) -> &'static str {
    match region {
        ScalewayRegion::FrPar => "fr-par",
        ScalewayRegion::NlAms => "nl-ams",
        ScalewayRegion::PlWaw => "pl-waw",
    }
}

/// Whether it is Docker Hub, whoever the spec says runs it.
pub fn is_docker_hub(registry: &RegistryStatus) -> bool {
    registry.endpoint.split('/').next() == Some(DOCKER_HUB)
}

/// Where the API of a registry is. That of Docker Hub has a host of its own, which no image is named by.
pub fn api_server(registry: &RegistryStatus) -> Server {
    let host = registry.endpoint.split('/').next().unwrap_or_default();
    let host = if host == DOCKER_HUB { DOCKER_HUB_API } else { host };
    Server::parse(host).unwrap_or_else(|| Server { host: host.to_owned(), port: None })
}

/// Where a provider's registry is, when nothing in the spec says so; empty where something must.
const fn default_server(provider: Provider) -> &'static str {
    match provider {
        Provider::DockerHub => DOCKER_HUB,
        Provider::GitHub => "ghcr.io",
        Provider::GitLab => "registry.gitlab.com",
        Provider::Quay => "quay.io",
        Provider::DigitalOcean => "registry.digitalocean.com",
        Provider::ECRPublic => "public.ecr.aws",
        Provider::IBM => "icr.io",
        Provider::NVIDIA => "nvcr.io",
        Provider::Scaleway
        | Provider::GoogleArtifactRegistry
        | Provider::ECR
        | Provider::ACR
        | Provider::Harbor
        | Provider::OCIR
        | Provider::Custom => "",
    }
}

/// The namespace that a robot of Quay belongs to, `acme` of `acme+ci`.
fn robot_owner(username: &str) -> Option<String> {
    let (owner, _) = username.split_once('+')?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    (!owner.is_empty() && owner.chars().all(plain)).then(|| owner.to_owned())
}

/// An image that a login for this registry must serve, in kubelet's normalised form.
pub fn sample_image(registry: &RegistryStatus) -> String {
    let library = if registry.endpoint == DOCKER_HUB { "library/" } else { "" };
    format!("{}/{library}image", registry.endpoint)
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
        Provider::ECR | Provider::ECRPublic => Some("AWS"),
        // Only for a token of the exchange, which is a JWT; all others at ACR have a name of their own.
        Provider::ACR => password.starts_with("eyJ").then_some(ACR_TOKEN_USER),
        // DigitalOcean wants the token in both places.
        Provider::DigitalOcean => Some(password),
        // GHCR looks at the token only, but clients need some name.
        Provider::GitHub => Some(GITHUB_TOKEN_USER),
        Provider::GoogleArtifactRegistry if password.trim_start().starts_with('{') => Some("_json_key"),
        Provider::GoogleArtifactRegistry => Some("oauth2accesstoken"),
        // For an API key: cloud.ibm.com/docs/Registry?topic=Registry-registry_access.
        Provider::IBM => Some("iamapikey"),
        // As it stands, with the dollar sign: docs.nvidia.com/nim-operator, "Image Pull Secrets".
        Provider::NVIDIA => Some("$oauthtoken"),
        Provider::DockerHub
        | Provider::GitLab
        | Provider::Quay
        | Provider::Harbor
        | Provider::OCIR
        | Provider::Custom => None,
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
            (
                json!({"provider": "DockerHub", "server": "Registry-1.docker.io"}),
                "https://index.docker.io/v1/",
                "docker.io",
            ),
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
            (json!({"provider": "Quay", "username": "acme+ci"}), "quay.io", "quay.io/acme"),
            (json!({"provider": "Quay", "username": "A b+ci"}), "quay.io", "quay.io"),
            (
                json!({"provider": "Quay", "server": "quay.example.com/acme", "keyScope": "Path", "username": "$oauthtoken"}),
                "quay.example.com/acme",
                "quay.example.com/acme",
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
            (
                json!({
                    "provider": "ECR", "server": "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
                    "ecr": {"accountId": "123456789012", "region": "us-east-1", "auth": {"operatorIdentity": {}}},
                }),
                "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
                "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
            ),
            (
                json!({
                    "provider": "GoogleArtifactRegistry", "server": "eu.gcr.io",
                    "googleArtifactRegistry": {"auth": {"operatorIdentity": {}}},
                }),
                "eu.gcr.io",
                "eu.gcr.io",
            ),
            (json!({"provider": "ECRPublic"}), "public.ecr.aws", "public.ecr.aws"),
            (
                json!({"provider": "ECRPublic", "server": "ecr-public.aws.com/acme", "keyScope": "Path"}),
                "ecr-public.aws.com/acme",
                "ecr-public.aws.com/acme",
            ),
            (json!({"provider": "ECR", "server": "public.ecr.aws"}), "public.ecr.aws", "public.ecr.aws"),
            (json!({"provider": "ACR", "acr": {"registry": "Acme"}}), "acme.azurecr.io", "acme.azurecr.io"),
            (
                json!({"provider": "OCIR", "server": "fra.ocir.io/acmens"}),
                "fra.ocir.io",
                "fra.ocir.io/acmens",
            ),
            (
                json!({"provider": "OCIR", "server": "ocir.eu-frankfurt-1.oci.oraclecloud.com/acmens", "keyScope": "Path"}),
                "ocir.eu-frankfurt-1.oci.oraclecloud.com/acmens",
                "ocir.eu-frankfurt-1.oci.oraclecloud.com/acmens",
            ),
            (json!({"provider": "IBM"}), "icr.io", "icr.io"),
            (json!({"provider": "IBM", "server": "de.icr.io/acme"}), "de.icr.io", "de.icr.io/acme"),
            (json!({"provider": "NVIDIA"}), "nvcr.io", "nvcr.io"),
            (json!({"provider": "NVIDIA", "server": "nvcr.io/nim"}), "nvcr.io", "nvcr.io/nim"),
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
            // Kubelet calls these docker.io before it looks for a key.
            (
                json!({"provider": "Custom", "server": "index.docker.io/me", "keyScope": "Path"}),
                "docker.io/me",
                "docker.io/me",
            ),
            (
                json!({"provider": "Custom", "server": "registry-1.docker.io/me"}),
                "https://index.docker.io/v1/",
                "docker.io/me",
            ),
            (json!({"provider": "Custom", "server": "[FD00::1]:5000"}), "[fd00::1]:5000", "[fd00::1]:5000"),
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
    fn the_documentation_tells_the_keys() {
        let text = include_str!("../../../docs/providers.md");
        let mut providers = Vec::new();
        for section in text.split("```yaml\n").skip(1) {
            let (manifest, after) = section.split_once("```").unwrap();
            let object: Value = serde_saphyr::from_str(manifest).unwrap();
            let (_, key) = after.split_once("- **Key**: `").unwrap();
            assert_eq!(of(object["spec"].clone()).key, key.split('`').next().unwrap(), "{manifest}");
            providers.push(object["spec"]["provider"].clone());
        }
        let schema = serde_json::to_value(schemars::schema_for!(Provider)).unwrap().to_string();
        for provider in &providers {
            assert!(schema.contains(&provider.to_string()));
        }
        assert_eq!(providers.len(), schema.matches("\"const\"").count(), "{schema}");
    }

    #[test]
    fn ecr_has_the_domain_of_its_partition() {
        for (region, host) in [
            ("eu-central-1", "123456789012.dkr.ecr.eu-central-1.amazonaws.com"),
            ("us-gov-west-1", "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu"),
            ("us-iso-east-1", "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov"),
            ("us-isof-south-1", "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov"),
            ("eu-isoe-west-1", "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"),
        ] {
            let found =
                of(json!({"provider": "ECR", "ecr": {"accountId": "123456789012", "region": region}}));
            assert_eq!((found.key.as_str(), found.endpoint.as_str()), (host, host));
        }
    }

    #[test]
    fn default_users() {
        for (provider, password, want) in [
            (Provider::ECR, "t", Some("AWS")),
            (Provider::ECRPublic, "t", Some("AWS")),
            (Provider::Scaleway, "t", Some("nologin")),
            (Provider::DigitalOcean, "dop_v1", Some("dop_v1")),
            (Provider::GitHub, "t", Some("x-access-token")),
            (Provider::GoogleArtifactRegistry, " {\"type\":1}", Some("_json_key")),
            (Provider::GoogleArtifactRegistry, "ya29.x", Some("oauth2accesstoken")),
            (Provider::IBM, "t", Some("iamapikey")),
            (Provider::NVIDIA, "nvapi-t", Some("$oauthtoken")),
            (Provider::ACR, "eyJhbGciOi.e30.x", Some(ACR_TOKEN_USER)),
            // A service principal, an admin or a token of a scope map has a name that nobody can guess.
            (Provider::ACR, "t", None),
            (Provider::Quay, "t", None),
            (Provider::OCIR, "t", None),
            (Provider::DockerHub, "t", None),
        ] {
            assert_eq!(default_username(provider, password), want, "{provider:?}");
        }
    }
}
