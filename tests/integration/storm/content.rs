//! What stands in source Secrets, and what has to stand in the copies made of it, decoded.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value as Json;
use sha1::{Digest, Sha1};

use super::dice::Dice;

/// The data of a Secret.
pub type Data = BTreeMap<String, Vec<u8>>;

/// A certificate that signs itself, with its key.
#[derive(PartialEq, Eq)]
pub struct Pair {
    number: usize,
    certificate: String,
    key: String,
    authority: Option<String>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pair {}", self.number)
    }
}

/// Making one takes its time, so there are a few, for all.
fn pairs() -> &'static [Arc<Pair>] {
    static PAIRS: OnceLock<Vec<Arc<Pair>>> = OnceLock::new();
    PAIRS.get_or_init(|| {
        let make = |number: usize| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![format!("{number}.example.com")]).expect("a name");
            let certificate = params.self_signed(&key).expect("a certificate").pem();
            let authority = number.is_multiple_of(2).then(|| certificate.clone());
            Arc::new(Pair { number, certificate, key: key.serialize_pem(), authority })
        };
        (0..5).map(make).collect()
    })
}

/// What a source Secret gives when nothing is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    Login { username: String, password: String },
    Pair(Arc<Pair>),
}

/// What can be wrong with a source Secret that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The key of the password, or of the private key, is missing.
    NoKey,
    /// The password is empty, or the private key is another's.
    BadValue,
}

/// A source Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub material: Material,
    pub fault: Option<Fault>,
}

impl Source {
    pub fn good(material: Material) -> Self {
        Self { material, fault: None }
    }

    /// Its data; `None` for a key that must not be there.
    pub fn data(&self) -> BTreeMap<&'static str, Option<String>> {
        match &self.material {
            Material::Login { username, password } => {
                let password = match self.fault {
                    None => Some(password.clone()),
                    Some(Fault::NoKey) => None,
                    Some(Fault::BadValue) => Some(String::new()),
                };
                BTreeMap::from([("username", Some(username.clone())), ("password", password)])
            }
            Material::Pair(pair) => {
                let key = match self.fault {
                    None => Some(pair.key.clone()),
                    Some(Fault::NoKey) => None,
                    Some(Fault::BadValue) => Some(pairs()[(pair.number + 1) % pairs().len()].key.clone()),
                };
                BTreeMap::from([
                    ("tls.crt", Some(pair.certificate.clone())),
                    ("tls.key", key),
                    ("ca.crt", pair.authority.clone()),
                ])
            }
        }
    }
}

/// The names of a tenant's source Secrets; the last one is a certificate.
pub const SOURCES: [&str; 3] = ["src-a", "src-b", "src-tls"];

/// Something new for a source Secret.
pub fn material(dice: &mut Dice, source: &str) -> Material {
    if source == SOURCES[2] {
        return Material::Pair(pairs()[dice.below(pairs().len())].clone());
    }
    Material::Login {
        username: dice.one_of(["ann", "bob"]).to_owned(),
        password: format!("password-{}", dice.below(100_000)),
    }
}

/// Who reads the Secret of a BasicAuthCredential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    BasicAuth,
    Htpasswd,
    HtpasswdMap,
    NginxOrg,
    EnvoyGateway,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::BasicAuth => "BasicAuth",
            Self::Htpasswd => "Htpasswd",
            Self::HtpasswdMap => "HtpasswdMap",
            Self::NginxOrg => "NginxOrg",
            Self::EnvoyGateway => "EnvoyGateway",
        }
    }

    /// The key of the file, for those that have one.
    fn file(self) -> Option<&'static str> {
        match self {
            Self::BasicAuth | Self::HtpasswdMap => None,
            Self::Htpasswd => Some("auth"),
            Self::NginxOrg => Some("htpasswd"),
            Self::EnvoyGateway => Some(".htpasswd"),
        }
    }
}

/// Who reads the Secret of an ObjectStorageCredential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketFormat {
    Env,
    AwsCredentialsFile,
    Flux,
}

impl BucketFormat {
    pub const ALL: [Self; 3] = [Self::Env, Self::AwsCredentialsFile, Self::Flux];

    pub fn name(self) -> &'static str {
        match self {
            Self::Env => "Env",
            Self::AwsCredentialsFile => "AwsCredentialsFile",
            Self::Flux => "Flux",
        }
    }
}

/// Where all buckets are.
pub const ENDPOINT: &str = "https://s3.example.com";

/// What a copy holds, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Registry { server: String, username: String, password: String },
    Users { format: Format, passwords: BTreeMap<String, String> },
    Tls(Arc<Pair>),
    Bucket { format: BucketFormat, id: String, secret: String },
}

impl Content {
    /// What is wrong with a Secret that should hold this; `None` when nothing is.
    pub fn difference(&self, type_: &str, data: &Data) -> Option<String> {
        let (wanted_type, wrong) = match self {
            Self::Registry { server, username, password } => {
                ("kubernetes.io/dockerconfigjson", registry(server, username, password, data))
            }
            Self::Users { format, passwords } => {
                let type_ = match format {
                    Format::BasicAuth => "kubernetes.io/basic-auth",
                    Format::NginxOrg => "nginx.org/htpasswd",
                    _ => "Opaque",
                };
                (type_, users(*format, passwords, data))
            }
            Self::Tls(pair) => ("kubernetes.io/tls", tls(pair, data)),
            Self::Bucket { format, id, secret } => ("Opaque", bucket(*format, id, secret, data)),
        };
        if type_ == wanted_type { wrong } else { Some(format!("type {type_}, not {wanted_type}")) }
    }
}

fn registry(server: &str, username: &str, password: &str, data: &Data) -> Option<String> {
    let keys: Vec<&String> = data.keys().collect();
    if keys != [".dockerconfigjson"] {
        return Some(format!("keys {keys:?}"));
    }
    let auth = STANDARD.encode(format!("{username}:{password}"));
    let wanted =
        serde_json::json!({"auths": {server: {"username": username, "password": password, "auth": auth}}});
    let found: Json = serde_json::from_slice(&data[".dockerconfigjson"]).unwrap_or_default();
    (found != wanted).then(|| format!("{found}, not {wanted}"))
}

fn tls(pair: &Pair, data: &Data) -> Option<String> {
    let source = Source::good(Material::Pair(pairs()[pair.number].clone()));
    let wanted: Data = source
        .data()
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.into_bytes())))
        .collect();
    (*data != wanted).then(|| format!("another certificate or key than {pair:?}"))
}

fn bucket(format: BucketFormat, id: &str, secret: &str, data: &Data) -> Option<String> {
    let file = format!("[default]\naws_access_key_id={id}\naws_secret_access_key={secret}\n");
    let wanted = match format {
        BucketFormat::Env => vec![
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL_S3", ENDPOINT),
        ],
        BucketFormat::AwsCredentialsFile => vec![("cloud", file.as_str())],
        BucketFormat::Flux => vec![("accesskey", id), ("secretkey", secret)],
    };
    let wanted: Data =
        wanted.into_iter().map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).collect();
    (*data != wanted).then(|| format!("not {id}:{secret} as {}", format.name()))
}

fn users(format: Format, passwords: &BTreeMap<String, String>, data: &Data) -> Option<String> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    if format == Format::BasicAuth {
        let (name, password) = passwords.iter().next()?;
        let wanted: Data = [("username", name), ("password", password)]
            .map(|(key, value)| (key.to_owned(), value.clone().into_bytes()))
            .into();
        return (*data != wanted).then(|| format!("not {name}:{password}"));
    }
    let found: BTreeMap<String, String> = match format.file() {
        None => data.iter().map(|(name, hash)| (name.clone(), text(hash))).collect(),
        Some(file) => {
            let keys: Vec<&String> = data.keys().collect();
            if keys != [file] {
                return Some(format!("keys {keys:?}"));
            }
            let lines = text(&data[file]);
            lines.lines().filter_map(|line| line.split_once(':')).map(own).collect()
        }
    };
    let (names, wanted): (Vec<_>, Vec<_>) = (found.keys().collect(), passwords.keys().collect());
    if names != wanted {
        return Some(format!("users {names:?}, not {wanted:?}"));
    }
    let bad = passwords.iter().find(|(name, password)| !hash_holds(format, password, &found[*name]))?;
    Some(format!("the hash of {} is not that of {}", bad.0, bad.1))
}

fn own((name, hash): (&str, &str)) -> (String, String) {
    (name.to_owned(), hash.to_owned())
}

/// bcrypt is slow on purpose, and many copies hold the same hash.
fn hash_holds(format: Format, password: &str, hash: &str) -> bool {
    if format == Format::EnvoyGateway {
        return hash == format!("{{SHA}}{}", STANDARD.encode(Sha1::digest(password.as_bytes())));
    }
    static KNOWN: Mutex<Option<HashMap<(String, String), bool>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    *known.entry((password.to_owned(), hash.to_owned())).or_insert_with(|| bcrypt_holds(password, hash))
}

fn bcrypt_holds(password: &str, hash: &str) -> bool {
    let salt = |text: &str| -> Option<[u8; 16]> {
        bcrypt::BASE_64.decode(text.strip_prefix("$2y$10$")?.get(..22)?).ok()?.try_into().ok()
    };
    let Some(salt) = salt(hash) else { return false };
    let digest = bcrypt::bcrypt(10, salt, format!("{password}\0").as_bytes());
    hash.get(29..) == Some(&*bcrypt::BASE_64.encode(&digest[..23]))
}
