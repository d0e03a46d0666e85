//! How tokens are minted, against what the clouds document. Their servers are in tests/integration/tokens.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::domain::{
    token::{Identity, WebIdentity, grant::Cloud},
    verification::{Method, Server, ServerPatterns},
};

const NOW: i64 = 1_763_800_000;

/// A key of RSA, made for tests, behind its certificate.
fn rsa() -> String {
    let text = include_str!("../../fuzz/rsa.pem");
    text[text.find("-----BEGIN RSA PRIVATE").unwrap()..].to_owned()
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn random() -> Arc<dyn SecureRandom + Send + Sync> {
    Arc::new(ring::rand::SystemRandom::new())
}

fn grant(flow: Flow, identity: Identity) -> Arc<Grant> {
    Arc::new(Grant { flow, identity, secret_version: None, authorities: None })
}

fn access_key() -> AccessKey {
    AccessKey { id: "AKIDEXAMPLE".into(), secret: "wJalr".into(), session: None }
}

fn web(role: Option<&str>) -> Proof {
    Proof::WebIdentity(WebIdentity {
        token: "jwt.of.account".into(),
        role: role.map(str::to_owned),
        client: Some("client".to_owned()),
        tenant: Some("tenant".to_owned()),
    })
}

/// Runs an exchange with these answers. Returns the first lines and bodies of the requests, and what came of it.
fn run(
    grant: &Arc<Grant>,
    proof: Proof,
    answers: &[(u16, String)],
) -> (Vec<(String, String)>, Result<Token, MintError>) {
    let access = Arc::new(RegistryAccess::default());
    let (mut exchange, mut step) = Exchange::begin(grant.clone(), proof, access, random(), now());
    let mut answers = answers.iter();
    let mut asked = Vec::new();
    loop {
        match step {
            Step::Done(minted) => {
                assert!(answers.next().is_none(), "too few requests: {asked:?}");
                return (asked, minted);
            }
            Step::Ask(request) => {
                let verb = if request.method == Method::Post { "POST" } else { "GET" };
                let headers: Vec<String> =
                    request.headers.iter().map(|(name, value)| format!("{name}: {}", value.text())).collect();
                let line = format!("{verb} {}://{}{}", request.scheme, request.server, request.path);
                let body = request.body.as_ref().map_or("", SecretBytes::text);
                asked.push((line, format!("{}\n{body}", headers.join("\n"))));
                let (status, body) = answers.next().unwrap_or_else(|| panic!("too many requests: {asked:?}"));
                step = exchange.answered(Ok(Answer::new(*status, body.as_str().into())), now());
            }
        }
    }
}

fn lines(asked: &[(String, String)]) -> Vec<&str> {
    asked.iter().map(|(line, _)| line.as_str()).collect()
}

fn jwt(expires: i64) -> String {
    format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(json!({"exp": expires}).to_string()))
}

fn ecr_answer() -> (u16, String) {
    let token = STANDARD.encode("AWS:password");
    let data = json!([{"authorizationToken": token, "expiresAt": NOW as f64 + 43_200.5, "proxyEndpoint": "https://x"}]);
    (200, json!({"authorizationData": data}).to_string())
}

fn sts_answer(action: &str) -> (u16, String) {
    let keys = "<Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>session</SessionToken><Expiration>2026-11-22T12:00:00Z</Expiration></Credentials>";
    let text = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>{keys}<AssumedRoleUser><Arn>a</Arn></AssumedRoleUser></{action}Result><ResponseMetadata/></{action}Response>"
    );
    (200, text)
}

fn ecr(role: Option<&str>) -> Flow {
    Flow::Ecr {
        region: "eu-central-1".to_owned(),
        role: role.map(str::to_owned),
        external_id: role.map(|_| "x&y".to_owned()),
    }
}

#[test]
fn ecr_by_an_access_key() {
    let grant = grant(ecr(None), Identity::AccessKey(access_key()));
    let (asked, minted) = run(&grant, Proof::AccessKey(access_key()), &[ecr_answer()]);
    assert_eq!(lines(&asked), ["POST https://api.ecr.eu-central-1.amazonaws.com/"]);
    let head = &asked[0].1;
    assert!(head.contains("x-amz-target: AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"));
    assert!(
        head.contains("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20251122/eu-central-1/ecr/aws4_request"),
        "{head}"
    );
    let token = minted.unwrap();
    assert_eq!((token.username.text(), token.password.text()), ("AWS", "password"));
    assert_eq!(token.life, Duration::from_secs(43_200));
    assert_eq!(token.expires, now() + Duration::from_secs(43_200));
}

#[test]
fn ecr_by_roles() {
    let role = "arn:aws:iam::123456789012:role/pull";
    let chained = grant(ecr(Some(role)), Identity::AccessKey(access_key()));
    let (asked, minted) =
        run(&chained, Proof::AccessKey(access_key()), &[sts_answer("AssumeRole"), ecr_answer()]);
    assert_eq!(
        lines(&asked),
        ["POST https://sts.eu-central-1.amazonaws.com/", "POST https://api.ecr.eu-central-1.amazonaws.com/"]
    );
    assert!(asked[0].1.contains("ExternalId=x%26y") && asked[0].1.contains("/sts/aws4_request"));
    assert!(asked[1].1.contains("x-amz-security-token: session") && asked[1].1.contains("Credential=ASIA/"));
    minted.unwrap();

    let account = grant(ecr(None), Identity::ServiceAccount("puller".to_owned()));
    let answers = [sts_answer("AssumeRoleWithWebIdentity"), ecr_answer()];
    let (asked, minted) = run(&account, web(Some(role)), &answers);
    assert!(
        asked[0].1.contains("Action=AssumeRoleWithWebIdentity")
            && asked[0].1.contains("WebIdentityToken=jwt.of.account")
    );
    assert!(!asked[0].1.contains("AWS4-HMAC"), "the token is enough");
    minted.unwrap();
    let (_, none) = run(&account, web(None), &[]);
    assert_eq!(none.unwrap_err().reason, Reason::IdentityMissing);

    // The spec's role goes before the annotation's; the operator's own may assume it.
    let of_spec = grant(ecr(Some(role)), Identity::ServiceAccount("puller".to_owned()));
    let annotations = [("eks.amazonaws.com/role-arn".to_owned(), "arn:other".to_owned())].into();
    let proof = Proof::WebIdentity(of_spec.web_identity("jwt".into(), &annotations));
    assert_eq!(lines(&run(&of_spec, proof, &answers).0).len(), 2);
    let own = grant(ecr(Some(role)), Identity::Operator(Cloud::Aws));
    let answers = [sts_answer("AssumeRoleWithWebIdentity"), sts_answer("AssumeRole"), ecr_answer()];
    assert_eq!(lines(&run(&own, web(Some("arn:own")), &answers).0).len(), 3);
}

#[test]
fn ecr_public_and_other_partitions() {
    let flow = Flow::EcrPublic { role: None, external_id: None };
    let one =
        json!({"authorizationData": {"authorizationToken": STANDARD.encode("AWS:p"), "expiresAt": NOW + 60}});
    let (asked, minted) = run(
        &grant(flow, Identity::AccessKey(access_key())),
        Proof::AccessKey(access_key()),
        &[(200, one.to_string())],
    );
    assert_eq!(lines(&asked), ["POST https://api.ecr-public.us-east-1.amazonaws.com/"]);
    assert!(asked[0].1.contains("SpencerFrontendService.GetAuthorizationToken"));
    assert_eq!(minted.unwrap().life, Duration::from_secs(60));
    let china = Flow::Ecr { region: "cn-north-1".to_owned(), role: None, external_id: None };
    let (asked, _) = run(
        &grant(china, Identity::AccessKey(access_key())),
        Proof::AccessKey(access_key()),
        &[ecr_answer()],
    );
    assert_eq!(lines(&asked), ["POST https://api.ecr.cn-north-1.amazonaws.com.cn/"]);
}

#[test]
fn acr_by_a_secret_and_by_a_service_account() {
    let flow = |of_spec: bool| Flow::Acr {
        registry: Server::parse("acme.azurecr.io").unwrap(),
        tenant: of_spec.then(|| "dir".to_owned()),
        client: of_spec.then(|| "app".to_owned()),
    };
    let answers = [
        (200, json!({"access_token": "entra", "expires_in": 3600}).to_string()),
        (200, json!({"refresh_token": jwt(NOW + 10_800)}).to_string()),
    ];
    let secret = Identity::Value("s&cret".into());
    let (asked, minted) = run(&grant(flow(true), secret), Proof::Value("s&cret".into()), &answers);
    assert_eq!(
        lines(&asked),
        [
            "POST https://login.microsoftonline.com/dir/oauth2/v2.0/token",
            "POST https://acme.azurecr.io/oauth2/exchange"
        ]
    );
    assert!(asked[0].1.ends_with("&client_secret=s%26cret") && asked[0].1.contains("client_id=app"));
    assert!(
        asked[1].1.contains("grant_type=access_token&service=acme.azurecr.io&access_token=entra&tenant=dir")
    );
    let token = minted.unwrap();
    assert_eq!(token.username.text(), "00000000-0000-0000-0000-000000000000");
    assert_eq!(token.life, Duration::from_secs(10_800));
    let account = grant(flow(false), Identity::ServiceAccount("puller".to_owned()));
    let (asked, _) = run(&account, web(None), &answers);
    assert!(asked[0].0.contains("/tenant/") && asked[0].1.contains("client_assertion=jwt.of.account"));
}

#[test]
fn google_by_a_key_by_federation_and_by_the_metadata_server() {
    let key = rsa();
    let file = json!({"type": "service_account", "client_email": "p@x.iam.gserviceaccount.com", "private_key": key, "token_uri": "https://evil.example.com/"});
    let flow = |impersonate: bool| Flow::Google {
        provider: Some("projects/1/locations/global/workloadIdentityPools/p/providers/q".to_owned()),
        impersonate: impersonate.then(|| "pull@x.iam.gserviceaccount.com".to_owned()),
    };
    let answer =
        (200, json!({"access_token": "ya29", "expires_in": 3_599, "token_type": "Bearer"}).to_string());
    let value = SecretBytes::from(file.to_string().as_str());
    let by_key = grant(flow(false), Identity::Value(value.clone()));
    let (asked, minted) = run(&by_key, Proof::Value(value), std::slice::from_ref(&answer));
    assert_eq!(lines(&asked), ["POST https://oauth2.googleapis.com/token"], "never where the key says");
    let assertion = asked[0].1.rsplit_once("assertion=").unwrap().1;
    let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
    assert_eq!(claims["exp"], NOW + 600);
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/devstorage.read_only", "many will have it");
    let token = minted.unwrap();
    assert_eq!((token.username.text(), token.life), ("oauth2accesstoken", Duration::from_secs(3_599)));

    let impersonated =
        (200, json!({"accessToken": "ya30", "expireTime": "2025-11-22T09:26:40Z"}).to_string());
    let federated = grant(flow(true), Identity::ServiceAccount("puller".to_owned()));
    let (asked, minted) = run(&federated, web(None), &[answer.clone(), impersonated]);
    assert_eq!(
        lines(&asked),
        [
            "POST https://sts.googleapis.com/v1/token",
            "POST https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/pull@x.iam.gserviceaccount.com:generateAccessToken",
        ]
    );
    assert!(asked[0].1.contains("audience=%2F%2Fiam.googleapis.com%2Fprojects%2F1"));
    assert!(asked[1].1.contains("authorization: Bearer ya29"));
    assert!(asked[0].1.contains("cloud-platform") && asked[1].1.contains("devstorage.read_only"));
    assert_eq!(minted.unwrap().password.text(), "ya30");

    let own = grant(flow(false), Identity::Operator(Cloud::Google));
    let server = Server::parse("metadata.google.internal").unwrap();
    let (asked, _) = run(&own, Proof::Metadata(server), &[answer]);
    assert_eq!(
        lines(&asked),
        [
            "GET http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token?scopes=https://www.googleapis.com/auth/devstorage.read_only"
        ]
    );
    assert!(asked[0].1.contains("metadata-flavor: Google"));
    let bad = Proof::Value("{}".into());
    assert_eq!(run(&by_key, bad, &[]).1.unwrap_err().reason, Reason::InvalidFormat);
}

#[test]
fn github_quay_and_digital_ocean() {
    let key = rsa();
    let flow = |api: Option<&str>| Flow::GitHub {
        api: api.map(|api| Server::parse(api).unwrap()),
        app: 7,
        installation: 9,
    };
    let value = SecretBytes::from(key.as_str());
    let answer = (201, json!({"token": "ghs_x", "expires_at": "2025-11-22T09:26:40Z"}).to_string());
    let (asked, minted) = run(
        &grant(flow(None), Identity::Value(value.clone())),
        Proof::Value(value.clone()),
        std::slice::from_ref(&answer),
    );
    assert_eq!(lines(&asked), ["POST https://api.github.com/app/installations/9/access_tokens"]);
    assert!(asked[0].1.ends_with(r#"{"permissions":{"packages":"read"}}"#));
    assert_eq!(minted.unwrap().username.text(), "x-access-token");
    let (asked, _) = run(
        &grant(flow(Some("git.example.com")), Identity::Value(value.clone())),
        Proof::Value(value),
        &[answer],
    );
    assert_eq!(lines(&asked), ["POST https://git.example.com/api/v3/app/installations/9/access_tokens"]);

    let flow = Flow::Quay { registry: Server::parse("quay.io").unwrap(), robot: "acme+ci".to_owned() };
    let account = grant(flow, Identity::ServiceAccount("puller".to_owned()));
    let (asked, minted) = run(&account, web(None), &[(200, json!({"token": jwt(NOW + 3_600)}).to_string())]);
    assert_eq!(lines(&asked), ["GET https://quay.io/oauth2/federation/robot/token"]);
    assert!(asked[0].1.contains(&format!("Basic {}", STANDARD.encode("acme+ci:jwt.of.account"))));
    assert_eq!(minted.unwrap().username.text(), "acme+ci");
    assert_eq!(account.audience(), "quay.io", "the token is good for nobody else");

    let flow = Flow::DigitalOcean { registry: Some("acme".to_owned()) };
    let config = json!({"auths": {"registry.digitalocean.com": {"auth": STANDARD.encode("u:p\n")}}});
    let token = Proof::Value("dop_v1".into());
    let (asked, minted) =
        run(&grant(flow, Identity::Value("dop_v1".into())), token, &[(200, config.to_string())]);
    assert_eq!(
        lines(&asked),
        [
            "GET https://api.digitalocean.com/v2/registries/acme/docker-credentials?read_write=false&expiry_seconds=43200"
        ]
    );
    assert_eq!(minted.unwrap().password.text(), "p");
}

#[test]
fn a_life_is_told_by_the_clock_of_who_mints() {
    let grant = grant(ecr(None), Identity::AccessKey(access_key()));
    let access = Arc::new(RegistryAccess::default());
    // This clock is a day ahead.
    let wrong = now() + Duration::from_secs(86_400);
    let (mut exchange, _) = Exchange::begin(grant, Proof::AccessKey(access_key()), access, random(), wrong);
    let (status, body) = ecr_answer();
    let answer = Answer { date: Some(now()), ..Answer::new(status, body.as_str().into()) };
    let Step::Done(Ok(token)) = exchange.answered(Ok(answer), wrong) else { panic!() };
    assert_eq!(token.life, Duration::from_secs(43_200));
    assert_eq!(token.expires, wrong + Duration::from_secs(43_200), "by this clock");
}

#[test]
fn what_gives_no_token_is_told_and_a_registry_that_may_not_be_asked_is_not() {
    let grant_of = |flow| grant(flow, Identity::ServiceAccount("puller".to_owned()));
    let of = |status, body: &str| {
        let grant = grant(ecr(None), Identity::AccessKey(access_key()));
        run(&grant, Proof::AccessKey(access_key()), &[(status, body.to_owned())]).1.unwrap_err()
    };
    assert_eq!(of(400, r#"{"__type":"UnrecognizedClientException"}"#).reason, Reason::TokenRefused);
    assert_eq!(of(200, "<html>").reason, Reason::UnexpectedAnswer);
    let old = json!({"authorizationData": [{"authorizationToken": STANDARD.encode("AWS:p"), "expiresAt": NOW - 1}]});
    assert_eq!(of(200, &old.to_string()).reason, Reason::UnexpectedAnswer);
    assert_eq!(of(302, "").reason, Reason::UnexpectedAnswer);
    for pair in
        ["AWS:", "AWS:a\nb", ":p", &format!("AWS:{}", "x".repeat(20_000)), &format!("{}:p", "u".repeat(300))]
    {
        let data = json!([{"authorizationToken": STANDARD.encode(pair), "expiresAt": NOW + 60}]);
        let error = of(200, &json!({"authorizationData": data}).to_string());
        assert_eq!(error.reason, Reason::UnexpectedAnswer, "{pair}");
    }
    let quay = grant_of(Flow::Quay { registry: Server::parse("quay.io").unwrap(), robot: "a+b".to_owned() });
    let allowed: ServerPatterns = "ghcr.io".parse().unwrap();
    let access = RegistryAccess { allowed, ..RegistryAccess::default() };
    let (_, step) = Exchange::begin(quay.clone(), web(None), Arc::new(access), random(), now());
    assert!(matches!(step, Step::Done(Err(error)) if error.reason == Reason::RegistryNotAllowed));
    let (_, useless) = run(&quay, Proof::AccessKey(access_key()), &[]);
    assert_eq!(useless.unwrap_err().reason, Reason::IdentityMissing);
}
