//! A door for fuzzing: what is inside an envelope, without the keys. Nothing but the package in fuzz/ goes through it, and it promises nothing to
//! anybody.

use tunnel_delivery::Delivery;

use crate::content;

/// Puts what a plain text says into a delivery.
///
/// # Errors
/// Why it is no request.
pub fn read(plain: &[u8], outside: Delivery) -> Result<Delivery, String> {
    content::read(plain, outside)
}

/// The plain text of a delivery.
pub fn write(delivery: &Delivery) -> Vec<u8> {
    let mut out = Vec::new();
    content::write(delivery, &mut out);
    out
}
