//! One certificate.

use k8s_openapi::jiff::Timestamp;
use rustls::crypto::ring;
use x509_cert::{
    Certificate,
    der::{
        Decode, Encode, Reader, SliceReader, Tag, Tagged,
        asn1::{AnyRef, BitStringRef},
    },
    ext::pkix::{AuthorityKeyIdentifier, SubjectKeyIdentifier},
    time::Time,
};

use super::{
    error::{CertificateError, malformed, unsupported_format},
    key::PublicKey,
    pem,
};
use crate::domain::{reason::Reason, validity::Validity};

/// A certificate as it was read.
pub struct X509 {
    /// Its bytes.
    pub der: Vec<u8>,
    /// Its parts.
    pub parts: Certificate,
    /// Its subject, for people.
    pub subject: String,
    /// Its issuer, for people.
    pub issuer: String,
}

/// How long a name may be that is told.
const MAX_NAME_CHARS: usize = 1024;

impl X509 {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What cannot be read, in the words of the parser: no more than an offset and a kind of fault.
    pub fn read(der: &[u8]) -> Result<Self, x509_cert::der::Error> {
        if has_long_set(der, 0) {
            return Err(Tag::Set.length_error().into());
        }
        let parts = Certificate::from_der(der)?;
        // What was signed must say how, or the signature could be taken for one of another kind.
        if parts.signature_algorithm() != parts.tbs_certificate().signature() {
            return Err(Tag::Sequence.value_error().into());
        }
        // In the manner of RFC 4514.
        let subject = plain(&parts.tbs_certificate().subject().to_string());
        let issuer = plain(&parts.tbs_certificate().issuer().to_string());
        Ok(Self { der: der.to_vec(), parts, subject, issuer })
    }

    /// The key that it is for.
    ///
    /// # Errors
    /// When it is of a kind that is not distributed.
    pub fn public_key(&self) -> Result<PublicKey, CertificateError> {
        PublicKey::of(self.parts.tbs_certificate().subject_public_key_info())
    }

    /// From when to when it is valid.
    pub fn validity(&self) -> Validity {
        let validity = self.parts.tbs_certificate().validity();
        Validity { not_before: moment(&validity.not_before), not_after: moment(&validity.not_after) }
    }

    /// Whether it names itself as its issuer, as a root does.
    pub fn is_self_issued(&self) -> bool {
        same_name(&self.subject, &self.issuer)
    }

    /// Whether it has the name that another one gives as its issuer's.
    pub fn bears_name_of_issuer(&self, issued: &Self) -> bool {
        same_name(&self.subject, &issued.issuer)
    }

    /// Whether another one issued it: by name, and by signature. Where the algorithm is not at hand,
    /// as for P-521, the ids of the key are compared.
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        issuer.bears_name_of_issuer(self)
            && self.is_signed_by(issuer).unwrap_or_else(|| self.names_key_of(issuer).unwrap_or(true))
    }

    /// Whether the key that it says it was signed with is another one's; `None` when one does not say.
    fn names_key_of(&self, issuer: &Self) -> Option<bool> {
        let named = self.parts.tbs_certificate().filter_extensions::<AuthorityKeyIdentifier>().next()?;
        let own = issuer.parts.tbs_certificate().filter_extensions::<SubjectKeyIdentifier>().next()?;
        Some(named.ok()?.1.key_identifier?.as_bytes() == own.ok()?.1.0.as_bytes())
    }

    /// `None` when the algorithm is not at hand.
    fn is_signed_by(&self, issuer: &Self) -> Option<bool> {
        let [message, algorithm, signature] = signed_parts(&self.der).ok()?;
        let key = issuer.parts.tbs_certificate().subject_public_key_info();
        let key_algorithm = key.algorithm.to_der().ok()?;
        let key_algorithm = AnyRef::from_der(&key_algorithm).ok()?.value();
        if PublicKey::of(key).is_ok_and(|key| key.strong_enough().is_err()) {
            // Too short for the library to look at.
            return None;
        }
        let algorithms = ring::default_provider().signature_verification_algorithms.all;
        let fitting: Vec<_> = algorithms
            .iter()
            .filter(|known| {
                known.signature_alg_id().as_ref() == algorithm
                    && known.public_key_alg_id().as_ref() == key_algorithm
            })
            .collect();
        let key = key.subject_public_key.as_bytes()?;
        let verified = || fitting.iter().any(|by| by.verify_signature(key, message, signature).is_ok());
        (!fitting.is_empty()).then(verified)
    }
}

/// The largest set, in bytes: one of a name has the few attributes that stand side by side.
const MAX_SET: usize = 1024;

/// How deep values are looked into: deeper than a set of a name can be.
const MAX_DEPTH: usize = 16;

/// Whether there is a set so large that reading it would take long: its parts are sorted by insertion.
fn has_long_set(der: &[u8], depth: usize) -> bool {
    let Ok(mut reader) = SliceReader::new(der) else { return false };
    while let Ok(any) = AnyRef::decode(&mut reader) {
        let (tag, value) = (any.tag(), any.value());
        // An extension is an octet string, and may hold names too.
        let looked_into = tag.is_constructed() || tag == Tag::OctetString;
        if (tag == Tag::Set && value.len() > MAX_SET)
            || (looked_into && depth < MAX_DEPTH && has_long_set(value, depth + 1))
        {
            return true;
        }
    }
    false
}

/// The three parts of a certificate, as bytes: what was signed, the algorithm, the signature.
fn signed_parts(der: &[u8]) -> Result<[&[u8]; 3], x509_cert::der::Error> {
    SliceReader::new(der)?.sequence(|reader| {
        let message = reader.tlv_bytes()?;
        let algorithm = AnyRef::decode(reader)?.value();
        let signature = BitStringRef::decode(reader)?.as_bytes().ok_or(Tag::BitString.value_error())?;
        Ok([message, algorithm, signature])
    })
}

/// All certificates of a PEM value.
///
/// # Errors
/// When there is none, or anything else than certificates.
pub fn certificates(value: &[u8]) -> Result<Vec<X509>, CertificateError> {
    // Whatever else is wrong with it, this comes first, also where the block is damaged.
    if value.windows(PRIVATE.len()).any(|bytes| bytes == PRIVATE) {
        return Err(CertificateError::new(
            Reason::PrivateKeyInCertificate,
            "holds a private key, which belongs only in the key that `spec.secretRef.privateKeyKey` names; remove it, and replace it if it was ever served",
        ));
    }
    let mut all = Vec::new();
    for block in pem::blocks(value)? {
        if block.label != "CERTIFICATE" {
            return Err(not_a_certificate(&block.label));
        }
        all.push(X509::read(&block.der).map_err(|error| {
            let number = all.len() + 1;
            malformed(format!("holds a certificate (number {number}) that cannot be read: {error}"))
        })?);
    }
    Ok(all)
}

fn not_a_certificate(label: &str) -> CertificateError {
    match label {
        "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => unsupported_format(
            "holds a certificate in a form that only OpenSSL reads; rewrite it: openssl x509 -in <file> -out tls.crt",
        ),
        "PKCS7" | "CMS" => unsupported_format(
            "is PKCS#7; take the certificates out of it: openssl pkcs7 -in <file> -print_certs -out tls.crt",
        ),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
            malformed("is a certificate signing request; put the certificate there that the CA issued for it")
        }
        _ => malformed(format!("holds a block {label}; nothing but certificates belongs there")),
    }
}

const PRIVATE: &[u8] = b"PRIVATE KEY-----";

/// A moment that may be later than what a timestamp can hold: 9999-12-31 means "no end".
fn moment(time: &Time) -> Timestamp {
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// A text of a certificate without control characters, which could disturb a terminal, and not endless.
pub fn plain(text: &str) -> String {
    text.chars().take(MAX_NAME_CHARS).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// Names are compared as RFC 5280 has it: without regard to case, runs of spaces and the type of
/// string that holds them.
fn same_name(one: &str, other: &str) -> bool {
    let words = |name: &str| name.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
    one == other || words(one) == words(other)
}
