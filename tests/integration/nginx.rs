//! The hashes, judged by who reads them: a real nginx, and openssl.

use std::{fs, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::{
    basic_auth::{apply, data, team, wait_ready},
    scenario::Scenario,
    support::{
        Error, Result,
        debian::{debian, output},
        http, ports,
        process::Process,
        skips::skipped,
        wait::{DEADLINE, wait_for},
        workdir::Workdir,
    },
};

/// An nginx on loopback that guards `/<name>/` with the file `<name>` in its directory.
struct Nginx {
    process: Process,
    address: String,
    workdir: Workdir,
}

impl Nginx {
    /// `None`, and said so, where there is no nginx to be had.
    async fn start(names: &[&str]) -> Result<Option<Self>> {
        let workdir = Workdir::new("claviger-nginx-")?;
        let found = tokio::task::spawn_blocking(|| debian("nginx", "usr/sbin/nginx", "-v")).await?;
        let program = match found {
            Ok(program) => program,
            Err(why) => {
                skipped("hashes against a real nginx", &why.to_string())?;
                return Ok(None);
            }
        };
        let address = format!("127.0.0.1:{}", ports::free_port()?);
        let dir = workdir.path().display();
        let mut locations = String::new();
        for name in names {
            fs::create_dir_all(workdir.join("www").join(name))?;
            workdir.write(&format!("www/{name}/page"), "inside")?;
            locations +=
                &format!("location /{name}/ {{ auth_basic closed; auth_basic_user_file {dir}/{name}; }}\n");
        }
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|what| format!("{what}_temp_path {dir}/tmp-{what};\n"))
            .collect();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {dir}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}\
             server {{ listen {address}; root {dir}/www;\n{locations}}}\n}}\n"
        );
        let config = workdir.write("nginx.conf", config)?;
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-p"]).arg(workdir.path()).arg("-c").arg(config);
        let process = Process::spawn("nginx", &command, &workdir.join("nginx.log"))?;
        let mut nginx = Self { process, address, workdir };
        wait_for(DEADLINE, "nginx to answer", async || {
            nginx.process.check_running()?;
            http::get(&nginx.address, "/").await
        })
        .await?;
        Ok(Some(nginx))
    }

    /// Puts a file where nginx looks at each request.
    fn guard(&self, name: &str, htpasswd: &str) -> Result<()> {
        self.workdir.write(name, htpasswd).map(drop)
    }

    /// The status code of a request; `login` is `user:password`.
    async fn asks(&self, name: &str, login: Option<&str>) -> Result<u16> {
        let header = login
            .map_or_else(String::new, |login| format!("Authorization: Basic {}\r\n", STANDARD.encode(login)));
        let response = http::get_with(&self.address, &format!("/{name}/page"), &header).await?;
        if response.status == 200 && response.body != "inside" {
            return Err(Error::new(format!("not the page: {}", response.body)));
        }
        Ok(response.status)
    }
}

/// Each with the `format`, `hash` and key that a file for nginx comes from; a map is a line for each key.
const CASES: [(&str, &str, Option<&str>, Option<&str>); 7] = [
    ("bcrypt", "Htpasswd", None, Some("auth")),
    ("sha512", "Htpasswd", Some("Sha512Crypt"), Some("auth")),
    ("sha1", "Htpasswd", Some("Sha1"), Some("auth")),
    ("nginx-org", "NginxOrg", None, Some("htpasswd")),
    ("envoy", "EnvoyGateway", None, Some(".htpasswd")),
    ("map-bcrypt", "HtpasswdMap", None, None),
    ("map-sha512", "HtpasswdMap", Some("Sha512Crypt"), None),
];

#[tokio::test]
async fn nginx_lets_in_who_should_come_in_with_each_hash_and_nobody_else() -> Result<()> {
    let names = CASES.map(|(name, ..)| name);
    let Some(nginx) = Nginx::start(&names).await? else { return Ok(()) };
    let test = Scenario::shared().await?;
    let (client, home) = (&test.client, &test.home.name);
    // As long as bcrypt takes it, and with all that a password may hold.
    let (long, odd) = ("x".repeat(72), "p\u{e4}ss:w\u{f6}rd # \u{2603} $1$ \\ \"'");
    test.source("team", json!({"alice": "alice-password", "bob": long, "carol": odd})).await?;
    let file = async |name: &str, key: Option<&str>| -> Result<String> {
        let data = data(client, home, name).await?;
        Ok(match key {
            Some(key) => data[key].clone(),
            None => data.iter().map(|(user, hash)| format!("{user}:{hash}\n")).collect(),
        })
    };
    for (name, format, hash, key) in CASES {
        let mut spec = json!({"format": format, "users": team(&["alice", "bob", "carol"])});
        if let Some(hash) = hash {
            spec["hash"] = json!(hash);
        }
        apply(client, home, name, spec).await?;
        wait_ready(client, home, name, 1).await?;
        nginx.guard(name, &file(name, key).await?)?;
        let shorter = &long[1..];
        for (login, status) in [
            (Some("alice:alice-password".to_owned()), 200),
            (Some(format!("bob:{long}")), 200),
            (Some(format!("carol:{odd}")), 200),
            (None, 401),
            (Some("alice:wrong-password".to_owned()), 401),
            (Some("alice:".to_owned()), 401),
            (Some(format!("alice:{long}")), 401),
            (Some(format!("bob:{shorter}")), 401),
            (Some("mallory:alice-password".to_owned()), 401),
        ] {
            assert_eq!(nginx.asks(name, login.as_deref()).await?, status, "{name}: {login:?}");
        }
    }
    // After a rotation the new password is in, the old one out, and others never notice.
    test.source("team", json!({"alice": "another-password", "bob": long, "carol": odd})).await?;
    for (name, _, _, key) in CASES {
        wait_ready(client, home, name, 2).await?;
        nginx.guard(name, &file(name, key).await?)?;
        for (login, status) in
            [("alice:another-password", 200), ("alice:alice-password", 401), (&format!("bob:{long}"), 200)]
        {
            assert_eq!(nginx.asks(name, Some(login)).await?, status, "{name}: {login}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn openssl_makes_the_same_sha512_crypt() -> Result<()> {
    if let Err(why) = output(Command::new("openssl").arg("version")) {
        skipped("sha512-crypt against openssl", &why.to_string())?;
        return Ok(());
    }
    let test = Scenario::shared().await?;
    let (client, home) = (&test.client, &test.home.name);
    let users = ["alice", "bob"];
    test.source("team", json!({"alice": "alice-password", "bob": "x".repeat(256)})).await?;
    apply(
        client,
        home,
        "map",
        json!({"format": "HtpasswdMap", "hash": "Sha512Crypt", "users": team(&users)}),
    )
    .await?;
    wait_ready(client, home, "map", 1).await?;
    let hashes = data(client, home, "map").await?;
    for (user, password) in users.into_iter().zip(["alice-password".to_owned(), "x".repeat(256)]) {
        let salt = hashes[user].split('$').nth(2).unwrap();
        let theirs = output(Command::new("openssl").args(["passwd", "-6", "-salt", salt, &password]))?;
        assert_eq!(theirs.trim(), hashes[user]);
    }
    Ok(())
}
