//! Whatever a layer holds, nothing outside its own directory changes; and a layer that is refused
//! leaves nothing behind.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use lowerdir::store::Sync;
use lowerdir::{Image, Kind, Parents, Reference, Store};

use crate::layer_dir::describe;
use crate::oci::{self, Compression};
use crate::place::{Place, unprivileged};
use crate::tarball::{Entry, LayerBuilder, layer};

/// Something around the layers that no layer may touch.
fn canary(place: &Place) -> std::path::PathBuf {
    let canary = place.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "untouched").unwrap();
    fs::hard_link(canary.join("file"), canary.join("link")).unwrap();
    fs::create_dir(canary.join("dir")).unwrap();
    fs::set_permissions(&canary, fs::Permissions::from_mode(0o755)).unwrap();
    canary
}

/// Every way that a name might lead out by: `target` is a path to the canary.
fn attacks(target: &str) -> Vec<LayerBuilder> {
    let to = |name: &str| format!("{target}/{name}");
    let through = || layer().symlink("out", target);
    vec![
        layer().file(to("file"), 0o644, "overwritten"),
        layer().add(Entry::dir(to("dir")).mode(0o777)),
        layer().whiteout(to("file")),
        layer().opaque(target),
        layer().file("f", 0o644, "").hardlink(to("new"), "f"),
        layer()
            .hardlink("f", to("file"))
            .file("f", 0o644, "overwritten"),
        layer()
            .symlink("out", to("file"))
            .file("out", 0o644, "replaced"),
        through().file("out/file", 0o644, "overwritten"),
        through().file("out/new", 0o644, "created"),
        through().add(Entry::dir("out").mode(0o700)),
        through().add(Entry::dir("out/dir").mode(0o700).xattr("user.a", "b")),
        through().hardlink("f", "out/file"),
        through().file("f", 0o644, "").hardlink("out/file", "f"),
        through().whiteout("out/file"),
        through().opaque("out"),
        through().opaque("out").whiteout("out"),
        through()
            .symlink("out/dir", "/")
            .file("out/dir/x", 0o644, ""),
        layer()
            .dir("out", 0o755)
            .file("out/f", 0o644, "")
            .symlink("out", target)
            .file("out/file", 0o644, "overwritten"),
        // The parent becomes a symbolic link after it was used as a directory.
        layer()
            .file("d/f", 0o644, "")
            .symlink("d", target)
            .file("d/file", 0o644, "overwritten")
            .dir("d", 0o755),
    ]
}

fn targets(place: &Place) -> Vec<String> {
    let canary = place.path().join("canary");
    let up = "../".repeat(40) + canary.to_str().unwrap().trim_start_matches('/');
    vec![canary.to_str().unwrap().into(), "../canary".into(), up]
}

/// With the attack in one layer, and with its first entry in a layer below the others.
#[test]
fn no_name_leads_out_of_the_layer() {
    let place = Place::new();
    let canary = canary(&place);
    let before = describe(&canary);
    for (number, attack) in targets(&place)
        .iter()
        .flat_map(|target| attacks(target))
        .enumerate()
    {
        let (first, rest) = attack.clone().split_first();
        let (lower, upper) = (format!("lower{number}"), format!("upper{number}"));
        let _ = place.try_unpack(&format!("whole{number}"), &attack, Parents::Unknown);
        let below = place.try_unpack(&lower, &first, Parents::Known(vec![]));
        let parents = below.iter().map(|dir| dir.path().into()).collect();
        let _ = place.try_unpack(&upper, &rest, Parents::Known(parents));
        assert_eq!(describe(&canary), before, "{attack:?}");
    }
}

/// Nor by the names of directories that are there before: the target itself may be a link.
#[test]
fn a_target_that_is_a_symlink_is_not_written_through() {
    let place = Place::new();
    let canary = canary(&place);
    std::os::unix::fs::symlink(&canary, place.path().join("target")).unwrap();
    let before = describe(&canary);
    let result = place.try_unpack("target", &layer().file("f", 0o644, ""), Parents::Unknown);
    assert!(result.is_err());
    assert_eq!(describe(&canary), before);
    assert_eq!(place.names(), ["canary", "target"]);
}

#[test]
fn a_target_that_is_not_empty_is_left_as_it_is() {
    let place = Place::new();
    let canary = canary(&place);
    let before = describe(&canary);
    let result = place.try_unpack("canary", &layer().file("f", 0o644, ""), Parents::Unknown);
    assert!(result.err().unwrap().hint_text().is_some());
    assert_eq!(describe(&canary), before);
    assert_eq!(place.names(), ["canary"]);
}

#[test]
fn the_layers_below_are_never_changed() {
    let place = Place::new();
    let below = layer()
        .add(Entry::dir("d").mode(0o750))
        .file("d/f", 0o644, "x")
        .hardlink("g", "d/f")
        .symlink("s", "d");
    let below = place
        .try_unpack("below", &below, Parents::Known(vec![]))
        .unwrap();
    let before = describe(below.path());
    for (number, upper) in [
        layer().opaque(""),
        layer().file("s/f", 0o644, "new").whiteout("g"),
        layer().hardlink("h", "g").file("h", 0o644, "overwritten"),
        layer().add(Entry::dir("d").mode(0o777)).opaque("d"),
    ]
    .iter()
    .enumerate()
    {
        let parents = Parents::Known(vec![below.path().into()]);
        place
            .try_unpack(&number.to_string(), upper, parents)
            .unwrap();
        assert_eq!(describe(below.path()), before, "{upper:?}");
    }
}

fn bad_layers() -> [LayerBuilder; 4] {
    let much = layer()
        .add(Entry::dir("ro").mode(0o500))
        .file("ro/f", 0o644, "x")
        .add(Entry::dir("none/deep").mode(0o000))
        .symlink("out", "/etc")
        .add(Entry::fifo("p"));
    [
        much.clone().file("../x", 0o644, ""),
        much.clone().hardlink("g", "nothing"),
        much.clone().add(Entry::chardev("z", 0, 0)),
        // Found out only when the layer is settled, or at the second pass.
        much.opaque(""),
    ]
}

#[test]
fn of_a_refused_layer_nothing_is_left_and_nothing_beside_it() {
    for (number, bad) in bad_layers().iter().enumerate() {
        let place = Place::new();
        let error = place.try_unpack("target", bad, Parents::Unknown);
        assert_eq!(error.err().unwrap().kind(), Kind::Refused, "{number}");
        assert!(place.names().is_empty(), "{number}: {:?}", place.names());
    }
}

#[test]
fn a_target_that_was_empty_is_empty_after_a_failure() {
    let place = Place::new();
    let target = place.path().join("target");
    fs::create_dir(&target).unwrap();
    let inode = fs::metadata(&target).unwrap().ino();
    for bad in &bad_layers() {
        assert!(place.try_unpack("target", bad, Parents::Unknown).is_err());
        assert_eq!(place.names(), ["target"]);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
        assert_eq!(fs::metadata(&target).unwrap().ino(), inode);
    }
}

#[test]
fn of_a_truncated_layer_nothing_is_left() {
    let tar = layer()
        .dir("d", 0o755)
        .file("d/f", 0o644, "x".repeat(2000))
        .finish();
    for length in [512 + 100, 1024 + 700, 1024 + 512 + 1500] {
        let place = Place::new();
        let error = place.try_unpack_tar("target", &tar[..length], Parents::Unknown);
        assert_eq!(error.err().unwrap().kind(), Kind::Refused, "{length}");
        assert!(place.names().is_empty());
    }
}

fn unpack_into_store(place: &Place, layers: &[LayerBuilder]) -> lowerdir::Result<()> {
    let image = place.path().join("image");
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| (layer.clone().finish(), Compression::Plain))
        .collect();
    oci::write_layout(&image, "latest", &layers);
    let image = Image::open(&Reference::parse(image)?)?;
    let store = Store::open(place.path().join("store"))?;
    let unpack = store.unpack(&image).options(unprivileged());
    unpack.jobs(2).sync(Sync::None).run()?;
    Ok(())
}

fn count(path: &Path) -> usize {
    fs::read_dir(path).unwrap().count()
}

/// The good layers below are settled by then, and may hold what their owner cannot write in.
#[test]
fn of_a_refused_image_the_staging_directory_is_empty() {
    let good = layer()
        .add(Entry::dir("./").mode(0o555))
        .add(Entry::dir("ro").mode(0o555))
        .file("ro/f", 0o644, "x")
        .dir("ro/sub", 0o755);
    for bad in bad_layers().into_iter().take(3) {
        let place = Place::new();
        let error = unpack_into_store(&place, &[good.clone(), good.clone(), bad]);
        assert_eq!(error.unwrap_err().kind(), Kind::Refused);
        let store = place.path().join("store");
        assert_eq!(count(&store.join("staging")), 0);
        assert_eq!(count(&store.join("images")), 0);
        Store::open(&store).expect("the store can be used again");
    }
}

/// Somebody may put a link in the place of a device between two calls.
#[test]
fn the_mode_of_a_link_is_not_that_of_what_it_points_to() {
    let place = Place::new();
    let canary = canary(&place);
    std::os::unix::fs::symlink(canary.join("file"), place.path().join("link")).unwrap();
    let mode = || fs::metadata(canary.join("file")).unwrap().mode();
    let before = mode();
    let directory = lowerdir::internals::Dir::open(place.path()).unwrap();
    assert!(directory.set_mode(b"link", 0o4777).is_err());
    assert_eq!(mode(), before);
    fs::write(place.path().join("own"), "").unwrap();
    directory.set_mode(b"own", 0o4711).unwrap();
    let own = fs::metadata(place.path().join("own")).unwrap();
    assert_eq!(own.mode() & 0o7777, 0o4711);
}
