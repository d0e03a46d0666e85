//! The measure for events: a client that watches the same kinds on a thread of its own and does nothing with them.

use std::{fs, path::PathBuf, thread::JoinHandle, time::Duration};

use futures::{StreamExt, future::try_join3};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::{
    Api, Client, Config, Resource,
    api::{ListParams, WatchParams},
    core::WatchEvent,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use crate::{
    cpu,
    support::{Error, Result},
};

/// The longest watch that kube takes.
const WATCH_SECONDS: u32 = 290;

/// Watches Namespaces, Secrets and Pods, each as metadata. It ends when dropped.
pub struct BareWatch {
    task: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BareWatch {
    pub async fn start(config: Config) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new().name("bare-watch".into()).spawn(move || {
            let began = fs::read_link("/proc/thread-self").map_err(Error::from).and_then(|task| {
                Ok((task, tokio::runtime::Builder::new_current_thread().enable_all().build()?))
            });
            match began {
                Ok((task, runtime)) => {
                    let _ = tell.send(Ok(task));
                    runtime.block_on(async {
                        tokio::select! {
                            _ = stopped => {}
                            Err(error) = watch_all(config) => eprintln!("bare watch: {error}"),
                        }
                    });
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        })?;
        let task = PathBuf::from("/proc").join(told.await??);
        // Its lists are not to be counted.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(Self { task, stop: Some(stop), thread: Some(thread) })
    }

    /// Processor time so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        Ok(cpu::nanoseconds(&self.task)? as f64 / 1e9)
    }
}

impl Drop for BareWatch {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn watch_all(config: Config) -> Result<()> {
    let client = Client::try_from(config)?;
    try_join3(watch::<Namespace>(client.clone()), watch::<Secret>(client.clone()), watch::<Pod>(client))
        .await?;
    Ok(())
}

async fn watch<K>(client: Client) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let api = Api::<K>::all(client);
    let parameters = WatchParams::default().timeout(WATCH_SECONDS);
    loop {
        let list = api.list_metadata(&ListParams::default().limit(1)).await?;
        let version = list.metadata.resource_version.unwrap_or_default();
        let mut events = api.watch_metadata(&parameters, &version).await?.boxed();
        while let Some(event) = events.next().await {
            if let WatchEvent::Error(status) = event? {
                return Err(Error::new(status.message));
            }
        }
    }
}
