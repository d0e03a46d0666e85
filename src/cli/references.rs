//! Flags about who uses Secrets.

use clap::Args;

use crate::domain::reference_kind::{Family, Kinds, ReferencePolicy};

/// What is looked at for who uses a Secret, and which of it holds one.
#[derive(Clone, Copy, Debug, Args)]
pub struct ReferenceSettings {
    /// Which objects count as users of Secrets, in addition to those of --block-on: pods, workloads, serviceaccounts,
    /// ingresses, gateways, traefik, contour, envoygateway
    #[arg(long, env = "CLAVIGER_REFERENCES", value_name = "KINDS", value_parser = kinds)]
    #[arg(default_value = ALL, hide_default_value = true)]
    pub references: Kinds,

    /// Which of these objects block the deletion of a Secret that they use; pods always do
    #[arg(long, env = "CLAVIGER_BLOCK_ON", value_name = "KINDS", value_parser = kinds)]
    #[arg(default_value = "pods,ingresses,gateways")]
    pub block_on: Kinds,
}

/// All families, as flags have them.
pub(super) const ALL: &str = "pods,workloads,serviceaccounts,ingresses,gateways,traefik,contour,envoygateway";

impl ReferenceSettings {
    /// What the flags come to.
    #[must_use]
    pub fn policy(&self) -> ReferencePolicy {
        ReferencePolicy::new(self.references, self.block_on)
    }
}

/// Families of kinds, as `a,b`. None is taken too, as a chart sets empty variables for values that are not given.
pub(super) fn kinds(text: &str) -> Result<Kinds, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let families: Result<Vec<Family>, String> = names
        .map(|name| {
            Family::of(name).ok_or_else(|| format!("'{name}' is not one of {}", ALL.replace(',', ", ")))
        })
        .collect();
    Ok(Kinds::of(&families?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_read_and_what_is_none_is_named() {
        assert_eq!(kinds(ALL), Ok(Kinds::of(&Family::ALL)));
        assert_eq!(kinds(""), Ok(Kinds::of(&[])));
        assert_eq!(kinds(" ingresses, ,traefik"), Ok(Kinds::of(&[Family::Ingresses, Family::Traefik])));
        let error = kinds("ingresses,ingress").unwrap_err();
        assert_eq!(error, format!("'ingress' is not one of {}", ALL.replace(',', ", ")));
    }

    #[test]
    fn the_default_holds_for_what_serves_requests() {
        assert_eq!(kinds("pods,ingresses,gateways"), Ok(ReferencePolicy::default().blocking));
    }
}
