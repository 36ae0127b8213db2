//! Emitted Rust verifiers, compiled as they are: some for each profile, with every deviation in at least one.

/// What an emitted verifier is.
type Verify = fn(&str, &str, &[(&str, &str)], &[u8], &str) -> bool;

macro_rules! verifiers {
    ($($name:ident)*) => {
        $(
            #[allow(unreachable_pub)] // it is to be pasted where it can be reached
            mod $name;
        )*
        /// Names, texts and functions.
        pub(crate) const ALL: &[(&str, &str, Verify)] = &[
            $((stringify!($name), include_str!(concat!(stringify!($name), ".rs")), $name::verify_healthie_webhook)),*
        ];
    };
}

verifiers! {
    guide
    guide_nopadding_base64
    guide_nopadding_utf16length_colonhex
    scribe
    scribe_singlequery_backslashn
    scribe_twobackslashesn_barehex
    scribe_base64
    rfc9421
    rfc9421_barehex
    rfc9421_colonhex
}
