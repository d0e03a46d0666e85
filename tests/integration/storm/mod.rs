//! A storm: users, tenants and fate do random things to a hub with a member, and then a model that shares no code
//! with the operator says what must stand where.
//!
//! `CLAVIGER_STORM_SEED` chooses the same operations again, as far as concurrency lets it; `CLAVIGER_STORM_OPERATIONS`
//! says how many. For a night:
//!
//! ```sh
//! CLAVIGER_STORM_OPERATIONS=20000 cargo test --test integration -- storm::a_storm --nocapture
//! ```

mod check;
mod choice;
mod content;
mod contents;
mod coverage;
pub mod dice;
mod driver;
mod fate;
mod history;
mod manifests;
mod model;
mod names;
mod observation;
mod operation;
mod report;
mod sabotage;
mod selector;
mod state;
mod users;
mod world;

#[cfg(test)]
mod check_tests;

use std::env;

use driver::Storm;

use crate::{heavy::heavy, support::Result};

/// So many operations are enough for `cargo test`.
const OPERATIONS: usize = 400;

#[tokio::test]
async fn a_storm_ends_as_the_model_says() -> Result<()> {
    let _turn = heavy().await;
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seed = number("CLAVIGER_STORM_SEED").unwrap_or_else(rand::random);
    let operations = number("CLAVIGER_STORM_OPERATIONS").map_or(Ok(OPERATIONS), usize::try_from)?;
    println!("CLAVIGER_STORM_SEED={seed} CLAVIGER_STORM_OPERATIONS={operations}");
    let mut storm = Storm::start(seed).await?;
    storm.rage(operations).await?;
    // What was found to be right is of no worth if nothing could be found wrong.
    storm.sabotage().await
}
