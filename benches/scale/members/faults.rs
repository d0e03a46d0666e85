//! What one member in trouble costs the others.

use std::time::Duration;

use super::{crowd::Crowd, hub::Hub};
use crate::{stats::median, support::Result};

/// Rotations of which the median is one sample: one alone takes so little time that any other process shows.
const REPEATS: usize = 5;
/// As long as nobody waits for it any more.
const SLOW: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No byte moves.
    Frozen,
    /// Every request takes 30 s more.
    Slow,
    /// Nothing listens.
    Refusing,
}

impl Fault {
    pub const ALL: [Self; 3] = [Self::Frozen, Self::Slow, Self::Refusing];

    pub fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Slow => "30 s late",
            Self::Refusing => "refusing",
        }
    }

    async fn begin(self, crowd: &Crowd) -> Result<()> {
        match self {
            Self::Frozen => crowd.fault.freeze(),
            Self::Slow => crowd.fault.delay(SLOW),
            Self::Refusing => {
                crowd.fault.refuse(true).await?;
                crowd.fault.reset();
            }
        }
        Ok(())
    }

    async fn end(self, crowd: &Crowd) -> Result<()> {
        crowd.fault.delay(Duration::ZERO);
        crowd.fault.thaw();
        crowd.fault.refuse(false).await?;
        // What was held up is lost.
        crowd.fault.reset();
        Ok(())
    }
}

/// One fault, once: seconds until a rotation has reached all other members.
pub struct Sample {
    pub fault: Fault,
    /// With all members well: the mean of before and after.
    pub well: f64,
    /// The first rotation, when the operator does not know of it yet.
    pub unnoticed: f64,
    /// Later ones.
    pub noticed: f64,
    /// From the end of the fault until the member, too, had what it missed.
    pub back: f64,
}

/// Has the first member in trouble, once for each kind of it. All members are well before and after.
pub async fn round(hub: &mut Hub, crowd: &Crowd) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let mut before = several(hub, crowd).await?;
    for fault in Fault::ALL {
        fault.begin(crowd).await?;
        let unnoticed = hub.rotation(crowd, crowd.healthy()).await?.as_secs_f64();
        hub.wait_unreachable(&crowd.members[0]).await?;
        let noticed = several(hub, crowd).await?;
        fault.end(crowd).await?;
        let back = hub.wait_ready().await?.as_secs_f64();
        let after = several(hub, crowd).await?;
        hub.wait_ready().await?;
        let well = f64::midpoint(before, after);
        eprintln!(
            "{}: {:.0} ms, then {:.0} ms; well {:.0} ms; back after {back:.1} s",
            fault.name(),
            unnoticed * 1e3,
            noticed * 1e3,
            well * 1e3
        );
        samples.push(Sample { fault, well, unnoticed, noticed, back });
        before = after;
    }
    Ok(samples)
}

/// The median of several rotations.
async fn several(hub: &mut Hub, crowd: &Crowd) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        times.push(hub.rotation(crowd, crowd.healthy()).await?.as_secs_f64());
    }
    Ok(median(&times))
}
