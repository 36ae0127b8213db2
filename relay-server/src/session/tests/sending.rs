//! What goes out, in which order, how much at once, and what is told where something is missing.

use super::*;

/// An onlooker that had the name first and was not told to go yet takes what it was sent: none of it is taken for the device that has the name now.
#[tokio::test]
async fn what_an_onlooker_has_taken_is_taken_for_no_device_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let (team, desk): (TunnelName, DeviceName) = ("team".parse().unwrap(), "desk".parse().unwrap());
    shared.spool.watch(&team, &desk, tunnel_spool::Start::Now, NOW).await.unwrap();
    let pass = Pass::made_up(&TokenId::parse("0123456789ab").unwrap(), Access::ReadOnly);
    let mut eye = session_with(&shared, "desk", pass, tunnel_spool::Place { after: Seq(0), new: true, gap: None });
    shared.spool.append(delivery(1)).await.unwrap();
    assert!(eye.fill().is_ok());
    shared.spool.join(&team, &desk, tunnel_spool::Start::Beginning, NOW).await.unwrap();
    assert!(eye.frame(ToRelay::Taken(vec![1]).encode()).is_err(), "it has to go");
    assert_eq!(shared.spool.devices(&team).unwrap()[0].waiting, 1);
}

type Answered = oneshot::Receiver<Result<AnswerBody, AnswerFailure>>;

fn offered(shared: &Shared, delivery: &Arc<Delivery>) -> Answered {
    let (reply, answered) = oneshot::channel();
    let until = Instant::now() + std::time::Duration::from_secs(60);
    shared.hub.offer(&delivery.tunnel, Offer { delivery: Arc::clone(delivery), until, reply }).unwrap();
    answered
}

/// The numbers and places of the deliveries in the outbox.
fn sent(session: &mut Session) -> Vec<(u64, Option<u64>)> {
    let frames = std::iter::from_fn(|| session.ledger.outbox.pop());
    let deliveries = frames.filter_map(|frame| match ToAgent::decode(frame).unwrap() {
        ToAgent::Delivery(d) => Some((d.n, d.seq)),
        _ => None,
    });
    deliveries.collect()
}

/// However the session's other work falls: an agent that was given the copy first would forward it, and then again for the sender that waits.
#[tokio::test]
async fn what_is_offered_goes_out_before_its_copy_from_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let _other = session(&shared, "other").await;
    let mut answering = session(&shared, "answering").await;
    for (number, expected) in [(1, [(1, None), (2, Some(1))]), (2, [(3, None), (4, Some(2))])] {
        let delivery = delivery(number);
        let _waits = offered(&shared, &delivery);
        shared.spool.append(delivery).await.unwrap();
        // As after a frame of the agent, before the offer had its turn.
        assert!(answering.fill().is_ok());
        assert_eq!(sent(&mut answering), expected);
    }
}

/// What the session tells the agent, as long as it has something to read for; at most so many reads.
async fn told(session: &mut Session) -> Vec<String> {
    for _ in 0..5 {
        assert!(session.fill().is_ok());
        let Some(reading) = session.reading.take() else {
            let frames = std::iter::from_fn(|| session.ledger.outbox.pop());
            return frames
                .map(|frame| match ToAgent::decode(frame).unwrap() {
                    ToAgent::Delivery(d) => format!("{:?}", d.seq),
                    ToAgent::Gap(gap) => format!("{} to {}: {:?}", gap.from, gap.upto, gap.reason),
                    other => format!("{other:?}"),
                })
                .collect();
        };
        assert!(session.was_read(reading.await).is_ok());
    }
    panic!("it reads on and on")
}

#[tokio::test]
async fn all_that_was_to_come_is_too_old() {
    let dir = tempfile::tempdir().unwrap();
    let shared = shared(dir.path());
    let mut slow = session(&shared, "slow").await;
    for number in 1..=3 {
        shared.spool.append(delivery(number)).await.unwrap();
    }
    let later = Timestamp::from_micros(NOW.as_micros() + 73 * 3_600_000_000);
    assert_eq!(shared.spool.expire(later).await.unwrap().len(), 1);
    assert_eq!(told(&mut slow).await, ["1 to 3: Age"]);
    // It may not have reached the agent: it is told again should it come anew.
    assert_eq!(slow.ledger.newly_taken(), None);
    shared.spool.append(delivery(4)).await.unwrap();
    assert_eq!(told(&mut slow).await, ["Some(4)"]);
}

#[test]
fn an_agent_that_allows_anything_is_sent_a_bounded_amount() {
    let hello = |window_deliveries, window_bytes| Hello {
        versions: (1, 1),
        device: "a".parse().unwrap(),
        software: String::new(),
        start: Start::Now,
        resume: None,
        window_deliveries,
        window_bytes,
        device_key: None,
    };
    let fits = |hello: &Hello, len| {
        let mut window = window(hello);
        while window.on_their_way() < 10_000 && window.allows(len) {
            window.sent(len);
        }
        window.on_their_way()
    };
    assert_eq!(fits(&hello(u32::MAX, u64::MAX), 0), 1024);
    assert_eq!(fits(&hello(u32::MAX, u64::MAX), 1 << 20), 16);
    assert_eq!((fits(&hello(7, 3 << 20), 0), fits(&hello(7, 3 << 20), 1 << 20)), (7, 3));
}
