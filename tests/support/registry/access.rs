//! The requests that a server has noted in its log.

/// One request, answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub method: String,
    pub path: String,
    /// Without the question mark; empty when there is none.
    pub query: String,
    pub status: u16,
}

impl Access {
    /// A line of the registry's access log: `127.0.0.1 - - [time] "GET /v2/ HTTP/1.1" 401 87 "" "agent"`.
    pub(super) fn of_registry(line: &str) -> Option<Self> {
        let mut parts = line.split('"');
        let mut request = parts.nth(1)?.split(' ');
        let status = parts.next()?.split_whitespace().next()?;
        Self::new(request.next()?, request.next()?, status)
    }

    /// The line of a token-server that ends a request for a token.
    pub(super) fn of_token_server(line: &str) -> Option<Self> {
        if !line.contains(" msg=\"get token ") {
            return None;
        }
        let field = |name: &str| {
            let (_, value) = line.split_once(&format!(" {name}="))?;
            match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => value.split(' ').next(),
            }
        };
        Self::new(field("http.request.method")?, field("http.request.uri")?, field("http.response.status")?)
    }

    fn new(method: &str, target: &str, status: &str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let status = status.parse().ok()?;
        Some(Self { method: method.to_owned(), path: path.to_owned(), query: query.to_owned(), status })
    }
}

#[cfg(test)]
mod tests {
    use super::Access;

    #[test]
    fn requests_are_read_from_logs() {
        let access = |method: &str, path: &str, query: &str, status| {
            Some(Access { method: method.into(), path: path.into(), query: query.into(), status })
        };
        let line = r#"127.0.0.1 - - [22/Nov/2026:02:30:00 +0000] "GET /v2/a/tags/list?n=1 HTTP/1.1" 401 87 "" "crane/x""#;
        assert_eq!(Access::of_registry(line), access("GET", "/v2/a/tags/list", "n=1", 401));
        let other =
            r#"time="2026-11-22T02:30:00Z" level=info msg="listening on 127.0.0.1:5000" instance.id=x"#;
        assert_eq!(Access::of_registry(other), None);
        assert_eq!(Access::of_token_server(other), None);
        let line = r#"time="2026-11-22T02:21:05Z" level=info msg="get token complete" http.request.method=GET http.request.uri="/token/?service=registry" http.response.status=200 instance.id=x"#;
        assert_eq!(Access::of_token_server(line), access("GET", "/token/", "service=registry", 200));
        let begun = line.replace("\"get token complete\"", "getToken");
        assert_eq!(Access::of_token_server(&begun), None);
    }
}
