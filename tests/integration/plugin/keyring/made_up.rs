//! Cases nobody would think of.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{CONFIG_JSON, Case, DOCKERCFG};
use crate::storm::dice::Dice;

const SCHEMES: [&str; 7] = ["", "", "", "https://", "http://", "HTTPS://", "//"];
const HOSTS: [&str; 26] = [
    "quay.io",
    "quay.io",
    "*.io",
    "docker.io",
    "index.docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "reg.io:5000",
    "reg.io:",
    "reg.io",
    "localhost",
    "*",
    "*.*",
    "q*y.io",
    "[fd00::1]:5000",
    "[fd00::1]",
    "",
    "QUAY.io",
    "a.b.c",
    "*.b.*",
    "me:pw@quay.io",
    "m@e@quay.io",
    "reg.io:80:80",
    "%71uay.io",
    "q%C3%A9.io",
    "[fd00::1%25en0]:5000",
];
const PATHS: [&str; 24] = [
    "",
    "",
    "",
    "/",
    "/v1/",
    "/v2/",
    "/v1",
    "/v2/acme",
    "/acme",
    "/acme/",
    "/ac",
    "/acme%2Fapi",
    "/%61cme",
    "/a?b",
    "#f",
    "/acme#%",
    "/v2/v1/acme",
    "/library",
    "/ acme",
    "/acme\u{1}",
    "//acme",
    "/a%3fcme",
    "?",
    "/acme/api/x",
];
const IMAGES: [&str; 24] = [
    "nginx",
    "nginx:1",
    "acme/api",
    "quay.io/acme/api:1",
    "quay.io/acme",
    "quay.io/acme/api/x/y",
    "localhost/acme",
    "localhost:5000/x",
    "REG/acme",
    "D/acme",
    "reg.io:5000/acme/api",
    "reg.io/acme",
    "docker.io/acme/api",
    "index.docker.io/acme",
    "[fd00::1]:5000/acme",
    "[1]/acme",
    "a.b.c/v1/acme",
    "a.b.c/v2/acme",
    "quay.io/UP",
    "quay.io//x",
    "",
    "qué.io/x",
    "[fd00::1]/acme",
    "reg.io:5000/v1/acme",
];

pub fn case(dice: &mut Dice) -> Case {
    let image = dice.pick(&IMAGES).copied().unwrap_or_default().to_owned();
    let count = 1 + dice.below(3);
    let secrets = (0..count).map(|_| secret(dice, &image)).collect();
    let image = if dice.percent(5) { text(dice, "ab.:/@-_A[]0") } else { image };
    Case { secrets, image }
}

fn secret(dice: &mut Dice, image: &str) -> (&'static str, &'static str, Vec<u8>) {
    let entries: Vec<String> =
        (0..dice.below(6)).map(|_| format!("{}:{}", Value::from(key(dice, image)), entry(dice))).collect();
    let entries = format!("{{{}}}", entries.join(","));
    let (type_, field) = if dice.percent(15) { DOCKERCFG } else { CONFIG_JSON };
    let field = if dice.percent(3) { CONFIG_JSON.1 } else { field };
    let text = if field == DOCKERCFG.1 { entries } else { format!(r#"{{"auths":{entries}}}"#) };
    (type_, field, text.into_bytes())
}

/// A key out of known parts, one that is near the image, or any text.
fn key(dice: &mut Dice, image: &str) -> String {
    let scheme = dice.one_of(SCHEMES);
    if dice.percent(10) {
        return format!("{scheme}{}", text(dice, "ab.*:[]%/@?#v12-_ \\<>\"'^{}|~!$&()+,;=éſ"));
    }
    if dice.percent(20) {
        let cut = dice.below(image.chars().count() + 1);
        return format!("{scheme}{}", image.chars().take(cut).collect::<String>());
    }
    format!("{scheme}{}{}", dice.one_of(HOSTS), dice.one_of(PATHS))
}

fn text(dice: &mut Dice, alphabet: &str) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    (0..dice.below(10)).filter_map(|_| dice.pick(&alphabet).copied()).collect()
}

fn entry(dice: &mut Dice) -> String {
    let password = dice.below(1_000);
    let auth = STANDARD.encode(format!("u:{password}"));
    match dice.below(100) {
        0 => "null".to_owned(),
        1 => "{}".to_owned(),
        2 => json!({"auth": "bm9jb2xvbg=="}).to_string(),
        3 => json!({"username": password}).to_string(),
        4..20 => json!({"auth": auth.trim_end_matches('=')}).to_string(),
        20..40 => json!({"Auth": auth, "username": "x"}).to_string(),
        _ => json!({"username": "u", "password": password.to_string(), "email": "e"}).to_string(),
    }
}
