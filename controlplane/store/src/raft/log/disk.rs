//! sled, and nothing else of it is known outside this file. Every record carries a checksum of its key and content.
//!
//! sled 0.34 makes writes durable with `sync_file_range`, which neither empties the disk's cache nor writes the file's
//! size, so it does not survive a power cut. [`Disk::sync`] therefore calls `fdatasync` on a second descriptor of sled's
//! file after sled has written everything to it.
//!
//! That alone is not enough. The header of each segment says up to where sled believes everything before it to be
//! durable; recovery trusts that, and segments that were superseded before that point are used again. The header is
//! made when the segment before it is full. So as long as no two segments become full between two of our syncs, no
//! header claims what `fdatasync` has not made true; [`WRITES_PER_SYNC`] sees to it.

use crate::limits::{SLED_CACHE, SLED_LOCK_WAIT, SLED_SEGMENT, WRITES_PER_SYNC};
use crate::raft::dir::sync_dir;
use crate::wire::invalid;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub struct Disk {
    db: sled::Db,
    data: File,
    unsynced: AtomicU32,
}

impl Disk {
    /// Opens or creates the log in `dir`. What sled writes while it opens is durable afterwards.
    pub fn open(dir: &Path) -> io::Result<Disk> {
        let path = dir.join("db");
        if path.exists() {
            // A process that was killed may have left writes that only the kernel knows. sled would take them for
            // durable and say so in its own snapshot.
            File::open(&path)?.sync_all()?;
        }
        let db = open_sled(dir)?;
        let data = File::options().read(true).write(true).open(path)?;
        // sled syncs its snapshot file, but neither its name nor its settings.
        File::open(dir.join("conf"))?.sync_all()?;
        sync_dir(dir)?;
        Ok(Disk { db, data, unsynced: AtomicU32::new(0) })
    }

    pub fn put(&self, key: &[u8], content: &[u8]) -> io::Result<()> {
        self.make_room()?;
        let mut record = Vec::with_capacity(4 + content.len());
        record.extend_from_slice(&checksum(key, content).to_le_bytes());
        record.extend_from_slice(content);
        self.db.insert(key, record).map_err(io_error)?;
        Ok(())
    }

    pub fn remove(&self, key: &[u8]) -> io::Result<()> {
        self.make_room()?;
        self.db.remove(key).map_err(io_error)?;
        Ok(())
    }

    /// Syncs if too much was written since the last time.
    fn make_room(&self) -> io::Result<()> {
        if self.unsynced.load(Ordering::Relaxed) >= WRITES_PER_SYNC {
            self.sync()?;
        }
        self.unsynced.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some(record) = self.db.get(key).map_err(io_error)? else { return Ok(None) };
        verified(key, &record).map(Some)
    }

    /// Keys and contents of `from..to`, in key order.
    pub fn range(&self, from: &[u8], to: &[u8]) -> impl Iterator<Item = io::Result<(Vec<u8>, Vec<u8>)>> + use<> {
        self.db.range(from..to).map(|item| {
            let (key, record) = item.map_err(io_error)?;
            let content = verified(&key, &record)?;
            Ok((key.to_vec(), content))
        })
    }

    /// Returns when everything put before survives a power cut.
    pub fn sync(&self) -> io::Result<()> {
        self.db.flush().map_err(io_error)?;
        self.data.sync_data()?;
        self.unsynced.store(0, Ordering::Relaxed);
        Ok(())
    }
}

fn open_sled(dir: &Path) -> io::Result<sled::Db> {
    let config =
        sled::Config::new().path(dir).cache_capacity(SLED_CACHE).segment_size(SLED_SEGMENT).flush_every_ms(None);
    let deadline = Instant::now() + SLED_LOCK_WAIT;
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            // The data directory is locked by us, so only threads of an earlier sled in this process can hold the file.
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                if Instant::now() >= deadline {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(io_error(error)),
        }
    }
}

fn checksum(key: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(content);
    hasher.finalize()
}

fn verified(key: &[u8], record: &[u8]) -> io::Result<Vec<u8>> {
    let content = record.split_first_chunk::<4>().filter(|(sum, content)| {
        let sum: [u8; 4] = **sum;
        u32::from_le_bytes(sum) == checksum(key, content)
    });
    let (_, content) =
        content.ok_or_else(|| invalid(format!("the checksum of record {} is wrong", key.escape_ascii())))?;
    Ok(content.to_vec())
}

/// Whatever is wrong with sled's data and not with the device is [`io::ErrorKind::InvalidData`].
fn io_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => invalid(format!("sled: {other}")),
    }
}
