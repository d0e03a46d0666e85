//! Values that may stand in the data of Secrets and nowhere else, and whether they stand elsewhere: as they are, or
//! in any of the ways in which a log, a status or a metric could hold them.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use claviger::api;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Secret},
    events::v1::Event,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
    core::{GroupVersionKind, NamespaceResourceScope},
};
use serde_json::json;

use crate::support::{Error, Operator, Result, environment::OPERATOR_NAMESPACE};

/// Shorter than this, a value or a part of it could stand somewhere by chance.
const MIN_LENGTH: usize = 12;

/// One value, in all its forms.
pub struct Canary {
    /// What it is, for people.
    what: String,
    /// How it may be written, and what that is called.
    forms: Vec<(&'static str, String)>,
}

impl Canary {
    pub fn new(what: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        let (what, value) = (what.into(), value.as_ref());
        assert!(value.len() >= MIN_LENGTH, "{what} is too short to look for");
        let (mut forms, mut plain) = (Vec::new(), vec![value.to_vec()]);
        if let Ok(text) = std::str::from_utf8(value) {
            let quoted = json!(text).to_string();
            let quoted = &quoted[1..quoted.len() - 1];
            plain.push(quoted.as_bytes().to_vec());
            forms.extend([("as it is", text.to_owned()), ("in JSON", quoted.to_owned())]);
        }
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        forms.extend([("in hex", hex.to_uppercase()), ("in hex", hex)]);
        // As Debug prints bytes: as numbers, or as a text with escapes.
        let numbers: Vec<String> = value.iter().map(u8::to_string).collect();
        forms.push(("as numbers", numbers.join(", ")));
        forms.push(("as numbers", numbers.join(",")));
        forms.push(("with escapes", value.escape_ascii().to_string()));
        let percent = |byte: &u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(*byte).to_string()
            }
            other => format!("%{other:02X}"),
        };
        forms.push(("in a URL", value.iter().map(percent).collect()));
        for once in plain.iter().flat_map(|value| base64_inside(value)) {
            // A login in a docker config is base64, and the file is so once more in the Secret.
            forms.extend(base64_inside(once.as_bytes()).into_iter().map(|twice| ("in base64 twice", twice)));
            forms.push(("in base64", once));
        }
        forms.sort_by(|(_, a), (_, b)| a.cmp(b));
        forms.dedup_by(|(_, a), (_, b)| a == b);
        Self { what, forms }
    }

    /// The secret part of an EC private key in PEM: as a line of the file, and as bytes.
    pub fn private_key(what: &str, pem: &str) -> Result<[Self; 2]> {
        let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let key = STANDARD.decode(lines.concat())?;
        // PKCS#8 of P-256: the secret number stands from byte 36 to byte 68, behind the head of an OCTET STRING.
        if key.get(34..36) != Some(&[0x04, 0x20]) || lines.first().is_none_or(|line| line.len() != 64) {
            return Err(Error::new(format!("{what} is not a key of P-256 as PKCS#8")));
        }
        // In base64 that is from character 48 to 91, so that the second line begins with the end of it.
        let line = Self::new(format!("a line of {what}"), &lines[1][..24]);
        Ok([line, Self::new(format!("bytes of {what}"), &key[40..64])])
    }

    /// Where it stands in a text, and in which form.
    pub fn find(&self, text: &str) -> Option<(&'static str, usize)> {
        self.forms.iter().find_map(|(form, needle)| Some((*form, text.find(needle)?)))
    }

    /// The way to tell that it is found where it is: a test that could not see it would prove nothing.
    #[track_caller]
    pub fn assert_seen(&self, secret: &Secret) {
        let text = json!(secret.data).to_string();
        assert!(self.find(&text).is_some(), "{} is not seen in Secret {}", self.what, secret.name_any());
    }
}

/// What is sure to be in the base64 of anything that holds these bytes, by where in a group of three they begin.
fn base64_inside(value: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    // How many characters depend on what stands before.
    for (before, depends) in [(0, 0), (1, 2), (2, 3)] {
        let shifted = [&[0; 2][..before], value].concat();
        // The last character may depend on what follows.
        let sure = shifted.len() * 8 / 6;
        for encoded in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            all.push(encoded[depends..sure].to_owned());
        }
    }
    all.dedup();
    all
}

/// A place where values may not be: its name and its text.
pub type Place = (String, String);

/// All that an operator shows of itself, and all that it writes into these namespaces but the data of Secrets.
pub async fn places(client: &Client, operator: &Operator, namespaces: &[String]) -> Result<Vec<Place>> {
    let mut places =
        vec![("the logs".to_owned(), operator.logs()), ("the metrics".to_owned(), operator.metrics().await?)];
    for path in ["/healthz", "/readyz"] {
        places.push((path.to_owned(), operator.get(path).await?.body));
    }
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{}/{file}", operator.pid()))?;
        places.push((file.to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    for crd in api::crds() {
        let kind = crd.spec.names.kind.as_str();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("claviger.dev", "v1alpha1", kind));
        let mut objects = Vec::new();
        if crd.spec.scope == "Cluster" {
            let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            objects.extend(all.list(&ListParams::default()).await?);
        } else {
            for namespace in namespaces {
                let all: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
                objects.extend(all.list(&ListParams::default()).await?);
            }
        }
        places.extend(
            objects.iter().map(|object| (format!("{kind} {}", object.name_any()), json!(object).to_string())),
        );
    }
    for namespace in namespaces.iter().map(String::as_str).chain(["default", OPERATOR_NAMESPACE]) {
        for secret in
            Api::<Secret>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?
        {
            let place = format!("the metadata of Secret {namespace}/{}", secret.name_any());
            places.push((place, json!(secret.metadata).to_string()));
        }
        places.extend(objects::<Event>(client, namespace).await?);
        places.extend(objects::<Lease>(client, namespace).await?);
        places.extend(objects::<ConfigMap>(client, namespace).await?);
    }
    Ok(places)
}

async fn objects<K>(client: &Client, namespace: &str) -> Result<Vec<Place>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let all = Api::<K>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    let told = |object: &K| {
        (format!("{} {namespace}/{}", K::kind(&()), object.name_any()), json!(object).to_string())
    };
    Ok(all.iter().map(told).collect())
}

/// An error when a value stands in a place. It quotes what stands before the value, never the value.
pub fn assert_absent(places: &[Place], canaries: &[Canary]) -> Result<()> {
    for (place, text) in places {
        for canary in canaries {
            if let Some((form, at)) = canary.find(text) {
                let from = text[..at].char_indices().rev().nth(200).map_or(0, |(at, _)| at);
                let what = &canary.what;
                return Err(Error::new(format!("{what} is in {place}, {form}, after: …{}", &text[from..at])));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "canary/+ \"x\"\\1234567";

    fn found(text: &str) -> Option<&'static str> {
        Canary::new("it", VALUE).find(text).map(|(form, _)| form)
    }

    #[test]
    fn a_value_is_found_wherever_it_begins_in_base64() {
        for before in 0..7 {
            for after in 0..7 {
                let text = format!("{}{VALUE}{}", "b".repeat(before), "a".repeat(after));
                assert_eq!(found(&text), Some("as it is"));
                let once = STANDARD.encode(&text);
                assert_eq!(found(&format!("data: {once}")), Some("in base64"), "{before} {after}");
                assert_eq!(found(&URL_SAFE_NO_PAD.encode(&text)), Some("in base64"), "{before} {after}");
                for around in 0..3 {
                    let twice = STANDARD.encode(format!("{}{once}{{}}", "c".repeat(around)));
                    assert_eq!(found(&twice), Some("in base64 twice"), "{before} {after} {around}");
                }
            }
        }
    }

    #[test]
    fn a_value_is_found_in_a_produced_secret_and_as_debug_prints_it() {
        // The password begins at each of the three offsets for one of these names.
        for name in ["a", "ab", "abc"] {
            let auth = STANDARD.encode(format!("{name}:{VALUE}"));
            let file = json!({"auths": {"r.example.com": {"username": name, "auth": auth}}}).to_string();
            assert!(found(&file).is_some() && found(&STANDARD.encode(&file)).is_some(), "{name}");
            let password = json!({"username": name, "password": VALUE}).to_string();
            assert!(found(&password).is_some() && found(&STANDARD.encode(&password)).is_some(), "{name}");
        }
        for text in [
            format!("{:?}", VALUE.as_bytes()),
            format!("{:?}", VALUE),
            json!(VALUE.as_bytes()).to_string(),
            VALUE.as_bytes().escape_ascii().to_string(),
            VALUE.bytes().map(|byte| format!("{byte:02X}")).collect(),
            "https://x/?q=canary%2F%2B%20%22x%22%5C1234567".to_owned(),
        ] {
            assert!(found(&text).is_some(), "{text}");
        }
        assert_eq!(found(&VALUE[1..]), None);
        assert_eq!(found(&STANDARD.encode(&VALUE[1..])), None);
    }

    #[test]
    fn a_private_key_is_found_and_its_certificate_is_not() -> Result<()> {
        let identity = crate::support::pki::Authority::new("authority")?.server(&["a.example.com"])?;
        let canaries = Canary::private_key("the key", &identity.key)?;
        let der: String = identity.key.lines().filter(|line| !line.starts_with("-----")).collect();
        let seen = |text: &str| canaries.iter().any(|canary| canary.find(text).is_some());
        for text in [
            identity.key.clone(),
            json!(identity.key).to_string(),
            STANDARD.encode(&identity.key),
            format!("{:?}", identity.key.as_bytes()),
            der.clone(),
            format!("{:?}", STANDARD.decode(&der)?),
            STANDARD.encode(format!("client-key-data: {}", STANDARD.encode(&identity.key))),
        ] {
            assert!(seen(&text), "{text}");
        }
        assert!(!seen(&identity.certificate) && !seen(&STANDARD.encode(&identity.certificate)));
        Ok(())
    }
}
