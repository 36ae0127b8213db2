//! The doormat of `healthie-tunnel`; everything is in the library.

fn main() -> std::process::ExitCode {
    healthie_tunnel::cli::main(std::env::args_os())
}
