//! One hub and members, each a real control plane.

pub mod world;

mod deletion;
mod hubs;
mod isolation;
mod sync;
