//! A leader whose lease is lost ends, and writes nothing any more: somebody else is at work by then.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::DeleteParams};
use serde_json::json;

use crate::{
    checks::{SOON, good_source, merge, spec, wait_copy},
    lab::Lab,
    scenario::Scenario,
    support::{
        AuditEvent, Error, FaultProxy, Operator, Result, apply_yaml, environment::OPERATOR_NAMESPACE,
        wait_for,
    },
};

const LEASE: &str = "claviger";

/// As the candidates of a lab have them.
const RENEW_DEADLINE: Duration = Duration::from_secs(2);

/// What a request in flight, and a busy machine, may add.
const MARGIN: Duration = Duration::from_secs(3);

struct Led {
    lab: Lab,
    test: Scenario,
    targets: Vec<String>,
    leader: Operator,
    leases: Api<Lease>,
}

/// A leader with work.
async fn led(lab: Lab, leader: Operator) -> Result<Led> {
    wait_for(SOON, "the operator to lead", async || {
        leader.metric("claviger_leader").await.is_ok_and(|leads| leads == Some(1.0))
    })
    .await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    good_source(&test, "src", "the-password").await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    let leases = Api::namespaced(test.client.clone(), OPERATOR_NAMESPACE);
    Ok(Led { lab, test, targets, leader, leases })
}

impl Led {
    /// Gives the leader work all the time, until it ends; its exit status, and when it ended.
    async fn work_until_it_ends(&self) -> Result<(i32, Timestamp)> {
        let end = Instant::now() + RENEW_DEADLINE + MARGIN;
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for round in 0.. {
            ticks.tick().await;
            if let Some(status) = self.leader.exit_status()? {
                return Ok((status, Timestamp::now()));
            }
            if Instant::now() > end {
                break;
            }
            let namespace = &self.targets[round % self.targets.len()];
            let deleted = self.test.secrets(namespace).delete("reg", &DeleteParams::default()).await;
            match deleted {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let holder = self.leases.get(LEASE).await?.spec.and_then(|spec| spec.holder_identity);
        Err(Error::new(format!(
            "it still ran {:?} after its lease was lost; {holder:?} holds it\n{}",
            RENEW_DEADLINE + MARGIN,
            self.leader.logs()
        )))
    }

    /// What it wrote after a moment, leases aside.
    fn written_after(&self, moment: Timestamp) -> Result<Vec<AuditEvent>> {
        Ok(self.lab.writes(0)?.into_iter().filter(|event| event.received > moment).collect())
    }

    /// It ended as one that failed, says why, and was silent afterwards.
    async fn assert_ended(&self, lost: Timestamp, (status, ended): (i32, Timestamp)) -> Result<()> {
        assert!((1..128).contains(&status), "exit status {status}");
        let logs = self.leader.logs();
        assert!(logs.contains("leadership"), "it does not say why:\n{logs}");
        // A request that is made now is in the log after all of its own.
        let marker = format!("{}-marker", self.test.mark);
        self.test.target(&marker).await?;
        wait_for(SOON, "the audit log", async || {
            let events = self.lab.control_plane.audit_events().map_err(|error| error.to_string())?;
            events.iter().any(|event| event.name == marker).then_some(()).ok_or(events.len().to_string())
        })
        .await?;
        let moment = SignedDuration::from_secs(1);
        let late = self.written_after(ended + moment)?;
        assert!(late.is_empty(), "written after its end: {late:#?}");
        let late = self.written_after(lost + SignedDuration::try_from(RENEW_DEADLINE)? + moment)?;
        assert!(late.is_empty(), "written after the renew deadline: {late:#?}");
        Ok(())
    }
}

#[tokio::test]
async fn a_leader_whose_lease_another_holds_ends() -> Result<()> {
    let lab = Lab::start().await?;
    let leader = lab.candidate()?.start().await?;
    let led = led(lab, leader).await?;
    let theirs = json!({"spec": {"holderIdentity": "somebody-else", "leaseDurationSeconds": 3600}});
    merge(&led.leases, LEASE, theirs).await?;
    let lost = Timestamp::now();
    let ended = led.work_until_it_ends().await?;
    led.assert_ended(lost, ended).await?;
    // What is not its own any more it does not give back.
    let holder = led.leases.get(LEASE).await?.spec.and_then(|spec| spec.holder_identity);
    assert_eq!(holder.as_deref(), Some("somebody-else"));
    Ok(())
}

/// Everything else goes through, so only the deadline can end it.
#[tokio::test]
async fn a_leader_whose_renewals_are_refused_ends() -> Result<()> {
    let lab = Lab::start().await?;
    let leader = lab.candidate()?.start().await?;
    let led = led(lab, leader).await?;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "no-leases"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": ["coordination.k8s.io"], "apiVersions": ["v1"],
                "operations": ["UPDATE", "CREATE"], "resources": ["leases"]}]},
            "matchConditions": [{"name": "ours", "expression": format!("object.metadata.name == '{LEASE}'")}],
            "validations": [{"expression": "false", "message": "not now", "reason": "Forbidden"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "no-leases"}, "spec": {"policyName": "no-leases", "validationActions": ["Deny"]},
    });
    apply_yaml(&led.test.client, &format!("{policy}\n---\n{binding}\n")).await?;
    let renewals = |refused: bool| -> Result<Option<Timestamp>> {
        let events = led.lab.control_plane.audit_events()?;
        let renewals = events.iter().filter(|e| e.resource == "leases" && e.verb == "update");
        Ok(renewals.filter(|e| (e.code >= 400) == refused).map(|e| e.received).next_back())
    };
    // The API server takes a moment to apply a new policy.
    wait_for(SOON, "a renewal to be refused", async || renewals(true).ok().flatten()).await?;
    let ended = led.work_until_it_ends().await?;
    let lost = renewals(false)?.ok_or_else(|| Error::new("it never renewed its lease"))?;
    assert!(!led.written_after(lost)?.is_empty(), "more than its renewals was refused");
    led.assert_ended(lost, ended).await
}

#[tokio::test]
async fn a_leader_that_is_cut_off_ends() -> Result<()> {
    let lab = Lab::start().await?;
    let proxy = FaultProxy::start(lab.control_plane.address()).await?;
    let leader = lab.candidate_behind(&proxy)?.start().await?;
    let led = led(lab, leader).await?;
    // No error tells it: requests are sent, and no answer comes.
    proxy.freeze();
    let lost = Timestamp::now();
    let ended = led.work_until_it_ends().await?;
    // Whatever it left on the way is not delivered later either.
    wait_for(SOON, "its connections to be cut", async || {
        proxy.reset();
        proxy.open() == 0
    })
    .await?;
    proxy.thaw();
    led.assert_ended(lost, ended).await?;
    // The lease is still its own, as nobody else wanted it, and the next one gets it when it has expired.
    let next = led.lab.candidate()?.start().await?;
    for namespace in &led.targets {
        wait_copy(&led.test, namespace, "reg").await?;
    }
    next.check_running()
}

/// As a machine that was suspended: it does not know that time has passed, and another operator has led meanwhile.
#[tokio::test]
async fn a_leader_that_slept_longer_than_its_lease_writes_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    let leader = lab.candidate()?.start().await?;
    let led = led(lab, leader).await?;
    let other = led.lab.control_plane.kubeconfig_by_certificate("another-operator", &["system:masters"])?;
    let other = led.lab.candidate_with(&other).start().await?;
    led.leader.signal("STOP")?;
    wait_for(SOON, "the other to lead", async || {
        other.metric("claviger_leader").await.is_ok_and(|leads| leads == Some(1.0))
    })
    .await?;
    // Nobody is left who would do the work that waits for it.
    other.kill9()?;
    for namespace in &led.targets {
        led.test.secrets(namespace).delete("reg", &DeleteParams::default()).await?;
    }
    let lost = Timestamp::now();
    led.leader.signal("CONT")?;
    let status = wait_for(SOON, "its end", async || led.leader.exit_status().ok().flatten()).await?;
    let copies = crate::lab::copies(&led.test).await?.items.len();
    // A request that was on its way when it fell asleep may reach the server late, and is refused by its deadline.
    let late: Vec<_> = led.written_after(lost)?.into_iter().filter(|event| event.code < 300).collect();
    assert!(late.is_empty() && copies == 0, "{copies} copies, written after it woke: {late:#?}");
    led.assert_ended(lost, (status, Timestamp::now())).await
}
