//! What the inspector asks of the store: pages of a query, marks, changed copies; of a store that is open here and of a running agent's.

mod support;

use std::sync::Arc;

use healthie_tunnel::control::{Control, Edited, Local, Marking, PageAsk};
use healthie_tunnel::dial::{Peer, Trust};
use healthie_tunnel::forward::{HostHeader, Routes};
use healthie_tunnel::listen::{self, ListenConfig};
use healthie_tunnel::notice::Notice;
use healthie_tunnel::policy::Policy;
use healthie_tunnel::settings::{RelayUrl, Token};
use support::stored::{MANY, SECRET, id, stored};
use support::{Server, answering, patiently};
use tokio::sync::oneshot;
use tunnel_delivery::DeliveryId;
use tunnel_protocol::Start;
use tunnel_signature::{Message, Secret, Verifier};

fn policy(port: u16) -> Policy {
    let target = port.to_string().parse().unwrap();
    Policy { routes: Routes { routes: Vec::new(), default: Some(target) }, ..Policy::default() }
}

fn local(data: &tempfile::TempDir, port: u16) -> Local {
    Local {
        store_key: None,
        data: data.path().to_owned(),
        secrets: vec![Secret::new(SECRET).unwrap()],
        policy: policy(port),
        host_header: HostHeader::Sent,
        trust: Trust::default(),
    }
}

/// All that fits, by as many pages as it takes.
async fn all(control: &Control, query: &str, oldest_first: bool) -> Vec<DeliveryId> {
    let mut ids = Vec::new();
    let mut cursor = None;
    loop {
        let ask = PageAsk { query: query.into(), oldest_first, cursor, limit: 7 };
        let page = control.page(&ask).await.unwrap();
        assert!(page.items.len() <= 7);
        ids.extend(page.items.iter().map(|s| s.id));
        cursor = page.next;
        if cursor.is_none() {
            return ids;
        }
    }
}

async fn ask_everything(control: &Control, handler: &Server) {
    // Pages, in both directions, of what an index answers and of what it does not.
    let newest_first: Vec<_> = (0..MANY).rev().map(id).collect();
    assert_eq!(all(control, "", false).await, newest_first);
    for (query, fits) in [
        ("event:goal.*", Box::new(|i: i64| i % 10 == 0) as Box<dyn Fn(i64) -> bool>),
        ("-event:goal.*", Box::new(|i| i % 10 != 0)),
        ("env:staging", Box::new(|i| i == 7)),
        ("\"no show\"", Box::new(|i| i % 50 == 0)),
        ("event:goal.* -text:\"no show\"", Box::new(|i| i % 10 == 0 && i % 50 != 0)),
        ("why show", Box::new(|i| i % 50 == 0)),
        ("resource:12|13", Box::new(|i| i == 12 || i == 13)),
        ("status:none -sig:valid", Box::new(|_| false)),
    ] {
        let wanted: Vec<_> = (0..MANY).filter(|i| fits(*i)).map(id).collect();
        assert_eq!(all(control, query, true).await, wanted, "{query}");
        let back: Vec<_> = wanted.into_iter().rev().collect();
        assert_eq!(all(control, query, false).await, back, "{query}");
    }
    let wrong = PageAsk { query: "sig:vald".into(), limit: 1, ..PageAsk::default() };
    assert!(control.page(&wrong).await.unwrap_err().message.contains("choose of valid"));
    assert_eq!(control.totals().await.unwrap().deliveries, MANY as u64);

    // Marks.
    let mark = |pinned, note: Option<&str>| Marking { id: id(3), pinned, note: note.map(str::to_owned) };
    control.mark(&mark(Some(true), Some("look"))).await.unwrap();
    assert_eq!(all(control, "is:pinned", false).await, [id(3)]);
    assert_eq!(control.get(&id(3).to_string()).await.unwrap().note.as_deref(), Some("look"));
    control.mark(&mark(Some(false), Some(""))).await.unwrap();
    let stored = control.get(&id(3).to_string()).await.unwrap();
    assert_eq!((stored.pinned, stored.note), (false, None));
    assert!(control.mark(&Marking { id: id(-1), ..mark(Some(true), None) }).await.is_err());

    // A changed copy is signed for what it is now, in the reading of the original, which stays as it is.
    let before = control.get(&id(5).to_string()).await.unwrap();
    let body = br#"{"event_type":"appointment.created","resource_id":"other"}"#;
    let edited = Edited {
        id: id(5).to_string(),
        to: None,
        method: "POST".into(),
        target: "/elsewhere?x=1".into(),
        headers: before.delivery.headers.clone(),
        body: Edited::encode(body),
        sign: true,
        allow_production: false,
    };
    let came = handler.seen.all().len();
    let done = control.edited(&edited).await.unwrap();
    assert!(done.attempt.succeeded() && done.attempt.resigned, "{:?}", done.attempt);
    handler.seen.wait_for(came + 1).await;
    let request = handler.seen.all().pop().unwrap();
    assert_eq!(verdict(&request), Some("scribe".into()), "{}", String::from_utf8_lossy(&request));
    assert!(request.ends_with(body));
    let unsigned = Edited { sign: false, ..edited };
    let done = control.edited(&unsigned).await.unwrap();
    assert!(done.attempt.succeeded() && !done.attempt.resigned);
    handler.seen.wait_for(came + 2).await;
    assert_eq!(verdict(&handler.seen.all().pop().unwrap()), None);
    let after = control.get(&id(5).to_string()).await.unwrap();
    assert_eq!((after.delivery, after.attempts.len()), (before.delivery, before.attempts.len() + 2));
    let nonsense = Edited { method: "P OST".into(), ..unsigned };
    assert!(control.edited(&nonsense).await.is_err());
}

/// The profile in which a request's signature is valid, as a handler finds out.
fn verdict(request: &[u8]) -> Option<String> {
    let end = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&request[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap(), first.next().unwrap());
    let headers: Vec<(&[u8], &[u8])> =
        lines.map(|l| l.split_once(": ").unwrap()).map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    let message = Message { method, target, headers: &headers, body: &request[end + 4..] };
    let verdict = Verifier::new(&[Secret::new(SECRET).unwrap()]).verify(&message);
    verdict.matched().map(|m| m.reading.profile().as_str().to_owned())
}

#[tokio::test]
async fn a_store_that_is_open_here() {
    let handler = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let data = stored().await;
    let control = local(&data, handler.port).connect().await.unwrap();
    assert!(matches!(control, Control::Local(_)));
    patiently("everything", ask_everything(&control, &handler)).await;
    control.close().await;
}

#[tokio::test]
async fn a_running_agent() {
    let handler = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let data = stored().await;
    let nobody = Server::closed().port;
    let ours = local(&data, handler.port);
    let config = ListenConfig {
        store_key: None,
        relay: RelayUrl(Peer { tls: false, host: "127.0.0.1".into(), port: nobody }),
        token: Token::new("tok".into()).unwrap(),
        tunnel: None,
        device: None,
        start: Start::Now,
        data: data.path().to_owned(),
        keep: tunnel_archive::Keep::default(),
        secrets: ours.secrets.clone(),
        policy: ours.policy.clone(),
        concurrency: 4,
        host_header: HostHeader::Sent,
        trust: Trust::default(),
        inspector_port: 0,
        last_attempts: std::time::Duration::ZERO,
        traces: tunnel_telemetry::Traces::none(),
    };
    let (end, ended) = oneshot::channel::<()>();
    let (tx, mut connecting) = tokio::sync::mpsc::unbounded_channel();
    let sink = move |n: Arc<Notice>| drop(tx.send(n));
    let task = tokio::spawn(async {
        listen::run(config, Arc::new(sink), async { drop(ended.await) }).await.unwrap();
    });
    // The first notice comes after the interface is there.
    patiently("the agent's first notice", connecting.recv()).await.unwrap();
    let control = ours.connect().await.unwrap();
    assert!(matches!(control, Control::Remote(_)));
    patiently("everything", ask_everything(&control, &handler)).await;
    drop(end);
    patiently("the agent's end", task).await.unwrap();
}
