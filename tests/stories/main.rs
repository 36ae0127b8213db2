//! The stories: what a developer and Healthie see of the two programs, told over real processes. One file, one theme.

mod ack;
mod big_and_small;
mod demo;
mod devices;
mod every_event;
mod explained;
mod first_delivery;
mod handlers;
mod logs;
mod passthrough;
mod reconnect;
mod refusals;
mod routing;
mod second_terminal;
mod shutdown;
mod signatures;
mod tenants;
mod tls;
mod verbatim;
