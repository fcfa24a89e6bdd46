//! What an agent uploads.

use fleet_proto::convert::{decode_events, decode_samples, encode_events, encode_samples};

use crate::Outcome;

pub(crate) fn run(data: &[u8]) -> Outcome {
    match data.split_first() {
        Some((0, payload)) => samples(payload),
        Some((1, payload)) => events(payload),
        _ => Outcome::Refused,
    }
}

pub(crate) fn samples(payload: &[u8]) -> Outcome {
    let Ok(samples) = decode_samples(payload) else { return Outcome::Refused };
    assert!((1..=1000).contains(&samples.len()));
    let encoded = encode_samples(&samples);
    let again = decode_samples(&encoded).expect("what was taken is taken again");
    assert_eq!(again, samples);
    assert_eq!(encode_samples(&again), encoded);
    Outcome::Taken
}

pub(crate) fn events(payload: &[u8]) -> Outcome {
    let Ok(events) = decode_events(payload) else { return Outcome::Refused };
    assert!((1..=1000).contains(&events.len()));
    let encoded = encode_events(&events);
    let again = decode_events(&encoded).expect("what was taken is taken again");
    assert_eq!(again, events);
    assert_eq!(encode_events(&again), encoded);
    Outcome::Taken
}
