//! The token-server that is made for the registry: who has a login gets a token, which the registry trusts.

use std::{path::Path, process::Command};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use super::{
    super::{
        binaries::go_tool,
        error::{Error, Result},
        pki::Authority,
        ports,
    },
    Access, ISSUER, Place, SERVICE, Server, Users,
};

/// A user may pull from and push to what is below its own name: `acme` has `acme/app`, and `acme/team/app`. With
/// other repositories its tokens are valid, and say nothing of them.
pub struct TokenServer {
    server: Server,
    users: Users,
    keys: Value,
}

impl TokenServer {
    /// Over TLS when there is an authority that signs its certificate. The first user is also the one that proves that
    /// the server works.
    pub async fn start(users: &[(&str, &str)], authority: Option<&Authority>) -> Result<Self> {
        let program = tokio::task::spawn_blocking(|| go_tool("token-server", "token-server")).await??;
        ports::until_free(async || Self::launch(&program, users, authority).await).await
    }

    async fn launch(program: &Path, users: &[(&str, &str)], authority: Option<&Authority>) -> Result<Self> {
        let (user, password) = users.first().ok_or_else(|| Error::new("a token-server needs a user"))?;
        let place = Place::new("claviger-token-server-", authority)?;
        let file = Users::new(place.workdir.join("htpasswd"), users)?;
        let mut command = Command::new(program);
        command
            .args(["-addr", &place.address, "-issuer", ISSUER, "-realm", "tokens", "-passwd"])
            .arg(file.path());
        if let Some(tls) = &place.tls {
            command.arg("-tlscert").arg(&tls.certificate).arg("-tlskey").arg(&tls.key);
        }
        let mut server = place.spawn("token-server", &command)?;
        let basic = STANDARD.encode(format!("{user}:{password}"));
        let token = server.wait_ready(async |place| {
            let headers = format!("Authorization: Basic {basic}\r\n");
            let answer = place.get(&format!("/token/?service={SERVICE}"), &headers).await?;
            if answer.status == 200 { Ok(answer.body) } else { Err(Error::new(answer.body)) }
        });
        let keys = keys(&token.await?)?;
        Ok(Self { server, users: file, keys })
    }

    /// Where the registry sends its clients for a token. By name: crane goes to no address of a private network that
    /// a registry sends it to, as such a registry may mean harm.
    pub fn realm(&self) -> String {
        let Place { port, .. } = self.server.place;
        format!("{}://localhost:{port}/token/", self.server.place.scheme())
    }

    /// Replaces users and passwords, from the next request on. Tokens stay good for 15 minutes.
    pub fn set_users(&self, users: &[(&str, &str)]) -> Result<()> {
        self.users.set(users)
    }

    /// Every request for a token that was answered so far, also the one that the start made. A line is written when the
    /// answer is complete, which can be a moment after the client has read it.
    pub fn requests(&self) -> Vec<Access> {
        self.server.process.log().lines().filter_map(Access::of_token_server).collect()
    }

    pub(super) fn keys(&self) -> &Value {
        &self.keys
    }
}

/// The set of keys that a registry is to trust. The server signs with a key that it makes at its start, and puts the
/// public half in the head of its tokens, under an id of libtrust's own: a registry of version 3 finds a key by that id in
/// a key set alone, as to certificates it gives an id after RFC 7638.
fn keys(answer: &str) -> Result<Value> {
    let answer: Value = serde_json::from_str(answer)?;
    let token = answer["access_token"].as_str().unwrap_or_default();
    let head: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap_or_default())?)?;
    match &head["jwk"] {
        Value::Null => Err(Error::new("the token names no key")),
        key => Ok(json!({"keys": [key]})),
    }
}
