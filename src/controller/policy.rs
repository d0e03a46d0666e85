//! The policy loop: tells in the status of a DistributionPolicy whom it is about.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{Api, Resource, ResourceExt, core::ApiResource};
use tracing::warn;

use super::{
    Context, Error,
    keys::Memories,
    patch::{Target, differences, fields},
};
use crate::{
    api::{DistributionPolicy, DistributionPolicyStatus},
    domain::{
        consent::Policy,
        policy_status::policy_status,
        schedule::{STATUS_ECHO, STATUS_PAUSE},
    },
    queue::Next,
    telemetry::Outcome,
};

/// The policy loop.
pub(crate) struct PolicyLoop {
    context: Arc<Context>,
    memories: Memories<Arc<str>, Memory>,
}

/// What is remembered of a policy between two turns.
#[derive(Default)]
struct Memory {
    looked: Option<Instant>,
    /// What was written last, to whom and when, until the watch shows it.
    written: Option<(String, DistributionPolicyStatus, Instant)>,
}

impl PolicyLoop {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, memories: Memories::default() }
    }

    /// Looks at one policy.
    pub async fn tell(self: Arc<Self>, name: Arc<str>) -> Next {
        let stores = &self.context.stores;
        let Some((object, policy)) = stores.policies.get(&name) else {
            self.memories.forget(&name);
            return Next::Done;
        };
        if !stores.credentials.is_listed() {
            // The end of each list wakes this.
            return Next::Done;
        }
        let mut memory = self.memories.take(&name);
        let since = memory.looked.map_or(Duration::MAX, |at| at.elapsed());
        let next = if since < STATUS_PAUSE {
            // Many credentials may come and go at a time.
            Next::After(STATUS_PAUSE.saturating_sub(since))
        } else {
            memory.looked = Some(Instant::now());
            match self.write(&object, &policy, &mut memory).await {
                Ok(()) => Next::Done,
                Err(error) => {
                    let reason = error.reason().as_str();
                    self.context.metrics.reconcile_failed("DistributionPolicy", reason);
                    self.context.metrics.reconciled("DistributionPolicy", Outcome::Failed, Duration::ZERO);
                    warn!(kind = "DistributionPolicy", name = &*name, reason, "{error}");
                    if error.is_retryable() { Next::Retry } else { Next::Done }
                }
            }
        };
        self.memories.put(name, memory);
        next
    }

    async fn write(
        &self,
        object: &DistributionPolicy,
        policy: &Policy,
        memory: &mut Memory,
    ) -> Result<(), Error> {
        let next = policy_status(&object.spec, object.meta().generation, self.count(policy));
        let uid = object.uid().unwrap_or_default();
        let written = memory.written.as_ref().filter(|(of, _, at)| *of == uid && at.elapsed() < STATUS_ECHO);
        let previous = written.map(|(_, status, _)| status).or(object.status.as_ref());
        if previous == Some(&next) {
            return Ok(());
        }
        let before = object.status.as_ref().map(fields).transpose()?;
        let changes = differences(before.as_ref(), &fields(&next)?);
        let client = self.context.local().connection.client();
        let target = Target {
            api: Api::all_with(client, &ApiResource::erase::<DistributionPolicy>(&())),
            name: object.name_any(),
        };
        target.status(&uid, changes).await?;
        memory.written = Some((uid, next, Instant::now()));
        Ok(())
    }

    /// How many credentials a policy is about.
    fn count(&self, policy: &Policy) -> usize {
        let cluster = self.context.local().read();
        let namespaces = &cluster.snapshot().namespaces;
        let unknown = Default::default();
        let counts = self.context.stores.credentials.counts();
        let covered = counts.iter().filter(|((kind, namespace), _)| {
            policy.covers(*kind, namespace, namespaces.get(namespace).unwrap_or(&unknown))
        });
        covered.map(|(_, count)| count).sum()
    }
}
