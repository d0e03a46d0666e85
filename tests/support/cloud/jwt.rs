//! JSON Web Tokens, as those who take or give them look at them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use kube::Client;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Value, json};

use super::super::error::{Error, Result};

/// The claims, whoever has signed them.
pub fn claims(token: &str) -> Result<Value, String> {
    part(token.split('.').nth(1).unwrap_or_default())
}

fn part(encoded: &str) -> Result<Value, String> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| "a part that is not base64")?;
    serde_json::from_slice(&bytes).map_err(|_| "a part that is not JSON".to_owned())
}

/// The claims of a token with a good signature of this key.
fn verified(
    token: &str,
    algorithm: &str,
    verification: &'static dyn VerificationAlgorithm,
    key: &[u8],
) -> Result<Value, String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("not three parts")?;
    let (header, body) = signed.split_once('.').ok_or("not three parts")?;
    let header = part(header)?;
    if header["alg"] != algorithm || header.get("typ").is_some_and(|typ| typ != "JWT") {
        return Err(format!("the header is {header}"));
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "a signature that is not base64")?;
    let key = UnparsedPublicKey::new(verification, key);
    key.verify(signed.as_bytes(), &signature).map_err(|_| "a wrong signature")?;
    part(body)
}

/// The claims of a token that an RSA key has signed; the public key as in PKCS#1.
pub fn verified_rs256(token: &str, key: &[u8]) -> Result<Value, String> {
    verified(token, "RS256", &RSA_PKCS1_2048_8192_SHA256, key)
}

/// A token of a vendor's own, which nobody but the vendor can judge: its signature is random.
pub fn opaque(claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signature: Vec<u8> = (0..256).map(|_| rand::random::<u8>()).collect();
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "of-the-vendor"});
    format!("{}.{}.{}", encode(&header), encode(claims), URL_SAFE_NO_PAD.encode(signature))
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A cluster whose ServiceAccounts are known elsewhere, by the keys that it publishes.
#[derive(Debug, Clone)]
pub struct Issuer {
    name: String,
    /// Uncompressed points of P-256.
    keys: Vec<Vec<u8>>,
}

impl Issuer {
    pub async fn of(client: &Client) -> Result<Self> {
        let get = async |path: &str| -> Result<Value> {
            Ok(client.request(http::Request::get(path).body(Vec::new())?).await?)
        };
        let document = get("/.well-known/openid-configuration").await?;
        let name = document["issuer"].as_str().ok_or_else(|| Error::new("no issuer"))?.to_owned();
        let mut keys = Vec::new();
        for key in get("/openid/v1/jwks").await?["keys"].as_array().into_iter().flatten() {
            let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap_or_default());
            keys.push([vec![4], number("x")?, number("y")?].concat());
        }
        Ok(Self { name, keys })
    }

    /// Of whom a token is, when it is one of the cluster, good now, and for this audience alone.
    pub fn subject(&self, token: &str, audience: &str) -> Result<String, String> {
        let check = |key: &Vec<u8>| verified(token, "ES256", &ECDSA_P256_SHA256_FIXED, key);
        let claims = self.keys.iter().map(check).reduce(Result::or).unwrap_or(Err("no keys".into()))?;
        if claims["iss"] != self.name.as_str() {
            return Err(format!("the issuer is {}", claims["iss"]));
        }
        if claims["aud"] != json!([audience]) {
            return Err(format!("the audience is {}, not {audience:?}", claims["aud"]));
        }
        let time = |name: &str| claims[name].as_i64().unwrap_or_default();
        if !(time("nbf") - 5..time("exp")).contains(&now()) {
            return Err("it is not good now".to_owned());
        }
        claims["sub"].as_str().map(str::to_owned).ok_or_else(|| "no subject".to_owned())
    }
}
