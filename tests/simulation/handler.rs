//! The handlers on the developers' machines: one port for each device; slow, wrong or gone at times until they are told to be calm.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::sleep;
use turmoil::net::{TcpListener, TcpStream};

use crate::chance::Chance;
use crate::http::Conn;
use crate::log::Log;

/// The first device's port.
pub(crate) const FIRST_PORT: u16 = 8000;

/// How often each device's handler was given each request.
pub(crate) type Given = Arc<Mutex<BTreeMap<(usize, String), u32>>>;

/// What all handlers share.
#[derive(Clone)]
pub(crate) struct Handlers {
    pub(crate) calm: Arc<AtomicBool>,
    pub(crate) given: Given,
    pub(crate) chance: Chance,
    pub(crate) log: Log,
}

impl Handlers {
    /// Serves one device's handler.
    pub(crate) async fn serve(self, device: usize) {
        let port = FIRST_PORT + u16::try_from(device).unwrap_or(0);
        let listener = match TcpListener::bind(("0.0.0.0", port)).await {
            Ok(listener) => listener,
            Err(e) => return self.log.wrong(format_args!("a handler cannot listen: {e}")),
        };
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().connection(device, stream));
        }
    }

    async fn connection(self, device: usize, stream: TcpStream) {
        let mut conn = Conn::new(stream);
        while let Ok(request) = conn.message().await {
            let name = request.get("x-try").unwrap_or("?").to_owned();
            *self.given.lock().unwrap_or_else(PoisonError::into_inner).entry((device, name)).or_default() += 1;
            let mut status = "200 OK";
            if self.calm.load(Ordering::Relaxed) {
                sleep(self.chance.millis(0, 20)).await;
            } else {
                match self.chance.between(0, 39) {
                    0..=2 => sleep(self.chance.millis(1000, 8000)).await,
                    3..=5 => status = "500 Broken",
                    6 => return,
                    _ => sleep(self.chance.millis(0, 60)).await,
                }
            }
            let body = if self.chance.once_in(12) { "x".repeat(40_000) } else { "done".to_owned() };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if conn.write(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
