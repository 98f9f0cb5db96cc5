// SPDX-License-Identifier: CECILL-B
//! Cookies: names of regions that processes pass to each other.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a region, valid in the whole system.
///
/// It is a number without structure. Any process that has it may try to use the region, so it should be sent to the
/// intended peer only. As text, and with serde, it is sixteen hexadecimal digits.
///
/// ```
/// use knem::Cookie;
///
/// // To the peer, over any channel:
/// let text = Cookie::from_raw(0x0123_4567_89ab_cdef).to_string();
/// // At the peer:
/// let cookie: Cookie = text.parse().expect("sixteen digits");
/// assert_eq!(cookie.as_raw(), 0x0123_4567_89ab_cdef);
/// // It does not appear in logs.
/// assert_eq!(format!("{cookie:?}"), "Cookie(..)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cookie(u64);

impl Cookie {
    /// Creates a cookie from its number, as received from the process that owns the region.
    pub const fn from_raw(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number, to be sent to another process.
    pub const fn as_raw(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Hides the number, which gives access to the region: debug output ends up in logs.
impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}

/// The error of parsing a text that is not sixteen hexadecimal digits.
#[derive(Debug, PartialEq, Eq)]
pub struct NotACookie;

impl fmt::Display for NotACookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cookie is sixteen hexadecimal digits")
    }
}

impl std::error::Error for NotACookie {}

impl FromStr for Cookie {
    type Err = NotACookie;

    fn from_str(text: &str) -> Result<Self, NotACookie> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotACookie);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NotACookie)
    }
}

/// As text.
impl Serialize for Cookie {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From text.
impl<'de> Deserialize<'de> for Cookie {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn travels_as_text() {
        let cookie = Cookie::from_raw(0x0123_4567_89ab_cdef);
        assert_eq!(cookie.to_string(), "0123456789abcdef");
        assert_eq!("0123456789abcdef".parse(), Ok(cookie));
        assert_eq!(Cookie::from_raw(1).to_string().parse(), Ok(Cookie::from_raw(1)));
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "0", "+123456789abcdef", "0123456789abcdefa", "0123456789abcdeg"] {
            assert_eq!(text.parse::<Cookie>(), Err(NotACookie), "{text:?}");
        }
    }

    #[test]
    fn travels_by_serde() {
        let text = serde_json::to_string(&Cookie::from_raw(0xab)).unwrap();
        assert_eq!(text, "\"00000000000000ab\"");
        assert_eq!(serde_json::from_str::<Cookie>(&text).unwrap(), Cookie::from_raw(0xab));
        assert!(serde_json::from_str::<Cookie>("\"xy\"").is_err());
    }

    #[test]
    fn is_not_shown_in_logs() {
        assert_eq!(format!("{:?}", Cookie::from_raw(42)), "Cookie(..)");
    }
}
