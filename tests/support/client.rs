//! Clients from kubeconfig files.

use std::{path::Path, sync::Once};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::error::Result;

pub async fn config_from(kubeconfig: &Path) -> Result<Config> {
    install_crypto();
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

pub async fn client_from(kubeconfig: &Path) -> Result<Client> {
    Ok(Client::try_from(config_from(kubeconfig).await?)?)
}

/// rustls cannot choose by itself once a dependency brings a second provider.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that one is installed already, which is all we want.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
