// SPDX-License-Identifier: CECILL-B
//! What the two processes of a benchmark say to each other: a line for each request, a line for each reply.

use std::io::{BufRead, Write};

use super::pattern::Wrong;
use crate::exit::Failure;

/// How the second process lets its memory be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through its address, or not at all.
    Address,
    /// As a region that may be read.
    ReadRegion,
    /// As a region that may be written.
    WriteRegion,
    /// Through XPMEM.
    Segment,
}

impl Way {
    const NAMES: [(Self, &'static str); 4] = [
        (Self::Address, "address"),
        (Self::ReadRegion, "read-region"),
        (Self::WriteRegion, "write-region"),
        (Self::Segment, "segment"),
    ];
}

/// What the first process asks of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Have memory of this size, to be used this way.
    Open {
        /// Bytes.
        size: usize,
        /// How it is used.
        way: Way,
    },
    /// Put in the contents of this iteration.
    Fill(u32),
    /// Put in what the contents of this iteration must replace.
    Poison(u32),
    /// See whether the contents are those of this iteration.
    Check(u32),
    /// Empty the caches.
    Evict,
    /// When the clock runs, send the memory through the ring. Replies before and after.
    Send,
    /// Receive the memory through the ring. Replies before and after.
    Receive,
    /// When the clock runs, create a single-use region, to be written or to be read. Replies before and after.
    Offer {
        /// To be written.
        writable: bool,
    },
    /// Give the memory back.
    Close,
}

/// What the second process replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The memory is there: the cookie or segment, and the address.
    Opened(Opened),
    /// It is done; or the contents are right.
    Done,
    /// This byte is wrong.
    Wrong(Wrong),
    /// Bytes around the memory have changed.
    Surroundings,
    /// It could not be done: exit status and sentence.
    Failed(u8, String),
}

/// How to reach the second process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Cookie of a region, or name of a segment; 0 without either.
    pub(crate) name: u64,
    /// Address in that process.
    pub(crate) address: usize,
}

impl Request {
    fn line(self) -> String {
        match self {
            Self::Open { size, way } => {
                let name = Way::NAMES.iter().find(|(known, _)| *known == way).map_or("", |(_, name)| name);
                format!("open {size} {name}")
            }
            Self::Fill(iteration) => format!("fill {iteration}"),
            Self::Poison(iteration) => format!("poison {iteration}"),
            Self::Check(iteration) => format!("check {iteration}"),
            Self::Evict => "evict".to_owned(),
            Self::Send => "send".to_owned(),
            Self::Receive => "receive".to_owned(),
            Self::Offer { writable } => format!("offer {writable}"),
            Self::Close => "close".to_owned(),
        }
    }

    fn understand(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        Some(match words[..] {
            ["open", size, way] => {
                let (way, _) = Way::NAMES.iter().find(|(_, name)| *name == way)?;
                Self::Open { size: size.parse().ok()?, way: *way }
            }
            ["fill", iteration] => Self::Fill(iteration.parse().ok()?),
            ["poison", iteration] => Self::Poison(iteration.parse().ok()?),
            ["check", iteration] => Self::Check(iteration.parse().ok()?),
            ["evict"] => Self::Evict,
            ["send"] => Self::Send,
            ["receive"] => Self::Receive,
            ["offer", writable] => Self::Offer { writable: writable.parse().ok()? },
            ["close"] => Self::Close,
            _ => return None,
        })
    }
}

impl Reply {
    fn line(&self) -> String {
        match self {
            Self::Opened(Opened { name, address }) => format!("opened {name} {address}"),
            Self::Done => "done".to_owned(),
            Self::Wrong(Wrong { offset, expected, found }) => format!("wrong {offset} {expected} {found}"),
            Self::Surroundings => "surroundings".to_owned(),
            Self::Failed(status, sentence) => format!("failed {status} {}", sentence.replace('\n', " ")),
        }
    }

    fn understand(line: &str) -> Option<Self> {
        if let Some((status, sentence)) = line.strip_prefix("failed ").and_then(|rest| rest.split_once(' ')) {
            return Some(Self::Failed(status.parse().ok()?, sentence.to_owned()));
        }
        let words: Vec<&str> = line.split(' ').collect();
        Some(match words[..] {
            ["opened", name, address] => {
                Self::Opened(Opened { name: name.parse().ok()?, address: address.parse().ok()? })
            }
            ["done"] => Self::Done,
            ["wrong", offset, expected, found] => Self::Wrong(Wrong {
                offset: offset.parse().ok()?,
                expected: expected.parse().ok()?,
                found: found.parse().ok()?,
            }),
            ["surroundings"] => Self::Surroundings,
            _ => return None,
        })
    }
}

/// One end of the conversation.
pub(crate) struct Line<R, W> {
    from: R,
    to: W,
}

impl<R: BufRead, W: Write> Line<R, W> {
    /// Reads from one, writes to the other.
    pub(crate) fn new(from: R, to: W) -> Self {
        Self { from, to }
    }

    /// First process: asks, and waits for the reply.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Reply, Failure> {
        self.say(&request.line())?;
        self.reply_to_last()
    }

    /// First process: waits for a further reply to what it asked.
    pub(crate) fn reply_to_last(&mut self) -> Result<Reply, Failure> {
        let line =
            self.hear()?.ok_or_else(|| Failure::Other("the second process has ended unexpectedly".to_owned()))?;
        match Reply::understand(&line) {
            Some(Reply::Failed(status, sentence)) => Err(Failure::Peer(status, sentence)),
            Some(reply) => Ok(reply),
            None => Err(Failure::Other(format!("the second process replied {line:?}"))),
        }
    }

    /// Second process: the next request, or nothing when the first process has gone.
    pub(crate) fn next_request(&mut self) -> Result<Option<Request>, Failure> {
        let Some(line) = self.hear()? else { return Ok(None) };
        let request = Request::understand(&line);
        request.map(Some).ok_or_else(|| Failure::Other(format!("the first process asked {line:?}")))
    }

    /// Second process: replies.
    pub(crate) fn reply(&mut self, reply: &Reply) -> Result<(), Failure> {
        self.say(&reply.line())
    }

    fn say(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.to, "{line}").and_then(|()| self.to.flush()).map_err(lost)
    }

    fn hear(&mut self) -> Result<Option<String>, Failure> {
        let mut line = String::new();
        let length = self.from.read_line(&mut line).map_err(lost)?;
        Ok((length > 0).then(|| line.trim_end_matches('\n').to_owned()))
    }
}

fn lost(error: std::io::Error) -> Failure {
    Failure::Other(format!("the two processes cannot talk: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_arrive_as_sent() {
        for request in [
            Request::Open { size: 4096, way: Way::WriteRegion },
            Request::Open { size: 1, way: Way::Segment },
            Request::Fill(7),
            Request::Poison(8),
            Request::Check(0),
            Request::Evict,
            Request::Send,
            Request::Receive,
            Request::Offer { writable: true },
            Request::Close,
        ] {
            assert_eq!(Request::understand(&request.line()), Some(request));
        }
    }

    #[test]
    fn replies_arrive_as_sent() {
        for reply in [
            Reply::Opened(Opened { name: 0xfeed, address: 4096 }),
            Reply::Done,
            Reply::Wrong(Wrong { offset: 3, expected: 4, found: 5 }),
            Reply::Surroundings,
            Reply::Failed(4, "permission denied: no".to_owned()),
        ] {
            assert_eq!(Reply::understand(&reply.line()), Some(reply));
        }
    }

    #[test]
    fn noise_is_not_understood() {
        assert_eq!(Request::understand("open 4096"), None);
        assert_eq!(Request::understand("open 4096 sesame"), None);
        assert_eq!(Reply::understand("opened 12"), None);
        assert_eq!(Reply::understand(""), None);
    }

    #[test]
    fn a_lost_peer_is_an_error() {
        let mut line = Line::new(&b""[..], Vec::new());
        assert!(line.ask(Request::Close).unwrap_err().to_string().contains("ended"));
        assert_eq!(line.next_request().unwrap(), None);
    }
}
