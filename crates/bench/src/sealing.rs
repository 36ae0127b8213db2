//! Measures `sealing`: a delivery sealed to 1, 4 and 16 devices and opened by one, beside a copy of its bytes.

use std::hint::black_box;

use tunnel_delivery::DeviceKey;
use tunnel_envelope::{KeyPair, KeyRing, open, seal};

use crate::Arguments;
use crate::error::{BenchError, wrong};
use crate::figures::{TURNS, Turns};
use crate::sample::{SMALL, Sample};
use crate::table::Table;

const ABOUT: &str = "deliveries sealed to so many devices, and opened by one of them, beside a copy of the envelope";

/// The bodies measured: a thin payload, and one far larger than any that is documented.
const BODIES: [(&str, usize); 2] = [("200 B", SMALL), ("256 KiB", 256 * 1024)];

/// How many devices are sealed to.
const DEVICES: [usize; 3] = [1, 4, 16];

/// Measures both sizes.
pub(crate) fn measure(arguments: &Arguments) -> Result<Table<4>, BenchError> {
    let mut table = Table::new("sealing", ABOUT, ["per second", "x copy", "microseconds", "bytes"]);
    let pairs: Vec<KeyPair> = (0..16).map(|_| KeyPair::new()).collect::<Result<_, _>>().map_err(wrong)?;
    let keys: Vec<DeviceKey> = pairs.iter().map(KeyPair::public).collect();
    let rings: Vec<KeyRing> = pairs.into_iter().map(KeyRing::new).collect();
    for (size, len) in BODIES {
        let delivery = Sample::new(0, len)?.numbered(1);
        for devices in DEVICES {
            let to = &keys[..devices];
            let sealed = seal(&delivery, to).map_err(wrong)?;
            let ring = &rings[devices - 1];
            if open(&sealed, ring).map_err(wrong)? != delivery {
                return Err(wrong("a delivery came out of its envelope differently"));
            }
            let turns = Turns::measure(
                arguments.turn(TURNS),
                &mut [
                    &mut || {
                        black_box(black_box(&sealed.body).to_vec());
                        Ok(())
                    },
                    &mut || {
                        black_box(seal(black_box(&delivery), to).map_err(wrong)?);
                        Ok(())
                    },
                    &mut || {
                        black_box(open(black_box(&sealed), ring).map_err(wrong)?);
                        Ok(())
                    },
                ],
            )?;
            for (at, what) in [(1, "sealed to"), (2, "opened, of")] {
                let per_second = turns.rate(at);
                let figures =
                    [per_second, turns.ratio(at, 0), per_second.map(|rate| 1e6 / rate), Some(sealed.body.len() as f64)];
                table.row(format!("{size}, {what} {devices}"), figures);
            }
        }
    }
    Ok(table)
}
