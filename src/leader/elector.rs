//! Running for leadership.

use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};

use super::decision::{Decision, Role, Seen, decide, held_by_us, released};
use super::error::Error;
use super::timing::Timing;

/// Runs for leadership under one identity.
#[derive(Clone)]
pub struct Elector {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    pub(super) timing: Timing,
    seen: Option<Observed>,
}

#[derive(Clone)]
struct Observed {
    lease: Lease,
    since: Instant,
}

impl Observed {
    fn spec(&self) -> LeaseSpec {
        self.lease.spec.clone().unwrap_or_default()
    }
}

/// What one round came to.
pub(super) enum Round {
    /// Ours, by a write that began then.
    Held(Instant),
    Wait(Duration),
    Lost,
}

impl Elector {
    /// An elector for the Lease `namespace/name`. `identity` must be unique among the operators
    /// that run at the same time; the name of the Pod is.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
        timing: Timing,
    ) -> Self {
        let namespace = namespace.into();
        Self {
            api: Api::namespaced(client, &namespace),
            namespace,
            name: name.into(),
            identity: identity.into(),
            timing,
            seen: None,
        }
    }

    /// Waits until this process leads; returns when the lease was written. `None` when `shutdown` resolved first. A server that does
    /// not answer or refuses is asked again, with a warning in the log.
    ///
    /// # Errors
    /// Times that contradict each other, or a lease that the server calls invalid.
    pub(super) async fn acquire(
        &mut self,
        shutdown: impl Future<Output = ()>,
    ) -> Result<Option<Instant>, Error> {
        self.timing.check()?;
        tokio::pin!(shutdown);
        loop {
            // Not cut short by the shutdown: a write on its way could leave a lease that nobody
            // uses. Each call has its own deadline.
            let pause = match self.round(Role::Candidate).await {
                Ok(Round::Held(renewed)) => {
                    if shutdown.as_mut().now_or_never().is_some() {
                        self.give_up().await;
                        return Ok(None);
                    }
                    tracing::info!(lease = %self.lease(), identity = %self.identity, "leading");
                    return Ok(Some(renewed));
                }
                Ok(Round::Wait(left)) => {
                    let holder = self.holder();
                    tracing::debug!(lease = %self.lease(), %holder, "standing by");
                    left.min(self.timing.jittered_retry())
                }
                Ok(Round::Lost) => self.timing.jittered_retry(),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "cannot run for leadership, trying again");
                    self.timing.jittered_retry()
                }
            };
            tokio::select! {
                () = &mut shutdown => return Ok(None),
                () = sleep(pause) => {}
            }
        }
    }

    /// Looks, decides, writes. A leader writes on what it wrote last and looks only when that
    /// turns out to be old, so that a renewal is one request.
    pub(super) async fn round(&mut self, role: Role) -> Result<Round, Error> {
        for attempt in 0..2 {
            if attempt > 0 || role == Role::Candidate || self.seen.is_none() {
                self.look().await?;
            }
            let spec = self.seen.as_ref().map(Observed::spec);
            let seen = self.seen.as_ref().zip(spec.as_ref());
            let seen = seen.map(|(o, spec)| Seen { spec, since: o.since.into_std() });
            let now = Instant::now();
            match decide(seen, &self.identity, role, now.into_std(), &self.timing) {
                Decision::Wait(left) => return Ok(Round::Wait(left)),
                Decision::Lost => return Ok(Round::Lost),
                Decision::Acquire | Decision::Renew => {}
            }
            let ours = held_by_us(spec.as_ref(), &self.identity, Timestamp::now(), &self.timing);
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
            let metadata = ObjectMeta { managed_fields: None, ..seen.lease.metadata.clone() };
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
        self.seen = lease.map(|lease| {
            let unchanged = self.seen.as_ref().filter(|seen| seen.lease.spec == lease.spec);
            let since = unchanged.map_or_else(Instant::now, |seen| seen.since);
            Observed { lease, since }
        });
    }

    async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        let within = self.timing.call_timeout();
        match timeout(within, call).await {
            Ok(answer) => answer.map_err(|source| Error::Api { lease: self.lease(), source }),
            Err(_) => Err(Error::Timeout { lease: self.lease(), within }),
        }
    }

    /// Gives the lease up, if it is ours by all we know.
    pub(super) async fn give_up(&mut self) {
        match self.try_give_up().await {
            Ok(()) => tracing::info!(lease = %self.lease(), "leadership released"),
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
            let Some(seen) = &self.seen else { return Ok(()) };
            let spec = seen.spec();
            if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
                return Ok(());
            }
            match self.write(released(&spec, Timestamp::now())).await {
                Err(error) if error.is_race() && attempt == 0 => {}
                done => return done,
            }
        }
        Ok(())
    }

    pub(super) fn lease(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    pub(super) fn holder(&self) -> &str {
        let spec = self.seen.as_ref().and_then(|seen| seen.lease.spec.as_ref());
        spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
    }
}
