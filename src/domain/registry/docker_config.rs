//! A docker config as kubelet reads it, which is as Go's `encoding/json` does: names of fields in any case, the last of
//! several that are the same, nothing for `null`; and one value of a wrong type makes all of it unreadable.
//!
//! Follows `k8s.io/kubernetes/pkg/credentialprovider/config.go` of v1.36.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use zeroize::Zeroizing;

use crate::domain::SecretBytes;

/// User name and password of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub username: SecretBytes,
    pub password: SecretBytes,
}

/// The value cannot be read, and with it no pull Secret of the Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The entries of `.dockerconfigjson`.
pub(super) fn config_json(bytes: &[u8]) -> Result<BTreeMap<String, Login>, Unreadable> {
    read::<Config>(bytes).map(|config| logins(config.auths))
}

/// The entries of `.dockercfg`, which has no `auths` around them.
pub(super) fn dockercfg(bytes: &[u8]) -> Result<BTreeMap<String, Login>, Unreadable> {
    read::<Nullable<Auths>>(bytes).map(|auths| logins(auths.0.unwrap_or_default()))
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    // Go takes what is not UTF-8, too: each byte of it for one unknown character.
    let text = lossy(bytes, 1);
    serde_json::from_str::<IgnoredAny>(&text).map_err(|_| Unreadable)?;
    serde_json::from_str(&text).map_err(|_| Unreadable)
}

fn logins(Auths(entries): Auths) -> BTreeMap<String, Login> {
    entries.into_iter().map(|(key, Entry(login))| (key, login)).collect()
}

/// A text, with one unknown character for so many bytes that are not UTF-8.
fn lossy(bytes: &[u8], each: usize) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(3 * bytes.len()));
    let mut unknown = 0;
    for chunk in bytes.utf8_chunks() {
        if !chunk.valid().is_empty() {
            unknown = 0;
        }
        text.push_str(chunk.valid());
        for _ in chunk.invalid() {
            if unknown % each == 0 {
                text.push(char::REPLACEMENT_CHARACTER);
            }
            unknown += 1;
        }
    }
    text
}

/// A text; an escape that is half of a character is taken, as by Go.
struct Text(Zeroizing<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                // Half of a character is three bytes here, and one unknown character to Go.
                Ok(Text(lossy(bytes, 3)))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// `null` is nothing.
struct Nullable<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Nullable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(Self)
    }
}

/// Reads the members of an object one by one.
trait Members: Default {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

fn members<'de, D: Deserializer<'de>, T: Members>(deserializer: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Members> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            let mut read = T::default();
            while let Some(Text(name)) = map.next_key()? {
                read.member(&name, &mut map)?;
            }
            Ok(read)
        }

        fn visit_unit<E>(self) -> Result<T, E> {
            Ok(T::default())
        }
    }
    deserializer.deserialize_any(Object(PhantomData))
}

#[derive(Default)]
struct Config {
    auths: Auths,
}

impl Members for Config {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match field(name).as_str() {
            "AUTHS" => match map.next_value::<Nullable<Auths>>()?.0 {
                Some(more) => self.auths.0.extend(more.0),
                None => self.auths.0.clear(),
            },
            "HTTPHEADERS" => {
                map.next_value::<Nullable<Headers>>()?;
            }
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        members(deserializer)
    }
}

#[derive(Default)]
struct Auths(BTreeMap<String, Entry>);

impl Members for Auths {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        self.0.insert(name.to_owned(), map.next_value()?);
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Auths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        members(deserializer)
    }
}

/// Only its types are looked at.
#[derive(Default)]
struct Headers;

impl Members for Headers {
    fn member<'de, A: MapAccess<'de>>(&mut self, _: &str, map: &mut A) -> Result<(), A::Error> {
        map.next_value::<Nullable<Text>>().map(drop)
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        members(deserializer)
    }
}

#[derive(Default)]
struct Fields {
    username: Zeroizing<String>,
    password: Zeroizing<String>,
    auth: Zeroizing<String>,
}

impl Members for Fields {
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let mut email = Zeroizing::default();
        let place = match field(name).as_str() {
            "USERNAME" => &mut self.username,
            "PASSWORD" => &mut self.password,
            "AUTH" => &mut self.auth,
            "EMAIL" => &mut email,
            _ => return map.next_value::<IgnoredAny>().map(drop),
        };
        if let Nullable(Some(Text(text))) = map.next_value()? {
            *place = text;
        }
        Ok(())
    }
}

/// An entry of `auths`; `auth` wins over the pair.
struct Entry(Login);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Fields { username, password, auth } = members(deserializer)?;
        let pair = |username: &[u8], password: &[u8]| Login {
            username: SecretBytes::new(username.to_vec()),
            password: SecretBytes::new(password.to_vec()),
        };
        if auth.is_empty() {
            return Ok(Self(pair(username.as_bytes(), password.as_bytes())));
        }
        let decoded = decode(&auth);
        let decoded = decoded.as_ref().and_then(|decoded| {
            let at = decoded.iter().position(|byte| *byte == b':')?;
            let (username, password) = decoded.split_at_checked(at)?;
            Some(pair(username, password.get(1..)?))
        });
        decoded.map(Self).ok_or_else(|| serde::de::Error::custom("not base64 of user:password"))
    }
}

/// Go's `base64`: line ends do not count, nor do bits that are left over; padded or not, but not both.
fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let padding = if text.trim().ends_with('=') {
        DecodePaddingMode::RequireCanonical
    } else {
        DecodePaddingMode::RequireNone
    };
    let config =
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(padding);
    let plain = Zeroizing::new(text.replace(['\r', '\n'], ""));
    GeneralPurpose::new(&alphabet::STANDARD, config).decode(plain.as_bytes()).ok().map(Zeroizing::new)
}

/// The name of a field as Go compares it. Two letters beyond ASCII are the same as one in it.
fn field(name: &str) -> String {
    name.replace('ſ', "S").replace('\u{212a}', "K").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(read: Result<BTreeMap<String, Login>, Unreadable>) -> Option<Vec<String>> {
        let text = |bytes: &SecretBytes| String::from_utf8_lossy(bytes.expose()).into_owned();
        let pair = |(key, login): (String, Login)| {
            format!("{key} {}:{}", text(&login.username), text(&login.password))
        };
        Some(read.ok()?.into_iter().map(pair).collect())
    }

    #[test]
    fn a_config_is_read_as_go_reads_it() {
        let halves = "\u{fffd}\u{fffd} x\u{fffd}y:";
        for (text, wanted) in [
            (
                r#"{"auths":{"a":{"auth":"dTpw"},"b":{"username":"u","password":"p"}}}"#,
                Some(vec!["a u:p", "b u:p"]),
            ),
            (r#"{"AuthS":{"a":{"USERNAME":"u","paſſword":"p"}}}"#, Some(vec!["a u:p"])),
            (r#"{"auths":{"a":{"auth":"dTpwOnE="},"a":{"username":"u","auth":""}}}"#, Some(vec!["a u:"])),
            (r#"{"auths":{"a":{"username":"x","auth":"dTpwOnE="}}}"#, Some(vec!["a u:p:q"])),
            (r#"{"auths":{"a":null,"b":{"username":null,"identitytoken":1}}}"#, Some(vec!["a :", "b :"])),
            (r#"{"auths":{"a":{}},"auths":{"b":{}}}"#, Some(vec!["a :", "b :"])),
            (r#"{"auths":{"a":{}},"auths":null}"#, Some(vec![])),
            (r#"{"auths":{"a":{"auth":"dT\npw\r"}}}"#, Some(vec!["a u:p"])),
            (r#"{"auths":{"\ud800\ud801":{"username":"x\udfffy"}}}"#, Some(vec![halves])),
            ("null", Some(vec![])),
            ("{}", Some(vec![])),
            (r#"{"HttpHeaders":{"a":null,"b":"c"},"credsStore":1}"#, Some(vec![])),
            (r#"{"HttpHeaders":{"a":1}}"#, None),
            (r#"{"auths":{"a":{"auth":"dTpwOnE==="}}}"#, None),
            (r#"{"auths":{"a":{"auth":"dTpw"},"b":{"auth":"bm8gY29sb24="}}}"#, None),
            (r#"{"auths":{"a":{"auth":"dTpw "}}}"#, None),
            (r#"{"auths":{"a":{"username":1}}}"#, None),
            (r#"{"auths":{"a":{"email":[]}}}"#, None),
            (r#"{"auths":{"a":"dTpw"}}"#, None),
            (r#"{"auths":[]}"#, None),
            ("[]", None),
            ("{", None),
            ("{} x", None),
        ] {
            let wanted = wanted.map(|all| all.into_iter().map(str::to_owned).collect());
            assert_eq!(told(config_json(text.as_bytes())), wanted, "{text}");
        }
        assert_eq!(told(dockercfg(br#"{"a":{"auth":"dTpw"}}"#)), Some(vec!["a u:p".to_owned()]));
        assert_eq!(told(dockercfg(br#"{"auths":{"a":{}}}"#)), Some(vec!["auths :".to_owned()]));
    }
}
