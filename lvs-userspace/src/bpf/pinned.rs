//! The pinned maps as somebody reads them who does not run the data plane: by name, a batch at a time, and without any
//! write. It works while no controller runs.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
};
use lvs_common::abi::{
    ABI_VERSION, Clock, Flow, Identity, Interface, Load, Place, Server, Settings, Statistics,
    Template, TemplateKey, Tuple, V4, V6,
};

use super::{Elements, Error, PerCpuElements, Table, error::os_error};

/// What listings need.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct PinnedMaps {
    /// `IDENTITIES`.
    pub identities: HashMap<MapData, u32, Identity>,
    /// `SERVERS`.
    pub servers: Elements<Server>,
    /// `PLACES`.
    pub places: Elements<Place>,
    /// `LOADS`.
    pub loads: Elements<Load>,
    /// `STATISTICS`.
    pub statistics: PerCpuElements<Statistics>,
    /// `COUNTERS`.
    pub counters: PerCpuArray<MapData, u64>,
    /// `SETTINGS`.
    pub settings: Array<MapData, Settings>,
    /// `CLOCK`.
    pub clock: Array<MapData, Clock>,
    /// `CONNECTIONS4`.
    pub connections4: Table<Tuple<V4>, Flow<V4>>,
    /// `CONNECTIONS6`.
    pub connections6: Table<Tuple<V6>, Flow<V6>>,
    /// `TEMPLATES4`.
    pub templates4: Table<TemplateKey<V4>, Template>,
    /// `TEMPLATES6`.
    pub templates6: Table<TemplateKey<V6>, Template>,
}

impl PinnedMaps {
    /// Opens those below a pin directory.
    pub fn open(pin_dir: &Path) -> Result<Self, Error> {
        let directory = pin_dir.join(format!("v{ABI_VERSION}/maps"));
        let pins = Directory(directory);
        Ok(Self {
            identities: pins.typed("IDENTITIES", Map::HashMap)?,
            servers: pins.elements("SERVERS")?,
            places: pins.elements("PLACES")?,
            loads: pins.elements("LOADS")?,
            statistics: PerCpuElements::new(
                Map::PerCpuArray(pins.open("STATISTICS")?),
                "STATISTICS",
            )?,
            counters: pins.typed("COUNTERS", Map::PerCpuArray)?,
            settings: pins.typed("SETTINGS", Map::Array)?,
            clock: pins.typed("CLOCK", Map::Array)?,
            connections4: pins.table("CONNECTIONS4")?,
            connections6: pins.table("CONNECTIONS6")?,
            templates4: pins.table("TEMPLATES4")?,
            templates6: pins.table("TEMPLATES6")?,
        })
    }
}

/// The indexes of the interfaces that a data plane is attached to, as its map `INTERFACES` names them; none if there is no
/// data plane of this version.
pub(crate) fn attached_indexes(pin_dir: &Path) -> BTreeSet<u32> {
    let pins = Directory(pin_dir.join(format!("v{ABI_VERSION}/maps")));
    let map: Result<HashMap<_, u32, Interface>, _> = pins.typed("INTERFACES", Map::HashMap);
    map.map(|map| map.keys().filter_map(Result::ok).collect()).unwrap_or_default()
}

/// The directory of the pins.
struct Directory(PathBuf);

impl Directory {
    fn open(&self, map: &'static str) -> Result<MapData, Error> {
        let path = self.0.join(map);
        MapData::from_pin(&path).map_err(|source| {
            // Who may not look into the directory is told so by the kernel.
            if matches!(path.try_exists(), Ok(false)) {
                Error::NoPins { path: self.0.clone() }
            } else if let Some(libc::EACCES | libc::EPERM) = os_error(&source) {
                let reason = format!("its map {map} cannot be opened: no permission; run as root");
                Error::Pins { path: self.0.clone(), reason, permission: true }
            } else {
                Error::Map { map, source }
            }
        })
    }

    fn typed<T: TryFrom<Map, Error = MapError>>(
        &self,
        map: &'static str,
        kind: impl Fn(MapData) -> Map,
    ) -> Result<T, Error> {
        kind(self.open(map)?).try_into().map_err(|source| Error::Map { map, source })
    }

    fn table<K: Pod, V: Pod>(&self, map: &'static str) -> Result<Table<K, V>, Error> {
        Table::new(Map::HashMap(self.open(map)?), map)
    }

    fn elements<V: Pod>(&self, map: &'static str) -> Result<Elements<V>, Error> {
        Elements::new(Map::Array(self.open(map)?), map)
    }
}
