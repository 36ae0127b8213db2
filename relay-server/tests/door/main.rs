//! The relay's public door from outside, in one process with it: TLS, certificates, HTTP/2, proxies.

mod acme;
mod broken_peers;
mod figures;
mod http2;
mod proxies;
mod raw_http2;
mod raw_tls;
mod raw_websocket;
mod tls;
mod visitor;
