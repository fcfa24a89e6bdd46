//! What systemd, or another manager of services that speaks `sd_notify`, is told, if it asked for it.

use sd_notify::NotifyState;

/// The service does its work from now on, or has reloaded.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The service reads its files again; [`ready`] says when that is done.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => failed(&error),
    }
}

/// The service stops.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        failed(&error);
    }
}

fn failed(error: &std::io::Error) {
    tracing::warn!(%error, "the service manager cannot be told");
}
