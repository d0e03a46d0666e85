//! tmp
#![allow(dead_code)]
pub mod api;
mod domain;
mod queue;
mod cluster;
mod supervisor;
pub mod telemetry;
