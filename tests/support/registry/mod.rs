//! A real registry on loopback, and what belongs to one: logins, a server of tokens, a client.

mod access;
mod crane;
mod faulty;
mod token_server;
mod users;

use std::{path::Path, process::Command};

use serde_json::json;

pub use access::Access;
pub use crane::{Crane, docker_config};
pub use faulty::{Answer, FaultyRegistry};
pub use token_server::TokenServer;
use users::Users;

use super::{
    binaries::go_tool,
    error::{Error, Result},
    pki::Authority,
    place::{Place, Server},
    ports,
};

/// What a registry calls itself to its token-server.
const SERVICE: &str = "registry";
/// What a token-server calls itself in its tokens.
const ISSUER: &str = "tokens";

/// Who is let in.
pub enum Auth<'a> {
    /// Everybody.
    Open,
    /// User names with their passwords, by HTTP Basic.
    Htpasswd(&'a [(&'a str, &'a str)]),
    /// Whoever brings a token of this server.
    Token(&'a TokenServer),
}

/// An empty registry, gone with its images when it is dropped. Its log is kept under the same rules as a control
/// plane's.
pub struct Registry {
    // Before the directory that it writes into.
    server: Server,
    users: Option<Users>,
}

impl Registry {
    /// Over TLS when there is an authority that signs its certificate, else over plain HTTP.
    pub async fn start(auth: Auth<'_>, authority: Option<&Authority>) -> Result<Self> {
        let program = tokio::task::spawn_blocking(|| go_tool("registry", "registry")).await??;
        ports::until_free(async || Self::launch(&program, &auth, authority).await).await
    }

    async fn launch(program: &Path, auth: &Auth<'_>, authority: Option<&Authority>) -> Result<Self> {
        let place = Place::new("claviger-registry-", authority)?;
        let (auth, users) = match auth {
            Auth::Open => (json!({}), None),
            Auth::Htpasswd(users) => {
                let users = Users::new(place.workdir.join("htpasswd"), users)?;
                (json!({"htpasswd": {"realm": "registry", "path": users.path()}}), Some(users))
            }
            Auth::Token(tokens) => {
                let keys = place.workdir.write("keys.json", tokens.keys().to_string())?;
                (
                    json!({"token": {"realm": tokens.realm(), "service": SERVICE, "issuer": ISSUER, "jwks": keys}}),
                    None,
                )
            }
        };
        let mut http = json!({"addr": place.address, "secret": "of no use to others"});
        if let Some(tls) = &place.tls {
            http["tls"] = json!({"certificate": tls.certificate, "key": tls.key});
        }
        // JSON is YAML too.
        let config = json!({"version": "0.1", "log": {"level": "info"}, "storage": {"inmemory": {}}, "http": http, "auth": auth});
        let mut command = Command::new(program);
        command.arg("serve").arg(place.workdir.write("config.yaml", config.to_string())?);
        for (key, _) in std::env::vars_os() {
            // Each of these changes the configuration.
            if ["REGISTRY_", "OTEL_"].iter().any(|prefix| key.to_string_lossy().starts_with(prefix)) {
                command.env_remove(key);
            }
        }
        // Else traces go to a collector on a well-known port.
        command.env("OTEL_TRACES_EXPORTER", "none");
        let mut server = place.spawn("registry", &command)?;
        let answered = server.wait_ready(async |place| {
            let answer = place.get("/v2/", "").await?;
            if matches!(answer.status, 200 | 401) { Ok(()) } else { Err(Error::new(answer.body)) }
        });
        answered.await?;
        Ok(Self { server, users })
    }

    /// Host and port, as image names begin.
    pub fn address(&self) -> &str {
        &self.server.place.address
    }

    /// The port alone: the certificate is also good for `localhost`.
    pub fn port(&self) -> u16 {
        self.server.place.port
    }

    /// Replaces users and passwords, from the next request on.
    pub fn set_users(&self, users: &[(&str, &str)]) -> Result<()> {
        match &self.users {
            Some(file) => file.set(users),
            None => Err(Error::new("this registry has no users of its own")),
        }
    }

    /// Every request that was answered so far, also the one that the start made. A line is written when the answer
    /// is complete, which can be a moment after the client has read it.
    pub fn requests(&self) -> Vec<Access> {
        self.server.process.log().lines().filter_map(Access::of_registry).collect()
    }
}
