//! Answers of object storage, which a tenant names: XML, and headers.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::{CANARY, check, generate, grows_with_its_input};
use crate::{
    api::VerificationMode,
    domain::{
        schedule::MAX_REGISTRY_ANSWER,
        sigv4::AccessKey,
        verification::{
            Answer, Attempt, Authorization, BucketLogin, Login, Outcome, RegistryAccess, Rules, Scheme,
            Server, Step, Subject,
        },
    },
};

/// Status, `X-Amz-Bucket-Region`, seconds of `Date`, and body of each answer, which are apart by a line that says so.
fn texts() -> Vec<Vec<u8>> {
    let texts = [
        r#"200|||<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><KeyCount>0</KeyCount></ListBucketResult>"#,
        "403|||<Error><Code>AccessDenied</Code><Message>Access Denied</Message><RequestId>1</RequestId></Error>",
        "403||9|<Error><Code>RequestTimeTooSkewed</Code></Error>",
        "403||-9223372036854775808|",
        "301|eu-west-1||<Error><Code>PermanentRedirect</Code><Region>eu-west-2</Region></Error>",
        "301|||<Error><Code>PermanentRedirect</Code></Error>\n----\n400|eu-west-1||",
        "400|||<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region &#34;a&#34; is wrong; expecting &apos;eu-west-1&apos;</Message></Error>",
        "403|||<Error><Code>Signature<![CDATA[DoesNotMatch]]></Code><Message>valid Region</Message></Error>\n----\n400|\u{202e}||",
        "503|||<Error><Code>SlowDown</Code></Error>",
        "404|||<!DOCTYPE a [<!ENTITY b \"c\">]><html>&b;",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

fn answer(text: &str) -> Answer {
    let mut parts = text.splitn(4, '|');
    let status = parts.next().and_then(|status| status.trim().parse().ok()).unwrap_or(403);
    let region = parts.next().filter(|region| !region.is_empty()).map(str::to_owned);
    let date = parts.next().and_then(|date| date.parse().ok());
    let date = date.and_then(|date| Timestamp::from_second(date).ok());
    Answer { region, date, ..Answer::new(status, parts.next().unwrap_or_default().into()) }
}

fn login(path_style: bool) -> Login {
    let access_key = AccessKey { id: "AKIDEXAMPLE".into(), secret: CANARY.into(), session: None };
    Login {
        provider: "S3Compatible".to_owned(),
        version: None,
        key: "s3.example.com/backups".to_owned(),
        rules: Rules { mode: VerificationMode::Enforce, interval: Duration::ZERO },
        server: Server::parse("s3.example.com").unwrap(),
        authorities: None,
        subject: Subject::Bucket(BucketLogin {
            scheme: Scheme::Https,
            access_key,
            region: "us-east-1".to_owned(),
            bucket: "backups".to_owned(),
            path_style,
        }),
    }
}

/// Tries a login with these answers, the last one of which is given again and again.
fn outcome(login: Login, answers: &[&str]) -> Result<Outcome, TestCaseError> {
    let now = Timestamp::UNIX_EPOCH;
    let (mut attempt, mut step) = Attempt::begin(Arc::new(login), Arc::new(RegistryAccess::default()), now);
    for n in 0..4 {
        let request = match step {
            Step::Done(outcome) => return Ok(outcome),
            Step::Ask(request) => request,
        };
        prop_assert!(request.authorization == Authorization::Nobody && request.body.is_none());
        prop_assert!(request.scheme == Scheme::Https && request.server.host.ends_with("s3.example.com"));
        for (name, value) in &request.headers {
            prop_assert!(!value.text().contains(CANARY), "{}", name);
        }
        let text = answers.get(n).or(answers.last()).copied().unwrap_or_default();
        step = attempt.answered(Ok(answer(text)), now);
    }
    Err(TestCaseError::fail("it asks without end"))
}

/// Whatever is answered, each try ends soon, shows the secret key nobody, and tells nothing of the answers but what a code
/// or the name of a region can be.
#[test]
fn answers_of_object_storage_end_in_an_outcome() {
    check(generate::from(texts()), |input| {
        let text = String::from_utf8_lossy(input);
        let answers: Vec<&str> = text.split("\n----\n").collect();
        for path_style in [true, false] {
            let outcome = outcome(login(path_style), &answers)?;
            let message = outcome.message;
            prop_assert!(message.len() < 400 && message.is_ascii(), "{}", message);
            prop_assert!(!message.contains(CANARY) && !message.contains('<'), "{}", message);
        }
        Ok(())
    });
}

#[test]
fn the_longest_answer_is_read_in_time() {
    let error = |inner: &str, size: usize| {
        let inner = inner.repeat(size / inner.len());
        format!("403|||<Error><Code>AccessDenied</Code>{inner}</Error>").into_bytes()
    };
    for inner in ["<a>", "<a b='c'/>", "&#34;", "<Code>x</Code>", "<![CDATA[x]]>", "<!-- -->"] {
        grows_with_its_input(
            inner,
            MAX_REGISTRY_ANSWER,
            |size| error(inner, size),
            |bytes| {
                let text = String::from_utf8_lossy(bytes);
                assert!(outcome(login(true), &[&*text]).is_ok());
            },
        );
    }
}
