//! Measures `signature`: checking in each profile, beside a bare HMAC-SHA256 of the same body, which any checking must cost at least.

use std::hint::black_box;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tunnel_signature::{Message, Profile, Verifier};

use crate::error::{BenchError, wrong};
use crate::figures::{TURNS, Turns};
use crate::sample::{self, Body, SECRET, SMALL, TARGET};
use crate::table::Table;
use crate::{Arguments, figures};

const ABOUT: &str =
    "verifications beside a bare HMAC-SHA256 of the body; a wrong secret is one that no reading matches";

/// The bodies measured: a thin payload, and one far larger than any that is documented.
const BODIES: [(&str, usize); 2] = [("200 B", SMALL), ("256 KiB", 256 * 1024)];

/// Measures all profiles.
pub(crate) fn measure(arguments: &Arguments) -> Result<Table<3>, BenchError> {
    let mut table = Table::new("signature", ABOUT, ["per second", "x hmac", "microseconds"]);
    let right = Verifier::new(&[sample::secret(SECRET)?]);
    let other = Verifier::new(&[sample::secret("whsec_another")?]);
    let key = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).map_err(wrong)?;
    for (size, len) in BODIES {
        let body = Body::new(0, len)?.numbered(1);
        let mut base = Vec::new();
        for profile in Profile::ALL {
            let signed = sample::sign(profile, &sample::secret(SECRET)?, &body)?;
            let lines = signed.lines().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let message = Message { method: "POST", target: TARGET, headers: &lines, body: &body };
            let turns = Turns::measure(
                arguments.turn(TURNS),
                &mut [
                    &mut || {
                        black_box(key.clone().chain_update(black_box(&body)).finalize());
                        Ok(())
                    },
                    &mut || expect(right.verify(black_box(&message)).is_valid(), "a right signature was refused"),
                    &mut || expect(!other.verify(black_box(&message)).is_valid(), "a wrong secret was accepted"),
                ],
            )?;
            base.extend(turns.rate(0));
            for (at, which) in [(1, "right"), (2, "wrong")] {
                let per_second = turns.rate(at);
                let case = format!("{size}, {profile}, {which} secret");
                table.row(case, [per_second, turns.ratio(at, 0), per_second.map(|rate| 1e6 / rate)]);
            }
        }
        let base = figures::median(base);
        table.row(format!("{size}, bare HMAC"), [base, Some(1.0), base.map(|rate| 1e6 / rate)]);
    }
    Ok(table)
}

fn expect(holds: bool, otherwise: &str) -> Result<(), BenchError> {
    if holds { Ok(()) } else { Err(wrong(otherwise)) }
}
