//! What the tests, the demo and the benchmarks share: a real control plane, the real operator in front
//! of it, faults in between, and helpers to wait and to look.
//!
//! It is a module, not a crate, so that it costs no extra package: a user says
//! `#[path = "../support/mod.rs"] mod support;` (or `../tests/support/mod.rs`).
//!
//! Nothing is mocked. etcd, kube-apiserver and kube-controller-manager are built once per machine from the
//! versions in `tests/control-plane/go.mod`, and so is what else is written in Go; see [`binaries`].

#![allow(dead_code, unused_imports, reason = "each user of this module uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code may stop and may speak"
)]

pub mod apply;
pub mod audit;
pub mod binaries;
pub mod build_cache;
pub mod builder;
pub mod client;
pub mod cloud;
pub mod command;
pub mod connect_proxy;
pub mod control_plane;
pub mod debian;
pub mod discovery;
pub mod dump;
pub mod environment;
pub mod error;
pub mod etcd;
pub mod fault_proxy;
pub mod go_module;
pub mod http;
pub mod http_proxy;
pub mod https;
pub mod kubeconfig;
pub mod kubernetes;
pub mod metrics;
pub mod namespace;
pub mod operator;
pub mod operator_binary;
pub mod pki;
pub mod place;
pub mod pod;
pub mod ports;
pub mod process;
pub mod progress;
pub mod prometheus;
pub mod python;
pub mod reference_types;
pub mod registry;
pub mod s3;
pub mod servers;
pub mod skips;
pub mod static_binary;
pub mod unpacked;
pub mod wait;
pub mod webhook;
pub mod workdir;

pub use apply::{apply_yaml, apply_yaml_in, install_crds};
pub use audit::AuditEvent;
pub use binaries::{go_tool, helm, kubectl};
pub use client::{client_from, config_from};
pub use command::run_with_input;
pub use connect_proxy::ConnectProxy;
pub use control_plane::ControlPlane;
pub use dump::dump;
pub use environment::{Environment, environment};
pub use error::{Error, Result};
pub use fault_proxy::FaultProxy;
pub use http_proxy::HttpProxy;
pub use namespace::{TestNamespace, random_name};
pub use operator::Operator;
pub use operator_binary::{cargo, operator_binary};
pub use wait::{stays, wait_for};
