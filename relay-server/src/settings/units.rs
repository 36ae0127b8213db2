//! Lengths of time, sizes and counts as people write them, for every flag and key of the relay, and the range that each may have. Pure.
//!
//! A length of time has a unit: `age = 72` meant for hours and read as seconds would drop after a minute what was answered 2xx. A size without one is
//! bytes, as it is everywhere. A range stands where its setting is defined, so that file, environment and flags are refused alike.

use std::time::Duration;

/// Units of time and how many milliseconds each is. None is missing on purpose.
const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

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

/// For clap: a length of time, such as `500ms`, `30s`, `2m`, `72h` or `3d`. Only of nothing, `0`, does the unit not matter.
///
/// # Errors
/// A sentence about what was expected.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|b| b == b'0') {
        return Ok(Duration::ZERO);
    }
    if text.len() <= 20 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("a length of time has a unit: write {text}s for seconds, {text}h for hours"));
    }
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

/// For clap: a length of time of `least` to `most`, both written as [`span`] reads them.
pub(crate) fn span_of(
    least: &'static str,
    most: &'static str,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync {
    move |text| {
        let read = span(text)?;
        // A bound that cannot be read refuses everything, which the tests of the defaults see.
        if span(least).is_ok_and(|least| least <= read) && span(most).is_ok_and(|most| read <= most) {
            Ok(read)
        } else {
            Err(format!("it is {least} to {most}"))
        }
    }
}

/// For clap: a size of `least` to `most` bytes.
pub(crate) fn size_of(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    move |text| {
        let read = size(text)?;
        if (least..=most).contains(&read) {
            Ok(read)
        } else {
            Err(format!("it is {} to {}", show_size(least), show_size(most)))
        }
    }
}

/// For clap: how many of something, `least` to `most`.
pub(crate) fn count_of<N>(least: N, most: N) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display + Copy + Send + Sync,
{
    move |text| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits {
            return Err(format!("write a whole number, {least} to {most}"));
        }
        text.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| format!("it is {least} to {most}"))
    }
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
        let read = ["30s", "2m", "72h", "3d", "500ms", "0", "00", "0s", "5 m"].map(|t| ms(t).unwrap());
        assert_eq!(read, [30_000, 120_000, 259_200_000, 259_200_000, 500, 0, 0, 0, 300_000]);
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

    #[test]
    fn a_time_without_its_unit_is_not_guessed() {
        assert_eq!(span("72").unwrap_err(), "a length of time has a unit: write 72s for seconds, 72h for hours");
        for bare in ["1", "30", "0072", "99999999999999999999", "72 "] {
            assert!(span(bare).is_err(), "{bare}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_told_the_range() {
        let (time, bytes, many) = (span_of("100ms", "1d"), size_of(1 << 10, 1 << 20), count_of(1_u32, 9));
        assert!(["100ms", "1s", "24h", "1d"].iter().all(|ok| time(ok).is_ok()));
        for bad in ["99ms", "0", "25h"] {
            assert_eq!(time(bad).unwrap_err(), "it is 100ms to 1d", "{bad}");
        }
        assert!(["1KiB", "1024", "1MiB"].iter().all(|ok| bytes(ok).is_ok()));
        assert_eq!(bytes("1023").unwrap_err(), "it is 1KiB to 1MiB");
        assert!(bytes("2MiB").is_err() && many("1").is_ok() && many("9").is_ok());
        assert_eq!((many("0").unwrap_err(), many("10").unwrap_err()), ("it is 1 to 9".into(), "it is 1 to 9".into()));
        assert_eq!(many("99999999999999").unwrap_err(), "it is 1 to 9");
        assert_eq!(many("+1").unwrap_err(), "write a whole number, 1 to 9");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(bytes: u64) {
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn a_number_alone_is_a_size_and_never_a_time(number in 1_u64..) {
            prop_assert_eq!(size(&number.to_string()), Ok(number));
            prop_assert!(span(&number.to_string()).is_err());
        }

        #[test]
        fn nothing_makes_it_panic(text in ".{0,30}") {
            let _ = (span(&text), size(&text));
        }
    }
}
