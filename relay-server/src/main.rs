//! The doormat of `healthie-relay`: everything is in the library.

fn main() -> std::process::ExitCode {
    healthie_relay::run()
}
