//! Holds the keys of all specs that the schema accepts against kubelet's rules, and against those of other clients.

use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::{kubelet, registry, sample_image};
use crate::api::{RegistryLogin, RegistryStatus};

/// Docker Hub, as Docker and go-containerregistry look it up.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A part of a path, as image names have it.
fn part() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9]{1,8}", "[a-z0-9]{1,4}(\\.|_|__|-|--)[a-z0-9]{1,4}"]
}

/// `/a/b`, or nothing; never `/v1/..` or `/v2/..`.
fn path() -> impl Strategy<Value = String> {
    let parts = prop::collection::vec(part(), 0..4);
    let parts = parts.prop_filter("the API", |parts| parts.len() < 2 || !["v1", "v2"].contains(&&*parts[0]));
    parts.prop_map(|parts| parts.into_iter().map(|part| format!("/{part}")).collect())
}

fn port() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), (1..=65_535_u16).prop_map(|port| format!(":{port}"))]
}

/// A name with a dot, an address, or whatever has a port.
fn host() -> impl Strategy<Value = String> {
    let label = "[A-Za-z0-9]([A-Za-z0-9-]{0,6}[A-Za-z0-9])?";
    let address = "\\[[0-9A-Fa-f]{1,4}:[0-9a-f]{1,4}::[0-9a-f]{1,4}\\]";
    prop_oneof![
        (prop::collection::vec(label, 2..4).prop_map(|labels| labels.join(".")), port())
            .prop_map(|(host, port)| host + &port),
        (prop_oneof![label, address], 1..=65_535_u16).prop_map(|(host, port)| format!("{host}:{port}")),
        ("(localhost|10\\.0\\.0\\.1)", port()).prop_map(|(host, port)| host + &port),
        select(vec![
            "docker.io",
            "index.docker.io",
            "registry-1.docker.io",
            "Docker.io",
            "docker.io:443",
            "quay.io"
        ])
        .prop_map(str::to_owned),
    ]
}

/// What a spec says besides its provider.
fn spec() -> impl Strategy<Value = Value> {
    let own = |provider: &'static str, hosts: BoxedStrategy<String>| {
        (hosts, path()).prop_map(move |(host, path)| json!({"provider": provider, "server": host + &path}))
    };
    let any = |provider| own(provider, host().boxed());
    let of = |provider, pattern: &'static str| own(provider, pattern.boxed());
    let name = "[a-z0-9]{2,8}([._-][a-z0-9]{1,8})?";
    let optional = |block: &'static str, field: &'static str, fixed: Value, name: BoxedStrategy<String>| {
        proptest::option::of(name).prop_map(move |name| {
            let mut value = fixed.clone();
            value[field] = json!(name);
            json!({block: value})
        })
    };
    let with = |provider: &'static str, block: BoxedStrategy<Value>| {
        block.prop_map(move |mut block| {
            block["provider"] = json!(provider);
            block
        })
    };
    prop_oneof![
        select(vec!["DockerHub", "GitHub", "GitLab", "DigitalOcean", "ECRPublic", "IBM", "NVIDIA"])
            .prop_map(|provider| json!({"provider": provider})),
        of("DockerHub", "((registry-1|index)\\.)?docker\\.io").prop_map(|mut spec| {
            let server = spec["server"].as_str().unwrap_or_default().to_owned();
            spec["server"] = json!(server.split('/').next());
            spec
        }),
        prop_oneof![any("GitHub"), any("GitLab"), any("Harbor"), any("Custom"), any("Custom")],
        (proptest::option::of(host()), name).prop_map(
            |(server, name)| json!({"provider": "Quay", "server": server, "quay": {"namespace": name}})
        ),
        (host(), path(), name).prop_map(|(host, path, name)| {
            json!({"provider": "Quay", "server": host + &path, "username": format!("{name}+ci")})
        }),
        select(vec!["fr-par", "nl-ams", "pl-waw"]).prop_flat_map(move |region| {
            with(
                "Scaleway",
                optional("scaleway", "namespace", json!({"region": region}), name.boxed()).boxed(),
            )
        }),
        with(
            "DigitalOcean",
            optional("digitalOcean", "registry", json!({}), "[a-z0-9]{1,4}(-+[a-z0-9]{1,4})?".boxed())
                .boxed()
        ),
        of("GoogleArtifactRegistry", "((eu|us|asia)\\.)?gcr\\.io"),
        of("GoogleArtifactRegistry", "(europe|[a-z]{2}-[a-z]{4}[0-9])-docker\\.pkg\\.dev"),
        "(us|europe|[a-z]{2,8}-[a-z]{4}[0-9])".prop_map(|location| {
            json!({"provider": "GoogleArtifactRegistry", "googleArtifactRegistry": {"location": location}})
        }),
        of(
            "ECR",
            "[0-9]{12}\\.dkr(\\.|-)ecr(-fips)?\\.[a-z]{2}-[a-z]{4}-[0-9]\\.(amazonaws\\.(com|com\\.cn|eu)|on\\.aws|c2s\\.ic\\.gov)"
        ),
        of("ECR", "public\\.ecr\\.aws"),
        ("[0-9]{12}", "(us|cn|eusc|us-iso|us-isob|us-isof|eu-isoe)-[a-z]{4}-[0-9]").prop_map(
            |(account, region)| {
                json!({"provider": "ECR", "ecr": {"accountId": account, "region": region}})
            }
        ),
        of("ECRPublic", "(public\\.ecr\\.aws|ecr-public\\.aws\\.com)"),
        of("ACR", "[A-Za-z0-9]{5,9}(-[a-z0-9]{4})?(\\.[a-z]{4}\\.geo)?\\.azurecr\\.(io|cn|us|de)"),
        "[A-Za-z0-9]{5,9}(-[A-Za-z0-9]{4})?"
            .prop_map(|name| json!({"provider": "ACR", "acr": {"registry": name}})),
        of("OCIR", "([a-z]{3}\\.ocir\\.io|ocir\\.[a-z]{2}-[a-z]{4}-[0-9]\\.oci\\.oraclecloud\\.com)"),
        of("IBM", "(private\\.)?([a-z]{2}[0-9]?\\.)?icr\\.io"),
        of("NVIDIA", "nvcr\\.io"),
    ]
}

/// A valid spec, with `keyScope: Path` where it has a path.
fn valid() -> impl Strategy<Value = RegistryLogin> {
    (spec(), any::<bool>()).prop_map(|(mut spec, scoped)| {
        let server = spec["server"].as_str().is_some_and(|server| server.contains('/'));
        let named = spec["scaleway"]["namespace"].is_string() || spec["digitalOcean"]["registry"].is_string();
        if scoped && (server || named || spec["quay"].is_object()) {
            spec["keyScope"] = json!("Path");
        }
        spec["secretRef"] = json!({"name": "src"});
        serde_json::from_value(spec).unwrap()
    })
}

fn host_of(text: &str) -> &str {
    text.split('/').next().unwrap_or_default()
}

/// What Docker makes of a key that is not what it looks for: `ConvertToHostname` of docker/cli.
fn docker_host(key: &str) -> &str {
    host_of(key.split_once("://").map_or(key, |(_, rest)| rest))
}

/// The entry that Docker and go-containerregistry find for a host: by its very name, else the first one of that host.
fn other_clients_find(key: &str, image: &str) -> bool {
    match host_of(image) {
        "docker.io" => key == DOCKER_HUB,
        host => docker_host(key) == host,
    }
}

fn scoped(registry: &RegistryStatus) -> bool {
    registry.key == registry.endpoint && registry.endpoint.contains('/')
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn every_key_serves_its_own_images_and_no_others(spec in valid(), below in part(), other in host()) {
        let found = registry(&spec);
        let (key, endpoint) = (found.key.as_str(), found.endpoint.as_str());
        let host = host_of(endpoint);
        let sample = sample_image(&found);
        prop_assert!(!host.is_empty() && !key.contains('*') && found.key.len().max(endpoint.len()) <= 1_024);
        prop_assert_eq!(host, host.to_ascii_lowercase());
        for image in [&sample, &format!("{sample}/{below}"), &format!("{endpoint}/{below}/image")] {
            prop_assert!(kubelet::matches(key, image), "kubelet would not use {} for {}", key, image);
            // Docker knows one login for its hub, whatever the path.
            if key == DOCKER_HUB || host != "docker.io" {
                prop_assert!(other_clients_find(key, image), "Docker would not find {} for {}", key, image);
            }
        }

        // Other hosts, also those that have this one as a part, and other ports.
        let other = other.to_ascii_lowercase();
        let plain = host.rsplit_once(':').map_or(host, |(name, _)| name);
        for stranger in [&*other, &format!("x.{host}"), &format!("x{host}"), &format!("{plain}:1"), &format!("{plain}.example.com"), "docker.io", "localhost"] {
            // The hub's login is offered to a registry on the node itself, too: kubelet takes `localhost` for no host.
            if stranger == host || (key == DOCKER_HUB && stranger == "localhost") || stranger.ends_with("docker.io") && host == "docker.io" {
                continue;
            }
            let image = format!("{stranger}/{below}/image");
            prop_assert!(!kubelet::matches(key, &image), "{} serves {}", key, image);
        }

        // Other paths of the host, but for those that begin alike: kubelet compares letters, not parts.
        let path = endpoint.get(host.len()..).unwrap_or_default();
        let elsewhere = format!("{host}/{below}/image");
        if scoped(&found) {
            prop_assert_eq!(kubelet::matches(key, &elsewhere), elsewhere[host.len()..].starts_with(path));
            let (alike, shorter) = (format!("{endpoint}-b/image"), format!("{host}/image"));
            prop_assert!(kubelet::matches(key, &alike));
            prop_assert!(!kubelet::matches(key, &shorter) || path == "/image" || "/image".starts_with(path));
        } else {
            prop_assert!(kubelet::matches(key, &elsewhere));
        }
    }
}
