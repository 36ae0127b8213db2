//! Deliveries from production are about patients: sent again they stay on this machine unless the user says otherwise.
//!
//! Owns that one rule, for commands, the inspector and other programs alike. `unknown` is not production: deliveries that did not come straight
//! from Healthie's published addresses, through a proxy for one, cannot be told apart from what a developer made up.

use tunnel_delivery::{Environment, Summary};

use super::{ControlError, Kind, Operations};
use crate::dial::DialError;
use crate::forward::TargetUrl;
use crate::hand::Hand;

impl Operations {
    /// What hands a delivery to `to`: one that cannot leave this machine where the delivery is from production and nothing else is `allowed`.
    pub(super) async fn hand_for(&self, line: &Summary, to: &TargetUrl, allowed: bool) -> Result<Hand, ControlError> {
        if allowed || line.environment != Environment::Production {
            return Ok(self.hand.clone());
        }
        // Said beforehand where it can be said. A name that leads elsewhere a moment later is found out when it is dialled, and one that
        // cannot be resolved fails there too.
        if let Err(DialError::Elsewhere { peer, addr }) = self.hand.client.leads_home(to).await {
            let leads = if peer.host == addr.to_string() { String::new() } else { format!(" (it leads to {addr})") };
            let why = format!(
                "deliveries from Healthie's production environment are not sent to {peer}, which is not this machine{leads}"
            );
            return Err(ControlError::new(Kind::Usage, why).hint(
                "they carry data about patients; `healthie-tunnel replay --allow-production` sends them all the same",
            ));
        }
        Ok(Hand { client: self.hand.client.at_home(), ..self.hand.clone() })
    }
}
