//! Whether certificates make a chain, and whether a key belongs to it.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::{
    error::{CertificateError, malformed},
    key::PublicKey,
    x509::X509,
};
use crate::domain::{reason::Reason, validity::Validity};

/// More certificates than that are a bundle, not a chain.
const MAX_CHAIN: usize = 16;

/// What is known of a chain that holds together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// When all of it is valid.
    pub validity: Validity,
    /// Subject and validity of each certificate that counts, the server's own first.
    pub parts: Vec<(String, Validity)>,
    /// What is superfluous, as phrases.
    pub notes: Vec<String>,
}

/// Checks that the first certificate is for the key, and that each further one issued the one
/// before it.
///
/// # Errors
/// What does not fit.
pub fn check(all: &[X509], key: &PublicKey) -> Result<Checked, CertificateError> {
    let mut notes = Vec::new();
    let mut twice = BTreeSet::new();
    let mut chain: Vec<&X509> = Vec::with_capacity(all.len());
    for certificate in all {
        if chain.iter().any(|known| known.der == certificate.der) {
            twice.insert(certificate.subject.as_str());
        } else {
            chain.push(certificate);
        }
        if chain.len() > MAX_CHAIN {
            return Err(malformed(format!(
                "holds {} certificates; a chain has at most {MAX_CHAIN}: the server's own first, each followed by its issuer",
                all.len()
            )));
        }
    }
    notes.extend(twice.iter().map(|subject| format!("certificate {subject} is in the chain twice")));
    let [leaf, rest @ ..] = chain.as_slice() else {
        return Err(malformed("holds no certificate"));
    };
    let own = leaf.public_key()?;
    own.strong_enough()?;
    if own != *key {
        let later = rest.iter().position(|other| other.public_key().is_ok_and(|other| other == *key));
        return Err(match later {
            Some(at) => out_of_order(&chain, &path(&chain, at + 1)),
            None => CertificateError::new(
                Reason::KeyMismatch,
                format!(
                    "does not belong to the certificate, which has the public key of another {} key; put a certificate and key that match into the Secret",
                    own.algorithm
                ),
            ),
        });
    }
    let path = path(&chain, 0);
    let straight = path.iter().zip(0..).take_while(|(found, at)| **found == *at).count();
    if path.len() == chain.len() && straight < chain.len() {
        return Err(out_of_order(&chain, &path));
    }
    if let (Some(odd), Some(before)) = (chain.get(straight), chain.get(straight.saturating_sub(1))) {
        let why = if odd.bears_name_of_issuer(before) {
            "which its key did not sign".to_owned()
        } else {
            format!("whose issuer is {}", before.issuer)
        };
        return Err(CertificateError::new(
            Reason::ChainBroken,
            format!(
                "is not a chain: certificate {} ({}) did not issue the one before it, {why}; leave it out, or put the missing one before it",
                straight + 1,
                odd.subject
            ),
        ));
    }
    // Clients have their own copy of a root, and do not look at one that they are sent.
    let root = rest.last().filter(|last| last.is_self_issued());
    if let Some(root) = root {
        notes.push(format!("the root {} at the end of the chain is not needed", root.subject));
    }
    let counted = chain.len() - usize::from(root.is_some());
    let parts: Vec<(String, Validity)> =
        chain.iter().take(counted).map(|part| (part.subject.clone(), part.validity())).collect();
    let validity = parts.iter().fold(leaf.validity(), |all, (_, own)| Validity {
        not_before: all.not_before.max(own.not_before),
        not_after: all.not_after.min(own.not_after),
    });
    if let Some((subject, _)) = parts.iter().find(|(_, own)| own.not_after == validity.not_after)
        && validity.not_after < leaf.validity().not_after
    {
        notes.push(format!("{subject} in its chain expires before it, at {}", validity.not_after));
    }
    Ok(Checked { validity, parts, notes })
}

impl Checked {
    /// Which certificate above the server's own is to blame when the chain is not valid at a time.
    pub fn to_blame(&self, now: Timestamp) -> Option<&str> {
        let (position, (subject, _)) =
            self.parts.iter().enumerate().find(|(_, (_, validity))| !validity.is_usable(now))?;
        (position > 0).then_some(subject.as_str())
    }
}

/// The way from a certificate up, as far as it goes, as positions.
fn path(chain: &[&X509], from: usize) -> Vec<usize> {
    let mut path = vec![from];
    let mut current = chain.get(from);
    while let Some(certificate) = current.filter(|certificate| !certificate.is_self_issued()) {
        let above = chain
            .iter()
            .enumerate()
            .find(|(at, other)| !path.contains(at) && certificate.is_issued_by(other))
            .map(|(at, _)| at);
        path.extend(above);
        current = above.and_then(|at| chain.get(at));
    }
    path
}

fn out_of_order(chain: &[&X509], path: &[usize]) -> CertificateError {
    let certificates = path.iter().filter_map(|at| chain.get(*at));
    let order: Vec<String> =
        certificates.zip(1..).map(|(one, number)| format!("{number}. {}", one.subject)).collect();
    let message = format!("has its certificates in the wrong order; the right one is {}", order.join(", "));
    CertificateError::new(Reason::ChainOutOfOrder, message)
}
