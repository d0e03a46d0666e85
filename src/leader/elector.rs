//! Running for leadership.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{Instant, timeout};

use super::decision::{Round, Seen, decide, held_by_us, released};
use super::{error::Error, timing::Timing};

/// Runs for leadership under one identity.
#[derive(Clone)]
pub struct Elector {
    api: Api<Lease>,
    name: String,
    /// Namespace and name, for messages.
    pub(super) lease: String,
    pub(super) identity: String,
    pub(super) timing: Timing,
    seen: Option<Seen>,
}

impl Elector {
    /// An elector for the Lease `namespace/name`. `identity` must be unique among the operators
    /// that run at the same time; the name of the Pod is.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, timing: Timing) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            lease: format!("{namespace}/{name}"),
            identity: identity.to_owned(),
            timing,
            seen: None,
        }
    }

    /// Looks, decides, writes. `renewed` is when the last write of a leader began. A leader writes on what it wrote
    /// last and looks only when that turns out to be old, so that a renewal is one request.
    pub(super) async fn round(&mut self, renewed: Option<Instant>) -> Result<Round, Error> {
        for attempt in 0..2 {
            if attempt > 0 || renewed.is_none() || self.seen.is_none() {
                self.look().await?;
            }
            let now = Instant::now();
            if let Some(round) = decide(self.seen.as_ref(), &self.identity, renewed, now, &self.timing) {
                return Ok(round);
            }
            let spec = self.seen.as_ref().map(|seen| &seen.spec);
            let ours = held_by_us(spec, &self.identity, Timestamp::now(), &self.timing);
            match self.write(ours).await {
                Ok(()) => return Ok(Round::Held(now)),
                Err(error) if error.is_race() && attempt == 0 => {}
                Err(error) if error.is_race() && !error.is_missing() => {
                    tracing::debug!(%error, "another write to the lease was faster");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Round::Wait(self.timing.retry_period))
    }

    async fn look(&mut self) -> Result<(), Error> {
        let lease = self.call(self.api.get_opt(&self.name)).await?;
        self.observe(lease);
        Ok(())
    }

    /// Replaces what was seen last, or creates the lease; never over somebody else's write.
    async fn write(&mut self, spec: LeaseSpec) -> Result<(), Error> {
        let parameters = PostParams::default();
        let written = if let Some(seen) = &self.seen {
            // With the resourceVersion that was read: the server refuses it when it is old.
            let metadata = ObjectMeta { managed_fields: None, ..seen.metadata.clone() };
            let lease = Lease { metadata, spec: Some(spec) };
            self.call(self.api.replace(&self.name, &parameters, &lease)).await?
        } else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            self.call(self.api.create(&parameters, &lease)).await?
        };
        self.observe(Some(written));
        Ok(())
    }

    fn observe(&mut self, lease: Option<Lease>) {
        self.seen = lease.map(|Lease { metadata, spec }| {
            let spec = spec.unwrap_or_default();
            let unchanged = self.seen.as_ref().filter(|seen| seen.spec == spec);
            let since = unchanged.map_or_else(Instant::now, |seen| seen.since);
            Seen { metadata, spec, since }
        });
    }

    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        let within = self.timing.call_timeout();
        match timeout(within, call).await {
            Ok(answer) => answer.map_err(|source| Error::Api { lease: self.lease.clone(), source }),
            Err(_) => Err(Error::Timeout { lease: self.lease.clone(), within }),
        }
    }

    /// Gives the lease up, if it is ours by all we know.
    pub(super) async fn give_up(&mut self) {
        match self.try_give_up().await {
            Ok(()) => tracing::info!(lease = %self.lease, "leadership released"),
            Err(error) => {
                tracing::warn!(%error, "cannot release the lease; others take over when it expires");
            }
        }
    }

    async fn try_give_up(&mut self) -> Result<(), Error> {
        for attempt in 0..2 {
            if attempt > 0 {
                // A renewal that was cut short may have gone through: then this one is newer.
                self.look().await?;
            }
            let Some(seen) = self.seen.as_ref().filter(|_| self.holder() == self.identity) else {
                return Ok(());
            };
            match self.write(released(&seen.spec, Timestamp::now())).await {
                Err(error) if error.is_race() && attempt == 0 => {}
                done => return done,
            }
        }
        Ok(())
    }

    /// Who holds the lease, as it was seen last; empty when nobody does.
    pub(super) fn holder(&self) -> &str {
        let holder = self.seen.as_ref().and_then(|seen| seen.spec.holder_identity.as_deref());
        holder.unwrap_or_default()
    }
}
