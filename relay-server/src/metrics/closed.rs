//! Closed lists of names: what may stand as the value of a label.

/// Defines an enum whose variants have names, so that none can be missing from the list of all.
macro_rules! closed_list {
    ($(#[$list:meta])* $type:ident { $($(#[$doc:meta])* $name:ident => $label:literal,)* }) => {
        $(#[$list])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $type { $($(#[$doc])* $name,)* }

        impl $type {
            /// All there are.
            pub(crate) const ALL: &[$type] = &[$($type::$name,)*];

            /// Its name in figures and logs.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $($type::$name => $label,)* }
            }
        }

        #[cfg(test)]
        #[test]
        fn each_has_a_name_of_its_own_that_is_a_label() {
            for (i, one) in $type::ALL.iter().enumerate() {
                let name = one.as_str();
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
                assert!($type::ALL[..i].iter().all(|other| other.as_str() != name), "{name} is there twice");
            }
        }
    };
}

pub(super) use closed_list;
