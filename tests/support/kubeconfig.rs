//! Kubeconfig files.

use base64::{Engine, engine::general_purpose::STANDARD};

/// Who a kubeconfig speaks as.
pub enum Identity<'a> {
    Token(&'a str),
    Certificate { certificate: &'a str, key: &'a str },
}

/// Everything inline, so that the text can also stand in a Secret and be used from anywhere.
pub fn kubeconfig(server_url: &str, ca_pem: &str, identity: &Identity<'_>) -> String {
    let ca = STANDARD.encode(ca_pem);
    let user = match identity {
        Identity::Token(token) => format!("    token: {token}\n"),
        Identity::Certificate { certificate, key } => format!(
            "    client-certificate-data: {}\n    client-key-data: {}\n",
            STANDARD.encode(certificate),
            STANDARD.encode(key)
        ),
    };
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         contexts:\n- name: test\n  context:\n    cluster: test\n    user: test\n\
         clusters:\n- name: test\n  cluster:\n    server: {server_url}\n    certificate-authority-data: {ca}\n\
         users:\n- name: test\n  user:\n{user}"
    )
}
