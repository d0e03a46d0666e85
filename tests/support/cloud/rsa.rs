//! An RSA key, made for the tests alone: none can be made here.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Value, json};

use super::{
    super::error::{Error, Result},
    GOOGLE_ACCOUNT, PROJECT,
};

const PEM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/fuzz/rsa.pem"));

pub struct RsaKey {
    /// PKCS#1.
    der: Vec<u8>,
    /// As in PKCS#1.
    pub public: Vec<u8>,
}

impl RsaKey {
    pub fn new() -> Result<Self> {
        let (_, rest) =
            PEM.split_once("-----BEGIN RSA PRIVATE KEY-----").ok_or_else(|| Error::new("no key"))?;
        let body: String = rest.split("-----").next().unwrap_or_default().split_whitespace().collect();
        let der = STANDARD.decode(body)?;
        let pair = RsaKeyPair::from_der(&der).map_err(|error| Error::new(format!("the RSA key: {error}")))?;
        Ok(Self { public: pair.public_key().as_ref().to_vec(), der })
    }

    /// As GitHub hands keys out.
    pub fn pkcs1(&self) -> String {
        pem("RSA PRIVATE KEY", &self.der)
    }

    /// As Google hands keys out.
    pub fn pkcs8(&self) -> String {
        // Version 0, and rsaEncryption without parameters.
        const HEAD: &[u8] = b"\x02\x01\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
        pem("PRIVATE KEY", &tagged(0x30, &[HEAD, &tagged(0x04, &self.der)].concat()))
    }

    /// A token with these claims, signed with RS256.
    pub fn token(&self, claims: &Value) -> Result<String> {
        let failed = |_| Error::new("the RSA key does not sign");
        let pair = RsaKeyPair::from_der(&self.der).map_err(|error| Error::new(error.to_string()))?;
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(&json!({"alg": "RS256", "typ": "JWT"})), encode(claims));
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(failed)?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The file of a service account of Google with this key.
    pub fn google_file(&self) -> Value {
        json!({
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "0123456789abcdef0123456789abcdef01234567",
            "private_key": self.pkcs8(),
            "client_email": GOOGLE_ACCOUNT,
            "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": "https://oauth2.googleapis.com/token",
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/puller%40acme-images.iam.gserviceaccount.com",
            "universe_domain": "googleapis.com",
        })
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or("")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A value of DER that is longer than 255 bytes.
fn tagged(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[tag, 0x82][..], &length, value].concat()
}
