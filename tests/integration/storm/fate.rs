//! The operator as a process, and what happens to it and to the ways to the clusters.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{
    dice::Dice,
    operation::Fate,
    state::{CLUSTER_LABEL, Member},
    world::{World, merge},
};
use crate::support::{Operator, Result, environment::OPERATOR_NAMESPACE, workdir::Workdir};

/// What a real hub has minutes for.
const ARGS: [&str; 7] = [
    "--leader-elect=false",
    "--request-timeout=3s",
    "--watch-timeout=5s",
    "--member-probe-interval=1s",
    "--unreachable-grace-period=10s",
    "--sweep-interval=2s",
    "--cluster-labels=env=dev",
];

pub struct Runner {
    operator: Operator,
    /// Logs of operators that were killed.
    logs: Workdir,
    killed: usize,
}

impl Runner {
    pub async fn start(world: &World) -> Result<Self> {
        let operator = start(world, "0s").await?;
        Ok(Self { operator, logs: Workdir::new("claviger-storm-")?, killed: 0 })
    }

    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Where the logs are, and whatever else is worth keeping.
    pub fn logs(&self) -> &Workdir {
        &self.logs
    }

    pub async fn carry_out(&mut self, world: &World, fate: Fate) -> Result<()> {
        match fate {
            Fate::Kill { rest, grace } => {
                self.operator.kill9()?;
                self.save_log()?;
                self.killed += 1;
                sleep(Duration::from_millis(rest)).await;
                self.operator = start(world, grace).await?;
            }
            Fate::Stop { rest } => {
                self.operator.signal("STOP")?;
                sleep(Duration::from_millis(rest)).await;
                self.operator.signal("CONT")?;
            }
            Fate::ResetHub => world.proxy.reset(),
            Fate::FreezeHub { rest } => {
                world.proxy.freeze();
                sleep(Duration::from_millis(rest)).await;
                world.proxy.thaw();
            }
            Fate::ResetMember => world.member.proxy.reset(),
            Fate::CutMember { silent: true } => world.member.proxy.freeze(),
            Fate::CutMember { silent: false } => {
                world.member.proxy.refuse(true).await?;
                world.member.proxy.reset();
            }
            Fate::RejoinMember => {
                world.member.proxy.refuse(false).await?;
                world.member.proxy.thaw();
            }
            Fate::PauseMember { paused } => change_member(world, json!({"spec": {"paused": paused}})).await?,
            Fate::LabelMember { value } => {
                change_member(world, json!({"metadata": {"labels": {CLUSTER_LABEL: value}}})).await?;
            }
        }
        Ok(())
    }

    /// Writes the log of the present operator beside those of the ones before it.
    pub fn save_log(&self) -> Result<()> {
        self.logs.write(&format!("operator-{}.log", self.killed), self.operator.logs()).map(drop)
    }
}

async fn start(world: &World, grace: &str) -> Result<Operator> {
    let plane = &world.control_plane;
    let kubeconfig = plane.kubeconfig_with(world.proxy.url(), plane.admin_token()?)?;
    let builder = Operator::builder(&world.binary, kubeconfig).namespace(OPERATOR_NAMESPACE);
    let builder = ARGS.into_iter().fold(builder, |builder, arg| builder.arg(arg));
    builder
        .env("CLAVIGER_CONSENT_GRACE_PERIOD", grace)
        .env("CLAVIGER_SWEEP_GRACE_PERIOD", grace)
        // It may have to start while the hub or the member is away.
        .without_waiting()
        .start()
        .await
}

async fn change_member(world: &World, patch: serde_json::Value) -> Result<()> {
    merge(&world.cluster_scoped("MemberCluster"), "east", patch).await.map(drop)
}

/// What happens next, while tenants are at work.
pub fn choose(dice: &mut Dice, member: &Member) -> Fate {
    let rest = u64::try_from(dice.below(2500)).unwrap_or_default();
    let grace = dice.one_of(["0s", "0s", "0s", "1s"]);
    let value = dice.one_of(["prod", "test"]);
    let cut = Fate::CutMember { silent: dice.percent(50) };
    dice.weighted(&[
        (6, Fate::Kill { rest, grace }),
        (4, Fate::Stop { rest }),
        (3, Fate::ResetHub),
        (2, Fate::FreezeHub { rest }),
        (3, Fate::ResetMember),
        (4, if member.cut { Fate::RejoinMember } else { cut }),
        (3, Fate::PauseMember { paused: !member.paused }),
        (2, Fate::LabelMember { value }),
    ])
}

/// What is put right before the check: mostly all.
pub fn choose_end(dice: &mut Dice, member: &Member) -> Vec<Fate> {
    let mut fates = Vec::new();
    let stays = dice.percent(20);
    if member.cut && (!stays || member.paused) {
        fates.push(Fate::RejoinMember);
    }
    if member.paused && !stays {
        fates.push(Fate::PauseMember { paused: false });
    }
    fates
}
