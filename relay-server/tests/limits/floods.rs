//! Many deliveries: 429 with when to come again, and what one sender does costs the others nothing.

use healthie_relay::Rate;
use tokio::io::AsyncWriteExt as _;

use crate::hall::{HEALTHIE, House, S, STRANGER, answer, post, too_long};

const FEW: Rate = Rate { per_second: 1, burst: 5 };

#[tokio::test(start_paused = true)]
async fn an_address_that_sends_too_much_is_told_when_to_come_again() {
    let house = House::new(|config| config.limits.address_rate = FEW).await;
    let unknown = post("nobody.relay.test", 0, "");
    for _ in 0..5 {
        assert_eq!(house.ask(STRANGER, &unknown).await.status(), 404);
    }
    let refusal = house.ask(STRANGER, &unknown).await;
    assert_eq!((refusal.status(), refusal.code().as_str()), (429, "too-many-requests"));
    let wait: u64 = refusal.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(house.ask("203.0.113.8", &unknown).await.status(), 404, "another address");
    for _ in 0..20 {
        assert_eq!(house.ask(HEALTHIE, &unknown).await.status(), 404);
    }
    let alive = "GET /healthz HTTP/1.1\r\nHost: relay.test\r\n\r\n";
    assert_eq!(house.ask(STRANGER, alive).await.status(), 200);
    tokio::time::sleep(S * u32::try_from(wait).unwrap()).await;
    assert_eq!(house.ask(STRANGER, &unknown).await.status(), 404);
    assert_eq!(house.hits("address_rate").await, 1);
}

#[tokio::test(start_paused = true)]
async fn strangers_may_fill_a_tunnel_and_healthie_still_comes_through() {
    let house = House::new(|config| config.limits.tunnel_rate = FEW).await;
    let mut strangers = 0..250_u8;
    let mut next = || format!("198.51.100.{}", strangers.next().unwrap());
    for _ in 0..5 {
        assert_eq!(house.ask(&next(), &too_long()).await.status(), 413);
    }
    let refusal = house.ask(&next(), &too_long()).await;
    assert_eq!((refusal.status(), refusal.code().as_str()), (429, "too-many-requests"));
    assert!(refusal.header("retry-after").is_some());
    assert_eq!(house.ask(HEALTHIE, &too_long()).await.status(), 413);
    assert_eq!(house.hits("tunnel_rate").await, 1);
    // A rate of its own is in force once it is set.
    house.set(|settings| settings.per_second = Some(100)).await;
    for _ in 0..50 {
        assert_eq!(house.ask(&next(), &too_long()).await.status(), 413);
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_held_are_bounded_in_all() {
    let house = House::new(|config| {
        config.limits.body = 1 << 20;
        config.limits.bodies = 4 << 20;
        config.limits.body_rate = 0;
    })
    .await;
    let long = "x".repeat(900 << 10);
    let begin = |from: String| {
        let mut connection = house.connect_by(&from, 2 << 20);
        let request = post("team.relay.test", 1 << 20, &long);
        async move {
            connection.write_all(request.as_bytes()).await.unwrap();
            connection
        }
    };
    let mut held = Vec::new();
    for n in 0..3 {
        held.push(begin(format!("198.51.100.{n}")).await);
        tokio::time::sleep(S / 100).await;
    }
    let mut more = begin("198.51.100.9".into()).await;
    let refusal = answer(&mut more).await.unwrap();
    assert_eq!((refusal.status(), refusal.code().as_str()), (503, "overloaded"));
    assert_eq!((refusal.header("retry-after"), refusal.header("connection")), (Some("5"), Some("close")));
    assert_eq!(house.hits("in_flight").await, 1);
    // There is something left for Healthie; and when one has gone, for others.
    let healthie = begin(HEALTHIE.into()).await;
    tokio::time::sleep(S / 10).await;
    assert_eq!(house.hits("in_flight").await, 1);
    drop((held, healthie));
    tokio::time::sleep(S).await;
    let _again = begin("198.51.100.9".into()).await;
    tokio::time::sleep(S / 10).await;
    assert_eq!(house.hits("in_flight").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_may_have_shorter_bodies_than_the_relay() {
    let house = House::new(|_| {}).await;
    house.set(|settings| settings.max_body = Some(9)).await;
    let refusal = house.ask(STRANGER, &post("team.relay.test", 10, "")).await;
    assert_eq!((refusal.status(), refusal.code().as_str()), (413, "body-too-large"));
    assert!(refusal.body.contains("9 bytes"), "{}", refusal.body);
    assert_eq!(house.hits("body_bytes").await, 1);
}
