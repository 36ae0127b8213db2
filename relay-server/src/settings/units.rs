//! Lengths of time and sizes as people write them, for every flag and key of the relay. Pure.

use std::time::Duration;

/// Units of time and how many milliseconds each is.
const TIMES: [(&str, u64); 6] =
    [("ms", 1), ("", 1_000), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of size and how many bytes each is. A bare `K`, `M` or `G` is missing on purpose: it means two sizes.
const SIZES: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A hundred years: enough, and every later sum stays in range.
const LONGEST: u64 = 3_155_760_000_000;

/// For clap: a length of time, such as `500ms`, `30s`, `2m`, `72h` or `3d`; a bare number is seconds.
///
/// # Errors
/// A sentence about what was expected.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let millis = read(text, &TIMES, false).filter(|ms| *ms <= LONGEST);
    millis.map(Duration::from_millis).ok_or_else(|| "write a length of time like 500ms, 30s, 2m, 72h or 3d".to_owned())
}

/// For clap: a length of time that is not nothing.
///
/// # Errors
/// As [`span`].
pub(crate) fn some_span(text: &str) -> Result<Duration, String> {
    span(text).and_then(|span| if span.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(span) })
}

/// For clap: a size in bytes, such as `64KiB`, `1GiB`, `500MB` or `1048576`. The letter case of the unit does not count.
///
/// # Errors
/// A sentence about what was expected.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let letter = text.trim_start_matches(|c: char| c.is_ascii_digit()).trim().to_ascii_uppercase();
    if matches!(&*letter, "K" | "M" | "G" | "T") {
        return Err(format!("{letter} may mean two sizes; write {letter}iB or {letter}B"));
    }
    read(text, &SIZES, true).ok_or_else(|| "write a size like 64KiB, 1GiB, 500MB or a number of bytes".to_owned())
}

/// A whole number and its unit, with or without a blank between them.
fn read(text: &str, units: &[(&str, u64)], any_case: bool) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let same = |name: &str| if any_case { name.eq_ignore_ascii_case(unit) } else { name == unit };
    let (_, times) = units.iter().find(|(name, _)| same(name))?;
    number.parse::<u64>().ok()?.checked_mul(*times)
}

/// A size as [`size`] reads it, in the largest power of 1024 that leaves nothing over.
pub(crate) fn show_size(bytes: u64) -> String {
    let unit =
        SIZES.iter().rev().find(|(name, times)| name.ends_with("iB") && bytes > 0 && bytes.is_multiple_of(*times));
    unit.map_or_else(|| bytes.to_string(), |(name, times)| format!("{}{name}", bytes / times))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_and_sizes_are_read() {
        let ms = |text| span(text).map(|s| s.as_millis());
        let read = ["30", "30s", "2m", "72h", "3d", "500ms", "0", "5 m"].map(|t| ms(t).unwrap());
        assert_eq!(read, [30_000, 30_000, 120_000, 259_200_000, 259_200_000, 500, 0, 300_000]);
        let read = ["0", "1048576", "64KiB", "1gib", "500MB", "2 KiB", "7B"].map(|t| size(t).unwrap());
        assert_eq!(read, [0, 1 << 20, 64 << 10, 1 << 30, 500_000_000, 2048, 7]);
        for bad in
            ["", "s", "-1s", "+1s", "1.5h", "1y", "1M", "1S", "99999999999999999999d", "36526d", "1 s s", "1h30m"]
        {
            assert!(span(bad).is_err(), "{bad}");
        }
        for bad in ["", "KiB", "-1", "1.5GiB", "1 parsec", "99999999999999999999", "18446744073709551615KiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert!(size("4G").unwrap_err().contains("GiB or GB"));
        assert!(some_span("0s").is_err() && some_span("1ms").is_ok());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(bytes: u64) {
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn nothing_makes_it_panic(text in ".{0,30}") {
            let _ = (span(&text), size(&text));
        }
    }
}
