//! A disk that forgets what was not synced when its power is cut. Contents need `fsync` of the file, names need `fsync`
//! of the directory. Between two syncs nothing is promised: at a cut all of it is gone, or some sectors of it are
//! there and others are not.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};

pub const ROOT: u64 = 1;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// Everything unsynced is gone.
    All,
    /// Each unsynced sector is there or not, by chance; of each directory's unsynced names, the first few are.
    Some,
}

pub struct Disk {
    nodes: HashMap<u64, Node>,
    next: u64,
    /// Without power every request fails.
    powered: bool,
    chance: StdRng,
}

pub enum Node {
    File(File),
    Dir(Dir),
}

#[derive(Default)]
pub struct File {
    pub content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

enum Write {
    At(usize, Vec<u8>),
    Resize(usize),
}

#[derive(Default)]
pub struct Dir {
    pub names: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
    unsynced: Vec<Naming>,
}

#[derive(Clone)]
enum Naming {
    Link(OsString, u64),
    Unlink(OsString),
    Rename(OsString, OsString),
}

/// Why a request fails.
#[derive(Debug)]
pub enum Fault {
    NoPower,
    NotFound,
    Exists,
    NotEmpty,
    Unsupported,
}

type Answer<T> = Result<T, Fault>;

impl Disk {
    pub fn new(seed: u64) -> Disk {
        let nodes = HashMap::from([(ROOT, Node::Dir(Dir::default()))]);
        Disk { nodes, next: ROOT + 1, powered: true, chance: StdRng::seed_from_u64(seed) }
    }

    /// From now on nothing is written and nothing is promised.
    pub fn cut(&mut self) {
        self.powered = false;
    }

    /// The power is back; what was not synced is lost.
    pub fn restore(&mut self, loss: Loss) {
        self.powered = true;
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) => file.forget(loss, &mut self.chance),
                Node::Dir(dir) => dir.forget(loss, &mut self.chance),
            }
        }
    }

    fn power(&self) -> Answer<()> {
        if self.powered { Ok(()) } else { Err(Fault::NoPower) }
    }

    pub fn node(&mut self, id: u64) -> Answer<&mut Node> {
        self.power()?;
        self.nodes.get_mut(&id).ok_or(Fault::NotFound)
    }

    pub fn file(&mut self, id: u64) -> Answer<&mut File> {
        match self.node(id)? {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(Fault::Unsupported),
        }
    }

    pub fn dir(&mut self, id: u64) -> Answer<&mut Dir> {
        match self.node(id)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(Fault::Unsupported),
        }
    }

    pub fn lookup(&mut self, parent: u64, name: &OsStr) -> Answer<u64> {
        self.dir(parent)?.names.get(name).copied().ok_or(Fault::NotFound)
    }

    pub fn create(&mut self, parent: u64, name: &OsStr, node: Node) -> Answer<u64> {
        let id = self.next;
        let dir = self.dir(parent)?;
        if dir.names.contains_key(name) {
            return Err(Fault::Exists);
        }
        dir.change(Naming::Link(name.to_owned(), id));
        self.nodes.insert(id, node);
        self.next += 1;
        Ok(id)
    }

    pub fn unlink(&mut self, parent: u64, name: &OsStr) -> Answer<()> {
        let id = self.lookup(parent, name)?;
        if let Node::Dir(dir) = self.node(id)?
            && !dir.names.is_empty()
        {
            return Err(Fault::NotEmpty);
        }
        self.dir(parent)?.change(Naming::Unlink(name.to_owned()));
        Ok(())
    }

    /// Only within a directory; nothing under test needs more.
    pub fn rename(&mut self, parent: u64, from: &OsStr, to: &OsStr) -> Answer<()> {
        self.lookup(parent, from)?;
        self.dir(parent)?.change(Naming::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub fn sync(&mut self, id: u64) -> Answer<()> {
        match self.node(id)? {
            Node::File(file) => file.sync(),
            Node::Dir(dir) => dir.sync(),
        }
        Ok(())
    }
}

impl File {
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        let write = Write::At(at, bytes.to_owned());
        apply(&mut self.content, &write);
        self.unsynced.push(write);
    }

    pub fn resize(&mut self, length: usize) {
        self.content.resize(length, 0);
        self.unsynced.push(Write::Resize(length));
    }

    fn sync(&mut self) {
        for write in self.unsynced.drain(..) {
            apply(&mut self.durable, &write);
        }
    }

    fn forget(&mut self, loss: Loss, chance: &mut StdRng) {
        for write in self.unsynced.drain(..) {
            match (loss, write) {
                (Loss::All, _) => {}
                (Loss::Some, Write::At(at, bytes)) => {
                    let mut at = at;
                    let mut rest = &bytes[..];
                    while !rest.is_empty() {
                        let (sector, after) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                        if chance.random_bool(0.5) {
                            apply(&mut self.durable, &Write::At(at, sector.to_owned()));
                        }
                        at += sector.len();
                        rest = after;
                    }
                }
                (Loss::Some, resize @ Write::Resize(_)) => {
                    if chance.random_bool(0.5) {
                        apply(&mut self.durable, &resize);
                    }
                }
            }
        }
        self.content = self.durable.clone();
    }
}

fn apply(content: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Resize(length) => content.resize(*length, 0),
        Write::At(at, bytes) => {
            if content.len() < at + bytes.len() {
                content.resize(at + bytes.len(), 0);
            }
            content[*at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

impl Dir {
    fn change(&mut self, naming: Naming) {
        rename(&mut self.names, &naming);
        self.unsynced.push(naming);
    }

    fn sync(&mut self) {
        for naming in self.unsynced.drain(..) {
            rename(&mut self.durable, &naming);
        }
    }

    fn forget(&mut self, loss: Loss, chance: &mut StdRng) {
        let kept = match loss {
            Loss::All => 0,
            Loss::Some => chance.random_range(0..=self.unsynced.len()),
        };
        for naming in self.unsynced.drain(..).take(kept) {
            rename(&mut self.durable, &naming);
        }
        self.names = self.durable.clone();
    }
}

fn rename(names: &mut BTreeMap<OsString, u64>, naming: &Naming) {
    match naming {
        Naming::Link(name, id) => {
            names.insert(name.clone(), *id);
        }
        Naming::Unlink(name) => {
            names.remove(name);
        }
        Naming::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
    }
}

#[test]
fn the_disk_forgets_exactly_what_was_not_synced() {
    let mut disk = Disk::new(0);
    let name = OsStr::new;
    let kept = disk.create(ROOT, name("kept"), Node::File(File::default())).expect("it is new");
    disk.file(kept).expect("it is a file").write(0, b"synced");
    disk.sync(kept).expect("there is power");
    disk.sync(ROOT).expect("there is power");
    disk.file(kept).expect("it is a file").write(2, b"nc is lost");
    disk.rename(ROOT, name("kept"), name("renamed")).expect("it is there");
    disk.create(ROOT, name("new"), Node::File(File::default())).expect("it is new");
    disk.cut();
    assert!(matches!(disk.sync(kept), Err(Fault::NoPower)));
    disk.restore(Loss::All);
    assert_eq!(disk.lookup(ROOT, name("kept")).ok(), Some(kept));
    assert!(disk.lookup(ROOT, name("renamed")).is_err() && disk.lookup(ROOT, name("new")).is_err());
    assert_eq!(disk.file(kept).expect("it is a file").content, b"synced");
}
