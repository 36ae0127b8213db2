//! Peers that go half or wholly away in the middle, and thousands that say nothing: nothing half is delivered, and who sends something is served.

use healthie_relay::{Relay, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tunnel_spool::{ReadLimit, RedbSpool, Seq};
use tunnel_testkit::DEADLINE;

use crate::visitor::{self, DELIVERY, ask};

const CHUNKED: &str =
    "POST /hook HTTP/1.1\r\nHost: team.relay.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
const WHOLE: &str = "POST /hook HTTP/1.1\r\nHost: team.relay.test\r\nContent-Length: 10\r\n\r\n0123456789";

/// How many idle connections are held.
const CROWD: usize = 3000;

async fn connect(relay: &Relay) -> TcpStream {
    TcpStream::connect(relay.addresses().http[0]).await.unwrap()
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("it is ended");
    String::from_utf8_lossy(&rest).into_owned()
}

async fn stored(relay: Relay, data: &std::path::Path) -> usize {
    relay.stop().await;
    let spool = RedbSpool::open(&data.join("spool"), tunnel_spool::Limits::default()).unwrap();
    let limit = ReadLimit { count: 10_000, bytes: 1 << 24 };
    Store::new(spool).read(&"team".parse().unwrap(), Seq::ZERO, limit).unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_says_no_more_is_answered_what_it_asked() {
    let dir = tempfile::tempdir().unwrap();
    let relay = visitor::relay(dir.path(), |_| {}).await;
    for request in [WHOLE, CHUNKED] {
        for at in 0..=request.len() {
            let mut stream = connect(&relay).await;
            stream.write_all(&request.as_bytes()[..at]).await.unwrap();
            stream.shutdown().await.unwrap();
            let answer = rest(&mut stream).await;
            let head = request.find("\r\n\r\n").unwrap() + 4;
            let status = answer.split(' ').nth(1).unwrap_or("none");
            let expected = match at {
                _ if at == request.len() => "200",
                _ if at < head => "none",
                _ => "400",
            };
            assert_eq!(status, expected, "after {at} bytes of {request:?}");
        }
    }
    assert_eq!(stored(relay, dir.path()).await, 2, "only what was whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_torn_off_leaves_nothing_half() {
    let dir = tempfile::tempdir().unwrap();
    let relay =
        visitor::relay(dir.path(), |config| config.limits.unlimited = vec!["127.0.0.0/8".parse().unwrap()]).await;
    for request in [WHOLE, CHUNKED] {
        for at in 0..request.len() {
            let mut stream = connect(&relay).await;
            stream.write_all(&request.as_bytes()[..at]).await.unwrap();
            // The end is a reset, not a farewell.
            stream.set_zero_linger().unwrap();
        }
    }
    assert_eq!(ask(&mut connect(&relay).await, DELIVERY, "{}").await.unwrap().0, 200);
    assert_eq!(stored(relay, dir.path()).await, 1, "only what was whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_that_say_nothing_keep_nobody_out() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Both ends of each connection are files of this process.
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    let crowd = CROWD.min(usize::try_from(now.maximum.unwrap_or(u64::MAX)).unwrap_or(usize::MAX) / 3);
    let dir = tempfile::tempdir().unwrap();
    let relay = visitor::relay(dir.path(), |config| {
        config.limits.connections = crowd + 10;
        config.limits.unlimited = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let mut silent = Vec::new();
    for n in 0..crowd {
        let mut stream = connect(&relay).await;
        // Some have said a little.
        if n % 3 == 0 {
            stream.write_all(&WHOLE.as_bytes()[..n % 20]).await.unwrap();
        }
        silent.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(ask(&mut connect(&relay).await, DELIVERY, "{}").await.unwrap().0, 200);
    }
    // And one of them that says the rest is served too.
    let late = &mut silent[crowd / 3 * 3 - 2];
    assert_eq!(ask(late, DELIVERY, "{}").await.unwrap().0, 200);
    drop(silent);
    assert_eq!(stored(relay, dir.path()).await, 21);
}
