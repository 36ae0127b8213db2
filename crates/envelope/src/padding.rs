//! To which length a plain text is padded: few lengths, at little cost (Padmé: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PETS 2019).

/// The least length, in bytes: an ordinary webhook's body and headers differ below it.
const LEAST: usize = 512;

/// The length that a text of `len` bytes is padded to: at least `len`, at most 12 % more above 512 bytes.
pub(crate) fn padded(len: usize) -> usize {
    if len <= LEAST {
        return LEAST;
    }
    // Lengths keep as many significant bits as their exponent has bits: the rest is rounded up.
    let exponent = len.ilog2();
    let free = exponent - (exponent.ilog2() + 1);
    let mask = (1_usize << free) - 1;
    len.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_lengths() {
        assert_eq!([0, 1, 512, 513, 1000, 1 << 20].map(padded), [512, 512, 512, 544, 1024, 1 << 20]);
        assert_eq!(padded((1 << 20) + 1), (1 << 20) + (1 << 15));
    }

    proptest! {
        #[test]
        fn covers_wastes_little_and_says_little(len in 513_usize..1 << 30) {
            let padded = padded(len);
            prop_assert!(padded >= len);
            prop_assert!((padded - len) * 100 <= len * 12, "{} for {}", padded, len);
            prop_assert_eq!(super::padded(padded), padded, "a padded length stays");
        }
    }
}
