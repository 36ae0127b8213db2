//! What the system says of this process and of the disk under the data folder, under the names that every exporter has for it. Figures that the
//! system does not tell are left out.

use std::path::Path;

/// How the process stands. Each figure is there where the system tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    /// Bytes of memory that are in use.
    pub(super) resident_bytes: Option<u64>,
    /// File descriptors that are open.
    pub(super) open_fds: Option<u64>,
    /// File descriptors that may be.
    pub(super) max_fds: Option<u64>,
    /// Seconds of processor time, user's and system's.
    pub(super) cpu_seconds: Option<f64>,
}

impl Process {
    /// Asks the system.
    pub(super) fn look() -> Process {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let page = rustix::param::page_size() as u64;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Process {
            resident_bytes: std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| resident(&text, page)),
            open_fds: std::fs::read_dir("/proc/self/fd").ok().map(|all| all.count() as u64),
            max_fds: limit.current,
            cpu_seconds: std::fs::read_to_string("/proc/self/stat").ok().and_then(|text| cpu(&text, ticks)),
        }
    }
}

/// The second number of `statm` is the pages in use (proc(5)).
fn resident(statm: &str, page: u64) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(page)
}

/// Numbers 14 and 15 of `stat` are the ticks of user and system (proc(5)). The program's name, which is number 2, stands in brackets and may hold
/// anything, brackets and blanks too.
fn cpu(stat: &str, ticks: f64) -> Option<f64> {
    let mut after_name = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (after_name.next()?.parse().ok()?, after_name.next()?.parse().ok()?);
    Some((user + system) as f64 / ticks)
}

/// Bytes that are free for us on the disk that `dir` is on.
pub(super) fn free_bytes(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_name_moves_no_number() {
        let stat = "42 (a) b 9) S 1 42 42 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 3 0 100 1 1";
        assert_eq!(cpu(stat, 100.0), Some(2.0));
        assert_eq!(cpu("42 (a) S 1", 100.0), None);
        assert_eq!(resident("100 20 5 1 0 9 0", 4096), Some(81920));
        assert_eq!(resident("", 4096), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_all_of_it() {
        let now = Process::look();
        assert!(now.resident_bytes.is_some_and(|b| b > 1 << 20), "{now:?}");
        assert!(now.open_fds.zip(now.max_fds).is_some_and(|(open, most)| open > 0 && open <= most), "{now:?}");
        assert!(now.cpu_seconds.is_some() && free_bytes(Path::new("/")).is_some(), "{now:?}");
    }
}
