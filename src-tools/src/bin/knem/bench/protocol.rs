// SPDX-License-Identifier: CECILL-B
//! What the two processes of a benchmark say to each other: a line for each request, a line for each reply.

use std::io::{BufRead, Write};

use knem::Cookie;

use super::pattern::Wrong;
use crate::exit::Failure;

/// What the first process asks of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Declare a region of this size, in place of the former one.
    Share {
        /// Bytes.
        size: usize,
        /// Others shall write it.
        writable: bool,
    },
    /// Put in the contents of this iteration.
    Fill(u32),
    /// Put in what the contents of this iteration must replace.
    Poison(u32),
    /// See whether the contents are those of this iteration.
    Check(u32),
    /// Withdraw the region.
    Unshare,
}

/// What the second process replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The region is there.
    Shared(Cookie),
    /// It is done; or the contents are right.
    Done,
    /// This byte is wrong.
    Wrong(Wrong),
    /// Bytes around the region have changed.
    Surroundings,
    /// It could not be done: exit status and sentence.
    Failed(u8, String),
}

impl Request {
    fn line(self) -> String {
        match self {
            Self::Share { size, writable } => format!("share {size} {writable}"),
            Self::Fill(iteration) => format!("fill {iteration}"),
            Self::Poison(iteration) => format!("poison {iteration}"),
            Self::Check(iteration) => format!("check {iteration}"),
            Self::Unshare => "unshare".to_owned(),
        }
    }

    fn understand(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        Some(match words[..] {
            ["share", size, writable] => Self::Share { size: size.parse().ok()?, writable: writable.parse().ok()? },
            ["fill", iteration] => Self::Fill(iteration.parse().ok()?),
            ["poison", iteration] => Self::Poison(iteration.parse().ok()?),
            ["check", iteration] => Self::Check(iteration.parse().ok()?),
            ["unshare"] => Self::Unshare,
            _ => return None,
        })
    }
}

impl Reply {
    fn line(&self) -> String {
        match self {
            Self::Shared(cookie) => format!("shared {cookie}"),
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
            ["shared", cookie] => Self::Shared(cookie.parse().ok()?),
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
            Request::Share { size: 4096, writable: true },
            Request::Fill(7),
            Request::Poison(8),
            Request::Check(0),
            Request::Unshare,
        ] {
            assert_eq!(Request::understand(&request.line()), Some(request));
        }
    }

    #[test]
    fn replies_arrive_as_sent() {
        for reply in [
            Reply::Shared(Cookie::from_raw(0xfeed)),
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
        assert_eq!(Request::understand("share 4096"), None);
        assert_eq!(Reply::understand("shared 12"), None);
        assert_eq!(Reply::understand(""), None);
    }

    #[test]
    fn a_lost_peer_is_an_error() {
        let mut line = Line::new(&b""[..], Vec::new());
        assert!(line.ask(Request::Unshare).unwrap_err().to_string().contains("ended"));
        assert_eq!(line.next_request().unwrap(), None);
    }
}
