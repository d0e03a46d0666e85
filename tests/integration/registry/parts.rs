//! The registry lets in whom it should, by password and by token, and tells what was asked of it.

use std::time::Duration;

use crate::support::{
    Result,
    pki::Authority,
    registry::{Access, Auth, Crane, Registry, TokenServer, docker_config},
    wait_for,
};

const DEADLINE: Duration = Duration::from_secs(60);

/// crane with one login, as a node with one pull Secret.
fn crane(
    registry: &Registry,
    (user, password): (&str, &str),
    authority: Option<&Authority>,
) -> Result<Crane> {
    Crane::new(docker_config(registry.address(), user, password), authority.map(Authority::pem))
}

async fn refused(crane: &Crane, image: &str) -> Result<()> {
    let error = crane.pull(image).await.expect_err("a wrong login is let in").to_string();
    assert!(error.contains("UNAUTHORIZED") || error.contains("401"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_open_registry_asks_nobody() -> Result<()> {
    let registry = Registry::start(Auth::Open, None).await?;
    let crane = Crane::new("{}", None)?;
    let image = crane.push(&format!("localhost:{}/acme/app", registry.port())).await?;
    crane.pull(&image).await
}

#[tokio::test]
async fn a_registry_with_passwords_lets_in_who_has_one_and_follows_changes() -> Result<()> {
    let authority = Authority::new("registry")?;
    let (pusher, puller) = (("pusher", "of images"), ("robot$acme+ci", "pass: wörd"));
    let registry = Registry::start(Auth::Htpasswd(&[pusher, puller]), Some(&authority)).await?;
    let ours = Some(&authority);
    let image = crane(&registry, pusher, ours)?.push(&format!("{}/acme/app:1", registry.address())).await?;
    let robot = crane(&registry, puller, ours)?;
    robot.pull(&image).await?;
    refused(&crane(&registry, ("robot$acme+ci", "wrong"), ours)?, &image).await?;
    refused(&Crane::new("{}", Some(authority.pem()))?, &image).await?;

    // Whose certificate is not trusted is not told a password.
    let stranger = Authority::new("somebody else")?;
    let error =
        crane(&registry, puller, Some(&stranger))?.pull(&image).await.expect_err("trusted").to_string();
    assert!(error.contains("certificate signed by unknown authority"), "{error}");

    registry.set_users(&[("robot$acme+ci", "rotated")])?;
    refused(&robot, &image).await?;
    crane(&registry, ("robot$acme+ci", "rotated"), ours)?.pull(&image).await?;

    let seen = |wanted: &Access| registry.requests().contains(wanted);
    let access = |method: &str, path: &str, status| Access {
        method: method.into(),
        path: path.into(),
        query: String::new(),
        status,
    };
    for wanted in [access("GET", "/v2/", 401), access("PUT", "/v2/acme/app/manifests/1", 201)] {
        wait_for(DEADLINE, "the request in the log", async || seen(&wanted)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_registry_with_tokens_trusts_its_token_server() -> Result<()> {
    let authority = Authority::new("registry")?;
    for authority in [Some(&authority), None] {
        let (pusher, puller) = (("acme", "of images"), ("acme/team", "pass: word"));
        let tokens = TokenServer::start(&[pusher, puller], authority).await?;
        let registry = Registry::start(Auth::Token(&tokens), authority).await?;
        let name = format!("{}/acme/team/app:1", registry.address());
        let image = crane(&registry, pusher, authority)?.push(&name).await?;
        let team = crane(&registry, puller, authority)?;
        team.pull(&image).await?;
        refused(&crane(&registry, ("acme/team", "wrong"), authority)?, &image).await?;
        refused(&Crane::new("{}", authority.map(Authority::pem))?, &image).await?;
        // The login is good, and the repository is another's.
        refused(&team, &format!("{}/acme/app:1", registry.address())).await?;

        tokens.set_users(&[pusher, ("acme/team", "rotated")])?;
        refused(&team, &image).await?;
        crane(&registry, ("acme/team", "rotated"), authority)?.pull(&image).await?;

        for status in [200, 401] {
            let of_app =
                |access: &Access| access.status == status && access.query.contains("acme%2Fteam%2Fapp");
            wait_for(DEADLINE, "the token in the log", async || tokens.requests().iter().any(of_app)).await?;
        }
    }
    Ok(())
}
