//! Labels on the command line: `env=prod,region=eu`.

use std::collections::BTreeMap;

/// Labels in the syntax of Kubernetes. A type of its own: clap takes a bare map for no value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(pub BTreeMap<String, String>);

impl std::str::FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut labels = BTreeMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not key=value"))?;
            if !is_key(key) {
                return Err(format!("{key:?} is not a label key"));
            }
            if !value.is_empty() && !is_name(value) {
                return Err(format!("{value:?} is not a label value"));
            }
            if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("label {key} is given twice"));
            }
        }
        Ok(Self(labels))
    }
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((prefix, name)) => is_name(name) && prefix.len() <= 253 && prefix.split('.').all(is_dns_label),
    }
}

/// At most 63 of `[A-Za-z0-9._-]`, a letter or digit at both ends.
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= 63
        && ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

fn is_dns_label(text: &str) -> bool {
    is_name(text) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pairs_and_nothing() {
        let labels: Labels = "env=prod, claviger.dev/tier=1,empty=".parse().unwrap();
        let wanted = [("env", "prod"), ("claviger.dev/tier", "1"), ("empty", "")];
        assert_eq!(labels.0, wanted.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert_eq!("".parse(), Ok(Labels::default()), "a chart sets empty variables");
    }

    #[test]
    fn refuses_what_the_api_server_would() {
        for text in ["env", "=x", "-a=b", "a=b c", "a=b=c", "A.b/c/d=e", "Up/x=1", "a=1,a=2"] {
            assert!(text.parse::<Labels>().is_err(), "{text}");
        }
    }
}
