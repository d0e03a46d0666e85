//! One hub and members, each a real control plane.

pub mod world;

mod deletion;
mod disk;
mod forgery;
mod hubs;
mod isolation;
mod names;
mod orphans;
mod paused;
mod rebuilt;
mod restart;
mod sync;
