//! What a Pod's images can be pulled with, and what to do where they cannot.

use k8s_openapi::jiff::Timestamp;

use super::{
    Container, Explanation, Facts, ImageExplained, Offer, PullSecret, State, Verdict,
    judge::{Judgement, judgement},
};
use crate::domain::{
    foreign_text::foreign_text,
    registry::keyring::{Given, repository},
    schedule::{MAX_MESSAGE, MAX_NAME_EXPLAINED},
};

/// The answer for a Pod.
pub(crate) fn explain(facts: &Facts, now: Timestamp) -> Explanation {
    Explanation {
        namespace: facts.namespace.clone(),
        pod: facts.pod.clone(),
        service_account: facts.service_account.clone(),
        image_pull_secrets: facts.attached.iter().map(|secret| secret.name.clone()).collect(),
        images: facts
            .images
            .iter()
            .map(|(image, used_by)| explain_image(facts, image, used_by, now))
            .collect(),
    }
}

fn explain_image(facts: &Facts, image: &str, used_by: &[Container], now: Timestamp) -> ImageExplained {
    let repository = repository(image);
    let judged = repository.as_deref().map(|repository| judgement(&facts.attached, repository, now));
    let (verdict, message) = match (&repository, &judged) {
        (Some(repository), Some(judged)) => Case { facts, repository, used_by, judged, now }.verdict(),
        _ => (
            Verdict::InvalidImage,
            "this is not a valid image name; kubelet reports InvalidImageName and asks no registry"
                .to_owned(),
        ),
    };
    let Judgement { entries, omitted, .. } = judged.unwrap_or_default();
    let image = foreign_text(image, MAX_NAME_EXPLAINED);
    ImageExplained { image, repository, containers: used_by.to_vec(), verdict, message, entries, omitted }
}

/// One image of a Pod.
struct Case<'a> {
    facts: &'a Facts,
    repository: &'a str,
    used_by: &'a [Container],
    judged: &'a Judgement,
    now: Timestamp,
}

impl Case<'_> {
    fn verdict(&self) -> (Verdict, String) {
        let found = self.unreadable().or_else(|| self.tried()).or_else(|| self.not_needed());
        let found = found.or_else(|| self.elsewhere()).or_else(|| self.offered()).or_else(|| self.missing());
        found.unwrap_or_else(|| self.unmatched())
    }

    /// A Secret that spoils all others.
    fn unreadable(&self) -> Option<(Verdict, String)> {
        let is_unreadable =
            |secret: &&PullSecret| matches!(secret.state, State::Known { given: Given::Unreadable, .. });
        let PullSecret { name, .. } = self.facts.attached.iter().find(is_unreadable)?;
        let message = format!(
            "kubelet cannot read Secret '{name}', and so pulls nothing for this Pod, not even with its other Secrets; fix or \
             delete the Secret"
        );
        Some((Verdict::InvalidSecret, message))
    }

    fn tried(&self) -> Option<(Verdict, String)> {
        let Judgement { tried, expired, .. } = *self.judged;
        let first = self.judged.entries.first().filter(|_| tried > 0)?;
        let mut offers = self.facts.offers.iter().filter(|offer| offer.secret == first.secret);
        let offer = offers.find(|offer| offer.serves(self.repository));
        let is_expired = |offer: &Offer| offer.expires.is_some_and(|end| end <= self.now);
        if tried == expired || (tried == 1 && offer.is_some_and(is_expired)) {
            let renew = offer.map_or_else(
                || "put a new token into the Secret".to_owned(),
                |offer| format!("{} mints a new one{}", offer.credential, status_message(offer)),
            );
            return Some((
                Verdict::Expired,
                format!("the token in Secret '{}' has expired; {renew}", first.secret),
            ));
        }
        let order = if tried > 1 { format!(", and {} more after it", tried - 1) } else { String::new() };
        let tries = format!("kubelet tries Secret '{}' first{order}", first.secret);
        let Some(told) = self.failure() else {
            return Some((Verdict::Ok, tries));
        };
        let known = offer.map(status_message).unwrap_or_default();
        Some((
            Verdict::PullFails,
            format!(
                "{tries}, and the image still cannot be pulled: {told}{known}; the registry refuses the login, has no \
                such image, or does not answer"
            ),
        ))
    }

    /// What kubelet says of a pull that failed.
    fn failure(&self) -> Option<&str> {
        let failing = self.used_by.iter().find(|container| container.is_failing())?;
        let waiting = failing.waiting.as_ref()?;
        Some(if waiting.message.is_empty() { &waiting.reason } else { &waiting.message })
    }

    /// Where a Secret has to be named so that a Pod takes it.
    fn where_to_name(&self) -> String {
        if self.facts.names_its_own {
            return "the Pod names pull Secrets itself and so gets none from its ServiceAccount: name it in `imagePullSecrets` of \
                    the Pod's template"
                .to_owned();
        }
        let account = &self.facts.service_account;
        format!("name it in `imagePullSecrets` of ServiceAccount '{account}' or of the Pod's template")
    }

    /// Whether the image is there although no entry matches.
    fn not_needed(&self) -> Option<(Verdict, String)> {
        let is_there = |container: &Container| container.pulled && !container.is_failing();
        let is_there = !self.used_by.is_empty() && self.used_by.iter().all(is_there);
        let message = "no entry matches, and the image is on the node: it is public, or the node has a credential of its own";
        is_there.then(|| (Verdict::NoCredential, message.to_owned()))
    }

    /// A Secret of the namespace that the Pod does not name.
    fn elsewhere(&self) -> Option<(Verdict, String)> {
        let matching = self.facts.others.iter().filter(|(secret, _)| {
            let one = judgement(std::slice::from_ref(secret), self.repository, self.now);
            one.tried > one.expired
        });
        let (secret, on_account) = matching.max_by_key(|(_, on_account)| *on_account)?;
        let (name, account) = (&secret.name, &self.facts.service_account);
        let remedy = if *on_account && !self.facts.names_its_own {
            format!(
                "ServiceAccount '{account}' names it today and did not when the Pod was created; delete the Pod, so that its \
                 controller makes a new one"
            )
        } else {
            format!("{}; a Pod gets it only when it is created", self.where_to_name())
        };
        Some((
            Verdict::NotAttached,
            format!("Secret '{name}' has a matching entry and this Pod does not name it: {remedy}"),
        ))
    }

    /// A credential that is for this image.
    fn offered(&self) -> Option<(Verdict, String)> {
        let state = |offer: &Offer| {
            let attached = self.facts.attached.iter().find(|secret| secret.name == offer.secret);
            attached.map(|secret| &secret.state)
        };
        let serving = self.facts.offers.iter().filter(|offer| offer.serves(self.repository));
        // The most likely one: it may come here, and the Pod names it.
        let offer = serving.max_by_key(|offer| (offer.is_permitted, state(offer).is_some()))?;
        let Offer { credential, secret, .. } = offer;
        let namespace = &self.facts.namespace;
        if !offer.is_permitted {
            let message = format!(
                "{credential} is for this image but may not write its Secret '{secret}' into namespace '{namespace}': no \
                 DistributionPolicy allows it{}",
                status_message(offer)
            );
            return Some((Verdict::NoConsent, message));
        }
        match state(offer) {
            None => {
                let message = format!(
                    "{credential} is for this image and has its Secret '{secret}' in namespace '{namespace}'{}, but this Pod does \
                     not name it: {}, and create the Pod again",
                    status_message(offer),
                    self.where_to_name()
                );
                Some((Verdict::NotAttached, message))
            }
            Some(State::Missing) => {
                let message = format!(
                    "the Pod names Secret '{secret}', which does not exist; {credential} should write it{}",
                    status_message(offer)
                );
                Some((Verdict::SecretMissing, message))
            }
            Some(State::Unknown) => {
                let message = format!(
                    "you may not read Secret '{secret}', which {credential} writes for this image{}",
                    status_message(offer)
                );
                Some((Verdict::Unknown, message))
            }
            // It is there and does not match.
            Some(State::Known { .. }) => None,
        }
    }

    fn missing(&self) -> Option<(Verdict, String)> {
        let named = |wanted: fn(&State) -> bool| {
            let mut secrets = self.facts.attached.iter().filter(|secret| wanted(&secret.state));
            // One that a credential makes for other images is not what is missing.
            secrets.find(|secret| !self.facts.offers.iter().any(|offer| offer.secret == secret.name))
        };
        if let Some(PullSecret { name, .. }) = named(|state| matches!(state, State::Missing)) {
            let message = format!(
                "the Pod names Secret '{name}', which does not exist; kubelet continues without it. Create it, and the Pod \
                 uses it at its next try"
            );
            return Some((Verdict::SecretMissing, message));
        }
        let PullSecret { name, .. } = named(|state| matches!(state, State::Unknown))?;
        let message = format!("you may not read Secret '{name}', so whether it matches is not known");
        Some((Verdict::Unknown, message))
    }

    fn unmatched(&self) -> (Verdict, String) {
        if self.facts.attached.is_empty() {
            if let Some(told) = self.failure() {
                let message = format!(
                    "the Pod names no pull Secret, none that is known is for this image, and without a credential it cannot be \
                     pulled: {told}; the registry requires a login, has no such image, or does not answer"
                );
                return (Verdict::PullFails, message);
            }
            let message = "the Pod names no pull Secret, and none that is known is for this image: kubelet pulls without a \
                           credential, which is enough for a public image";
            return (Verdict::NoCredential, message.to_owned());
        }
        let near = self.judged.near.as_ref().map_or_else(
            || "kubelet pulls without a credential, which is enough only for a public image".to_owned(),
            Clone::clone,
        );
        (Verdict::WrongKey, format!("no entry of the Pod's Secrets is for {}: {near}", self.repository))
    }
}

/// What the status of a credential says, as the end of a sentence.
fn status_message(offer: &Offer) -> String {
    let told = offer
        .status_message
        .as_ref()
        .map(|told| format!(" (its status says: {})", foreign_text(told, MAX_MESSAGE)));
    told.unwrap_or_default()
}
