//! Who may send to a tunnel, and how: sources, methods, and what a browser sees.

use healthie_relay::TunnelSettings;

use crate::hall::{Answer, HEALTHIE, House, STRANGER, post, too_long};

/// One of Healthie's sandbox.
const STAGING: &str = "18.206.70.225";

async fn from(house: &House, sources: &[&str]) {
    let sources: Vec<_> = sources.iter().map(|source| source.parse().unwrap()).collect();
    house.set(move |settings: &mut TunnelSettings| settings.from = sources).await;
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_takes_deliveries_from_where_its_owner_says() {
    let house = House::new(|config| config.proxies.trusted = vec!["10.0.0.0/8".parse().unwrap()]).await;
    // 413 is what comes after: the body was announced and not sent.
    let statuses = async |senders: &[&str]| {
        let mut statuses = Vec::new();
        for sender in senders {
            statuses.push(house.ask(sender, &too_long()).await.status());
        }
        statuses
    };
    let senders = [STRANGER, HEALTHIE, STAGING, "2001:db8::1"];
    assert_eq!(statuses(&senders).await, [413, 413, 413, 413]);
    from(&house, &["healthie-production"]).await;
    assert_eq!(statuses(&senders).await, [403, 413, 403, 403]);
    from(&house, &["healthie-staging", "2001:db8::/32"]).await;
    assert_eq!(statuses(&senders).await, [403, 403, 413, 413]);
    let refusal = house.ask(STRANGER, &too_long()).await;
    assert_eq!((refusal.code().as_str(), refusal.header("retry-after")), ("source", None));
    assert_eq!(house.hits("source").await, 3 + 2 + 1);
    // Through a trusted proxy it is whom that speaks for, and nobody else's word counts.
    let claim = |who: &str| too_long().replace("\r\n\r\n", &format!("\r\nX-Forwarded-For: {who}\r\n\r\n"));
    assert_eq!(house.ask("10.1.1.1", &claim(STAGING)).await.status(), 413);
    assert_eq!(house.ask("10.1.1.1", &claim(STRANGER)).await.status(), 403);
    assert_eq!(house.ask(STRANGER, &claim(STAGING)).await.status(), 403);
    from(&house, &[]).await;
    assert_eq!(statuses(&senders).await, [413, 413, 413, 413]);
}

fn get(host: &str, method: &str, accept: &str) -> String {
    format!("{method} /some/page?x HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n")
}

/// What a visitor can tell answers apart by, without what is of the request alone.
fn seen(answer: &Answer) -> String {
    let own = |line: &&str| !["date:", "x-request-id:"].iter().any(|name| line.to_ascii_lowercase().starts_with(name));
    let lines: Vec<&str> = answer.head.lines().filter(own).collect();
    format!("{}\n\n{}", lines.join("\n"), answer.body)
}

#[tokio::test(start_paused = true)]
async fn a_visit_does_not_tell_whether_there_is_a_tunnel() {
    let house = House::new(|_| {}).await;
    for accept in ["text/html,*/*;q=0.8", "*/*"] {
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
            let [there, not] = [
                house.ask(STRANGER, &get("team.relay.test", method, accept)).await,
                house.ask(STRANGER, &get("nobody.relay.test", method, accept)).await,
            ];
            assert_eq!((there.status(), there.header("allow")), (405, Some("POST")), "{method}");
            assert_eq!(seen(&there), seen(&not), "{method}");
            let page = method == "GET" && accept.contains("html");
            assert_eq!(there.body.contains("<h1>This is a healthie-relay</h1>"), page, "{}", there.body);
        }
    }
    // Closed to this visitor, it looks the same.
    let before = seen(&house.ask(STRANGER, &get("nobody.relay.test", "GET", "*/*")).await);
    from(&house, &["healthie-production"]).await;
    assert_eq!(seen(&house.ask(STRANGER, &get("team.relay.test", "GET", "*/*")).await), before);
}

#[tokio::test(start_paused = true)]
async fn an_owner_adds_methods() {
    let house = House::new(|_| {}).await;
    house.set(|settings| settings.methods = vec!["POST".parse().unwrap(), "PUT".parse().unwrap()]).await;
    assert_eq!(house.ask(STRANGER, &too_long().replace("POST", "PUT")).await.status(), 413);
    let refusal = house.ask(STRANGER, &too_long().replace("POST", "PATCH")).await;
    assert_eq!((refusal.status(), refusal.header("allow")), (405, Some("POST, PUT")));
    assert_eq!(refusal.code(), "method");
    house.set(|settings| settings.methods = vec!["PUT".parse().unwrap()]).await;
    assert_eq!(house.ask(STRANGER, &too_long()).await.status(), 405, "POST is no more than any other");
    assert_eq!(house.hits("method").await, 2);
}

#[tokio::test(start_paused = true)]
async fn every_answer_says_that_nothing_in_it_may_run() {
    let house = House::new(|_| {}).await;
    let browser = "text/html";
    for (request, status, html) in [
        (get("relay.test", "GET", browser).replace("/some/page?x", "/"), 200, true),
        (get("relay.test", "GET", "*/*").replace("/some/page?x", "/"), 200, false),
        (get("relay.test", "GET", browser), 404, true),
        (get("team.relay.test", "GET", browser), 405, true),
        (get("elsewhere.test", "GET", browser), 421, false),
        (post("nobody.relay.test", 0, ""), 404, false),
        (too_long(), 413, false),
        (get("relay.test", "GET", browser).replace("/some/page?x", "/healthz"), 200, false),
        (get("relay.test", "GET", browser).replace("/some/page?x", "/readyz"), 200, false),
        (get("relay.test", "GET", browser).replace("/some/page?x", "/agent/v1"), 401, false),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, false),
    ] {
        let answer = house.ask(STRANGER, &request).await;
        assert_eq!(answer.status(), status, "{request}");
        assert_eq!(answer.header("content-type") == Some("text/html; charset=utf-8"), html, "{request}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{request}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{request}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{request}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("sandbox; default-src 'none'"), "{request}: {policy}");
        for not in ["server", "x-powered-by", "set-cookie", "location", "access-control-allow-origin"] {
            assert_eq!(answer.header(not), None, "{request}");
        }
    }
}
