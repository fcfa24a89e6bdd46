//! What Prometheus reads, in the OpenMetrics text format.

use std::sync::{Arc, Mutex, PoisonError};

use fleet_core::refusal::Code;
use fleet_core::time::UnixMillis;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::streams::{StreamKind, Streams};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    procedure: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

/// Counters and gauges. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    registry: Arc<Mutex<Registry>>,
    calls: Family<CallLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    limited: Family<LimitLabels, Counter>,
    samples_stored: Counter,
    samples_rejected: Counter,
    uploads_duplicate: Counter,
    streams_open: Family<KindLabels, Gauge>,
    connections_open: Gauge,
}

/// A connection that is counted while it lives.
#[derive(Debug)]
pub(super) struct Connection(Gauge);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(super) fn new(started: UnixMillis) -> Self {
        let mut registry = Registry::with_prefix("fleetd");
        let metrics = Self {
            registry: Arc::default(),
            calls: Family::default(),
            refusals: Family::default(),
            limited: Family::default(),
            samples_stored: Counter::default(),
            samples_rejected: Counter::default(),
            uploads_duplicate: Counter::default(),
            streams_open: Family::default(),
            connections_open: Gauge::default(),
        };
        let start: Gauge = Gauge::default();
        start.set(started.value().div_euclid(1000));
        registry.register_with_unit("start_time", "When the server started, Unix time", Unit::Seconds, start);
        registry.register("calls", "Calls answered, by procedure and HTTP status", metrics.calls.clone());
        registry.register(
            "refusals",
            "Calls refused by enrollment and handshake, by code",
            metrics.refusals.clone(),
        );
        registry.register(
            "limited",
            "What a limit refused: calls, connections and devices, by the option that sets the limit",
            metrics.limited.clone(),
        );
        registry.register("samples_stored", "Readings stored", metrics.samples_stored.clone());
        registry.register(
            "samples_rejected",
            "Readings rejected, because the device is not the agent's",
            metrics.samples_rejected.clone(),
        );
        registry.register(
            "uploads_duplicate",
            "Upload messages that came again",
            metrics.uploads_duplicate.clone(),
        );
        registry.register("streams_open", "Open streams of agents, by kind", metrics.streams_open.clone());
        registry.register("connections_open", "Open connections", metrics.connections_open.clone());
        Self { registry: Arc::new(Mutex::new(registry)), ..metrics }
    }

    /// When the TLS certificate ends; there is such a number for as long as a server speaks TLS.
    pub(super) fn certificate_end(&self) -> Gauge {
        let end = Gauge::default();
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "When the TLS certificate ends, Unix time";
        registry.register_with_unit("tls_certificate_end", help, Unit::Seconds, end.clone());
        end
    }

    pub(super) fn called(&self, procedure: Option<&'static str>, status: u16) {
        self.calls.get_or_create(&CallLabels { procedure: procedure.unwrap_or("other"), status }).inc();
    }

    pub(super) fn refused(&self, code: Code) {
        let code = match code {
            Code::InvalidArgument => "invalid_argument",
            Code::Unauthenticated => "unauthenticated",
            Code::PermissionDenied => "permission_denied",
            Code::NotFound => "not_found",
            Code::FailedPrecondition => "failed_precondition",
            Code::ResourceExhausted => "resource_exhausted",
            Code::Unavailable => "unavailable",
            Code::Internal | _ => "internal",
        };
        self.refusals.get_or_create(&RefusalLabels { code }).inc();
    }

    /// A limit refused something.
    pub(super) fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&LimitLabels { limit }).inc();
    }

    pub(super) fn stored(&self, stored: &fleet_store::Stored) {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        self.samples_stored.inc_by(count(stored.samples_accepted));
        self.samples_rejected.inc_by(count(stored.samples_rejected));
        if stored.outcome == fleet_store::UploadOutcome::Duplicate {
            self.uploads_duplicate.inc();
        }
    }

    pub(super) fn connection(&self) -> Connection {
        self.connections_open.inc();
        Connection(self.connections_open.clone())
    }

    /// The text that Prometheus reads.
    pub(super) fn text(&self, streams: &Streams) -> String {
        for (kind, label) in [
            (StreamKind::Control, "control"),
            (StreamKind::Telemetry, "telemetry"),
            (StreamKind::Events, "events"),
        ] {
            let open = i64::try_from(streams.count(kind)).unwrap_or(i64::MAX);
            self.streams_open.get_or_create(&KindLabels { kind: label }).set(open);
        }
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
