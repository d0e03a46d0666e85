//! JSON Web Tokens (RFC 7519): signed with RS256 (RFC 7518), and read for when they end.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::jiff::Timestamp;
use ring::{
    rand::SecureRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::{SecretBytes, certificate};

/// A key of RSA, from PEM (PKCS#1 or PKCS#8); `None` for anything else.
pub(super) fn key(pem: &[u8]) -> Option<RsaKeyPair> {
    let der = certificate::private_key_der(pem).ok()?;
    RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der)).ok()
}

/// Signs claims. `None` when they cannot be, as with a key that is too short.
pub(super) fn sign(
    key: &RsaKeyPair,
    claims: &impl Serialize,
    random: &dyn SecureRandom,
) -> Option<SecretBytes> {
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
    let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).ok()?);
    let mut signature = vec![0; key.public().modulus_len()];
    let text = Zeroizing::new([head, claims].join("."));
    key.sign(&RSA_PKCS1_SHA256, random, text.as_bytes(), &mut signature).ok()?;
    let signature = URL_SAFE_NO_PAD.encode(signature);
    Some(SecretBytes::concat(&[text.as_bytes(), b".", signature.as_bytes()]))
}

/// When a token ends, as it says itself.
pub(crate) fn expires(token: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let claims = token.split(|byte| *byte == b'.').nth(1)?;
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_ascii_end()).ok()?);
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(exp).ok()
}
