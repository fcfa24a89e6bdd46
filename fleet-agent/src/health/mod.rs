//! The agent's own page for whoever stands next to it: `/`, `/health.json` and `/metrics`.
//!
//! It is off unless asked for, on loopback unless an address is given, shows no secret and changes
//! nothing. There is no login, so a `Host` header that names a domain is refused: otherwise any web
//! page could have its own name point here and read what the browser of somebody on this host sees.

mod html;
mod metrics;
mod report;

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{self, HeaderName},
    uri::Authority,
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

pub use self::report::{HealthReport, HealthSource, LockedHealth, MinerHealth, SpoolHealth};

/// Where the page is if no address is given.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8421);

const CONNECTIONS: usize = 32;
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
const CONNECTION_WITHIN: Duration = Duration::from_secs(60);

/// Serves the page for ever.
///
/// # Cancel safety
/// Dropping it is how it ends; every connection ends with it. The future is `Send`; it panics only outside of
/// a tokio runtime.
pub async fn serve(listener: TcpListener, source: HealthSource) {
    let source = Arc::new(source);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: give the others time to finish.
                    tracing::debug!(%error, "a connection to the health page was not accepted");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let source = Arc::clone(&source);
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(|request: Request<Incoming>| {
                let response = respond(&request, &source);
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            // What a client does to its own connection is nobody's concern.
            drop(timeout(CONNECTION_WITHIN, connection).await);
        });
    }
}

fn respond<B>(request: &Request<B>, source: &HealthSource) -> Response<Full<Bytes>> {
    if !is_host_allowed(request) {
        return text(StatusCode::MISDIRECTED_REQUEST, "Open this page by the IP address of its host.\n");
    }
    let path = request.uri().path();
    let known = matches!(path, "/" | "/health.json" | "/metrics");
    if !known {
        return text(StatusCode::NOT_FOUND, "There is /, /health.json and /metrics.\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET only.\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let report = source.report();
    match path {
        "/" => answer(StatusCode::OK, "text/html; charset=utf-8", html::page(&report)),
        "/health.json" => match serde_json::to_string_pretty(&report) {
            Ok(json) => answer(StatusCode::OK, "application/json", json),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "The report cannot be written.\n"),
        },
        _ => match metrics::text(&report) {
            Ok(metrics) => answer(StatusCode::OK, metrics::CONTENT_TYPE, metrics),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written.\n"),
        },
    }
}

/// Whether the client asked for an IP address or `localhost`. One `Host` header is required.
fn is_host_allowed<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host();
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || literal.parse::<IpAddr>().is_ok()
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", text)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ];
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks_for(hosts: &[&str]) -> bool {
        let mut request = Request::builder().uri("/");
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        is_host_allowed(&request.body(()).unwrap())
    }

    #[test]
    fn only_addresses_and_localhost_are_answered() {
        for host in ["127.0.0.1", "127.0.0.1:8421", "localhost:8421", "LOCALHOST", "[::1]:8421", "10.0.0.5:1"]
        {
            assert!(asks_for(&[host]), "{host}");
        }
        for host in ["evil.example", "evil.example:8421", "localhost.evil.example", "", "a@127.0.0.1", "::1"]
        {
            assert!(!asks_for(&[host]), "{host}");
        }
        assert!(!asks_for(&[]));
        assert!(!asks_for(&["127.0.0.1", "evil.example"]));
    }
}
