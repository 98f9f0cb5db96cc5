// SPDX-License-Identifier: CECILL-B
//! The protocol between the two processes of a benchmark: one line for each request and each reply.

use std::io::{BufRead, Write};

use super::pattern::Wrong;
use crate::exit::Failure;

/// Access to the memory of the second process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By address, or no access.
    Address,
    /// A region for reading.
    ReadRegion,
    /// A region for writing.
    WriteRegion,
    /// An XPMEM segment.
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

/// A request of the first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Allocate memory.
    Open {
        /// Size in bytes.
        size: usize,
        /// Access.
        way: Way,
    },
    /// Fill the memory with the contents of this iteration.
    Fill(u32),
    /// Fill the memory with bytes that differ from the contents of this iteration.
    Poison(u32),
    /// Compare the memory with the contents of this iteration.
    Check(u32),
    /// Empty the caches.
    Evict,
    /// Send the memory through the ring once the clock runs. There is a reply before and one after.
    Send,
    /// Receive the memory through the ring. There is a reply before and one after.
    Receive,
    /// Create a single-use region once the clock runs. There is a reply before and one after.
    Offer {
        /// For writing instead of reading.
        writable: bool,
    },
    /// Release the memory.
    Close,
}

/// A reply of the second process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The memory is allocated.
    Opened(Opened),
    /// The request succeeded.
    Done,
    /// This byte is wrong.
    Wrong(Wrong),
    /// Guard bytes have changed.
    Surroundings,
    /// The request failed: exit status and message.
    Failed(u8, String),
}

/// Names of the second process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Cookie of a region, or id of a segment; 0 without either.
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

    fn parse(line: &str) -> Option<Self> {
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

    fn parse(line: &str) -> Option<Self> {
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

/// One end of the connection.
pub(crate) struct Line<R, W> {
    from: R,
    to: W,
}

impl<R: BufRead, W: Write> Line<R, W> {
    /// Reads from `from`, writes to `to`.
    pub(crate) fn new(from: R, to: W) -> Self {
        Self { from, to }
    }

    /// First process: sends a request and waits for the reply.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Reply, Failure> {
        self.say(&request.line())?;
        self.reply_to_last()
    }

    /// First process: waits for another reply to the last request.
    pub(crate) fn reply_to_last(&mut self) -> Result<Reply, Failure> {
        let line =
            self.hear()?.ok_or_else(|| Failure::Other("the second process has ended unexpectedly".to_owned()))?;
        match Reply::parse(&line) {
            Some(Reply::Failed(status, sentence)) => Err(Failure::Peer(status, sentence)),
            Some(reply) => Ok(reply),
            None => Err(Failure::Other(format!("the second process replied {line:?}"))),
        }
    }

    /// Second process: waits for the next request; `None` when the first process has closed the connection.
    pub(crate) fn next_request(&mut self) -> Result<Option<Request>, Failure> {
        let Some(line) = self.hear()? else { return Ok(None) };
        let request = Request::parse(&line);
        request.map(Some).ok_or_else(|| Failure::Other(format!("the first process requested {line:?}")))
    }

    /// Second process: sends a reply.
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
    Failure::Other(format!("the connection between the two processes failed: {error}"))
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
            assert_eq!(Request::parse(&request.line()), Some(request));
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
            assert_eq!(Reply::parse(&reply.line()), Some(reply));
        }
    }

    #[test]
    fn noise_is_not_understood() {
        assert_eq!(Request::parse("open 4096"), None);
        assert_eq!(Request::parse("open 4096 sesame"), None);
        assert_eq!(Reply::parse("opened 12"), None);
        assert_eq!(Reply::parse(""), None);
    }

    #[test]
    fn a_lost_peer_is_an_error() {
        let mut line = Line::new(&b""[..], Vec::new());
        assert!(line.ask(Request::Close).unwrap_err().to_string().contains("ended"));
        assert_eq!(line.next_request().unwrap(), None);
    }
}
