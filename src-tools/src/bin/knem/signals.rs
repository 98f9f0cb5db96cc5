// SPDX-License-Identifier: CECILL-B
//! Signals that end a command which runs until interrupted: SIGINT, SIGTERM and SIGHUP.

use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::exit::Failure;

/// The signals, which no longer end the process.
pub(crate) struct Signals(Receiver<()>);

impl Signals {
    /// Starts to catch them.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let (sender, receiver) = channel();
        forward(sender, || ())?;
        Ok(Self(receiver))
    }

    /// Waits for a signal until the timeout; returns whether one came.
    pub(crate) fn within(&self, time: Duration) -> bool {
        !matches!(self.0.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

/// Sends a message for each signal that arrives.
pub(crate) fn forward<T: Send + 'static>(
    sender: Sender<T>,
    message: impl Fn() -> T + Send + 'static,
) -> Result<(), Failure> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::Other(format!("cannot catch signals: {error}")))?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if sender.send(message()).is_err() {
                return;
            }
        }
    });
    Ok(())
}
