//! How many bytes of bodies are held at once: what has come in of each request and is not answered yet.
//!
//! A body counts as it comes and not as it is announced, so that announcing costs nobody anything. Beyond the bound a request is refused and not kept
//! waiting: what waits holds what it has, and nothing would ever get free. One address may hold an eighth of all, and strangers together three
//! quarters: what is left is Healthie's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// All bytes that are held.
pub(crate) struct Bodies {
    most: u64,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    all: u64,
    /// Of addresses that hold something.
    of: HashMap<IpAddr, u64>,
}

/// What one request holds; it is let go when this is dropped.
pub(crate) struct Hold {
    bodies: Arc<Bodies>,
    /// Whose it is; nothing for those who may use all there is.
    of: Option<IpAddr>,
    bytes: u64,
}

impl Bodies {
    /// At most so many bytes.
    pub(crate) fn new(most: u64) -> Arc<Bodies> {
        Arc::new(Bodies { most, books: Mutex::default() })
    }

    /// A hold of nothing yet, for a sender in this neighbourhood, or for one who may use all there is.
    pub(crate) fn hold(self: &Arc<Bodies>, of: Option<IpAddr>) -> Hold {
        Hold { bodies: Arc::clone(self), of, bytes: 0 }
    }

    /// How many bytes are held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> u64 {
        self.books.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Hold {
    /// Holds so many bytes more, if they may be held.
    #[must_use]
    pub(crate) fn grow(&mut self, more: u64) -> bool {
        let most = self.bodies.most;
        let mut books = self.bodies.books.lock().unwrap_or_else(PoisonError::into_inner);
        let all = books.all + more;
        if all > most {
            return false;
        }
        if let Some(of) = self.of {
            let his = books.of.get(&of).copied().unwrap_or(0) + more;
            // An address may always have one body on its way when nothing else is.
            if all > most / 4 * 3 || (his > most / 8 && his > more + self.bytes) {
                return false;
            }
            books.of.insert(of, his);
        }
        books.all = all;
        self.bytes += more;
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut books = self.bodies.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.all -= self.bytes;
        if let Some(of) = self.of
            && let Some(his) = books.of.get_mut(&of)
        {
            *his -= self.bytes;
            if *his == 0 {
                books.of.remove(&of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_part_and_strangers_leave_some() {
        let bodies = Bodies::new(800);
        let address = |n: u8| Some(IpAddr::from([10, 0, 0, n]));
        let mut first = bodies.hold(address(1));
        assert!(first.grow(100));
        let mut second = bodies.hold(address(1));
        assert!(!second.grow(1), "an eighth is one address's");
        let others: Vec<Hold> = (2..7)
            .map(|n| {
                let mut hold = bodies.hold(address(n));
                assert!(hold.grow(100), "{n}");
                hold
            })
            .collect();
        assert!(!bodies.hold(address(9)).grow(1), "three quarters are strangers'");
        let mut favoured = bodies.hold(None);
        assert!(favoured.grow(200) && !favoured.grow(1));
        drop(first);
        assert!(second.grow(50));
        drop((others, favoured, second));
        assert_eq!(bodies.held(), 0);
        assert!(bodies.books.lock().unwrap().of.is_empty());
    }

    #[test]
    fn one_long_body_may_pass_alone() {
        let bodies = Bodies::new(800);
        let mut long = bodies.hold(Some(IpAddr::from([10, 0, 0, 1])));
        assert!(long.grow(90) && long.grow(90) && long.grow(90));
        assert!(!bodies.hold(Some(IpAddr::from([10, 0, 0, 1]))).grow(1));
    }
}
