//! Public keys, as a certificate has them and as they follow from a private key.

use p256::NistP256;
use p384::NistP384;
use p521::{
    NistP521,
    elliptic_curve::{
        self, AffinePoint, CurveArithmetic, FieldBytesSize, SecretKey,
        sec1::{FromSec1Point, ModulusSize, ToSec1Point},
    },
};
use pkcs1::{RsaPrivateKeyRef, RsaPublicKeyRef};
use pkcs8::PrivateKeyInfoRef;
use ring::signature::{Ed25519KeyPair, KeyPair};
use sec1::EcPrivateKey;
use x509_cert::{
    der::{
        Decode, Encode,
        asn1::{ObjectIdentifier, OctetStringRef},
        oid::db::{
            rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1},
            rfc8410::ID_ED_25519,
        },
    },
    spki::SubjectPublicKeyInfoOwned,
};

use zeroize::Zeroizing;

use super::{
    error::{CertificateError, malformed, unsupported_format},
    pem,
};
use crate::domain::reason::Reason;

/// Below this, clients refuse to connect.
const MIN_RSA_BITS: usize = 2048;

/// A public key, in the one form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Such as `RSA-2048`, `ECDSA-P256` or `Ed25519`.
    pub algorithm: String,
    rsa_bits: Option<usize>,
    /// DER of `n` and `e` of RSA, the uncompressed point of ECDSA, or the bytes of Ed25519.
    bytes: Vec<u8>,
}

/// What the public point of an ECDSA key is worked out from.
#[derive(Clone, Copy)]
enum EcKey<'a> {
    /// The private scalar.
    Private(&'a [u8]),
    /// The point as a certificate has it, which may be compressed.
    Public(&'a [u8]),
}

impl EcKey<'_> {
    fn point<C>(self) -> Option<Vec<u8>>
    where
        C: CurveArithmetic,
        AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
        FieldBytesSize<C>: ModulusSize,
    {
        let key = match self {
            Self::Private(scalar) => SecretKey::<C>::from_slice(scalar).ok()?.public_key(),
            Self::Public(point) => elliptic_curve::PublicKey::<C>::from_sec1_bytes(point).ok()?,
        };
        Some(key.to_sec1_point(false).as_bytes().to_vec())
    }
}

impl PublicKey {
    /// The key of a certificate.
    ///
    /// # Errors
    /// When it is of a kind that is not distributed, or cannot be read.
    pub fn of(info: &SubjectPublicKeyInfoOwned) -> Result<Self, CertificateError> {
        let broken = || malformed("holds a certificate whose public key cannot be read");
        let bytes = info.subject_public_key.as_bytes().ok_or_else(broken)?;
        match info.algorithm.oid {
            RSA_ENCRYPTION => {
                let key = RsaPublicKeyRef::from_der(bytes).ok();
                key.as_ref().and_then(Self::rsa).ok_or_else(broken)
            }
            ID_EC_PUBLIC_KEY => {
                let curve = info.algorithm.parameters.as_ref().and_then(|any| any.decode_as().ok());
                let curve = curve.ok_or_else(another_curve)?;
                Self::ec(curve, EcKey::Public(bytes))?.ok_or_else(broken)
            }
            ID_ED_25519 => Ok(Self::new("Ed25519", bytes)),
            other => Err(unsupported(&format!("a key of type {other}"))),
        }
    }

    fn rsa(key: &RsaPublicKeyRef<'_>) -> Option<Self> {
        let modulus = key.modulus.as_bytes();
        let zeros = modulus.first()?.leading_zeros();
        let bits = modulus.len() * 8 - usize::try_from(zeros).ok()?;
        Some(Self { rsa_bits: Some(bits), ..Self::new(format!("RSA-{bits}"), key.to_der().ok()?) })
    }

    /// `None` when the key is not on its curve.
    fn ec(curve: ObjectIdentifier, key: EcKey<'_>) -> Result<Option<Self>, CertificateError> {
        let (algorithm, point) = match curve {
            SECP_256_R_1 => ("ECDSA-P256", key.point::<NistP256>()),
            SECP_384_R_1 => ("ECDSA-P384", key.point::<NistP384>()),
            SECP_521_R_1 => ("ECDSA-P521", key.point::<NistP521>()),
            _ => return Err(another_curve()),
        };
        Ok(point.map(|point| Self::new(algorithm, point)))
    }

    fn new(algorithm: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { algorithm: algorithm.into(), rsa_bits: None, bytes: bytes.into() }
    }

    /// Refuses what clients refuse.
    ///
    /// # Errors
    /// When the key is too short.
    pub fn strong_enough(&self) -> Result<(), CertificateError> {
        match self.rsa_bits {
            Some(bits) if bits < MIN_RSA_BITS => Err(CertificateError::new(
                Reason::UnsupportedKey,
                format!(
                    "holds a certificate for an RSA key of {bits} bits, which clients refuse; make one with at least {MIN_RSA_BITS}"
                ),
            )),
            _ => Ok(()),
        }
    }
}

fn unsupported(what: &str) -> CertificateError {
    let message = format!("holds {what}; use RSA, ECDSA on P-256, P-384 or P-521, or Ed25519");
    CertificateError::new(Reason::UnsupportedKey, message)
}

fn another_curve() -> CertificateError {
    unsupported("a key on another curve")
}

/// The public key that follows from the one private key in a PEM value: PKCS#1, SEC1 or PKCS#8.
///
/// # Errors
/// When there is no such key, more than one, or one that cannot be used as it is.
pub fn private_key(value: &[u8]) -> Result<PublicKey, CertificateError> {
    let mut found = None;
    for block in pem::blocks(value)? {
        match block.label.as_str() {
            // What `openssl ecparam -genkey` writes before the key. The key says it again.
            "EC PARAMETERS" => continue,
            "ENCRYPTED PRIVATE KEY" => return Err(encrypted()),
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" if block.encrypted => {
                return Err(encrypted());
            }
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" if found.is_some() => {
                return Err(malformed("holds more than one private key; leave only that of the certificate"));
            }
            "PRIVATE KEY" => found = Some(from_pkcs8(&block.der)?),
            "RSA PRIVATE KEY" => found = Some(from_pkcs1(&block.der)?),
            "EC PRIVATE KEY" => found = Some(from_sec1(&block.der, None)?),
            "OPENSSH PRIVATE KEY" => {
                return Err(unsupported_format(
                    "is a key of OpenSSH, which TLS servers cannot read; convert it: ssh-keygen -p -m PKCS8 -f <key>",
                ));
            }
            label if label.ends_with("PRIVATE KEY") => return Err(unsupported(&format!("a {label}"))),
            "PUBLIC KEY" => return Err(malformed("holds a public key where the private one belongs")),
            label => {
                return Err(malformed(format!(
                    "holds a block {label}; nothing but the private key belongs there"
                )));
            }
        }
    }
    found.ok_or_else(|| malformed("holds no private key"))
}

/// The DER of a private key in a PEM value, PKCS#8 or PKCS#1, whatever it is the key of.
///
/// # Errors
/// When there is no such block.
pub fn private_key_der(value: &[u8]) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    let is_key = |block: &pem::Block| {
        ["PRIVATE KEY", "RSA PRIVATE KEY"].contains(&block.label.as_str()) && !block.encrypted
    };
    let found = pem::blocks(value)?.into_iter().find(is_key);
    found.map(|block| block.der).ok_or_else(|| malformed("holds no private key"))
}

fn encrypted() -> CertificateError {
    CertificateError::new(
        Reason::EncryptedKey,
        "is an encrypted private key, and no Pod could unlock it; decrypt it first: openssl pkey -in <encrypted> -out tls.key",
    )
}

fn damaged(form: &str) -> CertificateError {
    malformed(format!("holds a private key that cannot be read as {form}"))
}

fn from_pkcs1(der: &[u8]) -> Result<PublicKey, CertificateError> {
    let key = RsaPrivateKeyRef::from_der(der).ok();
    key.and_then(|key| PublicKey::rsa(&key.public_key())).ok_or_else(|| damaged("PKCS#1"))
}

fn from_sec1(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<PublicKey, CertificateError> {
    let unnamed = || damaged("SEC1 with a named curve");
    let key = EcPrivateKey::from_der(der).map_err(|_| unnamed())?;
    let named = curve.or_else(|| key.parameters.and_then(|parameters| parameters.named_curve()));
    PublicKey::ec(named.ok_or_else(unnamed)?, EcKey::Private(key.private_key))?.ok_or_else(|| damaged("SEC1"))
}

fn from_pkcs8(der: &[u8]) -> Result<PublicKey, CertificateError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| damaged("PKCS#8"))?;
    let key = info.private_key.as_bytes();
    match info.algorithm.oid {
        RSA_ENCRYPTION => from_pkcs1(key),
        ID_EC_PUBLIC_KEY => {
            from_sec1(key, Some(info.algorithm.parameters_oid().map_err(|_| another_curve())?))
        }
        ID_ED_25519 => {
            let seed = <&OctetStringRef>::from_der(key).map_err(|_| damaged("Ed25519"))?;
            let pair =
                Ed25519KeyPair::from_seed_unchecked(seed.as_bytes()).map_err(|_| damaged("Ed25519"))?;
            Ok(PublicKey::new("Ed25519", pair.public_key().as_ref()))
        }
        other => Err(unsupported(&format!("a key of type {other}"))),
    }
}
