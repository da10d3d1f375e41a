//! The phases of an unpacking apart from each other, for `make bench-micro`:
//! `phases decode IMAGE` inflates and hashes its layers and does nothing else;
//! `phases settle IMAGE DIRECTORY` unpacks and settles them one after another, in a directory that
//! is not there yet, and prints the seconds of both.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lowerdir::image::Expected;
use lowerdir::internals::Below;
use lowerdir::internals::Chunks;
use lowerdir::internals::Dir;
use lowerdir::internals::LayerReader;
use lowerdir::internals::MergedView;
use lowerdir::internals::ThreadBudget;
use lowerdir::internals::settle;
use lowerdir::internals::unpack;
use lowerdir::{Image, Limits, Options, Reference, Result};

fn main() -> Result<()> {
    // cargo adds `--bench`.
    let words: Vec<OsString> = env::args_os()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
    match words[..] {
        [verb, image] if verb == "decode" => decode(&open(image)?),
        [verb, image, directory] if verb == "settle" => {
            unpack_and_settle(&open(image)?, Path::new(directory))
        }
        // A plain `cargo bench` has nothing to say here.
        _ => Ok(()),
    }
}

fn open(image: &OsStr) -> Result<Image> {
    Image::open(&Reference::parse(image)?)
}

fn decode(image: &Image) -> Result<()> {
    for layer in &image.layers {
        let mut reader = LayerReader::open(layer.blob.get()?.open(), layer.expected.clone())?;
        io::copy(&mut reader, &mut io::sink()).expect("the layer can be decoded");
        reader.finish()?;
    }
    Ok(())
}

fn unpack_and_settle(image: &Image, place: &Path) -> Result<()> {
    let (options, limits) = (Options::default(), Limits::default());
    let (mut lower, mut unpacking, mut settling) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    for (index, layer) in image.layers.iter().enumerate() {
        let directory = place.join(index.to_string());
        fs::create_dir_all(&directory).expect("a new directory");
        let open = || Dir::open(&directory).expect("it was just made");

        let started = Instant::now();
        let mut reader = LayerReader::open(layer.blob.get()?.open(), Expected::default())?;
        let (layer, alone) = (Chunks::of_reader(&mut reader), ThreadBudget::new(1));
        let pending = unpack(layer, open(), &options, &limits, None, &alone.share())?;
        reader.finish()?;
        unpacking += started.elapsed();

        let started = Instant::now();
        let view = MergedView::of_layers(lower.clone(), options.dialect.namespace);
        let below = Below::new(Some(view), &pending.markers, options.keep_dirlinks)?;
        settle(open(), pending, &below, &options, &Limits::default())?;
        settling += started.elapsed();
        lower.insert(0, Arc::new(open()));
    }
    let (unpacking, settling) = (unpacking.as_secs_f64(), settling.as_secs_f64());
    println!("{{\"unpack\": {unpacking}, \"settle\": {settling}}}");
    Ok(())
}
