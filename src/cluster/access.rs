//! From how a member is reached to a configuration of kube's, built by hand: kube's own reading of a
//! kubeconfig runs commands and opens files.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use kube::{Config, config::AuthInfo};

use crate::domain::{
    access::{Access, Login},
    fingerprint::encode,
};

static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A configuration for a way to a cluster, and a number that is another one when the way is. The number
/// is a keyed hash, with a key of this process.
#[must_use]
pub fn configuration(access: &Access) -> (Config, u64) {
    let mut config = Config::new(access.server.clone());
    config.root_cert.clone_from(&access.ca);
    config.accept_invalid_certs = access.insecure;
    config.tls_server_name.clone_from(&access.tls_server_name);
    let mut auth = AuthInfo::default();
    match &access.login {
        Some(Login::Token(token)) => auth.token = Some(token.text().into()),
        Some(Login::Basic { username, password }) => {
            auth.username = Some(username.clone());
            auth.password = Some(password.text().into());
        }
        None => {}
    }
    if let Some(certificate) = &access.certificate {
        auth.client_certificate_data = Some(encode(certificate.chain.expose()).to_string());
        auth.client_key_data = Some(encode(certificate.key.expose()).as_str().into());
    }
    config.auth_info = auth;
    (config, KEY.hash_one(access))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(token: &str) -> Access {
        Access {
            server: "https://10.0.0.1:6443".parse().unwrap(),
            ca: None,
            tls_server_name: None,
            insecure: false,
            login: Some(Login::Token(token.into())),
            certificate: None,
        }
    }

    #[test]
    fn the_number_changes_with_the_way_and_only_then() {
        let (first, same, other) = (access("a"), access("a"), access("b"));
        assert_eq!(configuration(&first).1, configuration(&same).1);
        assert_ne!(configuration(&first).1, configuration(&other).1);
        let elsewhere = Access { server: "https://10.0.0.2:6443".parse().unwrap(), ..access("a") };
        assert_ne!(configuration(&first).1, configuration(&elsewhere).1);
    }

    #[test]
    fn nothing_of_the_pod_is_used_and_nothing_secret_is_shown() {
        let (config, _) = configuration(&access("canary"));
        assert!(config.root_cert_file.is_none() && config.auth_info.token_file.is_none());
        assert!(config.auth_info.exec.is_none() && config.proxy_url.is_none());
        assert!(!format!("{config:?}").contains("canary"));
    }
}
