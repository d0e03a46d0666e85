//! Registry logins: user names, passwords and `.dockerconfigjson` of source Secrets.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CANARY, check, generate, grows_with_its_input, tells_no_secret};
use crate::{
    api::RegistryCredentialSpec,
    domain::{
        SecretBytes,
        content::{Content, Inputs, SourceError, SourceSecret},
        credential::CredentialSpec,
        pull::{Facts, PullSecret, State, explain},
        registry::{keyring, kubelet, registry, sample_image},
    },
};

const TYPE: &str = "kubernetes.io/dockerconfigjson";
const KEY: &str = ".dockerconfigjson";

fn specs() -> [RegistryCredentialSpec; 4] {
    [
        json!({"provider": "Custom", "server": "reg.example.com:5000/team", "keyScope": "Path"}),
        json!({"provider": "DockerHub"}),
        json!({"provider": "Quay", "quay": {"namespace": "acme"}, "username": "acme+ci"}),
        json!({"provider": "DigitalOcean"}),
    ]
    .map(|mut spec| {
        spec["secretRef"] = json!({"name": "src"});
        serde_json::from_value(spec).unwrap()
    })
}

fn render(
    spec: &RegistryCredentialSpec,
    type_: &str,
    data: &[(&str, &[u8])],
) -> Result<Content, SourceError> {
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::new(value.to_vec())));
    let source =
        SourceSecret { name: "src".into(), type_: type_.into(), data: data.collect(), version: None };
    spec.render(Inputs::new(&[source], crate::domain::certificate::fixtures::now()))
}

fn documents() -> Vec<Value> {
    let auth = STANDARD.encode(format!("robot:{CANARY}"));
    let pair = json!({"username": "robot", "password": CANARY, "email": "robot@example.com", "auth": auth});
    vec![
        json!({"auths": {"https://index.docker.io/v1/": {"auth": auth}, "reg.example.com:5000": pair}}),
        json!({"auths": {"quay.io": {"auth": auth, "email": ""}, "quay.io/acme": pair, "https://quay.io/v2/": {}}}),
        json!({"auths": {"*.example.com:5000/te": {"username": "robot", "password": CANARY}, "registry.digitalocean.com": {"username": CANARY, "password": CANARY}},
            "credHelpers": {"gcr.io": "gcloud", "123456789012.dkr.ecr.eu-central-1.amazonaws.com": "ecr-login"}, "credsStore": "desktop", "HttpHeaders": {"User-Agent": "Docker-Client"}}),
        json!({"auths": {"reg.example.com:5000/team/": {"identitytoken": CANARY, "registrytoken": CANARY, "auth": "cm9ib3Q6"},
            "docker.io": {"auth": "", "username": "robot", "password": format!("{CANARY}\n")}}}),
    ]
}

/// Whatever is accepted gives a file with one login, which kubelet matches and which gives the same file again.
fn holds(spec: &RegistryCredentialSpec, content: &Content, input: usize) -> Result<(), TestCaseError> {
    prop_assert_eq!(content.type_, TYPE);
    prop_assert!(content.data.keys().eq([KEY]) && content.notes.len() <= 2);
    let bytes = content.data[KEY].expose();
    // A byte becomes six at most, as `\u0001` does, and stands there twice, once more as base64.
    prop_assert!(bytes.len() <= 10 * input + 512, "{} bytes of {input}", bytes.len());
    let file: Value = serde_json::from_slice(bytes).expect("JSON");
    let auths = file["auths"].as_object().expect("auths");
    let (key, login) = auths.iter().next().expect("a login");
    let wanted = registry(&spec.login);
    prop_assert!(auths.len() == 1 && *key == wanted.key && kubelet::matches(key, &sample_image(&wanted)));
    let text = |field: &str| login[field].as_str().unwrap_or_default();
    let decoded = STANDARD.decode(text("auth")).expect("base64");
    prop_assert_eq!(format!("{}:{}", text("username"), text("password")).into_bytes(), decoded);
    prop_assert!(!text("username").is_empty() && !text("password").is_empty());
    prop_assert!(text("email").chars().count() <= 254 && text("password").len() <= 16_386);
    let again = render(spec, TYPE, &[(KEY, bytes)]);
    let again = again.map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(again.data[KEY].expose(), bytes);
    Ok(())
}

#[test]
fn docker_configs_are_read_or_refused() {
    let specs = specs();
    check(generate::json(documents()), |input| {
        for spec in &specs {
            match render(spec, TYPE, &[(KEY, input)]) {
                Ok(content) => holds(spec, &content, input.len())?,
                Err(error) => tells_no_secret(&error)?,
            }
        }
        Ok(())
    });
}

#[test]
fn pull_secrets_are_explained_in_few_clean_words() {
    check(generate::json(documents()), |input| {
        for type_ in keyring::PULL_TYPES {
            let data = [".dockerconfigjson", ".dockercfg"]
                .map(|key| (key.to_owned(), SecretBytes::new(input.to_vec())));
            let given = keyring::given(type_, &data.into());
            let secret = PullSecret { name: "s".into(), state: State::Known { type_: type_.into(), given } };
            let images = vec![("reg.example.com:5000/team/image".to_owned(), Vec::new())];
            let facts = Facts { images, attached: vec![secret], ..Facts::default() };
            let told = explain(&facts, crate::domain::certificate::fixtures::now()).images.remove(0);
            prop_assert!(told.entries.len() <= 121 && told.message.chars().count() < 2_000);
            for entry in told.entries {
                let key = entry.key.unwrap_or_default();
                prop_assert!(key.chars().count() <= 301 && !key.contains(char::is_control), "{:?}", key);
            }
        }
        Ok(())
    });
}

#[test]
fn user_names_and_passwords_are_read_or_refused() {
    let specs = specs();
    let inputs = [
        format!("robot\n\0{CANARY}\n"),
        format!("me\0{{\"type\": \"{CANARY}\"}}"),
        format!("\u{e9}t\u{e9}\0{CANARY}\r\n"),
    ];
    check(generate::from(inputs.map(String::into_bytes).into()), |input| {
        let mut parts = input.splitn(2, |byte| *byte == 0);
        let (name, password) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        for spec in &specs {
            match render(spec, "Opaque", &[("username", name), ("password", password)]) {
                Ok(content) => holds(spec, &content, input.len())?,
                Err(error) => tells_no_secret(&error)?,
            }
        }
        Ok(())
    });
}

#[test]
fn keys_of_any_text_are_matched_at_once() {
    let inputs =
        ["https://index.docker.io/v1/", "*.example.com:5000/team", "[::1]:5000/a", "http://a?b.*.io/v2/x"];
    check(generate::from(inputs.map(|input| input.as_bytes().to_vec()).into()), |input| {
        let key = String::from_utf8_lossy(input);
        for image in [
            "docker.io/library/nginx",
            "reg.example.com:5000/team/image",
            "[::1]:5000/a/b",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab/x",
        ] {
            let found = kubelet::first_match([&*key, "a"], image);
            prop_assert_eq!(found.is_some(), kubelet::matches(&key, image));
        }
        Ok(())
    });
}

#[test]
fn large_docker_configs_cost_what_they_weigh() {
    let specs = specs();
    let read = |value: &[u8]| {
        let _ = render(&specs[0], TYPE, &[(KEY, value)]);
    };
    let keys = |entry: &'static str| {
        move |size: usize| {
            let entries: Vec<String> =
                (0..size / (entry.len() + 8)).map(|n| format!("\"{n:05x}\":{entry}")).collect();
            format!("{{\"auths\":{{{}}}}}", entries.join(",")).into_bytes()
        }
    };
    grows_with_its_input("empty entries", 1 << 20, keys("{}"), read);
    grows_with_its_input("entries", 1 << 20, keys(r#"{"auth":"YTpi"}"#), read);
    grows_with_its_input("lists", 1 << 20, |size| b"[".repeat(size), read);
    grows_with_its_input(
        "keys that match",
        1 << 20,
        |size| {
            let entries: Vec<String> = (0..size / 40)
                .map(|n| {
                    format!(
                        "\"reg.example.com:5000/{}\":{{}}",
                        "team/image"[..n % 10].to_owned() + &"?".repeat(n % 3)
                    )
                })
                .collect();
            format!("{{\"auths\":{{{}}}}}", entries.join(",")).into_bytes()
        },
        read,
    );
    grows_with_its_input(
        "stars",
        1 << 20,
        |size| format!("{{\"auths\":{{\"{}.example.com:5000\":{{}}}}}}", "*a".repeat(size / 2)).into_bytes(),
        read,
    );
    grows_with_its_input(
        "dots",
        1 << 20,
        |size| format!("{{\"auths\":{{\"{}:5000\":{{}}}}}}", "*.".repeat(size / 2)).into_bytes(),
        read,
    );
}

/// Found: the email of a docker config went into every copy, however long it was.
#[test]
fn a_long_email_is_left_out() {
    let file = json!({"auths": {"quay.io": {"username": "me", "password": "hunter2hunter2", "email": "x".repeat(900 << 10)}}});
    let content = render(&specs()[2], TYPE, &[(KEY, file.to_string().as_bytes())]).unwrap();
    assert!(content.data[KEY].expose().len() < 300 && content.notes.join("").contains("email"));
}
