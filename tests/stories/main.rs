//! The stories: what a developer and Healthie see of the two programs, told over real processes. One file, one theme.

mod ack;
mod bad_links;
mod big_and_small;
mod check;
mod crashes;
mod crowd;
mod demo;
mod devices;
mod every_event;
mod explained;
mod first_delivery;
mod full_disk;
mod handlers;
mod logs;
mod lost_answers;
mod passthrough;
mod reconnect;
mod refusals;
mod routing;
mod second_terminal;
mod shutdown;
mod signatures;
mod tenants;
mod tls;
mod trigger;
mod verbatim;
