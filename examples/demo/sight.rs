//! What is seen of the cluster: watches on the API server, as any client can have them. Every time that the demo
//! shows is the time of an event in here.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use claviger::api::{ANNOTATION_SOURCE, LABEL_MANAGED_BY, MANAGER};
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    screen::{Count, Screen},
    support::{Error, Operator, Result},
};

/// Whatever takes longer is broken, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);
const REDRAW: Duration = Duration::from_millis(50);

/// Namespace and name.
pub type Key = (String, String);

#[derive(Default)]
pub struct Seen {
    /// Every Secret.
    pub secrets: BTreeMap<Key, DynamicObject>,
    /// Every credential and member, by kind.
    pub credentials: BTreeMap<String, BTreeMap<Key, DynamicObject>>,
    /// When the last event came.
    at: Option<Instant>,
}

impl Seen {
    /// The copies of a credential.
    pub fn copies(&self, kind: &str, namespace: &str, name: &str) -> impl Iterator<Item = &DynamicObject> {
        let source = format!("{kind}/{namespace}/{name}");
        self.secrets.values().filter(move |secret| {
            secret.labels().get(LABEL_MANAGED_BY).is_some_and(|manager| manager == MANAGER)
                && secret.annotations().get(ANNOTATION_SOURCE) == Some(&source)
        })
    }

    pub fn secret(&self, namespace: &str, name: &str) -> Option<&DynamicObject> {
        self.secrets.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub fn credential(&self, kind: &str, namespace: &str, name: &str) -> Option<&DynamicObject> {
        self.credentials.get(kind)?.get(&(namespace.to_owned(), name.to_owned()))
    }

    fn change(&mut self, kind: &str, event: Event<DynamicObject>) {
        let objects = if kind == "Secret" {
            &mut self.secrets
        } else {
            self.credentials.entry(kind.to_owned()).or_default()
        };
        let key = |object: &DynamicObject| (object.namespace().unwrap_or_default(), object.name_any());
        match event {
            Event::Init => objects.clear(),
            Event::InitApply(object) | Event::Apply(object) => {
                objects.insert(key(&object), object);
            }
            Event::Delete(object) => {
                objects.remove(&key(&object));
            }
            Event::InitDone => {}
        }
        self.at = Some(Instant::now());
    }
}

/// The password in a pull Secret.
pub fn password(secret: &DynamicObject) -> Option<String> {
    let encoded = secret.data.get("data")?.get(".dockerconfigjson")?.as_str()?;
    let file: Value = serde_json::from_slice(&STANDARD.decode(encoded).ok()?).ok()?;
    let entry = file.get("auths")?.as_object()?.values().next()?;
    Some(entry.get("password")?.as_str()?.to_owned())
}

/// Status, reason and message of a condition, if it speaks of the present spec.
pub fn condition<'a>(object: &'a DynamicObject, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = object.data.get("status")?.get("conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == type_)?;
    let is_current = found["observedGeneration"].as_i64() == object.metadata.generation;
    is_current.then_some((found["status"].as_str()?, found["reason"].as_str()?, found["message"].as_str()?))
}

pub fn is_ready(object: &DynamicObject) -> bool {
    condition(object, "Ready").is_some_and(|(status, ..)| status == "True")
}

pub struct Sight {
    seen: watch::Receiver<Seen>,
    operator: Arc<Operator>,
    _watches: JoinSet<()>,
}

impl Sight {
    /// Watches Secrets and what is of these kinds.
    pub fn open(client: &Client, kinds: &[ApiResource], operator: Arc<Operator>) -> Self {
        let (sender, seen) = watch::channel(Seen::default());
        let mut watches = JoinSet::new();
        let secrets = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Secret"));
        for resource in kinds.iter().cloned().chain([secrets]) {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let sender = sender.clone();
            watches.spawn(async move {
                let events = watcher(api, watcher::Config::default()).default_backoff();
                let mut events = events.into_stream().boxed();
                loop {
                    match events.try_next().await {
                        Ok(Some(event)) => sender.send_modify(|seen| seen.change(&resource.kind, event)),
                        // It goes on by itself; if it does not, a step's deadline tells.
                        Err(_) => {}
                        Ok(None) => return,
                    }
                }
            });
        }
        Self { seen, operator, _watches: watches }
    }

    /// Looks once.
    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.borrow())
    }

    /// Shows how far it is until it is complete, and says how long after `since` the event came that made it so.
    pub async fn until(
        &mut self,
        screen: &Screen,
        unit: &str,
        since: Instant,
        look: impl Fn(&Seen) -> Count,
    ) -> Result<Duration> {
        let mut tick = tokio::time::interval(REDRAW);
        loop {
            let (count, at) = {
                let seen = self.seen.borrow_and_update();
                (look(&seen), seen.at)
            };
            if count.is_complete() {
                return at
                    .and_then(|at| at.checked_duration_since(since))
                    .ok_or_else(|| Error::new(format!("{unit}: it was so before the request was sent")));
            }
            if since.elapsed() > DEADLINE {
                let Count { done, total } = count;
                return Err(Error::new(format!("only {done} of {total} {unit} after {DEADLINE:?}")));
            }
            tokio::select! {
                changed = self.seen.changed() => changed?,
                _ = tick.tick() => {
                    if self.operator.check_running().is_err() {
                        return Err(Error::new("the operator has ended"));
                    }
                    screen.live_bar(count, unit, since);
                }
            }
        }
    }
}
