//! Every state that an object of ours can be in, as a real operator leaves it on a real API server.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    fleet::world::{Member, merge, quick},
    lab::{Lab, wait_accounts},
    scenario::Scenario,
    support::{Error, Operator, Result, environment::OPERATOR_NAMESPACE, pki, wait_for},
};

const LONG: Duration = Duration::from_secs(60);

/// Where nothing listens.
const NOWHERE: &str = "127.0.0.1:1";

/// Where the credentials are.
pub const HOME: &str = "platform";

/// An object in a state of its life.
pub struct Seen {
    pub kind: &'static str,
    pub state: &'static str,
    pub object: Value,
}

pub struct Life {
    pub lab: Lab,
    _operator: Operator,
    pub seen: Vec<Seen>,
    /// What is not the same in another life: address by address, and what is put in its place.
    pub addresses: Vec<(String, &'static str)>,
}

/// One kind of credential.
pub struct Form {
    pub kind: &'static str,
    pub short: &'static str,
    spec: fn() -> Value,
    /// Why its bad source is bad.
    broken: &'static str,
}

impl Form {
    /// What the kind needs besides source and target.
    pub fn spec(&self) -> Value {
        (self.spec)()
    }
}

pub const FORMS: [Form; 4] = [
    Form {
        kind: "RegistryCredential",
        short: "registry",
        spec: || json!({"provider": "Custom", "server": "registry.example.com", "verification": {"mode": "Off"}}),
        broken: "KeyMissing",
    },
    Form {
        kind: "BasicAuthCredential",
        short: "login",
        spec: || json!({"format": "BasicAuth"}),
        broken: "KeyMissing",
    },
    Form { kind: "TlsCredential", short: "tls", spec: || json!({}), broken: "KeyMismatch" },
    Form {
        kind: "ObjectStorageCredential",
        short: "bucket",
        spec: || {
            json!({
                "bucket": "backups", "endpoint": "https://s3.example.com", "format": "Flux",
                "secretRef": {"accessKeyKey": "username", "secretKeyKey": "password"},
                "verification": {"mode": "Off"},
            })
        },
        broken: "KeyMissing",
    },
];

pub fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("claviger.dev", "v1alpha1", kind));
    if kind.ends_with("Credential") {
        Api::namespaced_with(client.clone(), HOME, &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    }
}

/// Waits until all of these are told, each as `Type=Status (Reason)`, of the spec as it is.
async fn told(client: &Client, kind: &str, name: &str, wanted: &[&str]) -> Result<Value> {
    let api = api(client, kind);
    wait_for(LONG, &format!("{kind} {name} to tell {wanted:?}"), async || {
        let object = api.get(name).await.map_err(|error| error.to_string())?;
        let object = serde_json::to_value(object).map_err(|error| error.to_string())?;
        let conditions = conditions(&object);
        let is_new = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        if is_new && wanted.iter().all(|wanted| conditions.iter().any(|told| told == wanted)) {
            Ok(object)
        } else {
            Err(conditions.join(", "))
        }
    })
    .await
}

/// Each as `Type=Status (Reason)`.
pub fn conditions(object: &Value) -> Vec<String> {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    let line = |c: &Value| format!("{}={} ({})", text(c, "type"), text(c, "status"), text(c, "reason"));
    conditions.iter().map(line).collect()
}

impl Life {
    /// Lived once, by the first test that asks.
    pub async fn shared() -> Result<&'static Self> {
        static LIFE: OnceCell<Result<Life, String>> = OnceCell::const_new();
        let lived = LIFE.get_or_init(async || Self::new().await.map_err(|error| error.to_string()));
        lived.await.as_ref().map_err(Error::new)
    }

    async fn new() -> Result<Self> {
        let (lab, east) = tokio::try_join!(Lab::start(), Member::bare("east"))?;
        let test = lab.scenario_as(HOME, "acme").await?;
        let mut stage = Stage { client: test.client.clone(), seen: Vec::new() };
        stage.declare(&test, &east).await?;
        for form in &FORMS {
            stage.take(form.kind, "fresh", &format!("{}-healthy", form.short)).await?;
        }
        stage.take("MemberCluster", "fresh", "east").await?;

        let operator = quick(&lab)?.start().await?;
        told(&test.client, "DistributionPolicy", "platform", &[]).await?;
        stage.take("DistributionPolicy", "in-force", "platform").await?;
        for form in &FORMS {
            stage.credentials(&test, form).await?;
        }
        stage.members(&east).await?;
        let addresses = vec![
            (east.proxy.address(), "east.example.com:6443"),
            (NOWHERE.to_owned(), "south.example.com:6443"),
        ];
        Ok(Self { lab, _operator: operator, seen: stage.seen, addresses })
    }
}

struct Stage {
    client: Client,
    seen: Vec<Seen>,
}

impl Stage {
    /// All that there is before an operator is.
    async fn declare(&self, test: &Scenario, east: &Member) -> Result<()> {
        for name in ["web", "db"] {
            test.target(name).await?;
        }
        east.namespaces(test, &["web"]).await?;
        let policy = json!({
            "from": {"namespaces": {"names": [HOME]}},
            "to": merge(test.selector(), json!({"clusters": {"names": ["local", "east"]}})),
        });
        self.apply("DistributionPolicy", "platform", policy).await?;

        let authority = pki::Authority::new("the authority")?;
        let [one, other] =
            [authority.server(&["shop.example.com"])?, authority.server(&["shop.example.com"])?];
        for form in &FORMS {
            let (good, bad) = if form.short == "tls" {
                let pair = |key: &str| json!({"tls.crt": one.certificate, "tls.key": key});
                (pair(&one.key), pair(&other.key))
            } else {
                (json!({"username": "me", "password": "the-password"}), json!({"username": "me"}))
            };
            test.source(&format!("{}-good", form.short), good).await?;
            test.source(&format!("{}-bad", form.short), bad).await?;
            for (state, source) in [
                ("healthy", "good"),
                ("waiting", "missing"),
                ("broken", "bad"),
                ("partly-failed", "good"),
                ("deletion-held", "good"),
            ] {
                self.credential(test, form, state, source, &json!({})).await?;
            }
            crate::checks::foreign(test, "db", &format!("{}-partly-failed", form.short)).await?;
        }
        let only_there = json!({"clusters": {"names": ["east"]}});
        self.credential(test, &FORMS[0], "paused", "good", &only_there).await?;
        let there_too = json!({"clusters": {"names": ["local", "east"]}});
        self.credential(test, &FORMS[0], "member-lost", "good", &there_too).await?;

        let nowhere = east.kubeconfig.replace(&east.proxy.address(), NOWHERE);
        let program = "users: [{name: u, user: {exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}}}]\n\
                       clusters: [{name: c, cluster: {server: 'https://east.example.com'}}]\n\
                       contexts: [{name: c, context: {cluster: c, user: u}}]\ncurrent-context: c\n";
        for (name, kubeconfig) in [
            ("east", Some(&*east.kubeconfig)),
            ("south", Some(&nowhere)),
            ("north", Some(program)),
            ("west", None),
        ] {
            if let Some(kubeconfig) = kubeconfig {
                let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"kubeconfig": kubeconfig}});
                let params = PatchParams::apply("test");
                test.secrets(OPERATOR_NAMESPACE).patch(name, &params, &Patch::Apply(secret)).await?;
            }
            self.apply("MemberCluster", name, json!({"kubeconfigSecretRef": {"name": name}})).await?;
        }
        Ok(())
    }

    async fn credential(
        &self,
        test: &Scenario,
        form: &Form,
        state: &str,
        source: &str,
        target: &Value,
    ) -> Result<()> {
        let spec = json!({
            "secretRef": {"name": format!("{}-{source}", form.short)}, "target": merge(test.selector(), target.clone()),
        });
        self.apply(form.kind, &format!("{}-{state}", form.short), merge(form.spec(), spec)).await
    }

    async fn apply(&self, kind: &str, name: &str, spec: Value) -> Result<()> {
        let object = json!({"apiVersion": "claviger.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        api(&self.client, kind).patch(name, &PatchParams::apply("test"), &Patch::Apply(object)).await?;
        Ok(())
    }

    /// Takes down how an object is now.
    async fn take(&mut self, kind: &'static str, state: &'static str, name: &str) -> Result<()> {
        let object = serde_json::to_value(api(&self.client, kind).get(name).await?)?;
        self.seen.push(Seen { kind, state, object });
        Ok(())
    }

    /// The same, once it tells these.
    async fn see(
        &mut self,
        kind: &'static str,
        state: &'static str,
        name: &str,
        wanted: &[&str],
    ) -> Result<()> {
        let object = told(&self.client, kind, name, wanted).await?;
        self.seen.push(Seen { kind, state, object });
        Ok(())
    }

    async fn credentials(&mut self, test: &Scenario, form: &Form) -> Result<()> {
        let kind = form.kind;
        let broken = format!("Stalled=True ({})", form.broken);
        let states: [(&'static str, &[&str]); 4] = [
            ("healthy", &["Ready=True (AllTargetsSynced)"]),
            ("waiting", &["Ready=False (SecretNotFound)"]),
            ("broken", &[&broken]),
            ("partly-failed", &["Ready=False (PartiallySynced)"]),
        ];
        for (state, wanted) in states {
            self.see(kind, state, &format!("{}-{state}", form.short), wanted).await?;
        }

        let name = format!("{}-deletion-held", form.short);
        told(&self.client, kind, &name, &["Ready=True (AllTargetsSynced)"]).await?;
        wait_accounts(test, &["web".to_owned()]).await?;
        let pod = json!({
            "metadata": {"name": name},
            "spec": {
                "containers": [{"name": "app", "image": "app"}],
                "volumes": [{"name": "secret", "secret": {"secretName": name}}],
            },
        });
        test.pods("web").create(&Default::default(), &serde_json::from_value(pod)?).await?;
        let api = api(&self.client, kind);
        wait_for(LONG, &format!("the Pod to be seen by {kind} {name}"), async || {
            let object = api.get(&name).await.map_err(|error| error.to_string())?;
            let references = object.data["status"]["references"].clone();
            if references["blocking"] == 1 { Ok(()) } else { Err(references.to_string()) }
        })
        .await?;
        api.delete(&name, &DeleteParams::default()).await?;
        self.see(kind, "deletion-held", &name, &["DeletionBlocked=True (InUse)"]).await
    }

    async fn members(&mut self, east: &Member) -> Result<()> {
        const KIND: &str = "MemberCluster";
        self.see(KIND, "waiting", "west", &["Ready=False (KubeconfigMissing)"]).await?;
        self.see(KIND, "broken", "north", &["Stalled=True (KubeconfigRefused)"]).await?;
        self.see(KIND, "never-reached", "south", &["Reachable=False (Unreachable)"]).await?;
        self.see(KIND, "healthy", "east", &["Ready=True (Connected)"]).await?;

        let client = self.client.clone();
        let paused = async |paused: bool| -> Result<()> {
            let patch = Patch::Merge(json!({"spec": {"paused": paused}}));
            api(&client, KIND).patch("east", &PatchParams::default(), &patch).await?;
            Ok(())
        };
        let credential = |state: &str| format!("{}-{state}", FORMS[0].short);
        paused(true).await?;
        self.see(KIND, "paused", "east", &["Ready=True (Paused)"]).await?;
        self.see(FORMS[0].kind, "paused", &credential("paused"), &["Ready=True (Paused)"]).await?;
        paused(false).await?;
        told(&client, KIND, "east", &["Ready=True (Connected)"]).await?;
        let lost = credential("member-lost");
        told(&client, FORMS[0].kind, &lost, &["Ready=True (AllTargetsSynced)"]).await?;

        east.proxy.refuse(true).await?;
        east.proxy.reset();
        self.see(KIND, "lost", "east", &["Reachable=False (Unreachable)"]).await?;
        let partly = ["Ready=False (PartiallySynced)", "Reconciling=True (Retrying)"];
        self.see(FORMS[0].kind, "member-lost", &lost, &partly).await?;
        api(&client, KIND).delete("east", &DeleteParams::default()).await?;
        self.see(KIND, "deletion-held", "east", &["Ready=False (Deleting)"]).await
    }
}
