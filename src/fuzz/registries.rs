//! Answers of registries and token servers, which a tenant names, and flags that say which may be asked.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::{CANARY, check, generate};
use crate::api::VerificationMode;
use crate::domain::{
    schedule::MAX_REGISTRY_REQUESTS,
    verification::{
        Answer, Attempt, Authorization, Login, RegistryAccess, RegistryLogin, Request, Rules, Scheme, Server,
        ServerPatterns, Step, Subject,
    },
};

fn texts() -> Vec<Vec<u8>> {
    let texts = [
        r#"401|Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull"||{}"#,
        r#"401|Basic realm="Registry Realm", charset="UTF-8"||{"errors":[{"code":"UNAUTHORIZED","message":"m"}]}"#,
        r#"401|Negotiate, Digest realm="x", nonce="\"y", Bearer realm=https://a.io/t||"#,
        r#"401|Bearer realm="http://user:pw@169.254.169.254/latest?x=1#y",service="%&="||"#,
        r#"401|Bearer realm="https://[::ffff:127.0.0.1]:99999/"||"#,
        r#"200|||{"token":"abc.def","access_token":"x","expires_in":300}"#,
        r#"200|||{"namespaces":[{"id":"12345678-90ab-cdef-1234-567890abcdef","name":"web","endpoint":"rg/web"}]}"#,
        r#"429||3600|{"errors":[{"code":"TOOMANYREQUESTS"}]}"#,
        r#"404|||{"errors":[{"code":"NAME_UNKNOWN"}]}"#,
        r#"403||Sat, 22 Nov 2026 07:28:00 GMT|<html>"#,
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// Status, challenge, `Retry-After` and body of an answer, from a text.
fn answer(text: &str) -> Answer {
    let mut parts = text.splitn(4, '|').map(str::to_owned);
    let status = parts.next().and_then(|status| status.trim().parse().ok()).unwrap_or(401);
    let challenges = parts.next().into_iter().collect();
    let retry_after = parts.next().filter(|text| !text.is_empty());
    Answer {
        challenges,
        retry_after,
        ..Answer::new(status, parts.next().unwrap_or_default().as_str().into())
    }
}

fn is_allowed(request: &Request, own: &Server) -> bool {
    let is_secret = request.authorization != Authorization::Nobody;
    // The password goes to nobody without TLS.
    !is_secret || request.scheme == Scheme::Https || request.server == *own
}

/// Whatever is answered, each try ends soon, asks only for what a header and a path can say, and says nothing of the
/// login or the answers.
#[test]
fn answers_of_registries_end_in_an_outcome() {
    check(generate::from(texts()), |input| {
        let text = String::from_utf8_lossy(input);
        let lines: Vec<&str> = text.lines().collect();
        let server = Server::parse("registry.example.com").unwrap();
        let login = Login {
            provider: "Custom".to_owned(),
            version: None,
            key: "registry.example.com".to_owned(),
            rules: Rules { mode: VerificationMode::Enforce, interval: Duration::ZERO },
            server: server.clone(),
            authorities: None,
            subject: Subject::Registry(RegistryLogin {
                username: Zeroizing::new("user".to_owned()),
                password: Zeroizing::new(CANARY.to_owned()),
                repository: Some(("team/app".to_owned(), "latest".to_owned())),
                scaleway: Some(("fr-par", Some("web".to_owned()))),
            }),
        };
        let now = Timestamp::UNIX_EPOCH;
        let (mut attempt, mut step) =
            Attempt::begin(Arc::new(login), Arc::new(RegistryAccess::default()), now);
        for n in 0.. {
            prop_assert!(n <= MAX_REGISTRY_REQUESTS);
            match step {
                Step::Done(outcome) => {
                    prop_assert!(outcome.message.len() < 500, "{}", outcome.message);
                    prop_assert!(!outcome.message.contains(CANARY), "{}", outcome.message);
                    prop_assert!(outcome.realm.is_none_or(|realm| realm.len() < 300));
                    break;
                }
                Step::Ask(request) => {
                    prop_assert!(is_allowed(&request, &server), "{request:?}");
                    let uri = format!("{}://{}{}", request.scheme, request.server, request.path);
                    let read: http::Uri = uri.parse().map_err(|_| TestCaseError::fail(uri.clone()))?;
                    let host = read.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
                    prop_assert_eq!(host, request.server.host, "{}", uri);
                    let line = lines.get(n % lines.len().max(1)).copied().unwrap_or_default();
                    step = attempt.answered(Ok(answer(line)), now);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn names_of_registries_are_read_or_refused() {
    let texts =
        ["quay.io", "*.example.com:5000,localhost", "[::1]:5000", "10.0.0.1:0", "xn--fsq.com.", "a..b", "*"];
    check(generate::from(texts.map(|text| text.as_bytes().to_vec()).into()), |input| {
        let text = String::from_utf8_lossy(input);
        if let Some(server) = Server::parse(&text) {
            let printed = server.to_string();
            prop_assert_eq!(Server::parse(&printed), Some(server), "{}", printed);
        }
        let _ = text.parse::<ServerPatterns>();
        Ok(())
    });
}
