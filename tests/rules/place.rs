//! A place to unpack layers in, without privilege: the `user.overlay.*` dialect, files that belong
//! to the caller, directories below one temporary directory.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use lowerdir::image::Blob;
use lowerdir::options::{Dialect, Namespace};
use lowerdir::store::Sync;
use lowerdir::{Error, Options, Owners, Parents, Result, unpack_layer};
use rustix::process::{Uid, geteuid};
use tempfile::TempDir;

use support::directory::{make_removable, names};

use crate::layer_dir::LayerDir;
use crate::tarball::LayerBuilder;

/// A temporary directory, and how layers are translated in it.
pub struct Place {
    directory: TempDir,
    options: Options,
}

/// The options that need no privilege.
pub fn unprivileged() -> Options {
    Options::default()
        .dialect(Dialect::default().namespace(Namespace::User))
        .owners(Owners::Caller)
}

/// An unnamed file with these bytes.
pub fn blob(bytes: &[u8]) -> Blob {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for a layer");
    Blob::from_file(file).expect("it is a file")
}

impl Place {
    pub fn new() -> Place {
        Place::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> Place {
        let mut options = unprivileged();
        change(&mut options);
        Place {
            directory: TempDir::new().expect("a temporary directory"),
            options,
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Unpacks one layer into the directory `name`, which nothing has to hold before.
    pub fn try_unpack(
        &self,
        name: &str,
        layer: &LayerBuilder,
        parents: Parents,
    ) -> Result<LayerDir> {
        self.try_unpack_tar(name, &layer.clone().finish(), parents)
    }

    /// The same, of an archive that is spelled byte by byte.
    pub fn try_unpack_tar(&self, name: &str, tar: &[u8], parents: Parents) -> Result<LayerDir> {
        let target = self.path().join(name);
        let blob = blob(tar);
        let unpack = unpack_layer(&blob, &target).options(self.options.clone());
        let (report, _) = unpack.parents(parents).sync(Sync::None).run()?;
        Ok(LayerDir::new(target, report))
    }

    /// Unpacks layers over each other, the lowest first.
    pub fn try_stack(&self, layers: &[LayerBuilder]) -> Result<Vec<LayerDir>> {
        let mut done: Vec<LayerDir> = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            let below: Vec<PathBuf> = done.iter().rev().map(|dir| dir.path().into()).collect();
            done.push(self.try_unpack(&index.to_string(), layer, Parents::Known(below))?);
        }
        Ok(done)
    }

    /// The topmost of layers that are unpacked over each other, the lowest first.
    pub fn stack<const N: usize>(&self, layers: [LayerBuilder; N]) -> LayerDir {
        let mut done = self.try_stack(&layers).expect("the layers are good");
        done.pop().expect("at least one layer")
    }

    /// A lowest layer, of an archive that is spelled byte by byte.
    pub fn bottom_tar(&self, tar: &[u8]) -> LayerDir {
        self.try_unpack_tar("0", tar, Parents::Known(Vec::new()))
            .expect("the layer is good")
    }

    /// A layer of which nobody said what is below it.
    pub fn alone(&self, layer: LayerBuilder) -> LayerDir {
        self.try_unpack("alone", &layer, Parents::Unknown)
            .expect("the layer is good")
    }

    /// The error of the topmost of some layers, of which nothing is left.
    pub fn refused<const N: usize>(&self, layers: [LayerBuilder; N]) -> Error {
        let Err(error) = self.try_stack(&layers) else {
            panic!("the layer was taken");
        };
        let left = self.names();
        assert_eq!(left.len(), N - 1, "left: {left:?}");
        error
    }

    /// What is in the temporary directory, sorted.
    pub fn names(&self) -> Vec<String> {
        names(self.path())
    }

    /// A file beside the layers, as something that no layer may touch.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        File::create(&path)
            .and_then(|mut file| file.write_all(content))
            .expect("a file beside the layers");
        path
    }
}

/// Does something without privilege, in a thread of its own.
pub fn as_nobody(act: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            if geteuid().is_root() {
                let nobody = Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("root may");
            }
            act();
        });
    });
}

impl Drop for Place {
    fn drop(&mut self) {
        make_removable(self.path());
    }
}
