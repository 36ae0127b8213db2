//! Handing a request to targets that behave and to targets that do not, over raw sockets.

mod support;

use std::time::Duration;

use bytes::Bytes;
use healthie_tunnel::dial::{Dialer, Trust};
use healthie_tunnel::forward::{
    Attempted, Client, HostHeader, How, Interrupt, KEPT_BODY, Outgoing, TargetUrl, attempt,
};
use support::{Server, read_request, serve};
use tokio::io::AsyncWriteExt as _;
use tunnel_delivery::{Cause, ErrorKind, Headers};
use tunnel_protocol::AnswerFailure;

fn client() -> Client {
    Client::new(Dialer::new(Trust::default()), HostHeader::Sent, Interrupt::default())
}

fn outgoing(body: &'static [u8]) -> Outgoing {
    let mut headers = Headers::default();
    headers.push("hoSt", "team.relay.test");
    headers.push("X-Twice", "1");
    headers.push("content-LENGTH", body.len().to_string());
    headers.push("x-tWICE", vec![0xff, b' ', 0xfe]);
    Outgoing {
        method: "POST".into(),
        target: "/a/%2e%2E/?q=%zz".into(),
        headers,
        body: Bytes::from_static(body),
        resigned: false,
        marks: None,
    }
}

fn how(millis: u64) -> How {
    How { cause: Cause::Forward, limit: Duration::from_millis(millis), for_sender: true }
}

async fn send(client: &Client, server: &Server) -> Attempted {
    send_within(client, server, 60_000).await
}

/// What comes of a target that answers in part and then stalls: with more time where not even that part came, as on a busy machine.
async fn send_to_stalling(server: &Server, part: &str) -> Attempted {
    for millis in [150, 1_500, 15_000] {
        let done = send_within(&client(), server, millis).await;
        if done.attempt.response_body == part {
            return done;
        }
    }
    panic!("{part} did not come");
}

async fn send_within(client: &Client, server: &Server, millis: u64) -> Attempted {
    let to: TargetUrl = server.port.to_string().parse().unwrap();
    attempt(client, &to, &outgoing(b"{\"a\":1}"), how(millis)).await
}

fn kind(done: &Attempted) -> Option<ErrorKind> {
    done.attempt.error.as_ref().map(|e| e.kind)
}

#[tokio::test]
async fn the_request_goes_out_byte_for_byte_and_the_answer_comes_back_as_sent() {
    let server = serve(|mut s, seen| async move {
        while let Some(request) = read_request(&mut s).await {
            seen.push(request);
            s.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n").await.unwrap();
            s.write_all(b"HTTP/1.1 201 Made\r\nX-b: 1\r\nx-A: \xff\r\nX-B: 2\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbody").await.unwrap();
        }
    })
    .await;
    let client = client();
    for _ in 0..3 {
        let done = send(&client, &server).await;
        assert_eq!((done.attempt.status, kind(&done)), (Some(201), None));
        assert_eq!(done.attempt.response_body, "body");
        let lines: Vec<_> = done.attempt.response_headers.iter().map(|l| (l.name.to_vec(), l.value.to_vec())).collect();
        assert_eq!(
            lines[..3],
            [(b"X-b".to_vec(), b"1".to_vec()), (b"x-A".to_vec(), vec![0xff]), (b"X-B".to_vec(), b"2".to_vec())]
        );
        let answer = done.answer.unwrap();
        assert_eq!((answer.status, &answer.body[..], answer.headers.0.len()), (201, &b"body"[..], 3));
    }
    let expected =
        b"POST /a/%2e%2E/?q=%zz HTTP/1.1\r\nhoSt: team.relay.test\r\nX-Twice: 1\r\ncontent-LENGTH: 7\r\nx-tWICE: \xff \xfe\r\n\r\n{\"a\":1}";
    assert_eq!(server.seen.all(), vec![expected.to_vec(); 3]);
    assert_eq!(server.seen.connections(), 1, "the connection is kept");
}

#[tokio::test]
async fn big_bodies_go_and_come_whole() {
    let server = serve(|mut s, seen| async move {
        while let Some(request) = read_request(&mut s).await {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.len());
            s.write_all(head.as_bytes()).await.unwrap();
            s.write_all(&request).await.unwrap();
            seen.push(request);
        }
    })
    .await;
    let client = client();
    let to: TargetUrl = server.port.to_string().parse().unwrap();
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    for _ in 0..2 {
        let out = Outgoing { body: body.clone().into(), ..outgoing(b"") };
        let done = attempt(&client, &to, &out, how(60_000)).await;
        assert_eq!(kind(&done), None, "{:?}", done.attempt.error);
        assert!(done.answer.unwrap().body.ends_with(&body));
        assert_eq!((done.attempt.response_body.len(), done.attempt.response_truncated), (KEPT_BODY, true));
    }
    assert!(server.seen.all().iter().all(|request| request.ends_with(&body)));
}

#[tokio::test]
async fn nobody_there() {
    let server = Server::closed();
    let done = send(&client(), &server).await;
    assert_eq!((done.attempt.status, kind(&done)), (None, Some(ErrorKind::Connect)));
    assert_eq!(done.answer.unwrap_err(), AnswerFailure::Unreachable);
    let message = done.attempt.error.unwrap().message;
    assert!(message.contains(&server.port.to_string()), "{message}");
}

#[tokio::test]
async fn too_slow_before_and_after_the_status() {
    let silent = serve(|mut s, seen| async move {
        seen.push(read_request(&mut s).await.unwrap());
        std::future::pending::<()>().await;
    })
    .await;
    let done = send_within(&client(), &silent, 150).await;
    assert_eq!((done.attempt.status, kind(&done)), (None, Some(ErrorKind::Timeout)));
    assert_eq!(done.answer.unwrap_err(), AnswerFailure::Timeout);
    assert!(done.attempt.duration >= Duration::from_millis(150));

    let stalls = serve(|mut s, _| async move {
        read_request(&mut s).await.unwrap();
        s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let done = send_to_stalling(&stalls, "12345").await;
    assert_eq!((done.attempt.status, kind(&done)), (Some(200), Some(ErrorKind::Timeout)));
    assert!(done.attempt.response_truncated && !done.attempt.succeeded());
}

#[tokio::test]
async fn garbage_instead_of_and_after_a_status_line() {
    for (said, status) in [
        (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], None),
        (b"\x00\x01\x02\x03\x04", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk\r\n", Some(200)),
    ] {
        let server = serve(move |mut s, _| async move {
            read_request(&mut s).await.unwrap();
            s.write_all(said).await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let done = send(&client(), &server).await;
        let case = String::from_utf8_lossy(said).into_owned();
        assert_eq!(
            (done.attempt.status, kind(&done)),
            (status, Some(ErrorKind::Garbage)),
            "{case}: {:?}",
            done.attempt.error
        );
        assert_eq!(done.answer.unwrap_err(), AnswerFailure::Broken);
    }
}

#[tokio::test]
async fn closed_early() {
    for (said, status) in [
        (&b""[..], None),
        (b"HTTP/1.1 200 OK\r\nContent-", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", Some(200)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", Some(200)),
    ] {
        let server = serve(move |mut s, seen| async move {
            seen.push(read_request(&mut s).await.unwrap());
            s.write_all(said).await.unwrap();
        })
        .await;
        let done = send(&client(), &server).await;
        let case = String::from_utf8_lossy(said).into_owned();
        assert_eq!(
            (done.attempt.status, kind(&done)),
            (status, Some(ErrorKind::Closed)),
            "{case}: {:?}",
            done.attempt.error
        );
        assert_eq!(server.seen.all().len(), 1, "{case}: a fresh connection is not tried twice");
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_replaced() {
    // Answers one request on each connection and closes it.
    let server = serve(|mut s, seen| async move {
        seen.push(read_request(&mut s).await.unwrap());
        s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let client = client();
    for _ in 0..4 {
        let done = send(&client, &server).await;
        assert_eq!((done.attempt.status, kind(&done)), (Some(200), None), "{:?}", done.attempt.error);
    }
    assert_eq!((server.seen.all().len(), server.seen.connections()), (4, 4));
}

#[tokio::test]
async fn a_request_that_was_read_whole_is_never_silently_sent_again() {
    // Answers the first request of a connection, reads the second one and closes without an answer.
    let server = serve(|mut s, seen| async move {
        seen.push(read_request(&mut s).await.unwrap());
        s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        seen.push(read_request(&mut s).await.unwrap());
    })
    .await;
    let client = client();
    assert_eq!(send(&client, &server).await.attempt.status, Some(200));
    let done = send(&client, &server).await;
    assert_eq!((done.attempt.status, kind(&done)), (None, Some(ErrorKind::Closed)), "{:?}", done.attempt.error);
    assert_eq!((server.seen.all().len(), server.seen.connections()), (2, 1), "one copy of each");
}

#[tokio::test]
async fn what_came_of_an_answer_is_kept_when_the_rest_does_not_come() {
    let stalls = serve(|mut s, _| async move {
        read_request(&mut s).await.unwrap();
        let said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n5\r\n67890\r\n";
        s.write_all(said).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let done = send_to_stalling(&stalls, "1234567890").await;
    assert_eq!((done.attempt.status, kind(&done)), (Some(200), Some(ErrorKind::Timeout)));
    assert!(done.attempt.response_truncated);
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let server = serve(|mut s, _| async move {
        read_request(&mut s).await.unwrap();
        s.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let block = vec![b'x'; 64 * 1024];
        while s.write_all(&block).await.is_ok() {}
    })
    .await;
    let done = send(&client(), &server).await;
    assert_eq!((done.attempt.status, kind(&done)), (Some(200), None), "{:?}", done.attempt.error);
    assert_eq!((done.attempt.response_body.len(), done.attempt.response_truncated), (KEPT_BODY, true));
    assert_eq!(done.answer.unwrap_err(), AnswerFailure::TooLarge, "half an answer is not passed on");
}

#[tokio::test]
async fn redirects_are_answers() {
    let server = serve(|mut s, seen| async move {
        while let Some(request) = read_request(&mut s).await {
            seen.push(request);
            s.write_all(b"HTTP/1.1 307 Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let done = send(&client(), &server).await;
    assert_eq!((done.attempt.status, server.seen.all().len()), (Some(307), 1));
}

#[tokio::test]
async fn an_interrupt_ends_what_is_under_way() {
    let silent = serve(|mut s, seen| async move {
        seen.push(read_request(&mut s).await.unwrap());
        std::future::pending::<()>().await;
    })
    .await;
    let interrupt = Interrupt::default();
    let client = Client::new(Dialer::new(Trust::default()), HostHeader::Sent, interrupt.clone());
    let seen = silent.seen.clone();
    let (done, ()) = tokio::join!(send(&client, &silent), async move {
        seen.wait_for(1).await;
        interrupt.pull();
    });
    assert_eq!(kind(&done), Some(ErrorKind::Interrupted));
    assert_eq!(kind(&send(&client, &silent).await), Some(ErrorKind::Interrupted), "it stays pulled");
}
