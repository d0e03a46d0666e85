//! The logins that kubelet has for an image, in the order in which it tries them.
//!
//! Follows `MakeDockerKeyring` and `BasicDockerKeyring` of `k8s.io/kubernetes/pkg/credentialprovider` v1.36. What a node
//! has of its own (a credential provider, a file) comes after all of these, and nobody else can see it.

use std::cmp::Reverse;

use super::{
    docker_config,
    kubelet::{Key, Match},
};
use crate::domain::content::Data;

pub(crate) use super::{docker_config::Login, image::repository};

/// Type and key of a Secret that holds a docker config.
pub(crate) const CONFIG_JSON: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
const DOCKERCFG: (&str, &str) = ("kubernetes.io/dockercfg", ".dockercfg");

/// The types of Secrets that kubelet takes logins from.
pub(crate) const PULL_TYPES: [&str; 2] = [CONFIG_JSON.0, DOCKERCFG.0];

/// What kubelet takes from a Secret that a Pod names for pulling.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    Logins(Vec<Entry>),
    /// Nothing: it is of another type, or has no value where that type has it.
    Nothing,
    /// It cannot be read, and so the Pod pulls nothing at all.
    Unreadable,
}

/// One entry of a Secret.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// As it is written.
    pub text: String,
    pub login: Login,
    key: Key,
}

/// What kubelet takes from a Secret.
pub(crate) fn given(type_: &str, data: &Data) -> Given {
    let value = |key: &str| data.get(key).map(AsRef::as_ref).filter(|value| !value.is_empty());
    let read = if type_ == CONFIG_JSON.0 {
        value(CONFIG_JSON.1).map(docker_config::config_json)
    } else if type_ == DOCKERCFG.0 {
        value(DOCKERCFG.1).map(docker_config::dockercfg)
    } else {
        None
    };
    let Some(read) = read else { return Given::Nothing };
    read.map_or(Given::Unreadable, |entries| {
        let entry = |(text, login): (String, Login)| Entry { key: Key::new(&text), text, login };
        Given::Logins(entries.into_iter().map(entry).collect())
    })
}

/// An entry, as it stands to an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged<'a> {
    /// Which of the Secrets it is in.
    pub secret: usize,
    pub entry: &'a Entry,
    pub found: Match,
    /// Whether kubelet tries it.
    pub is_tried: bool,
}

impl<'a> Judged<'a> {
    /// What entries are sorted by: those of one Secret with the same one are tried in any order.
    pub fn index(&self) -> &'a [u8] {
        self.entry.key.index.as_deref().unwrap_or_default()
    }
}

/// All entries of the Secrets of a Pod, in the order in which it names them: first those that kubelet tries, as it does,
/// for an image in normalised form.
pub(crate) fn judge<'a>(secrets: impl IntoIterator<Item = &'a Given>, image: &str) -> Vec<Judged<'a>> {
    let mut all: Vec<Judged<'a>> = secrets
        .into_iter()
        .enumerate()
        .flat_map(|(secret, given)| {
            let entries = if let Given::Logins(entries) = given { entries.as_slice() } else { &[] };
            entries.iter().map(move |entry| Judged {
                secret,
                entry,
                found: entry.key.judge(image),
                is_tried: false,
            })
        })
        .collect();
    let wanted = if all.iter().any(|judged| judged.found == Match::Matches) {
        Match::Matches
    } else {
        Match::Fallback
    };
    for judged in &mut all {
        judged.is_tried = judged.found == wanted;
    }
    // Sorting keeps the order of what is equal, so what is not tried stays as it is written.
    all.sort_by_key(|judged| (!judged.is_tried, judged.is_tried.then(|| Reverse(judged.index()))));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SecretBytes;

    fn secret(type_: &str, field: &str, text: &str) -> Given {
        given(type_, &Data::from([(field.to_owned(), SecretBytes::from(text))]))
    }

    fn config(keys: &[&str]) -> Given {
        let entries: serde_json::Map<_, _> =
            keys.iter().map(|key| ((*key).to_owned(), serde_json::json!({"username": "u"}))).collect();
        secret(CONFIG_JSON.0, CONFIG_JSON.1, &serde_json::json!({"auths": entries}).to_string())
    }

    fn tried(secrets: &[Given], image: &str) -> Vec<String> {
        let judged = judge(secrets, image);
        let tried = judged.iter().filter(|judged| judged.is_tried);
        tried.map(|judged| format!("{} {}", judged.secret, judged.entry.text)).collect()
    }

    #[test]
    fn the_longest_path_of_all_secrets_comes_first_and_then_the_order_of_the_pod() {
        let secrets = [config(&["quay.io", "*.io"]), config(&["quay.io/org", "quay.io", "ghcr.io"])];
        assert_eq!(tried(&secrets, "quay.io/org/x"), ["1 quay.io/org", "0 quay.io", "1 quay.io", "0 *.io"]);
        assert!(tried(&secrets, "localhost/x").is_empty());
    }

    #[test]
    fn the_key_of_docker_hub_is_for_when_nothing_else_matches() {
        let hub = config(&["https://index.docker.io/v1/"]);
        assert_eq!(tried(std::slice::from_ref(&hub), "docker.io/a/b"), ["0 https://index.docker.io/v1/"]);
        assert_eq!(tried(&[hub, config(&["docker.io/a"])], "docker.io/a/b"), ["1 docker.io/a"]);
    }

    #[test]
    fn what_kubelet_takes_from_a_secret_is_up_to_its_type() {
        let old = secret(DOCKERCFG.0, DOCKERCFG.1, r#"{"quay.io":{}}"#);
        assert_eq!(tried(&[old], "quay.io/a"), ["0 quay.io"]);
        for nothing in [
            secret(DOCKERCFG.0, CONFIG_JSON.1, r#"{"auths":{}}"#),
            secret("Opaque", CONFIG_JSON.1, r#"{"auths":{"quay.io":{}}}"#),
            secret(CONFIG_JSON.0, CONFIG_JSON.1, ""),
        ] {
            assert!(matches!(nothing, Given::Nothing));
        }
        assert!(matches!(secret(CONFIG_JSON.0, CONFIG_JSON.1, "[]"), Given::Unreadable));
    }
}
