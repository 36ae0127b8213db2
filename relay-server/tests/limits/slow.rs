//! Whoever is slow, or only seems to be there.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::hall::{House, S, STRANGER, answer, ends, post, took};

#[tokio::test(start_paused = true)]
async fn a_connection_may_wait_for_its_request_and_a_head_must_come() {
    let house = House::new(|config| {
        config.limits.idle_time = 50 * S;
        config.limits.head_time = 5 * S;
    })
    .await;
    took(ends(&mut house.connect(STRANGER)).await, 50 * S);

    // The head's time begins with its first byte, and bytes now and then do not make it longer.
    let mut slow = house.connect(STRANGER);
    tokio::time::sleep(20 * S).await;
    let began = Instant::now();
    let (mut read, mut write) = tokio::io::split(&mut slow);
    let trickle = async {
        for byte in b"POST /hook HTTP/1.1\r\nHost: team.relay.test\r\nX: ".iter().cycle() {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(S).await;
        }
    };
    tokio::select! { _ = ends(&mut read) => {} () = trickle => {} }
    took(began.elapsed(), 5 * S);
    assert_eq!(house.hits("head_time").await, 1);

    // Between requests likewise.
    let mut kept = house.connect(STRANGER);
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: relay.test\r\n\r\n").await.unwrap();
    assert_eq!(answer(&mut kept).await.unwrap().status(), 200);
    took(ends(&mut kept).await, 50 * S);
}

#[tokio::test(start_paused = true)]
async fn a_body_must_come_at_a_rate_and_in_time() {
    let house = House::new(|config| {
        config.limits.body_time = 30 * S;
        config.limits.body_rate = 100;
    })
    .await;
    for (bytes_a_second, lasts) in [(0, 5), (50, 9), (200, 30)] {
        let mut slow = house.connect(STRANGER);
        slow.write_all(post("team.relay.test", 100_000, "").as_bytes()).await.unwrap();
        let began = Instant::now();
        let (mut read, mut write) = tokio::io::split(slow);
        let sending = tokio::spawn(async move {
            while write.write_all(&vec![b'x'; bytes_a_second]).await.is_ok() {
                tokio::time::sleep(S).await;
            }
        });
        let refusal = answer(&mut read).await.unwrap();
        took(began.elapsed(), lasts * S);
        assert_eq!((refusal.status(), refusal.code().as_str()), (408, "body-timeout"), "{bytes_a_second}");
        assert_eq!(refusal.header("connection"), Some("close"));
        sending.abort();
    }
    assert_eq!(house.hits("body_time").await, 3);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_loses_the_connection() {
    let house = House::new(|config| {
        config.limits.write_time = 7 * S;
        config.limits.idle_time = 1000 * S;
        config.limits.address_rate.per_second = 0;
    })
    .await;
    // Requests one after the other, and no answer is ever taken.
    let mut deaf = house.connect_by(STRANGER, 600);
    let began = Instant::now();
    let ask = b"GET /healthz HTTP/1.1\r\nHost: relay.test\r\n\r\n";
    while deaf.write_all(ask).await.is_ok() {}
    took(began.elapsed(), 7 * S);

    // One that takes a byte now and then is no better.
    let mut sips = house.connect_by(STRANGER, 100);
    let began = Instant::now();
    sips.write_all(ask).await.unwrap();
    let mut sip = [0];
    while sips.read(&mut sip).await.is_ok_and(|n| n > 0) {
        tokio::time::sleep(S).await;
    }
    // What is in the pipe is read after it was ended.
    assert!(began.elapsed() < 120 * S, "{:?}", began.elapsed());
    assert_eq!(house.hits("read_time").await, 2);
}
