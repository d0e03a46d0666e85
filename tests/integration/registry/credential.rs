//! From a source Secret to an image: what the operator produces is what a client of a registry needs.

use serde_json::json;

use crate::{
    scenario::Scenario,
    support::{
        Error, Result,
        pki::Authority,
        registry::{Auth, Crane, Registry, TokenServer, docker_config},
    },
};

#[tokio::test]
async fn an_image_is_pulled_with_the_produced_secret() -> Result<()> {
    let authority = Authority::new("registry")?;
    let (user, password) = ("acme", "p\"ss: wörd\\");
    let tokens = TokenServer::start(&[(user, password)], Some(&authority)).await?;
    let by_token = Registry::start(Auth::Token(&tokens), Some(&authority)).await?;
    let by_password = Registry::start(Auth::Htpasswd(&[(user, password)]), Some(&authority)).await?;
    let test = Scenario::shared().await?;
    test.source("robot", json!({"username": user, "password": password})).await?;
    test.source("wrong", json!({"username": user, "password": "wrong"})).await?;
    for (name, registry) in [("token", &by_token), ("password", &by_password)] {
        let server = format!("localhost:{}", registry.port());
        let own = Crane::new(docker_config(&server, user, password), Some(authority.pem()))?;
        let image = own.push(&format!("{server}/acme/app:1")).await?;
        for (source, is_let_in) in [("robot", true), ("wrong", false)] {
            let credential = format!("{name}-{source}");
            let spec = json!({"provider": "Custom", "server": server, "secretRef": {"name": source}});
            test.credential(&credential, spec).await?;
            test.wait_ready(&credential, 1).await?;
            let secret = test.secrets(&test.home.name).get(&credential).await?;
            let file = secret.data.unwrap_or_default().remove(".dockerconfigjson");
            let file = file.ok_or_else(|| Error::new("no .dockerconfigjson"))?.0;
            let pulled = Crane::new(file, Some(authority.pem()))?.pull(&image).await;
            assert_eq!(pulled.is_ok(), is_let_in, "{credential}: {pulled:?}");
        }
    }
    Ok(())
}
