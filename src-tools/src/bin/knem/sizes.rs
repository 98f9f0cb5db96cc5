// SPDX-License-Identifier: CECILL-B
//! Sizes on the command line: `64K`, `4K..64M`, `1K,10K,1M..4M`.

/// Parses a list of sizes and of ranges that double.
pub(crate) fn parse_sizes(text: &str) -> Result<Vec<usize>, String> {
    let parts: Result<Vec<Vec<usize>>, String> = text.split(',').map(parse_range).collect();
    Ok(parts?.concat())
}

/// Parses one size or a range.
fn parse_range(text: &str) -> Result<Vec<usize>, String> {
    let Some((first, last)) = text.split_once("..") else {
        return Ok(vec![parse_size(text)?]);
    };
    let (first, last) = (parse_size(first)?, parse_size(last)?);
    if first > last {
        return Err(format!("the range {text:?} is empty: write the smaller size first"));
    }
    let doubling = std::iter::successors(Some(first), |size| size.checked_mul(2));
    Ok(doubling.take_while(|size| *size <= last).collect())
}

/// Parses one size.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("{text:?} is not a size: write a number, optionally with a suffix K, M or G"));
    }
    let unit: usize = match suffix {
        "" | "B" => 1,
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "m" | "MiB" => 1 << 20,
        "G" | "g" | "GiB" => 1 << 30,
        _ => return Err(format!("{suffix:?} in the size {text:?} is not a unit: use K, M or G (powers of 1024)")),
    };
    let largest = isize::MAX.unsigned_abs();
    match number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(0) => Err(format!("the size {text:?} is 0: the smallest size is 1")),
        Some(size) if size <= largest / 2 => Ok(size),
        _ => Err(format!("the size {text:?} is larger than the address space")),
    }
}

/// Formats a size exactly, with the largest unit that divides it.
pub(crate) fn format_size(size: usize) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if size >= 1 << shift && size.trailing_zeros() >= shift {
            return format!("{} {unit}", size >> shift);
        }
    }
    format!("{size} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_double() {
        assert_eq!(parse_sizes("4K..32K"), Ok(vec![4096, 8192, 16384, 32768]));
        assert_eq!(parse_sizes("3..13"), Ok(vec![3, 6, 12]));
        assert_eq!(parse_sizes("1M..1M"), Ok(vec![1 << 20]));
    }

    #[test]
    fn lists_keep_their_order() {
        assert_eq!(parse_sizes("1M, 7,2KiB"), Ok(vec![1 << 20, 7, 2048]));
        assert_eq!(parse_sizes("1,4K..8K, 3"), Ok(vec![1, 4096, 8192, 3]));
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        for (text, reason) in [
            ("4X", "\"X\""),
            ("4KB", "\"KB\""),
            ("", "not a size"),
            ("K", "not a size"),
            ("-1", "not a size"),
            ("4K,,8K", "not a size"),
            ("0", "is 0"),
            ("0..4K", "is 0"),
            ("8K..4K", "empty"),
            ("..", "not a size"),
            ("99999999999999999999", "larger"),
            ("17179869184G", "larger"),
            ("8K..4K..1", "\"K..1\""),
        ] {
            let error = parse_sizes(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn sizes_are_written_exactly() {
        assert_eq!(format_size(4096), "4 KiB");
        assert_eq!(format_size(64 << 20), "64 MiB");
        assert_eq!(format_size(4097), "4097 B");
        assert_eq!(format_size((1 << 20) + 1024), "1025 KiB");
    }
}
