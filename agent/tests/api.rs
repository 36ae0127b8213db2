//! The REST API as `openapi.json` describes it: every path, method, parameter, field and status that is served is described, and what is described is
//! served, with answers that fit their schemas.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use healthie_tunnel::api::{OPENAPI, paths};
use healthie_tunnel::control::AgentFile;
use serde_json::{Value, json};
use support::agent::{Agent, SECRET, stored};
use support::api::{Answer, good, json_head, send, send_until};
use support::schema::{check, resolve};
use support::{Server, answering};

/// Statuses that no test brings about: a body that takes half a minute to come, and a store that cannot be used.
const UNSEEN: [&str; 2] = ["408", "503"];

/// The file, the agent, and what was seen of the file.
struct Api {
    file: Value,
    agent: AgentFile,
    seen: BTreeSet<(String, String, String)>,
}

impl Api {
    fn new(agent: &Agent) -> Api {
        Api { file: serde_json::from_str(OPENAPI).unwrap(), agent: agent.file(), seen: BTreeSet::new() }
    }

    fn operation(&self, path: &str, method: &str) -> &Value {
        &self.file["paths"][path][method]
    }

    fn operations(&self) -> Vec<(String, String)> {
        let all = self.file["paths"].as_object().unwrap().iter();
        all.flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(|m| (path.clone(), m.clone()))).collect()
    }

    /// Compares an answer with what the file says of it.
    fn compare(&mut self, path: &str, method: &str, answer: &Answer, stream: bool) {
        let status = answer.status.to_string();
        let about = format!("{method} {path}: {status} {}", answer.text());
        let mut described = &self.operation(path, method)["responses"][&status];
        assert!(described.is_object(), "not described: {about}");
        if let Some(reference) = described["$ref"].as_str() {
            described = resolve(&self.file, reference);
        }
        for name in described["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
            assert!(answer.header(name).is_some(), "no {name}: {about}");
        }
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{about}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{about}");
        assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("access-control")), "{about}");
        let Some(content) = described["content"].as_object() else {
            assert!(answer.body.is_empty(), "{about}");
            self.seen.insert((path.into(), method.into(), status));
            return;
        };
        let content_type = answer.header("content-type").unwrap_or_default();
        let schema = &content.get(content_type).unwrap_or_else(|| panic!("{content_type}: {about}"))["schema"];
        let mut values = Vec::new();
        if content_type.ends_with("json") && !content_type.ends_with("x-ndjson") {
            values.push(answer.json());
            if status.starts_with(['4', '5']) {
                assert_eq!(values[0]["status"], answer.status, "{about}");
            }
        } else if content_type.ends_with("x-ndjson") {
            values.extend(answer.text().lines().map(|line| serde_json::from_str(line).unwrap()));
            assert!(!values.is_empty(), "{about}");
        } else {
            assert!(stream || !answer.body.is_empty(), "{about}");
        }
        for value in values {
            check(&self.file, schema, &value).unwrap_or_else(|e| panic!("{method} {path} {status}: {e}"));
        }
        self.seen.insert((path.into(), method.into(), status));
    }

    /// Sends what is let in, and compares the answer.
    async fn ask(&mut self, path: &str, method: &str, target: &str, body: Option<&str>) -> Answer {
        let body = body.unwrap_or_default();
        let lines = match body {
            "" => good(&self.agent),
            body => good(&self.agent) + &json_head(body),
        };
        let stream = (path == "/v1/events").then_some("\n\n");
        let answer = send_until(&self.agent, &method.to_uppercase(), target, &lines, body, stream).await;
        self.compare(path, method, &answer, stream.is_some());
        answer
    }

    /// The same where the answer is to have that status.
    async fn expect(
        &mut self,
        status: u16,
        path: &str,
        method: &str,
        id: &str,
        more: &str,
        body: Option<&str>,
    ) -> Answer {
        let target = path.replace("{id}", id) + more;
        let answer = self.ask(path, method, &target, body).await;
        assert_eq!(answer.status, status, "{method} {target} {body:?}: {}", answer.text());
        answer
    }
}

/// The names in what serde says of one that it does not know.
fn named(message: &str) -> BTreeSet<String> {
    let (_, expected) = message.rsplit_once("expected").unwrap_or_else(|| panic!("{message}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn names<'a>(all: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    all.into_iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_served_is_described_and_nothing_else() {
    let file: Value = serde_json::from_str(OPENAPI).unwrap();
    let described: BTreeSet<(String, String)> = file["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(|m| (path.clone(), m.clone())))
        .collect();
    let served: BTreeSet<(String, String)> = paths().into_iter().map(|(p, m)| (p.to_owned(), m.to_owned())).collect();
    assert_eq!(described, served);
    // What nothing refers to is checked by nothing.
    for kind in ["schemas", "responses"] {
        for name in file["components"][kind].as_object().unwrap().keys() {
            assert!(OPENAPI.contains(&format!("\"#/components/{kind}/{name}\"")), "nothing refers to {name}");
        }
    }
    let ids: BTreeMap<&str, &str> = file["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().values().map(|o| (o["operationId"].as_str().unwrap(), &**path))
        })
        .collect();
    assert_eq!(ids.len(), served.len(), "an operation's id is its own");
}

#[tokio::test]
async fn parameters_and_fields_are_those_that_are_described() {
    let agent = Agent::start(stored(1).await).await;
    let mut api = Api::new(&agent);
    for (path, method) in api.operations() {
        let operation = api.operation(&path, &method).clone();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let placed = |place: &str| names(parameters.iter().filter(|p| p["in"] == place));
        let in_path: BTreeSet<String> = path.contains("{id}").then(|| "id".to_owned()).into_iter().collect();
        assert_eq!(placed("path"), in_path, "{method} {path}");
        let in_query = placed("query");
        if !in_query.is_empty() {
            let refused = api.expect(400, &path, &method, "latest", "?no-such=1", None).await;
            assert_eq!(named(refused.json()["detail"].as_str().unwrap()), in_query, "{method} {path}");
        }
        if let Some(schema) = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str() {
            let fields: BTreeSet<String> =
                resolve(&api.file, schema)["properties"].as_object().unwrap().keys().cloned().collect();
            let refused = api.expect(400, &path, &method, "latest", "", Some(r#"{"no-such":1}"#)).await;
            assert_eq!(named(refused.json()["detail"].as_str().unwrap()), fields, "{method} {path}");
        }
    }
    agent.stop().await;
}

#[tokio::test]
async fn every_status_that_is_described_is_seen_and_its_answer_fits() {
    let agent = Agent::start(stored(4).await).await;
    let mut api = Api::new(&agent);
    let handler = answering("HTTP/1.1 418 Teapot\r\nX-Odd: ü\r\nContent-Length: 2\r\n\r\nno").await;
    let page = api.expect(200, "/v1/deliveries", "get", "", "?limit=3&order=oldest", None).await.json();
    let ids: Vec<String> = page["items"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().into()).collect();
    assert_eq!((ids.len(), page["next"].is_string()), (3, true));
    let (id, to) = (&*ids[0], handler.port);

    // What every operation has in common.
    for (path, method) in api.operations() {
        let target = path.replace("{id}", "latest");
        let host = format!("Host: {}\r\n", api.agent.addr);
        let no_token = send(&api.agent, &method.to_uppercase(), &target, &host, "").await;
        assert_eq!(no_token.status, 401);
        api.compare(&path, &method, &no_token, false);
        let of_a_page = good(&api.agent) + "Origin: http://evil.example\r\n";
        let of_a_page = send(&api.agent, &method.to_uppercase(), &target, &of_a_page, "").await;
        assert_eq!(of_a_page.status, 403);
        api.compare(&path, &method, &of_a_page, false);
        if path.contains("{id}") {
            api.expect(400, &path, &method, "%FF", "", Some("{}")).await;
            if method != "delete" {
                api.expect(404, &path, &method, "nothing", "", Some("{}")).await;
                // All of them begin so.
                api.expect(422, &path, &method, "01", "", Some("{}")).await;
            }
        }
        if api.operation(&path, &method)["requestBody"].is_object() {
            api.expect(400, &path, &method, id, "", Some("{")).await;
            let form = good(&api.agent) + "Content-Type: text/plain\r\nContent-Length: 2\r\n";
            let form = send(&api.agent, &method.to_uppercase(), &target, &form, "{}").await;
            assert_eq!(form.status, 415);
            api.compare(&path, &method, &form, false);
            let long = good(&api.agent) + "Content-Type: application/json\r\nContent-Length: 999999999\r\n";
            let long = send(&api.agent, &method.to_uppercase(), &target, &long, "").await;
            assert_eq!(long.status, 413);
            api.compare(&path, &method, &long, false);
        }
    }

    let simple =
        ["/v1/hello", "/v1/openapi.json", "/v1/status", "/v1/totals", "/v1/groups", "/v1/stats", "/v1/store/export"];
    for path in simple {
        api.expect(200, path, "get", "", "", None).await;
    }
    let whole = api.expect(200, "/v1/deliveries/{id}", "get", id, "", None).await.json();
    assert_eq!(whole["id"], id);
    let body = api.expect(200, "/v1/deliveries/{id}/body", "get", id, "", None).await;
    assert_eq!(whole["body"]["text"], body.text());
    assert!(body.header("content-disposition").unwrap().starts_with("attachment"));

    // What is kept about it.
    let d = "/v1/deliveries/{id}";
    let marked = api.expect(200, d, "patch", id, "", Some(r#"{"pinned":true,"note":"look"}"#)).await.json();
    assert_eq!((&marked["pinned"], &marked["note"]), (&json!(true), &json!("look")));
    let marked = api.expect(200, d, "patch", id, "", Some(r#"{"note":null}"#)).await.json();
    assert_eq!((&marked["pinned"], &marked["note"]), (&json!(true), &Value::Null));
    let long = json!({ "note": "x".repeat(100_000) }).to_string();
    api.expect(422, d, "patch", id, "", Some(&long)).await;

    // What is sent of it.
    let replay = json!({ "to": to.to_string(), "forward_as": "sent" }).to_string();
    let done = api.expect(200, "/v1/deliveries/{id}/replays", "post", id, "", Some(&replay)).await.json();
    assert_eq!((&done["attempt"]["status"], &done["attempt"]["response_body"]["text"]), (&json!(418), &json!("no")));
    api.expect(422, "/v1/deliveries/{id}/replays", "post", id, "", Some("{}")).await;
    let aimed = api.expect(200, "/v1/deliveries/{id}/replays/dry-run", "post", id, "", Some(&replay)).await.json();
    assert_eq!(aimed["target"], format!("http://localhost:{to}/hook"));
    let edited = "/v1/deliveries/{id}/edited-replays";
    let changed = json!({ "to": to.to_string(), "target": "/other?a", "body": { "text": "{\"a\":1}" } }).to_string();
    api.expect(200, edited, "post", id, "", Some(&changed)).await;
    let sent = String::from_utf8_lossy(&handler.seen.all()[1]).into_owned();
    assert!(sent.starts_with("POST /other?a HTTP/1.1\r\n") && sent.ends_with("{\"a\":1}"), "{sent}");
    let attempts = api.expect(200, "/v1/deliveries/{id}/attempts", "get", id, "", None).await.json();
    assert_eq!(attempts.as_array().unwrap().len(), 2);
    // Nobody is there: a try that failed is an answer.
    let nobody = json!({ "to": Server::closed().port.to_string() }).to_string();
    let failed = api.expect(200, "/v1/deliveries/{id}/replays", "post", id, "", Some(&nobody)).await.json();
    assert_eq!(failed["attempt"]["error"]["kind"], "connect");

    // Signatures.
    let signature = "/v1/deliveries/{id}/signature";
    assert_eq!(api.expect(200, signature, "get", id, "", None).await.json()["status"], "valid");
    let other = api.expect(200, signature, "post", id, "", Some(r#"{"secrets":["other"]}"#)).await.json();
    assert_eq!(other["status"], "invalid");
    let copied = api.expect(200, "/v1/deliveries/{id}/copy", "post", id, "", Some("{}")).await.json();
    let moved = json!({ "to": "http://127.0.0.1:1/other", "resign": true, "secrets": [SECRET] }).to_string();
    api.expect(200, "/v1/deliveries/{id}/copy", "post", id, "", Some(&moved)).await;
    let mut request = copied["request"].clone();
    request["body"] = json!("e30=");
    let asked = json!({ "request": request, "secrets": [SECRET] }).to_string();
    let told = api.expect(200, "/v1/signatures", "post", "", "", Some(&asked)).await.json();
    assert_eq!((&told["status"], &told["digest"]), (&json!("invalid"), &json!("wrong")));
    let empty = json!({ "request": request, "secrets": [""] }).to_string();
    api.expect(422, "/v1/signatures", "post", "", "", Some(&empty)).await;

    // Deliveries that are made.
    let trigger = json!({ "event": "appointment.created", "direct": to.to_string(), "seed": 1 }).to_string();
    assert_eq!(api.expect(200, "/v1/triggers", "post", "", "", Some(&trigger)).await.json()["status"], 418);
    api.expect(422, "/v1/triggers", "post", "", "", Some(r#"{"event":"appointment.created"}"#)).await;
    api.expect(422, "/v1/deliveries", "post", "", "", Some(r#"{"fixture":"?","tunnel":"team"}"#)).await;
    let since = "?query=since:beginning&timeout=20";
    assert_eq!(api.expect(200, "/v1/wait", "get", "", since, None).await.json()["complete"], true);
    let none = api.expect(200, "/v1/wait", "get", "", "?query=event:none&timeout=0.01", None).await.json();
    assert_eq!(none["complete"], false);
    api.expect(200, "/v1/events", "get", "", "?query=since:beginning", None).await;

    for path in ["/v1/deliveries", "/v1/groups"] {
        let refused = api.expect(400, path, "get", "", "?query=event:a%20evnt:b", None).await.json();
        assert_eq!((&refused["at"]["start"], &refused["at"]["end"]), (&json!(8), &json!(12)));
        api.expect(400, path, "get", "", "?limit=0", None).await;
        api.expect(422, path, "get", "", "?cursor=nonsense", None).await;
    }
    for path in ["/v1/events", "/v1/wait"] {
        api.expect(400, path, "get", "", "?query=evnt:b", None).await;
    }
    for wrong in ["?count=0", "?timeout=NaN", "?timeout=601", "?timeout=-1"] {
        api.expect(400, "/v1/wait", "get", "", wrong, None).await;
    }
    api.expect(400, "/v1/store/export", "get", "", "?query=since:yesterday", None).await;
    let stats = api.expect(200, "/v1/stats", "get", "", "?by=event&query=resource:1", None).await.json();
    assert_eq!(
        (&stats["total"]["deliveries"], &stats["groups"][0]["name"]),
        (&json!(1), &json!("appointment.created"))
    );
    api.expect(400, "/v1/stats", "get", "", "?by=colour", None).await;
    api.expect(400, "/v1/deliveries", "get", "", "?patience_ms=99999", None).await;

    // The agent itself, which has no relay here to ask for another answer.
    let paused = api.expect(200, "/v1/forwarding", "put", "", "", Some(r#"{"paused":true}"#)).await.json();
    assert_eq!((&paused["paused"], &paused["changed"]), (&json!(true), &json!(true)));
    assert_eq!(api.expect(200, "/v1/status", "get", "", "", None).await.json()["paused"], true);
    api.expect(503, "/v1/answer", "put", "", "", Some(r#"{"mode":"passthrough"}"#)).await;
    api.expect(400, "/v1/answer", "put", "", "", Some(r#"{"mode":"other"}"#)).await;

    // Several are removed, or would be.
    let removals = "/v1/removals";
    api.expect(400, removals, "post", "", "", Some("{}")).await;
    api.expect(400, removals, "post", "", "", Some(r#"{"query":"evnt:a"}"#)).await;
    api.expect(400, removals, "post", "", "", Some(r#"{"query":" "}"#)).await;
    api.expect(404, removals, "post", "", "", Some(r#"{"ids":["nothing"]}"#)).await;
    api.expect(422, removals, "post", "", "", Some(r#"{"ids":["01"]}"#)).await;
    let all = r#"{"query":"event:appointment.*","dry_run":true}"#;
    let would = api.expect(200, removals, "post", "", "", Some(all)).await.json();
    assert_eq!((&would["removed"], &would["pinned"]), (&json!(3), &json!(1)));

    // The store as a whole, and what goes out of it.
    assert_eq!(api.expect(200, "/v1/store/check", "post", "", "", None).await.json()["sound"], true);
    api.expect(200, "/v1/store/compact", "post", "", "", None).await;
    let purged = api.expect(200, "/v1/purges", "post", "", "", Some(r#"{"tunnel":"nobody"}"#)).await.json();
    assert_eq!(purged["removed"], 0);
    api.expect(400, "/v1/purges", "post", "", "", Some(r#"{"tunnel":"not a name!"}"#)).await;
    api.expect(400, d, "delete", "latest", "", None).await;
    api.expect(409, d, "delete", id, "", None).await;
    api.expect(200, d, "patch", id, "", Some(r#"{"pinned":false}"#)).await;
    api.expect(204, d, "delete", id, "", None).await;
    api.expect(404, d, "delete", id, "", None).await;
    loads(&mut api).await;

    for (path, method) in api.operations() {
        let described = api.operation(&path, &method)["responses"].as_object().unwrap().keys().cloned();
        for status in described.filter(|status| !UNSEEN.contains(&status.as_str())) {
            // Only a relay can do it, or refuse to.
            if path == "/v1/answer" && ["200", "409"].contains(&&*status) {
                continue;
            }
            assert!(api.seen.contains(&(path.clone(), method.clone(), status.clone())), "{method} {path} {status}");
        }
    }
    agent.stop().await;
}

/// A delivery from a fixture, which is not signed; and a copy of what is not valid, which cannot be signed again.
async fn loads(api: &mut Api) {
    let fixture = concat!(
        "healthie-tunnel fixture 1\nPOST /hook HTTP/1.1\nContent-Type: application/json\n\n",
        "body text\n| {\"event_type\":\"appointment.created\"}\n\nprovenance\n"
    );
    let load = json!({ "fixture": fixture, "tunnel": "team", "note": "from a colleague" }).to_string();
    let answer = api.expect(201, "/v1/deliveries", "post", "", "", Some(&load)).await;
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), Some(&*format!("/v1/deliveries/{id}")));
    let moved = json!({ "to": "http://127.0.0.1:1/other", "resign": true }).to_string();
    api.expect(409, "/v1/deliveries/{id}/copy", "post", &id, "", Some(&moved)).await;
}
