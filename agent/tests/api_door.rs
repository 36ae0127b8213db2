//! The REST API and whoever is not meant: web pages, garbage, more streams than there are seats, and readers that come back.

mod support;

use healthie_tunnel::control::AgentFile;
use serde_json::json;
use support::agent::{Agent, stored};
use support::api::{good, json_head, send, send_until};
use support::{eventually, patiently, read_request, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_web_page_gets_nothing_and_learns_nothing() {
    let agent = Agent::start(stored(1).await).await;
    let file = agent.file();
    let (host, port) = (format!("Host: {}\r\n", file.addr), file.addr.port());
    let token = format!("Authorization: Bearer {}\r\n", file.token);
    let id = "/v1/deliveries/latest";
    for (method, target, lines, status) in [
        // Its own name leads here now (DNS rebinding); it is of the same origin then, as the browser sees it.
        ("GET", "/v1/deliveries", format!("Host: evil.example:{port}\r\nSec-Fetch-Site: same-origin\r\n"), 403),
        ("GET", "/v1/deliveries", format!("Host: evil.example:{port}\r\n{token}"), 403),
        ("GET", "http://evil.example/v1/deliveries", format!("{host}{token}"), 403),
        // An image or a form of a page elsewhere: no Origin with GET, and the browser says where it is from, if it is a newer one.
        ("GET", "/v1/deliveries", format!("{host}Sec-Fetch-Site: cross-site\r\n{token}"), 403),
        ("GET", "/v1/deliveries", host.clone(), 401),
        (
            "POST",
            "/v1/store/compact",
            format!("{host}Origin: http://evil.example\r\n{token}Content-Length: 0\r\n"),
            403,
        ),
        ("POST", "/v1/store/compact", format!("{host}Origin: null\r\n{token}Content-Length: 0\r\n"), 403),
        ("POST", "/v1/store/compact", format!("{host}Content-Length: 0\r\n"), 401),
        // A page on another port of this machine is another's.
        ("PATCH", id, format!("{host}Origin: http://localhost:3000\r\n{token}Content-Length: 0\r\n"), 403),
        // The browser asks for leave, and is not given it.
        ("OPTIONS", id, format!("{host}Origin: http://evil.example\r\nAccess-Control-Request-Method: PATCH\r\n"), 403),
        ("OPTIONS", id, format!("{host}{token}"), 405),
    ] {
        let answer = send(&file, method, target, &lines, "").await;
        assert_eq!(answer.status, status, "{method} {target} {lines}");
        assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("access-control")), "{:?}", answer.headers);
        assert!(!answer.text().contains("team") && !answer.text().contains(&file.token), "{}", answer.text());
    }
    agent.stop().await;
}

#[tokio::test]
async fn methods_paths_and_heads() {
    let agent = Agent::start(stored(1).await).await;
    let file = agent.file();
    let good = good(&file);
    let other = send(&file, "PUT", "/v1/deliveries/latest", &good, "").await;
    assert_eq!((other.status, other.json()["kind"].as_str()), (405, Some("usage")));
    let mut allowed: Vec<_> = other.header("allow").unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PATCH"]);
    for path in ["/", "/v1", "/v1/", "/v1/deliveries/", "/v1/nothing", "/v1/deliveries/latest/nothing", "/v2/status"] {
        let answer = send(&file, "GET", path, &good, "").await;
        assert_eq!((answer.status, answer.json()["status"].as_u64()), (404, Some(404)), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
    }
    let get = send(&file, "GET", "/v1/deliveries/latest/body", &good, "").await;
    let head = send(&file, "HEAD", "/v1/deliveries/latest/body", &good, "").await;
    assert!(head.body.is_empty() && head.status == 200);
    for name in ["content-type", "content-length", "content-disposition"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    assert_eq!(get.header("content-length"), Some(&*get.body.len().to_string()));
    agent.stop().await;
}

#[tokio::test]
async fn garbage_and_what_is_too_long_is_refused_and_the_agent_goes_on() {
    let agent = Agent::start(stored(1).await).await;
    let file = agent.file();
    let good = good(&file);
    let long = "x".repeat(100_000);
    for text in [
        "\0\u{1}\u{2}\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET /v1/status HTTP/1.1\r\n{good}X: {long}\r\n\r\n"),
        format!("GET /v1/deliveries?query={long} HTTP/1.1\r\n{good}\r\n"),
        format!("GET /v1/status HTTP/1.1\r\n{good}{}\r\n", "a: b\r\n".repeat(1000)),
        format!(
            "POST /v1/triggers HTTP/1.1\r\n{good}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        ),
        format!("POST /v1/triggers HTTP/1.1\r\n{good}Content-Type: application/json\r\nContent-Length: -1\r\n\r\n"),
    ] {
        let mut stream = TcpStream::connect(file.addr).await.unwrap();
        // It may be refused, and the connection closed, before all of it is written.
        let _ = stream.write_all(text.as_bytes()).await;
        let mut answer = Vec::new();
        patiently("the end of the connection", async {
            while matches!(stream.read_buf(&mut answer).await, Ok(n) if n > 0) {}
        })
        .await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{} {answer}", &text[..text.len().min(80)]);
    }
    for body in ["[".repeat(100_000), "\u{feff}{}".into(), "null".into(), "[]".into(), r#"{"event":1}"#.into()] {
        let answer = send(&file, "POST", "/v1/triggers", &(good.clone() + &json_head(&body)), &body).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    let list = send(&file, "PATCH", "/v1/deliveries/latest", &(good.clone() + &json_head("[true]")), "[true]").await;
    assert_eq!(list.status, 400, "{}", list.text());
    let long = format!("/v1/deliveries?query={}", "x".repeat(3000));
    assert_eq!(send(&file, "GET", &long, &good, "").await.status, 400);
    assert_eq!(send(&file, "GET", "/v1/status", &good, "").await.status, 200);
    agent.stop().await;
}

async fn open(file: &AgentFile, target: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(file.addr).await.unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\n{}\r\n", good(file)).as_bytes()).await.unwrap();
    let mut head = Vec::new();
    patiently("a head", async {
        while !head.windows(4).any(|w| w == b"\r\n\r\n") {
            assert!(stream.read_buf(&mut head).await.unwrap() > 0);
        }
    })
    .await;
    (stream, String::from_utf8_lossy(&head).into_owned())
}

#[tokio::test]
async fn streams_have_seats_and_a_seat_is_free_again_when_its_stream_is_gone() {
    let agent = Agent::start(stored(1).await).await;
    let file = agent.file();
    let mut streams = Vec::new();
    for _ in 0..64 {
        let (stream, head) = open(&file, "/v1/events").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        streams.push(stream);
    }
    for target in ["/v1/events", "/v1/wait", "/v1/store/export"] {
        let (_, head) = open(&file, target).await;
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("retry-after: "), "{target}: {head}");
    }
    assert_eq!(send(&file, "GET", "/v1/status", &good(&file), "").await.status, 200, "other questions have no seats");
    streams.pop();
    eventually("a free seat", async || (!open(&file, "/v1/events").await.1.starts_with("HTTP/1.1 503 ")).then_some(()))
        .await;
    agent.stop().await;
}

#[tokio::test]
async fn what_the_handler_was_sent_is_recorded_though_nobody_waits_for_it_any_more() {
    let agent = Agent::start(stored(1).await).await;
    let file = agent.file();
    let (answer, wanted) = tokio::sync::watch::channel(false);
    let handler = serve(move |mut stream, seen| {
        let mut wanted = wanted.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                seen.push(request);
                wanted.wait_for(|wanted| *wanted).await.unwrap();
                stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    for (n, path) in ["replays", "edited-replays"].into_iter().enumerate() {
        answer.send_replace(false);
        let body = json!({ "to": handler.port.to_string() }).to_string();
        let head = good(&file) + &json_head(&body);
        let mut stream = TcpStream::connect(file.addr).await.unwrap();
        let request = format!("POST /v1/deliveries/latest/{path} HTTP/1.1\r\n{head}\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        handler.seen.wait_for(n + 1).await;
        drop(stream);
        // Whatever would end with the connection has ended once another request is answered that began later.
        for _ in 0..3 {
            assert_eq!(send(&file, "GET", "/v1/status", &good(&file), "").await.status, 200);
        }
        answer.send_replace(true);
        let attempts = eventually("the attempt", async || {
            let all = send(&file, "GET", "/v1/deliveries/latest/attempts", &good(&file), "").await.json();
            (all.as_array().unwrap().len() == n + 1).then_some(all)
        })
        .await;
        assert_eq!(attempts[n]["status"], 202, "{attempts}");
    }
    agent.stop().await;
}

async fn load(file: &AgentFile, resource: u32) {
    let fixture = format!(
        "healthie-tunnel fixture 1\nPOST /hook HTTP/1.1\n\nbody text\n| {{\"event_type\":\"goal.created\",\"resource_id\":\"{resource}\"}}\n\nprovenance\n"
    );
    let body = json!({ "fixture": fixture, "tunnel": "team" }).to_string();
    let answer = send(file, "POST", "/v1/deliveries", &(good(file) + &json_head(&body)), &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[tokio::test]
async fn a_follower_that_comes_back_goes_on_from_its_place() {
    let agent = Agent::start(stored(1).await).await;
    let file = agent.file();
    let place = |text: &str| {
        let ids: Vec<_> = text.lines().filter_map(|l| l.strip_prefix("id: ")).map(str::to_owned).collect();
        ids.last().unwrap().clone()
    };
    let lines = good(&file);
    // Nothing comes: it begins with its place.
    let first = send_until(&file, "GET", "/v1/events", &lines, "", Some("\n\n")).await;
    assert_eq!(first.header("content-type"), Some("text/event-stream"));
    let first = first.text();
    assert!(first.starts_with("event: place\nid: "), "{first}");
    for n in 1..=4 {
        load(&file, n).await;
    }
    let back = |target: &'static str, id: String, until: &'static str| {
        let lines = format!("{lines}Last-Event-ID: {id}\r\n");
        let file = &file;
        async move { send_until(file, "GET", target, &lines, "", Some(until)).await.text() }
    };
    // All four are told, a query leaves out others, and what fits only by its words is found too.
    let all = back("/v1/events", place(&first), "\"resource_id\":\"4\"").await;
    assert_eq!(all.matches("event: delivery\n").count(), 4, "{all}");
    let some = back("/v1/events?query=resource:2|4", place(&first), "\"resource_id\":\"4\"").await;
    assert_eq!(some.matches("event: delivery\n").count(), 2, "{some}");
    let words = back("/v1/events?query=-%22nothing%22+goal+-resource:3", place(&first), "\"resource_id\":\"4\"").await;
    assert_eq!(words.matches("event: delivery\n").count(), 3, "{words}");
    // From behind all of them there is nothing but the place.
    let (epoch, _) = place(&first).split_once('-').map(|(e, n)| (e.to_owned(), n.to_owned())).unwrap();
    let none = back("/v1/events", format!("{epoch}-4"), "\n\n").await;
    assert!(none.starts_with(&format!("event: place\nid: {epoch}-4\n")), "{none}");
    // Another agent's place: everything that this one stored.
    let other = back("/v1/events", "7-9".into(), "\"resource_id\":\"4\"").await;
    assert_eq!(other.matches("event: delivery\n").count(), 4, "{other}");
    let wrong = send(&file, "GET", "/v1/events", &format!("{lines}Last-Event-ID: x\r\n"), "").await;
    assert_eq!(wrong.status, 400);
    agent.stop().await;
}
