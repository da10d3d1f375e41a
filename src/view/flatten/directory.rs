//! A tree as a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fs::root::{self, Root};
use crate::image::Image;
use crate::meta::Device;
use crate::path::EntryPath;
use crate::store::AtomicDir;
use crate::store::pipeline::Run;
use crate::tar::archive::FileShape;
use crate::unpack::{Fresh, InodeRef, Options, Owners, Report, Warning, apply, system};
use crate::view::{Body, Id, ImageInode, ImageTree, Item, contents, file_ids, read_parts};

const BUFFER: usize = 256 * 1024;

/// Writes a tree to an absent or empty directory. It is built under a temporary name and renamed when it is
/// complete; on an error nothing is left. Returns counts, and warnings about what could not be written.
///
/// The options say whose the files are. Errors: those of reading the blobs, and the system's.
///
/// ```
/// use lowerdir::view::flatten::write_directory;
/// use lowerdir::view::View;
/// use lowerdir::{Image, Options, Owners, Reference, Run};
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc_image.in"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let place = tempfile::tempdir()?;
/// # let archive = place.path().join("image.tar");
/// # doc_image(&archive)?;
/// # let target = place.path().join("tree");
///
/// let image = Image::open(&Reference::parse(&archive)?)?;
/// let options = Options::default().owners(Owners::Caller);
/// let view = View::read(&image, &options, Run::default())?;
/// write_directory(&image, &view.tree, &target, &options, Run::default())?;
///
/// assert!(target.join("etc").is_dir());
/// assert!(!target.join("etc/motd").exists());
/// # Ok(())
/// # }
/// ```
pub fn write_directory(
    image: &Image,
    tree: &ImageTree,
    target: &Path,
    options: &Options,
    run: Run<'_>,
) -> Result<Report> {
    let output = AtomicDir::new(target, "tree")?;
    let directory = output.directory()?;
    directory
        .remove_acls()
        .map_err(|error| system("removing an inherited ACL", error))?;
    let mut making = Making {
        tree,
        root: Root::new(directory),
        options,
        report: Report::default(),
        buffer: vec![0; BUFFER],
        first_names: BTreeMap::new(),
    };
    let made = making.all(image, run);
    made.map_err(|error| root::told(error, making.root.top()))?;
    let report = making.report;
    run.progress.syncs();
    if run.progress.is_cancelled() {
        return Err(Error::cancelled());
    }
    output.sync(run.sync)?;
    output.publish(run.sync)?;
    Ok(report)
}

struct Making<'a> {
    tree: &'a ImageTree,
    root: Root,
    options: &'a Options,
    report: Report,
    buffer: Vec<u8>,
    /// Of everything but directories: where it was, or will be, made.
    first_names: BTreeMap<Id, EntryPath>,
}

impl<'a> Making<'a> {
    fn all(&mut self, image: &Image, run: Run<'_>) -> Result<()> {
        self.directories_and_nodes(run)?;
        self.contents(image, run)?;
        self.links(run)?;
        self.finish_directories()
    }

    /// Makes all but files that hold anything, each inode by its first name.
    fn directories_and_nodes(&mut self, run: Run<'_>) -> Result<()> {
        for Item { path, name, inode } in self.tree.walk() {
            if run.progress.is_cancelled() {
                return Err(Error::cancelled());
            }
            self.report.entries += 1;
            let doing = |error| system("creating it", error).at_entry(&path);
            if inode.is_directory() {
                if let Some((parent, name)) = path.split() {
                    let parent = self.root.dir(&parent).map_err(doing)?;
                    parent.make_dir(name).map_err(doing)?;
                }
                continue;
            }
            if self.first_names.contains_key(&name.inode) {
                continue;
            }
            match &inode.body {
                Body::File(stored) if stored.shape.size > 0 => {}
                Body::File(_) => {
                    let file = self.create(&path)?;
                    self.describe(&file, &path, inode)?;
                }
                _ => self.node(&path, inode)?,
            }
            self.first_names.insert(name.inode, path);
        }
        Ok(())
    }

    fn create(&mut self, path: &EntryPath) -> Result<File> {
        let (parent, name) = path.split().expect("a file is not the root");
        let directory = self.root.dir(&parent);
        directory
            .and_then(|directory| directory.make_file(name))
            .map_err(|error| system("creating it", error).at_entry(path))
    }

    fn describe(&mut self, file: &File, path: &EntryPath, inode: &ImageInode) -> Result<()> {
        let on_disk = InodeRef::Open(file.as_fd());
        let (meta, fresh, report) = (&inode.meta, Fresh::default(), &mut self.report);
        apply(&on_disk, meta, path, self.options, fresh, report)
    }

    /// A symbolic link, a device or a pipe.
    fn node(&mut self, path: &EntryPath, inode: &ImageInode) -> Result<()> {
        let (parent, name) = path.split().expect("the root is a directory");
        let doing = |error| system("creating it", error).at_entry(path);
        let directory = self.root.dir(&parent).map_err(doing)?;
        let (kind, made) = match &inode.body {
            Body::Symlink(target) => (FileType::Symlink, directory.make_symlink(name, target)),
            Body::CharDevice(device) => {
                let kind = FileType::CharacterDevice;
                (kind, directory.make_node(name, kind, *device))
            }
            Body::BlockDevice(device) => {
                let kind = FileType::BlockDevice;
                (kind, directory.make_node(name, kind, *device))
            }
            _ => {
                let kind = FileType::Fifo;
                (kind, directory.make_node(name, kind, Device::WHITEOUT))
            }
        };
        match made {
            Ok(()) => {}
            Err(error)
                if self.options.owners == Owners::Caller
                    && error.raw_os_error() == Some(Errno::PERM.raw_os_error()) =>
            {
                self.report.warn(Warning::DeviceNotMade, path);
                return Ok(());
            }
            Err(error) => return Err(doing(error)),
        }
        let on_disk = InodeRef::Named(directory, name, kind);
        let (meta, fresh, report) = (&inode.meta, Fresh::default(), &mut self.report);
        apply(&on_disk, meta, path, self.options, fresh, report)
    }

    fn contents(&mut self, image: &Image, run: Run<'_>) -> Result<()> {
        let wanted = file_ids(self.tree);
        contents(image, self.tree, &wanted, run, |id, shape, reader| {
            let path = self.first_names[&id].clone();
            let file = self.create(&path)?;
            self.fill(&file, shape, reader)
                .map_err(|error| error.at_entry(&path))?;
            self.describe(&file, &path, self.tree.inode(id))
        })
    }

    fn fill(&mut self, file: &File, shape: &FileShape, reader: &mut dyn Read) -> Result<()> {
        let writing = |error| system("writing its data", error);
        if shape.extents.is_some() {
            file.set_len(shape.size).map_err(writing)?;
        }
        read_parts(shape, reader, &mut self.buffer, |offset, data| {
            self.report.bytes += data.len() as u64;
            file.write_all_at(data, offset).map_err(writing)
        })
    }

    /// The other names of what has several.
    fn links(&mut self, run: Run<'_>) -> Result<()> {
        for names in self.tree.links().into_values() {
            if run.progress.is_cancelled() {
                return Err(Error::cancelled());
            }
            let (first, others) = names.split_first().expect("it has several");
            let (source, source_name) = first.split().expect("a file is not the root");
            for other in others {
                let linking = |error| system("linking it", error).at_entry(other);
                let source = self.root.top().open_beneath(&source).map_err(linking)?;
                if source.stat(source_name).map_err(linking)?.is_none() {
                    // A device that could not be made.
                    continue;
                }
                let (parent, name) = other.split().expect("a file is not the root");
                let directory = self.root.dir(&parent).map_err(linking)?;
                source.link(source_name, directory, name).map_err(linking)?;
            }
        }
        Ok(())
    }

    /// Directories get their attributes last, when nothing more is added to them, and children before
    /// parents, whose modes may then deny access.
    fn finish_directories(&mut self) -> Result<()> {
        let directories = self.tree.walk().filter(|item| item.inode.is_directory());
        let mut directories: Vec<Item<'a>> = directories.collect();
        while let Some(Item { path, inode, .. }) = directories.pop() {
            let directory = self
                .root
                .dir(&path)
                .map_err(|error| system("opening it", error).at_entry(&path))?;
            let on_disk = InodeRef::Open(directory.as_fd());
            apply(
                &on_disk,
                &inode.meta,
                &path,
                self.options,
                Fresh::default(),
                &mut self.report,
            )?;
        }
        Ok(())
    }
}
