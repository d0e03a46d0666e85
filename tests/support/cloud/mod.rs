//! The vendors that mint tokens for registries, on loopback under their own names: behind a proxy that leads those names
//! here, with certificates of an authority that the operator is told to trust.
//!
//! AWS is moto, as far as it goes ([`aws`]); the others are contracts. Each checks every parameter that the vendor's
//! documentation names, takes no other, answers with the vendor's errors, and notes what it was asked.

mod aws;
mod azure;
mod client;
mod github;
mod google;
mod jwt;
mod moto;
mod request;
mod robots;
mod rsa;
mod service;
mod shared;
mod sigv4;

use std::{sync::Arc, time::Duration};

use kube::Client;

pub use aws::{ACCOUNT, Aws, EXTERNAL_ID, Key, REGION, role};
pub use jwt::claims;
pub use request::Request;
pub use rsa::RsaKey;
pub use service::Service;
pub use shared::{Asked, Minted};
use shared::{Rule, Shared};
pub use sigv4::sign;

use super::{
    connect_proxy::ConnectProxy,
    error::{Error, Result},
    https::{BoxError, Server},
    operator,
    pki::Authority,
    registry::Answer,
    workdir::Workdir,
};

/// What the vendors know of their customer, besides what each start makes anew.
pub const TENANT: &str = "409520d4-8100-4d1d-ad47-72432ddcc120";
pub const CLIENT: &str = "5f6a2c8e-0c3b-4f43-9a2e-1d2c3b4a5f60";
pub const ACR: &str = "acmeimages";
pub const PROJECT: &str = "acme-images";
pub const PROVIDER: &str = "projects/1/locations/global/workloadIdentityPools/clusters/providers/main";
pub const GOOGLE_ACCOUNT: &str = "puller@acme-images.iam.gserviceaccount.com";
pub const APP: u64 = 1_234_567;
pub const INSTALLATION: u64 = 45_678_901;
pub const ROBOT: &str = "acme+ci";
pub const DO_REGISTRY: &str = "acme";

/// The names that lead here.
const NAMES: [&str; 13] = [
    "api.ecr.eu-central-1.amazonaws.com",
    "api.ecr.us-east-1.amazonaws.com",
    "api.ecr-public.us-east-1.amazonaws.com",
    "sts.eu-central-1.amazonaws.com",
    "sts.us-east-1.amazonaws.com",
    "login.microsoftonline.com",
    "acmeimages.azurecr.io",
    "oauth2.googleapis.com",
    "sts.googleapis.com",
    "iamcredentials.googleapis.com",
    "api.github.com",
    "api.digitalocean.com",
    "quay.io",
];

/// All of them. They end, with all connections, when this is dropped.
pub struct Cloud {
    pub proxy: ConnectProxy,
    /// Who has signed their certificates.
    pub authority: Authority,
    vendors: Server,
    /// What is asked without TLS, on the node: the metadata server, and the agent of EKS Pod Identity.
    node: Server,
    shared: Arc<Shared>,
    files: Workdir,
}

impl Cloud {
    /// All but AWS. ServiceAccounts of this cluster are known to them, once they are [let in](Self::let_in).
    pub async fn start(client: &Client) -> Result<Self> {
        Self::with(client, None).await
    }

    /// With AWS, which takes a second or two.
    pub async fn with_aws(client: &Client) -> Result<Self> {
        Self::with(client, Some(Aws::start().await?)).await
    }

    async fn with(client: &Client, aws: Option<Aws>) -> Result<Self> {
        let shared = Arc::new(Shared::new(jwt::Issuer::of(client).await?, aws)?);
        let authority = Authority::new("the vendors")?;
        let vendors = serve(&shared, Some(&authority.server(&NAMES)?)).await?;
        let node = serve(&shared, None).await?;
        let proxy = ConnectProxy::start().await?;
        for name in NAMES {
            proxy.lead(name, vendors.address());
        }
        let files = Workdir::new("claviger-vendors-")?;
        files.write("ca.crt", authority.pem())?;
        Ok(Self { proxy, authority, vendors, node, shared, files })
    }

    /// Such an operator finds the vendors, and trusts them. It may ask registries at all names, and those inside of its
    /// network at `localhost` alone.
    pub fn known_to(&self, operator: operator::Builder) -> operator::Builder {
        operator
            .args(&["--allowed-registries=", "--private-registries=localhost"])
            .arg(format!("--registry-ca={}", self.files.join("ca.crt").display()))
            // HTTPS_PROXY would also be meant for the API server of a kubeconfig, which no Pod has.
            .env("ALL_PROXY", self.proxy.url())
            .env("NO_PROXY", "localhost,127.0.0.1")
    }

    /// Host and port of the metadata server of GCE.
    pub fn metadata_host(&self) -> String {
        self.node.address()
    }

    /// Where the agent of EKS Pod Identity has credentials.
    pub fn pod_identity_url(&self) -> String {
        format!("{}/v1/credentials", self.node.url())
    }

    pub fn aws(&self) -> Result<&Aws> {
        self.shared.aws.as_ref().ok_or_else(|| Error::new("this cloud was started without AWS"))
    }

    /// From now on all vendors know this ServiceAccount: as a federated credential, in trust policies and so on.
    pub fn let_in(&self, namespace: &str, account: &str) {
        self.shared.let_in(format!("system:serviceaccount:{namespace}:{account}"));
    }

    /// The password of the application in Entra.
    pub fn client_secret(&self) -> &str {
        &self.shared.client_secret
    }

    /// The API token of DigitalOcean.
    pub fn digital_ocean_token(&self) -> &str {
        &self.shared.digital_ocean_token
    }

    /// The key of Google's service account, and that of the GitHub App.
    pub fn rsa(&self) -> &RsaKey {
        &self.shared.rsa
    }

    /// How long what is minted from now on is good for; as long as at the vendor when it is not said.
    pub fn life(&self, life: Duration) {
        self.shared.set_life(Some(life));
    }

    /// From now on a service answers everybody so.
    pub fn answer(&self, service: Service, answer: Answer) {
        self.shared.rule(service, Some(Rule::Answer(answer)));
    }

    /// From now on a service refuses everybody, as its vendor would.
    pub fn refuse(&self, service: Service) {
        self.shared.rule(service, Some(Rule::Refuse));
    }

    /// From now on a service takes its time.
    pub fn slow_down(&self, service: Service, delay: Duration) {
        self.shared.rule(service, Some(Rule::Wait(delay)));
    }

    /// From now on a service does as it should.
    pub fn restore(&self, service: Service) {
        self.shared.rule(service, None);
    }

    /// All requests so far, in the order in which they came.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked()
    }

    /// The requests to one service so far.
    pub fn asked_of(&self, service: Service) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.service == Some(service)).collect()
    }

    pub fn count(&self, service: Service) -> usize {
        self.asked_of(service).len()
    }

    /// All tokens that were handed out so far, also those on the way to the one for the registry.
    pub fn minted(&self) -> Vec<Minted> {
        self.shared.minted()
    }

    /// The newest token of a service.
    pub fn newest(&self, service: Service) -> Option<Minted> {
        self.minted().into_iter().rfind(|minted| minted.service == service)
    }

    /// Every value that must stand nowhere but in the data of Secrets.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let mut secrets: Vec<_> = self
            .minted()
            .into_iter()
            .enumerate()
            .map(|(n, minted)| (format!("token {n}, of {:?}", minted.service), minted.token))
            .collect();
        secrets.push(("the client secret".to_owned(), self.client_secret().to_owned()));
        secrets.push(("the token of DigitalOcean".to_owned(), self.digital_ocean_token().to_owned()));
        if let Some(aws) = &self.shared.aws {
            secrets.push(("the secret access key".to_owned(), aws.puller.secret.clone()));
        }
        secrets
    }
}

async fn serve(shared: &Arc<Shared>, identity: Option<&super::pki::Identity>) -> Result<Server> {
    let shared = shared.clone();
    let connected = move || {
        let shared = shared.clone();
        move |request| {
            let shared = shared.clone();
            async move {
                let request = Request::read(request).await?;
                let service = Service::of(&request);
                let number = shared.note(service, &request);
                let answer = match (service, shared.told(service)) {
                    (None, _) => Answer::status(404),
                    (Some(service), Some(Rule::Refuse)) => service.refusal(),
                    (_, Some(Rule::Answer(answer))) => answer,
                    (Some(service), rule) => {
                        if let Some(Rule::Wait(delay)) = rule {
                            tokio::time::sleep(delay).await;
                        }
                        service.answer(&shared, &request).await
                    }
                };
                shared.answered(number, &answer);
                answer.give().await as Result<_, BoxError>
            }
        }
    };
    Server::start(identity, connected).await
}
