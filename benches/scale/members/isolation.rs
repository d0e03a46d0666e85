//! What one member in trouble costs the others: the same members, once alone and once beside it.

use std::{collections::HashSet, time::Duration};

use super::{
    hub::Hub,
    virtual_members::{Member, VirtualMembers},
};
use crate::{
    stats::median,
    support::{Error, Result},
};

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

    async fn begin(self, members: &VirtualMembers) -> Result<()> {
        match self {
            Self::Frozen => members.fault.freeze(),
            Self::Slow => members.fault.delay(SLOW),
            Self::Refusing => {
                members.fault.refuse(true).await?;
                members.fault.reset();
            }
        }
        Ok(())
    }

    async fn end(self, members: &VirtualMembers) -> Result<()> {
        members.fault.delay(Duration::ZERO);
        members.fault.thaw();
        members.fault.refuse(false).await?;
        // What was held up is lost.
        members.fault.reset();
        Ok(())
    }
}

/// One fault, once: seconds until a rotation has reached all other members.
pub struct Sample {
    pub fault: Fault,
    /// When the credential does not go to the first member: the mean of before and after.
    pub alone: f64,
    /// The first rotation, when the operator does not know of the fault yet.
    pub unnoticed: f64,
    /// Later ones.
    pub noticed: f64,
    /// From the end of the fault until the member, too, had what it missed.
    pub back: f64,
}

/// Has the first member in trouble, once for each kind of it. Before and after, the others are alone: the first member is up,
/// but no target, so that each rotation has the same copies to write for them and nothing else.
pub async fn round(hub: &mut Hub, members: &VirtualMembers) -> Result<Vec<Sample>> {
    let first = members.members.first().ok_or_else(|| Error::new("no members"))?;
    let mut samples = Vec::new();
    hub.exclude(&[&first.name]).await?;
    let mut before = several(hub, members).await?;
    for fault in Fault::ALL {
        hub.exclude(&[]).await?;
        fault.begin(members).await?;
        let unnoticed = hub.rotation(members, others(members)).await?.written;
        hub.wait_unreachable(first).await?;
        let noticed = several(hub, members).await?;
        fault.end(members).await?;
        let back = hub.wait_ready().await?.as_secs_f64();
        hub.exclude(&[&first.name]).await?;
        let after = several(hub, members).await?;
        let alone = f64::midpoint(before, after);
        eprintln!(
            "{}: {:.0} ms, then {:.0} ms; alone {:.0} ms; back after {back:.1} s",
            fault.name(),
            unnoticed * 1e3,
            noticed * 1e3,
            alone * 1e3
        );
        samples.push(Sample { fault, alone, unnoticed, noticed, back });
        before = after;
    }
    Ok(samples)
}

/// The median of several rotations in the others.
async fn several(hub: &mut Hub, members: &VirtualMembers) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        times.push(hub.rotation(members, others(members)).await?.written);
    }
    Ok(median(&times))
}

/// The namespaces of all but the one that faults are for.
fn others(members: &VirtualMembers) -> HashSet<String> {
    namespaces(members.members.get(1..).unwrap_or_default())
}

/// All namespaces of these.
pub fn namespaces(members: &[Member]) -> HashSet<String> {
    members.iter().flat_map(|member| member.namespaces.iter().cloned()).collect()
}
