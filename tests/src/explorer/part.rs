//! A part of a world: shared between worlds until it changes, and hashed once.

use std::{cell::Cell, hash::Hash, ops::Deref, rc::Rc};

use super::print::print_of;

/// A site or a link, shared.
#[derive(Debug, Clone)]
pub struct Part<T>(Rc<Printed<T>>);

#[derive(Debug, Clone)]
struct Printed<T> {
    value: T,
    print: Cell<Option<u64>>,
}

impl<T: Clone + Hash> Part<T> {
    /// A part of its own.
    pub fn new(value: T) -> Self {
        Self(Rc::new(Printed { value, print: Cell::new(None) }))
    }

    /// To change it, in this world alone.
    pub fn change(&mut self) -> &mut T {
        let printed = Rc::make_mut(&mut self.0);
        printed.print.set(None);
        &mut printed.value
    }

    /// Its fingerprint.
    pub fn print(&self) -> u64 {
        let known = self.0.print.get();
        known.unwrap_or_else(|| {
            let print = print_of(&self.0.value, 5);
            self.0.print.set(Some(print));
            print
        })
    }

    /// Whether it is the very same: untouched since both were one.
    pub fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Part<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}
