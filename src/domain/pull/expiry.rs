//! Until when a login is good, where its password says so itself.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::domain::{registry::keyring::Login, token};

/// A JSON Web Token has its end in it, and so has a token of ECR.
pub(super) fn expires(login: &Login) -> Option<Timestamp> {
    let password = login.password.expose();
    token::expires(password).or_else(|| {
        #[derive(Deserialize)]
        struct Ecr {
            expiration: i64,
        }
        let text = Zeroizing::new(STANDARD.decode(password).ok()?);
        let Ecr { expiration } = serde_json::from_slice(&text).ok()?;
        Timestamp::from_second(expiration).ok()
    })
}
