//! What administrators write into flags: durations, names and labels.

use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::{duration::at_least, references, words};
use crate::{
    domain::labels::{is_dns_label, is_key, is_value},
    fuzz::{check, generate},
};

#[test]
fn durations_are_read_or_refused() {
    let texts = [
        "90s",
        "1h 30m",
        "168h",
        "0.5s",
        "PT1H30M",
        "1d2h3m4s5ms6us7ns",
        "99999999999999999999h",
        "-5s",
        "5s ago",
        "1:30:00",
    ];
    check(generate::from(texts.map(|text| text.as_bytes().to_vec()).into()), |input| {
        let text = String::from_utf8_lossy(input);
        match at_least(Duration::from_millis(1))(&text) {
            Ok(duration) => {
                prop_assert!(
                    (Duration::from_millis(1)..=Duration::from_secs(7 * 24 * 3600)).contains(&duration)
                );
                let printed = format!("{:#}", SignedDuration::try_from(duration).unwrap());
                prop_assert_eq!(at_least(Duration::ZERO)(&printed), Ok(duration), "{}", printed);
            }
            Err(error) => prop_assert!(error.len() < 100, "{}", error),
        }
        Ok(())
    });
}

#[test]
fn names_and_labels_are_read_or_refused() {
    let texts = [
        "pods,ingresses, traefik",
        "tier=hub,region=eu",
        "example.com/a=b, c=",
        "*",
        "kube-system",
        "hub-eu.1",
        "a=b,a=c",
    ];
    check(generate::from(texts.map(|text| text.as_bytes().to_vec()).into()), |input| {
        let text = String::from_utf8_lossy(input);
        let labels = words::labels(&text).unwrap_or_default();
        prop_assert!(labels.iter().all(|(key, value)| is_key(key) && is_value(value)));
        prop_assert!(references::kinds(&text).is_ok() || !text.is_empty());
        prop_assert!(words::id(&text).is_ok_and(|id| id == text) || !is_value(&text));
        prop_assert!(
            words::namespace(&text).is_ok_and(|name| name == text)
                || !(text.is_empty() || is_dns_label(&text))
        );
        Ok(())
    });
}
