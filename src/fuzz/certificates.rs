//! PEM and DER: certificates, private keys, and the Secret of a TlsCredential.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{prelude::*, sample::select};
use serde_json::json;

use super::{check, der, generate, grows_with_its_input, tells_no_secret};
use crate::{
    api::TlsCredentialSpec,
    domain::{
        SecretBytes,
        certificate::{
            alternative_names, certificates, check as check_chain, describe,
            fixtures::{Authority, leaf_params},
            plain, private_key,
        },
        content::{Inputs, SourceSecret},
        credential::CredentialSpec,
    },
};

/// An RSA certificate for itself, and its key as PKCS#1.
const RSA: &str = include_str!("rsa.pem");

/// Chains, with their keys and authorities.
static PAIRS: LazyLock<Vec<(String, String, String)>> = LazyLock::new(|| {
    let root = Authority::root("root");
    let upper = root.intermediate("upper");
    let mut pairs = Vec::new();
    for kind in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let pair = upper.issue(leaf_params("a.example.com", 2020, 2120), kind);
        pairs.push((format!("{}{}{}", pair.certificate, upper.pem, root.pem), pair.key, root.pem.clone()));
    }
    let (certificate, key) = RSA.split_at(RSA.find("-----BEGIN RSA PRIVATE").expect("a key"));
    pairs.push((certificate.into(), key.into(), String::new()));
    pairs
});

/// The DER of each block with this word in its label, and the label.
fn blocks(word: &str) -> Vec<(String, Vec<u8>)> {
    let texts = PAIRS.iter().flat_map(|(chain, key, _)| [chain, key]);
    let blocks = texts.flat_map(|text| text.split("-----BEGIN ").skip(1)).filter_map(|block| {
        let (label, rest) = block.split_once("-----")?;
        let (body, _) = rest.split_once("-----END")?;
        let body: String = body.split_whitespace().collect();
        Some((label.to_owned(), STANDARD.decode(body).expect("base64")))
    });
    blocks.filter(|(label, _)| label.contains(word)).collect()
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
}

/// Fails when an error shows a part of a key.
fn tells_no_key(error: &(impl std::fmt::Display + std::fmt::Debug)) -> Result<(), TestCaseError> {
    static PIECES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let lines = PAIRS.iter().flat_map(|(_, key, _)| key.lines()).filter(|line| !line.starts_with('-'));
        lines
            .flat_map(|line| {
                line.as_bytes().chunks_exact(8).map(|piece| String::from_utf8_lossy(piece).into_owned())
            })
            .collect()
    });
    let told = error.to_string();
    prop_assert!(!PIECES.iter().any(|piece| told.contains(piece.as_str())), "{}", told);
    tells_no_secret(error)
}

fn bounded(text: &str, most: usize) -> Result<(), TestCaseError> {
    prop_assert!(text.chars().count() <= most && !text.contains(char::is_control), "{:?}", text);
    Ok(())
}

/// What is distributed of a value has no line but those of its blocks, and reads as the same.
fn distributes_blocks_only(value: &[u8]) -> Result<Vec<u8>, TestCaseError> {
    let plain = |value: &[u8]| plain(value).map_err(|error| TestCaseError::fail(error.to_string()));
    let distributed = plain(value)?.expose().to_vec();
    for line in distributed.split(|byte| *byte == b'\n') {
        let is_base64 = line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte));
        let is_edge = line.starts_with(b"-----BEGIN ") || line.starts_with(b"-----END ");
        prop_assert!(line.len() <= 64 && (is_base64 || is_edge), "{}", line.escape_ascii());
    }
    prop_assert!(distributed.len() <= value.len() + value.len() / 16 + 128);
    let again = plain(&distributed)?;
    prop_assert_eq!(again.expose(), distributed.as_slice());
    Ok(distributed)
}

fn reads_certificates(value: &[u8]) -> Result<(), TestCaseError> {
    let all = match certificates(value) {
        Ok(all) => all,
        Err(error) => return tells_no_key(&error),
    };
    prop_assert!(!all.is_empty());
    let distributed = certificates(&distributes_blocks_only(value)?);
    let again = distributed.map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(again.iter().map(|one| &one.der).eq(all.iter().map(|one| &one.der)));
    for one in all.iter().take(20) {
        let told = describe(one);
        for text in [&told.name, &told.subject, &told.issuer].into_iter().chain(&told.dns_names) {
            bounded(text, 1024)?;
        }
        prop_assert!(told.dns_names.len() <= 100);
        let _ = alternative_names(one);
    }
    Ok(())
}

fn reads_a_key(value: &[u8]) -> Result<(), TestCaseError> {
    match private_key(value) {
        Ok(key) => {
            let again = private_key(&distributes_blocks_only(value)?);
            prop_assert_eq!(again.map_err(|error| TestCaseError::fail(error.to_string()))?, key);
            Ok(())
        }
        Err(error) => tells_no_key(&error),
    }
}

/// Judges a source Secret of chain, key and authorities, as a TlsCredential would.
fn renders(value: &[u8]) -> Result<(), TestCaseError> {
    let mut parts = value.split(|byte| *byte == 0).map(<[u8]>::to_vec);
    let mut part = || SecretBytes::new(parts.next().unwrap_or_default());
    let data = [("tls.crt", part()), ("tls.key", part()), ("ca.crt", part())]
        .map(|(key, value)| (key.to_owned(), value));
    let source =
        SourceSecret { name: "src".into(), type_: "Opaque".into(), data: data.into(), version: None };
    let spec: TlsCredentialSpec = serde_json::from_value(json!({"secretRef": {"name": "src"}})).unwrap();
    let render = |source: SourceSecret| {
        let now = "2030-01-01T00:00:00Z".parse().unwrap();
        spec.render(Inputs::new(&[source], now))
    };
    let content = match render(source) {
        Ok(content) => content,
        Err(error) => {
            prop_assert!(error.to_string().chars().count() < 32_768, "a condition takes no more");
            return tells_no_key(&error);
        }
    };
    let notes = content.notes.join("; ");
    bounded(&notes, 8192)?;
    prop_assert!(
        serde_json::to_vec(&spec.details(Some(&content), None, &serde_json::Map::new())).unwrap().len()
            < 64 << 10
    );
    let copy = SourceSecret {
        name: "src".into(),
        type_: content.type_.into(),
        data: content.data.clone(),
        version: None,
    };
    let again = render(copy).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!((again.data, again.notes), (content.data, content.notes));
    Ok(())
}

#[test]
fn certificates_are_read_or_refused() {
    let texts = PAIRS.iter().map(|(chain, ..)| chain.clone().into_bytes()).collect();
    let ders = blocks("CERTIFICATE").into_iter().map(|(_, der)| der).collect();
    let ders = der::damaged(ders).prop_map(|der| pem("CERTIFICATE", &der)).boxed();
    check(prop_oneof![generate::from(texts), ders.clone(), generate::damaged(ders)], reads_certificates);
}

#[test]
fn private_keys_are_read_or_refused() {
    let texts = PAIRS.iter().map(|(_, key, _)| key.clone().into_bytes()).collect();
    let labels = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];
    let ders = blocks("PRIVATE KEY").into_iter().map(|(_, der)| der).collect();
    let ders =
        (der::damaged(ders), select(labels.to_vec())).prop_map(|(der, label)| pem(label, &der)).boxed();
    check(prop_oneof![generate::from(texts), ders.clone(), generate::damaged(ders)], reads_a_key);
}

#[test]
fn tls_secrets_are_rendered_or_refused() {
    let join =
        |(chain, key, ca): &(String, String, String)| [chain.as_str(), key, ca].join("\0").into_bytes();
    check(generate::from(PAIRS.iter().map(join).collect()), renders);
}

/// Found: names of certificates were sorted by insertion while they were read, so that one certificate with a name of
/// many attributes in the wrong order took a core for minutes.
#[test]
fn a_name_of_many_attributes_takes_no_time() {
    let attribute = |n: usize| {
        let value = der::tlv(0x0c, format!("{:06}", 999_999 - n).as_bytes());
        der::tlv(0x30, &[&[0x06, 0x03, 0x55, 0x04, 0x03][..], &value].concat())
    };
    let (_, good) = &blocks("CERTIFICATE")[0];
    let certificate = |size: usize| {
        let set = der::tlv(0x31, &(0..size / 17).flat_map(attribute).collect::<Vec<_>>());
        // The issuer comes after version, number and algorithm.
        pem("CERTIFICATE", &der::replaced(good, &[0, 0, 3], &der::tlv(0x30, &set)))
    };
    grows_with_its_input("a name", 500 << 10, certificate, |value| {
        assert!(certificates(value).is_err());
    });
}

/// Found: each block that may be a key got, and wiped, a buffer as large as the whole value.
#[test]
fn many_small_blocks_of_keys_take_no_time() {
    let block = "-----BEGIN A PRIVATE KEY-----\n-----END A PRIVATE KEY-----\n";
    grows_with_its_input(
        "blocks",
        700 << 10,
        |size| block.repeat(size / block.len()).into_bytes(),
        |value| {
            assert!(private_key(value).is_err());
        },
    );
}

/// Found: each certificate that stands in a chain twice was told, until the status took it no more.
#[test]
fn certificates_that_stand_in_a_chain_many_times_are_told_briefly() {
    let name = "n".repeat(900);
    let mut params = leaf_params("a.example.com", 2020, 2120);
    params.distinguished_name.push(rcgen::DnType::OrganizationName, name);
    let long = Authority::root("root").issue(params, &rcgen::PKCS_ED25519);
    let chain = long.certificate.repeat(40);
    let checked =
        check_chain(&certificates(chain.as_bytes()).unwrap(), &private_key(long.key.as_bytes()).unwrap());
    let told = checked.unwrap().notes.join("; ");
    assert!(told.len() < 4096 && told.contains("twice"), "{} bytes", told.len());
}
