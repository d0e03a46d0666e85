//! From a new namespace to its Secret.

use std::time::{Duration, Instant};

use kube::Client;

use crate::{
    observer::Observer,
    support::Result,
    world::{World, create_target},
};

const SAMPLES: usize = 200;
/// Between two samples: namespaces that come one by one, not a crowd.
const PAUSE: Duration = Duration::from_millis(50);

/// Seconds from asking for a namespace until its Secret was seen, one at a time.
pub async fn measure(world: &World, client: &Client) -> Result<Vec<f64>> {
    let mut observer = Observer::start(world.client().await?).await?;
    let mut samples = Vec::with_capacity(SAMPLES);
    for number in 0..SAMPLES {
        let name = format!("late-{number:06}");
        let began = Instant::now();
        create_target(client, &name).await?;
        let arrived = observer.arrival(&name, Duration::from_secs(30)).await?;
        samples.push((arrived - began).as_secs_f64());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(samples)
}
