//! An array map of which much is read and written at a time: with a system call for each of 100,000 elements a change would
//! take most of its time in those.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Pod,
    maps::{Array, Map, MapData, MapError, PerCpuArray},
    util::nr_cpus,
};

use super::{Error, sys};

/// Elements read or written with one system call.
pub const BATCH: usize = 4096;

/// An array with the operations that aya's handle lacks.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct Elements<V: Pod> {
    /// aya's handle.
    pub array: Array<MapData, V>,
    name: &'static str,
    fd: OwnedFd,
}

impl<V: Pod> Elements<V> {
    pub(super) fn new(map: Map, name: &'static str) -> Result<Self, Error> {
        let fd = match &map {
            Map::Array(data) => data.fd().as_fd().try_clone_to_owned(),
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
        .map_err(|source| Error::Batch { map: name, source })?;
        let array = map.try_into().map_err(|source: MapError| Error::Map { map: name, source })?;
        Ok(Self { array, name, fd })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.array.len()
    }

    /// Whether there are none, which the kernel does not allow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    pub fn get(&self, place: u32) -> Result<V, Error> {
        self.array.get(&place, 0).map_err(|source| Error::Map { map: self.name, source })
    }

    /// All of them.
    pub fn read(&self) -> Result<Vec<V>, Error> {
        self.read_some(0, self.len())
    }

    /// So many of them, as far as they are there.
    pub fn read_some(&self, first: u32, count: u32) -> Result<Vec<V>, Error> {
        let count = count.min(self.len().saturating_sub(first)) as usize;
        let mut all = Vec::with_capacity(count);
        // Of the last one that was read.
        let mut position = first.checked_sub(1);
        while all.len() < count {
            let wanted = BATCH.min(count - all.len());
            let mut keys = vec![0_u32; wanted];
            let mut values: Vec<V> = std::iter::repeat_with(sys::zero).take(wanted).collect();
            let read = sys::lookup_batch(self.fd.as_fd(), &mut position, &mut keys, &mut values);
            let (read, more) = read.map_err(|source| self.error(source))?;
            all.extend(values.into_iter().take(read));
            if !more {
                break;
            }
        }
        Ok(all)
    }

    /// Sets elements one after the other.
    pub fn write(&mut self, places: &[u32], values: &[V]) -> Result<(), Error> {
        let batches = places.chunks(BATCH).zip(values.chunks(BATCH));
        batches
            .into_iter()
            .try_for_each(|(places, values)| sys::update_batch(self.fd.as_fd(), places, values))
            .map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Batch { map: self.name, source }
    }
}

/// An array with a value for each CPU, of which much is read at a time.
#[derive(Debug)]
pub struct PerCpuElements<V> {
    name: &'static str,
    fd: OwnedFd,
    types: PhantomData<V>,
}

impl<V: Pod> PerCpuElements<V> {
    pub(super) fn new(map: Map, name: &'static str) -> Result<Self, Error> {
        let fd = match &map {
            Map::PerCpuArray(data) => data.fd().as_fd().try_clone_to_owned(),
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
        .map_err(|source| Error::Batch { map: name, source })?;
        // It checks the sizes.
        let _typed: PerCpuArray<MapData, V> =
            map.try_into().map_err(|source| Error::Map { map: name, source })?;
        Ok(Self { name, fd, types: PhantomData })
    }

    /// What the values of all CPUs make together, for each of the first so many elements: on many CPUs they are many bytes.
    pub fn read<T>(&self, wanted: usize, together: impl Fn(&[V]) -> T) -> Result<Vec<T>, Error> {
        let error = |source| Error::Batch { map: self.name, source };
        let cpus = nr_cpus().map_err(|(_, source)| error(source))?;
        let (mut all, mut position) = (Vec::new(), None);
        let batch = BATCH.min(wanted);
        let mut keys = vec![0_u32; batch];
        let mut values: Vec<V> = std::iter::repeat_with(sys::zero).take(batch * cpus).collect();
        while all.len() < wanted {
            let read = sys::lookup_batch(self.fd.as_fd(), &mut position, &mut keys, &mut values);
            let (count, more) = read.map_err(error)?;
            all.extend(values.chunks(cpus).take(count).map(&together));
            if !more {
                break;
            }
        }
        Ok(all)
    }
}
