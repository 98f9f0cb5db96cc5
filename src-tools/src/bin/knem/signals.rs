// SPDX-License-Identifier: CECILL-B
//! Ends a command that goes on and on: Ctrl-C, and the signals that ask a process to end.

use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::exit::Failure;

/// The signals, from now on; they do not end the process any more.
pub(crate) struct Signals(Receiver<()>);

impl Signals {
    /// Begins to watch for them.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let (sender, receiver) = channel();
        tell(sender, || ())?;
        Ok(Self(receiver))
    }

    /// Waits for as long; true if one came.
    pub(crate) fn within(&self, time: Duration) -> bool {
        !matches!(self.0.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

/// Sends a message for each signal that comes.
pub(crate) fn tell<T: Send + 'static>(
    sender: Sender<T>,
    message: impl Fn() -> T + Send + 'static,
) -> Result<(), Failure> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::Other(format!("cannot watch for signals: {error}")))?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if sender.send(message()).is_err() {
                return;
            }
        }
    });
    Ok(())
}
