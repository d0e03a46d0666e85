//! The checks of a TlsCredential, judged by openssl: every kind of key in every encoding, made, signed and
//! compared by it.

use std::{collections::BTreeMap, error::Error, fs, io::Write as _, path::PathBuf, process::Command};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, json};
use tempfile::TempDir;

use crate::{
    api::{CertificateStatus, TlsCredentialSpec},
    domain::{
        content::{Content, Inputs, SourceError, SourceSecret},
        credential::CredentialSpec,
        sensitive::SecretBytes,
    },
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Kinds of key that are distributed: a name, the arguments of `genpkey`, and what a status tells.
const KINDS: [(&str, &str, &str); 7] = [
    ("rsa2048", "RSA -pkeyopt rsa_keygen_bits:2048", "RSA-2048"),
    ("rsa3072", "RSA -pkeyopt rsa_keygen_bits:3072", "RSA-3072"),
    ("p256", "EC -pkeyopt ec_paramgen_curve:P-256", "ECDSA-P256"),
    ("p256b", "EC -pkeyopt ec_paramgen_curve:P-256", "ECDSA-P256"),
    ("p384", "EC -pkeyopt ec_paramgen_curve:P-384", "ECDSA-P384"),
    ("p521", "EC -pkeyopt ec_paramgen_curve:P-521", "ECDSA-P521"),
    ("ed25519", "ED25519", "Ed25519"),
];

const SUBJECT: &str = "/C=DE/O=Acme, Inc./CN=a.example.com";

/// openssl in a folder of its own.
struct OpenSsl(TempDir);

impl OpenSsl {
    /// Where it is missing this is said past the test runner, which would swallow it.
    fn find(what: &str) -> Result<Option<Self>> {
        let found = Command::new("openssl").arg("version").output().is_ok_and(|out| out.status.success());
        if !found {
            let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: openssl is not installed");
            return Ok(None);
        }
        Ok(Some(Self(TempDir::with_prefix("claviger-openssl-")?)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        Ok(fs::read(self.path(name))?)
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        Ok(fs::write(self.path(name), content)?)
    }

    /// Arguments as on a shell, where `@` stands for a space in one.
    fn run(&self, arguments: &str) -> Result<String> {
        let mut command = Command::new("openssl");
        let arguments = arguments.split_whitespace().map(|argument| argument.replace('@', " "));
        let output = command.args(arguments).current_dir(self.0.path()).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
    }

    /// `<name>.key` and, signed by itself, `<name>.crt`.
    fn pair(&self, name: &str, kind: &str) -> Result<()> {
        self.run(&format!("genpkey -algorithm {kind} -out {name}.key"))?;
        self.sign_self(name, &format!("{name}.key"))
    }

    fn sign_self(&self, name: &str, key: &str) -> Result<()> {
        let subject = SUBJECT.replace(' ', "@");
        self.run(&format!(
            "req -x509 -new -key {key} -subj {subject} -days 400 -addext subjectAltName=DNS:a.example.com,DNS:*.b.example.com,IP:10.0.0.1 -out {name}.crt"
        ))
        .map(drop)
    }

    fn judge(&self, certificates: &[&str], key: &str) -> Result<Judged> {
        let mut chain = Vec::new();
        for name in certificates {
            chain.extend(self.read(name)?);
        }
        Ok(judge(&chain, &self.read(key)?))
    }
}

type Judged = std::result::Result<Content, SourceError>;

fn judge(certificate: &[u8], key: &[u8]) -> Judged {
    let data = BTreeMap::from([
        ("tls.crt".to_owned(), SecretBytes::new(certificate.to_vec())),
        ("tls.key".to_owned(), SecretBytes::new(key.to_vec())),
    ]);
    let secret = SourceSecret { name: "src".into(), type_: "kubernetes.io/tls".into(), data, version: None };
    credential().render(Inputs::new(&[secret], Timestamp::now()))
}

fn credential() -> TlsCredentialSpec {
    serde_json::from_value(json!({"secretRef": {"name": "src"}})).expect("spec")
}

fn described(content: &Content) -> CertificateStatus {
    serde_json::from_value(credential().details(Some(content), None, &Map::new())["certificate"].clone())
        .expect("status")
}

fn reason(judged: &Judged) -> &'static str {
    judged.as_ref().map_or_else(|error| error.reason.as_str(), |_| "Good")
}

#[test]
fn every_kind_of_key_belongs_to_its_certificate_and_to_no_other() -> Result<()> {
    let Some(openssl) = OpenSsl::find("keys and certificates")? else { return Ok(()) };
    let mut forms: Vec<(String, String)> = Vec::new();
    for (name, kind, told) in KINDS {
        openssl.pair(name, kind)?;
        let mut own = vec![format!("{name}.key")];
        // PKCS#1 and SEC1. Ed25519 never had a form of its own.
        if name != "ed25519" {
            openssl.run(&format!("pkey -in {name}.key -traditional -out {name}.old"))?;
            own.push(format!("{name}.old"));
        }
        if kind.starts_with("EC") {
            // As some libraries write them: without the public key, in both forms, and with its parameters.
            openssl.run(&format!("ec -in {name}.key -no_public -out {name}.bare"))?;
            openssl.run(&format!("pkcs8 -topk8 -nocrypt -in {name}.bare -out {name}.bare8"))?;
            let curve = kind.rsplit(':').next().unwrap_or_default();
            let parameters = openssl.run(&format!("ecparam -name {curve}"))?;
            let old = String::from_utf8(openssl.read(&format!("{name}.old"))?)?;
            openssl.write(&format!("{name}.params"), &format!("{parameters}{old}"))?;
            own.extend(["bare", "bare8", "params"].map(|form| format!("{name}.{form}")));
        }
        for key in &own {
            let judged = openssl.judge(&[&format!("{name}.crt")], key)?;
            let content = judged.map_err(|error| format!("{key}: {error}"))?;
            assert_eq!(described(&content).key_algorithm, told, "{key}");
        }
        forms.extend(own.into_iter().map(|key| (name.to_owned(), key)));
    }
    for (certificate, ..) in KINDS {
        let wanted = openssl.run(&format!("x509 -in {certificate}.crt -noout -pubkey"))?;
        for (owner, key) in &forms {
            // openssl says which public key follows from the private one.
            let belongs = openssl.run(&format!("pkey -in {key} -pubout"))? == wanted;
            assert_eq!(belongs, owner == certificate, "openssl on {key}");
            let judged = openssl.judge(&[&format!("{certificate}.crt")], key)?;
            let expected = if belongs { "Good" } else { "KeyMismatch" };
            assert_eq!(reason(&judged), expected, "{certificate} and {key}: {judged:?}");
        }
    }
    Ok(())
}

#[test]
fn a_status_tells_what_openssl_prints() -> Result<()> {
    let Some(openssl) = OpenSsl::find("the status of certificates")? else { return Ok(()) };
    let mut compared = Vec::new();
    for (name, kind, _) in KINDS {
        openssl.pair(name, kind)?;
        compared.push((name.to_owned(), openssl.judge(&[&format!("{name}.crt")], &format!("{name}.key"))?));
    }
    // Serial numbers of all sizes, with and without the highest bit.
    for serial in ["0x00", "0x01", "0x7F", "0x80", "0xFFEE", "0x0123456789ABCDEF0123456789ABCDEF01234567"] {
        openssl.run(&format!(
            "req -x509 -new -key p256.key -subj /CN=x -set_serial {serial} -out {serial}.crt"
        ))?;
        compared.push((serial.to_owned(), openssl.judge(&[&format!("{serial}.crt")], "p256.key")?));
    }
    let made = rcgen::generate_simple_self_signed(["b.example.com".to_owned(), "10.0.0.1".to_owned()])?;
    openssl.write("rcgen.crt", &made.cert.pem())?;
    let judged = judge(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes());
    compared.push(("rcgen".to_owned(), judged));
    for (name, judged) in compared {
        let status = described(&judged.map_err(|error| format!("{name}: {error}"))?);
        let printed = openssl.run(&format!(
            "x509 -in {name}.crt -noout -serial -fingerprint -sha256 -subject -issuer -nameopt RFC2253 -dates -dateopt iso_8601"
        ))?;
        let line = |key: &str| {
            let found = printed.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            found.unwrap_or_default().trim().to_owned()
        };
        assert_eq!(status.serial_number, line("serial"), "{name}");
        assert_eq!(status.fingerprint_sha256, line("sha256 Fingerprint"), "{name}");
        assert_eq!(status.subject, line("subject"), "{name}");
        assert_eq!(status.issuer, line("issuer"), "{name}");
        assert_eq!(status.not_before.0.to_string(), line("notBefore").replace(' ', "T"), "{name}");
        assert_eq!(status.not_after.0.to_string(), line("notAfter").replace(' ', "T"), "{name}");
        if name.starts_with('p') {
            assert_eq!(status.dns_names, ["a.example.com", "*.b.example.com"], "{name}");
            assert_eq!(status.name, "a.example.com");
        }
    }
    Ok(())
}

#[test]
fn a_chain_is_judged_as_openssl_does() -> Result<()> {
    let Some(openssl) = OpenSsl::find("chains of certificates")? else { return Ok(()) };
    openssl.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out leaf.key")?;
    openssl.run("req -new -key leaf.key -subj /CN=leaf -out leaf.csr")?;
    openssl.write("leaf.ext", "subjectAltName=DNS:leaf.example.com\nauthorityKeyIdentifier=keyid\n")?;
    let authority = |name: &str, kind: &str| {
        openssl.run(&format!("genpkey -algorithm {kind} -out {name}.key"))?;
        openssl.run(&format!("req -x509 -new -key {name}.key -subj /CN=authority -days 400 -out {name}.crt"))
    };
    for (name, kind, _) in KINDS {
        let options = match name {
            "ed25519" => vec![""],
            rsa if rsa.starts_with("rsa") => vec![
                "-sha256",
                "-sha512",
                "-sha1",
                "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest",
            ],
            _ => vec!["-sha256", "-sha384", "-sha512"],
        };
        authority(name, kind)?;
        // Another one of the same name and kind.
        authority("forged", kind)?;
        for option in options {
            openssl.run(&format!(
                "x509 -req -in leaf.csr -CA {name}.crt -CAkey {name}.key -CAcreateserial -days 300 {option} -extfile leaf.ext -out leaf.crt"
            ))?;
            openssl.run(&format!("verify -partial_chain -CAfile {name}.crt leaf.crt"))?;
            assert!(openssl.run("verify -partial_chain -CAfile forged.crt leaf.crt").is_err());
            let good = openssl.judge(&["leaf.crt", &format!("{name}.crt")], "leaf.key")?;
            assert_eq!(reason(&good), "Good", "{name} {option}: {good:?}");
            let turned = openssl.judge(&[&format!("{name}.crt"), "leaf.crt"], "leaf.key")?;
            assert_eq!(reason(&turned), "ChainOutOfOrder", "{name} {option}");
            let forged = openssl.judge(&["leaf.crt", "forged.crt"], "leaf.key")?;
            // By the signature; by the id of the key for SHA-1 and P-521.
            assert_eq!(reason(&forged), "ChainBroken", "{name} {option}: {forged:?}");
        }
    }
    Ok(())
}

#[test]
fn what_servers_and_clients_refuse_is_refused_here_first() -> Result<()> {
    let Some(openssl) = OpenSsl::find("keys that are refused")? else { return Ok(()) };
    for (name, kind) in [
        ("short", "RSA -pkeyopt rsa_keygen_bits:1024"),
        ("pss", "RSA-PSS -pkeyopt rsa_keygen_bits:2048"),
        ("bitcoin", "EC -pkeyopt ec_paramgen_curve:secp256k1"),
        ("brainpool", "EC -pkeyopt ec_paramgen_curve:brainpoolP256r1"),
        ("ed448", "ED448"),
    ] {
        openssl.pair(name, kind)?;
        let judged = openssl.judge(&[&format!("{name}.crt")], &format!("{name}.key"))?;
        assert_eq!(reason(&judged), "UnsupportedKey", "{name}: {judged:?}");
    }
    openssl.pair("explicit", "EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit")?;
    assert_ne!(reason(&openssl.judge(&["explicit.crt"], "explicit.key")?), "Good");
    // A compressed point is allowed, and another way to write the same key.
    openssl.pair("good", "EC -pkeyopt ec_paramgen_curve:P-384")?;
    openssl.run("ec -in good.key -conv_form compressed -out compressed.key")?;
    openssl.sign_self("compressed", "compressed.key")?;
    for (certificate, key) in [("compressed.crt", "good.key"), ("good.crt", "compressed.key")] {
        assert_eq!(reason(&openssl.judge(&[certificate], key)?), "Good", "{certificate}");
    }

    openssl.pair("rsa", "RSA -pkeyopt rsa_keygen_bits:2048")?;
    openssl.run("pkcs8 -topk8 -in rsa.key -passout pass:hunter2 -out encrypted8.key")?;
    openssl.run("rsa -in rsa.key -aes128 -traditional -passout pass:hunter2 -out encrypted1.key")?;
    openssl.run("ec -in good.key -aes256 -passout pass:hunter2 -out encrypted2.key")?;
    openssl.run("pkcs12 -export -inkey rsa.key -in rsa.crt -passout pass: -out store.p12")?;
    openssl.run("pkey -in rsa.key -outform DER -out key.der")?;
    openssl.run("pkey -in rsa.key -pubout -out public.key")?;
    openssl.run("x509 -in rsa.crt -outform DER -out crt.der")?;
    openssl.run("x509 -in rsa.crt -trustout -out trusted.crt")?;
    openssl.run("crl2pkcs7 -nocrl -certfile rsa.crt -out bundle.p7b")?;
    openssl.run("req -new -key rsa.key -subj /CN=x -out request.csr")?;
    openssl.run("x509 -in rsa.crt -text -out text.crt")?;
    let both = [openssl.read("rsa.crt")?, openssl.read("rsa.key")?].concat();
    openssl.write("both.pem", &String::from_utf8(both)?)?;
    for (certificate, key, expected, word) in [
        ("text.crt", "rsa.key", "Good", ""),
        ("rsa.crt", "encrypted8.key", "EncryptedKey", "openssl pkey"),
        ("rsa.crt", "encrypted1.key", "EncryptedKey", "openssl pkey"),
        ("rsa.crt", "encrypted2.key", "EncryptedKey", "openssl pkey"),
        ("rsa.crt", "store.p12", "UnsupportedFormat", "openssl pkcs12"),
        ("store.p12", "rsa.key", "UnsupportedFormat", "openssl pkcs12"),
        ("rsa.crt", "key.der", "UnsupportedFormat", "binary (DER)"),
        ("crt.der", "rsa.key", "UnsupportedFormat", "binary (DER)"),
        ("trusted.crt", "rsa.key", "UnsupportedFormat", "openssl x509"),
        ("bundle.p7b", "rsa.key", "UnsupportedFormat", "openssl pkcs7"),
        ("request.csr", "rsa.key", "InvalidFormat", "signing request"),
        ("rsa.crt", "public.key", "InvalidFormat", "public key"),
        ("both.pem", "rsa.key", "PrivateKeyInCertificate", "remove it"),
        ("rsa.key", "rsa.key", "PrivateKeyInCertificate", "remove it"),
    ] {
        let judged = openssl.judge(&[certificate], key)?;
        assert_eq!(reason(&judged), expected, "{certificate} and {key}: {judged:?}");
        if let Err(error) = judged {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
    Ok(())
}
