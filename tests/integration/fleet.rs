//! One hub and members, each a real control plane.

mod world;

mod deletion;
mod disk;
mod hubs;
mod isolation;
mod sync;
