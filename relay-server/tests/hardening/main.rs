//! The relay's public door under attack: a corpus of raw requests straight and through real proxies, HTTP/2 by hand, broken TLS, abused WebSockets,
//! and peers that are slow, half gone or many.

mod answers;
mod corpus;
mod fronts;
mod smuggling;
mod tap;
