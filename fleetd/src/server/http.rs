//! One HTTP request: pages, metrics, or a call.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fleet_core::handshake::server::AgentIdentity;
use fleet_proto::rpc::{Code, ResponseBody, Services, Status};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;

use super::auth::{Guard, OperatorIdentity, Refused, guard_of};
use super::connections::{Call, Place, Subject};
use super::limits::{Limit, OpenCall, Shown, network};
use super::{App, pages};

/// How much of a body that nobody wants is read before the answer, so that a client that is still writing sees it.
const DRAIN_BYTES: usize = 64 * 1024;
const DRAIN_FOR: Duration = Duration::from_millis(500);
/// The longest form, bytes.
const FORM_BYTES: usize = 8 * 1024;

/// A call that may go on.
#[derive(Debug, Default)]
struct Admitted {
    proof: Option<Proof>,
    call: Option<Call>,
    open: Option<OpenCall>,
}

impl Admitted {
    /// Judges a call that is answered: what its caller holds until the answer is gone, or what to answer instead.
    fn judge(self) -> Result<(Option<Call>, Option<OpenCall>), Status> {
        self.proof.map_or(Ok(()), Proof::judge)?;
        Ok((self.call, self.open))
    }
}

/// A call whose message carries credentials. It is counted if they are not good, also if it ends before anybody knows.
#[derive(Debug)]
struct Proof {
    front: Front,
    peer: SocketAddr,
    place: Option<Arc<Place>>,
    shown: Shown,
    is_judged: bool,
}

impl Proof {
    fn judge(mut self) -> Result<(), Status> {
        self.is_judged = true;
        match self.shown.verdict() {
            None => {
                if let Some(place) = &self.place {
                    place.refused();
                }
                return self.front.count_refused(self.peer, self.shown.refused());
            }
            Some(true) => {
                if let (Some(place), Some(subject)) = (&self.place, self.shown.subject()) {
                    place.known(subject);
                }
            }
            Some(false) => {}
        }
        self.front.say(self.peer, self.shown.refused());
        Ok(())
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        if !self.is_judged && self.shown.verdict().is_none() {
            // Nobody is there to be told.
            let _ = self.front.count_refused(self.peer, self.shown.refused());
        }
    }
}

/// The body of an answer, whose call is open until it has been sent.
#[derive(Debug)]
struct Held {
    body: ResponseBody,
    _open: (Option<Call>, Option<OpenCall>),
}

impl Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The connection of a request.
fn place(request: &Request<Incoming>) -> Option<&Arc<Place>> {
    request.extensions().get()
}

/// Who was found to call.
fn subject(found: &http::Extensions) -> Option<Subject> {
    let agent = found.get::<AgentIdentity>().map(|agent| Subject::Agent(agent.agent_id));
    agent.or_else(|| found.get::<OperatorIdentity>().map(|operator| Subject::Operator(operator.user_id)))
}

/// How long the headers of a request are, as HTTP/2 counts them (RFC 9113 section 6.5.2).
fn header_bytes(request: &Request<Incoming>) -> usize {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let lengths = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
    lengths.fold(target, usize::saturating_add)
}

/// Answers requests. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Front {
    pub(super) app: Arc<App>,
    pub(super) services: Services,
}

impl Front {
    pub(super) async fn answer(
        self,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Response<ResponseBody>, Infallible> {
        if let Some(place) = place(&request) {
            place.asked();
        }
        let path = request.uri().path().to_owned();
        let response = if header_bytes(&request) > self.app.header_bytes {
            // hyper refuses by itself what does not fit into its buffers, which is not exact.
            self.app.reached.note(Limit::HeaderBytes);
            let says = format!("headers may have {} bytes\n", self.app.header_bytes);
            text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, says)
        } else {
            match guard_of(&path) {
                Some(guard) => self.call(guard, &path, peer, request).await,
                None => self.page(&path, peer, request).await,
            }
        };
        tracing::trace!(%peer, status = response.status().as_u16(), "answered");
        Ok(response)
    }

    async fn call(
        &self,
        guard: Guard,
        path: &str,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let (mut parts, body) = request.into_parts();
        let headers = parts.headers.clone();
        let response = match self.admit(guard, peer, &mut parts).await {
            Ok(admitted) => {
                let response = self.services.call(Request::from_parts(parts, body)).await;
                match admitted.judge() {
                    Ok(open) => response.map(|body| Held { body, _open: open }.boxed_unsync()),
                    Err(status) => status.into_http_response(&headers),
                }
            }
            Err(status) => {
                if parts.version < Version::HTTP_2 {
                    drain(body).await;
                }
                status.into_http_response(&headers)
            }
        };
        let procedure = super::auth::procedure(path);
        self.app.metrics.called(procedure, response.status().as_u16());
        response
    }

    /// Finds out who calls, and whether they may call now.
    async fn admit(&self, guard: Guard, peer: SocketAddr, parts: &mut Parts) -> Result<Admitted, Status> {
        let place = parts.extensions.get::<Arc<Place>>().cloned();
        match guard {
            Guard::Open => {
                let call = place.as_ref().map(Place::call).transpose()?;
                self.count(peer)?;
                Ok(Admitted { call, ..Admitted::default() })
            }
            Guard::Proof => {
                let call = place.as_ref().map(Place::call).transpose()?;
                let proof =
                    Proof { front: self.clone(), peer, place, shown: Shown::default(), is_judged: false };
                parts.extensions.insert(proof.shown.clone());
                Ok(Admitted { proof: Some(proof), call, open: None })
            }
            Guard::Agent | Guard::Operator => {
                let admitted = self.app.admit(guard, &parts.headers, &mut parts.extensions).await;
                // Credentials that are refused count as none.
                admitted.map_err(|status| {
                    let refused = parts.extensions.get();
                    let counted = status.code == Code::Unauthenticated;
                    if let (true, Some(place)) = (counted, &place) {
                        place.refused();
                    }
                    counted.then(|| self.count_refused(peer, refused).err()).flatten().unwrap_or(status)
                })?;
                if let (Some(place), Some(subject)) = (place, subject(&parts.extensions)) {
                    place.known(subject);
                }
                let agent = parts.extensions.get::<AgentIdentity>().filter(|_| guard == Guard::Agent);
                let open = agent.map(|agent| self.app.calls.take(agent.agent_id)).transpose();
                let open = open.inspect_err(|_| self.app.reached.note(Limit::CallsPerAgent))?;
                Ok(Admitted { open, ..Admitted::default() })
            }
        }
    }

    /// Counts a call without credentials.
    fn count(&self, peer: SocketAddr) -> Result<(), Status> {
        let counted = self.app.allowances.take(peer.ip(), self.app.clock.monotonic());
        counted.inspect_err(|_| self.app.reached.note(Limit::UnauthenticatedRate))
    }

    /// Counts a request whose credentials were refused.
    fn refuse(&self, peer: SocketAddr, request: &Request<Incoming>) -> Result<(), Status> {
        if let Some(place) = place(request) {
            place.refused();
        }
        self.count(peer)
    }

    /// Counts a call whose credentials were refused, and says why as long as the address is within its allowance.
    fn count_refused(&self, peer: SocketAddr, refused: Option<&Refused>) -> Result<(), Status> {
        self.count(peer)?;
        self.say(peer, refused);
        Ok(())
    }

    /// Says why a call was refused, as often as one address may have that in the log.
    fn say(&self, peer: SocketAddr, refused: Option<&Refused>) {
        let Some(refused) = refused else { return };
        let lines = &self.app.strangers_lines;
        if lines.take(network(peer.ip()), self.app.clock.monotonic()).is_some() {
            refused.say();
        }
    }

    async fn page(&self, path: &str, peer: SocketAddr, request: Request<Incoming>) -> Response<ResponseBody> {
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        if get && path == "/metrics" {
            return self.metrics(peer, request).await;
        }
        // A page is there for anybody, and so is the answer that there is none.
        let counted = self.count(peer);
        if let Some(token) = path.strip_prefix("/setup/") {
            return match counted {
                Ok(()) => self.set_up(token, request).await,
                Err(status) => too_many(&status),
            };
        }
        if request.method() == Method::POST {
            let unknown = Status::new(Code::Unimplemented, "there is no such method");
            let status = counted.err().unwrap_or(unknown);
            let headers = request.headers().clone();
            if request.version() < Version::HTTP_2 {
                drain(request.into_body()).await;
            }
            return status.into_http_response(&headers);
        }
        if let Err(status) = counted {
            return too_many(&status);
        }
        match path {
            "/" if get => html(StatusCode::OK, pages::index()),
            "/healthz" if get => health(&self.app).await,
            _ => html(StatusCode::NOT_FOUND, pages::not_found()),
        }
    }

    async fn metrics(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<ResponseBody> {
        let mut extensions = http::Extensions::new();
        match self.app.admit(Guard::Operator, request.headers(), &mut extensions).await {
            Ok(()) => {
                if let (Some(place), Some(subject)) = (place(&request), subject(&extensions)) {
                    place.known(subject);
                }
                match self.app.store.has_several_organizations().await {
                    Ok(false) => metrics_text(&self.app),
                    // They count what all organizations do.
                    Ok(true) => text(
                        StatusCode::FORBIDDEN,
                        "metrics are of the whole server, which has several organizations: --metrics-listen has \
                         them\n"
                            .to_owned(),
                    ),
                    Err(error) => {
                        text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", super::store_failed(error)))
                    }
                }
            }
            Err(status) if status.code != Code::Unauthenticated => {
                text(StatusCode::SERVICE_UNAVAILABLE, format!("{status}\n"))
            }
            Err(_) if self.refuse(peer, &request).is_err() => {
                text(StatusCode::TOO_MANY_REQUESTS, "too many calls without credentials\n".to_owned())
            }
            Err(status) => {
                let mut response = text(StatusCode::UNAUTHORIZED, format!("{status}\n"));
                let bearer = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
                response
            }
        }
    }

    async fn set_up(&self, token: &str, request: Request<Incoming>) -> Response<ResponseBody> {
        if !self.app.set_up.accepts(token) {
            return html(StatusCode::NOT_FOUND, pages::set_up_over());
        }
        match *request.method() {
            Method::GET | Method::HEAD => {
                html(StatusCode::OK, pages::set_up(&pages::SetUpForm::default(), None))
            }
            Method::POST => {
                let body = Limited::new(request.into_body(), FORM_BYTES).collect();
                let Ok(body) = tokio::time::timeout(self.app.request_timeout, body).await else {
                    return text(StatusCode::REQUEST_TIMEOUT, "the form took too long\n".to_owned());
                };
                let Ok(body) = body else {
                    return html(StatusCode::PAYLOAD_TOO_LARGE, pages::not_found());
                };
                let form = pages::SetUpForm::parse(&body.to_bytes());
                let done = match form.request(token) {
                    Ok(request) => self.app.set_up(request).await.map(drop),
                    Err(status) => Err(status),
                };
                match done {
                    Ok(()) => html(StatusCode::OK, pages::set_up_done(&form)),
                    Err(status) => html(StatusCode::BAD_REQUEST, pages::set_up(&form, Some(&status))),
                }
            }
            _ => html(StatusCode::METHOD_NOT_ALLOWED, pages::not_found()),
        }
    }
}

async fn health(app: &App) -> Response<ResponseBody> {
    if app.is_serving().await {
        text(StatusCode::OK, "ok\n".to_owned())
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "the database cannot be reached\n".to_owned())
    }
}

fn too_many(status: &Status) -> Response<ResponseBody> {
    text(StatusCode::TOO_MANY_REQUESTS, format!("{status}\n"))
}

/// The answer to whoever reads metrics on a listener of their own. Health is there too: a probe has no certificate to
/// show where the other listeners want one.
pub(super) async fn metrics_only(
    app: Arc<App>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => metrics_text(&app),
        (&Method::GET | &Method::HEAD, "/healthz") => health(&app).await,
        _ => text(StatusCode::NOT_FOUND, "there are only /metrics and /healthz here\n".to_owned()),
    })
}

fn metrics_text(app: &App) -> Response<ResponseBody> {
    let mut response = text(StatusCode::OK, app.metrics.text(&app.streams));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn drain(body: Incoming) {
    let read = Limited::new(body, DRAIN_BYTES).collect();
    // Whatever comes of it, the answer is next.
    let _ = tokio::time::timeout(DRAIN_FOR, read).await;
}

fn text(status: StatusCode, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn html(status: StatusCode, page: String) -> Response<ResponseBody> {
    let mut response = text(status, page);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(pages::POLICY));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // The link itself is a secret.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
