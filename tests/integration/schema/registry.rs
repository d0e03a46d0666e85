//! Registries: which server, block and key scope goes with which provider.

use serde_json::{Value, json};

use super::{ACCEPTED, Case, custom, registry_credential};
use crate::support::Result;

#[tokio::test]
async fn a_server_is_a_host_with_port_and_path_and_no_more() -> Result<()> {
    const FORM: &[&str] = &["spec.server", "must be host[:port][/path]; the path in lower case"];
    const PORT: &[&str] = &["spec.server", "must have a port from 1 to 65535"];
    const NEVER: &[&str] =
        &["spec.server", "must have a dot or a port, and an IPv6 address must have a port"];
    const API: &[&str] = &["spec.server", "may not have a path below /v1/ or /v2/"];
    let host = |length: usize| format!("{}.h", "h".repeat(length - 2));
    let server = |server: &str| json!({"server": server});
    let cases: Vec<Case<'_>> = vec![
        ("host", server("registry.example.com"), ACCEPTED),
        ("host and port", server("registry.example.com:5000"), ACCEPTED),
        ("host and path", server("registry.example.com/team/billing_api/x--y/z__0"), ACCEPTED),
        ("all three", server("registry.example.com:5000/team"), ACCEPTED),
        ("one word", server("localhost:5000"), ACCEPTED),
        ("upper-case host", server("Registry.Example.com"), ACCEPTED),
        ("IPv4", server("10.0.0.1:5000"), ACCEPTED),
        ("IPv6", server("[fd00::1]:5000/team"), ACCEPTED),
        (
            "scheme",
            server("https://registry.example.com"),
            &["spec.server", "without a scheme such as https://"],
        ),
        ("slash at the end", server("registry.example.com/"), FORM),
        ("empty part of the path", server("registry.example.com//x"), FORM),
        ("upper-case path", server("registry.example.com/Team"), FORM),
        ("dots in the path", server("registry.example.com/../x"), FORM),
        ("space", server("registry example.com"), FORM),
        ("line end", server("registry.example.com\n"), FORM),
        ("user", server("me@registry.example.com"), FORM),
        ("query", server("registry.example.com?x=y"), FORM),
        ("hyphen first", server("-registry.example.com"), FORM),
        ("two dots", server("registry..example.com"), FORM),
        ("wildcard", server("*.example.com"), FORM),
        ("port by name", server("registry.example.com:https"), FORM),
        ("port with six digits", server("registry.example.com:123456"), FORM),
        ("IPv6 without brackets", server("fd00::1"), FORM),
        ("IPv6 that is none", server("[abc]:5000"), FORM),
        // Kubelet would match no image with these.
        ("IPv6 without a port", server("[fd00::1]"), NEVER),
        ("IPv6 without a port, with a path", server("[fd00::1]/team"), NEVER),
        ("one word", server("registry"), NEVER),
        ("one word with a path", server("Registry/team"), NEVER),
        ("the node itself", server("localhost"), ACCEPTED),
        ("one word with a port and a path", server("registry:5000/team"), ACCEPTED),
        ("the API for a path", server("registry.example.com/v2/team"), API),
        ("the old API for a path", server("registry.example.com:5000/v1/team"), API),
        ("a path that is called like the API", server("registry.example.com/v2"), ACCEPTED),
        ("port 65535", server("registry.example.com:65535/x"), ACCEPTED),
        ("port 65536", server("registry.example.com:65536/x"), PORT),
        ("port 99999", server("registry.example.com:99999"), PORT),
        ("port 0", server("registry.example.com:0"), PORT),
        ("host of 253", server(&host(253)), ACCEPTED),
        ("host of 253 with a port", server(&format!("{}:65535", host(253))), ACCEPTED),
        ("host of 254", server(&host(254)), &["may have a host of at most 253 characters"]),
        ("path of 255", server(&format!("r.example.com/{}", "p".repeat(255))), ACCEPTED),
        (
            "path of 256",
            server(&format!("r.example.com/{}", "p".repeat(256))),
            &["may have a path of at most 255 characters"],
        ),
        ("everything at its longest", server(&format!("{}:65535/{}", host(253), "p".repeat(255))), ACCEPTED),
        ("longer than all", server(&host(516)), &["spec.server", "may not be more than 515"]),
        ("empty", server(""), &["spec.server", "should be at least 1 chars long"]),
        ("left out", json!({"server": null}), &["spec.server", "`server` is required for this provider"]),
    ];
    custom().check(&cases).await
}

#[tokio::test]
async fn each_provider_has_its_own_servers() -> Result<()> {
    const SCALEWAY: &[&str] = &["provider Scaleway needs `scaleway`, whose region gives the server"];
    const ECR: &[&str] = &["provider ECR needs either `ecr` or `server`"];
    const ECR_HOST: &[&str] = &["spec.server", "must be an ECR host, such as 123456789012.dkr.ecr"];
    const ECR_PUBLIC: &[&str] = &["spec.server", "omit it or set it to public.ecr.aws or ecr-public.aws.com"];
    const OCIR_HOST: &[&str] = &["spec.server", "must be an Oracle registry, such as fra.ocir.io"];
    const IBM_HOST: &[&str] = &["spec.server", "omit it or set it to icr.io or the registry of a region"];
    const NVIDIA_HOST: &[&str] = &["spec.server", "omit it or set it to nvcr.io"];
    const ACR: &[&str] = &["provider ACR needs either `acr` or `server`"];
    const ACR_HOST: &[&str] = &["spec.server", "must be an Azure registry, such as example.azurecr.io"];
    const GOOGLE: &[&str] = &["needs either `googleArtifactRegistry.location` or `server`"];
    const GOOGLE_HOST: &[&str] = &["spec.server", "must be a Google registry, such as europe-docker.pkg.dev"];
    const HUB: &[&str] =
        &["spec.server", "omit `server` or set it to docker.io; use provider Custom for a mirror"];
    const MISSING: &[&str] = &["spec.server", "`server` is required for this provider"];
    let at = |provider: &str, server: &str| json!({"provider": provider, "server": server});
    let with = |provider: &str, key: &str, block: Value| json!({"provider": provider, key: block});
    let ecr = json!({"accountId": "123456789012", "region": "eu-central-1"});
    let cases: Vec<Case<'_>> = vec![
        ("Docker Hub", json!({"provider": "DockerHub"}), ACCEPTED),
        ("Docker Hub by name", at("DockerHub", "docker.io"), ACCEPTED),
        ("Docker Hub's index", at("DockerHub", "index.docker.io"), ACCEPTED),
        ("a mirror of Docker Hub", at("DockerHub", "mirror.example.com"), HUB),
        ("Docker Hub with a path", at("DockerHub", "docker.io/acme"), HUB),
        ("GitHub", json!({"provider": "GitHub"}), ACCEPTED),
        ("GitHub Enterprise", at("GitHub", "containers.github.example.com"), ACCEPTED),
        ("GitLab", json!({"provider": "GitLab"}), ACCEPTED),
        ("own GitLab", at("GitLab", "gitlab.example.com:5050/group"), ACCEPTED),
        ("Docker Hub's registry", at("DockerHub", "Registry-1.docker.io"), ACCEPTED),
        (
            "own Quay",
            json!({"provider": "Quay", "server": "quay.example.com", "quay": {"namespace": "acme"}}),
            ACCEPTED,
        ),
        ("Harbor", at("Harbor", "harbor.example.com/project"), ACCEPTED),
        ("Harbor nowhere", json!({"provider": "Harbor"}), MISSING),
        ("Custom nowhere", json!({"provider": "Custom"}), MISSING),
        ("Scaleway", with("Scaleway", "scaleway", json!({"region": "fr-par"})), ACCEPTED),
        ("Scaleway in Amsterdam", with("Scaleway", "scaleway", json!({"region": "nl-ams"})), ACCEPTED),
        (
            "Scaleway in Warsaw",
            with("Scaleway", "scaleway", json!({"region": "pl-waw", "namespace": "acme"})),
            ACCEPTED,
        ),
        (
            "Scaleway in Mars",
            with("Scaleway", "scaleway", json!({"region": "ma-rs"})),
            &["spec.scaleway.region", "Unsupported value", "\"fr-par\", \"nl-ams\", \"pl-waw\""],
        ),
        (
            "Scaleway without a region",
            with("Scaleway", "scaleway", json!({})),
            &["spec.scaleway.region: Required value"],
        ),
        ("Scaleway without its block", json!({"provider": "Scaleway"}), SCALEWAY),
        (
            "Scaleway with a server",
            json!({"provider": "Scaleway", "scaleway": {"region": "fr-par"}, "server": "rg.fr-par.scw.cloud"}),
            SCALEWAY,
        ),
        ("DigitalOcean", json!({"provider": "DigitalOcean"}), ACCEPTED),
        (
            "DigitalOcean with a registry",
            with("DigitalOcean", "digitalOcean", json!({"registry": "acme-1"})),
            ACCEPTED,
        ),
        (
            "DigitalOcean with an odd registry",
            with("DigitalOcean", "digitalOcean", json!({"registry": "Acme/1"})),
            &["spec.digitalOcean.registry", "should match"],
        ),
        (
            "DigitalOcean with a hyphen at the end",
            with("DigitalOcean", "digitalOcean", json!({"registry": "acme-"})),
            &["spec.digitalOcean.registry", "should match"],
        ),
        (
            "DigitalOcean with a server",
            at("DigitalOcean", "registry.digitalocean.com"),
            &["spec.server", "it is registry.digitalocean.com"],
        ),
        ("ECR", with("ECR", "ecr", ecr.clone()), ACCEPTED),
        (
            "ECR of GovCloud",
            with("ECR", "ecr", json!({"accountId": "123456789012", "region": "us-gov-west-1"})),
            ACCEPTED,
        ),
        ("ECR by host", at("ECR", "123456789012.dkr.ecr.eu-central-1.amazonaws.com"), ACCEPTED),
        (
            "ECR in China, with a path",
            at("ECR", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/team"),
            ACCEPTED,
        ),
        ("ECR FIPS", at("ECR", "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com"), ACCEPTED),
        ("ECR dual stack", at("ECR", "123456789012.dkr-ecr.us-east-1.on.aws"), ACCEPTED),
        ("ECR in capitals", at("ECR", "123456789012.DKR.ECR.eu-central-1.amazonaws.com"), ACCEPTED),
        ("ECR dual stack FIPS", at("ECR", "123456789012.dkr-ecr-fips.us-gov-east-1.on.aws"), ACCEPTED),
        (
            "ECR dual stack in China",
            at("ECR", "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn"),
            ACCEPTED,
        ),
        (
            "ECR of the European cloud",
            at("ECR", "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu"),
            ACCEPTED,
        ),
        ("ECR, isolated", at("ECR", "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov"), ACCEPTED),
        ("ECR, isolated, B", at("ECR", "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov"), ACCEPTED),
        ("ECR, isolated, E", at("ECR", "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"), ACCEPTED),
        ("ECR, isolated, F", at("ECR", "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov"), ACCEPTED),
        (
            "ECR of the European cloud, by block",
            with("ECR", "ecr", json!({"accountId": "123456789012", "region": "eusc-de-east-1"})),
            ACCEPTED,
        ),
        ("ECR with a port", at("ECR", "123456789012.dkr.ecr.eu-central-1.amazonaws.com:443"), ECR_HOST),
        ("ECR public", at("ECR", "public.ecr.aws"), ACCEPTED),
        ("ECR Public", json!({"provider": "ECRPublic"}), ACCEPTED),
        ("ECR Public by host", at("ECRPublic", "public.ecr.aws/a1b2c3d4"), ACCEPTED),
        ("ECR Public dual stack", at("ECRPublic", "ecr-public.aws.com"), ACCEPTED),
        (
            "ECR Public elsewhere",
            at("ECRPublic", "123456789012.dkr.ecr.eu-central-1.amazonaws.com"),
            ECR_PUBLIC,
        ),
        ("ECR Public look-alike", at("ECRPublic", "public.ecr.aws.example.com"), ECR_PUBLIC),
        ("Oracle", at("OCIR", "fra.ocir.io/acmens"), ACCEPTED),
        ("Oracle by region", at("OCIR", "ocir.eu-frankfurt-1.oci.oraclecloud.com"), ACCEPTED),
        (
            "Oracle's government cloud",
            at("OCIR", "ocir.us-gov-ashburn-1.oci.oraclegovcloud.com/acmens"),
            ACCEPTED,
        ),
        ("Oracle nowhere", json!({"provider": "OCIR"}), MISSING),
        ("Oracle elsewhere", at("OCIR", "container-registry.oracle.com"), OCIR_HOST),
        ("Oracle look-alike", at("OCIR", "fra.ocir.io.example.com"), OCIR_HOST),
        ("IBM", json!({"provider": "IBM"}), ACCEPTED),
        ("IBM, all regions", at("IBM", "icr.io/acme"), ACCEPTED),
        ("IBM in Osaka", at("IBM", "jp2.icr.io"), ACCEPTED),
        ("IBM, private network", at("IBM", "private.de.icr.io"), ACCEPTED),
        ("IBM elsewhere", at("IBM", "de.notricr.io"), IBM_HOST),
        ("NVIDIA", json!({"provider": "NVIDIA"}), ACCEPTED),
        ("NVIDIA with an organisation", at("NVIDIA", "nvcr.io/nvstaging/team"), ACCEPTED),
        ("NVIDIA elsewhere", at("NVIDIA", "nvcr.io.example.com"), NVIDIA_HOST),
        ("ECR twice", json!({"provider": "ECR", "ecr": ecr, "server": "public.ecr.aws"}), ECR),
        ("ECR nowhere", json!({"provider": "ECR"}), ECR),
        ("ECR elsewhere", at("ECR", "registry.example.com"), ECR_HOST),
        (
            "ECR look-alike",
            at("ECR", "123456789012.dkr.ecr.eu-central-1.amazonaws.com.example.com"),
            ECR_HOST,
        ),
        (
            "ECR with 11 digits",
            with("ECR", "ecr", json!({"accountId": "12345678901", "region": "eu-central-1"})),
            &["spec.ecr.accountId"],
        ),
        (
            "ECR with letters",
            with("ECR", "ecr", json!({"accountId": "12345678901x", "region": "eu-central-1"})),
            &["spec.ecr.accountId", "should match"],
        ),
        (
            "ECR with a zone",
            with("ECR", "ecr", json!({"accountId": "123456789012", "region": "eu-central-1a"})),
            &["spec.ecr.region", "should match"],
        ),
        ("ACR", with("ACR", "acr", json!({"registry": "example"})), ACCEPTED),
        ("ACR by host", at("ACR", "example.azurecr.io/team"), ACCEPTED),
        ("ACR with a data endpoint's region", at("ACR", "example.westeurope.azurecr.io"), ACCEPTED),
        ("ACR in China", at("ACR", "example.azurecr.cn"), ACCEPTED),
        ("ACR of one region", at("ACR", "example-a1b2c3.westeurope.geo.azurecr.io"), ACCEPTED),
        ("ACR in capitals", at("ACR", "Example.AzureCR.io"), ACCEPTED),
        ("ACR with a label", with("ACR", "acr", json!({"registry": "example-a1b2c3"})), ACCEPTED),
        (
            "ACR with a hyphen at the end",
            with("ACR", "acr", json!({"registry": "example-"})),
            &["spec.acr.registry", "should match"],
        ),
        (
            "ACR twice",
            json!({"provider": "ACR", "acr": {"registry": "example"}, "server": "example.azurecr.io"}),
            ACR,
        ),
        ("ACR nowhere", json!({"provider": "ACR"}), ACR),
        ("ACR elsewhere", at("ACR", "azurecr.io.example.com"), ACR_HOST),
        (
            "ACR with four letters",
            with("ACR", "acr", json!({"registry": "four"})),
            &["spec.acr.registry", "at least 5"],
        ),
        (
            "ACR with a dot",
            with("ACR", "acr", json!({"registry": "exa.mple"})),
            &["spec.acr.registry", "should match"],
        ),
        (
            "Google",
            with("GoogleArtifactRegistry", "googleArtifactRegistry", json!({"location": "europe-west3"})),
            ACCEPTED,
        ),
        (
            "Google, all of Europe",
            with("GoogleArtifactRegistry", "googleArtifactRegistry", json!({"location": "europe"})),
            ACCEPTED,
        ),
        ("Google by host", at("GoogleArtifactRegistry", "europe-docker.pkg.dev/project/repo"), ACCEPTED),
        ("gcr.io", at("GoogleArtifactRegistry", "gcr.io"), ACCEPTED),
        ("eu.gcr.io", at("GoogleArtifactRegistry", "eu.gcr.io/project"), ACCEPTED),
        (
            "Google twice",
            json!({"provider": "GoogleArtifactRegistry", "googleArtifactRegistry": {"location": "us"}, "server": "gcr.io"}),
            GOOGLE,
        ),
        ("Google nowhere", json!({"provider": "GoogleArtifactRegistry"}), GOOGLE),
        ("Google elsewhere", at("GoogleArtifactRegistry", "notgcr.io"), GOOGLE_HOST),
        (
            "Google in capitals",
            with("GoogleArtifactRegistry", "googleArtifactRegistry", json!({"location": "EU"})),
            &["spec.googleArtifactRegistry.location", "should match"],
        ),
        ("nobody", json!({"provider": "Nobody"}), &["spec.provider", "Unsupported value", "\"DockerHub\""]),
        ("lower case", json!({"provider": "quay"}), &["spec.provider", "Unsupported value"]),
        ("no provider", json!({}), &["give either `provider` and the fields of a single registry"]),
    ];
    registry_credential(json!({"secretRef": {"name": "src"}})).check(&cases).await
}

#[tokio::test]
async fn the_block_of_another_provider_is_refused() -> Result<()> {
    let blocks = [
        ("quay", "Quay", json!({"namespace": "acme"})),
        ("scaleway", "Scaleway", json!({"region": "fr-par"})),
        ("digitalOcean", "DigitalOcean", json!({"registry": "acme"})),
        ("ecr", "ECR", json!({"accountId": "123456789012", "region": "eu-central-1"})),
        ("acr", "ACR", json!({"registry": "example"})),
        ("googleArtifactRegistry", "GoogleArtifactRegistry", json!({"location": "europe"})),
    ];
    for (block, provider, value) in blocks {
        let message = format!("`{block}` may only be given with provider {provider}");
        let field = format!("spec.{block}");
        let expected: &[&str] = &[&message, &field];
        custom().check(&[(block, json!({block: value}), expected)]).await?;
        let own = json!({"provider": provider, block: value, "server": null});
        custom().check(&[(provider, own, ACCEPTED)]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_key_scope_of_path_needs_a_path() -> Result<()> {
    const NEEDS: &[&str] = &["spec.keyScope", "`keyScope: Path` needs a path: in `server`, or the namespace"];
    let path = |spec: Value| {
        let mut whole = json!({"keyScope": "Path"});
        json_patch::merge(&mut whole, &spec);
        whole
    };
    let cases: Vec<Case<'_>> = vec![
        ("Host", json!({"provider": "GitHub", "keyScope": "Host"}), ACCEPTED),
        (
            "neither",
            json!({"provider": "GitHub", "keyScope": "Namespace"}),
            &["spec.keyScope", "Unsupported value"],
        ),
        ("Quay", path(json!({"provider": "Quay", "quay": {"namespace": "acme"}})), ACCEPTED),
        ("Quay, by its robot only", path(json!({"provider": "Quay", "username": "acme+ci"})), NEEDS),
        (
            "Scaleway",
            path(json!({"provider": "Scaleway", "scaleway": {"region": "fr-par", "namespace": "acme"}})),
            ACCEPTED,
        ),
        ("Scaleway, bare", path(json!({"provider": "Scaleway", "scaleway": {"region": "fr-par"}})), NEEDS),
        (
            "DigitalOcean",
            path(json!({"provider": "DigitalOcean", "digitalOcean": {"registry": "acme"}})),
            ACCEPTED,
        ),
        ("DigitalOcean, bare", path(json!({"provider": "DigitalOcean", "digitalOcean": {}})), NEEDS),
        ("Harbor", path(json!({"provider": "Harbor", "server": "harbor.example.com/project"})), ACCEPTED),
        ("Harbor, bare", path(json!({"provider": "Harbor", "server": "harbor.example.com"})), NEEDS),
        (
            "Google",
            path(json!({"provider": "GoogleArtifactRegistry", "googleArtifactRegistry": {"location": "us"}})),
            NEEDS,
        ),
        ("Docker Hub", path(json!({"provider": "DockerHub"})), NEEDS),
    ];
    registry_credential(json!({"secretRef": {"name": "src"}})).check(&cases).await
}

#[tokio::test]
async fn namespaces_of_quay_and_scaleway_have_a_form() -> Result<()> {
    const QUAY: &[&str] = &["spec.quay.namespace", "should match"];
    let quay = |namespace: &str| json!({"provider": "Quay", "quay": {"namespace": namespace}});
    let scaleway =
        |name: &str| json!({"provider": "Scaleway", "scaleway": {"region": "fr-par", "namespace": name}});
    let cases: Vec<Case<'_>> = vec![
        ("Quay", quay("acme_1.x-y"), ACCEPTED),
        ("Quay in capitals", quay("Acme"), QUAY),
        ("Quay with two dots", quay("a..b"), QUAY),
        ("Quay with a slash", quay("a/b"), QUAY),
        ("Quay with one letter", quay("a"), &["spec.quay.namespace", "at least 2"]),
        ("Quay without", json!({"provider": "Quay", "quay": {}}), &["spec.quay.namespace: Required value"]),
        ("Quay with 255", quay(&"a".repeat(255)), ACCEPTED),
        ("Quay with 256", quay(&"a".repeat(256)), &["spec.quay.namespace", "more than 255"]),
        ("Scaleway", scaleway("acme"), ACCEPTED),
        ("Scaleway in capitals", scaleway("Acme"), &["spec.scaleway.namespace", "should match"]),
        ("Scaleway with none", scaleway(""), &["spec.scaleway.namespace"]),
    ];
    registry_credential(json!({"secretRef": {"name": "src"}})).check(&cases).await
}

#[tokio::test]
async fn quay_is_told_whose_images_it_is_for() -> Result<()> {
    const WHOSE: &[&str] =
        &["spec.quay", "give the organisation or user of the registry as quay: {namespace: ...}"];
    const TWICE: &[&str] = &["spec.server", "may not have a path when `quay` gives the namespace"];
    let cases: Vec<Case<'_>> = vec![
        ("nothing", json!({}), WHOSE),
        ("an own one", json!({"server": "quay.example.com"}), WHOSE),
        ("an application token", json!({"username": "$oauthtoken"}), WHOSE),
        ("a person", json!({"username": "jane"}), WHOSE),
        ("a robot of nobody", json!({"username": "+ci"}), WHOSE),
        ("a robot of no namespace", json!({"username": "A b+ci"}), WHOSE),
        ("the block", json!({"quay": {"namespace": "acme"}}), ACCEPTED),
        (
            "the block and an application token",
            json!({"quay": {"namespace": "acme"}, "username": "$oauthtoken"}),
            ACCEPTED,
        ),
        ("a robot", json!({"username": "acme+ci"}), ACCEPTED),
        ("a path", json!({"server": "quay.example.com/acme"}), ACCEPTED),
        ("the block and a path", json!({"quay": {"namespace": "acme"}, "server": "quay.io/acme"}), TWICE),
    ];
    registry_credential(json!({"provider": "Quay", "secretRef": {"name": "src"}})).check(&cases).await
}
