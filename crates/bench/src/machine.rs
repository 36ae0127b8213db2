//! What the figures were taken on, and how much memory a process holds.

use std::path::Path;
use std::time::Duration;

/// The first line: what one must know to compare two runs.
pub(crate) fn head() -> Vec<(&'static str, String)> {
    let system = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let build = if cfg!(debug_assertions) { "debug (its figures say little; use --release)" } else { "release" };
    vec![
        ("tunnel-bench", env!("CARGO_PKG_VERSION").to_owned()),
        ("build", build.to_owned()),
        ("cores", cores.to_string()),
        ("kernel", format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy())),
        ("temporary files on", file_system(&std::env::temp_dir())),
    ]
}

/// The kind of file system below a folder, as the system's table of mounts has it. In memory a sync costs nothing, and the ratios of spool
/// and archive then say little.
fn file_system(folder: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    match kind_of(&mounts, &folder) {
        Some(kind @ ("tmpfs" | "ramfs")) => format!("{kind} (in memory: set TMPDIR to a folder on a disk)"),
        Some(kind) => kind.to_owned(),
        None => "an unknown file system".to_owned(),
    }
}

/// Lines of `device mount-point kind …`: the longest mount point that the folder is below decides, and of two the later.
fn kind_of<'m>(mounts: &'m str, folder: &Path) -> Option<&'m str> {
    let lines = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    lines.max_by_key(|(len, _)| *len).map(|(_, kind)| kind)
}

/// The memory that a process holds (resident set), in MiB; nothing where the system does not tell.
pub(crate) fn resident_mib(pid: u32) -> Option<f64> {
    resident(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// This process's.
pub(crate) fn own_resident_mib() -> Option<f64> {
    resident_mib(std::process::id())
}

/// The processor time that a process has used so far, of all its threads; nothing where the system does not tell.
pub(crate) fn processor_time(pid: u32) -> Option<Duration> {
    let ticks = ticks(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// Fields 14 and 15, counted after the program's name, which may have spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_mib() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    5120 kB\nVmData:\t 1 kB\n"), Some(5.0));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn processor_time_is_of_user_and_system() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 9 8 7";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (x) S"), None);
    }

    #[test]
    fn the_nearest_mount_decides() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/deep xfs rw 0 0\n";
        assert_eq!(kind_of(mounts, Path::new("/tmp/x")), Some("tmpfs"));
        assert_eq!(kind_of(mounts, Path::new("/tmp/deep/x")), Some("xfs"));
        assert_eq!(kind_of(mounts, Path::new("/tmpx")), Some("ext4"));
        assert_eq!(kind_of("", Path::new("/")), None);
    }
}
