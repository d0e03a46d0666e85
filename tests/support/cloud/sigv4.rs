//! Signatures of AWS, version 4, as the "Create a signed AWS API request" of the IAM user guide has them: to check those of
//! services that moto does not have, and to sign as a client would.

use ring::hmac::{HMAC_SHA256, Key, sign as hmac};
use sha2::{Digest, Sha256};

use super::request::{Refusal, Request, refuse};

/// What stands in `Authorization`.
#[derive(Debug)]
pub struct Signed<'a> {
    pub key_id: &'a str,
    pub region: &'a str,
    pub service: &'a str,
    date: &'a str,
    headers: Vec<&'a str>,
    signature: &'a str,
}

/// How far the clocks of a client and of AWS may be apart.
const SKEW: i64 = 15 * 60;

impl<'a> Signed<'a> {
    /// All that can be said without the secret: the form, the time, and which headers have to be signed.
    pub fn read(request: &'a Request) -> Result<Self, Refusal> {
        let incomplete = |what: &str| refuse(400, "IncompleteSignatureException", what);
        let text = request.authorization("AWS4-HMAC-SHA256").ok_or_else(|| {
            refuse(400, "MissingAuthenticationTokenException", "Missing Authentication Token")
        })?;
        let field = |name: &str| {
            let found = text.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| incomplete(name))
        };
        let scope: Vec<&str> = field("Credential")?.split('/').collect();
        let [key_id, date, region, service, "aws4_request"] = scope.as_slice() else {
            return Err(incomplete("Credential"));
        };
        let headers: Vec<&str> = field("SignedHeaders")?.split(';').collect();
        let signed = Self { key_id, region, service, date, headers, signature: field("Signature")? };
        if !signed.headers.is_sorted() {
            return Err(incomplete("the signed headers are not in order"));
        }
        let all = request.headers.keys().map(hyper::header::HeaderName::as_str);
        for name in
            all.filter(|name| *name == "host" || *name == "content-type" || name.starts_with("x-amz-"))
        {
            if !signed.headers.contains(&name) {
                return Err(incomplete(&format!("{name} is not signed")));
            }
        }
        let time = request.header("x-amz-date").ok_or_else(|| incomplete("no X-Amz-Date"))?;
        let then = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", time).and_then(|time| time.to_datetime());
        let then = then.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC));
        let then = then.map_err(|_| incomplete("X-Amz-Date"))?.timestamp().as_second();
        if !time.starts_with(signed.date) || (super::jwt::now() - then).abs() > SKEW {
            return Err(refuse(400, "InvalidSignatureException", format!("Signature expired: {time}")));
        }
        Ok(signed)
    }

    pub fn check(&self, request: &Request, secret: &str) -> Result<(), Refusal> {
        if self.signature(request, secret) == self.signature {
            return Ok(());
        }
        let message = "The request signature we calculated does not match the signature you provided.";
        Err(refuse(400, "InvalidSignatureException", message))
    }

    fn signature(&self, request: &Request, secret: &str) -> String {
        let mut query: Vec<&str> = request.query.split('&').filter(|pair| !pair.is_empty()).collect();
        query.sort_unstable();
        let headers: String = self
            .headers
            .iter()
            .map(|name| format!("{name}:{}\n", request.header(name).unwrap_or_default().trim()))
            .collect();
        let body = hex(&Sha256::digest(&request.body));
        let (method, path) = (&request.method, &request.path);
        let canonical =
            format!("{method}\n{path}\n{}\n{headers}\n{}\n{body}", query.join("&"), self.headers.join(";"));
        let scope = format!("{}/{}/{}/aws4_request", self.date, self.region, self.service);
        let time = request.header("x-amz-date").unwrap_or_default();
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [self.date, self.region, self.service, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        hex(&mac(&key, text.as_bytes()))
    }
}

/// Adds `X-Amz-Date`, the session token if there is one, and `Authorization`.
pub fn sign(
    request: &mut Request,
    (key_id, secret, session): (&str, &str, Option<&str>),
    (region, service): (&str, &str),
) {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    // It is signed, and added when the request is sent.
    request.headers.insert("host", request.host.parse().expect("a host"));
    let mut add = |name: &'static str, value: &str| {
        request.headers.insert(name, value.parse().expect("a header"));
    };
    add("x-amz-date", &time);
    if let Some(session) = session {
        add("x-amz-security-token", session);
    }
    let mut headers: Vec<String> = request.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    let signed = Signed {
        key_id,
        region,
        service,
        date: &time[..8],
        headers: headers.iter().map(String::as_str).collect(),
        signature: "",
    };
    let signature = signed.signature(request, secret);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={key_id}/{}/{region}/{service}/aws4_request, SignedHeaders={}, Signature={signature}",
        &time[..8],
        headers.join(";"),
    );
    request.headers.insert("authorization", authorization.parse().expect("a header"));
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac(&Key::new(HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
