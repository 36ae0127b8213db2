//! `key new`: another key.

use tunnel_envelope::{KeyPair, KeyRing};

use super::super::arguments::Data;
use super::super::{Context, Failure};
use super::Place;
use crate::device_keys;

/// Make a new key that is sealed to from now on; those that are there go on opening what was sealed to them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    data: Data,
}

pub(super) fn run(args: &Args, context: &mut Context) -> Result<(), Failure> {
    let Place { data, guard } = super::place(&args.data, context)?;
    let new = KeyRing::new(KeyPair::new().map_err(|e| Failure::unreachable(e.to_string()))?);
    super::note_change(&data, &new)?;
    let ring = device_keys::put_first(&data, new, &guard).map_err(super::failed)?;
    context.out.message(&format!("{} is the key that is sealed to; {}", ring.public(), super::FROM_NEXT));
    Ok(())
}
