//! Public keys, as a certificate has them and as they follow from a private key.

use p256::NistP256;
use p384::NistP384;
use p521::{
    NistP521,
    elliptic_curve::{
        AffinePoint, CurveArithmetic, FieldBytesSize, SecretKey,
        sec1::{FromSec1Point, ModulusSize, ToSec1Point},
    },
};
use pkcs1::{RsaPrivateKeyRef, RsaPublicKeyRef};
use pkcs8::PrivateKeyInfoRef;
use ring::signature::{Ed25519KeyPair, KeyPair};
use sec1::EcPrivateKey;
use x509_cert::{
    der::{
        Decode,
        asn1::{ObjectIdentifier, OctetStringRef},
        oid::db::{
            rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1},
            rfc8410::ID_ED_25519,
        },
    },
    spki::SubjectPublicKeyInfoOwned,
};

use super::{error::CertificateError, pem};

/// Below this, clients refuse to connect.
const MIN_RSA_BITS: usize = 2048;

/// A public key, in the one form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA.
    Rsa {
        /// `n`, without leading zeros.
        modulus: Vec<u8>,
        /// `e`, without leading zeros.
        exponent: Vec<u8>,
    },
    /// ECDSA on a curve of NIST.
    Ec {
        /// Which.
        curve: Curve,
        /// The point, uncompressed.
        point: Vec<u8>,
    },
    /// Ed25519.
    Ed25519(Vec<u8>),
}

/// The curves that usual clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// P-256.
    P256,
    /// P-384.
    P384,
    /// P-521.
    P521,
}

impl Curve {
    fn of(oid: ObjectIdentifier) -> Option<Self> {
        match oid {
            SECP_256_R_1 => Some(Self::P256),
            SECP_384_R_1 => Some(Self::P384),
            SECP_521_R_1 => Some(Self::P521),
            _ => None,
        }
    }

    /// The public point of a private scalar.
    fn public(self, scalar: &[u8]) -> Option<PublicKey> {
        let point = match self {
            Self::P256 => point::<NistP256>(scalar),
            Self::P384 => point::<NistP384>(scalar),
            Self::P521 => point::<NistP521>(scalar),
        };
        point.map(|point| PublicKey::Ec { curve: self, point })
    }

    /// A point as a certificate has it, which may be compressed.
    fn read(self, bytes: &[u8]) -> Option<PublicKey> {
        let point = match self {
            Self::P256 => read_point::<NistP256>(bytes),
            Self::P384 => read_point::<NistP384>(bytes),
            Self::P521 => read_point::<NistP521>(bytes),
        };
        point.map(|point| PublicKey::Ec { curve: self, point })
    }
}

fn point<C>(scalar: &[u8]) -> Option<Vec<u8>>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    let key = SecretKey::<C>::from_slice(scalar).ok()?;
    Some(key.public_key().to_sec1_point(false).as_bytes().to_vec())
}

fn read_point<C>(bytes: &[u8]) -> Option<Vec<u8>>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    let key = p521::elliptic_curve::PublicKey::<C>::from_sec1_bytes(bytes).ok()?;
    Some(key.to_sec1_point(false).as_bytes().to_vec())
}

impl PublicKey {
    /// The key of a certificate.
    ///
    /// # Errors
    /// When it is of a kind that is not distributed, or cannot be read.
    pub fn of(info: &SubjectPublicKeyInfoOwned) -> Result<Self, CertificateError> {
        let broken =
            || CertificateError::Malformed("holds a certificate whose public key cannot be read".to_owned());
        let bytes = info.subject_public_key.as_bytes().ok_or_else(broken)?;
        match info.algorithm.oid {
            RSA_ENCRYPTION => {
                let key = RsaPublicKeyRef::from_der(bytes).map_err(|_| broken())?;
                Ok(Self::Rsa {
                    modulus: key.modulus.as_bytes().to_vec(),
                    exponent: key.public_exponent.as_bytes().to_vec(),
                })
            }
            ID_EC_PUBLIC_KEY => {
                let oid = info.algorithm.parameters.as_ref().and_then(|any| any.decode_as().ok());
                let curve = oid.and_then(Curve::of).ok_or_else(|| unsupported("a key on another curve"))?;
                curve.read(bytes).ok_or_else(broken)
            }
            ID_ED_25519 => Ok(Self::Ed25519(bytes.to_vec())),
            other => Err(unsupported(&format!("a key of type {other}"))),
        }
    }

    /// Such as `RSA-2048`, `ECDSA-P256` or `Ed25519`.
    #[must_use]
    pub fn algorithm(&self) -> String {
        match self {
            Self::Rsa { modulus, .. } => format!("RSA-{}", bits(modulus)),
            Self::Ec { curve, .. } => format!("ECDSA-{curve:?}"),
            Self::Ed25519(_) => "Ed25519".to_owned(),
        }
    }

    /// Refuses what clients refuse.
    ///
    /// # Errors
    /// When the key is too short.
    pub fn strong_enough(&self) -> Result<(), CertificateError> {
        match self {
            Self::Rsa { modulus, .. } if bits(modulus) < MIN_RSA_BITS => {
                Err(CertificateError::UnsupportedKey(format!(
                    "holds a certificate for an RSA key of {} bits, which clients refuse; make one with at least {MIN_RSA_BITS}",
                    bits(modulus)
                )))
            }
            _ => Ok(()),
        }
    }
}

fn bits(number: &[u8]) -> usize {
    let zeros = number.first().map_or(0, |byte| byte.leading_zeros());
    (number.len() * 8).saturating_sub(usize::try_from(zeros).unwrap_or(0))
}

fn unsupported(what: &str) -> CertificateError {
    CertificateError::UnsupportedKey(format!(
        "holds {what}; use RSA, ECDSA on P-256, P-384 or P-521, or Ed25519"
    ))
}

/// The public key that follows from the one private key in a PEM value: PKCS#1, SEC1 or PKCS#8.
///
/// # Errors
/// When there is no such key, more than one, or one that cannot be used as it is.
pub fn private_key(value: &[u8]) -> Result<PublicKey, CertificateError> {
    let malformed = |problem: &str| CertificateError::Malformed(problem.to_owned());
    let mut found = None;
    for block in pem::blocks(value)? {
        match block.label.as_str() {
            // What `openssl ecparam -genkey` writes before the key. The key says it again.
            "EC PARAMETERS" => continue,
            "ENCRYPTED PRIVATE KEY" => return Err(CertificateError::EncryptedKey),
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" if block.encrypted => {
                return Err(CertificateError::EncryptedKey);
            }
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" if found.is_some() => {
                return Err(malformed("holds more than one private key; leave only that of the certificate"));
            }
            "PRIVATE KEY" => found = Some(from_pkcs8(&block.der)?),
            "RSA PRIVATE KEY" => found = Some(from_pkcs1(&block.der)?),
            "EC PRIVATE KEY" => found = Some(from_sec1(&block.der, None)?),
            "OPENSSH PRIVATE KEY" => {
                return Err(CertificateError::UnsupportedFormat(
                    "is a key of OpenSSH, which TLS servers cannot read; convert it: ssh-keygen -p -m PKCS8 -f <key>",
                ));
            }
            label if label.ends_with("PRIVATE KEY") => {
                return Err(unsupported(&format!("a {label}")));
            }
            "PUBLIC KEY" => return Err(malformed("holds a public key where the private one belongs")),
            label => {
                return Err(CertificateError::Malformed(format!(
                    "holds a block {label}; nothing but the private key belongs there"
                )));
            }
        }
    }
    found.ok_or_else(|| malformed("holds no private key"))
}

fn damaged(form: &str) -> CertificateError {
    CertificateError::Malformed(format!("holds a private key that cannot be read as {form}"))
}

fn from_pkcs1(der: &[u8]) -> Result<PublicKey, CertificateError> {
    let key = RsaPrivateKeyRef::from_der(der).map_err(|_| damaged("PKCS#1"))?;
    Ok(PublicKey::Rsa {
        modulus: key.modulus.as_bytes().to_vec(),
        exponent: key.public_exponent.as_bytes().to_vec(),
    })
}

fn from_sec1(der: &[u8], curve: Option<ObjectIdentifier>) -> Result<PublicKey, CertificateError> {
    let key = EcPrivateKey::from_der(der).map_err(|_| damaged("SEC1 with a named curve"))?;
    let named = curve.or_else(|| key.parameters.and_then(|parameters| parameters.named_curve()));
    let oid = named.ok_or_else(|| damaged("SEC1 with a named curve"))?;
    let curve = Curve::of(oid).ok_or_else(|| unsupported("a key on another curve"))?;
    curve.public(key.private_key).ok_or_else(|| damaged("SEC1"))
}

fn from_pkcs8(der: &[u8]) -> Result<PublicKey, CertificateError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| damaged("PKCS#8"))?;
    let key = info.private_key.as_bytes();
    match info.algorithm.oid {
        RSA_ENCRYPTION => from_pkcs1(key),
        ID_EC_PUBLIC_KEY => {
            let curve = info.algorithm.parameters_oid().map_err(|_| unsupported("a key on another curve"))?;
            from_sec1(key, Some(curve))
        }
        ID_ED_25519 => {
            let seed = <&OctetStringRef>::from_der(key).map_err(|_| damaged("Ed25519"))?;
            let pair =
                Ed25519KeyPair::from_seed_unchecked(seed.as_bytes()).map_err(|_| damaged("Ed25519"))?;
            Ok(PublicKey::Ed25519(pair.public_key().as_ref().to_vec()))
        }
        other => Err(unsupported(&format!("a key of type {other}"))),
    }
}
