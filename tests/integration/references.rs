//! Who uses what: asked often enough, at a bounded cost, and told in time.

mod churn;
mod deletion;
mod discovery;
mod hostile;
pub mod kinds;
mod requests;
mod rights;

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{ListParams, ObjectList},
};

use crate::{
    checks::{good_source, spec},
    lab::{Lab, many_targets, wait_accounts},
    scenario::Scenario,
    support::{FaultProxy, Operator, Result, wait_for},
};

const LONG: Duration = Duration::from_secs(60);

/// A control plane whose operator is behind a proxy, and one credential in many namespaces.
struct Stage {
    lab: Lab,
    proxy: FaultProxy,
    test: Scenario,
    operator: Operator,
    targets: Vec<String>,
}

impl Stage {
    /// `args` as the operator's.
    async fn new(namespaces: usize, args: &[&str]) -> Result<Self> {
        let lab = Lab::start().await?;
        let proxy = FaultProxy::start(lab.control_plane.address()).await?;
        let test = lab.scenario().await?;
        test.policy().await?;
        let targets = many_targets(&test, namespaces).await?;
        let operator = lab.operator_behind(&proxy)?;
        let operator = args.iter().fold(operator, |builder, arg| builder.arg(*arg)).start().await?;
        good_source(&test, "src", "the-password").await?;
        test.credential("reg", spec(&test, "src")).await?;
        wait_for(LONG, "all copies", async || {
            let status = test.status("reg").await.map_err(|error| error.to_string())?;
            let ready = status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
            if ready { Ok(()) } else { Err(format!("{:?}", status.summary)) }
        })
        .await?;
        wait_accounts(&test, &targets).await?;
        Ok(Self { lab, proxy, test, operator, targets })
    }

    /// The copies that are left.
    async fn copies(&self) -> Result<ObjectList<Secret>> {
        let all: Api<Secret> = Api::all(self.test.client.clone());
        Ok(all.list(&ListParams::default().fields("metadata.name=reg")).await?)
    }

    /// Waits until a deletion has begun, and tells how many copies are left.
    async fn begun(&self) -> Result<usize> {
        wait_for(LONG, "the first copies to go", async || {
            let left = self.copies().await.map_err(|error| error.to_string())?.items.len();
            if left + 5 < self.targets.len() { Ok(left) } else { Err(format!("{left} are left")) }
        })
        .await
    }
}
