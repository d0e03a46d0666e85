//! A cluster with an operator, Secrets of others, the plugin and kubectl.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};

use super::super::{Answer, Plugin};
use crate::{
    lab::Lab,
    support::{self, Error, Operator, Result, run_with_input, wait_for, workdir::Workdir},
};

/// For a cluster that does a lot at once.
pub const LONG: Duration = Duration::from_secs(60);
/// In every value, so that one that is printed is found.
pub const CANARY: &str = "canary-password";

pub struct Desk {
    pub lab: Lab,
    pub client: Client,
    pub plugin: Plugin,
    pub operator: Option<Operator>,
    dir: Workdir,
}

impl Desk {
    pub async fn new(namespaces: &[&str]) -> Result<Self> {
        let lab = Lab::start().await?;
        let client = lab.control_plane.client().await?;
        let plugin = Plugin::new(Some(lab.control_plane.kubeconfig()), None).await?;
        let dir = Workdir::new("claviger-import-")?;
        let desk = Self { lab, client, plugin, operator: None, dir };
        for name in namespaces {
            desk.namespace(name, json!({})).await?;
        }
        Ok(desk)
    }

    pub async fn namespace(&self, name: &str, labels: Value) -> Result<()> {
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
        Api::all(self.client.clone()).create(&PostParams::default(), &namespace).await?;
        Ok(())
    }

    pub async fn start_operator(&mut self) -> Result<()> {
        self.operator = Some(self.lab.operator()?.start().await?);
        Ok(())
    }

    /// A pull Secret as `kubectl create secret docker-registry` writes it.
    pub async fn pull(&self, place: &str, host: &str, metadata: Value) -> Result<Secret> {
        self.secret(place, "kubernetes.io/dockerconfigjson", pull_data(host, CANARY), metadata).await
    }

    pub async fn secret(&self, place: &str, type_: &str, data: Value, metadata: Value) -> Result<Secret> {
        let (namespace, name) = place.split_once('/').expect("namespace/name");
        let mut meta = json!({ "name": name });
        if let (Value::Object(meta), Value::Object(more)) = (&mut meta, metadata) {
            meta.extend(more);
        }
        let secret = serde_json::from_value(json!({"metadata": meta, "type": type_, "stringData": data}))?;
        Ok(self.secrets(namespace).create(&PostParams::default(), &secret).await?)
    }

    pub fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub async fn get(&self, place: &str) -> Result<Secret> {
        let (namespace, name) = place.split_once('/').expect("namespace/name");
        Ok(self.secrets(namespace).get(name).await?)
    }

    pub async fn import(&self, args: &[&str]) -> Result<Answer> {
        let answer = self.plugin.call(&[&["import"], args].concat()).await?;
        assert!(!answer.out.contains("canary") && !answer.err.contains("canary"), "{answer:?}");
        Ok(answer)
    }

    /// What a person pipes into it.
    pub async fn kubectl(&self, args: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(tokio::task::spawn_blocking(support::kubectl).await??);
        command.args(args).env("KUBECONFIG", self.lab.control_plane.kubeconfig());
        command.env("HOME", self.dir.path());
        let output = run_with_input(command, input).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        Err(Error::new(format!("{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr))))
    }

    pub async fn apply(&self, answer: &Answer) -> Result<String> {
        self.kubectl(&["apply", "-f", "-"], &answer.out).await
    }

    /// Runs commands that stand in a text: each on a line of its own, or in backticks.
    pub async fn run_commands(&self, text: &str) -> Result<usize> {
        let quoted = text.lines().flat_map(|line| {
            let line = line.trim();
            let own = line.starts_with("kubectl ").then_some(line);
            own.into_iter().chain(line.split('`').filter(|part| part.starts_with("kubectl ")))
        });
        let mut count = 0;
        for command in quoted.map(str::to_owned).collect::<std::collections::BTreeSet<_>>() {
            let args: Vec<&str> = command.split_whitespace().skip(1).collect();
            if args.len() > 2 {
                self.kubectl(&args, "").await?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Waits until every credential says that all is in place.
    pub async fn wait_all_ready(&self) -> Result<()> {
        wait_for(LONG, "all credentials to be Ready", async || {
            // By their category.
            let text = self.kubectl(&["get", "credentials", "--all-namespaces", "-o", "json"], "").await;
            let list: Value = serde_json::from_str(&text.map_err(|error| error.to_string())?)
                .map_err(|error| error.to_string())?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let is_ready = |item: &&Value| {
                let conditions = item["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let is_current = item["status"]["observedGeneration"] == item["metadata"]["generation"];
                is_current && conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
            };
            let waiting: Vec<String> = items
                .iter()
                .filter(|item| !is_ready(item))
                .map(|item| format!("{}: {}", item["metadata"]["name"], item["status"]))
                .collect();
            if waiting.is_empty() && !items.is_empty() { Ok(()) } else { Err(waiting.join("\n")) }
        })
        .await
    }

    /// The password that kubelet would find in a pull Secret.
    pub async fn password(&self, place: &str) -> Result<String> {
        let data = self.get(place).await?.data.unwrap_or_default();
        let bytes = data.get(".dockerconfigjson").map(|bytes| bytes.0.clone()).unwrap_or_default();
        let config: Value = serde_json::from_slice(&bytes)?;
        let login = config["auths"].as_object().and_then(|auths| auths.values().next()).cloned();
        Ok(login.unwrap_or_default()["password"].as_str().unwrap_or_default().to_owned())
    }

    pub async fn uids(&self, places: &[&str]) -> Result<BTreeMap<String, String>> {
        let mut uids = BTreeMap::new();
        for place in places {
            uids.insert((*place).to_owned(), self.get(place).await?.uid().unwrap_or_default());
        }
        Ok(uids)
    }

    /// Fails while one of them is not a copy of ours, or was replaced.
    pub async fn assert_adopted(&self, uids: &BTreeMap<String, String>) -> Result<()> {
        for (place, uid) in uids {
            let copy = self.get(place).await?;
            if copy.uid().as_ref() != Some(uid) || !copy.labels().contains_key("claviger.dev/owner") {
                return Err(Error::new(format!(
                    "{place} was replaced, or not taken over: {:?}",
                    copy.metadata
                )));
            }
        }
        Ok(())
    }

    /// Watches all Secrets from now on.
    pub async fn watch(&self) -> Result<Witness> {
        let api = Api::<Secret>::all(self.client.clone());
        let version = api.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
        let events = Arc::new(Mutex::new(Vec::new()));
        let (seen, params) = (events.clone(), WatchParams::default().timeout(290));
        let task = tokio::spawn(async move {
            let mut stream = Box::pin(api.watch(&params, &version).await?);
            while let Some(event) = stream.next().await {
                let told = match event? {
                    WatchEvent::Added(secret) => ("ADDED", secret),
                    WatchEvent::Modified(secret) => ("MODIFIED", secret),
                    WatchEvent::Deleted(secret) => ("DELETED", secret),
                    _ => continue,
                };
                let place = format!("{}/{}", told.1.namespace().unwrap_or_default(), told.1.name_any());
                seen.lock().expect("not poisoned").push((told.0, place));
            }
            Ok(())
        });
        Ok(Witness { events, task })
    }
}

/// What became of all Secrets since a moment.
pub struct Witness {
    events: Arc<Mutex<Vec<(&'static str, String)>>>,
    task: tokio::task::JoinHandle<Result<(), kube::Error>>,
}

impl Witness {
    /// Fails when one of these Secrets was deleted or made, or the watch has not seen all.
    pub async fn assert_in_place(self, desk: &Desk, places: &[&str]) -> Result<()> {
        desk.secret("default/last", "Opaque", json!({}), json!({})).await?;
        wait_for(LONG, "the watch to catch up", async || {
            self.events.lock().expect("not poisoned").iter().any(|(_, place)| place == "default/last")
        })
        .await?;
        assert!(!self.task.is_finished(), "the watch ended before the end");
        self.task.abort();
        let events = self.events.lock().expect("not poisoned").clone();
        let moved =
            events.iter().filter(|(kind, place)| *kind != "MODIFIED" && places.contains(&place.as_str()));
        let moved: Vec<_> = moved.collect();
        assert!(moved.is_empty(), "{moved:?}");
        Ok(())
    }
}

pub fn pull_data(host: &str, password: &str) -> Value {
    let auth =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("robot:{password}"));
    let login = json!({"username": "robot", "password": password, "auth": auth});
    // In the order in which kubectl writes them.
    let login = format!(
        r#"{{"username":{},"password":{},"auth":{}}}"#,
        login["username"], login["password"], login["auth"]
    );
    json!({".dockerconfigjson": format!(r#"{{"auths":{{"{host}":{login}}}}}"#)})
}
