//! versitygw: an S3 server that checks signatures, regions and rights, and keeps objects as files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    super::{
        binaries::go_tool,
        error::{Context, Error, Result},
        namespace::random_name,
        pki::Authority,
        place::{Place, Server},
        ports,
    },
    Key, run,
};

/// The only region that it has.
pub const REGION: &str = "eu-central-1";

/// Where buckets are. Nothing beside it may have a name that begins with it.
const BUCKETS: &str = "buckets";
const ACCESS_LOG: &str = "access.log";

/// A server over TLS, gone with its users, buckets and objects when it is dropped. Its log is kept under the same rules
/// as a control plane's.
pub struct Versitygw {
    // Before the directory that it writes into.
    server: Server,
    program: PathBuf,
    root: Key,
}

/// One request for a bucket or an object, answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The id of the access key, where the server knows it.
    pub requester: String,
    /// With the query.
    pub uri: String,
    pub status: u16,
}

impl Versitygw {
    /// It finds the bucket in the path alone.
    pub async fn start(authority: &Authority) -> Result<Self> {
        Self::with(authority, None).await
    }

    /// It also takes the bucket as a name below this domain, and has a certificate for that.
    pub async fn below(domain: &str, authority: &Authority) -> Result<Self> {
        Self::with(authority, Some(domain)).await
    }

    async fn with(authority: &Authority, domain: Option<&str>) -> Result<Self> {
        let program = tokio::task::spawn_blocking(|| go_tool("versitygw", "versitygw")).await??;
        ports::until_free(async || Self::launch(&program, authority, domain).await).await
    }

    async fn launch(program: &Path, authority: &Authority, domain: Option<&str>) -> Result<Self> {
        let below = domain.map(|domain| format!("*.{domain}"));
        let names: Vec<&str> = domain.into_iter().chain(below.as_deref()).collect();
        let place = Place::called("claviger-versitygw-", Some(authority), &names)?;
        let tls = place.tls.as_ref().ok_or_else(|| Error::new("no certificate"))?;
        for folder in [BUCKETS, "metadata", "users"] {
            fs::create_dir(place.workdir.join(folder))?;
        }
        place.workdir.write("ca.crt", authority.pem())?;
        let root = Key::random();
        let mut command = Command::new("env");
        // Each variable of whoever runs the tests could change what it does.
        command.arg("-i");
        command.arg(format!("ROOT_ACCESS_KEY={}", root.id)).arg(format!("ROOT_SECRET_KEY={}", root.secret));
        command.arg(program).args(["--port", &place.address, "--region", REGION]);
        command.arg("--cert").arg(&tls.certificate).arg("--key").arg(&tls.key);
        command.arg("--iam-dir").arg(place.workdir.join("users"));
        command.arg("--access-log").arg(place.workdir.join(ACCESS_LOG));
        if let Some(domain) = domain {
            command.args(["--virtual-domain", domain]);
        }
        // Not every file system has the extended attributes that it would use else.
        command.arg("posix").arg("--sidecar").arg(place.workdir.join("metadata"));
        command.arg(place.workdir.join(BUCKETS));
        let mut server = place.spawn("versitygw", &command)?;
        // It refuses this, as it is not signed.
        server.wait_ready(async |place| place.get("/", "").await).await?;
        Ok(Self { server, program: program.to_owned(), root })
    }

    /// Host and port, by the address.
    pub fn address(&self) -> &str {
        &self.server.place.address
    }

    /// Host and port by a name: operators of tests speak TLS there.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.server.place.port)
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}", self.host())
    }

    /// A new user, who may do nothing but with buckets of its own.
    pub async fn user(&self) -> Result<Key> {
        let key = Key::random();
        self.admin(&["create-user", "--access", &key.id, "--secret", &key.secret, "--role", "user"]).await?;
        Ok(key)
    }

    /// Replaces the secret of a user, from the next request on.
    pub async fn set_secret(&self, key: &Key) -> Result<()> {
        self.admin(&["update-user", "--access", &key.id, "--secret", &key.secret]).await
    }

    /// A new bucket, empty; its name.
    pub async fn bucket(&self, owner: &Key) -> Result<String> {
        let name = random_name("bucket");
        self.admin(&["create-bucket", "--owner", &owner.id, "--bucket", &name]).await?;
        Ok(name)
    }

    /// What stands in an object, as the server keeps it.
    pub fn object(&self, bucket: &str, key: &str) -> Result<String> {
        let file = self.server.place.workdir.join(BUCKETS).join(bucket).join(key);
        fs::read_to_string(&file).context(file.display())
    }

    /// Every request that was answered so far.
    pub fn requests(&self) -> Vec<Asked> {
        let log = fs::read_to_string(self.server.place.workdir.join(ACCESS_LOG)).unwrap_or_default();
        log.lines().filter_map(Asked::of).collect()
    }

    /// How often a list of at most one key was asked for: that is how Claviger tries a key.
    pub fn tries(&self) -> usize {
        let has = |asked: &Asked, wanted: &str| asked.uri.split(['?', '&']).any(|part| part == wanted);
        let is_try = |asked: &&Asked| has(asked, "list-type=2") && has(asked, "max-keys=1");
        self.requests().iter().filter(is_try).count()
    }

    /// What only the root user may do, by the server's own client. These requests are not among the noted ones.
    async fn admin(&self, args: &[&str]) -> Result<()> {
        let place = &self.server.place;
        let endpoint = format!("{}://{}", place.scheme(), place.address);
        let path = |name: &str| place.workdir.join(name).display().to_string();
        // Of the two that say whom to trust, the second is in place of the system's folder.
        let trusted = [("SSL_CERT_FILE", "ca.crt"), ("SSL_CERT_DIR", "none")];
        let trusted = trusted.map(|(name, file)| (name.to_owned(), path(file)));
        let root = ["--access", &self.root.id, "--secret", &self.root.secret];
        let server = ["--region", REGION, "--endpoint-url", &endpoint];
        let args = [&["admin"][..], &root, &server, args].concat();
        run(&self.program, place.workdir.path(), &trusted, &args).await.map(drop)
    }
}

impl Asked {
    /// From a line of the access log, in the format of AWS. It does not quote: what comes after the code may have spaces.
    fn of(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(' ').collect();
        // The time, third of all, is two of them.
        let [_, _, _, _, _, requester, _, _, _, uri, status, ..] = fields.as_slice() else { return None };
        let status = status.parse().ok()?;
        Some(Self { requester: (*requester).to_owned(), uri: (*uri).to_owned(), status })
    }
}

#[cfg(test)]
mod tests {
    use super::Asked;

    #[test]
    fn requests_are_read_from_the_log() {
        let line = "AKIA1 photos [22/November/2026:02:30:00 +0000] 127.0.0.1 AKIA1 4F6A s3_ListObjectsV2 - \
                    /photos?list-type=2&max-keys=1 403 AccessDenied 0 0 1 1 - claviger/1.0 - host SigV4 - AuthHeader - - - Yes";
        let asked = Asked {
            requester: "AKIA1".to_owned(),
            uri: "/photos?list-type=2&max-keys=1".to_owned(),
            status: 403,
        };
        assert_eq!(Asked::of(line), Some(asked));
        assert_eq!(Asked::of("log starts 2026-11-22 02:30:00.123 +0000 UTC m=+0.012"), None);
    }
}
