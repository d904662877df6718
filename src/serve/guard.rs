//! Who may ask: checks of every request, and headers of every response.
//!
//! A page of another site can make a browser send requests to this machine, and with a name that it
//! points here (DNS rebinding) even read the answers. So a request has to name us by an address, which
//! no site can rebind, or as `localhost`; and what does something has to come from our own page.
//!
//! Invariants: every response says that only this server may be loaded from, and not in a frame.
//!
//! Deliberately absent: passwords.

use super::question::Refusal;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;

/// What the page may load: itself.
const CONTENT: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                       img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Lets a request through that comes from our own page, or from a program.
pub(super) async fn guard(listening: IpAddr, request: Request, next: Next) -> Response {
    let mut response = match refusal(listening, request.method(), request.headers()) {
        Some(why) => Refusal::plain(StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(request).await,
    };
    let all: [(HeaderName, &'static str); 6] = [
        (CONTENT_SECURITY_POLICY, CONTENT),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in all {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request is not answered.
fn refusal(listening: IpAddr, method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or(""));
    let host = text(HOST).unwrap_or_default();
    if !is_ours(host, listening) || headers.get_all(HOST).iter().count() > 1 {
        return Some("this server answers to localhost and to its address, and to no other name");
    }
    if method == Method::GET || method == Method::HEAD {
        return None;
    }
    let own = format!("http://{host}");
    let foreign = text(ORIGIN).is_some_and(|origin| !origin.eq_ignore_ascii_case(&own));
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if foreign || site.is_some_and(|site| site != "same-origin") {
        return Some("another site may not ask questions here");
    }
    None
}

/// Whether a `Host` names this machine in a way that no other site can have pointed here.
fn is_ours(host: &str, listening: IpAddr) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // The colons of a bare IPv6 address stand inside its brackets.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    // A tunnel may have moved it to another port, but it is one.
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return false;
    }
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_local = |address: IpAddr| address.is_loopback() || !listening.is_loopback();
    address.parse().is_ok_and(is_local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn refused(method: &Method, headers: &[(&'static str, &'static str)]) -> bool {
        let pairs = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        refusal(Ipv4Addr::LOCALHOST.into(), method, &pairs.collect()).is_some()
    }

    #[test]
    fn only_addresses_and_localhost_are_ours() {
        for host in
            ["localhost", "LOCALHOST:8077", "127.0.0.1:8077", "127.0.0.1", "[::1]:9", "[::1]"]
        {
            assert!(!refused(&Method::GET, &[("host", host)]), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com:8077", "10.0.0.1", "localhost:x"] {
            assert!(refused(&Method::GET, &[("host", host)]), "{host}");
        }
        assert!(refused(&Method::GET, &[]));
        assert!(is_ours("192.168.1.5:80", Ipv4Addr::UNSPECIFIED.into()));
        assert!(!is_ours("evil.example", Ipv4Addr::UNSPECIFIED.into()));
    }

    #[test]
    fn questions_come_from_our_own_page_or_from_a_program() {
        let host = ("host", "127.0.0.1:8077");
        assert!(!refused(&Method::POST, &[host]));
        assert!(!refused(&Method::POST, &[host, ("origin", "http://127.0.0.1:8077")]));
        for origin in
            ["http://127.0.0.1:3000", "null", "https://example.com", "http://localhost:8077"]
        {
            assert!(refused(&Method::POST, &[host, ("origin", origin)]), "{origin}");
        }
        assert!(refused(&Method::POST, &[host, ("sec-fetch-site", "cross-site")]));
        assert!(!refused(&Method::POST, &[host, ("sec-fetch-site", "same-origin")]));
    }
}
