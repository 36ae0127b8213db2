//! The program on files of deliveries: to and from a store, with a running agent and without, and against a handler.

mod support;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use support::{Server, read_request, serve};
use tokio::io::AsyncWriteExt as _;
use tunnel_archive::{Archive, Intake, Options, Query};
use tunnel_delivery::{
    Delivery, DeliveryId, Environment, Headers, HttpVersion, SignatureStatus, Stored, Timestamp, Verdict,
};
use tunnel_fixture::SECRET;
use tunnel_signature::{Message, Profile, Reading, Request, Secret, Verifier};

/// When the first delivery of every store here was received.
const BEGAN: i64 = 1_763_714_000_000_000;
/// The secret of the store's deliveries.
const OURS: &str = "whsec_of_the_team";

struct Stage(tempfile::TempDir);

impl Stage {
    fn new() -> Stage {
        Stage(tempfile::tempdir().unwrap())
    }

    /// With a closed store in `data` that has these deliveries.
    async fn with(deliveries: Vec<Delivery>) -> Stage {
        let stage = Stage::new();
        let archive = Archive::open(&stage.path("data/archive"), Options::default()).unwrap();
        for delivery in deliveries {
            let mut signature = Verdict::bare(SignatureStatus::Valid);
            signature.profile = Some("guide".into());
            let intake = Intake {
                body_sha256: tunnel_signature::sha256(&delivery.body),
                event: tunnel_catalogue::read(&delivery.body),
                signature,
                queued: false,
                delivery: Arc::new(delivery),
            };
            archive.insert(intake).await.unwrap();
        }
        archive.close().await.unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn there(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_healthie-tunnel"));
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        command.env_clear().env("HOME", self.path("home")).env("RUST_BACKTRACE", "1");
        command
    }

    /// Runs `fixtures …` where it sees nothing but this stage.
    fn run(&self, arguments: &[&str]) -> Ran {
        let arguments = [&["fixtures"], arguments].concat();
        Ran(self.command(&arguments).output().unwrap(), arguments.join(" "))
    }

    /// The store in that data folder, oldest first.
    async fn stored(&self, data: &str) -> Vec<Stored> {
        let archive = Archive::open(&self.path(data).join("archive"), Options::default()).unwrap();
        let page = archive.list(&Query::default()).unwrap();
        let mut all: Vec<_> = page.items.iter().map(|line| archive.get(line.id).unwrap().unwrap()).collect();
        all.sort_by_key(|stored| stored.delivery.id);
        archive.close().await.unwrap();
        all
    }

    /// The names in a folder.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

struct Ran(Output, String);

impl Ran {
    #[track_caller]
    fn exits(self, code: i32) -> Ran {
        assert_eq!(self.0.status.code(), Some(code), "{}: {}{}", self.1, self.out(), self.err());
        self
    }

    fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    #[track_caller]
    fn says(self, text: &str) -> Ran {
        assert!(self.err().contains(text), "{}: not {text:?} but {}", self.1, self.err());
        self
    }

    fn lines(&self) -> Vec<Value> {
        self.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A running agent on `data` that never reaches its relay; it is killed at the end.
struct Agent(Child);

impl Agent {
    fn start(stage: &Stage) -> Agent {
        let relay = format!("http://127.0.0.1:{}", Server::closed().port);
        let arguments = [
            "listen",
            "--no-forward",
            "--keep",
            "forever",
            "--relay",
            &relay,
            "--token",
            "tok",
            "--ui",
            "json",
            "--data",
            "data",
        ];
        let mut child = stage.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        // By its first notice it can be asked.
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        assert!(lines.read_line(&mut line).unwrap() > 0, "the agent ended");
        assert!(stage.there("data/agent.json"), "{line}");
        // Somebody must read on, or the agent ends when it prints.
        std::thread::spawn(move || drop(std::io::copy(&mut lines, &mut std::io::sink())));
        Agent(child)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The n-th delivery: signed, received a second after the one before.
fn delivery(n: u8, environment: Environment, body: &[u8]) -> Delivery {
    let at = Timestamp::from_micros(BEGAN + i64::from(n) * 1_000_000);
    let target = "/t/team/hooks?x=%20";
    let request = Request { method: "POST", target, content_type: "application/json", body };
    let secret = Secret::new(OURS).unwrap();
    let signed = tunnel_signature::sign(Reading::plain(Profile::Guide), &secret, &request).unwrap();
    let mut headers = Headers::default();
    headers.push("hOST", "relay.test");
    headers.push("X-Odd", b"a\tb \xff".to_vec());
    headers.push("x-odd", "");
    for (name, value) in signed.lines() {
        headers.push(name, value.as_bytes().to_vec());
    }
    Delivery {
        id: DeliveryId::build(at, [n; 10]),
        received_at: at,
        tunnel: "team".parse().unwrap(),
        source_ip: "127.0.0.1".parse().unwrap(),
        environment,
        method: "POST".parse().unwrap(),
        target: target.parse().unwrap(),
        prefix_len: 7,
        http_version: HttpVersion::Http11,
        headers,
        body: body.to_vec().into(),
        lost: Vec::new(),
    }
}

fn odd_ones() -> Vec<Delivery> {
    let bodies: [&[u8]; 4] = [
        br#"{"event_type":"appointment.created","resource_id":"1","resource_id_type":"Appointment"}"#,
        b"\x00\xff\x1b[2J not text\r\n",
        b"",
        "{\"event_type\":\"task.updated\",\r\n\"resource_id\":2,\"of\":\"Zoë\u{202e}\"}\n".as_bytes(),
    ];
    (0..).zip(bodies).map(|(n, body)| delivery(n, Environment::Staging, body)).collect()
}

/// What must come back as it was.
fn bytes(delivery: &Delivery) -> Value {
    let lines: Vec<_> = delivery.headers.iter().map(|line| (line.name.to_vec(), line.value.to_vec())).collect();
    let ip = delivery.source_ip;
    json!([
        delivery.method,
        delivery.target,
        delivery.prefix_len,
        lines,
        delivery.body.to_vec(),
        ip,
        delivery.environment
    ])
}

#[track_caller]
fn same(sent: &[Delivery], stored: &[Stored], what: &str) {
    // In the order of the files' names.
    let sorted = |mut all: Vec<Value>| {
        all.sort_by_key(ToString::to_string);
        all
    };
    let (sent, back) =
        (sent.iter().map(bytes).collect(), stored.iter().map(|stored| bytes(&stored.delivery)).collect());
    assert_eq!(sorted(sent), sorted(back), "{what}");
}

#[tokio::test]
async fn deliveries_go_into_every_form_and_come_back_byte_for_byte() {
    let sent = odd_ones();
    let stage = Stage::with(sent.clone()).await;
    for (n, out) in ["set", "set.tar", "set.tar.gz", "set.tar.zst", "set.har"].into_iter().enumerate() {
        stage.run(&["save", "--all", out, "--data", "data"]).exits(0).says("4 fixtures in");
        let data = format!("data-{n}");
        let loaded = stage.run(&["load", out, "--json", "--data", &data, "--secret", OURS]).exits(0).lines();
        assert_eq!(loaded.len(), 4);
        assert!(loaded.iter().all(|one| one["signature"] == "valid"), "{out}: {loaded:?}");
        let stored = stage.stored(&data).await;
        same(&sent, &stored, out);
        for one in &stored {
            assert!(sent.iter().all(|sent| sent.id != one.delivery.id), "{out}: the id is a new one");
            assert!(one.delivery.received_at > sent[3].received_at, "{out}: it was received now");
            let note = one.note.as_deref().unwrap();
            assert!(note.starts_with(&format!("loaded from {out}: ")) && note.contains("2025-11-21T"), "{note}");
        }
        let ids: Vec<_> = stored.iter().map(|one| json!(one.delivery.id)).collect();
        let told: Vec<_> = loaded.iter().map(|one| one["id"].clone()).collect();
        assert_eq!(ids, told, "{out}: in the order of their names");
    }
    // One alone, by the end of its id, and its name says which it is.
    stage.run(&["save", "020202020202", "one.fixture", "--data", "data"]).exits(0);
    stage.run(&["load", "one.fixture", "--data", "data-one"]).exits(0).says("1 fixture loaded");
    same(&sent[2..3], &stage.stored("data-one").await, "one.fixture");
    assert!(
        stage.names("set").contains(&"appointment.created-000000000000.fixture".to_owned()),
        "{:?}",
        stage.names("set")
    );
}

#[tokio::test]
async fn it_works_beside_a_running_agent_too() {
    let sent = odd_ones();
    let stage = Stage::with(sent.clone()).await;
    let agent = Agent::start(&stage);
    let data = ["--data", "data"];
    stage.run(&[&["save", "--event", "*", "latest", "set", "--json"][..], &data].concat()).exits(0);
    assert_eq!(stage.names("set").len(), 2, "those with an event, each once");
    stage.run(&[&["save", "--all", "set.tar"][..], &data].concat()).exits(0);
    // Longer than any other question to an agent.
    let long = format!("{{\"event_type\":\"long.one\",\"pad\":\"{}\"}}", "\\\"\u{1}x".repeat(700_000));
    std::fs::write(stage.path("long.http"), format!("POST /long HTTP/1.1\r\nHost: x\r\n\r\n{long}")).unwrap();
    for set in ["set.tar", "long.http"] {
        stage.run(&[&["load", set][..], &data].concat()).exits(0);
    }
    drop(agent);
    let stored = stage.stored("data").await;
    assert_eq!(stored.len(), 9);
    same(&sent, &stored[..4], "what was there");
    same(&sent, &stored[4..8], "what was loaded");
    assert!(stored[8].delivery.body == long && stored[8].delivery.tunnel.as_str() == "fixtures");
    assert!(stored[4..].iter().all(|one| one.attempts.is_empty()), "nothing was forwarded");
}

/// A body about a person, as production may send it.
const PERSON: &[u8] = br#"{"event_type":"patient.updated","resource_id":"88123","resource_id_type":"User","first_name":"Wilhelmina","email":"wilhelmina@clinic.test","dob":"1961-04-09"}"#;

#[tokio::test]
async fn what_came_from_production_is_not_saved_unless_it_is_scrubbed_or_somebody_says_so() {
    let person = |n| delivery(n, Environment::Production, PERSON);
    let stage = Stage::with(vec![delivery(0, Environment::Staging, b"{}"), person(1), person(2)]).await;
    for out in ["set", "set.tar.zst", "set.har"] {
        let ran = stage.run(&["save", "--all", out, "--data", "data"]).exits(2);
        let ran = ran.says("came from production and is not scrubbed").says("--allow-phi").says("--scrub");
        assert!(!stage.there(out) && ran.out().is_empty());
    }
    std::fs::create_dir(stage.path("set")).unwrap();
    stage.run(&["save", "--all", "set", "--data", "data"]).exits(2);
    assert!(stage.names("set").is_empty(), "not even the one that may be saved");

    stage.run(&["save", "latest", "as-it-is.fixture", "--allow-phi", "--data", "data"]).exits(0);
    assert!(stage.text("as-it-is.fixture").contains("Wilhelmina"));

    stage.run(&["save", "--all", "set", "--scrub", "--expect", "204", "--data", "data"]).exits(0);
    assert_eq!(stage.names("set"), ["delivery-1.fixture", "patient.updated-1.fixture", "patient.updated-2.fixture"]);
    let text = stage.text("set/patient.updated-1.fixture");
    for gone in ["Wilhelmina", "clinic.test", "1961-04-09", "88123", "020202"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    assert!(
        text.contains("environment: production\n")
            && text.contains("scrubbed: yes\n")
            && text.contains("expect: 204\n"),
        "{text}"
    );
    let body = |name: &str| stage.text(name).lines().find(|line| line.starts_with("| ")).map(str::to_owned);
    assert_eq!(body("set/patient.updated-1.fixture"), body("set/patient.updated-2.fixture"), "one person");
    stage.run(&["lint", "set"]).exits(0);
    // Once more beside them, under names that are free.
    stage.run(&["save", "latest", "set", "--scrub", "--data", "data"]).exits(0);
    assert!(stage.there("set/patient.updated-3.fixture"));
    stage.run(&["save", "--all", "set", "--scrub", "--force", "--data", "data"]).exits(0);
    assert_eq!(stage.names("set").len(), 4, "in the place of those that were there");
}

#[tokio::test]
async fn with_the_same_key_a_person_is_the_same_in_two_sets() {
    let stage = Stage::with(vec![delivery(1, Environment::Production, PERSON)]).await;
    stage.run(&["save", "latest", "in.fixture", "--allow-phi", "--data", "data"]).exits(0);
    for (out, key) in [("a", true), ("b", true), ("c", false)] {
        let out = format!("{out}.fixture");
        let key: &[&str] = if key { &["--key", "team.key"] } else { &[] };
        stage.run(&[&["scrub", "in.fixture", &out], key].concat()).exits(0).says("1 fixture scrubbed");
    }
    stage.run(&["save", "latest", "d.fixture", "--scrub", "--key", "team.key", "--data", "data"]).exits(0);
    assert_eq!(stage.text("a.fixture"), stage.text("b.fixture"));
    assert_eq!(stage.text("a.fixture"), stage.text("d.fixture"), "saving and scrubbing are the same as both at once");
    assert_ne!(stage.text("a.fixture"), stage.text("c.fixture"));
    std::fs::create_dir(stage.path("set")).unwrap();
    stage.run(&["scrub", "in.fixture", "set", "--key", "set/key"]).exits(2).says("would lie in the set");
    assert!(stage.names("set").is_empty());
}

#[test]
fn lint_tells_file_and_line_and_never_the_value() {
    let stage = Stage::new();
    std::fs::create_dir(stage.path("set")).unwrap();
    let head = "healthie-tunnel fixture 1\nPOST /a HTTP/1.1\nHost: x.test\n\nbody text\n";
    std::fs::write(
        stage.path("set/a.fixture"),
        format!("{head}| {{\"email\":\n|  \"jo@hospital.org\"}}\n\nprovenance\n"),
    )
    .unwrap();
    std::fs::write(stage.path("set/b.fixture"), "healthie-tunnel fixture 1\nnonsense\n").unwrap();
    let ran = stage.run(&["lint", "set"]).exits(1).says("should not be committed");
    assert!(ran.out().contains("set/a.fixture:7: ") && ran.out().contains("set/b.fixture:2: "), "{}", ran.out());
    assert!(!ran.out().contains("hospital") && !ran.err().contains("hospital"));
    let found: Value = serde_json::from_str(&stage.run(&["lint", "set/a.fixture", "--json"]).exits(1).out()).unwrap();
    assert_eq!(
        (&found[0]["line"], &found[0]["rule"], &found[0]["file"]),
        (&json!(7), &json!("mail"), &json!("set/a.fixture"))
    );
    stage.run(&["lint", "nowhere"]).exits(2).says("nowhere");

    let entry = |url: &str| json!({ "request": { "method": "POST", "url": url, "headers": [] } });
    let har = json!({ "log": { "entries": [entry("wss://x.test/"), entry("https://x.test/")] } });
    std::fs::write(stage.path("x.har"), har.to_string()).unwrap();
    let ran = stage.run(&["lint", "x.har"]).exits(1);
    assert!(ran.out().starts_with("x.har: entry 1: its URL is neither"), "{}", ran.out());
    stage.run(&["list", "x.har"]).exits(0).says("left out of x.har: entry 1: its URL");
}

fn shipped() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/resources").display().to_string()
}

/// A handler that answers 200 where the signature holds with that secret, and 401 where it does not.
async fn verifying(secret: &'static str) -> Server {
    serve(move |mut stream, seen| async move {
        let verifier = Verifier::new(&[Secret::new(secret).unwrap()]);
        while let Some(request) = read_request(&mut stream).await {
            let read = tunnel_fixture::read("request", &request).unwrap().request;
            let headers: Vec<(&[u8], &[u8])> = read.headers.iter().map(|line| (&*line.name, &*line.value)).collect();
            let (method, target) = (read.method.as_str(), read.target.as_str());
            let verdict = verifier.verify(&Message { method, target, headers: &headers, body: &read.body });
            let valid = matches!(verdict, tunnel_signature::Verdict::Valid(_));
            seen.push(request);
            let answer = if valid { "HTTP/1.1 200 OK" } else { "HTTP/1.1 401 No" };
            stream.write_all(format!("{answer}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_is_run_against_a_handler() {
    let stage = Stage::new();
    let set = shipped();
    let handler = verifying(SECRET).await;
    let port = handler.port.to_string();
    let ran = stage.run(&["run", &set, "--to", &port]).exits(0).says("answered as expected");
    let files =
        std::fs::read_dir(&set).unwrap().filter(|e| e.as_ref().unwrap().path().extension().unwrap() == "fixture");
    let files = files.count();
    assert_eq!((ran.out().lines().count(), handler.seen.all().len()), (files, files));
    assert!(ran.out().contains("allergy_sensitivity.updated.fixture"), "{}", ran.out());

    // One whose signature must not hold is sent as it is, and a handler that takes it is found out.
    let text = std::fs::read_to_string(format!("{set}/task.updated.fixture")).unwrap();
    let bad = text.replace("signature: valid", "signature: invalid");
    let bad = bad.lines().filter(|line| !line.starts_with("expect:")).collect::<Vec<_>>().join("\n") + "\n";
    std::fs::write(stage.path("bad.fixture"), bad).unwrap();
    let ran = stage
        .run(&["run", "bad.fixture", "--to", &port, "--json"])
        .exits(1)
        .says("1 of 1 were not answered as expected");
    let line = &ran.lines()[0];
    assert_eq!((&line["passed"], &line["expected"], &line["status"]), (&json!(false), &json!("4xx"), &json!(200)));

    // A handler with a secret of its own.
    let other = verifying(OURS).await;
    let port = other.port.to_string();
    stage.run(&["run", &set, "--to", &port]).exits(1).says(SECRET).says("--resign");
    stage.run(&["run", &set, "--to", &port, "--resign", "--secret", OURS]).exits(0);
    stage.run(&["run", &set, "--to", &port, "--resign"]).exits(2).says("--secret");

    let closed = Server::closed().port.to_string();
    let ran = stage.run(&["run", &set, "--to", &closed]).exits(3);
    assert!(ran.out().is_empty(), "{}", ran.out());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_relay_s_prefix_was_taken_off_is_signed_for_what_the_handler_sees() {
    let body = br#"{"event_type":"task.updated","resource_id":"1"}"#;
    let stage = Stage::with(vec![delivery(0, Environment::Staging, body)]).await;
    stage.run(&["save", "latest", "set.tar.gz", "--scrub", "--data", "data"]).exits(0);
    let handler = verifying(SECRET).await;
    let port = handler.port.to_string();
    stage.run(&["run", "set.tar.gz", "--to", &port]).exits(0);
    let request = handler.seen.all().remove(0);
    assert!(request.starts_with(b"POST /hooks?x="), "{}", String::from_utf8_lossy(&request));
}

#[tokio::test]
async fn nothing_is_half_done_and_everything_is_refused_by_name() {
    let stage = Stage::with(odd_ones()).await;
    let save = |arguments: &[&str]| stage.run(&[&["save"], arguments, &["--data", "data"]].concat());
    save(&["latest"]).exits(2).says("no delivery is named").says("fixtures save latest latest");
    save(&["--all", "two.fixture"]).exits(2).says("4 fixtures do not fit into two.fixture");
    save(&["latest", "x.zip"]).exits(2).says("none of the forms");
    save(&["latest", "x.http"]).exits(2).says("raw request");
    save(&["nothing", "x"]).exits(1).says("there is no delivery \"nothing\"");
    save(&["--event", "none.*", "x"]).exits(1).says("nothing is stored that fits");
    save(&["latest", "x", "--key", "k"]).exits(2).says("add --scrub");
    save(&["--all", "set.tar", "--scrub"]).exits(2).says("not JSON").says("--replace-bodies");
    assert_eq!(stage.names("."), ["data"], "nothing was made");

    for out in ["a.fixture", "a.tar", "a.har", "set"] {
        save(&["latest", out]).exits(0);
        let before = (out != "set").then(|| std::fs::read(stage.path(out)).unwrap());
        save(&["latest", out]).exits(2).says("is there already").says("--force");
        assert_eq!(before, (out != "set").then(|| std::fs::read(stage.path(out)).unwrap()));
        save(&["latest", out, "--force"]).exits(0);
    }
    // One name of four is taken: none is added.
    save(&["--all", "set"]).exits(2);
    assert_eq!(stage.names("set").len(), 1);
    save(&["--all", "set", "--force"]).exits(0);
    assert_eq!(stage.names("set").len(), 4);

    // A set with one bad file: nothing of it is stored, and no store is made.
    std::fs::write(stage.path("set/z.fixture"), "healthie-tunnel fixture 1\nPOST /a HTTP/1.1\nno header\n").unwrap();
    stage.run(&["load", "set", "--data", "new"]).exits(2).says("set/z.fixture:3: ");
    assert!(!stage.there("new"));
    for (file, content, said) in [
        ("not.tar.gz", &b"\x1f\x8bnonsense"[..], "not.tar.gz"),
        ("text.txt", b"hello", "neither a folder nor an archive"),
        ("empty.har", b"{\"log\":{\"entries\":[]}}", "there are no fixtures in empty.har"),
        ("bad.har", b"{\n\"log\":7}", "bad.har:2: "),
        ("up.tar", &tar_with("../up.fixture"), "leads out of the archive"),
    ] {
        std::fs::write(stage.path(file), content).unwrap();
        for command in ["load", "list", "scrub", "lint"] {
            let mut arguments = vec![command, file];
            arguments.extend(match command {
                "load" => &["--data", "new"][..],
                "scrub" => &["new"],
                _ => &[],
            });
            stage.run(&arguments).exits(2).says(said);
        }
        stage.run(&["run", file, "--to", "1"]).exits(2).says(said);
    }
    assert!(!stage.there("new") && !stage.there("up.fixture") && !stage.there("../up.fixture"));
}

/// Whoever opens a pipe waits for somebody who writes to it.
#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let stage = Stage::new();
    assert!(Command::new("mkfifo").arg(stage.path("pipe.fixture")).status().unwrap().success());
    for command in ["list", "lint"] {
        let child = stage.command(&["fixtures", command, "pipe.fixture"]).stderr(Stdio::piped()).spawn().unwrap();
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(child.wait_with_output().unwrap()));
        let ended = ended.recv_timeout(support::PATIENCE);
        // Lets a program go that waits all the same.
        drop(std::fs::File::options().read(true).write(true).open(stage.path("pipe.fixture")).unwrap());
        let ran = Ran(ended.unwrap_or_else(|_| panic!("{command} waits")), command.to_owned());
        ran.exits(3).says("it is not a file");
    }
}

/// A tar file with one empty file of that name.
fn tar_with(name: &str) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(b"00000000000");
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    [&header[..], &[0; 1024]].concat()
}

#[tokio::test]
async fn a_list_shows_what_hostile_files_say_without_doing_it() {
    let stage = Stage::with(odd_ones()).await;
    stage.run(&["save", "--all", "set", "--data", "data"]).exits(0);
    let head = "healthie-tunnel fixture 1\nPOST /a HTTP/1.1\n\nbody empty\n\nprovenance\nevent: \"a\\x1b[2Jb\"\n";
    std::fs::write(stage.path("set/evil.fixture"), head).unwrap();
    let ran = stage.run(&["list", "set"]).exits(0);
    assert_eq!(ran.out().lines().count(), 5);
    assert!(!ran.out().contains('\u{1b}'), "{:?}", ran.out());
    assert!(ran.out().contains("task.updated-030303030303.fixture"), "{}", ran.out());
    let all: Value = serde_json::from_str(&stage.run(&["list", "set", "--json"]).exits(0).out()).unwrap();
    assert_eq!(
        (&all[0]["name"], &all[0]["profile"]),
        (&json!("appointment.created-000000000000.fixture"), &json!("guide"))
    );
    assert_eq!(all[0]["environment"], "staging");
}

#[cfg(not(feature = "sealed"))]
#[tokio::test]
async fn a_build_without_sealed_archives_says_how_to_have_them() {
    let stage = Stage::with(odd_ones()).await;
    stage.run(&["save", "latest", "x.tar.zst.age", "--data", "data"]).exits(2).says("--features sealed").says("age -p");
    std::fs::write(stage.path("y.tar.age"), "age-encryption.org/v1\n-> scrypt").unwrap();
    stage.run(&["list", "y.tar.age"]).exits(2).says("--features sealed");
    assert!(!stage.there("x.tar.zst.age"));
}

#[cfg(feature = "sealed")]
#[tokio::test]
async fn a_sealed_archive_opens_with_its_passphrase_only() {
    let sent = odd_ones();
    let stage = Stage::with(sent.clone()).await;
    for (file, text) in [("right", "correct horse\n"), ("wrong", "battery\n"), ("none", "\n")] {
        std::fs::write(stage.path(file), text).unwrap();
    }
    let set = "set.tar.zst.age";
    stage.run(&["save", "--all", set, "--passphrase-file", "right", "--data", "data"]).exits(0).says("sealed in");
    stage.run(&["load", set, "--passphrase-file", "right", "--data", "new"]).exits(0);
    same(&sent, &stage.stored("new").await, set);
    stage.run(&["list", set, "--passphrase-file", "wrong"]).exits(2).says("cannot be opened with this passphrase");
    stage.run(&["list", set, "--passphrase-file", "none"]).exits(2).says("the passphrase is empty");
    assert!(stage.names(".").iter().all(|name| !name.starts_with(".fixture")));
}
