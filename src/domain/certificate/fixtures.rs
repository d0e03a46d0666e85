//! Certificates for tests, made with rcgen.

use k8s_openapi::jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SignatureAlgorithm,
};

/// From 2020 to 2120, in which `now` lies.
pub fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// Somebody who issues certificates.
pub struct Authority {
    pub issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate without its chain, and its key.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

pub fn params(name: &str, from: i32, to: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    params
}

fn authority_params(name: &str, from: i32, to: i32) -> CertificateParams {
    let mut params = params(name, from, to);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Authority {
    pub fn root(name: &str) -> Self {
        let (params, key) = (authority_params(name, 2020, 2120), KeyPair::generate().unwrap());
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub fn intermediate(&self, name: &str) -> Self {
        self.intermediate_until(name, 2120)
    }

    pub fn intermediate_until(&self, name: &str, to: i32) -> Self {
        let (params, key) = (authority_params(name, 2020, to), KeyPair::generate().unwrap());
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub fn leaf(&self, name: &str) -> Pair {
        self.issue(leaf_params(name, 2020, 2120), &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub fn issue(&self, params: CertificateParams, kind: &'static SignatureAlgorithm) -> Pair {
        let key = KeyPair::generate_for(kind).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

pub fn leaf_params(name: &str, from: i32, to: i32) -> CertificateParams {
    let mut params = params(name, from, to);
    params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
    params
}
