//! AWS, as the tests have it, checks what AWS checks.

use serde_json::json;

use super::{World, account, account_token};
use crate::{
    scenario::Scenario,
    support::{
        Result,
        cloud::{Cloud, EXTERNAL_ID, Request, Service, role, sign},
    },
};

type Access<'a> = (&'a str, &'a str, Option<&'a str>);

const ECR: (&str, &str) =
    ("api.ecr.eu-central-1.amazonaws.com", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken");
const PUBLIC: (&str, &str) =
    ("api.ecr-public.us-east-1.amazonaws.com", "SpencerFrontendService.GetAuthorizationToken");
const STS: &str = "sts.eu-central-1.amazonaws.com";

fn call((host, target): (&str, &str), access: Access<'_>, scope: (&str, &str)) -> Request {
    let request = Request::form_to(host, "/", &[]).with_json(&json!({}));
    let mut request = request.with("content-type", "application/x-amz-json-1.1").with("x-amz-target", target);
    sign(&mut request, access, scope);
    request
}

fn assume(access: Access<'_>, role: &str, external_id: Option<&str>) -> Request {
    let mut fields = vec![
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", "test"),
    ];
    fields.extend(external_id.map(|id| ("ExternalId", id)));
    let mut request = Request::form_to(STS, "/", &fields);
    sign(&mut request, access, ("eu-central-1", "sts"));
    request
}

/// The status, and what of these the answer has.
async fn assert_told(cloud: &Cloud, request: &Request, status: u16, word: &str) -> Result<String> {
    let answer = cloud.ask(request).await?;
    assert!(
        answer.status == status && answer.body.contains(word),
        "{word}: {} {}",
        answer.status,
        answer.body
    );
    Ok(answer.body)
}

fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let rest = xml.split_once(&format!("<{name}>")).map(|(_, rest)| rest).unwrap_or_default();
    rest.split('<').next().unwrap_or_default()
}

#[tokio::test]
async fn aws_lets_in_whom_it_knows_by_a_right_signature_with_rights() -> Result<()> {
    let test = Scenario::shared().await?;
    let cloud = Cloud::with_aws(&test.client).await?;
    let (puller, stranger) = (&cloud.aws()?.puller, &cloud.aws()?.stranger);
    let access = (puller.id.as_str(), puller.secret.as_str(), None);
    let ours = ("eu-central-1", "ecr");
    let answer = assert_told(&cloud, &call(ECR, access, ours), 200, "authorizationToken").await?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let data = &answer["authorizationData"][0];
    assert_eq!(data["proxyEndpoint"], "https://123456789012.dkr.ecr.eu-central-1.amazonaws.com");
    let newest = cloud.newest(Service::Ecr).unwrap();
    let left = newest.expires.as_second() - jiff::Timestamp::now().as_second();
    assert!((43_190..=43_200).contains(&left), "{left}");

    let other = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let mut altered = call(ECR, access, ours);
    altered.headers.insert("x-amz-date", "20200101T000000Z".parse()?);
    let unsigned = {
        let mut request = call(ECR, access, ours);
        request.headers.remove("authorization");
        request
    };
    for (request, word) in [
        (call(ECR, (&puller.id, other, None), ours), "InvalidSignatureException"),
        (call(ECR, ("AKIAIOSFODNN7EXAMPLE", other, None), ours), "UnrecognizedClientException"),
        (call(ECR, (&stranger.id, &stranger.secret, None), ours), "AccessDeniedException"),
        (call(ECR, access, ("eu-west-1", "ecr")), "InvalidSignatureException"),
        (call(ECR, access, ("eu-central-1", "ecr-public")), "InvalidSignatureException"),
        (
            call((ECR.0, "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories"), access, ours),
            "UnknownOperationException",
        ),
        (call(ECR, access, ours).with_json(&json!({})), "SerializationException"),
        (altered, "InvalidSignatureException"),
        (unsigned, "MissingAuthenticationTokenException"),
        (call(PUBLIC, (&puller.id, other, None), ("us-east-1", "ecr-public")), "InvalidSignatureException"),
        (
            call(PUBLIC, ("AKIAIOSFODNN7EXAMPLE", other, None), ("us-east-1", "ecr-public")),
            "UnrecognizedClientException",
        ),
        (
            call(PUBLIC, (&stranger.id, &stranger.secret, None), ("us-east-1", "ecr-public")),
            "AccessDeniedException",
        ),
    ] {
        assert_told(&cloud, &request, 400, word).await?;
    }
    assert_told(&cloud, &call(PUBLIC, access, ("us-east-1", "ecr-public")), 200, "expiresAt").await?;

    // A role, and what is done as it.
    let chained = role("chained");
    for (request, word) in [
        (assume(access, &chained, None), "AccessDenied"),
        (assume(access, &chained, Some("ext-8")), "AccessDenied"),
        (assume((&stranger.id, &stranger.secret, None), &chained, Some(EXTERNAL_ID)), "AccessDenied"),
        (assume((&puller.id, other, None), &chained, Some(EXTERNAL_ID)), "SignatureDoesNotMatch"),
    ] {
        assert_told(&cloud, &request, 403, word).await?;
    }
    let session =
        assert_told(&cloud, &assume(access, &chained, Some(EXTERNAL_ID)), 200, "SessionToken").await?;
    let part = |name| element(&session, name);
    let (id, secret) = (part("AccessKeyId"), part("SecretAccessKey"));
    assert_told(&cloud, &call(ECR, (id, secret, Some(part("SessionToken"))), ours), 200, "expiresAt").await?;
    assert_told(&cloud, &call(ECR, (id, secret, Some("another")), ours), 400, "__type").await?;
    Ok(())
}

#[tokio::test]
async fn aws_takes_web_identities_of_known_service_accounts_for_its_own_audience() -> Result<()> {
    let World { cloud, test, lab: _lab } = World::with_aws().await?;
    let home = &test.home.name;
    for name in ["known", "unknown"] {
        account(&test.client, home, name, json!({})).await?;
    }
    cloud.let_in(home, "known");
    let token = async |name, audience| account_token(&test.client, home, name, audience).await;
    let web = |role: &str, token: &str| {
        let action = "AssumeRoleWithWebIdentity";
        let fields =
            [("Action", action), ("Version", "2011-06-15"), ("RoleArn", role), ("RoleSessionName", "test")];
        Request::form_to(STS, "/", &[&fields[..], &[("WebIdentityToken", token)]].concat())
    };
    let (puller, audience) = (role("puller"), "sts.amazonaws.com");
    let known = token("known", audience).await?;
    for (request, status, word) in [
        (web(&puller, &token("unknown", audience).await?), 403, "AccessDenied"),
        (web(&puller, &token("known", "sts.example.com").await?), 400, "InvalidIdentityToken"),
        (web(&puller, &format!("{}x", &known[..known.len() - 1])), 400, "InvalidIdentityToken"),
        (web(&role("chained"), &known), 403, "AccessDenied"),
        (web(&puller, &known).with("authorization", "AWS4-HMAC-SHA256 x"), 400, "not signed"),
    ] {
        assert_told(&cloud, &request, status, word).await?;
    }
    let session = assert_told(&cloud, &web(&puller, &known), 200, "SessionToken").await?;
    let part = |name| element(&session, name);
    let access = (part("AccessKeyId"), part("SecretAccessKey"), Some(part("SessionToken")));
    assert_told(&cloud, &call(ECR, access, ("eu-central-1", "ecr")), 200, "expiresAt").await?;
    // Signatures are checked again after it.
    let wrong = (access.0, "another", access.2);
    assert_told(&cloud, &call(ECR, wrong, ("eu-central-1", "ecr")), 400, "InvalidSignatureException").await?;

    let agent = |token: &str| {
        Request::form_to("169.254.170.23", "/v1/credentials", &[]).by_get("").with("authorization", token)
    };
    let pods = token("known", "pods.eks.amazonaws.com").await?;
    for (token, status) in [(known.as_str(), 400), ("", 400), (pods.as_str(), 200)] {
        assert_eq!(cloud.ask_node(&agent(token)).await?.status, status);
    }
    Ok(())
}
