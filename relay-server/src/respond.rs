//! What the relay answers by itself: the only place where errors become HTTP.
//!
//! `problem` is what can be wrong, `words` what is said of it; here is how that, and everything else that the relay says, becomes an answer. Each error has a short
//! JSON body, `{"error": CODE, "message": SENTENCE}`, for whoever reads the sender's log. None is ever a redirect.

mod problem;
mod words;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, RETRY_AFTER,
    SERVER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Response, StatusCode};
use tunnel_delivery::DeliveryId;

use crate::page::{PAGE, POLICY};
pub(crate) use problem::{Many, Problem, Whose};

/// The body type of every answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Names the delivery in the answer to its sender, so that both sides' logs can be matched.
pub(crate) const DELIVERY_HEADER: HeaderName = HeaderName::from_static("healthie-tunnel-delivery");

impl Problem {
    /// The answer to the sender. `id` is the delivery's, where it got one.
    pub(crate) fn answer(&self, id: Option<DeliveryId>) -> Answer {
        let said = self.said();
        let mut answer = json(said.status, &serde_json::json!({ "error": said.code, "message": said.message }), id);
        if let Some(seconds) = said.retry_after {
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if let Problem::Method(allowed) = self
            && let Ok(allowed) = HeaderValue::from_str(allowed)
        {
            answer.headers_mut().insert(ALLOW, allowed);
        }
        if matches!(self, Problem::UpgradeRequired) {
            answer.headers_mut().insert(hyper::header::UPGRADE, HeaderValue::from_static("websocket"));
            answer.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
        }
        // What could not be read to its end cannot be followed by another request.
        if matches!(
            self,
            Problem::Head(_) | Problem::TooLarge { .. } | Problem::BodyTimeout | Problem::BadBody | Problem::Overloaded
        ) {
            answer.headers_mut().insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// A small JSON answer.
pub(crate) fn json(status: StatusCode, body: &serde_json::Value, id: Option<DeliveryId>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    name_delivery(answer.headers_mut(), id);
    answer
}

/// The answer to a delivery that is durably spooled.
pub(crate) fn accepted(id: DeliveryId) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(b"{\"received\":true}")));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    name_delivery(answer.headers_mut(), Some(id));
    answer
}

fn name_delivery(headers: &mut HeaderMap, id: Option<DeliveryId>) {
    if let Some(id) = id
        && let Ok(value) = HeaderValue::from_str(&id.to_string())
    {
        headers.insert(DELIVERY_HEADER, value);
    }
}

/// The handler's own answer, which was made harmless.
pub(crate) fn handlers(mut answer: Answer, id: DeliveryId) -> Answer {
    name_delivery(answer.headers_mut(), Some(id));
    answer
}

/// The page for those who come with a browser, instead of an answer that says the same to a program. Its lines are kept.
pub(crate) fn as_page(mut answer: Answer) -> Answer {
    *answer.body_mut() = Full::from(PAGE);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    answer
}

/// What every answer says to browsers, whoever made it: that it is what it says it is, that nothing in it may run, and that nobody keeps it. It does not say
/// what program answers.
pub(crate) fn sealed(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.remove(SERVER);
    answer
}

/// The relay's figures.
pub(crate) fn figures(text: String, content_type: &'static str) -> Answer {
    let mut out = Response::new(Full::from(text));
    out.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    out
}

/// The text that an ACME server looks for. It is nothing that a browser would show.
pub(crate) fn acme(text: String) -> Answer {
    let mut out = Response::new(Full::from(text));
    out.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Refusal;
    use tunnel_protocol::AnswerFailure;

    #[test]
    fn no_answer_of_ours_is_a_redirect_and_all_can_be_read_by_programs() {
        let all = [
            Problem::Head(Refusal::TooLarge),
            Problem::Head(Refusal::Version),
            Problem::Head(Refusal::Misdirected),
            Problem::Head(Refusal::Malformed("x")),
            Problem::NotFound,
            Problem::TooLarge { limit: 1, of: Whose::Relay },
            Problem::TooLarge { limit: 1, of: Whose::Tunnel },
            Problem::BodyTimeout,
            Problem::BadBody,
            Problem::Unauthorized,
            Problem::WhichTunnel(vec!["a".parse().unwrap(); 30]),
            Problem::TooManyAttempts { seconds: 3 },
            Problem::UpgradeRequired,
            Problem::Method("GET".into()),
            Problem::Source,
            Problem::TooMany { of: Many::Address, retry_after: 1 },
            Problem::TooMany { of: Many::Tunnel, retry_after: 1 },
            Problem::Overloaded,
            Problem::TooManyAgents,
            Problem::Spool { temporary: true },
            Problem::Spool { temporary: false },
            Problem::NoAgent,
            Problem::AgentBusy,
            Problem::Timeout,
            Problem::AgentGone,
            Problem::Handler(AnswerFailure::Paused),
            Problem::Handler(AnswerFailure::Other(9)),
            Problem::Stopping,
            Problem::NoFigures,
        ];
        for problem in all {
            let answer = problem.answer(None);
            assert!(answer.status().is_client_error() || answer.status().is_server_error(), "{problem:?}");
            assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
            // Healthie tries again after a 5xx; where that is right it is told when.
            let temporary = matches!(answer.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(answer.headers().contains_key(RETRY_AFTER), temporary, "{problem:?}");
        }
    }

    #[test]
    fn a_page_keeps_the_status_and_the_lines_of_what_it_stands_for() {
        let page = sealed(as_page(Problem::Method("POST, PUT".into()).answer(None)));
        assert_eq!(
            (page.status(), &page.headers()[ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &"POST, PUT".parse().unwrap())
        );
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], POLICY);
        assert_eq!(page.headers()[CACHE_CONTROL], "no-store");
    }
}
