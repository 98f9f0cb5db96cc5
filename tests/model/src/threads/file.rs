// SPDX-License-Identifier: CECILL-B
//! An open file and its thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::bug::Bug;
use super::ranges::{carry, Move};
use crate::command::{Mode, FENCE_SLOT};
use crate::system::User;

/// A file, shared by its descriptors and its thread.
#[derive(Debug)]
pub(super) struct File {
    pub(super) number: usize,
    pub(super) opener: User,
    pub(super) mode: Mode,
    pub(super) state: Mutex<State>,
    changed: Condvar,
    memory: Arc<Mutex<Vec<u8>>>,
    bug: Option<Bug>,
}

/// The mutable state of a file.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) descriptors: usize,
    pub(super) mapped: bool,
    pub(super) array: Option<Vec<u8>>,
    queue: VecDeque<Work>,
    working: bool,
    /// Whether a task waits for the thread.
    awaited: bool,
    stop: bool,
    pub(super) events: VecDeque<u32>,
    pub(super) coming: usize,
    pub(super) used: bool,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl State {
    /// Whether the thread has nothing to do.
    pub(super) fn idle(&self) -> bool {
        !self.working && self.queue.is_empty()
    }
}

/// A request for the thread.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) moves: Vec<Move>,
    pub(super) slot: u32,
    pub(super) notify: bool,
}

/// Acquires a lock, even after a panic of another thread.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl File {
    /// Creates a file with one descriptor.
    pub(super) fn new(number: usize, opener: User, mode: Mode, memory: Arc<Mutex<Vec<u8>>>, bug: Option<Bug>) -> Self {
        let state = Mutex::new(State { descriptors: 1, ..State::default() });
        Self { number, opener, mode, state, changed: Condvar::new(), memory, bug }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the thread to do something.
    pub(super) fn wait_for_thread<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.awaited = true;
        self.changed.notify_all();
        self.wait(state)
    }

    /// Waits until the thread has nothing to do.
    pub(super) fn settle(&self) {
        let mut state = lock(&self.state);
        while !state.idle() {
            state = self.wait_for_thread(state);
        }
    }

    /// Queues work for the thread.
    pub(super) fn hand_over(&self, state: &mut State, work: Work) {
        state.coming += usize::from(work.notify);
        state.queue.push_back(work);
        self.changed.notify_all();
    }

    /// Stops the thread, which drops the work that it has not begun.
    pub(super) fn stop(&self, mut state: MutexGuard<'_, State>) {
        state.stop = true;
        state.queue.clear();
        self.changed.notify_all();
        let thread = state.thread.take();
        drop(state);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// The main function of the thread.
    pub(super) fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            if state.stop {
                return;
            }
            let work = match self.bug {
                // Waits as long as possible, so that the order is always visible.
                Some(Bug::NewestFirst) if !state.awaited => None,
                Some(Bug::NewestFirst) => state.queue.pop_back(),
                _ => state.queue.pop_front(),
            };
            let Some(work) = work else {
                state.awaited = false;
                state = self.wait(state);
                continue;
            };
            state.working = true;
            drop(state);
            for one in work.moves {
                carry(&mut lock(&self.memory), one);
                std::thread::yield_now();
            }
            state = lock(&self.state);
            if self.bug != Some(Bug::StatusForgotten) || work.slot == FENCE_SLOT {
                if let Some(array) = &mut state.array {
                    array[work.slot as usize] = 1;
                }
            }
            if work.notify {
                state.coming -= 1;
                state.events.push_back(work.slot);
            }
            state.working = false;
            self.changed.notify_all();
        }
    }
}
