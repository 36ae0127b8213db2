//! Sizes in bytes as people write them.

/// Units by their letters in lower case, and how many bytes each is. What ends in `ib` is a power of 1024, the others are powers of 1000.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1000),
    ("mb", 1000_u64.pow(2)),
    ("gb", 1000_u64.pow(3)),
    ("tb", 1000_u64.pow(4)),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Reads `4GiB`, `500MB`, `1.5 GiB`; a bare number is bytes. The letter case of the unit does not count. A part of a byte is left out.
///
/// `4G` is refused: to some it is 4 GB and to others 4 GiB.
///
/// # Errors
/// A sentence about what was expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let shown = || text.chars().take(40).collect::<String>();
    let wrong = || format!("{:?} is not a size; write 4GiB, 500MiB, 500MB or a number of bytes", shown());
    let end = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start().to_ascii_lowercase();
    if matches!(&*unit, "k" | "m" | "g" | "t") {
        let letter = unit.to_ascii_uppercase();
        return Err(format!("{:?} may mean two sizes; write {number}{letter}iB or {number}{letter}B", shown()));
    }
    let &(_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let mut total: u64 = whole.parse().ok().and_then(|n: u64| n.checked_mul(bytes)).ok_or_else(wrong)?;
    if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    // Digits behind the point, each a tenth of the one before; exact as far as a byte has no parts.
    let mut place = u128::from(bytes) << 64;
    let mut rest = 0_u128;
    for digit in part.bytes().take(30) {
        place /= 10;
        rest += place * u128::from(digit - b'0');
    }
    // Less than one unit, which is below 2^64.
    total = total.checked_add(u64::try_from((rest + (1 << 32)) >> 64).unwrap_or(0)).ok_or_else(wrong)?;
    Ok(total)
}

/// `180 B`, `12.3 KiB`, `4.0 GiB`.
pub fn show_size(bytes: u64) -> String {
    let mut shown = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        // What would be rounded up to 1024 belongs to the next unit.
        if shown < 1023.95 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{shown:.1} {unit}") };
        }
        shown /= 1024.0;
    }
    format!("{shown:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("4GiB", 4 << 30),
            ("4 gib", 4 << 30),
            ("500MB", 500_000_000),
            ("1.5KiB", 1536),
            ("0.1KB", 100),
            ("0.3MB", 300_000),
            ("1.99B", 1),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in
            ["", "GiB", "-1", "1e3", "1.", ".5GiB", "1.2.3MB", "4PiB", "4 G iB", "18446744073709551616", "99999999TiB"]
        {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert!(parse_size("4G").unwrap_err().contains("4GiB or 4GB"));
    }

    #[test]
    fn sizes_are_shown() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (4 << 30, "4.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in any::<String>()) {
            let _ = parse_size(&text);
        }

        #[test]
        fn nor_one_that_looks_like_a_size(text in "[0-9]{0,25}[.]?[0-9]{0,40} ?[kmgtKMGT]?[iI]?[bB]?") {
            let _ = parse_size(&text);
        }

        #[test]
        fn whole_numbers_are_exact(number in any::<u32>(), unit in 0..UNITS.len(), upper in any::<bool>()) {
            let (name, bytes) = UNITS[unit];
            let name = if upper { name.to_uppercase() } else { name.to_owned() };
            prop_assert_eq!(parse_size(&format!("{number}{name}")).ok(), u64::from(number).checked_mul(bytes));
        }

        #[test]
        fn tenths_are_exact_to_the_byte(whole in 0_u64..10_000, tenths in 0_u64..10, unit in 2..UNITS.len()) {
            let (name, bytes) = UNITS[unit];
            prop_assert_eq!(parse_size(&format!("{whole}.{tenths}{name}")), Ok(whole * bytes + bytes * tenths / 10));
        }

        #[test]
        fn what_is_shown_is_read_again_nearly(bytes in 0_u64..1 << 52) {
            let again = parse_size(&show_size(bytes)).unwrap();
            prop_assert!(again.abs_diff(bytes) <= bytes / 20, "{} {}", bytes, again);
        }
    }
}
