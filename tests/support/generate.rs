//! Random stacks of layers, from a seed, and smaller ones that still show the same failure.
//!
//! Few names and little depth, so that entries, markers, links and symlinks of different layers
//! keep meeting. A stack is accepted by the model unless it was meant to be refused: entries that
//! would refuse a layer are left out again, but for a few stacks.

use std::fmt;
use std::path::Path;

use crate::dice::Dice;
use crate::model::{Listing, Model, Refused};
use crate::oci::Compression;
use crate::tarball::{Entry, Kind, LayerBuilder, Meta, Spelling};

/// An image: its layers, the bottommost first, and how it is unpacked.
#[derive(Clone, PartialEq)]
pub struct Stack {
    pub layers: Vec<Vec<Entry>>,
    pub compression: Vec<Compression>,
    pub jobs: usize,
    pub spelling: Spelling,
    /// Whether the archives have their end-of-archive blocks, which may be missing.
    pub has_ends: bool,
    /// Whether its labels are kept, as `--selinux` asks for.
    pub keeps_labels: bool,
}

const LABEL: &[u8] = b"security.selinux";

/// What stacks may hold; a peer that cannot do it all gets a smaller one.
#[derive(Clone, Copy)]
pub struct Flavour {
    /// In a hundred stacks, how many hold something that refuses them.
    pub refused: u64,
    pub xattrs: bool,
    /// Names that are not UTF-8, and those of 255 bytes.
    pub odd_names: bool,
    /// Markers anywhere in the archive, not only before all else.
    pub scattered_markers: bool,
    /// Markers that are no empty regular files.
    pub odd_markers: bool,
    /// Nanoseconds, and times before 1970.
    pub odd_times: bool,
    pub symlinks: bool,
    /// In a hundred stacks, how many are read with `--selinux`, and have labels on many entries.
    pub labels: u64,
}

impl Flavour {
    pub const ALL: Flavour = Flavour {
        refused: 6,
        xattrs: true,
        odd_names: true,
        scattered_markers: true,
        odd_markers: true,
        odd_times: true,
        symlinks: true,
        labels: 0,
    };

    /// For a check that gives [`Stack::options`] to every verb. Where SELinux is loaded, labels are up
    /// to it.
    pub fn labelled(self) -> Flavour {
        let has_selinux = Path::new("/sys/fs/selinux/enforce").exists();
        Flavour {
            labels: if has_selinux { 0 } else { 25 },
            ..self
        }
    }
}

impl Stack {
    pub fn generate(seed: u64, flavour: Flavour) -> Stack {
        let mut dice = Dice::new(seed);
        let mut stack = Stack::thrown(&mut dice, flavour);
        if dice.percent(flavour.labels) {
            stack.add_labels(&mut dice);
        }
        stack
    }

    /// On every other entry. What an entry implies or links has the label that is below, if any.
    fn add_labels(&mut self, dice: &mut Dice) {
        self.keeps_labels = true;
        for entry in self.layers.iter_mut().flatten() {
            let xattrs = &mut entry.meta.xattrs;
            xattrs.retain(|(name, _)| name != LABEL);
            if dice.percent(50) {
                let kind = *dice.pick(&["etc", "bin", "lib"]);
                let value = format!("system_u:object_r:{kind}_t:s0\0");
                xattrs.push((LABEL.to_vec(), value.into_bytes()));
            }
        }
    }

    /// What every verb that reads the layers has to be given.
    pub fn options(&self) -> &'static [&'static str] {
        match self.keeps_labels {
            true => &["--selinux"],
            false => &[],
        }
    }

    /// The stack that the dice say.
    pub fn thrown(dice: &mut Dice, flavour: Flavour) -> Stack {
        let names = alphabet(dice, flavour);
        let is_refused = dice.percent(flavour.refused);
        let (count, mut model) = (1 + dice.below(8), Model::new());
        let refusing = dice.below(count);
        let mut layers = Vec::new();
        for number in 0..count {
            let mut generator = Generator {
                dice: &mut *dice,
                names: &names,
                flavour,
                symlinks: symlinks(&model),
                known: model.listing().into_keys().collect(),
            };
            let mut layer = generator.layer();
            if is_refused && number == refusing {
                generator.spoil(&mut layer);
            } else {
                leave_out_what_refuses(&model, &mut layer);
            }
            // What stands above a refused layer is as good as any.
            let mut next = model.clone();
            if next.apply(&layer).is_ok() {
                model = next;
            }
            layers.push(layer);
        }
        let compressions = [Compression::Plain, Compression::Gzip, Compression::Zstd];
        let compression = layers.iter().map(|_| *dice.pick(&compressions)).collect();
        let jobs = 1 + dice.below(4) as usize;
        let spelling = match dice.percent(50) {
            true => *dice.pick(&Spelling::ALL),
            false => Spelling::Pax,
        };
        let has_ends = !dice.percent(5);
        Stack {
            layers,
            compression,
            jobs,
            spelling,
            has_ends,
            keeps_labels: false,
        }
    }

    /// What the model makes of it, or the number of the layer that it refuses, and why.
    pub fn expected(&self) -> Result<Listing, (usize, Refused)> {
        let mut model = match self.keeps_labels {
            true => Model::with_labels(),
            false => Model::new(),
        };
        for (number, layer) in self.layers.iter().enumerate() {
            model.apply(layer).map_err(|refused| (number, refused))?;
        }
        Ok(model.listing())
    }

    /// The layers as tars, the bottommost first, and how each is to be compressed.
    pub fn tars(&self) -> Vec<(Vec<u8>, Compression)> {
        let tar = |layer: &Vec<Entry>| {
            let add = |tar: LayerBuilder, entry| tar.spelled(entry, self.spelling);
            let tar = layer.iter().fold(LayerBuilder::new(), add);
            // Nothing at all would be no archive.
            match self.has_ends || layer.is_empty() {
                true => tar.finish(),
                false => tar.finish_without_end(),
            }
        };
        let tars = self.layers.iter().map(tar);
        tars.zip(self.compression.iter().copied()).collect()
    }

    /// The smallest stack that still fails, as far as dropping and simplifying finds one.
    pub fn shrink(mut self, fails: impl Fn(&Stack) -> bool) -> Stack {
        let mut budget = 600;
        loop {
            let smaller = self.smaller().find(|smaller| {
                budget -= 1;
                budget > 0 && fails(smaller)
            });
            match smaller {
                Some(smaller) => self = smaller,
                None => return self,
            }
        }
    }

    /// Stacks that have a little less, the boldest cuts first.
    fn smaller(&self) -> impl Iterator<Item = Stack> {
        let layers = (0..self.layers.len()).map(|layer| self.without_layer(layer));
        let halves = (0..self.layers.len()).flat_map(|layer| {
            let middle = self.layers[layer].len() / 2;
            let halves = [0..middle, middle..self.layers[layer].len()];
            halves.map(|range| self.changed(layer, |layer| drop(layer.drain(range))))
        });
        let entries = self
            .places()
            .map(|(layer, entry)| self.changed(layer, |layer| drop(layer.remove(entry))));
        let metas = self.places().map(|(layer, entry)| {
            let plain = match self.layers[layer][entry].kind {
                Kind::Dir => Meta::new(0o755),
                _ => Meta::new(0o644),
            };
            self.changed(layer, |layer| layer[entry].meta = plain)
        });
        let contents = self.places().map(|(layer, entry)| {
            self.changed(layer, |layer| {
                if let Kind::File(content) = &mut layer[entry].kind {
                    content.clear();
                }
            })
        });
        let xattrs = self.places().flat_map(move |(layer, entry)| {
            (0..self.layers[layer][entry].meta.xattrs.len()).map(move |xattr| {
                self.changed(layer, |layer| drop(layer[entry].meta.xattrs.remove(xattr)))
            })
        });
        let plain = Stack {
            layers: self.layers.clone(),
            compression: vec![Compression::Plain; self.layers.len()],
            jobs: 1,
            spelling: Spelling::Pax,
            has_ends: true,
            keeps_labels: self.keeps_labels,
        };
        let without_labels = Stack {
            keeps_labels: false,
            ..self.clone()
        };
        let all = layers
            .chain(halves)
            .chain(entries)
            .chain(metas)
            .chain(contents);
        let all = all.chain(xattrs).chain([plain, without_labels]);
        all.filter(move |smaller| smaller != self && !smaller.layers.is_empty())
    }

    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let layers = self.layers.iter().enumerate();
        layers.flat_map(|(number, layer)| (0..layer.len()).map(move |entry| (number, entry)))
    }

    fn without_layer(&self, layer: usize) -> Stack {
        let mut smaller = self.clone();
        smaller.layers.remove(layer);
        smaller.compression.remove(layer);
        smaller
    }

    fn changed(&self, layer: usize, change: impl FnOnce(&mut Vec<Entry>)) -> Stack {
        let mut smaller = self.clone();
        change(&mut smaller.layers[layer]);
        smaller
    }
}

/// A line for each entry, as `tar tv` would.
impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (spelling, ends) = (self.spelling, if self.has_ends { "" } else { ", no ends" });
        writeln!(
            f,
            "unpacked with -j{} {:?}, spelled as {spelling:?}{ends}",
            self.jobs,
            self.options()
        )?;
        for (number, layer) in self.layers.iter().enumerate() {
            writeln!(f, "layer {number} ({:?}):", self.compression[number])?;
            for Entry { name, kind, meta } in layer {
                write!(f, "  {:24}", name.escape_ascii().to_string())?;
                match kind {
                    Kind::File(bytes) if bytes.len() > 40 => write!(f, " file of {}", bytes.len()),
                    Kind::File(bytes) => write!(f, " file {:?}", bytes.escape_ascii().to_string()),
                    Kind::Symlink(target) => write!(f, " symlink to {}", target.escape_ascii()),
                    Kind::Hardlink(target) => write!(f, " link to {}", target.escape_ascii()),
                    kind => write!(f, " {kind:?}"),
                }?;
                let (seconds, nanoseconds) = meta.mtime;
                write!(f, " {:04o} {}:{}", meta.mode, meta.uid, meta.gid)?;
                write!(f, " {seconds}s+{nanoseconds}ns")?;
                for (name, value) in &meta.xattrs {
                    write!(f, " {}={}", name.escape_ascii(), value.escape_ascii())?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

fn leave_out_what_refuses(model: &Model, layer: &mut Vec<Entry>) {
    while let Err(refused) = model.clone().apply(layer) {
        layer.remove(refused.entry);
    }
}

fn symlinks(model: &Model) -> Vec<Vec<u8>> {
    let listing = model.listing().into_iter();
    let symlinks = listing.filter(|(_, item)| matches!(item.kind, Kind::Symlink(_)));
    symlinks.map(|(path, _)| path).collect()
}

/// The few names of one stack.
fn alphabet(dice: &mut Dice, flavour: Flavour) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [b"a", b"b", b"c"].map(|name| name.to_vec()).to_vec();
    names.truncate(2 + dice.below(2) as usize);
    let odd: [&[u8]; 8] = [
        b"a b", b"x:y", b"x\\y", b"x,y", b".whx", b"n\nl", b"\xff", b"d",
    ];
    let odd = if flavour.odd_names {
        &odd[..]
    } else {
        &odd[..5]
    };
    for _ in 0..dice.below(3) {
        names.push(dice.pick(odd).to_vec());
    }
    if flavour.odd_names && dice.percent(2) {
        names.push(vec![b'n'; 255]);
    }
    // Two of them are too long for a header.
    if dice.percent(5) {
        names.push(vec![b'l'; 60]);
    }
    names
}

/// Makes one layer over a tree whose paths are `known`.
struct Generator<'a> {
    dice: &'a mut Dice,
    names: &'a [Vec<u8>],
    flavour: Flavour,
    known: Vec<Vec<u8>>,
    /// Those of them that are symlinks.
    symlinks: Vec<Vec<u8>>,
}

impl Generator<'_> {
    fn layer(&mut self) -> Vec<Entry> {
        let (mut layer, mut markers) = (Vec::new(), Vec::new());
        for _ in 0..self.dice.below(12) {
            let is_marker = self.dice.percent(if self.known.len() > 1 { 30 } else { 8 });
            if is_marker {
                markers.push(self.marker());
                continue;
            }
            let entry = self.entry();
            self.known.push(entry.name.clone());
            layer.push(entry);
        }
        if !self.symlinks.is_empty() && self.dice.percent(15) {
            let (directory, marker) = self.masked_symlink();
            let at = self.dice.below(layer.len() as u64 + 1) as usize;
            layer.insert(at, directory);
            markers.push(marker);
        }
        for entry in &mut layer {
            entry.name = self.spelled(&entry.name, entry.kind == Kind::Dir);
        }
        for marker in markers {
            let at = match self.flavour.scattered_markers {
                true => self.dice.below(layer.len() as u64 + 1) as usize,
                false => 0,
            };
            layer.insert(at, marker);
        }
        layer
    }

    /// A directory in the place of a symlink of the layers below, and a marker below it, or below
    /// another symlink that may lead there.
    fn masked_symlink(&mut self) -> (Entry, Entry) {
        let kind = Kind::Dir;
        let (name, meta) = (self.dice.pick(&self.symlinks).clone(), self.meta(&kind));
        let through = match self.dice.percent(70) {
            true => name.clone(),
            false => self.dice.pick(&self.symlinks).clone(),
        };
        let directory = Entry { name, kind, meta };
        let marker = match self.dice.percent(40) {
            true => b".wh..wh..opq".to_vec(),
            false => [b".wh.", self.dice.pick::<Vec<u8>>(self.names).as_slice()].concat(),
        };
        let (name, kind) = (joined(&through, &marker), Kind::File(Vec::new()));
        let meta = self.meta(&kind);
        (directory, Entry { name, kind, meta })
    }

    /// A path that exists, something below it, or any other.
    fn path(&mut self) -> Vec<u8> {
        let mut path = match self.dice.percent(60) {
            true => self.dice.pick(&self.known).clone(),
            false => Vec::new(),
        };
        let more = match path.is_empty() {
            true => *self.dice.pick(&[1, 1, 1, 2, 2, 3, 4]),
            false => *self.dice.pick(&[0, 0, 1, 1, 2]),
        };
        for _ in 0..more {
            if path.split(|&byte| byte == b'/').count() < 4 {
                path = joined(&path, self.dice.pick::<Vec<u8>>(self.names));
            }
        }
        path
    }

    fn entry(&mut self) -> Entry {
        if self.dice.percent(3) {
            let (name, kind) = (Vec::new(), Kind::Dir);
            let meta = self.meta(&kind);
            return Entry { name, kind, meta };
        }
        let kind = match self.dice.below(100) {
            0..34 => Kind::Dir,
            34..60 => self.file(),
            60..78 if self.flavour.symlinks => Kind::Symlink(self.symlink_target()),
            60..90 => Kind::Hardlink(self.hardlink_target()),
            90..94 => Kind::Fifo,
            94..97 => Kind::Char(
                1 + self.dice.below(500) as u32,
                self.dice.below(70_000) as u32,
            ),
            _ => {
                let (major, minor) = *self.dice.pick(&[(8, 1), (0, 0), (4095, 9)]);
                Kind::Block(major, minor)
            }
        };
        let (name, meta) = (self.path(), self.meta(&kind));
        Entry { name, kind, meta }
    }

    fn file(&mut self) -> Kind {
        let length = *self.dice.pick(&[0, 1, 3, 3, 3, 512, 5000, 70_000]);
        let length = if length > 5000 && !self.dice.percent(10) {
            5
        } else {
            length
        };
        let mut content: Vec<u8> = (0..length).map(|_| self.dice.byte()).collect();
        if self.dice.percent(15) {
            self.add_holes(&mut content);
        }
        Kind::File(content)
    }

    /// Runs of zeros before, behind and between.
    fn add_holes(&mut self, content: &mut Vec<u8>) {
        for _ in 0..=self.dice.below(3) {
            let at = *self.dice.pick(&[0, content.len() / 2, content.len()]);
            let length = *self.dice.pick(&[63, 64, 512, 4096, 5000, 20_000]);
            content.splice(at..at, std::iter::repeat_n(0, length));
        }
    }

    fn symlink_target(&mut self) -> Vec<u8> {
        let path = self.path();
        match self.dice.below(20) {
            0..5 => path,
            5..10 => joined(b"", self.dice.pick::<Vec<u8>>(self.names)),
            10..13 => [b"/", path.as_slice()].concat(),
            13..15 => [b"../", path.as_slice()].concat(),
            15 => [
                b"../../../",
                path.as_slice(),
                b"/../",
                self.dice.pick::<Vec<u8>>(self.names),
            ]
            .concat(),
            16 => [b"./", path.as_slice(), b"//"].concat(),
            17 if self.dice.percent(50) => vec![b't'; 150],
            17 => b"..".to_vec(),
            18 => b"/".to_vec(),
            _ => b".".to_vec(),
        }
    }

    fn hardlink_target(&mut self) -> Vec<u8> {
        let target = match self.dice.percent(85) {
            true => self.dice.pick(&self.known).clone(),
            false => self.path(),
        };
        match self.dice.below(10) {
            0 => [b"./", target.as_slice()].concat(),
            1 => [b"/", target.as_slice()].concat(),
            _ => target,
        }
    }

    fn marker(&mut self) -> Entry {
        let path = self.path();
        let name = match self.dice.below(100) {
            0..66 => {
                let path = if path.is_empty() {
                    self.names[0].clone()
                } else {
                    path
                };
                let slash = path.iter().rposition(|&byte| byte == b'/');
                let (parent, name) = path.split_at(slash.map_or(0, |slash| slash + 1));
                [parent, b".wh.", name].concat()
            }
            66..94 => joined(&path, b".wh..wh..opq"),
            94..96 => b".wh..wh..opq".to_vec(),
            96..98 => joined(&path, b".wh..wh.plnk"),
            _ => joined(&path, b".wh..wh.aufs/x"),
        };
        let kind = match self.dice.below(10) {
            0 if self.flavour.odd_markers => Kind::Dir,
            1 if self.flavour.odd_markers => Kind::Symlink(self.symlink_target()),
            2 if self.flavour.odd_markers => self.file(),
            3 if self.flavour.odd_markers => Kind::Fifo,
            4 if self.flavour.odd_markers => Kind::Hardlink(b"nothing".to_vec()),
            _ => Kind::File(Vec::new()),
        };
        let name = self.spelled(&name, false);
        let meta = self.meta(&kind);
        Entry { name, kind, meta }
    }

    /// The name, sometimes as a tar may spell it too.
    fn spelled(&mut self, path: &[u8], is_directory: bool) -> Vec<u8> {
        if path.is_empty() {
            return self.dice.pick(&[&b"./"[..], b".", b"/", b"././"]).to_vec();
        }
        let prefix: &[u8] = match self.dice.below(12) {
            0 => b"/",
            1 => b".//",
            2..5 => b"./",
            _ => b"",
        };
        let mut name = [prefix, path].concat();
        if self.dice.percent(5)
            && let Some(slash) = name.iter().rposition(|&byte| byte == b'/')
        {
            name.insert(slash, b'/');
        }
        if self.dice.percent(if is_directory { 60 } else { 3 }) {
            name.push(b'/');
        }
        name
    }

    fn meta(&mut self, kind: &Kind) -> Meta {
        let dice = &mut *self.dice;
        let modes: &[u32] = match kind {
            Kind::Dir => &[0o755, 0o755, 0o700, 0o1777, 0o2775, 0, 0o6555],
            _ => &[0o644, 0o644, 0o755, 0o4755, 0o2711, 0, 0o7777],
        };
        let owners = [0, 0, 0, 0, 7, 1000, 65_534, 2_097_152, 4_294_967_294];
        let mut meta = Meta::new(*dice.pick(modes)).owner(*dice.pick(&owners), *dice.pick(&owners));
        meta.mtime = match dice.below(if self.flavour.odd_times { 9 } else { 4 }) {
            0 => (0, 0),
            1..4 => (1_500_000_000 + dice.below(1000) as i64, 0),
            4 | 5 => (1_700_000_000, dice.below(1_000_000_000) as u32),
            6 => (-1, 500_000_000),
            7 => (-(dice.below(100_000) as i64), 0),
            _ => (9_000_000_000, 1),
        };
        if self.flavour.xattrs {
            self.add_xattrs(kind, &mut meta);
        }
        meta
    }

    fn add_xattrs(&mut self, kind: &Kind, meta: &mut Meta) {
        let dice = &mut *self.dice;
        for name in [
            "user.k",
            "user.overlay.opaque",
            "user.overlay.whiteout",
            "user.overlay.overlay.origin",
            "trusted.foo",
            "trusted.overlay.opaque",
            "trusted.overlay.whiteout",
            "trusted.overlay.redirect",
            "trusted.overlay.origin",
            "trusted.overlay.metacopy",
            "trusted.overlay.overlay.opaque",
            "security.selinux",
            "security.other",
            "user.a b-\u{e9}",
        ] {
            if dice.percent(3) {
                let values: [&[u8]; 9] = [
                    b"y",
                    b"x",
                    b"/a",
                    b"v\0\n=\xff",
                    b"12 a=b\n",
                    b"\n",
                    b"",
                    b"-",
                    &[b'z'; 3000],
                ];
                meta.xattrs.push((name.into(), dice.pick(&values).to_vec()));
            }
        }
        if matches!(kind, Kind::File(_)) && dice.percent(6) {
            let value = capability(dice);
            meta.xattrs.push((b"security.capability".to_vec(), value));
        }
        if matches!(kind, Kind::File(_) | Kind::Dir) && dice.percent(5) {
            // An ACL's mask is the group bits of the mode, so that setting both agrees.
            let value = acl(dice, meta.mode);
            meta.xattrs
                .push((b"system.posix_acl_access".to_vec(), value));
        }
        if *kind == Kind::Dir && dice.percent(6) {
            let mode = *dice.pick(&[0o750, 0o700, 0o777]);
            let value = acl(dice, mode);
            meta.xattrs
                .push((b"system.posix_acl_default".to_vec(), value));
        }
    }

    /// Adds what refuses the layer, most of the time.
    fn spoil(&mut self, layer: &mut Vec<Entry>) {
        let link = |target: &[u8]| Kind::Hardlink(target.to_vec());
        let file = Kind::File(Vec::new());
        let (name, kind): (&[u8], Kind) = match self.dice.below(16) {
            0 => (b"a/../b", file),
            1 => (b"..", Kind::Dir),
            2 => (b"a/.wh.", file),
            3 => (b".wh..", file),
            4 => (b".wh...", file),
            5 => (b"a/.wh.b/c", file),
            6 => (b".wh..wh..opq/c", file),
            7 => (b"a/zero", Kind::Char(0, 0)),
            8 => (&[b'm'; 256], file),
            9 => (b"a/link", link(b"a/nothing")),
            10 => (b"link", link(b"./")),
            11 => (b"./", Kind::Symlink(b"a".to_vec())),
            12 => (b"/", file),
            13 => (b"loop", Kind::Symlink(b"loop".to_vec())),
            // Nothing here: what the layer holds may refuse it.
            _ => return,
        };
        let at = self.dice.below(layer.len() as u64 + 1) as usize;
        let meta = Meta::new(0o644);
        let name = name.to_vec();
        if name == b"loop" {
            let (name, kind) = (b"loop/f".to_vec(), Kind::Dir);
            layer.push(Entry {
                name,
                kind,
                meta: meta.clone(),
            });
        }
        layer.insert(at, Entry { name, kind, meta });
    }
}

fn joined(parent: &[u8], name: &[u8]) -> Vec<u8> {
    match parent {
        b"" => name.to_vec(),
        _ => [parent, b"/", name].concat(),
    }
}

/// `security.capability`, version 2, effective; a byte 0x0a now and then.
fn capability(dice: &mut Dice) -> Vec<u8> {
    let permitted = *dice.pick(&[0x0a_u32, 0x0a0a, 0x3d3d, 0x2000]);
    let words = [0x0200_0001, permitted, 0, 0, 0];
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// A POSIX ACL, version 2, with a named user and a mask, for a mode.
fn acl(dice: &mut Dice, mode: u32) -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let mut entries = vec![
        (1, mode >> 6, NO_ID),
        (2, dice.below(8) as u32, dice.below(3) as u32 * 500 + 5),
        (4, dice.below(8) as u32, NO_ID),
    ];
    if dice.percent(50) {
        entries.push((8, 6, 12));
    }
    entries.extend([(16, mode >> 3, NO_ID), (32, mode, NO_ID)]);
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend((tag as u16).to_le_bytes());
        value.extend((permissions as u16 & 7).to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_stacks_are_mostly_accepted() {
        let stacks = (0..1000).map(|seed| Stack::generate(seed, Flavour::ALL));
        let accepted = stacks.filter(|stack| stack.expected().is_ok()).count();
        assert!((900..990).contains(&accepted), "{accepted} of 1000");
    }

    #[test]
    fn generated_stacks_are_the_same_for_the_same_seed() {
        let stack = |seed| Stack::generate(seed, Flavour::ALL);
        assert!(stack(7) == stack(7) && stack(7) != stack(8));
    }

    #[test]
    fn shrinking_leaves_only_what_fails() {
        let has_fifo = |stack: &Stack| {
            let mut entries = stack.layers.iter().flatten();
            entries.any(|entry| entry.kind == Kind::Fifo)
        };
        let stacks = (0..).map(|seed| Stack::generate(seed, Flavour::ALL));
        let found = stacks.into_iter().find(has_fifo).expect("there is one");
        let entries: Vec<Entry> = found.shrink(has_fifo).layers.concat();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].meta, Meta::new(0o644));
    }
}
