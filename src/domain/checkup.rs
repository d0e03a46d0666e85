//! What `kubectl claviger doctor` makes of what it sees.

use k8s_openapi::{api::coordination::v1::LeaseSpec, jiff::Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{
    foreign_text::foreign_text,
    schedule::{MAX_MESSAGE, WATCH_TIMEOUT, WATCHES_UNTIL_STALE},
};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    Ok,
    Problem,
    /// It could not be looked at.
    Unknown,
}

impl Health {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Problem => "problem",
            Self::Unknown => "unknown",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub check: &'static str,
    pub subject: String,
    pub result: Health,
    pub message: String,
}

impl Finding {
    pub fn new(check: &'static str, subject: &str, result: Health, message: &str) -> Self {
        let (subject, message) = (foreign_text(subject, 253), foreign_text(message, MAX_MESSAGE));
        Self { check, subject, result, message }
    }
}

/// Who leads, by the Lease.
pub(crate) fn leader(subject: &str, lease: &LeaseSpec, now: Timestamp) -> Finding {
    let told = |result, message: String| Finding::new("leader", subject, result, &message);
    let Some(holder) = lease.holder_identity.as_deref().filter(|holder| !holder.is_empty()) else {
        return told(
            Health::Problem,
            "no operator leads: none is running, or none could acquire the Lease".to_owned(),
        );
    };
    let seconds = i64::from(lease.lease_duration_seconds.unwrap_or_default());
    let age = lease.renew_time.as_ref().map(|renewed| now.duration_since(renewed.0).as_secs().max(0));
    match age {
        Some(age) if age <= seconds => {
            told(Health::Ok, format!("{holder} leads, and renewed the Lease {age} s ago"))
        }
        Some(age) => told(
            Health::Problem,
            format!("{holder} led, and last renewed the Lease {age} s ago; the Lease lasts {seconds} s"),
        ),
        None => told(Health::Problem, format!("{holder} acquired the Lease and never renewed it")),
    }
}

/// Whether something is of this version.
pub(crate) fn version(check: &'static str, subject: &str, found: Option<&str>, ours: &str) -> Finding {
    match found {
        Some(found) if found == ours => Finding::new(check, subject, Health::Ok, &format!("version {found}")),
        Some(found) => {
            let message =
                format!("version {found}, but this program is version {ours}; use the same version for both");
            Finding::new(check, subject, Health::Problem, &message)
        }
        None => Finding::new(check, subject, Health::Unknown, "its version is not known"),
    }
}

/// Whether a definition has the schema of this version.
pub(crate) fn definition(name: &str, found: Option<&Value>, ours: &Value) -> Finding {
    let told = |result, message: &str| Finding::new("definition", name, result, message);
    match found {
        None => told(Health::Problem, "is not installed"),
        Some(found) if found == ours => told(Health::Ok, "is of this version"),
        Some(_) => told(
            Health::Problem,
            "is of another version; `helm upgrade` or `claviger crds | kubectl apply --server-side -f -` installs the one of this version",
        ),
    }
}

/// How old the oldest watch of the local cluster is, by the operator's metrics; `None` where they do not tell. Whether that
/// is too old is said by its own liveness, as far as that could be asked, and else by its default.
pub(crate) fn watches(pod: &str, metrics: &str, is_alive: Option<bool>) -> Option<Finding> {
    let ages = metrics.lines().filter_map(|line| {
        let (labels, age) = line.strip_prefix("claviger_watch_age_seconds{")?.rsplit_once("} ")?;
        let local = labels.contains(r#"cluster="local""#);
        let kind = labels.split("kind=\"").nth(1)?.split('"').next()?;
        local.then_some((age.trim().parse::<f64>().ok()?, kind))
    });
    let (age, kind) = ages.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    let is_young = age <= (WATCH_TIMEOUT * WATCHES_UNTIL_STALE).as_secs_f64();
    let result = if is_alive.unwrap_or(is_young) { Health::Ok } else { Health::Problem };
    let message = format!("the oldest watch, of {kind}, had its last good answer {age:.0} s ago");
    Some(Finding::new("watches", pod, result, &message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_that_nobody_renews_is_a_problem() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let judged = |lease: Value| leader("a/b", &serde_json::from_value(lease).unwrap(), now).result;
        let lease = |renewed: &str| json!({"holderIdentity": "pod", "leaseDurationSeconds": 15, "renewTime": renewed});
        assert_eq!(judged(lease("2026-01-01T00:00:50.000000Z")), Health::Ok);
        assert_eq!(judged(lease("2026-01-01T00:00:40.000000Z")), Health::Problem);
        assert_eq!(judged(json!({"holderIdentity": ""})), Health::Problem);
        assert_eq!(judged(json!({"holderIdentity": "pod"})), Health::Problem);
    }

    #[test]
    fn versions_and_definitions_are_compared() {
        assert_eq!(version("x", "y", Some("1"), "1").result, Health::Ok);
        assert_eq!(version("x", "y", Some("2\u{1b}[2J"), "1").result, Health::Problem);
        assert!(!version("x", "y", Some("2\u{1b}[2J"), "1").message.contains('\u{1b}'));
        assert_eq!(version("x", "y", None, "1").result, Health::Unknown);
        assert_eq!(definition("x", Some(&json!(1)), &json!(1)).result, Health::Ok);
        assert_eq!(definition("x", Some(&json!(1)), &json!(2)).result, Health::Problem);
        assert_eq!(definition("x", None, &json!(2)).result, Health::Problem);
    }

    #[test]
    fn the_oldest_watch_of_the_local_cluster_counts() {
        let text = "# TYPE claviger_watch_age_seconds gauge\n\
                    claviger_watch_age_seconds{cluster=\"east\",kind=\"Pod\"} 900\n\
                    claviger_watch_age_seconds{cluster=\"local\",kind=\"Pod\"} 3.5\n\
                    claviger_watch_age_seconds{cluster=\"local\",kind=\"Secret\"} 12.2\n";
        let found = watches("p", text, None).unwrap();
        assert!(
            found.result == Health::Ok && found.message.contains("Secret") && found.message.contains("12 s")
        );
        let old = text.replace("12.2", "181");
        assert_eq!(watches("p", &old, None).unwrap().result, Health::Problem);
        assert_eq!(watches("p", &old, Some(true)).unwrap().result, Health::Ok, "it watches for longer");
        assert_eq!(watches("p", text, Some(false)).unwrap().result, Health::Problem);
        assert_eq!(watches("p", "x 1\n", None), None);
    }
}
