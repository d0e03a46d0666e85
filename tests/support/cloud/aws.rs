//! AWS: moto, and in front of it what moto leaves out. moto checks signatures and rights, and its roles and keys are real; but
//! it knows neither who may assume a role by a web identity nor ECR Public, gives a token that ended in 2015, lets pass who
//! leaves an external id out, and words errors its own way. By the API references of ECR, ECR Public, STS and the user
//! guide of EKS (docs.aws.amazon.com), and by `pkg/credentials/model.go` of aws/eks-pod-identity-agent.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    super::{
        error::{Error, Result},
        http::Response,
        registry::Answer,
    },
    moto::Moto,
    request::{Fields, Refusal, Request, ok, refuse},
    service::Service,
    shared::{Shared, random},
    sigv4::Signed,
};

pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "eu-central-1";
/// Without it nobody becomes the role `chained`.
pub const EXTERNAL_ID: &str = "ext-7";

const HALF_A_DAY: u64 = 12 * 3600;
const STS_AUDIENCE: &str = "sts.amazonaws.com";
const POD_AUDIENCE: &str = "pods.eks.amazonaws.com";

/// An access key of a user.
#[derive(Debug, Clone)]
pub struct Key {
    pub id: String,
    pub secret: String,
}

pub struct Aws {
    moto: Moto,
    /// One request at a time: while moto answers an unsigned one, it checks no other.
    turn: tokio::sync::Mutex<()>,
    /// All secrets by their key ids, for what moto does not have.
    secrets: Mutex<HashMap<String, String>>,
    /// Of a user that may ask for tokens and become the role `chained`.
    pub puller: Key,
    /// Of a user that may do nothing.
    pub stranger: Key,
}

/// The name of a role: `puller` is for web identities, `chained` for users and roles that know the external id.
pub fn role(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

impl Aws {
    pub async fn start() -> Result<Self> {
        let moto = Moto::start().await?;
        let puller = user(&moto, "puller").await?;
        let stranger = user(&moto, "stranger").await?;
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": ["ecr:GetAuthorizationToken", "sts:AssumeRole"], "Resource": "*",
        }]});
        let policy = policy.to_string();
        let named = [("PolicyName", "pull"), ("PolicyDocument", policy.as_str())];
        let of_user = [("Action", "PutUserPolicy"), ("UserName", "puller")];
        moto.manage(&[&of_user[..], &named].concat()).await?;
        // Who may assume them by a web identity is checked here.
        for (name, condition) in
            [("puller", json!({})), ("chained", json!({"StringEquals": {"sts:ExternalId": EXTERNAL_ID}}))]
        {
            let mut statement =
                json!({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"});
            statement["Condition"] = condition;
            let trust = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
            let role =
                [("Action", "CreateRole"), ("RoleName", name), ("AssumeRolePolicyDocument", trust.as_str())];
            moto.manage(&role).await?;
            let of_role = [("Action", "PutRolePolicy"), ("RoleName", name)];
            moto.manage(&[&of_role[..], &named].concat()).await?;
        }
        moto.check_signatures().await?;
        let secrets = [&puller, &stranger].map(|key| (key.id.clone(), key.secret.clone()));
        let (turn, secrets) = (tokio::sync::Mutex::default(), Mutex::new(HashMap::from(secrets)));
        Ok(Self { moto, turn, secrets, puller, stranger })
    }

    /// Hands a request on as it is, with its signature.
    async fn forward(&self, request: &Request) -> Result<Response, Refusal> {
        let body = String::from_utf8_lossy(&request.body);
        let mut headers = String::new();
        for (name, value) in &request.headers {
            if !["host", "content-length", "connection", "transfer-encoding"].contains(&name.as_str()) {
                headers.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
            }
        }
        let _turn = self.turn.lock().await;
        let answer = if request.header("authorization").is_some() {
            self.moto.ask(&request.host, &headers, &body).await
        } else {
            self.moto.ask_unsigned(&request.host, &headers, &body).await
        };
        let answer = answer.map_err(|error| refuse(500, "InternalFailure", error.to_string()))?;
        self.remember(&answer.body);
        if answer.status == 200 { Ok(answer) } else { Err(translated(&answer)) }
    }

    fn remember(&self, answer: &str) {
        if let (Some(id), Some(secret)) = (element(answer, "AccessKeyId"), element(answer, "SecretAccessKey"))
        {
            let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
            secrets.insert(id.to_owned(), secret.to_owned());
        }
    }

    fn secret(&self, id: &str) -> Option<String> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

async fn user(moto: &Moto, name: &str) -> Result<Key> {
    moto.manage(&[("Action", "CreateUser"), ("UserName", name)]).await?;
    let made = moto.manage(&[("Action", "CreateAccessKey"), ("UserName", name)]).await?;
    let part = |name| element(&made, name).map(str::to_owned).ok_or_else(|| Error::new(made.clone()));
    Ok(Key { id: part("AccessKeyId")?, secret: part("SecretAccessKey")? })
}

fn aws(shared: &Shared) -> Result<&Aws, Refusal> {
    shared.aws.as_ref().ok_or_else(|| refuse(503, "ServiceUnavailable", "this cloud was started without AWS"))
}

/// The parts of a call in JSON 1.1, and that its signature is for this service at this place.
fn check_call<'a>(
    request: &'a Request,
    target: &str,
    service: &str,
    region: &str,
) -> Result<Signed<'a>, Refusal> {
    if request.method != "POST" || request.path != "/" || !request.query.is_empty() {
        return Err(refuse(404, "UnknownOperationException", ""));
    }
    if request.header("x-amz-target") != Some(target) {
        return Err(refuse(400, "UnknownOperationException", format!("not {target}")));
    }
    if request.content_type() != "application/x-amz-json-1.1" {
        return Err(refuse(400, "SerializationException", "not application/x-amz-json-1.1"));
    }
    let body = request.json().map_err(|why| refuse(400, "SerializationException", why))?;
    // `registryIds` is deprecated, and changes nothing of what a token may do.
    if body != json!({}) {
        return Err(refuse(400, "InvalidParameterException", "nothing is to be said"));
    }
    signed_for(request, service, region)
}

fn signed_for<'a>(request: &'a Request, service: &str, region: &str) -> Result<Signed<'a>, Refusal> {
    let signed = Signed::read(request)?;
    if signed.service != service || signed.region != region {
        let message = format!("Credential should be scoped to {region}/{service}.");
        return Err(refuse(400, "InvalidSignatureException", message));
    }
    Ok(signed)
}

/// A login as ECR words it. Its password is as long as real ones.
fn login(shared: &Shared, service: Service) -> (String, Value) {
    let (_, expires) = shared.life(HALF_A_DAY);
    let password = shared.mint(service, "AWS", random("eyJwYXlsb2FkIjoi", 2_000), expires);
    // Seconds, with a fraction.
    (STANDARD.encode(format!("AWS:{password}")), json!(expires.as_millisecond() as f64 / 1000.0))
}

pub async fn ecr(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    let region = request.host.split('.').nth(2).unwrap_or_default();
    check_call(request, "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", "ecr", region)?;
    let answer = aws(shared)?.forward(request).await?;
    let mut answer: Value = serde_json::from_str(&answer.body)
        .map_err(|error| refuse(500, "ServerException", error.to_string()))?;
    for data in answer["authorizationData"].as_array_mut().into_iter().flatten() {
        let (token, expires) = login(shared, Service::Ecr);
        data["authorizationToken"] = json!(token);
        data["expiresAt"] = expires;
    }
    Ok(told_in_json(200, &answer))
}

pub fn ecr_public(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    let signed =
        check_call(request, "SpencerFrontendService.GetAuthorizationToken", "ecr-public", "us-east-1")?;
    let message = "The security token included in the request is invalid.";
    let secret = aws(shared)?.secret(signed.key_id);
    let secret = secret.ok_or_else(|| refuse(400, "UnrecognizedClientException", message))?;
    signed.check(request, &secret)?;
    if signed.key_id == aws(shared)?.stranger.id {
        return Err(refuse(
            400,
            "AccessDeniedException",
            "not authorized to perform: ecr-public:GetAuthorizationToken",
        ));
    }
    let (token, expires) = login(shared, Service::EcrPublic);
    Ok(told_in_json(200, &json!({"authorizationData": {"authorizationToken": token, "expiresAt": expires}})))
}

pub async fn sts(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    let invalid = |why: String| refuse(400, "ValidationError", why);
    if request.path != "/" || !request.query.is_empty() {
        return Err(refuse(404, "InvalidAction", ""));
    }
    let form = request.form().map_err(invalid)?;
    form.is("Version", "2011-06-15").map_err(invalid)?;
    let name = form.need("RoleSessionName").map_err(invalid)?;
    let fits = |character: char| character.is_ascii_alphanumeric() || "_+=,.@-".contains(character);
    if !(2..=64).contains(&name.len()) || !name.chars().all(fits) {
        return Err(invalid(format!("RoleSessionName is {name:?}")));
    }
    if let Some(seconds) = form.get("DurationSeconds")
        && !seconds.parse().is_ok_and(|seconds: u32| (900..=43_200).contains(&seconds))
    {
        return Err(invalid(format!("DurationSeconds is {seconds}")));
    }
    let common = ["Action", "Version", "RoleArn", "RoleSessionName", "DurationSeconds"];
    match form.need("Action").map_err(invalid)? {
        "AssumeRole" => {
            form.only(&[&common[..], &["ExternalId"]].concat()).map_err(invalid)?;
            let region = request.host.split('.').nth(1).unwrap_or_default();
            signed_for(request, "sts", region)?;
            if form.need("RoleArn").map_err(invalid)? == role("chained") && form.get("ExternalId").is_none() {
                return Err(refuse(403, "AccessDenied", "not authorized to perform: sts:AssumeRole"));
            }
        }
        "AssumeRoleWithWebIdentity" => {
            form.only(&[&common[..], &["WebIdentityToken"]].concat()).map_err(invalid)?;
            check_web_identity(shared, request, &form)?;
        }
        other => return Err(refuse(400, "InvalidAction", format!("no action {other}"))),
    }
    let answer = aws(shared)?.forward(request).await?;
    note_session(shared, Service::Sts, &answer.body);
    Ok(Answer::status(200).header("content-type", "text/xml").body(answer.body))
}

fn check_web_identity(shared: &Shared, request: &Request, form: &Fields) -> Result<(), Refusal> {
    let invalid = |why: String| refuse(400, "ValidationError", why);
    if request.header("authorization").is_some() {
        return Err(refuse(400, "ValidationError", "this action is not signed"));
    }
    let denied = |why: String| {
        refuse(403, "AccessDenied", format!("Not authorized to perform sts:AssumeRoleWithWebIdentity: {why}"))
    };
    let token = form.need("WebIdentityToken").map_err(invalid)?;
    shared.subject(token, STS_AUDIENCE).map_err(|why| {
        if why.contains("is not known") { denied(why) } else { refuse(400, "InvalidIdentityToken", why) }
    })?;
    form.is("RoleArn", &role("puller")).map_err(denied)
}

/// Secrets of a session are minted, too.
fn note_session(shared: &Shared, service: Service, answer: &str) {
    let (_, expires) = shared.life(3600);
    for name in ["SecretAccessKey", "SessionToken"] {
        if let Some(value) = element(answer, name) {
            shared.mint(service, name, value.to_owned(), expires);
        }
    }
}

/// The agent on the node: a ServiceAccount's token becomes a session of the role that goes with the ServiceAccount.
pub async fn pod_identity(shared: &Shared, request: &Request) -> Result<Answer, Refusal> {
    if request.method != "GET" || request.path != "/v1/credentials" || !request.query.is_empty() {
        return Err(refuse(404, "", "404 page not found"));
    }
    let token = request.header("authorization").unwrap_or_default();
    if token.is_empty() {
        return Err(refuse(400, "", "Service account token cannot be empty"));
    }
    shared
        .subject(token, POD_AUDIENCE)
        .map_err(|why| refuse(400, "", format!("InvalidTokenException: {why}")))?;
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", &role("puller")),
        ("RoleSessionName", "eks-pod"),
        ("WebIdentityToken", token),
    ];
    let asked = Request::form_to(&format!("sts.{REGION}.amazonaws.com"), "/", &form);
    let answer = aws(shared)?.forward(&asked).await?.body;
    note_session(shared, Service::PodIdentity, &answer);
    let part = |name| element(&answer, name).unwrap_or_default();
    Ok(ok(&json!({
        "AccessKeyId": part("AccessKeyId"), "SecretAccessKey": part("SecretAccessKey"), "Token": part("SessionToken"),
        "AccountId": ACCOUNT, "Expiration": part("Expiration"),
    })))
}

/// What stands between a tag and its end.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0)
}

/// What moto says, by the names that AWS has for it.
fn translated(answer: &Response) -> Refusal {
    let message = element(&answer.body, "Message").unwrap_or_default();
    let (status, code) = match element(&answer.body, "Code") {
        Some("SignatureDoesNotMatch") => (403, "SignatureDoesNotMatch"),
        Some("InvalidClientTokenId") => (403, "InvalidClientTokenId"),
        Some("AccessDenied") => (403, "AccessDenied"),
        _ => (500, "InternalFailure"),
    };
    refuse(status, code, message)
}

/// As services that speak JSON say it: the same mistakes have other names there.
pub fn json_error(refusal: &Refusal) -> Answer {
    let (status, code) = match refusal.code {
        "SignatureDoesNotMatch" => (400, "InvalidSignatureException"),
        "InvalidClientTokenId" => (400, "UnrecognizedClientException"),
        "AccessDenied" => (400, "AccessDeniedException"),
        other => (refusal.status, other),
    };
    told_in_json(status, &json!({"__type": code, "message": refusal.message}))
}

fn told_in_json(status: u16, body: &Value) -> Answer {
    Answer::status(status).header("content-type", "application/x-amz-json-1.1").body(body.to_string())
}

/// As services say it that speak forms and XML.
pub fn query_error(refusal: &Refusal) -> Answer {
    let (code, message) = (refusal.code, &refusal.message);
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n    <Type>Sender</Type>\n    \
         <Code>{code}</Code>\n    <Message>{message}</Message>\n  </Error>\n  <RequestId>{}</RequestId>\n</ErrorResponse>\n",
        random("", 36),
    );
    Answer::status(refusal.status).header("content-type", "text/xml").body(body)
}
