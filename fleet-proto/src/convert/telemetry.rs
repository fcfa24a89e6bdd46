//! Samples and events.

use bytes::Bytes;
use fleet_core::endpoint::Endpoint;
use fleet_core::telemetry::{BoardSample, Discovery, Event, EventKind, MinerStatus, Sample};
use prost::Message as _;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::{ConvertError, Problem, array, required_millis, timestamp};
use crate::fleet::v1;
use crate::validate::{Path, Validate};

impl From<MinerStatus> for v1::MinerStatus {
    fn from(status: MinerStatus) -> Self {
        match status {
            MinerStatus::Mining => Self::Mining,
            MinerStatus::Idle => Self::Idle,
            MinerStatus::AuthNeeded => Self::AuthNeeded,
            MinerStatus::AuthFailed => Self::AuthFailed,
            MinerStatus::Fault => Self::Fault,
            MinerStatus::IdentityMismatch => Self::IdentityMismatch,
            // Whatever a later version adds: nothing that an older server could take for a reading.
            MinerStatus::Unreachable | _ => Self::Unreachable,
        }
    }
}

fn status(field: &'static str, value: i32) -> Result<MinerStatus, ConvertError> {
    let undefined = || ConvertError::new(field, Problem::Undefined { got: value });
    match v1::MinerStatus::try_from(value).map_err(|_| undefined())? {
        v1::MinerStatus::Mining => Ok(MinerStatus::Mining),
        v1::MinerStatus::Idle => Ok(MinerStatus::Idle),
        v1::MinerStatus::Unreachable => Ok(MinerStatus::Unreachable),
        v1::MinerStatus::AuthNeeded => Ok(MinerStatus::AuthNeeded),
        v1::MinerStatus::AuthFailed => Ok(MinerStatus::AuthFailed),
        v1::MinerStatus::Fault => Ok(MinerStatus::Fault),
        v1::MinerStatus::IdentityMismatch => Ok(MinerStatus::IdentityMismatch),
        v1::MinerStatus::Unspecified => Err(undefined()),
    }
}

fn endpoint(text: &str) -> Result<Endpoint, ConvertError> {
    text.parse().map_err(|error: fleet_core::endpoint::EndpointError| ConvertError::new("endpoint", error))
}

/// A sample as a message.
#[must_use]
pub fn sample_to_message(sample: &Sample) -> v1::Sample {
    v1::Sample {
        endpoint: sample.endpoint.to_string(),
        taken_at: Some(timestamp(sample.taken_at)),
        status: v1::MinerStatus::from(sample.status).into(),
        hashrate_hs: sample.hashrate_hs,
        power_w: sample.power_w,
        efficiency_j_per_th: sample.efficiency_j_per_th,
        temperature_c: sample.temperature_c,
        fan_rpm: sample.fan_rpm.clone(),
        boards: sample.boards.iter().map(board_to_message).collect(),
        uptime_s: sample.uptime_s.map(|uptime| i64::try_from(uptime).unwrap_or(i64::MAX)),
    }
}

fn board_to_message(board: &BoardSample) -> v1::BoardSample {
    v1::BoardSample {
        index: board.index,
        hashrate_hs: board.hashrate_hs,
        temperature_c: board.temperature_c,
        working_chips: board.working_chips,
    }
}

/// The sample in a message whose rules hold.
///
/// # Errors
/// [`ConvertError`] naming the field.
pub fn sample_from_message(message: &v1::Sample) -> Result<Sample, ConvertError> {
    let boards = message.boards.iter().map(|board| BoardSample {
        index: board.index,
        hashrate_hs: board.hashrate_hs,
        temperature_c: board.temperature_c,
        working_chips: board.working_chips,
    });
    Ok(Sample {
        endpoint: endpoint(&message.endpoint)?,
        taken_at: required_millis("taken_at", message.taken_at.as_ref())?,
        status: status("status", message.status)?,
        hashrate_hs: message.hashrate_hs,
        power_w: message.power_w,
        efficiency_j_per_th: message.efficiency_j_per_th,
        temperature_c: message.temperature_c,
        fan_rpm: message.fan_rpm.clone(),
        boards: boards.collect(),
        uptime_s: message.uptime_s.and_then(|uptime| u64::try_from(uptime).ok()),
    })
}

fn event_to_message(event: &Event) -> Option<v1::Event> {
    let kind = match &event.kind {
        EventKind::Discovered(found) => v1::event::Kind::Discovered(v1::MinerDiscovered {
            endpoint: found.endpoint.to_string(),
            address: found.address.clone(),
            make: cut(&found.make, 128),
            model: cut(&found.model, 128),
            firmware: cut(&found.firmware, 255),
            serial: found
                .serial
                .as_deref()
                .filter(|serial| !serial.is_empty())
                .map(|serial| cut(serial, 128)),
            mac: found.mac.map(|mac| Bytes::copy_from_slice(&mac)),
            driver: found.driver.clone(),
        }),
        EventKind::StatusChanged { endpoint, from, to } => {
            v1::event::Kind::StatusChanged(v1::MinerStatusChanged {
                endpoint: endpoint.to_string(),
                from: from.map(|from| v1::MinerStatus::from(from).into()),
                to: v1::MinerStatus::from(*to).into(),
            })
        }
        _ => return None,
    };
    Some(v1::Event { at: Some(timestamp(event.at)), kind: Some(kind) })
}

/// What a miner says of itself is for people: a text that is too long is cut, not refused.
fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

fn event_from_message(message: &v1::Event) -> Result<Event, ConvertError> {
    let kind = match message.kind.as_ref().ok_or_else(|| ConvertError::new("kind", Problem::Missing))? {
        v1::event::Kind::Discovered(found) => {
            let mac = found.mac.as_ref().map(|mac| array("mac", mac)).transpose();
            let discovery = || {
                Ok(Discovery {
                    endpoint: endpoint(&found.endpoint)?,
                    address: found.address.clone(),
                    make: found.make.clone(),
                    model: found.model.clone(),
                    firmware: found.firmware.clone(),
                    serial: found.serial.clone(),
                    mac: mac?,
                    driver: found.driver.clone(),
                })
            };
            EventKind::Discovered(discovery().map_err(|error: ConvertError| error.within("discovered"))?)
        }
        v1::event::Kind::StatusChanged(changed) => {
            let change = || {
                Ok(EventKind::StatusChanged {
                    endpoint: endpoint(&changed.endpoint)?,
                    from: changed.from.map(|from| status("from", from)).transpose()?,
                    to: status("to", changed.to)?,
                })
            };
            change().map_err(|error: ConvertError| error.within("status_changed"))?
        }
    };
    Ok(Event { at: required_millis("at", message.at.as_ref())?, kind })
}

/// Samples as the payload of UploadTelemetry. At most 1000 fit a batch.
#[must_use]
pub fn encode_samples(samples: &[Sample]) -> Bytes {
    v1::TelemetryBatch { samples: samples.iter().map(sample_to_message).collect() }.encode_to_vec().into()
}

/// Events as the payload of UploadEvents. At most 1000 fit a batch.
#[must_use]
pub fn encode_events(events: &[Event]) -> Bytes {
    v1::EventBatch { events: events.iter().filter_map(event_to_message).collect() }.encode_to_vec().into()
}

/// The most items of a batch, as the rules of both have it.
const MAX_ITEMS: u64 = 1000;

/// Refuses a batch of too many items before they are decoded: two bytes on the wire are hundreds in memory.
fn check_items(payload: &[u8], field: &'static str) -> Result<(), ConvertError> {
    let bad = |error| ConvertError::new("payload", error);
    let (mut rest, mut count) = (payload, 0);
    while !rest.is_empty() {
        let (tag, kind) = decode_key(&mut rest).map_err(bad)?;
        count += usize::from(tag == 1);
        skip_field(kind, tag, &mut rest, DecodeContext::default()).map_err(bad)?;
    }
    Ok(Path::ROOT.field(field).items(count, 0, MAX_ITEMS)?)
}

/// The samples in a payload of UploadTelemetry.
///
/// # Errors
/// [`ConvertError`] naming the field.
pub fn decode_samples(payload: &[u8]) -> Result<Vec<Sample>, ConvertError> {
    check_items(payload, "samples")?;
    let batch = v1::TelemetryBatch::decode(payload).map_err(|error| ConvertError::new("payload", error))?;
    batch.validate()?;
    let samples = batch.samples.iter().enumerate();
    samples
        .map(|(index, sample)| {
            sample_from_message(sample).map_err(|error| error.within(format_args!("samples[{index}]")))
        })
        .collect()
}

/// The events in a payload of UploadEvents.
///
/// # Errors
/// [`ConvertError`] naming the field.
pub fn decode_events(payload: &[u8]) -> Result<Vec<Event>, ConvertError> {
    check_items(payload, "events")?;
    let batch = v1::EventBatch::decode(payload).map_err(|error| ConvertError::new("payload", error))?;
    batch.validate()?;
    let events = batch.events.iter().enumerate();
    events
        .map(|(index, event)| {
            event_from_message(event).map_err(|error| error.within(format_args!("events[{index}]")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_items_are_refused_before_they_are_decoded() {
        let empty = [0x0a, 0];
        let (fits, most) = (empty.repeat(1000), empty.repeat(512 * 1024));
        let text = "must be at most 1000 items, got 524288";
        let samples = decode_samples(&most).unwrap_err().to_string();
        let events = decode_events(&most).unwrap_err().to_string();
        assert_eq!((samples, events), (format!("samples: {text}"), format!("events: {text}")));
        // As many as there may be are looked at one by one.
        assert!(decode_samples(&fits).unwrap_err().to_string().starts_with("samples[0]."));
        assert!(decode_samples(&[0x0a]).unwrap_err().to_string().starts_with("payload: "));
    }
}
