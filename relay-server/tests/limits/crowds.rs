//! Many connections: each address has its part, and whoever only sits there keeps nobody out.

use tokio::io::{AsyncWriteExt as _, DuplexStream};

use crate::hall::{HEALTHIE, House, S, STRANGER, answer, ends};

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: relay.test\r\n\r\n";

/// Whether it is served.
async fn is_served(connection: &mut DuplexStream) -> bool {
    connection.write_all(HEALTH).await.is_ok() && answer(connection).await.is_some_and(|a| a.status() == 200)
}

#[tokio::test(start_paused = true)]
async fn those_who_hold_all_places_keep_nobody_out() {
    let house = House::new(|config| config.limits.connections = 200).await;
    let address = |n: usize| format!("198.51.{}.{}", n / 200, n % 200);
    let mut idle: Vec<DuplexStream> = (0..200).map(|n| house.connect(&address(n))).collect();
    tokio::time::sleep(S).await;
    // Some have begun a head, or a body.
    for (n, one) in idle.iter_mut().enumerate().skip(100) {
        let begun: &[u8] = if n % 2 == 0 {
            b"POST /hook HT"
        } else {
            b"POST /hook HTTP/1.1\r\nHost: team.relay.test\r\nContent-Length: 9\r\n\r\n"
        };
        one.write_all(begun).await.unwrap();
    }
    for n in 0..400 {
        assert!(is_served(&mut house.connect(&address(1000 + n))).await, "newcomer {n}");
    }
    let mut healthie = house.connect(HEALTHIE);
    assert!(is_served(&mut healthie).await);
    // What has proven itself stays while others come that have not.
    for n in 0..1000 {
        idle.push(house.connect(&address(3000 + n)));
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(S).await;
    assert!(is_served(&mut healthie).await);
    assert!(house.hits("connections").await > 0);
}

#[tokio::test(start_paused = true)]
async fn an_address_has_its_part_and_all_of_its_neighbours_with_it() {
    let house = House::new(|config| {
        config.limits.connections_per_address = 3;
        config.limits.unlimited = vec!["10.0.0.0/8".parse().unwrap()];
        config.proxies.trusted = vec!["10.9.0.0/16".parse().unwrap()];
    })
    .await;
    for neighbours in [[STRANGER; 4], ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:9::", "2001:db8::4"]] {
        let mut held: Vec<DuplexStream> = neighbours[..3].iter().map(|from| house.connect(from)).collect();
        tokio::time::sleep(S / 10).await;
        let mut more = house.connect(neighbours[3]);
        assert!(ends(&mut more).await < S, "it is ended at once");
        for one in &mut held {
            assert!(is_served(one).await);
        }
        // A place that is given up can be had.
        drop(held.pop());
        tokio::time::sleep(S / 10).await;
        assert!(is_served(&mut house.connect(neighbours[3])).await);
    }
    assert_eq!(house.hits("connections_per_address").await, 2);
    for free in [HEALTHIE, "10.1.2.3", "::ffff:10.9.0.1"] {
        let mut many: Vec<DuplexStream> = (0..20).map(|_| house.connect(free)).collect();
        for one in &mut many {
            assert!(is_served(one).await, "{free}");
        }
    }
}
