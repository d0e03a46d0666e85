//! What an API server, or a webhook behind it, says of a refused write: it may quote what was written.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{content::Data, labels};

/// As many characters of a value in a row count as a quotation; of a shorter value, all of it.
const WINDOW: usize = 8;

/// In place of a text that is not shown.
const HIDDEN: &str = "the rest is not shown, because it may quote a value of the Secret";

/// Parts of a document in JSON that are no secret.
const PUBLIC: [&str; 2] = ["username", "email"];

/// What is said in place of a text that may quote a value: who refused the write, where the text tells, and no more.
pub(crate) fn hidden(text: &str) -> String {
    let who = |(before, quote): (&str, char)| {
        let (_, rest) = text.split_once(&format!("{before} {quote}"))?;
        let (name, _) = rest.split_once(quote)?;
        labels::is_dns_subdomain(name).then(|| format!("{before} {quote}{name}{quote}: {HIDDEN}"))
    };
    let known = [("webhook", '"'), ("ValidatingAdmissionPolicy", '\'')];
    known.into_iter().find_map(who).unwrap_or_else(|| HIDDEN.to_owned())
}

/// A text without values of Secrets: as it is, or what is said in its place.
pub(crate) fn without_values(text: String, known: &[&Data]) -> String {
    let quotes = |text: &str| known.iter().any(|data| quotes(text, data));
    if !quotes(&text) {
        // What was cut off may have gone on with a value whose first characters are left.
        let Some(cut) = text.strip_suffix('…') else { return text };
        let kept = cut.chars().count().saturating_sub(WINDOW);
        return cut.chars().take(kept).chain(['…']).collect();
    }
    let instead = hidden(&text);
    if quotes(&instead) { HIDDEN.to_owned() } else { instead }
}

/// Whether a text quotes a value, or enough of one: as it is, escaped, or encoded as programs print bytes.
pub(crate) fn quotes(text: &str, data: &Data) -> bool {
    let text = Heard::new(text);
    data.iter().filter(|(key, _)| !PUBLIC.contains(&key.as_str())).any(|(_, value)| {
        let value = value.expose();
        let parsed = serde_json::from_slice::<Value>(value).ok().filter(Value::is_object);
        let parts = parsed.as_ref().map(secret_parts);
        text.has_encoded(value)
            || match parts {
                Some(parts) => parts.iter().any(|part| text.has(part) || text.has_encoded(part)),
                None => text.has(value),
            }
    })
}

/// The texts of a document in JSON that are secret, such as of a docker config.
fn secret_parts(document: &Value) -> Vec<Zeroizing<Vec<u8>>> {
    match document {
        Value::Object(fields) => {
            let secret = fields.iter().filter(|(key, _)| !PUBLIC.contains(&key.as_str()));
            secret.flat_map(|(_, value)| secret_parts(value)).collect()
        }
        Value::Array(values) => values.iter().flat_map(secret_parts).collect(),
        Value::String(text) => {
            let mut parts = vec![Zeroizing::new(text.clone().into_bytes())];
            // `auth` of a docker config: user name and password.
            let decoded = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok().map(Zeroizing::new);
            let pair = decoded.as_ref().and_then(|pair| str::from_utf8(pair).ok()?.split_once(':'));
            parts.extend(pair.map(|(_, password)| Zeroizing::new(password.as_bytes().to_vec())));
            parts
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// A text, as it is looked through for many values.
struct Heard<'a> {
    text: &'a str,
    windows: HashSet<[u8; WINDOW]>,
}

impl<'a> Heard<'a> {
    fn new(text: &'a str) -> Self {
        // The alphabet of base64 for URLs, as the other one.
        let plain = text.replace('-', "+").replace('_', "/");
        let windows = windows(text.as_bytes()).chain(windows(plain.as_bytes())).collect();
        Self { text, windows }
    }

    /// Whether it quotes a value as it is, or as JSON escapes it.
    fn has(&self, value: &[u8]) -> bool {
        if value.len() < WINDOW {
            return !value.is_empty() && str::from_utf8(value).is_ok_and(|value| self.text.contains(value));
        }
        let escaped = str::from_utf8(value).ok().map(|text| Zeroizing::new(Value::from(text).to_string()));
        let escaped = escaped.as_ref().map(|text| text.trim_matches('"').as_bytes());
        self.has_window(value) || escaped.is_some_and(|escaped| self.has_window(escaped))
    }

    /// Whether it quotes a value in base64, wherever in a longer text that begins, in hex, or as a list of numbers.
    fn has_encoded(&self, value: &[u8]) -> bool {
        let base64 = (0..3).filter_map(|skipped| {
            let groups = value.get(skipped..)?.chunks_exact(3);
            Some(STANDARD_NO_PAD.encode(groups.flatten().copied().collect::<Vec<_>>()))
        });
        let bytes = |write: fn(&u8) -> String| value.iter().map(write).collect::<String>();
        let others = [
            bytes(|byte| format!("{byte:02x}")),
            bytes(|byte| format!("{byte:02X}")),
            bytes(|byte| format!("{byte} ")),
            bytes(|byte| format!("{byte}, ")),
        ];
        base64.chain(others).map(Zeroizing::new).any(|encoded| self.has_window(encoded.as_bytes()))
    }

    fn has_window(&self, value: &[u8]) -> bool {
        windows(value).any(|window| self.windows.contains(&window))
    }
}

fn windows(bytes: &[u8]) -> impl Iterator<Item = [u8; WINDOW]> {
    bytes.windows(WINDOW).filter_map(|window| window.try_into().ok())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::SecretBytes;

    fn secret(key: &str, value: &str) -> Data {
        Data::from([(key.to_owned(), SecretBytes::from(value))])
    }

    fn docker(password: &str) -> String {
        let auth = STANDARD.encode(format!("acme+ci:{password}"));
        let entry = serde_json::json!({"username": "acme+ci", "password": password, "auth": auth});
        serde_json::json!({"auths": {"quay.example.com": entry}}).to_string()
    }

    #[test]
    fn what_quotes_nothing_is_shown() {
        let data = secret(".dockerconfigjson", &docker("correct-horse-battery"));
        for text in [
            r#"admission webhook "w.example.com" denied the request: quay.example.com is not allowed for acme+ci"#,
            "exceeded quota: small, requested: secrets=1, used: secrets=3, limited: secrets=3",
            "",
        ] {
            assert_eq!(without_values(text.to_owned(), &[&data]), text);
        }
    }

    #[test]
    fn who_refused_it_is_said_where_a_value_is_not() {
        let data = secret("password", "correct-horse-battery");
        for (who, shown) in [
            (r#"admission webhook "w.example.com" denied the request"#, r#"webhook "w.example.com": "#),
            (
                r#"ValidatingAdmissionPolicy 'p' with binding 'b' denied request"#,
                "ValidatingAdmissionPolicy 'p': ",
            ),
            ("admission webhook \"horse-battery\"", "webhook \"horse-battery\": "),
            ("somebody", ""),
        ] {
            let told = without_values(format!("{who}: got correct-horse-battery"), &[&data]);
            let wanted = if shown.contains("horse") { HIDDEN.to_owned() } else { format!("{shown}{HIDDEN}") };
            assert_eq!(told, wanted);
        }
    }

    #[test]
    fn a_short_value_is_found_as_a_whole_and_a_cut_shows_no_beginning_of_one() {
        let data = secret("password", "hunter2");
        assert!(quotes("no hunter2 here", &data) && !quotes("no hunter here", &data));
        let data = secret("password", "correct-horse-battery");
        assert_eq!(without_values("it says correct…".to_owned(), &[&data]), "it says…");
    }

    proptest! {
        #[test]
        fn a_part_of_a_value_is_found_however_it_is_written(
            password in "[ -~]{8,60}",
            from: prop::sample::Index,
            more in 8_usize..30,
            (before, after) in ("[A-Za-z \"]{0,20}", "[A-Za-z \"]{0,20}"),
        ) {
            let from = from.index(password.len() - WINDOW + 1);
            let part = &password[from..password.len().min(from + more)];
            let document = docker(&password);
            let auth = format!("{before}:{password}{after}");
            for data in [secret("password", &password), secret(".dockerconfigjson", &document)] {
                for quoted in [
                    part.to_owned(),
                    Value::from(password.as_str()).to_string(),
                    STANDARD.encode(&password),
                    URL_SAFE.encode(&password),
                    STANDARD.encode(&auth),
                    format!("{:?}", password.as_bytes()),
                    password.bytes().map(|byte| format!("{byte:02x}")).collect(),
                ] {
                    let text = format!("{before}{quoted}{after}");
                    prop_assert!(quotes(&text, &data), "{}", text);
                    prop_assert!(!without_values(text, &[&data]).contains(part));
                }
            }
            let whole = secret(".dockerconfigjson", &document);
            prop_assert!(quotes(&document, &whole) && quotes(&STANDARD.encode(&document), &whole));
        }
    }
}
