//! User names, sources, and the rest of what a login is.

use serde_json::{Value, json};

use super::{ACCEPTED, Case, custom, registry_credential};
use crate::support::Result;

#[tokio::test]
async fn user_names_of_every_registry_are_accepted() -> Result<()> {
    let longest = "é".repeat(255);
    let names = [
        // Google, Harbor, Quay, Oracle, ECR, ACR, DigitalOcean, Artifactory, a panel with e-mail addresses.
        "_json_key",
        "_json_key_base64",
        "oauth2accesstoken",
        "robot$x+y",
        "robot$project+ci-1",
        "acme+ci",
        "tenancy/user@example.com",
        "tenancy/oracleidentitycloudservice/user@example.com",
        "AWS",
        "00000000-0000-0000-0000-000000000000",
        "$oauthtoken",
        "gitlab+deploy-token-1",
        "gitlab-ci-token",
        "me@example.com",
        "CORP\\user",
        "with space",
        "ünïcödé",
        "x",
        &longest,
    ];
    let cases: Vec<Case<'_>> =
        names.iter().map(|name| (*name, json!({"username": name}), ACCEPTED)).collect();
    custom().check(&cases).await
}

#[tokio::test]
async fn what_the_panels_of_hosted_registries_accept_is_accepted() -> Result<()> {
    // `^(?=.{1,39}$)[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$`: ends, lengths, each mark alone and in a row.
    let mut names: Vec<String> =
        ["a", "Z", "0", "aB3", "a.b", "a_b", "a-b", "a..b", "a--b", "a__b", "a._-b", "9-9"]
            .map(str::to_owned)
            .to_vec();
    names.extend((1..=39).map(|length| "x".repeat(length)));
    names.push(format!("A{}Z", "._-".repeat(12)));
    names.push(format!("A{}9", "-".repeat(37)));
    let cases: Vec<Case<'_>> =
        names.iter().map(|name| (name.as_str(), json!({"username": name}), ACCEPTED)).collect();
    custom().check(&cases).await?;
    registry_credential(json!({"provider": "DockerHub", "secretRef": {"name": "src"}})).check(&cases).await
}

#[tokio::test]
async fn user_names_that_no_registry_can_take_are_refused() -> Result<()> {
    const COLON: &[&str] =
        &["spec.username", "may not contain ':', which separates the user name from the password"];
    const CONTROL: &[&str] = &["spec.username", "may not contain control characters"];
    let user = |name: &str| json!({"username": name});
    let cases: Vec<Case<'_>> = vec![
        ("colon", user("me:you"), COLON),
        ("colon at the end", user("me:"), COLON),
        ("line end", user("me\n"), CONTROL),
        ("carriage return", user("me\r"), CONTROL),
        ("tab", user("me\tyou"), CONTROL),
        ("NUL", user("me\0"), CONTROL),
        ("escape", user("\u{1b}[0m"), CONTROL),
        ("delete", user("me\u{7f}"), CONTROL),
        ("255", user(&"u".repeat(255)), ACCEPTED),
        ("256", user(&"u".repeat(256)), &["spec.username", "may not be more than 255"]),
        ("empty", user(""), &["spec.username", "should be at least 1 chars long"]),
        ("number", json!({"username": 7}), &["spec.username", "must be of type string"]),
    ];
    custom().check(&cases).await
}

#[tokio::test]
async fn robots_of_quay_belong_to_their_namespace() -> Result<()> {
    const OF: &[&str] = &["spec.username", "must be a robot of the namespace in `quay`: <namespace>+<robot>"];
    const SHORT: &[&str] =
        &["spec.username", "must end in a robot's short name: lower-case letters and digits"];
    let user = |name: &str| json!({"username": name});
    let cases: Vec<Case<'_>> = vec![
        ("robot", user("acme+ci"), ACCEPTED),
        ("robot with marks", user("acme+ci.x_y-1"), ACCEPTED),
        ("a person, or an application token", user("$oauthtoken"), ACCEPTED),
        ("no name", json!({}), ACCEPTED),
        ("another namespace's", user("other+ci"), OF),
        ("a longer namespace's", user("acmex+ci"), OF),
        ("a shorter namespace's", user("acm+ci"), OF),
        ("capitals", user("acme+CI"), SHORT),
        ("two marks", user("acme+a..b"), SHORT),
        ("no robot", user("acme+"), SHORT),
        ("two robots", user("acme+a+b"), SHORT),
        ("any, where no namespace is given", json!({"quay": null, "username": "other+CI"}), ACCEPTED),
    ];
    let quay = json!({"provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}});
    registry_credential(quay).check(&cases).await
}

#[tokio::test]
async fn users_of_oracle_belong_to_a_tenancy() -> Result<()> {
    const OF: &[&str] = &["spec.username", "must be <tenancy-namespace>/<user>"];
    let user = |name: &str| json!({"username": name});
    let cases: Vec<Case<'_>> = vec![
        ("of the Secret", json!({}), ACCEPTED),
        ("user", user("acmens/jane@example.com"), ACCEPTED),
        ("of a domain", user("acmens/OracleIdentityCloudService/jane@example.com"), ACCEPTED),
        ("without its tenancy", user("jane@example.com"), OF),
        ("tenancy alone", user("acmens/"), OF),
        ("user alone", user("/jane"), OF),
    ];
    let oracle = json!({"provider": "OCIR", "server": "fra.ocir.io", "secretRef": {"name": "src"}});
    registry_credential(oracle).check(&cases).await
}

#[tokio::test]
async fn a_source_is_a_secret_of_the_own_namespace() -> Result<()> {
    const NAME: &[&str] = &["spec.secretRef.name", "must be a valid Secret name"];
    let name = |name: &str| json!({"secretRef": {"name": name}});
    let key = |field: &str, key: &str| json!({"secretRef": {field: key}});
    let cases: Vec<Case<'_>> = vec![
        ("with keys", json!({"secretRef": {"usernameKey": ".user_1", "passwordKey": "..token-1"}}), ACCEPTED),
        ("with dots", name("a.b-c.1"), ACCEPTED),
        ("253", name(&"s".repeat(253)), ACCEPTED),
        ("254", name(&"s".repeat(254)), &["spec.secretRef.name", "more than 253"]),
        ("empty", name(""), &["spec.secretRef.name", "at least 1"]),
        ("capitals", name("Src"), NAME),
        ("underscore", name("a_b"), NAME),
        ("hyphen last", name("a-"), NAME),
        ("another namespace by a slash", name("other/src"), NAME),
        ("dots up", name("../src"), NAME),
        (
            "another namespace",
            json!({"secretRef": {"namespace": "kube-system"}}),
            &["unknown field \"spec.secretRef.namespace\""],
        ),
        ("no name", json!({"secretRef": {"name": null}}), &["spec.secretRef.name: Required value"]),
        ("none", json!({"secretRef": null}), &["`secretRef` is required"]),
        ("key with a slash", key("passwordKey", "a/b"), &["spec.secretRef.passwordKey", "should match"]),
        ("empty key", key("usernameKey", ""), &["spec.secretRef.usernameKey"]),
        (
            "key of 254",
            key("usernameKey", &"k".repeat(254)),
            &["spec.secretRef.usernameKey", "more than 253"],
        ),
    ];
    custom().check(&cases).await
}

#[tokio::test]
async fn texts_have_a_length() -> Result<()> {
    let text = |field: &str, length: usize| json!({field: "t".repeat(length)});
    let cases: Vec<Case<'_>> = vec![
        ("display name", text("displayName", 255), ACCEPTED),
        ("no display name", text("displayName", 0), &["spec.displayName", "at least 1"]),
        ("long display name", text("displayName", 256), &["spec.displayName", "more than 255"]),
        ("description", text("description", 1024), ACCEPTED),
        ("empty description", text("description", 0), ACCEPTED),
        ("long description", text("description", 1025), &["spec.description", "more than 1024"]),
        ("e-mail", json!({"email": "ci@example.com"}), ACCEPTED),
        ("no e-mail", text("email", 0), &["spec.email", "at least 1"]),
        ("long e-mail", text("email", 255), &["spec.email", "more than 254"]),
    ];
    custom().check(&cases).await
}

#[tokio::test]
async fn deletion_policies_are_three() -> Result<()> {
    let policy = |name: &str| json!({"deletionPolicy": name});
    let cases: Vec<Case<'_>> = vec![
        ("Protect", policy("Protect"), ACCEPTED),
        ("Orphan", policy("Orphan"), ACCEPTED),
        ("Force", policy("Force"), ACCEPTED),
        ("Delete", policy("Delete"), &["spec.deletionPolicy", "\"Protect\", \"Orphan\", \"Force\""]),
    ];
    custom().check(&cases).await
}

#[tokio::test]
async fn a_default_names_service_accounts() -> Result<()> {
    let accounts = |names: Value| json!({"default": {"enabled": true, "serviceAccounts": names}});
    let many: Vec<String> = (0..17).map(|n| format!("a{n}")).collect();
    let cases: Vec<Case<'_>> = vec![
        ("enabled", json!({"default": {"enabled": true}}), ACCEPTED),
        ("priority", json!({"default": {"enabled": false, "priority": -10}}), ACCEPTED),
        ("not said whether", json!({"default": {"priority": 1}}), &["spec.default.enabled", "Required"]),
        ("names", accounts(json!(["default", "ci.builder-1"])), ACCEPTED),
        ("none", accounts(json!([])), &["spec.default.serviceAccounts", "at least 1"]),
        ("many", accounts(json!(many)), &["spec.default.serviceAccounts", "at most 16"]),
        ("one twice", accounts(json!(["a", "a"])), &["spec.default.serviceAccounts[1]", "Duplicate"]),
        ("no name", accounts(json!(["Default"])), &["must be valid names of ServiceAccounts"]),
    ];
    custom().check(&cases).await
}

#[tokio::test]
async fn what_does_not_exist_is_named() -> Result<()> {
    let unknown: Vec<(&str, Value)> = vec![
        ("password", json!({"password": "inline"})),
        ("token", json!({"token": "inline"})),
        ("insecure", json!({"insecure": true})),
        // Of the design, but not of this version: taking them and doing nothing would be a lie.
        ("verify", json!({"verify": {"mode": "Enforce"}})),
    ];
    for (field, change) in unknown {
        let expected = format!("unknown field \"spec.{field}\"");
        custom().check(&[(field, change, &[&expected])]).await?;
    }
    Ok(())
}
