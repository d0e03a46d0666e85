//! `claviger self-test`: applies a credential, and looks whether the operator does its work on it.

use std::{
    fmt::Display,
    io::{self, Write},
    time::Duration,
};

use clap::{Args, builder::NonEmptyStringValueParser};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, PostParams, Preconditions},
    config::InferConfigError,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use super::{duration::at_least, words};
use crate::{
    api::{ANNOTATION_SOURCE, CredentialKind, RegistryCredential},
    cluster::describe,
    domain::{
        condition::{self, ConditionStatus, ConditionType},
        foreign_text::foreign_text,
        identity::CredentialId,
        schedule::{MAX_MESSAGE, SELF_TEST_CLEANUP, SELF_TEST_POLL},
    },
};

/// A host that nobody ever has.
const SERVER: &str = "self-test.invalid";
const LABEL: (&str, &str) = ("app.kubernetes.io/component", "self-test");
/// On the source, when nobody else has made it.
const OWN_SOURCE: (&str, &str) = ("app.kubernetes.io/managed-by", "claviger-self-test");

/// The flags of `claviger self-test`.
#[derive(Clone, Debug, Args)]
pub struct SelfTestArgs {
    /// The namespace of the credential, its source and its copy
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME")]
    #[arg(default_value = "claviger-system", value_parser = NonEmptyStringValueParser::new())]
    namespace: String,

    /// Name of the credential and of its copy; the source is the Secret NAME-source, which is created if it does not
    /// exist
    #[arg(long, env = "CLAVIGER_SELF_TEST_NAME", value_name = "NAME")]
    #[arg(default_value = "claviger-self-test", value_parser = words::name)]
    name: String,

    /// How long the credential may take to become ready
    #[arg(long, env = "CLAVIGER_SELF_TEST_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value = "60s", value_parser = at_least(Duration::from_secs(1)))]
    timeout: Duration,
}

/// Why a self-test did not pass.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// Neither a kubeconfig nor a Pod's service account was found.
    #[error("no cluster to work in: {0}")]
    Infer(#[from] InferConfigError),
    /// The system gives no threads, or the cluster cannot be connected to.
    #[error("{0}")]
    Client(String),
    /// Somebody else's credential has the name.
    #[error("{0} already exists and was not created by a self-test; choose another name with --name")]
    Foreign(String),
    /// The time is up.
    #[error("waited {patience:?} for {what}; last seen: {seen}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        patience: Duration,
        /// What there was instead.
        seen: String,
    },
    /// The operator made another Secret of it.
    #[error("the copy is wrong: {0}")]
    Copy(&'static str),
}

/// Carries out `claviger self-test`.
///
/// # Errors
/// The operator does not do its work, or the self-test may not do its own.
pub fn run(args: &SelfTestArgs) -> Result<(), SelfTestError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| SelfTestError::Client(error.to_string()))?.block_on(async {
        let config = kube::Config::infer().await?;
        let client = Client::try_from(config).map_err(|error| SelfTestError::Client(describe(&error)))?;
        SelfTest::new(args, &client).run(args.timeout).await
    })
}

struct SelfTest {
    namespace: String,
    name: String,
    credentials: Api<RegistryCredential>,
    secrets: Api<Secret>,
    began: Instant,
}

impl SelfTest {
    fn new(args: &SelfTestArgs, client: &Client) -> Self {
        let (namespace, name) = (args.namespace.clone(), args.name.clone());
        let credentials = Api::namespaced(client.clone(), &namespace);
        let secrets = Api::namespaced(client.clone(), &namespace);
        Self { namespace, name, credentials, secrets, began: Instant::now() }
    }

    async fn run(&self, patience: Duration) -> Result<(), SelfTestError> {
        // What is left of one that was interrupted.
        self.clean_up(patience).await?;
        let passed = self.test(patience).await;
        let cleaned = self.clean_up(SELF_TEST_CLEANUP).await;
        if let (Err(_), Err(error)) = (&passed, &cleaned) {
            // The error that came first is the one that ends the program.
            self.say(format!("not cleaned up: {error}"));
        }
        passed.and(cleaned)?;
        self.say("passed");
        Ok(())
    }

    async fn test(&self, patience: Duration) -> Result<(), SelfTestError> {
        let limit = Limit::new(patience);
        let source = self.source_name();
        limit.until(&format!("Secret {source} to exist"), async || self.make_source().await).await?;
        self.say(format!("Secret {}/{source} exists", self.namespace));

        let title = self.title();
        limit.until(&format!("{title} to be created"), async || self.make_credential().await).await?;
        self.say(format!("{title} is created"));

        let told = limit.until(&format!("{title} to be ready"), async || self.ready().await).await?;
        self.say(format!("{title} is ready: {told}"));

        let what = format!("Secret {} to be read", self.name);
        let (copy, login) = limit
            .until(&what, async || {
                let copy = self.secrets.get(&self.name).await.map_err(|error| describe(&error))?;
                let source = self.secrets.get(&source).await.map_err(|error| describe(&error))?;
                Ok((copy, source))
            })
            .await?;
        check(&copy, &login).map_err(SelfTestError::Copy)?;
        self.say(format!("Secret {}/{} has the login of its source", self.namespace, self.name));
        Ok(())
    }

    /// A login that nobody uses, unless one is there.
    async fn make_source(&self) -> Result<(), String> {
        let name = self.source_name();
        if self.secrets.get_opt(&name).await.map_err(|error| describe(&error))?.is_some() {
            return Ok(());
        }
        let labels = json!({(LABEL.0): LABEL.1, (OWN_SOURCE.0): OWN_SOURCE.1});
        let login = json!({"username": "self-test", "password": "only-a-self-test"});
        self.create(&self.secrets, json!({"metadata": {"name": name, "labels": labels}, "stringData": login}))
            .await
    }

    async fn make_credential(&self) -> Result<(), String> {
        let spec = json!({
            "displayName": "Self-test",
            "provider": "Custom",
            "server": SERVER,
            "secretRef": {"name": self.source_name()},
            "verification": {"mode": "Off"},
        });
        let object = json!({
            "apiVersion": RegistryCredential::api_version(&()),
            "kind": RegistryCredential::kind(&()),
            "metadata": {"name": self.name, "labels": {(LABEL.0): LABEL.1}},
            "spec": spec,
        });
        self.create(&self.credentials, object).await
    }

    /// Creates an object, also when that was done already and only the answer was lost.
    async fn create<K>(&self, api: &Api<K>, object: Value) -> Result<(), String>
    where
        K: serde::de::DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
    {
        let object = serde_json::from_value(object).map_err(|error| error.to_string())?;
        match api.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            done => done.map(drop).map_err(|error| describe(&error)),
        }
    }

    /// What the operator says of a credential that is ready.
    async fn ready(&self) -> Result<String, String> {
        let credential = self.credentials.get(&self.name).await.map_err(|error| describe(&error))?;
        let generation = credential.metadata.generation;
        let conditions = credential.status.unwrap_or_default().common.conditions;
        let Some(ready) = condition::find(&conditions, ConditionType::Ready) else {
            return Err("the operator has not reported on it; is it running, and does it lead?".to_owned());
        };
        let told = foreign_text(&format!("{} ({})", ready.message, ready.reason), MAX_MESSAGE);
        let is_ready = ConditionStatus::of(ready) == ConditionStatus::True;
        if is_ready && ready.observed_generation == generation { Ok(told) } else { Err(told) }
    }

    /// Takes away what a self-test makes, and waits until it is gone.
    async fn clean_up(&self, patience: Duration) -> Result<(), SelfTestError> {
        let limit = Limit::new(patience);
        let title = self.title();
        let look = async || self.credentials.get_opt(&self.name).await.map_err(|error| describe(&error));
        let found = limit.until(&format!("an answer about {title}"), look).await?;
        if let Some(credential) = found {
            if !has(&credential.metadata, LABEL) {
                return Err(SelfTestError::Foreign(title));
            }
            let what = format!("{title} to be deleted");
            limit.until(&what, async || delete(&self.credentials, &credential.metadata).await).await?;
            limit
                .until(&format!("the copy of {title} to be deleted"), async || self.copy_gone().await)
                .await?;
            self.say(format!("{title} and its copy are deleted"));
        }
        let what = format!("Secret {} to be deleted", self.source_name());
        limit
            .until(&what, async || {
                let source = self.secrets.get_opt(&self.source_name()).await;
                match source.map_err(|error| describe(&error))? {
                    Some(source) if has(&source.metadata, OWN_SOURCE) => {
                        delete(&self.secrets, &source.metadata).await
                    }
                    _ => Ok(()),
                }
            })
            .await
    }

    async fn copy_gone(&self) -> Result<(), String> {
        let found = self.secrets.get_opt(&self.name).await.map_err(|error| describe(&error))?;
        let annotations = found.and_then(|copy| copy.metadata.annotations).unwrap_or_default();
        if annotations.get(ANNOTATION_SOURCE) == Some(&self.id().to_string()) {
            Err("it still exists".to_owned())
        } else {
            Ok(())
        }
    }

    fn id(&self) -> CredentialId {
        let kind = CredentialKind::RegistryCredential;
        CredentialId { kind, namespace: self.namespace.as_str().into(), name: self.name.as_str().into() }
    }

    fn source_name(&self) -> String {
        format!("{}-source", self.name)
    }

    fn title(&self) -> String {
        format!("{} {}/{}", RegistryCredential::kind(&()), self.namespace, self.name)
    }

    /// Tells a step. Nobody has to read it.
    fn say(&self, step: impl Display) {
        let _ = writeln!(io::stdout(), "{:5.1} s  {step}", self.began.elapsed().as_secs_f64());
    }
}

/// Deletes an object, and no other one of that name; an error as long as it is there.
async fn delete<K>(api: &Api<K>, metadata: &ObjectMeta) -> Result<(), String>
where
    K: serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let name = metadata.name.as_deref().unwrap_or_default();
    let own = Preconditions { uid: metadata.uid.clone(), resource_version: None };
    match api.delete(name, &DeleteParams::default().preconditions(own)).await {
        Ok(either) if either.is_left() => Err("it waits for the operator to remove its finalizer".to_owned()),
        Ok(_) => Ok(()),
        // Gone, or another one by now.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(describe(&error)),
    }
}

/// Whether an object has a label.
fn has(metadata: &ObjectMeta, (key, value): (&str, &str)) -> bool {
    metadata.labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|found| found == value)
}

/// Whether a pull Secret is made of a login.
fn check(copy: &Secret, login: &Secret) -> Result<(), &'static str> {
    if copy.type_.as_deref() != Some("kubernetes.io/dockerconfigjson") {
        return Err("its type is not kubernetes.io/dockerconfigjson");
    }
    let value = |secret: &Secret, key: &str| secret.data.as_ref()?.get(key).map(|value| value.0.clone());
    let config =
        value(copy, ".dockerconfigjson").and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    let config = config.ok_or("it has no .dockerconfigjson that can be read")?;
    let entry = config.get("auths").and_then(|auths| auths.get(SERVER));
    for field in ["username", "password"] {
        let held = entry.and_then(|entry| entry.get(field)?.as_str()).map(str::as_bytes);
        if held.is_none() || held != value(login, field).as_deref() {
            return Err("it does not have the login of its source");
        }
    }
    Ok(())
}

/// Until when something is waited for.
struct Limit {
    patience: Duration,
    deadline: Instant,
}

impl Limit {
    fn new(patience: Duration) -> Self {
        Self { patience, deadline: Instant::now() + patience }
    }

    /// Looks until there is an answer. Whatever goes wrong may be right a moment later: rights that were just given take
    /// effect, an API server is back.
    async fn until<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T, SelfTestError> {
        let mut seen = "no answer from the API server".to_owned();
        loop {
            match timeout_at(self.deadline, look()).await {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(instead)) => seen = instead,
                Err(_) => {}
            }
            if Instant::now() + SELF_TEST_POLL >= self.deadline {
                return Err(SelfTestError::Timeout { what: what.to_owned(), patience: self.patience, seen });
            }
            sleep(SELF_TEST_POLL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(type_: &str, data: Value) -> Secret {
        // Strings in `data` are base64.
        serde_json::from_value(json!({"type": type_, "data": data})).unwrap()
    }

    #[test]
    fn a_copy_is_compared_with_its_source() {
        let encoded = |text: &str| serde_json::to_value(k8s_openapi::ByteString(text.into())).unwrap();
        let login = secret("Opaque", json!({"username": encoded("me"), "password": encoded("a-password")}));
        let copy = |type_: &str, password: &str| {
            let auths = json!({"auths": {SERVER: {"username": "me", "password": password}}});
            secret(type_, json!({".dockerconfigjson": encoded(&auths.to_string())}))
        };
        let right = "kubernetes.io/dockerconfigjson";
        assert_eq!(check(&copy(right, "a-password"), &login), Ok(()));
        for wrong in [copy("Opaque", "a-password"), copy(right, "another"), secret(right, json!({}))] {
            assert!(check(&wrong, &login).is_err(), "{:?}", wrong.type_);
        }
        // Two things that are not there are not the same.
        let empty = secret(right, json!({".dockerconfigjson": encoded("{}")}));
        assert!(check(&empty, &secret("Opaque", json!({}))).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_ends_with_what_was_seen() {
        let limit = Limit::new(Duration::from_secs(5));
        let began = Instant::now();
        let mut looks = 0;
        let waited = limit.until("the moon", async || -> Result<(), String> {
            looks += 1;
            Err(format!("clouds {looks}"))
        });
        let error = waited.await.unwrap_err().to_string();
        assert!(error.starts_with("waited 5s for the moon; last seen: clouds 2"), "{error}");
        assert!(began.elapsed() <= Duration::from_secs(5));
        // Also when a request hangs.
        let silent = Limit::new(Duration::from_secs(5));
        let waited = silent.until("an answer", async || std::future::pending::<Result<(), String>>().await);
        assert!(waited.await.is_err() && began.elapsed() <= Duration::from_secs(10));
    }
}
