//! What is known of each registry: where it is, which key clients look for, who logs in.
//!
//! Facts and their sources: the kubelet's keyring (`k8s.io/kubernetes/pkg/credentialprovider`) and
//! each provider's own documentation.

mod docker_config;
mod facts;
mod image;
mod key;
pub(crate) mod keyring;
pub(crate) mod kubelet;

pub(crate) use facts::{
    ACR_TOKEN_USER, GITHUB_TOKEN_USER, api_server, aws_domain, default_username, is_docker_hub, region,
    registry, sample_image,
};

#[cfg(test)]
mod key_tests;
