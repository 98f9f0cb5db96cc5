// SPDX-License-Identifier: CECILL-B
//! Sizes that fit: there is memory for the buffers, and a region can be created. Checked before anything is measured.

use std::num::NonZeroUsize;

use knem::{Access, Device, Memory, RegionFlags};

use super::methods::Method;
use super::results::LeftOut;
use crate::exit::Failure;
use crate::sizes::format_size;

/// The resources of a benchmark.
pub(crate) struct Capacity<'a> {
    /// Available memory in bytes, if the kernel reports it.
    pub(crate) available: Option<u64>,
    /// The driver, if regions will be created.
    pub(crate) device: Option<&'a Device>,
}

impl Capacity<'_> {
    /// Returns the sizes that fit, and the others with the reason. With `named` sizes (`--sizes`), one that does not
    /// fit is an error.
    pub(crate) fn choose(
        &self,
        sizes: &[usize],
        methods: &[Method],
        named: bool,
    ) -> Result<(Vec<usize>, Option<LeftOut>), Failure> {
        let mut ascending = sizes.to_vec();
        ascending.sort_unstable();
        // If a size does not fit, no larger one does.
        let mut reason = None;
        while let Some(size) = ascending.last() {
            match self.refused(*size, methods) {
                Some(refused) => reason = Some(refused),
                None => break,
            }
            ascending.pop();
        }
        let Some(reason) = reason else { return Ok((sizes.to_vec(), None)) };
        match ascending.last() {
            Some(largest) if named => {
                Err(Failure::Other(format!("--sizes: {reason}; sizes up to {} fit", format_size(*largest))))
            }
            None => Err(Failure::Other(format!("--sizes: {reason}"))),
            Some(largest) => {
                let (fitting, left_out) = sizes.iter().partition(|size| *size <= largest);
                Ok((fitting, Some(LeftOut { sizes: left_out, reason })))
            }
        }
    }

    /// Returns the reason why a size does not fit.
    fn refused(&self, size: usize, methods: &[Method]) -> Option<String> {
        // One buffer in each process, and one more for memcpy.
        let buffers = if methods.contains(&Method::Memcpy) { 3 } else { 2 };
        let needed = size.saturating_mul(buffers);
        if let Some(available) = self.available.filter(|available| needed as u64 > *available) {
            return Some(format!(
                "{} needs {} of memory for its buffers, but {} MiB are available",
                format_size(size),
                format_size(needed),
                available >> 20
            ));
        }
        let memory = Memory::new(NonZeroUsize::new(size)?);
        let outcome = match (memory, self.device) {
            (Ok(memory), Some(device)) => {
                device.share_memory(&memory, 0..size, Access::Write, RegionFlags::NONE).map(drop)
            }
            (memory, _) => memory.map(drop),
        };
        outcome.err().map(|error| error.to_string())
    }
}

/// Returns MemAvailable: the kernel's estimate of memory available without swapping.
pub(crate) fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use knem::fake::FakeDriver;

    const SIZES: [usize; 4] = [1 << 20, 4096, 16 << 20, 64 << 10];

    fn device(limit: u64) -> Device {
        Device::new(Box::new(FakeDriver::new().with_pin_limit(limit))).unwrap()
    }

    #[test]
    fn everything_fits_as_a_rule() {
        let device = device(u64::MAX);
        let capacity = Capacity { available: Some(1 << 30), device: Some(&device) };
        let (sizes, left_out) = capacity.choose(&SIZES, &Method::ALL, true).unwrap();
        assert_eq!((sizes.as_slice(), left_out.is_none()), (SIZES.as_slice(), true));
    }

    #[test]
    fn what_cannot_be_pinned_is_left_out() {
        let device = device(8 << 20);
        let capacity = Capacity { available: None, device: Some(&device) };
        let (sizes, left_out) = capacity.choose(&SIZES, &Method::ALL, false).unwrap();
        let left_out = left_out.unwrap();
        assert_eq!(
            (sizes.as_slice(), left_out.sizes.as_slice()),
            ([1 << 20, 4096, 64 << 10].as_slice(), [16 << 20].as_slice())
        );
        assert!(left_out.reason.starts_with("cannot pin 16777216 bytes"), "{}", left_out.reason);
        let failure = capacity.choose(&SIZES, &Method::ALL, true).unwrap_err().to_string();
        assert!(failure.starts_with("--sizes: cannot pin") && failure.contains("up to 1 MiB"), "{failure}");
        let failure = capacity.choose(&[16 << 20], &Method::ALL, false).unwrap_err().to_string();
        assert!(failure.starts_with("--sizes: cannot pin"), "{failure}");
    }

    #[test]
    fn memory_must_be_there() {
        let capacity = Capacity { available: Some(40 << 20), device: None };
        let failure =
            |methods: &[Method]| capacity.choose(&SIZES, methods, true).map_err(|failure| failure.to_string());
        assert!(failure(&[Method::Shm]).is_ok());
        let failure_text = failure(&[Method::Shm, Method::Memcpy]).unwrap_err();
        assert!(
            failure_text.contains("16 MiB needs 48 MiB") && failure_text.contains("40 MiB are available"),
            "{failure_text}"
        );
    }

    #[test]
    fn the_kernel_counts_in_kilobytes() {
        assert_eq!(available("MemTotal:  8 kB\nMemAvailable:    4 kB\n"), Some(4096));
        assert_eq!(available("MemTotal:  8 kB\n"), None);
    }
}
