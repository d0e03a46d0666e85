//! Networks with a proxy at their border and an authority of their own.

use serde_json::json;

use super::{GOOD, USER, login, spec};
use crate::{
    lab::Lab,
    support::{
        ConnectProxy, Result,
        pki::Authority,
        registry::{Answer, Auth, FaultyRegistry, Registry},
        workdir::Workdir,
    },
};

#[tokio::test]
async fn registries_are_asked_through_the_proxy_and_trusted_by_the_authority_of_the_operator() -> Result<()> {
    let authority = Authority::new("company")?;
    let outside = FaultyRegistry::start(Some(&authority.server(&["registry.example.com"])?)).await?;
    outside.rule(|request| match &request.authorization {
        None => Answer::status(401).header("www-authenticate", "Basic realm=\"x\""),
        Some(_) => Answer::status(200).body("{}"),
    });
    let proxy = ConnectProxy::start().await?;
    proxy.lead("registry.example.com", outside.address());
    let inside = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), Some(&authority)).await?;
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    login(&test, "src", GOOD).await?;
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
    for (name, server, status, reason) in [
        ("outside", "registry.example.com".to_owned(), "True", "Authenticated"),
        ("inside", format!("localhost:{}", inside.port()), "True", "Authenticated"),
        // An address that says what it is, is not left to the proxy.
        ("number", "10.0.0.1".to_owned(), "Unknown", "RegistryNotAllowed"),
        ("metadata", "169.254.169.254:443".to_owned(), "Unknown", "RegistryNotAllowed"),
    ] {
        test.credential(name, spec(&server, "src", json!({"mode": "Enforce"}))).await?;
        test.wait_condition(name, "Verified", status, reason).await?;
        test.wait_ready(name, 1).await?;
    }
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|target| target == "registry.example.com:443"), "{asked:?}");
    Ok(())
}
