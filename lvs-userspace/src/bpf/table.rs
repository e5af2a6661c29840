//! A big hash map that is walked a batch at a time, so that the caller can do other things in between.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapError},
};

use super::{Error, sys};

/// Entries read with one system call. More bring nothing: the copying dominates.
const BATCH: usize = 1024;

/// A hash map with the operations that aya's handle lacks.
#[derive(Debug)]
pub struct Table<K, V> {
    /// aya's handle.
    pub map: HashMap<MapData, K, V>,
    name: &'static str,
    fd: OwnedFd,
}

impl<K: Pod, V: Pod> Table<K, V> {
    pub(super) fn new(map: Map, name: &'static str) -> Result<Self, Error> {
        let fd = match &map {
            Map::HashMap(data) => data.fd().as_fd().try_clone_to_owned(),
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
        .map_err(|source| Error::Batch { map: name, source })?;
        let map = map.try_into().map_err(|source: MapError| Error::Map { map: name, source })?;
        Ok(Self { map, name, fd })
    }
}

impl<K: Pod, V: Pod> Table<K, V> {
    /// Starts a walk.
    #[must_use]
    pub const fn sweep(&self) -> Sweep<K, V> {
        Sweep { position: None, ended: false, batch: BATCH, types: PhantomData }
    }

    /// Removes an entry and gives the value that it had at that moment, so that what has changed since the
    /// caller looked is not lost. `None` where there is no such entry.
    pub fn take(&self, key: &K) -> Result<Option<V>, Error> {
        sys::lookup_and_delete(self.fd.as_fd(), key)
            .map_err(|source| Error::Batch { map: self.name, source })
    }

    /// Puts an entry back that [`take`](Self::take) has taken, unless there is a new one by now.
    pub fn put_back(&self, key: &K, value: &V) -> Result<(), Error> {
        sys::insert_new(self.fd.as_fd(), key, value)
            .map_err(|source| Error::Batch { map: self.name, source })
    }
}

/// One walk over a [`Table`]. Entries that are added or removed meanwhile may be missed; all others are
/// seen once at least.
#[derive(Debug)]
pub struct Sweep<K, V> {
    position: Option<u32>,
    ended: bool,
    batch: usize,
    types: PhantomData<(K, V)>,
}

impl<K: Pod, V: Pod> Sweep<K, V> {
    /// The next entries; empty at the end of the table.
    pub fn next(&mut self, table: &Table<K, V>) -> Result<Vec<(K, V)>, Error> {
        while !self.ended {
            let mut keys: Vec<K> = std::iter::repeat_with(sys::zero).take(self.batch).collect();
            let mut values: Vec<V> = std::iter::repeat_with(sys::zero).take(self.batch).collect();
            match sys::lookup_batch(table.fd.as_fd(), &mut self.position, &mut keys, &mut values) {
                Ok((count, more)) => {
                    self.ended = !more;
                    if count > 0 {
                        return Ok(keys.into_iter().zip(values).take(count).collect());
                    }
                }
                // One bucket holds more than a batch.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => self.batch *= 2,
                Err(source) => return Err(Error::Batch { map: table.name, source }),
            }
        }
        Ok(Vec::new())
    }
}
