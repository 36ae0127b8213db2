//! A changed copy of a delivery: signed again unless that is not wanted, sent, and recorded as an attempt. The original is not touched.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tunnel_delivery::{Attempt, Cause, Delivery, Headers, Stored};
use tunnel_signature::{Profile, Reading, Request};

use super::remote::delivery;
use super::{Control, ControlError, Kind, Operations, Replayed};
use crate::audit::{Line, What};
use crate::forward::{How, Outgoing, TargetUrl, attempt};
use crate::hand::Try;

/// A changed copy of a stored delivery is to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Edited {
    /// Of which delivery.
    pub id: String,
    /// Where to, instead of where the delivery would be forwarded to.
    pub to: Option<TargetUrl>,
    /// The method.
    pub method: String,
    /// The request target as the handler is to see it.
    pub target: String,
    /// The lines.
    pub headers: Headers,
    /// The body, in base64.
    pub body: String,
    /// Whether digest and signature are made anew; otherwise they go out as they stand here.
    pub sign: bool,
    /// Whether a delivery from production may go to another machine.
    #[serde(default)]
    pub allow_production: bool,
}

impl Edited {
    /// A copy of what its handler saw, to be signed again.
    pub fn of(stored: &Stored) -> Edited {
        let d = &stored.delivery;
        Edited {
            id: d.id.to_string(),
            to: None,
            method: d.method.as_str().to_owned(),
            target: d.handler_target().to_string(),
            headers: d.headers.clone(),
            body: Edited::encode(&d.body),
            sign: true,
            allow_production: false,
        }
    }

    /// The body in the form that travels.
    pub fn encode(body: &[u8]) -> String {
        BASE64.encode(body)
    }
}

impl Operations {
    /// Sends a changed copy.
    pub(crate) async fn edited(&self, edited: &Edited) -> Result<Replayed, ControlError> {
        let usage = |e: String| ControlError::new(Kind::Usage, e);
        let (stored, line) = self.bare(&edited.id).await?;
        let to = self.target(&line, edited.to.as_ref())?;
        let hand = self.hand_for(&line, &to, edited.allow_production).await?;
        let body = BASE64.decode(&edited.body).map_err(|e| usage(format!("the body is not base64: {e}")))?;
        let changed = Delivery {
            method: edited.method.parse().map_err(|e| usage(format!("{e}")))?,
            target: edited.target.parse().map_err(|e| usage(format!("{e}")))?,
            prefix_len: 0,
            headers: edited.headers.clone(),
            body: Bytes::from(body),
            ..stored.delivery.clone()
        };
        let target = to.map(changed.target.as_str());
        let headers = if edited.sign { self.signed(&stored.delivery, &changed, &target)? } else { changed.headers };
        let out = Outgoing {
            method: changed.method.as_str().to_owned(),
            target,
            headers,
            body: changed.body,
            resigned: edited.sign,
            marks: None,
        };
        let out =
            self.hand.marked(out, line.id, Try { cause: Cause::Replay, number: line.attempts + 1, for_sender: false });
        let noted = Line::new(What::EditedReplayed).of(&line).target(&to.url(&out.target));
        self.audit.note(noted.with("signed", edited.sign)).await?;
        let how = How { cause: Cause::Replay, limit: self.hand.limit, for_sender: false };
        let made = attempt(&hand.client, &to, &out, how).await.attempt;
        let attempt = Attempt { edited: true, ..made };
        self.hand.record(&line, attempt.clone()).await?;
        Ok(Replayed { id: line.id, event_type: line.event_type, attempt })
    }

    /// The lines of the copy with digest, length and signature made for it, in the reading and with the secret of the original; where that
    /// was not valid, with the first secret in the guide's reading.
    fn signed(&self, original: &Delivery, changed: &Delivery, target: &str) -> Result<Headers, ControlError> {
        let usage = |e: String| ControlError::new(Kind::Usage, e);
        let signing = &self.hand.signing;
        let matched = signing.check(original).matched;
        let (reading, secret) = match &matched {
            Some(m) => (m.reading, signing.secret(m.secret_index)),
            None => (Reading::plain(Profile::Guide), signing.first()),
        };
        let secret = secret.ok_or_else(|| {
            usage("there is no secret to sign the copy with".into())
                .hint("give the webhook's with --secret or HEALTHIE_WEBHOOK_SECRET, or send it unsigned")
        })?;
        let content_type = changed.headers.get("content-type").and_then(|v| std::str::from_utf8(v).ok());
        let request = Request {
            method: changed.method.as_str(),
            target,
            content_type: content_type.unwrap_or("application/json"),
            body: &changed.body,
        };
        let signed = tunnel_signature::sign(reading, secret, &request).map_err(|e| usage(e.to_string()))?;
        let mut headers: Headers =
            changed.headers.iter().filter(|l| !signed.lines().iter().any(|(name, _)| l.is(name))).cloned().collect();
        for (name, value) in signed.lines() {
            headers.push(name, value.as_bytes().to_vec());
        }
        Ok(headers)
    }
}

impl Control {
    /// Sends a changed copy of a stored delivery.
    ///
    /// # Errors
    /// It cannot be made or tried; a try that failed is not an error.
    pub async fn edited(&self, edited: &Edited) -> Result<Replayed, ControlError> {
        match self {
            Control::Local(ops) => ops.edited(edited).await,
            Control::Remote(agent) => {
                let Edited { id, to, method, target, headers, body, sign, allow_production } = edited;
                let body = serde_json::json!({
                    "to": to, "method": method, "target": target, "headers": headers, "body": { "base64": body }, "sign": sign,
                    "allow_production": allow_production,
                });
                agent.post(&delivery(id, "/edited-replays"), &body).await
            }
        }
    }
}
