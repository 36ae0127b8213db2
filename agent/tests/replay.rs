//! Replays of many deliveries: what is chosen, in which order it comes, what is told in the end, and how one that was stopped is gone on with.

#![cfg(unix)]

mod support;

use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use healthie_tunnel::control::{Control, Local};
use healthie_tunnel::dial::Trust;
use healthie_tunnel::forward::HostHeader;
use healthie_tunnel::policy::Policy;
use healthie_tunnel::replay::{self, Pace, Plan, Selection, Told, UntilSuccess};
use serde_json::Value;
use support::deliveries::{self, BEGAN, intake, plain};
use support::{Seen, Server, answering, patiently, read_request, serve};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;
use tunnel_delivery::{Delivery, DeliveryId, Environment, SignatureStatus, Timestamp};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const NO: &str = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";

fn id(n: i64) -> String {
    DeliveryId::first_at(Timestamp::from_micros(BEGAN + n * 50_000)).to_string()
}

/// A closed store with so many deliveries, 50 ms apart; the `n`th has `n=N;` in its body, and the first is from there.
async fn store(many: i64, first: Environment) -> tempfile::TempDir {
    store_from(BEGAN, many, first).await
}

async fn store_from(began: i64, many: i64, first: Environment) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let all = (0..many).map(|n| {
        let event = ["task.created", "goal.created"][n as usize % 2];
        let body = format!(r#"{{"event_type":"{event}","resource_id":"{n}","resource_id_type":"Task","n":"n={n};"}}"#);
        let environment = if n == 0 { first } else { Environment::Unknown };
        let delivery = Delivery { environment, ..plain(Timestamp::from_micros(began + n * 50_000), body) };
        intake(delivery, SignatureStatus::NoSecret)
    });
    deliveries::store(&folder.path().join("data/archive"), all).await;
    folder
}

/// Which deliveries came, in their order.
fn came(seen: &Seen) -> Vec<usize> {
    let number = |request: &Vec<u8>| {
        let text = String::from_utf8_lossy(request).into_owned();
        let from = text.find("n=").expect("a number") + 2;
        text[from..].split(';').next().unwrap().parse().unwrap()
    };
    seen.all().iter().map(number).collect()
}

/// A handler that answers 500 to what `fails` says, by its number and how many came.
async fn picky(fails: impl Fn(usize, usize) -> bool + Send + Sync + 'static) -> Server {
    let (fails, count) = (Arc::new(fails), Arc::new(AtomicUsize::new(0)));
    serve(move |mut s, seen| {
        let (fails, count) = (Arc::clone(&fails), Arc::clone(&count));
        async move {
            while let Some(request) = read_request(&mut s).await {
                let one = Seen::default();
                one.push(request.clone());
                let n = came(&one)[0];
                let answer = if fails(n, count.fetch_add(1, Ordering::SeqCst)) { NO } else { OK };
                seen.push(request);
                if s.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_healthie-tunnel"));
    command.arg("replay").args(arguments).args(["--data", "data"]).current_dir(folder);
    command.env_clear().env("HOME", folder.join("home")).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Ran(Output);

impl Ran {
    #[track_caller]
    fn exits(self, code: i32) -> Ran {
        assert_eq!(self.0.status.code(), Some(code), "{}{}", self.out(), self.err());
        self
    }

    fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    fn json(&self) -> Vec<Value> {
        self.out().lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
    }
}

async fn run(mut command: Command) -> Ran {
    Ran(patiently("the replay", tokio::task::spawn_blocking(move || command.output().unwrap())).await.unwrap())
}

async fn replay(folder: &Path, to: u16, arguments: &[&str]) -> Ran {
    let to = to.to_string();
    run(command(folder, &[arguments, &["--to", &to]].concat())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_is_sent_oldest_first_and_counted() {
    let stage = store(12, Environment::Unknown).await;
    let folder = stage.path();
    let handler = picky(|n, _| n == 4).await;
    let ran = replay(folder, handler.port, &["event:task.*", "--json"]).await.exits(1);
    assert_eq!(came(&handler.seen), [0, 2, 4, 6, 8, 10]);
    let lines = ran.json();
    let summary = &lines[6]["summary"];
    assert_eq!(lines[2]["attempt"]["status"], 500);
    let counts = ["deliveries", "sent", "ok", "failed", "2xx", "5xx"].map(|name| summary[name].as_u64().unwrap());
    assert_eq!(counts, [6, 6, 5, 1, 5, 1]);
    assert!(summary["p99_ms"].as_f64().unwrap() > 0.0 && summary["left"].is_null(), "{summary}");
    assert!(ran.err().contains("1 of 6 were not answered 2xx"), "{}", ran.err());

    // What was only counted is looked for by the answer, and the options say the same as the words.
    for selector in [&["status:5xx"][..], &["--status", "5xx"]] {
        let again = answering(NO).await;
        let ran = replay(folder, again.port, selector).await.exits(1);
        assert_eq!(came(&again.seen), [4], "{selector:?}");
        assert!(ran.out().contains("1 sent: 0 2xx, 1 5xx"), "{}", ran.out());
    }
    let some = answering(OK).await;
    let after = id(6);
    replay(folder, some.port, &["since:beginning", "--after", &after, "--limit", "3"]).await.exits(0);
    assert_eq!(came(&some.seen), [7, 8, 9]);
    // Named ones too, each once; an end of an id is enough.
    let named = answering(OK).await;
    replay(folder, named.port, &[&id(3), "latest", &id(1), &id(3)]).await.exits(0);
    assert_eq!(came(&named.seen), [1, 3, 11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_sent_however_far_ahead_the_relay_s_clock_is() {
    let tomorrow = Timestamp::from_system(std::time::SystemTime::now()).as_micros() + 86_400_000_000;
    let stage = store_from(tomorrow, 3, Environment::Unknown).await;
    let handler = answering(OK).await;
    replay(stage.path(), handler.port, &["event:task.*"]).await.exits(0);
    replay(stage.path(), handler.port, &["--event", "goal.*"]).await.exits(0);
    assert_eq!(came(&handler.seen), [0, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_and_decides_the_exit_code() {
    let stage = store(3, Environment::Unknown).await;
    let folder = stage.path();
    let closed = Server::closed();
    for (arguments, code, said) in [
        (&["event:nothing.*"][..], 1, "nothing is stored that fits"),
        (&["deadbeef"], 1, "write text:deadbeef"),
        (&[], 2, "which deliveries"),
        (&["latest", "status:5xx"], 2, "condition"),
        (&["stats:5xx"], 2, "^^^^^"),
        (&["latest", "--speed", "2"], 2, "--original-timing"),
        (&["latest", "--chaos", "thrice"], 2, "twice"),
        (&["latest", "--rate", "5/d"], 2, "not a rate"),
        (&["task", "--edit"], 2, "one delivery"),
        (&["since:beginning"], 3, "nobody is there"),
    ] {
        let ran = replay(folder, closed.port, arguments).await.exits(code);
        assert!(ran.err().contains(said), "{arguments:?}: {}", ran.err());
    }
    let ran = run(command(folder, &["since:beginning"])).await.exits(2);
    assert!(ran.err().contains("no target for task.created") && ran.err().contains("--to"), "{}", ran.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_go_on_until_it_succeeds() {
    let stage = store(2, Environment::Unknown).await;
    let handler = picky(|n, count| n == 0 && count < 2).await;
    let patient = ["since:beginning", "--until-success", "--pause", "10ms"];
    let ran = replay(stage.path(), handler.port, &patient).await.exits(0);
    assert_eq!(came(&handler.seen), [0, 0, 0, 1]);
    assert!(ran.out().contains("4 sent: 2 2xx, 2 5xx"), "{}", ran.out());
    let never = answering(NO).await;
    replay(stage.path(), never.port, &[&patient[..], &["--tries", "3", "--limit", "1"]].concat()).await.exits(1);
    assert_eq!(came(&never.seen), [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_is_the_same_for_the_same_seed_and_a_dry_run_tells_it() {
    let stage = store(30, Environment::Unknown).await;
    let arguments = ["since:beginning", "--chaos", "twice=50%,shuffle,drop=10%,late=40ms", "--seed", "5"];
    let dry = replay(stage.path(), 1, &[&arguments[..], &["--dry-run", "--json"]].concat()).await.exits(0);
    let planned: Vec<usize> = dry
        .json()
        .iter()
        .map(|l| (0..30).find(|n| l["id"] == id(*n)).map(|n| n as usize).expect("one of them"))
        .collect();
    assert!(dry.err().contains(&format!("{} would be sent", planned.len())), "{}", dry.err());
    assert!(planned.len() > 30 && !planned.is_sorted(), "{planned:?}");
    let handler = answering(OK).await;
    let ran = replay(stage.path(), handler.port, &arguments).await.exits(0);
    assert_eq!(came(&handler.seen), planned);
    assert!(ran.out().contains("left out by chaos") && ran.err().contains("--seed 5"), "{}{}", ran.out(), ran.err());
    let rest = answering(OK).await;
    replay(stage.path(), rest.port, &[&arguments[..], &["--skip", "20"]].concat()).await.exits(0);
    assert_eq!(came(&rest.seen), planned[20..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_when_and_where() {
    let stage = store(3, Environment::Unknown).await;
    let ran =
        replay(stage.path(), 3000, &["since:beginning", "--original-timing", "--speed", "0.5", "--dry-run"]).await;
    let out = ran.exits(0).out();
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    assert!(lines[2].starts_with("+0.200 s") && lines[2].ends_with("http://localhost:3000/hook"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_copy_is_sent_in_its_place() {
    let stage = store(2, Environment::Unknown).await;
    let handler = answering(OK).await;
    let mut command =
        command(stage.path(), &["latest", "--edit", "--no-resign", "--times", "2", "--to", &handler.port.to_string()]);
    command.env("EDITOR", "sed -i -e 's/n=1;/n=77;/' -e 's,POST /hook,PUT /other,'");
    run(command).await.exits(0);
    assert_eq!(came(&handler.seen), [77, 77]);
    assert!(handler.seen.all()[0].starts_with(b"PUT /other HTTP/1.1\r\n"));
    let mut unchanged = self::command(stage.path(), &["latest", "--edit", "--to", &handler.port.to_string()]);
    unchanged.env("EDITOR", "true");
    let ran = run(unchanged).await.exits(0);
    assert!(ran.err().contains("nothing was changed"), "{}", ran.err());
    let nobody = self::command(stage.path(), &["latest", "--edit", "--to", &handler.port.to_string()]);
    assert!(run(nobody).await.exits(2).err().contains("EDITOR"));
    assert_eq!(came(&handler.seen), [77, 77]);
    let ran = replay(stage.path(), handler.port, &["latest", "--resign"]).await.exits(2);
    assert!(ran.err().contains("no secret"), "{}", ran.err());
    let signed = ["latest", "--resign", "--secret", "whsec_replay"];
    replay(stage.path(), handler.port, &signed).await.exits(0);
    let sent = String::from_utf8_lossy(&handler.seen.all()[2]).to_lowercase();
    assert!(sent.contains("signature-input:") && sent.contains("content-digest:"), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_stays_on_this_machine_unless_it_is_allowed_to_leave() {
    let stage = store(2, Environment::Production).await;
    let handler = answering(OK).await;
    // Any address of this machine that is not loopback; 0.0.0.0 leads to this machine and is none either.
    let elsewhere = format!("http://0.0.0.0:{}", handler.port);
    let ran = run(command(stage.path(), &["since:beginning", "--to", &elsewhere])).await.exits(1);
    assert_eq!(came(&handler.seen), [1]);
    assert!(ran.out().contains("not sent: deliveries from Healthie's production environment"), "{}", ran.out());
    for more in [&[][..], &["--resign", "--secret", "x"], &["--dry-run"]] {
        let ran = run(command(stage.path(), &[&[&id(0), "--to", &elsewhere][..], more].concat())).await.exits(2);
        assert!(ran.err().contains("--allow-production"), "{}", ran.err());
    }
    let dry = run(command(stage.path(), &["since:beginning", "--dry-run", "--to", &elsewhere])).await.exits(1);
    assert!(dry.out().contains("not sent"), "{}", dry.out());
    assert_eq!(came(&handler.seen), [1]);
    replay(stage.path(), handler.port, &[&id(0)]).await.exits(0);
    run(command(stage.path(), &[&id(0), "--allow-production", "--to", &elsewhere])).await.exits(0);
    assert_eq!(came(&handler.seen), [1, 0, 0]);
}

/// The driver as the inspector uses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_what_is_under_way_and_tells_what_is_left() {
    let stage = store(40, Environment::Unknown).await;
    let open = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&open);
    let handler = serve(move |mut s, seen| {
        let gate = Arc::clone(&gate);
        async move {
            while let Some(request) = read_request(&mut s).await {
                if seen.push(request) > 10 {
                    gate.acquire().await.unwrap().forget();
                }
                s.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let local = Local {
        store_key: None,
        data: stage.path().join("data"),
        secrets: Vec::new(),
        policy: Policy::default(),
        host_header: HostHeader::Sent,
        trust: Trust::default(),
    };
    let control: Control = local.connect().await.unwrap();
    let mut plan = Plan::new(Selection::Query(String::new()));
    plan.copy.to = Some(handler.port.to_string().parse().unwrap());
    plan.pace = Pace { at_once: 4, ..Pace::default() };
    let mut stopping = None;
    let seen = handler.seen.clone();
    let stop = async move { seen.wait_for(14).await };
    let told = |told: Told<'_>| {
        if let Told::Stopping(under_way) = told {
            stopping = Some(under_way);
            open.add_permits(under_way);
        }
        ControlFlow::Continue(())
    };
    let summary = patiently("the end", replay::run(&control, &plan, told, stop)).await.unwrap();
    assert_eq!((stopping, summary.sent, summary.ok), (Some(4), 14, 14), "{summary:?}");
    let left = summary.left.unwrap();
    let after = left.after.map(|id| id.to_string());
    assert_eq!((left.requests, left.or_more, after), (26, false, Some(id(13))));

    let rest = answering(OK).await;
    plan.after = left.after;
    plan.copy.to = Some(rest.port.to_string().parse().unwrap());
    let never = std::future::pending();
    let summary =
        patiently("the rest", replay::run(&control, &plan, |_| ControlFlow::Continue(()), never)).await.unwrap();
    assert_eq!((summary.sent, summary.left), (26, None));
    let mut all = came(&rest.seen);
    all.sort_unstable();
    assert_eq!(all, (14..40).collect::<Vec<_>>());
    // Whoever is told may stop it too.
    let first = |told: Told<'_>| match told {
        Told::Tried(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    plan.after = None;
    plan.pace = Pace { interval: Duration::from_secs(3600), ..Pace::default() };
    let summary = patiently("the stop", replay::run(&control, &plan, first, std::future::pending())).await.unwrap();
    assert_eq!((summary.sent, summary.left.unwrap().requests), (1, 39));
    // What waits to be tried again is given up, and is left for whoever goes on.
    let never = answering(NO).await;
    plan.copy.to = Some(never.port.to_string().parse().unwrap());
    plan.limit = Some(1);
    let hour = Duration::from_secs(3600);
    let until_success = Some(UntilSuccess { pause: hour, tries: 9, within: hour * 9 });
    plan.pace = Pace { until_success, ..Pace::default() };
    let summary = patiently("the end", replay::run(&control, &plan, first, std::future::pending())).await.unwrap();
    assert_eq!((summary.sent, summary.failed, summary.given_up), (1, 1, 1));
    let left = summary.left.unwrap();
    assert_eq!((left.requests, left.after, left.limit), (1, None, Some(1)));
    // A delivery that was sent once of two times is sent both times by whoever goes on, and a stop after the last answer leaves nothing.
    plan.copy.to = Some(rest.port.to_string().parse().unwrap());
    (plan.limit, plan.pace, plan.manner.times) = (Some(3), Pace::default(), 2);
    for (stop_after, left) in [(3, Some((4, Some(id(0)), Some(2)))), (6, None)] {
        let mut count = 0;
        let some = |told: Told<'_>| {
            count += usize::from(matches!(told, Told::Tried(_)));
            if count == stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let summary = patiently("the stop", replay::run(&control, &plan, some, std::future::pending())).await.unwrap();
        let told = summary.left.map(|l| (l.requests, l.after.map(|id| id.to_string()), l.limit));
        assert_eq!((summary.sent, told), (stop_after as u64, left));
    }
    control.close().await;
}
