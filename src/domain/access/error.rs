//! Why a kubeconfig is not used.

use thiserror::Error;

/// Why a kubeconfig, or what Argo CD has in its place, is not used: a sentence that names the field and
/// the remedy. It never quotes a value, as any may be secret: all that it holds is static text and the number of a line.
/// `field` is the field that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AccessError {
    /// No kubeconfig is that large.
    #[error(
        "is larger than 1 MiB; keep only the context that you need: kubectl config view --raw --minify --flatten"
    )]
    TooLarge,
    /// Cannot be read at all: what it should be, and the line where reading ended, 0 when that is not known.
    #[error("is not {expected}{}", at(*.line))]
    Malformed { expected: &'static str, line: u64 },
    /// Nothing says which context is meant.
    #[error("has no `current-context`; choose one: kubectl config use-context")]
    NoContext,
    /// The context, its cluster or its user, which `field` names, is not in `list`.
    #[error(
        "`{field}` names an entry that does not exist in `{list}`; write the kubeconfig again: kubectl config view --raw --minify --flatten"
    )]
    Dangling { reason: &'static str, field: &'static str, list: &'static str },
    /// A command that would run in the operator's Pod.
    #[error(
        "`{field}` would run a command in the Pod of the operator, which is not allowed; use a token or a client certificate instead, such as the token from `claviger member-rbac`"
    )]
    Command { field: &'static str },
    /// A login to some cloud that would need its tools, and keys of the operator's Pod.
    #[error(
        "`{field}` needs a cloud's own login, which the operator does not have; use a token or a client certificate instead, such as the token from `claviger member-rbac`"
    )]
    Provider { field: &'static str },
    /// A file that would be one of the operator's Pod; `inline` is the field that holds the content itself.
    #[error(
        "`{field}` names a file, which would be read in the Pod of the operator; give its content as `{inline}` instead: kubectl config view --raw --minify --flatten"
    )]
    File { field: &'static str, inline: &'static str },
    /// Whoever answers would be believed.
    #[error(
        "`{field}` lets anybody on the network path read all credentials; give the CA of the API server instead, or allow it for all members with --allow-insecure-members"
    )]
    Insecure { field: &'static str },
    /// Everybody on the way could read along.
    #[error(
        "`server` begins with http://, so anybody on the network path can read all credentials; use https://, or allow it for all members with --allow-insecure-members"
    )]
    PlainHttp,
    /// No server.
    #[error("`server` is missing: the address of the API server, such as https://10.0.0.1:6443")]
    ServerMissing,
    /// No address of a server.
    #[error("`server` is not the address of an API server; write it as https://10.0.0.1:6443")]
    InvalidServer,
    /// A user in the address, which would be shown.
    #[error(
        "`server` has a user or password in it; remove them, because addresses are shown to everybody, and use a token or a client certificate"
    )]
    UserInServer,
    /// The cluster that Argo CD runs in.
    #[error("`server` is the cluster that Argo CD runs in; it is `local`, not a member")]
    InCluster,
    /// No name of a server.
    #[error(
        "the expected name in the certificate of the server (`tls-server-name`, `serverName`) is not a DNS name or address"
    )]
    ServerName,
    /// A proxy on the way.
    #[error("`{field}` is not supported; give an address that the operator reaches without a proxy")]
    Proxy { field: &'static str },
    /// Acting as somebody else.
    #[error(
        "`{field}` makes the operator impersonate another user, which it never does; give a token of that user instead"
    )]
    Impersonation { field: &'static str },
    /// Nothing says who asks: neither a token, nor a certificate and its key.
    #[error("has no login; give `{token}`, or `{certificate}` with `{key}`")]
    NoCredentials { token: &'static str, certificate: &'static str, key: &'static str },
    /// Two logins of which only one can be used.
    #[error("has both `{token}` and `username`; remove one of them")]
    TwoIdentities { token: &'static str },
    /// A user without a password.
    #[error("has `username` without a password; add `password`, or use a token")]
    PasswordMissing,
    /// Half of what belongs together: `field` is there, `missing` is not.
    #[error("has `{field}` without `{missing}`; the two belong together")]
    HalfPair { field: &'static str, missing: &'static str },
    /// Not base64.
    #[error(
        "`{field}` is not base64; write the kubeconfig again: kubectl config view --raw --minify --flatten"
    )]
    NotBase64 { field: &'static str },
    /// Not the certificate or key that it should be; `problem` is the end of a sentence.
    #[error("`{field}` {problem}")]
    Certificate { field: &'static str, problem: &'static str },
    /// A token that cannot stand in a header.
    #[error(
        "`{field}` has spaces, line breaks or other characters that a token cannot have; it may have been encoded twice or cut in two"
    )]
    InvalidToken { field: &'static str },
}

impl AccessError {
    /// The stable reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge => "TooLarge",
            Self::Malformed { .. } => "Malformed",
            Self::NoContext => "NoCurrentContext",
            Self::Dangling { reason, .. } => reason,
            Self::Command { .. } => "ExecNotAllowed",
            Self::Provider { .. } => "AuthProviderNotAllowed",
            Self::File { .. } => "FileNotAllowed",
            Self::Insecure { .. } => "InsecureNotAllowed",
            Self::PlainHttp => "PlainHttpNotAllowed",
            Self::ServerMissing => "ServerMissing",
            Self::InvalidServer | Self::ServerName => "InvalidServer",
            Self::UserInServer => "CredentialsInServer",
            Self::InCluster => "InCluster",
            Self::Proxy { .. } => "ProxyNotSupported",
            Self::Impersonation { .. } => "ImpersonationNotAllowed",
            Self::NoCredentials { .. } | Self::PasswordMissing => "NoCredentials",
            Self::TwoIdentities { .. } => "TwoIdentities",
            Self::HalfPair { .. } => "IncompletePair",
            Self::NotBase64 { .. } => "InvalidBase64",
            Self::Certificate { .. } => "InvalidCertificate",
            Self::InvalidToken { .. } => "InvalidToken",
        }
    }
}

fn at(line: u64) -> String {
    if line == 0 { String::new() } else { format!(": something is wrong at line {line}") }
}
