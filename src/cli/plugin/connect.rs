//! The cluster of a kubeconfig, asked with the rights of the person who calls.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config, Resource,
    api::{ApiResource, DynamicObject, ListParams, ObjectList},
    client::Body,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
    core::{NamespaceResourceScope, Status},
};
use serde::de::DeserializeOwned;

use super::error::{PluginError, Right};
use crate::{
    cluster::dynamic,
    domain::{
        foreign_text::foreign_text,
        schedule::{MAX_MESSAGE, PAGE, PLUGIN_REQUEST_TIMEOUT},
    },
};

/// Which cluster is asked, and as whom; as in kubectl.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ConnectionArgs {
    /// Path of the kubeconfig [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,

    /// Cluster of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    cluster: Option<String>,

    /// User of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    user: Option<String>,

    /// Namespace [default: that of the context]
    #[arg(short, long, global = true, value_name = "NAME")]
    namespace: Option<String>,

    /// User to impersonate
    #[arg(long = "as", global = true, value_name = "USER")]
    impersonate: Option<String>,

    /// Group to impersonate; can be given several times
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "impersonate")]
    impersonate_groups: Vec<String>,

    /// How long to wait for one answer, such as 5s or 1m; 0 waits without limit [default: 30s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = timeout)]
    request_timeout: Option<Duration>,
}

impl ConnectionArgs {
    /// The namespace of the command line.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The namespace of manifests that name none, where no cluster is asked.
    pub(super) fn offline_namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

/// An answer as a text.
async fn text(answer: Response<Body>, longest: usize) -> Result<String, kube::Error> {
    let code = answer.status();
    let body = Limited::new(answer.into_body(), longest).collect().await.map_err(kube::Error::Service)?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    if !code.is_client_error() && !code.is_server_error() {
        return Ok(text);
    }
    let status = serde_json::from_str::<Status>(&text);
    let status = status.unwrap_or_else(|_| Status::failure(text.trim(), "NoStatus"));
    Err(kube::Error::Api(status.with_code(code.as_u16()).boxed()))
}

fn timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let duration = || Duration::try_from(text.trim().parse::<SignedDuration>().ok()?).ok();
    seconds
        .or_else(duration)
        .ok_or_else(|| "write a number of seconds, or a duration such as 5s or 1m".to_owned())
}

/// A cluster that can be asked.
pub(super) struct Cluster {
    pub client: Client,
    /// That of the command line, else of the context.
    pub namespace: String,
    timeout: Option<Duration>,
}

fn wrong(error: &dyn std::error::Error) -> PluginError {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    PluginError::Kubeconfig(foreign_text(&text, MAX_MESSAGE))
}

/// Refuses a user that the kubeconfig does not have, as kubectl does: nobody means to be anonymous.
fn known_user(kubeconfig: &Kubeconfig, args: &ConnectionArgs) -> Result<(), PluginError> {
    let current = args.context.as_ref().or(kubeconfig.current_context.as_ref());
    let mut contexts = kubeconfig.contexts.iter();
    let context =
        contexts.find(|named| Some(&named.name) == current).and_then(|named| named.context.as_ref());
    let user = args.user.as_ref().or_else(|| context.and_then(|context| context.user.as_ref()));
    match user.filter(|user| !user.is_empty()) {
        Some(user) if !kubeconfig.auth_infos.iter().any(|named| named.name == *user) => {
            let user = foreign_text(user, MAX_MESSAGE);
            Err(PluginError::Kubeconfig(format!("it has no user '{user}'")))
        }
        _ => Ok(()),
    }
}

impl Cluster {
    pub async fn connect(args: &ConnectionArgs) -> Result<Self, PluginError> {
        let config = match Self::kubeconfig(args) {
            Ok(kubeconfig) => {
                known_user(&kubeconfig, args)?;
                let options = KubeConfigOptions {
                    context: args.context.clone(),
                    cluster: args.cluster.clone(),
                    user: args.user.clone(),
                };
                Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| wrong(&error))?
            }
            // As kubectl in a Pod.
            Err(error) if args.kubeconfig.is_none() && args.context.is_none() => {
                Config::incluster().map_err(|_| wrong(&error))?
            }
            Err(error) => return Err(wrong(&error)),
        };
        Self::of(config, args)
    }

    /// The cluster at an address, as the first context of the kubeconfig that is for it.
    pub async fn at(server: &str, args: &ConnectionArgs) -> Result<Option<Self>, PluginError> {
        let Ok(kubeconfig) = Self::kubeconfig(args) else { return Ok(None) };
        let plain = |server: &str| server.trim_end_matches('/').to_owned();
        let is_there = |name: &str| {
            let mut clusters = kubeconfig.clusters.iter().filter(|cluster| cluster.name == name);
            clusters.any(|named| {
                let address = named.cluster.as_ref().and_then(|cluster| cluster.server.as_deref());
                address.is_some_and(|address| plain(address) == plain(server))
            })
        };
        let mut contexts = kubeconfig.contexts.iter();
        let found = contexts
            .find(|named| named.context.as_ref().is_some_and(|context| is_there(&context.cluster)))
            .map(|named| named.name.clone());
        let Some(context) = found else { return Ok(None) };
        let options = KubeConfigOptions { context: Some(context), ..KubeConfigOptions::default() };
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| wrong(&error))?;
        Self::of(config, args).map(Some)
    }

    fn of(mut config: Config, args: &ConnectionArgs) -> Result<Self, PluginError> {
        let timeout = args.request_timeout.unwrap_or(PLUGIN_REQUEST_TIMEOUT);
        let timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        config.connect_timeout = timeout;
        // A person waits: what does not work is said, and not tried again.
        config.default_retry = false;
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| wrong(&error))?;
        Ok(Self { client, namespace, timeout })
    }

    fn kubeconfig(args: &ConnectionArgs) -> Result<Kubeconfig, KubeconfigError> {
        let mut kubeconfig = args.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from)?;
        for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
            user.impersonate = args.impersonate.clone().or(user.impersonate.take());
            if !args.impersonate_groups.is_empty() {
                user.impersonate_groups = Some(args.impersonate_groups.clone());
            }
        }
        Ok(kubeconfig)
    }

    /// Sends a request, which needs a right.
    pub async fn ask<T>(
        &self,
        right: Right,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, PluginError> {
        let answer = match self.timeout {
            Some(timeout) => {
                tokio::time::timeout(timeout, request).await.map_err(|_| PluginError::Timeout(timeout))?
            }
            None => request.await,
        };
        answer.map_err(|error| PluginError::of(&error, &right))
    }

    /// Gets a text, which may be of anybody, of at most so many bytes.
    pub async fn text(&self, right: Right, url: &str, longest: usize) -> Result<String, PluginError> {
        let request =
            Request::get(url).body(Body::empty()).map_err(|error| PluginError::Refused(error.to_string()))?;
        self.ask(right, async { text(self.client.send(request).await?, longest).await }).await
    }

    /// The uid of its namespace `kube-system`, by which clusters are told apart.
    pub async fn id(&self) -> Result<Option<String>, PluginError> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let right = |verb| Right::new(verb, "namespaces", None);
        let found = match self.ask(right("get"), namespaces.get_metadata("kube-system")).await {
            // Some may list them and not get one, as what is pushed with.
            Err(error) if error.is_forbidden() => {
                let params = ListParams::default().fields("metadata.name=kube-system");
                self.ask(right("list"), namespaces.list_metadata(&params)).await?.items.into_iter().next()
            }
            found => Some(found?),
        };
        Ok(found.and_then(|namespace| namespace.metadata.uid))
    }

    /// Objects of a namespace, or of all.
    pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
        &self,
        namespace: Option<&str>,
    ) -> Api<K> {
        let client = self.client.clone();
        namespace.map_or_else(|| Api::all(client.clone()), |within| Api::namespaced(client.clone(), within))
    }

    /// Lists objects of all namespaces; where that is forbidden those of the caller's, and why.
    pub async fn list_what_may_be_seen(
        &self,
        resource: &ApiResource,
        name: &'static str,
    ) -> Result<(Vec<DynamicObject>, Option<PluginError>), PluginError> {
        let list = async |namespace: Option<&str>| {
            let objects = dynamic::api(self.client.clone(), namespace, resource);
            let right = Right::new("list", name, namespace.map(str::to_owned));
            self.list(&right, &objects, ListParams::default()).await
        };
        match list(None).await {
            Err(error) if error.is_forbidden() => {
                list(Some(&self.namespace)).await.map(|listed| (listed, Some(error)))
            }
            listed => listed.map(|listed| (listed, None)),
        }
    }

    /// Lists all objects.
    pub async fn list<K>(
        &self,
        right: &Right,
        api: &Api<K>,
        params: ListParams,
    ) -> Result<Vec<K>, PluginError>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let mut all = Vec::new();
        self.pages(right, params, async |params: ListParams| api.list(&params).await, |one| all.push(one))
            .await?;
        Ok(all)
    }

    /// Reads a list page by page.
    pub async fn pages<K: Clone>(
        &self,
        right: &Right,
        params: ListParams,
        fetch: impl AsyncFn(ListParams) -> Result<ObjectList<K>, kube::Error>,
        mut visit: impl FnMut(K),
    ) -> Result<(), PluginError> {
        let mut params = if params.limit.is_some() { params } else { params.limit(PAGE) };
        loop {
            let page = self.ask(right.clone(), fetch(params.clone())).await?;
            page.items.into_iter().for_each(&mut visit);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_written_as_in_kubectl() {
        assert_eq!(timeout("0"), Ok(Duration::ZERO));
        assert_eq!(timeout("5"), Ok(Duration::from_secs(5)));
        assert_eq!(timeout("1m30s"), Ok(Duration::from_secs(90)));
        assert!(timeout("soon").is_err() && timeout("-1s").is_err());
    }

    #[tokio::test]
    async fn a_text_of_anybody_is_read_up_to_a_limit() {
        let answer = |code: u16, body: &str| {
            Response::builder().status(code).body(Body::from(body.as_bytes().to_vec())).unwrap()
        };
        assert_eq!(text(answer(200, "0123456789"), 10).await.unwrap(), "0123456789");
        for code in [200, 500] {
            let error = text(answer(code, "0123456789"), 9).await.unwrap_err();
            assert!(matches!(error, kube::Error::Service(_)), "{error:?}");
        }
        // What answers may claim another code than it has.
        for body in
            [" watch of x is old ", r#"{"status": "Failure", "message": "watch of x is old", "code": 404}"#]
        {
            let error = text(answer(500, body), 100).await.unwrap_err();
            let kube::Error::Api(status) = error else { panic!("{error:?}") };
            assert_eq!((status.code, status.message.as_str()), (500, "watch of x is old"));
        }
    }
}
