//! Signing requests with an access key, as AWS and servers of object storage want it.
//!
//! Per "AWS Signature Version 4 for API requests"; what is different for S3, per "Signature Calculations for the
//! Authorization Header" of its API reference.

use aws_sigv4::{
    http_request::{
        self, PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode,
    },
    sign::v4,
};
use k8s_openapi::jiff::Timestamp;
use thiserror::Error;

use super::{SecretBytes, verification::Request};

/// The service whose rules are its own.
pub(crate) const S3: &str = "s3";

/// An access key of AWS, or of a server that speaks as AWS does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessKey {
    pub id: SecretBytes,
    pub secret: SecretBytes,
    /// The token of a session, of a key that is temporary.
    pub session: Option<SecretBytes>,
}

/// What a signature is good for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub region: &'a str,
    pub service: &'a str,
    pub time: Timestamp,
}

/// A request cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum SigningError {
    #[error("the access key has characters that an access key cannot have")]
    BadCharacters,
    #[error("the request cannot be signed")]
    Broken,
}

/// Adds the headers of a signature. All headers of the request are signed, and its server as it is printed: a usual port
/// must be left out.
pub(crate) fn sign(mut request: Request, key: &AccessKey, scope: Scope<'_>) -> Result<Request, SigningError> {
    let bad = |_| SigningError::BadCharacters;
    let text = |bytes: &SecretBytes| String::from_utf8(bytes.expose().to_vec()).map_err(bad);
    let session = key.session.as_ref().map(text).transpose()?;
    // It wipes its parts.
    let identity =
        aws_credential_types::Credentials::new(text(&key.id)?, text(&key.secret)?, session, None, "claviger")
            .into();
    let mut settings = SigningSettings::default();
    if scope.service == S3 {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(scope.region)
        .name(scope.service)
        .time(scope.time.into())
        .settings(settings)
        .build()
        .map_err(|_| SigningError::Broken)?
        .into();
    let url = format!("{}://{}{}", request.scheme, request.server, request.path);
    let body = request.body.as_ref().map_or(&[][..], SecretBytes::expose);
    let headers = request.headers.iter().map(|(name, value)| (*name, value.text()));
    let signable = SignableRequest::new(request.method.name(), url, headers, SignableBody::Bytes(body));
    let signable = signable.map_err(|_| SigningError::Broken)?;
    let signing = http_request::sign(signable, &params).map_err(|_| SigningError::Broken)?;
    let (instructions, _) = signing.into_parts();
    let (headers, _) = instructions.into_parts();
    request.headers.extend(headers.iter().map(|header| (header.name(), header.value().into())));
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verification::{Method, Reach, Scheme, Server};

    fn request(host: &str, path: &str) -> Request {
        Request::get(Scheme::Https, Server::parse(host).unwrap(), Reach::Public, path)
    }

    fn key(secret: &str, session: Option<&str>) -> AccessKey {
        AccessKey { id: "AKIDEXAMPLE".into(), secret: secret.into(), session: session.map(Into::into) }
    }

    fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
        let found = request.headers.iter().find(|(header, _)| *header == name);
        found.map(|(_, value)| value.text())
    }

    /// aws-signing-test-suite/v4 of awslabs: `header-signed-request.txt` of each case.
    #[test]
    fn signs_as_the_test_suite_of_aws_has_it() {
        let session = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
        let token = "host;x-amz-date;x-amz-security-token";
        for (method, path, session, signed, wanted) in [
            (
                Method::Get,
                "/",
                None,
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                Method::Post,
                "/",
                None,
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                Method::Get,
                "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
                None,
                "host;x-amz-date",
                "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
            ),
            (
                Method::Get,
                "//example//",
                None,
                "host;x-amz-date",
                "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
            ),
            (
                Method::Get,
                "/",
                Some(session),
                token,
                "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
            ),
        ] {
            let request = Request { method, ..request("example.amazonaws.com", path) };
            let key = key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", session);
            let time = "2015-08-30T12:36:00Z".parse().unwrap();
            let request =
                sign(request, &key, Scope { region: "us-east-1", service: "service", time }).unwrap();
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={signed}, Signature={wanted}"
            );
            assert_eq!(header(&request, "authorization"), Some(&*authorization), "{path}");
            assert_eq!(header(&request, "x-amz-date"), Some("20150830T123600Z"));
            assert_eq!(header(&request, "x-amz-security-token"), session);
            assert_eq!(header(&request, "x-amz-content-sha256"), None);
        }
    }

    /// docs.aws.amazon.com, Amazon S3 API reference, "Signature Calculations for the Authorization Header", its examples
    /// of GET.
    #[test]
    fn signs_as_the_examples_of_s3_have_it() {
        let key = AccessKey {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session: None,
        };
        let scope = Scope { region: "us-east-1", service: S3, time: "2013-05-24T00:00:00Z".parse().unwrap() };
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let range = ("range", "bytes=0-9".into());
        for (path, headers, signed, wanted) in [
            (
                "/?max-keys=2&prefix=J",
                vec![],
                "host;x-amz-content-sha256;x-amz-date",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
            (
                "/?lifecycle",
                vec![],
                "host;x-amz-content-sha256;x-amz-date",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "/test.txt",
                vec![range],
                "host;range;x-amz-content-sha256;x-amz-date",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
        ] {
            let request = Request { headers, ..request("examplebucket.s3.amazonaws.com", path) };
            let request = sign(request, &key, scope).unwrap();
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders={signed}, Signature={wanted}"
            );
            assert_eq!(header(&request, "authorization"), Some(&*authorization), "{path}");
            assert_eq!(header(&request, "x-amz-content-sha256"), Some(empty));
        }
    }

    #[test]
    fn what_is_sent_is_what_is_signed() {
        let time = "2026-11-22T09:10:50Z".parse().unwrap();
        let signed = |host: &str, path: &str, region: &str| {
            let scope = Scope { region, service: S3, time };
            let request = sign(request(host, path), &key("secret", None), scope).unwrap();
            header(&request, "authorization").unwrap().to_owned()
        };
        let one = signed("s3.example.com", "/a//b", "auto");
        assert_ne!(one, signed("s3.example.com:9000", "/a//b", "auto"));
        assert_ne!(one, signed("s3.example.com", "/a/b", "auto"), "a path of S3 stays as it is");
        assert_ne!(one, signed("s3.example.com", "/a//b", "eu-west-1"));
        assert_eq!(one, signed("S3.example.com.", "/a//b", "auto"));
    }

    #[test]
    fn a_key_that_is_no_text_is_told_and_not_shown() {
        let bad = AccessKey { secret: SecretBytes::new(vec![0xff, b's']), ..key("", None) };
        let time = "2026-11-22T09:10:50Z".parse().unwrap();
        let scope = Scope { region: "auto", service: S3, time };
        let error = sign(request("s3.example.com", "/"), &bad, scope).unwrap_err();
        assert_eq!(error, SigningError::BadCharacters);
        // What no header can hold, either.
        let bad = key("secret", Some("a\nb"));
        assert_eq!(sign(request("s3.example.com", "/"), &bad, scope), Err(SigningError::Broken));
    }
}
