// SPDX-License-Identifier: CECILL-B
//! One output of the test machine: bytes are passed on as they arrive, until a mark ends a command's output.

use std::io::{Read, Write};

use anyhow::Result;

/// Where the bytes go besides being kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// Nowhere.
    No,
    /// To this program's standard output.
    Stdout,
    /// To this program's standard error.
    Stderr,
}

impl Echo {
    fn write(self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::No => Ok(()),
            Self::Stdout => {
                let mut out = std::io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::Stderr => std::io::stderr().lock().write_all(bytes),
        }
    }
}

/// Separates a stream at its marks.
#[derive(Debug)]
pub struct Splitter {
    mark: Vec<u8>,
    /// Bytes that may be the start of a mark.
    held: Vec<u8>,
}

/// What comes out of a [`Splitter`].
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Output of the current command.
    Bytes(Vec<u8>),
    /// The current command's output is complete.
    End,
}

impl Splitter {
    /// Splits at `mark`.
    pub fn new(mark: &str) -> Self {
        Self { mark: mark.as_bytes().to_vec(), held: Vec::new() }
    }

    /// Takes what was read and gives what is certain by now.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.held.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        while let Some(at) = position(&self.held, &self.mark) {
            let rest = self.held.split_off(at + self.mark.len());
            self.held.truncate(at);
            let bytes = std::mem::replace(&mut self.held, rest);
            if !bytes.is_empty() {
                pieces.push(Piece::Bytes(bytes));
            }
            pieces.push(Piece::End);
        }
        let most = self.held.len().min(self.mark.len().saturating_sub(1));
        let kept = (0..=most).rev().find(|length| self.held.ends_with(&self.mark[..*length])).unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        let bytes = std::mem::replace(&mut self.held, rest);
        if !bytes.is_empty() {
            pieces.push(Piece::Bytes(bytes));
        }
        pieces
    }

    /// What was held back, when the stream ended without a mark.
    pub fn finish(self) -> Vec<u8> {
        self.held
    }
}

fn position(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark)
}

/// Reads `source` to its end; `ended` is called at each mark with the bytes that came before it.
/// Returns what came after the last mark.
pub fn follow(mut source: impl Read, mark: &str, echo: Echo, mut ended: impl FnMut(Vec<u8>)) -> Result<Vec<u8>> {
    let mut splitter = Splitter::new(mark);
    let mut current = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    // The reader of our output may close it (`| head`): the machine's output must be read to its end.
    let mut echo = echo;
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            // The machine was switched off.
            Err(_) => break,
        };
        for piece in splitter.feed(&buffer[..count]) {
            match piece {
                Piece::Bytes(bytes) => {
                    if echo.write(&bytes).is_err() {
                        echo = Echo::No;
                    }
                    current.extend_from_slice(&bytes);
                }
                Piece::End => ended(std::mem::take(&mut current)),
            }
        }
    }
    let rest = splitter.finish();
    let _ = echo.write(&rest);
    current.extend_from_slice(&rest);
    Ok(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_wherever_reads_end() {
        let text = b"one<end>two<<end><en<end>";
        for size in 1..text.len() {
            let mut splitter = Splitter::new("<end>");
            let mut outputs = vec![Vec::new()];
            for chunk in text.chunks(size) {
                for piece in splitter.feed(chunk) {
                    match piece {
                        Piece::Bytes(bytes) => outputs.last_mut().expect("one").extend(bytes),
                        Piece::End => outputs.push(Vec::new()),
                    }
                }
            }
            let outputs: Vec<String> =
                outputs.into_iter().map(|bytes| String::from_utf8(bytes).expect("text")).collect();
            assert_eq!(outputs, ["one", "two<", "<en", ""], "chunks of {size}");
        }
    }

    #[test]
    fn what_cannot_be_a_mark_comes_at_once() {
        let mut splitter = Splitter::new("<end>");
        assert_eq!(splitter.feed(b"abc<e"), [Piece::Bytes(b"abc".to_vec())]);
        assert_eq!(splitter.feed(b"x"), [Piece::Bytes(b"<ex".to_vec())]);
    }
}
