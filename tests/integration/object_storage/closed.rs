//! Networks with a proxy at their border: there, buckets can have the names that they have out there.

use serde_json::json;

use super::{api, at, credential, source, wait_ready, wait_told};
use crate::{
    lab::Lab,
    support::{
        ConnectProxy, Result,
        pki::Authority,
        s3::{REGION, Versitygw},
        workdir::Workdir,
    },
};

#[tokio::test]
async fn a_bucket_is_asked_by_its_name_or_by_its_path() -> Result<()> {
    let authority = Authority::new("company")?;
    let aws = Versitygw::below("s3.eu-central-1.amazonaws.com", &authority).await?;
    let other = Versitygw::below("s3.example.com", &authority).await?;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    let proxy = ConnectProxy::start().await?;
    let (at_aws, at_other) = (aws.user().await?, other.user().await?);
    source(&test, "key", &at_aws).await?;
    source(&test, "other", &at_other).await?;
    let (photos, films) = (aws.bucket(&at_aws).await?, other.bucket(&at_other).await?);
    let by_name = [format!("{photos}.s3.eu-central-1.amazonaws.com"), format!("{films}.s3.example.com")];
    proxy.lead(&by_name[0], aws.address());
    proxy.lead(&by_name[1], other.address());
    proxy.lead("s3.example.com", other.address());
    let files = Workdir::new("claviger-company-")?;
    let authorities = files.write("ca.crt", authority.pem())?;
    let _operator = lab
        .operator()?
        .args(&["--allowed-registries=", "--private-registries=localhost"])
        .arg(format!("--registry-ca={}", authorities.display()))
        // HTTPS_PROXY would also be meant for the API server of a kubeconfig, which no Pod has.
        .env("ALL_PROXY", proxy.url())
        .env("NO_PROXY", "localhost")
        .start()
        .await?;
    let spec = |bucket: &str, source: &str| {
        json!({
            "bucket": bucket, "region": REGION, "secretRef": {"name": source}, "format": "Env",
            "verification": {"mode": "Enforce"},
        })
    };
    let own = |path_style: Option<bool>| {
        let mut spec = spec(&films, "other");
        spec["endpoint"] = json!("https://s3.example.com");
        if let Some(path_style) = path_style {
            spec["pathStyle"] = json!(path_style);
        }
        spec
    };
    for (name, spec, endpoint, path_style) in [
        ("aws", spec(&photos, "key"), "https://s3.eu-central-1.amazonaws.com", false),
        ("by-path", own(None), "https://s3.example.com", true),
        ("by-name", own(Some(false)), "https://s3.example.com", false),
    ] {
        credential(&test, name, spec).await?;
        wait_told(&test, name, "Verified=True (Authenticated)", &[]).await?;
        wait_ready(&test, name, 1).await?;
        let told = serde_json::to_value(api(&test).get(name).await?.status)?;
        let wanted = json!({"endpoint": endpoint, "region": REGION, "pathStyle": path_style});
        assert_eq!(told["objectStorage"], wanted, "{name}");
    }
    // An address that says what it is, is not left to the proxy.
    for (name, endpoint) in [("number", "https://10.0.0.1"), ("metadata", "https://169.254.169.254")] {
        credential(&test, name, at(endpoint, "key", "Enforce")).await?;
        wait_told(&test, name, "Verified=Unknown (EndpointNotAllowed)", &[]).await?;
        wait_ready(&test, name, 1).await?;
    }
    let asked = proxy.asked();
    let known = [&*by_name[0], &*by_name[1], "s3.example.com"].map(|name| format!("{name}:443"));
    assert!(known.iter().all(|name| asked.contains(name)), "{asked:?}");
    assert!(asked.iter().all(|name| known.contains(name)), "{asked:?}");
    Ok(())
}
