//! A hub and a member with a bit of everything that the metrics tell.

use std::collections::BTreeMap;

use claviger::api::CredentialStatus;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::{
    fleet::world::{Member, World},
    hostile_tenant::refused_status::limit,
    support::{Operator, Result, pki::Authority},
    tls,
};

pub const MEMBER: &str = "east";

pub struct Scene {
    world: World,
    member: Member,
    targets: Vec<String>,
}

impl Scene {
    pub async fn start() -> Result<Self> {
        let world = World::new(&[]).await?;
        let member = Member::bare(MEMBER).await?;
        world.join(&member, json!({"env": "prod"})).await?;
        let test = &world.test;
        let targets = test.targets(3).await?;
        member.namespaces(test, &["shop"]).await?;

        // One that is attached.
        let own = json!({"provider": "GitHub", "secretRef": {"name": "src"}, "default": {"enabled": true}});
        test.credential("attached", own).await?;
        // From now on a status that tells of a failure is refused.
        limit(&world.lab, test, "attached").await?;
        // One that goes everywhere, but to a namespace where somebody has a Secret of that name.
        let taken = json!({"metadata": {"name": "everywhere"}, "stringData": {"a": "b"}});
        test.secrets(&targets[0]).create(&PostParams::default(), &serde_json::from_value(taken)?).await?;
        test.credential("everywhere", world.spec(json!({"names": ["local", MEMBER]}))).await?;
        // One that is broken, one whose token no cloud gives, and a certificate.
        test.credential("broken", json!({"provider": "GitHub", "secretRef": {"name": "nowhere"}})).await?;
        test.source("ocean-token", json!({"token": "dop_v1_this-is-no-token"})).await?;
        let ocean = json!({"registry": "acme", "auth": {"secretRef": {"name": "ocean-token"}}});
        let minted =
            json!({"provider": "DigitalOcean", "digitalOcean": ocean, "verification": {"mode": "Off"}});
        test.credential("minted", minted).await?;
        let pair = Authority::new("authority")?.server(&["a.example.com"])?;
        test.source("tls-src", json!({"tls.crt": pair.certificate, "tls.key": pair.key})).await?;
        tls::credential(test, "certificate", json!({"secretRef": {"name": "tls-src"}})).await?;

        member.wait_copy("shop", "everywhere", "1").await?;
        let fails = |status: &CredentialStatus| status.clusters.iter().any(|row| row.namespaces.failed == 1);
        test.wait_status("everywhere", "a namespace that fails", fails).await?;
        // In the member it was everywhere once, and is not any more.
        let was_in_sync = |status: &CredentialStatus| {
            status.clusters.iter().any(|row| row.name == MEMBER && row.last_sync_time.is_some())
        };
        test.wait_status("everywhere", "the member in sync", was_in_sync).await?;
        member.occupied_namespace(test, "occupied", "everywhere").await?;
        test.wait_told("attached", "Default", "True", "Attached", &[]).await?;
        Ok(Self { world, member, targets })
    }

    /// Something to do while somebody looks.
    pub async fn work(&self) -> Result<()> {
        let test = &self.world.test;
        test.pod(&self.targets[1], "app", "everywhere").await?;
        test.secrets(&self.targets[2]).delete("everywhere", &DeleteParams::default()).await?;
        self.member.secrets("shop").delete("everywhere", &DeleteParams::default()).await?;
        test.source("src", json!({"username": "me", "password": "another-password"})).await?;
        self.member.wait_copy("shop", "everywhere", "2").await?;
        test.wait_password(&self.targets[2], "everywhere", "another-password").await
    }

    pub fn operator(&self) -> &Operator {
        &self.world.operator
    }

    pub fn home(&self) -> &str {
        &self.world.test.home.name
    }

    /// What somebody chooses in the variables of a dashboard, one time after the other.
    pub fn choices(&self, dashboard: &str) -> Vec<BTreeMap<&'static str, String>> {
        let credential = |kind: &str, name: &str| {
            let home = self.home().to_owned();
            BTreeMap::from([("namespace", home), ("kind", kind.to_owned()), ("name", name.to_owned())])
        };
        match dashboard {
            "credential" => vec![
                credential("RegistryCredential", "everywhere"),
                credential("RegistryCredential", "broken"),
                credential("TlsCredential", "certificate"),
            ],
            "member" => ["local", MEMBER].map(|name| BTreeMap::from([("cluster", name.to_owned())])).into(),
            _ => vec![BTreeMap::new()],
        }
    }
}
