//! The vendors, as the tests have them, take what their documentation says, and nothing else.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{World, account, account_token};
use crate::{
    scenario::Scenario,
    support::{
        Result,
        cloud::{APP, CLIENT, Cloud, GOOGLE_ACCOUNT, INSTALLATION, PROVIDER, Request, Service, TENANT},
        registry::Answer,
    },
};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

async fn assert_refused(cloud: &Cloud, request: &Request, status: u16, word: &str) -> Result<()> {
    let answer = cloud.ask(request).await?;
    assert!(
        answer.status == status && answer.body.contains(word),
        "{word}: {} {}",
        answer.status,
        answer.body
    );
    Ok(())
}

async fn assert_taken(cloud: &Cloud, request: &Request) -> Result<Value> {
    let answer = cloud.ask(request).await?;
    assert!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.body);
    Ok(serde_json::from_str(&answer.body)?)
}

/// The same fields with one of another value, or without it when the value is empty.
fn but<'a>(fields: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let others = fields.iter().copied().filter(|(other, _)| *other != name);
    others.chain(Some((name, value)).filter(|_| !value.is_empty())).collect()
}

#[tokio::test]
async fn azure_takes_what_is_in_its_contract() -> Result<()> {
    let World { cloud, test, lab: _lab } = World::start().await?;
    let home = &test.home.name;
    for name in ["known", "unknown"] {
        account(&test.client, home, name, json!({})).await?;
    }
    cloud.let_in(home, "known");
    let audience = "api://AzureADTokenExchange";
    let known = account_token(&test.client, home, "known", audience).await?;
    let unknown = account_token(&test.client, home, "unknown", audience).await?;
    let elsewhere = account_token(&test.client, home, "known", "api://elsewhere").await?;
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let entra = |fields: &[(&str, &str)]| Request::form_to("login.microsoftonline.com", &path, fields);
    let secret = cloud.client_secret();
    let common = [
        ("client_id", CLIENT),
        ("scope", "https://containerregistry.azure.net/.default"),
        ("grant_type", "client_credentials"),
    ];
    let by_secret = [&common[..], &[("client_secret", secret)]].concat();
    let kind = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let by_token = [&common[..], &[kind, ("client_assertion", known.as_str())]].concat();
    let form = |name, value| entra(&but(&by_secret, name, value));
    let assertion = |name, value| entra(&but(&by_token, name, value));
    for (request, status, word) in [
        (form("client_id", "another"), 400, "unauthorized_client"),
        (form("scope", "https://management.azure.com/.default"), 400, "invalid_scope"),
        (form("grant_type", "password"), 400, "unsupported_grant_type"),
        (form("client_secret", "another"), 401, "AADSTS7000215"),
        (form("client_secret", ""), 401, "AADSTS7000218"),
        (form("resource", "x"), 400, "invalid_request"),
        (assertion("client_assertion", &unknown), 401, "AADSTS700213"),
        (assertion("client_assertion", &elsewhere), 401, "AADSTS700213"),
        (assertion("client_assertion_type", "jwt"), 400, "invalid_request"),
        (assertion("client_secret", secret), 401, "AADSTS7000218"),
        (entra(&by_secret).with("content-type", "text/plain"), 400, "invalid_request"),
        (Request { path: "/common/oauth2/v2.0/token".into(), ..entra(&by_secret) }, 400, "AADSTS90002"),
    ] {
        assert_refused(&cloud, &request, status, word).await?;
    }
    assert_taken(&cloud, &entra(&by_token)).await?;
    let answer = assert_taken(&cloud, &entra(&by_secret)).await?;
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let token = answer["access_token"].as_str().unwrap_or_default().to_owned();

    let fields = [
        ("grant_type", "access_token"),
        ("service", "acmeimages.azurecr.io"),
        ("tenant", TENANT),
        ("access_token", token.as_str()),
    ];
    let acr = |fields: &[(&str, &str)]| Request::form_to("acmeimages.azurecr.io", "/oauth2/exchange", fields);
    for (name, value, status) in [
        ("grant_type", "refresh_token", 400),
        ("service", "other.azurecr.io", 400),
        ("tenant", "another", 401),
        ("access_token", secret, 401),
        ("access_token", "", 400),
        ("refresh_token", "x", 400),
    ] {
        assert_refused(&cloud, &acr(&but(&fields, name, value)), status, "\"code\"").await?;
    }
    assert_taken(&cloud, &acr(&but(&fields, "tenant", ""))).await?;
    let answer = assert_taken(&cloud, &acr(&fields)).await?;
    let claims = crate::support::cloud::claims(answer["refresh_token"].as_str().unwrap_or_default());
    let claims = claims.map_err(crate::support::Error::new)?;
    assert_eq!(claims["exp"].as_i64(), cloud.newest(Service::Acr).map(|minted| minted.expires.as_second()));
    Ok(())
}

#[tokio::test]
async fn google_takes_what_is_in_its_contract() -> Result<()> {
    let World { cloud, test, lab: _lab } = World::start().await?;
    let home = &test.home.name;
    account(&test.client, home, "known", json!({})).await?;
    cloud.let_in(home, "known");
    let key = cloud.rsa();
    let now = now();
    let good = json!({
        "iss": GOOGLE_ACCOUNT, "scope": SCOPE, "aud": "https://oauth2.googleapis.com/token",
        "iat": now, "exp": now + 3600,
    });
    let grant = |assertion: &str| {
        let kind = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        Request::form_to("oauth2.googleapis.com", "/token", &[("grant_type", kind), ("assertion", assertion)])
    };
    for (name, value, word) in [
        ("iss", json!("other@acme-images.iam.gserviceaccount.com"), "account not found"),
        ("scope", json!("https://www.googleapis.com/auth/drive"), "invalid_scope"),
        ("aud", json!("https://sts.googleapis.com/v1/token"), "audience"),
        ("exp", json!(now + 7200), "short-lived"),
        ("exp", json!(now - 10), "short-lived"),
        ("iat", json!(now + 600), "short-lived"),
        ("sub", json!("admin@example.com"), "unauthorized_client"),
        ("nonce", json!("x"), "claims"),
    ] {
        let mut claims = good.clone();
        claims[name] = value;
        let status = if name == "sub" { 401 } else { 400 };
        assert_refused(&cloud, &grant(&key.token(&claims)?), status, word).await?;
    }
    let token = key.token(&good)?;
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    assert_refused(&cloud, &grant(&forged), 400, "signature").await?;
    let answer = assert_taken(&cloud, &grant(&token)).await?;
    let access = answer["access_token"].as_str().unwrap_or_default().to_owned();

    let audience = format!("//iam.googleapis.com/{PROVIDER}");
    let subject = account_token(&test.client, home, "known", &audience).await?;
    let elsewhere = account_token(&test.client, home, "known", "https://elsewhere.example.com").await?;
    let fields = [
        ("grant_type", EXCHANGE),
        ("audience", audience.as_str()),
        ("scope", SCOPE),
        ("requested_token_type", ACCESS_TOKEN),
        ("subject_token_type", JWT),
        ("subject_token", subject.as_str()),
    ];
    let sts = |fields: &[(&str, &str)]| Request::form_to("sts.googleapis.com", "/v1/token", fields);
    for (name, value, word) in [
        ("grant_type", "client_credentials", "unsupported_grant_type"),
        ("audience", "//iam.googleapis.com/projects/2", "invalid_target"),
        ("scope", "", "invalid_request"),
        ("requested_token_type", JWT, "invalid_request"),
        ("subject_token_type", ACCESS_TOKEN, "invalid_request"),
        ("subject_token", &elsewhere, "invalid_grant"),
        ("options", "{}", "invalid_request"),
    ] {
        assert_refused(&cloud, &sts(&but(&fields, name, value)), 400, word).await?;
    }
    assert_refused(&cloud, &sts(&fields).with("authorization", "Bearer x"), 401, "invalid_client").await?;
    assert_taken(&cloud, &sts(&fields)).await?;
    let in_json = json!({
        "grantType": EXCHANGE, "audience": audience, "scope": SCOPE, "requestedTokenType": ACCESS_TOKEN,
        "subjectTokenType": JWT, "subjectToken": subject,
    });
    assert_taken(&cloud, &sts(&[]).with_json(&in_json)).await?;

    let become_it = |account: &str, token: &str, body: Value| {
        let path = format!("/v1/projects/-/serviceAccounts/{account}:generateAccessToken");
        let request = Request::form_to("iamcredentials.googleapis.com", &path, &[]).with_json(&body);
        request.with("authorization", &format!("Bearer {token}"))
    };
    let body = json!({"scope": [SCOPE], "lifetime": "3600s"});
    for (request, status, word) in [
        (
            become_it("other@acme-images.iam.gserviceaccount.com", &access, body.clone()),
            403,
            "PERMISSION_DENIED",
        ),
        (become_it(GOOGLE_ACCOUNT, "another", body.clone()), 401, "UNAUTHENTICATED"),
        (become_it(GOOGLE_ACCOUNT, &access, json!({"lifetime": "60s"})), 400, "INVALID_ARGUMENT"),
        (become_it(GOOGLE_ACCOUNT, &access, json!({"scope": [SCOPE], "lifetime": "7200s"})), 400, "lifetime"),
        (become_it(GOOGLE_ACCOUNT, &access, json!({"scope": SCOPE})), 400, "scopes"),
    ] {
        assert_refused(&cloud, &request, status, word).await?;
    }
    let answer = assert_taken(&cloud, &become_it(GOOGLE_ACCOUNT, &access, body)).await?;
    let expires: jiff::Timestamp = answer["expireTime"].as_str().unwrap_or_default().parse()?;
    assert_eq!(Some(expires), cloud.newest(Service::IamCredentials).map(|minted| minted.expires));

    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    let node = Request::form_to("metadata.google.internal", path, &[]).by_get("");
    assert_eq!(cloud.ask_node(&node).await?.status, 403);
    assert_eq!(cloud.ask_node(&node.with("metadata-flavor", "Google")).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn github_takes_what_is_in_its_contract() -> Result<()> {
    let test = Scenario::shared().await?;
    let cloud = Cloud::start(&test.client).await?;
    let key = cloud.rsa();
    let claims = json!({"iss": APP.to_string(), "iat": now() - 60, "exp": now() + 500});
    let path = format!("/app/installations/{INSTALLATION}/access_tokens");
    let ask = |token: &str| {
        let request = Request::form_to("api.github.com", &path, &[]).with("user-agent", "test");
        let request = request.with("accept", "application/vnd.github+json").with_json(&json!({}));
        request.with("authorization", &format!("Bearer {token}"))
    };
    for (name, value, word) in [
        ("iss", json!("1"), "Integration not found"),
        ("iat", json!(now() + 60), "iat"),
        ("exp", json!(now() + 660), "too far in the future"),
        ("exp", json!(now() - 1), "exp"),
    ] {
        let mut claims = claims.clone();
        claims[name] = value;
        assert_refused(&cloud, &ask(&key.token(&claims)?), 401, word).await?;
    }
    let token = key.token(&claims)?;
    let mut anonymous = ask(&token);
    anonymous.headers.remove("user-agent");
    let other = Request { path: "/app/installations/1/access_tokens".to_owned(), ..ask(&token) };
    let more = ask(&token).with_json(&json!({"permissions": {"packages": "write"}}));
    for (request, status) in [(anonymous, 403), (other, 404), (more, 422), (ask("a.b.c"), 401)] {
        assert_refused(&cloud, &request, status, "message").await?;
    }
    let answer =
        assert_taken(&cloud, &ask(&token).with_json(&json!({"permissions": {"packages": "read"}}))).await?;
    assert_eq!(answer["token"].as_str(), cloud.newest(Service::GitHub).map(|minted| minted.token).as_deref());
    Ok(())
}

#[tokio::test]
async fn quay_and_digital_ocean_take_what_is_in_their_contracts() -> Result<()> {
    let World { cloud, test, lab: _lab } = World::start().await?;
    let home = &test.home.name;
    account(&test.client, home, "known", json!({})).await?;
    cloud.let_in(home, "known");
    let known = account_token(&test.client, home, "known", "quay.io").await?;
    let elsewhere = account_token(&test.client, home, "known", "quay.example.com").await?;
    let quay = |user: &str, token: &str| {
        let request = Request::form_to("quay.io", "/oauth2/federation/robot/token", &[]).by_get("");
        request.with("authorization", &format!("Basic {}", STANDARD.encode(format!("{user}:{token}"))))
    };
    for (user, token) in [("acme+other", &known), ("acme+ci", &elsewhere)] {
        assert_refused(&cloud, &quay(user, token), 401, "error").await?;
    }
    assert_taken(&cloud, &quay("acme+ci", &known)).await?;

    let ocean = |query: &str, token: &str| {
        let request = Request::form_to("api.digitalocean.com", "/v2/registries/acme/docker-credentials", &[]);
        request.by_get(query).with("authorization", &format!("Bearer {token}"))
    };
    let (good, token) = ("read_write=false&expiry_seconds=600", cloud.digital_ocean_token());
    for (request, status) in [
        (ocean(good, "another"), 401),
        (ocean("read_write=true&expiry_seconds=600", token), 400),
        (ocean("read_write=false", token), 400),
        (ocean("expiry_seconds=0", token), 400),
        (Request { path: "/v2/registries/other/docker-credentials".into(), ..ocean(good, token) }, 404),
    ] {
        assert_refused(&cloud, &request, status, "\"id\"").await?;
    }
    let answer = assert_taken(&cloud, &ocean(good, token)).await?;
    assert!(answer["auths"]["registry.digitalocean.com"]["auth"].is_string(), "{answer}");
    Ok(())
}

/// What the tests of the operator rely on: the vendors do as they are told, and nobody else is reached.
#[tokio::test]
async fn vendors_do_as_they_are_told() -> Result<()> {
    let test = Scenario::shared().await?;
    let cloud = Cloud::start(&test.client).await?;
    let good = Request::form_to("api.digitalocean.com", "/v2/registries/acme/docker-credentials", &[]);
    let good = good.by_get("expiry_seconds=60");
    let good = good.with("authorization", &format!("Bearer {}", cloud.digital_ocean_token()));
    assert_taken(&cloud, &good).await?;
    cloud.refuse(Service::DigitalOcean);
    assert_refused(&cloud, &good, 401, "unauthorized").await?;
    cloud.answer(Service::DigitalOcean, Answer::status(503).body("down"));
    assert_refused(&cloud, &good, 503, "down").await?;
    cloud.slow_down(Service::DigitalOcean, Duration::from_millis(300));
    let began = std::time::Instant::now();
    assert_taken(&cloud, &good).await?;
    assert!(began.elapsed() >= Duration::from_millis(300));
    cloud.restore(Service::DigitalOcean);
    assert_taken(&cloud, &good).await?;
    let told: Vec<_> =
        cloud.asked_of(Service::DigitalOcean).iter().filter_map(|asked| asked.status).collect();
    assert_eq!(told, [200, 401, 503, 200, 200]);
    assert_eq!(cloud.minted().len(), 3);

    cloud.life(Duration::from_secs(20));
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    let node = Request::form_to("metadata.google.internal", path, &[]).by_get("");
    let answer = cloud.ask_node(&node.with("metadata-flavor", "Google")).await?;
    assert_eq!(serde_json::from_str::<Value>(&answer.body)?["expires_in"], 20);
    let left = cloud.newest(Service::Metadata).map(|minted| minted.expires.as_second() - now());
    assert!(left.is_some_and(|left| (15..=20).contains(&left)), "{left:?}");

    let elsewhere = Request { host: "registry.example.com".to_owned(), ..good };
    let error = cloud.ask(&elsewhere).await.unwrap_err().to_string();
    assert!(error.contains("502"), "{error}");
    assert_eq!(cloud.proxy.asked().last().map(String::as_str), Some("registry.example.com:443"));
    // A name that leads here, and a page that no vendor has.
    let page = Request { path: "/v2/".to_owned(), ..Request::form_to("acmeimages.azurecr.io", "/", &[]) };
    assert_eq!(cloud.ask(&page).await?.status, 404);
    assert!(cloud.asked().iter().any(|asked| asked.service.is_none()));
    Ok(())
}
