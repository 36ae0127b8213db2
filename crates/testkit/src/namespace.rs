//! Network namespaces with a bad line between them, where the machine allows it (root, `ip`, `iptables`, `tc`): real lost packets, which the
//! proxy can only imitate. Where it does not, stories say so and pass.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Two namespaces and a line between them; removed when dropped.
#[derive(Debug)]
pub struct Line {
    /// Their names: the near end and the far end.
    ends: [Namespace; 2],
}

/// One end of a [`Line`].
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// Its address on the line.
    address: &'static str,
}

/// The addresses of the two ends; namespaces share them with nobody.
const ADDRESSES: [&str; 2] = ["10.203.0.1", "10.203.0.2"];

/// Tells apart the lines of this process.
static LINES: AtomicU32 = AtomicU32::new(0);

impl Line {
    /// Lays a line between two new namespaces.
    ///
    /// # Errors
    /// It cannot be laid here; the text says why. Nothing is left behind.
    pub fn lay() -> Result<Line, String> {
        let number = LINES.fetch_add(1, Ordering::Relaxed);
        let end = |at: usize| {
            let name = format!("story-{}-{number}-{at}", std::process::id());
            run("ip", &["netns", "add", &name])?;
            Ok::<_, String>(Namespace { name, address: ADDRESSES[at] })
        };
        let ends = [end(0)?, end(1)?];
        let [near, far] = [ends[0].name.as_str(), ends[1].name.as_str()];
        run("ip", &["link", "add", "line", "netns", near, "type", "veth", "peer", "name", "line", "netns", far])?;
        for end in &ends {
            let address = format!("{}/24", end.address);
            run("ip", &["-n", &end.name, "address", "add", &address, "dev", "line"])?;
            run("ip", &["-n", &end.name, "link", "set", "line", "up"])?;
            run("ip", &["-n", &end.name, "link", "set", "lo", "up"])?;
        }
        Ok(Line { ends })
    }

    /// The end where the relay is, and the one where the agent is.
    pub fn ends(&self) -> &[Namespace; 2] {
        &self.ends
    }

    /// Loses this share of the packets in each direction, in percent.
    ///
    /// # Errors
    /// The machine cannot; the text says why.
    pub fn lose(&self, percent: u32) -> Result<(), String> {
        let share = format!("{:.2}", f64::from(percent) / 100.0);
        for end in &self.ends {
            let lose = ["-m", "statistic", "--mode", "random", "--probability", &share, "-j", "DROP"];
            let before = ["netns", "exec", &end.name, "iptables"];
            run("ip", &[&before[..], &["-F", "INPUT"]].concat())?;
            run("ip", &[&before[..], &["-A", "INPUT", "-i", "line"], &lose].concat())?;
        }
        Ok(())
    }

    /// Passes at most so many kilobits a second in each direction.
    ///
    /// # Errors
    /// As [`Line::lose`].
    pub fn throttle(&self, kilobits: u32) -> Result<(), String> {
        let rate = format!("{kilobits}kbit");
        self.ends.iter().try_for_each(|end| {
            let filter = ["root", "tbf", "rate", &rate, "burst", "16kb", "latency", "200ms"];
            run("tc", &[&["-n", &end.name, "qdisc", "replace", "dev", "line"], &filter[..]].concat())
        })
    }
}

impl Namespace {
    /// Its address on the line.
    pub fn address(&self) -> &'static str {
        self.address
    }

    /// What is to stand before a program so that it runs here.
    pub fn prefix(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Gives it another address on the line; one that it has already stays.
    ///
    /// # Panics
    /// If the machine refuses.
    pub fn answers_to(&self, address: &str) {
        let address = format!("{address}/24");
        run("ip", &["-n", &self.name, "address", "replace", &address, "dev", "line"]).expect("an address can be given");
    }

    /// Lets programs that run here find that address under that name, and no other name at all.
    ///
    /// # Panics
    /// If the machine's folder for such files cannot be written to.
    pub fn resolves(&self, name: &str, address: &str) {
        let folder = self.files();
        std::fs::create_dir_all(&folder).expect("root may write there");
        // Written in place: programs that run already see this very file.
        std::fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{address} {name}\n")).expect("a small file");
    }

    /// What `ip netns exec` puts over /etc.
    fn files(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// Does something on a thread that stands here: sockets that it makes belong here for good.
    ///
    /// # Panics
    /// If the namespace is gone, or `work` panics.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let here = scope.spawn(|| {
                let namespace = File::open(Path::new("/run/netns").join(&self.name)).expect("the namespace is there");
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter");
                work()
            });
            here.join().expect("it did what it was to do")
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // There only if a name was to resolve.
        let _ = std::fs::remove_dir_all(self.files());
        // The line goes with them.
        let _ = run("ip", &["netns", "delete", &self.name]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let done = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    match done.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            Err(format!("{program} {}: {said}", arguments.join(" ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Connection, Handler, skipped};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    #[test]
    fn a_line_joins_its_ends_and_nobody_else_and_leaves_nothing_behind() {
        let line = match Line::lay().and_then(|line| line.throttle(8000).map(|()| line)) {
            Ok(line) => line,
            Err(why) => return skipped(&why),
        };
        let [near, far] = line.ends();
        let handler = near.within(|| Handler::listening("10.203.0.1:0"));
        let mut connection = far.within(|| Connection::open(handler.address()));
        connection.send(REQUEST);
        assert_eq!(connection.answer().status(), Some(200));
        assert!(
            std::net::TcpStream::connect_timeout(&handler.address(), std::time::Duration::from_millis(200)).is_err()
        );
        // All packets are lost: nothing comes any more.
        if let Err(why) = line.lose(100) {
            return skipped(&why);
        }
        connection.send(REQUEST);
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(handler.received().len(), 1);
        let names = line.ends().each_ref().map(|end| end.name.clone());
        drop(line);
        assert!(names.iter().all(|name| !Path::new("/run/netns").join(name).exists()));
    }
}
