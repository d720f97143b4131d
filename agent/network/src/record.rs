//! What a node's network remembers on disk: the ledger of addresses and the last services.

use crate::ipam::Ledger;
use crate::{NetworkError, Services};
use ipnet::Ipv4Net;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::{fs, io};

const LEDGER: &str = "network.json";
const SERVICES: &str = "services.json";

/// A directory with the records.
#[derive(Clone, Debug)]
pub struct Records(PathBuf);

impl Records {
    pub fn open(directory: &Path) -> Result<Self, NetworkError> {
        fs::create_dir_all(directory).map_err(|error| io_error("making", directory, &error))?;
        Ok(Self(directory.to_owned()))
    }

    /// The ledger as an earlier process left it. Then its pods may still be connected, and a damaged record is an error,
    /// for their addresses must not be given out again. `alive` is false where none can be (the first start, or a reboot):
    /// what was held is free.
    pub fn ledger(&self, range: Ipv4Net, alive: bool) -> Result<Ledger, NetworkError> {
        if !alive {
            return Ok(Ledger::new(range));
        }
        match self.read::<Ledger>(LEDGER)? {
            None => Ok(Ledger::new(range)),
            Some(ledger) if ledger.range() == range => Ok(ledger),
            Some(ledger) if ledger.ids().next().is_none() => Ok(Ledger::new(range)),
            Some(ledger) => Err(NetworkError::Host {
                what: format!("pods hold addresses of {}, but the node's range is now {range}", ledger.range()),
                fix: "start with the range they were made with, or remove the pods first".into(),
            }),
        }
    }

    pub fn save_ledger(&self, ledger: &Ledger) -> Result<(), NetworkError> {
        self.write(LEDGER, ledger)
    }

    /// The last services; none where they were never kept or the record is damaged, for they are told again anyway.
    pub fn services(&self) -> Services {
        self.read(SERVICES)
            .unwrap_or_else(|why| {
                tracing::warn!(error = %why, "the record of services is damaged: waiting to be told them");
                None
            })
            .unwrap_or_default()
    }

    pub fn save_services(&self, services: &Services) -> Result<(), NetworkError> {
        self.write(SERVICES, services)
    }

    /// Forgets everything.
    pub fn remove(&self) -> Result<(), NetworkError> {
        for name in [LEDGER, SERVICES] {
            let path = self.0.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("removing", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, NetworkError> {
        let path = self.0.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("reading", &path, &error)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| io_error("reading", &path, &error.into()))
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), NetworkError> {
        let path = self.0.join(name);
        let aside = self.0.join(format!("{name}.new"));
        let bytes = serde_json::to_vec(value).map_err(|error| io_error("writing", &path, &error.into()))?;
        fs::write(&aside, bytes)
            .and_then(|()| fs::rename(&aside, &path))
            .map_err(|error| io_error("writing", &path, &error))
    }
}

fn io_error(doing: &str, path: &Path, error: &io::Error) -> NetworkError {
    NetworkError::Io { doing: format!("{doing} {}", path.display()), why: error.to_string() }
}
