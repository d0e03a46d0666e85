//! One request to a vendor, and how its parts are read: as strictly as a vendor could.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use serde_json::{Value, json};

use super::super::{https::BoxError, registry::Answer};

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Without a port.
    pub host: String,
    pub path: String,
    /// Without the question mark; empty when there is none.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why a request is refused: the HTTP status, the vendor's code for it, and words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

pub fn refuse(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status, code, message: message.into() }
}

impl Request {
    /// One to ask with: a form, by POST, unless it is changed.
    pub fn form_to(host: &str, path: &str, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Self {
            method: "POST".to_owned(),
            host: host.to_owned(),
            path: path.to_owned(),
            query: String::new(),
            headers: HeaderMap::new(),
            body: body.into(),
        };
        request.with("content-type", "application/x-www-form-urlencoded")
    }

    /// With a header, instead of one of that name.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a header"));
        self
    }

    /// With JSON instead of a form.
    pub fn with_json(self, body: &Value) -> Self {
        Self { body: body.to_string().into(), ..self.with("content-type", "application/json") }
    }

    /// Without a body, and with a query.
    pub fn by_get(mut self, query: &str) -> Self {
        self.headers.remove(CONTENT_TYPE);
        Self { method: "GET".to_owned(), query: query.to_owned(), body: Bytes::new(), ..self }
    }

    pub async fn read(request: hyper::Request<Incoming>) -> Result<Self, BoxError> {
        let (head, body) = request.into_parts();
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        Ok(Self {
            method: head.method.to_string(),
            host: host.strip_suffix(":443").unwrap_or(host).to_owned(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What stands in `Authorization` behind this scheme.
    pub fn authorization(&self, scheme: &str) -> Option<&str> {
        let (found, rest) = self.header(AUTHORIZATION.as_str())?.split_once(' ')?;
        found.eq_ignore_ascii_case(scheme).then_some(rest)
    }

    /// User and password.
    pub fn basic(&self) -> Option<(String, String)> {
        let text = String::from_utf8(STANDARD.decode(self.authorization("Basic")?).ok()?).ok()?;
        text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    pub fn is_json(&self) -> bool {
        self.content_type() == "application/json"
    }

    pub fn content_type(&self) -> &str {
        let value = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim()
    }

    /// The fields of a form. That it comes by POST, and as one, is a part of every contract that has forms.
    pub fn form(&self) -> Result<Fields, String> {
        if self.method != "POST" || self.content_type() != "application/x-www-form-urlencoded" {
            return Err(format!("a form comes by POST, not by {} {:?}", self.method, self.content_type()));
        }
        Fields::parse(&self.body)
    }

    pub fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("no JSON: {error}"))
    }
}

/// Names with their values, each at most once.
#[derive(Debug, Clone)]
pub struct Fields(BTreeMap<String, String>);

impl Fields {
    pub fn parse(encoded: &[u8]) -> Result<Self, String> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(encoded) {
            if fields.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                return Err(format!("{name} comes twice"));
            }
        }
        Ok(Self(fields))
    }

    /// Texts at the top of an object.
    pub fn of_json(object: &Value) -> Result<Self, String> {
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("a field that is no text");
        let object = object.as_object().ok_or("no object")?;
        let fields = object.iter().map(|(name, value)| Ok((name.clone(), text(value)?)));
        fields.collect::<Result<_, &str>>().map(Self).map_err(str::to_owned)
    }

    /// Vendors let unknown names pass; here they are a mistake of whoever has sent them.
    pub fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(format!("{unknown} is not in the contract")),
            None => Ok(()),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn need(&self, name: &str) -> Result<&str, String> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} is missing"))
    }

    pub fn is(&self, name: &str, wanted: &str) -> Result<(), String> {
        let found = self.need(name)?;
        if found == wanted { Ok(()) } else { Err(format!("{name} is {found:?}, not {wanted:?}")) }
    }
}

pub fn ok(body: &Value) -> Answer {
    told(200, body)
}

pub fn told(status: u16, body: &Value) -> Answer {
    Answer::status(status).header("content-type", "application/json").body(body.to_string())
}

/// RFC 6749, section 5.2.
pub fn oauth_error(refusal: &Refusal) -> Answer {
    told(refusal.status, &json!({"error": refusal.code, "error_description": refusal.message}))
}
