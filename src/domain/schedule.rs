//! All waits and limits that are not flags.

use std::time::Duration;

use super::{backoff::Backoff, repair_pace::RepairPace};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Of a key of a work queue whose handler failed.
pub(crate) const RECONCILE_RETRY: Backoff = Backoff { first: millis(500), limit: secs(60) };
/// Of a namespace that refused its copy. Its names may also become free without an event that tells so.
pub(crate) const REFUSAL_RETRY: Backoff = Backoff { first: millis(500), limit: secs(60) };
/// Of a sync whose snapshot was out of date and that got nothing done.
pub(crate) const STALE_RETRY: Backoff = Backoff { first: millis(20), limit: secs(5) };
/// Of a cluster that did not take a write. The limit is short, as by it a cluster that is back has to wait.
pub(crate) const WRITE_PAUSE: Backoff = Backoff { first: millis(500), limit: secs(10) };
/// Of a watch that failed. It is short, as for that long nobody notices that the server is there again.
pub(crate) const WATCH_RETRY: Backoff = Backoff { first: millis(500), limit: secs(5) };
/// Of a probe that was not answered.
pub(crate) const PROBE_RETRY: Backoff = Backoff { first: millis(500), limit: secs(5) };

/// Credentials worked on at once, in each of the loops that are not about one cluster.
pub(crate) const WORKERS: usize = 8;
/// Credentials worked on at once in one cluster: they share its writes, so that a small one is served beside many large ones.
pub(crate) const WORKERS_PER_CLUSTER: usize = 32;

/// How often a login is tried at its server, unless the credential says otherwise.
pub(crate) const VERIFICATION_INTERVAL: Duration = secs(6 * 3_600);
/// How soon a login is tried again that was refused: wrong logins in a row lock accounts.
pub(crate) const VERIFICATION_REFUSED_RETRY: Duration = secs(300);
/// How soon one is tried again of which nothing is known, such as when its server is down.
pub(crate) const VERIFICATION_UNKNOWN_RETRY: Backoff = Backoff { first: secs(30), limit: secs(1_800) };
/// The least time between two tries of one login that somebody asks for.
pub(crate) const VERIFICATION_PAUSE: Duration = secs(10);
/// Of how many accounts it is known that their password is wrong, before the oldest are forgotten.
pub(crate) const MAX_REFUSALS: usize = 4_096;
/// The longest pause that a server is granted which asks for one.
pub(crate) const MAX_RETRY_AFTER: Duration = secs(3_600);
/// Logins that are tried at once, and how many of them for credentials of one namespace.
pub(crate) const VERIFICATIONS: usize = 32;
pub(crate) const VERIFICATIONS_PER_NAMESPACE: usize = 8;
/// For all requests by which one login is tried.
pub(crate) const VERIFICATION_TIME: Duration = secs(25);
/// How long a server is not asked after it did not answer in time: whoever else wants to know would wait as long.
pub(crate) const REGISTRY_SILENT_PAUSE: Duration = secs(10);
/// How long a server is not asked that has had too many requests, and does not say when to come again.
pub(crate) const REGISTRY_LIMITED_PAUSE: Duration = secs(30);
/// For one request to such a server, from the lookup of its name to the end of the answer.
pub(crate) const REGISTRY_TIMEOUT: Duration = secs(10);
/// The longest answer of such a server, in bytes.
pub(crate) const MAX_REGISTRY_ANSWER: usize = 64 << 10;
/// Requests by which one login is tried, at most.
pub(crate) const MAX_REGISTRY_REQUESTS: usize = 12;
/// Of how many servers it is known how fast they are asked, before those are forgotten that are not.
pub(crate) const MAX_PACED: usize = 512;
/// Requests a second to one server, and how many of them at once: together below 20 in any second.
pub(crate) const REGISTRY_REQUESTS_PER_SECOND: u32 = 12;
pub(crate) const REGISTRY_REQUESTS_AT_ONCE: u32 = 6;

/// The longest password or token, in bytes; ECR's tokens have about 2 KiB and no stated maximum.
pub(crate) const MAX_PASSWORD_BYTES: usize = 16_384;
/// The longest user name, in characters.
pub(crate) const MAX_USERNAME_CHARS: usize = 255;
/// How soon a token is minted again after nothing was known of its cloud.
pub(crate) const MINT_RETRY: Backoff = Backoff { first: secs(10), limit: secs(600) };
/// How soon after the cloud refused: a person has to change something there, and nothing tells when.
pub(crate) const MINT_REFUSED_RETRY: Backoff = Backoff { first: secs(30), limit: secs(1_800) };
/// The least time from one token to the next, however short its life.
pub(crate) const MIN_REFRESH: Duration = secs(5);
/// The least time between two tokens that somebody asks for.
pub(crate) const MINT_PAUSE: Duration = secs(10);
/// The life of logins that DigitalOcean is asked for.
pub(crate) const DIGITALOCEAN_LIFE: Duration = secs(12 * 3_600);
/// For all that one token takes, from the identity on.
pub(crate) const MINT_TIME: Duration = secs(25);
/// Tokens that are minted at once, and how many of them for credentials of one namespace.
pub(crate) const MINTS: usize = 16;
pub(crate) const MINTS_PER_NAMESPACE: usize = 4;
/// How often it is looked at whether a clock has jumped.
pub(crate) const MINT_LOOK: Duration = secs(300);

/// How many passwords are hashed at once: half of the cores are left to everything else.
pub(crate) const fn hashes_at_once(cores: usize) -> usize {
    if cores < 2 { 1 } else { cores / 2 }
}

/// How long one sync writes before the next credential has its turn.
pub(crate) const SYNC_SLICE: Duration = secs(1);
/// How old an answer to "who uses what" may be when a Secret is deleted; what the watch has shown since counts too.
pub(crate) const LIVE_REFERENCES_AGE: Duration = secs(10);
/// How old such an answer may be when a deletion asks before anything goes. As long as server and watch disagree, it asks
/// again after as long; the deletes that follow may still use that answer.
pub(crate) const UNSEEN_USERS_AGE: Duration = secs(1);
/// Up to this many namespaces are asked about one by one; beyond, one list of the cluster takes fewer requests.
pub(crate) const LIVE_REFERENCES_FEW: usize = 16;
/// How many objects a page of a list has.
pub(crate) const PAGE: u32 = 500;
/// The least size of a page, where a slow answer makes pages smaller.
pub(crate) const LEAST_PAGE: u32 = 16;
/// The longest answer of an API server, and the longest line of a watch, in bytes. What etcd takes is 1.5 MiB, of which
/// JSON makes up to six times as much.
pub(crate) const MAX_ANSWER: usize = 10 << 20;
/// The longest answer that says why there is none.
pub(crate) const MAX_REFUSAL: usize = 512 << 10;
/// How many bytes of answers of one cluster may wait at once to be read to their end.
pub(crate) const MAX_ANSWERS: usize = 16 << 20;
/// How long a whole list may take.
pub(crate) const LIST_TIME: Duration = secs(300);
/// How many objects of one kind a cluster may show.
pub(crate) const MAX_OBJECTS: usize = 250_000;
/// How much of a member is kept, in bytes: enough for 45,000 copies and 25,000 Pods. What a list in progress does not
/// show any more counts until its end.
pub(crate) const MAX_KEPT: usize = 24 << 20;
/// From there on, nothing more is kept of what a cluster may lack: the rest is for Namespaces, copies and Pods.
pub(crate) const MAX_KEPT_FOR_OPTIONAL: usize = MAX_KEPT / 4 * 3;
/// The longest token by which a list goes on, in bytes.
pub(crate) const MAX_TOKEN: usize = 4_096;
/// How many entries a map of one object may have: more than etcd has room for.
pub(crate) const MAX_ENTRIES: usize = 200_000;
/// How many entries a list of one object may have, such as the volumes of a Pod.
pub(crate) const MAX_PARTS: usize = 20_000;
/// How often in a row a member's objects of one kind cannot be listed or watched before it counts as failing.
pub(crate) const PERSISTENT_FAULTS: u32 = 3;
/// How long one watch lasts, unless a flag says otherwise.
pub(crate) const WATCH_TIMEOUT: Duration = secs(60);
/// How many times as old the last good answer of a watch of `local` may grow before liveness fails. A watch is renewed,
/// which is an answer, at least once in its time; twice more is for reconnecting with back-off to an API server that restarts.
pub(crate) const WATCHES_UNTIL_STALE: u32 = 3;
/// The least time between two watches.
pub(crate) const WATCH_PAUSE: Duration = millis(500);
/// How long reading a copy back from a member may take.
pub(crate) const READ_BACK: Duration = secs(3);
/// How long a member is not asked for copies after one could not be read back in time: others would wait again.
pub(crate) const READ_BACK_AGAIN: Duration = secs(30);

/// The least time between two writes of one object's status.
pub(crate) const STATUS_PAUSE: Duration = secs(1);
/// The least time between two writes of a status in which nothing but who uses the Secrets has changed.
pub(crate) const REFERENCES_PAUSE: Duration = secs(30);
/// How long a status that would say only that work goes on is held back: mostly the next one says that it is done.
pub(crate) const PROGRESS_PAUSE: Duration = secs(2);
/// How long a status is told with less detail after the API server refused it, before all is tried again.
pub(crate) const STATUS_REFUSED_PAUSE: Duration = secs(600);
/// How long a written status may take to come back by the watch before what the watch shows is believed.
pub(crate) const STATUS_ECHO: Duration = secs(5);

/// How many repairs of one copy come at once before they are slowed down.
pub(crate) const REPAIR_BURST: u32 = 10;
/// The pause between two repairs after that.
pub(crate) const REPAIR_PAUSE: Duration = secs(1);
/// A copy that was left alone for so long is repaired at once again.
pub(crate) const REPAIR_CALM: Duration = secs(60);
/// The same as one. After the first repairs one a second is enough to be right most of the time, and too few to be a storm.
pub(crate) const COPY_REPAIRS: RepairPace = RepairPace {
    burst: REPAIR_BURST,
    pause: Backoff { first: REPAIR_PAUSE, limit: REPAIR_PAUSE },
    calm: REPAIR_CALM,
};
/// How long after one list of ServiceAccounts the next may begin, because others are asked for.
pub(crate) const ACCOUNT_LIST_PAUSE: Duration = secs(2);
/// Of what somebody takes off a ServiceAccount. Tools that apply manifests come back every few minutes, for ever: what is
/// reverted that often has to stay known as such from one time to the next.
pub(crate) const ACCOUNT_REPAIRS: RepairPace =
    RepairPace { burst: 3, pause: Backoff { first: secs(10), limit: secs(600) }, calm: secs(1_200) };
/// Up to so many repairs are remembered before those are looked for that are calm.
pub(crate) const LEAST_REPAIRS: usize = 1_024;
/// How many ServiceAccounts can have writers of their own that wait for each other.
pub(crate) const ACCOUNT_TURNS: usize = 64;
/// How many entries of one ServiceAccount's `imagePullSecrets` are kept track of. One with more gets no further one.
pub(crate) const MAX_PULL_SECRETS: usize = 64;
/// How many of them may be ours, or another hub's, and how long the annotation that says so may be, in bytes.
pub(crate) const MAX_MARKS: usize = 64;
pub(crate) const MAX_MARKS_BYTES: usize = 16 << 10;

/// How many failures of a cluster a status lists.
pub(crate) const MAX_FAILURES: usize = 10;
/// And of all clusters together, as a status has to stay below 512 KiB.
pub(crate) const MAX_FAILURES_IN_ALL: usize = 200;
/// The longest message of a condition, in bytes.
pub(crate) const MAX_CONDITION_MESSAGE: usize = 4_096;
/// The longest request for a sync that is told of, in bytes.
pub(crate) const MAX_SYNC_REQUEST: usize = 250;
/// The longest message of one row of a status, in bytes, as its size is what is limited.
pub(crate) const MAX_ROW_MESSAGE: usize = 200;
/// How many users of Secrets a status lists.
pub(crate) const MAX_REFERENCES: usize = 50;
/// Of how many Secrets it is kept that one Pod names them. Whoever makes Pods could name a hundred thousand in one; before
/// a copy goes the API server itself is asked, which knows of all.
pub(crate) const MAX_SECRETS_OF_USER: usize = 256;
/// How many references the objects of one namespace may make before only those to copies are kept of further ones, but for Pods.
pub(crate) const MAX_SECRETS_OF_NAMESPACE: usize = 4_096;
/// How many objects of one namespace let others use its Secrets, and how much one of them lets them.
pub(crate) const MAX_GRANTS: usize = 256;
/// How many Pods that cannot pull an image are kept of one namespace, and of a cluster. What is beyond is neither counted nor evicted.
pub(crate) const MAX_STUCK_OF_NAMESPACE: usize = 5_000;
pub(crate) const MAX_STUCK: usize = 20_000;
/// How many images, and pull Secrets, are kept of one of them. A Pod that names more Secrets is left alone.
pub(crate) const MAX_IMAGES_OF_POD: usize = 8;
pub(crate) const MAX_PULL_SECRETS_OF_POD: usize = 64;
/// The longest registry and repository of such an image, in bytes.
pub(crate) const MAX_IMAGE: usize = 512;
/// How many stuck Pods a status lists.
pub(crate) const MAX_LISTED_STUCK: usize = 10;
/// The least time between two Events that tell of a first stuck Pod.
pub(crate) const STUCK_EVENT_PAUSE: Duration = secs(600);
/// How long the Pods of a controller are known to be stuck before the first is evicted, also after a restart: so no Pod is evicted
/// sooner, however often the operator starts.
pub(crate) const EVICTION_PATIENCE: Duration = secs(10);
/// For so long no more Pods of a controller are evicted than were stuck at once: where others get stuck in their place,
/// evicting does not help.
pub(crate) const EVICTION_PERIOD: Duration = secs(3_600);
/// How many Pods of one namespace are evicted at once, and then how often.
pub(crate) const EVICTIONS_AT_ONCE: u32 = 10;
pub(crate) const EVICTION_PAUSE: Duration = secs(1);

/// How many lists of optional kinds are read from one cluster at once, as each may hold an object of the largest size.
pub(crate) const OPTIONAL_LISTS: usize = 2;
/// How often a cluster is asked which optional types it has, and kinds are tried again that may not be read.
pub(crate) const DISCOVERY_INTERVAL: Duration = secs(30);
/// How many names a sentence lists.
pub(crate) const MAX_NAMES: usize = 3;
/// The longest message of an API server that is passed on, in characters.
pub(crate) const MAX_MESSAGE: usize = 400;
/// The longest word of others that is passed on, such as a version, in characters.
pub(crate) const MAX_WORD: usize = 64;
/// The longest note of an Event, in bytes; the API server takes 1,024.
pub(crate) const MAX_NOTE: usize = 1_000;

/// How long the start waits for members to be listed, or to be found not to answer.
pub(crate) const START_PATIENCE: Duration = secs(3);
/// How often a member is looked at although nothing happened: as often as `lastProbeTime` is written, and a little
/// more for the probe's own interval.
pub(crate) const MEMBER_RESYNC: Duration = secs(320);
/// How often one is looked at that is not up: what its API server says may change without an event.
pub(crate) const MEMBER_TROUBLED: Duration = secs(10);
/// How often one is looked at that is being emptied.
pub(crate) const MEMBER_EMPTYING: Duration = millis(500);
/// `lastProbeTime` alone is written no more often than this.
pub(crate) const PROBE_NEWS: Duration = secs(300);
/// The least time between two probes of a member.
pub(crate) const PROBE_PAUSE: Duration = millis(200);
/// Of an adoption that did not work.
pub(crate) const ADOPTION_RETRY: Duration = secs(10);

/// The sweep stops when more owners than this, and more than half of a cluster's, are missing.
pub(crate) const SWEEP_BRAKE: usize = 10;
/// The longest list of clusters whose sweep may go on, in bytes: anybody who can annotate a Namespace could write one.
pub(crate) const MAX_SWEEP_ALLOWANCE: usize = 4 << 10;
/// How often a sweep that has stopped looks whether it may go on.
pub(crate) const SWEEP_HELD_RETRY: Duration = secs(5);
/// How long work in flight may go on after the signal to stop.
pub(crate) const SHUTDOWN_GRACE: Duration = secs(20);

/// Connections to the server of health and metrics that wait for an answer. One more cuts the oldest off: whoever holds
/// many cannot keep the kubelet's probe, always among the newest, from its answer.
pub(crate) const HTTP_CONNECTIONS: usize = 64;
/// For the line and the headers of a request to it.
pub(crate) const HTTP_HEADER_TIMEOUT: Duration = secs(5);
/// For a whole connection, which carries one request; as long as Prometheus waits by default. Who does not read is then
/// cut off.
pub(crate) const HTTP_TIMEOUT: Duration = secs(10);
/// For answers in progress when the server stops.
pub(crate) const HTTP_DRAIN: Duration = secs(1);
/// Connections that are sent metrics. One more cuts the oldest off, and never one that waits for an answer.
pub(crate) const METRICS_READERS: usize = 8;
/// How old an encoding of the metrics may be that is sent.
pub(crate) const METRICS_AGE: Duration = secs(1);
/// How old it may be while the one before it is still being sent.
pub(crate) const METRICS_AGE_WHILE_READ: Duration = secs(5);

/// How long a token that the API server let read the metrics is let in without asking again, as in controller-runtime.
pub(crate) const REVIEW_ALLOWED: Duration = secs(60);
/// How long one that it refused is refused, also as there.
pub(crate) const REVIEW_REFUSED: Duration = secs(30);
/// How long one that was let in once is asked about ahead of unknown ones.
pub(crate) const REVIEW_KNOWN: Duration = secs(3_600);
/// How many tokens are remembered.
pub(crate) const MAX_REVIEWS: usize = 64;
/// Between two tokens that the API server is asked about: made-up ones must not become load there.
pub(crate) const REVIEW_PAUSE: Duration = millis(100);
/// For the turn of a token, and again for the answer of the API server.
pub(crate) const REVIEW_TIMEOUT: Duration = secs(4);

/// How often `claviger self-test` looks whether the operator has done its work.
pub(crate) const SELF_TEST_POLL: Duration = millis(250);
/// How long what it made may take to be gone.
pub(crate) const SELF_TEST_CLEANUP: Duration = secs(30);

/// How many entries that do not match `kubectl claviger explain-pull` lists for one image.
pub(crate) const MAX_KEYS_EXPLAINED: usize = 20;
/// And of those that match: a Pod that has more is somebody's test of patience.
pub(crate) const MAX_TRIED_EXPLAINED: usize = 100;
/// How much of a key, or of the name of an image, it shows, in characters.
pub(crate) const MAX_NAME_EXPLAINED: usize = 300;
/// How long the plugin waits for an answer, unless it is told otherwise.
pub(crate) const PLUGIN_REQUEST_TIMEOUT: Duration = secs(30);
/// How often it looks whether the operator has done what it was asked for.
pub(crate) const PLUGIN_POLL: Duration = millis(250);
/// How long it looks, unless it is told otherwise.
pub(crate) const PLUGIN_WAIT: Duration = secs(60);
/// How long it waits for logins to be tried: longer than the least time between two tries.
pub(crate) const PLUGIN_PROBE: Duration = secs(15);
/// How many references it lists.
pub(crate) const PLUGIN_REFERENCES: usize = 1_000;
/// How many namespaces it asks one by one where the whole cluster may not be listed.
pub(crate) const PLUGIN_NAMESPACES: usize = 50;
/// In how many namespaces `kubectl claviger doctor` looks for an operator: anybody can label a Deployment.
pub(crate) const DOCTOR_NAMESPACES: usize = 16;
/// How many Deployments and Pods it looks at in each, all Pods at once.
pub(crate) const DOCTOR_PODS: usize = 8;
/// The longest answer of a Pod that it reads, in bytes; metrics of a large fleet have some megabytes.
pub(crate) const MAX_POD_ANSWER: usize = 16 << 20;
/// How many namespaces a target or a policy lists; the schema takes no more.
pub(crate) const MAX_TARGET_NAMES: usize = 1_024;
/// How many Secrets `kubectl claviger import` and `explain-pull` read at once: each may have a megabyte of values.
pub(crate) const IMPORT_PAGE: u32 = 50;
/// How many names it tells in one line; the manifests have them all.
pub(crate) const MAX_NAMES_IMPORTED: usize = 8;
/// How many ServiceAccounts a default lists; the schema takes no more.
pub(crate) const MAX_SERVICE_ACCOUNTS: usize = 16;
