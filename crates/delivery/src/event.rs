//! What a delivery's body says happened.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The event in a delivery's body. Reading it is the catalogue's work; this is only its shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// For example `appointment.created`. Any text: a name that is not in the catalogue is data, not an error.
    pub event_type: String,
    /// The id as text, whether the body had a string or an integer.
    pub resource_id: Option<String>,
    /// The GraphQL type, for example `Appointment`.
    pub resource_id_type: Option<String>,
    /// Empty where the body had none.
    pub changed_fields: Vec<String>,
    /// Every other field of the body, as it came.
    pub extra: Map<String, Value>,
}
