//! BasicAuthCredential: `kubernetes.io/basic-auth`, or htpasswd.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::value::{self, invalid};
use crate::{
    api::{BasicAuthCredentialSpec, BasicAuthFormat, BasicAuthStatus, PasswordHash, Target},
    domain::{
        SecretBytes,
        content::{Content, Data, Inputs, SourceError, SourceSecret, Warning},
        credential::{CredentialSpec, Source},
        hashes::Password,
        htpasswd,
        verification::Verification,
    },
};

impl CredentialSpec for BasicAuthCredentialSpec {
    fn keeps_existing(&self) -> bool {
        true
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn source(&self) -> Source {
        let single = self.secret_ref.iter().map(|secret| &secret.name);
        let names: BTreeSet<&String> =
            self.users.iter().map(|user| &user.secret_ref.name).chain(single).collect();
        Source::Secrets(names.into_iter().cloned().collect())
    }

    fn passwords<'a>(&'a self, inputs: Inputs<'a>) -> Result<Vec<Password<'a>>, SourceError> {
        match hash(self) {
            Some(PasswordHash::Bcrypt | PasswordHash::Sha512Crypt) => {
                passwords(self, &users(self, inputs)?, inputs.existing)
            }
            // Made in no time.
            Some(PasswordHash::Sha1) | None => Ok(Vec::new()),
        }
    }

    fn render(&self, inputs: Inputs<'_>) -> Result<Content, SourceError> {
        render(self, inputs)
    }

    fn details(
        &self,
        _: Option<&Content>,
        _: Option<&Verification>,
        _: &Map<String, Value>,
    ) -> Map<String, Value> {
        let users = self.users.len() + usize::from(self.secret_ref.is_some());
        let status = BasicAuthStatus { users: i64::try_from(users).unwrap_or(i64::MAX), hash: hash(self) };
        Map::from_iter([("basicAuth".to_owned(), serde_json::json!(status))])
    }

    fn provider(&self) -> String {
        // A variant is called as in the spec.
        format!("{:?}", self.format)
    }
}

/// How passwords are hashed; `None` where they are plain.
fn hash(spec: &BasicAuthCredentialSpec) -> Option<PasswordHash> {
    match spec.format {
        BasicAuthFormat::BasicAuth => None,
        BasicAuthFormat::EnvoyGateway => Some(PasswordHash::Sha1),
        BasicAuthFormat::Htpasswd | BasicAuthFormat::HtpasswdMap | BasicAuthFormat::NginxOrg => {
            Some(spec.hash.unwrap_or(PasswordHash::Bcrypt))
        }
    }
}

/// A user as the sources have it.
struct User<'a> {
    secret: &'a SourceSecret,
    password: value::Text<'a>,
}

/// In the order of their names, so that the order in the spec changes nothing.
type Users<'a> = BTreeMap<&'a str, User<'a>>;

fn render(spec: &BasicAuthCredentialSpec, inputs: Inputs<'_>) -> Result<Content, SourceError> {
    let users = users(spec, inputs)?;
    let (type_, data) = match spec.format {
        BasicAuthFormat::BasicAuth => ("kubernetes.io/basic-auth", plain(&users)),
        BasicAuthFormat::NginxOrg => ("nginx.org/htpasswd", hashed(spec, &users, inputs)?),
        BasicAuthFormat::Htpasswd | BasicAuthFormat::EnvoyGateway | BasicAuthFormat::HtpasswdMap => {
            ("Opaque", hashed(spec, &users, inputs)?)
        }
    };
    let weak = users.values().any(|user| value::is_weak(user.password.text));
    let warnings = [
        weak.then_some(Warning::WEAK_PASSWORD),
        (hash(spec) == Some(PasswordHash::Sha1)).then_some(Warning::WEAK_HASH),
    ];
    Ok(Content {
        warnings: warnings.into_iter().flatten().collect(),
        notes: trimmed(&users).into_iter().collect(),
        ..Content::new(type_, data)
    })
}

fn users<'a>(spec: &'a BasicAuthCredentialSpec, inputs: Inputs<'a>) -> Result<Users<'a>, SourceError> {
    let mut users = Users::new();
    for user in &spec.users {
        let key = user.secret_ref.password_key.as_deref();
        users.insert(&user.username, read(inputs, &user.secret_ref.name, key)?);
    }
    if let Some(reference) = &spec.secret_ref {
        let user = read(inputs, &reference.name, reference.password_key.as_deref())?;
        let name = match &spec.username {
            Some(name) => name,
            None => {
                let missing =
                    || SourceError::username_missing(&reference.name, value::username_key(reference));
                value::username(user.secret, reference)?.ok_or_else(missing)?.text
            }
        };
        users.insert(name, user);
    }
    for (name, user) in &users {
        // Also those of the spec: a line break more would be a user more.
        value::check_username(user.secret, name)?;
        check_for_format(spec.format, user.secret, name)?;
    }
    Ok(users)
}

fn read<'a>(inputs: Inputs<'a>, name: &str, key: Option<&'a str>) -> Result<User<'a>, SourceError> {
    let secret = inputs.source(name)?;
    if !matches!(secret.type_.as_str(), "Opaque" | "" | "kubernetes.io/basic-auth") {
        return Err(SourceError::unsupported_type(secret, "Opaque or kubernetes.io/basic-auth"));
    }
    Ok(User { secret, password: value::password(secret, key.unwrap_or("password"))? })
}

/// Checks a user name by what the format makes of it, as the schema does for those in a spec.
fn check_for_format(format: BasicAuthFormat, secret: &SourceSecret, name: &str) -> Result<(), SourceError> {
    let problem = match format {
        BasicAuthFormat::BasicAuth => return Ok(()),
        BasicAuthFormat::HtpasswdMap if is_secret_key(name) => return Ok(()),
        BasicAuthFormat::HtpasswdMap => {
            "is not a valid key of a Secret, which format HtpasswdMap needs: letters, digits, '-', '_' and '.'"
        }
        _ if name.starts_with('#') => "begins with '#', which makes the line a comment",
        _ if name.starts_with(' ') || name.ends_with(' ') => "begins or ends with a space",
        _ => return Ok(()),
    };
    Err(SourceError::invalid_username(&secret.name, problem))
}

/// As the API server checks the keys of a Secret.
fn is_secret_key(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && name != "."
        && !name.starts_with("..")
}

fn plain(users: &Users<'_>) -> Data {
    // The schema allows one user only.
    let pairs = users.iter().take(1).flat_map(|(name, user)| {
        [("username".into(), (*name).into()), ("password".into(), user.password.text.into())]
    });
    pairs.collect()
}

/// The key of the file, where all users stand in one.
fn file_key(format: BasicAuthFormat) -> Option<&'static str> {
    match format {
        BasicAuthFormat::Htpasswd => Some("auth"),
        BasicAuthFormat::NginxOrg => Some("htpasswd"),
        BasicAuthFormat::EnvoyGateway => Some(".htpasswd"),
        BasicAuthFormat::BasicAuth | BasicAuthFormat::HtpasswdMap => None,
    }
}

/// One file with a line for each user, or a key for each user.
fn hashed(
    spec: &BasicAuthCredentialSpec,
    users: &Users<'_>,
    inputs: Inputs<'_>,
) -> Result<Data, SourceError> {
    let hashes = hashes(spec, users, inputs)?;
    let Some(key) = file_key(spec.format) else {
        return Ok(hashes.into_iter().map(|(name, hash)| (name.to_owned(), hash)).collect());
    };
    let lines = hashes.iter().flat_map(|(name, hash)| [name.as_bytes(), b":", hash.expose(), b"\n"]);
    Ok(Data::from([(key.into(), SecretBytes::concat(&lines.collect::<Vec<_>>()))]))
}

/// A hash for each user: the one that was made ahead, where it was.
fn hashes<'a>(
    spec: &BasicAuthCredentialSpec,
    users: &Users<'a>,
    inputs: Inputs<'a>,
) -> Result<Vec<(&'a str, SecretBytes)>, SourceError> {
    let passwords = passwords(spec, users, inputs.existing)?.into_iter().map(|password| {
        let made = inputs.hashes.get(password.user).cloned();
        (password.user, made.unwrap_or_else(|| password.hashed(inputs.entropy)))
    });
    Ok(passwords.collect())
}

/// The passwords to be hashed, with what an existing copy has for their users. All are judged before the first is
/// hashed, which takes its time.
fn passwords<'a>(
    spec: &BasicAuthCredentialSpec,
    users: &Users<'a>,
    existing: Option<&'a Data>,
) -> Result<Vec<Password<'a>>, SourceError> {
    let Some(hash) = hash(spec) else { return Ok(Vec::new()) };
    let existing = existing.map(|data| existing_hashes(spec.format, data, users)).unwrap_or_default();
    let passwords = users.iter().map(|(name, user)| {
        let password = user.password.text;
        match htpasswd::problem(hash, password) {
            Some(problem) => Err(invalid(user.secret, user.password.key, &problem)),
            None => Ok(Password { hash, user: name, password, existing: existing.get(name).copied() }),
        }
    });
    passwords.collect()
}

/// What an existing copy has for each user.
fn existing_hashes<'a>(
    format: BasicAuthFormat,
    data: &'a Data,
    users: &Users<'_>,
) -> BTreeMap<&'a str, &'a str> {
    let is_user = |(name, _): &(&str, &str)| users.contains_key(name);
    let Some(key) = file_key(format) else {
        return data.iter().map(|(name, hash)| (name.as_str(), hash.text())).filter(is_user).collect();
    };
    let lines = data.get(key).into_iter().flat_map(|file| file.text().lines());
    lines.filter_map(|line| line.split_once(':')).filter(is_user).collect()
}

/// Says that newlines were left out, if they were.
fn trimmed(users: &Users<'_>) -> Option<String> {
    let mut trimmed = users.values().filter(|user| user.password.trimmed);
    let first = trimmed.next()?;
    Some(match trimmed.count() {
        0 => format!(
            "a newline at the end of key '{}' of Secret '{}' was left out",
            first.password.key, first.secret.name
        ),
        more => format!("a newline at the end of {} passwords was left out", more + 1),
    })
}

#[cfg(test)]
#[path = "basic_auth_tests.rs"]
mod tests;
