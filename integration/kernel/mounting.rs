//! What a mount takes: how many layers, which paths.

use super::*;

#[test]
fn one_layer_alone_is_refused_and_mounts_over_an_empty_one() {
    let site = Site::new();
    let (only, empty) = (site.layer("only", "f"), site.layer("empty", ""));
    kernel_says!(overlay(Trusted, &[&only]).err(), Some(Errno::INVAL));
    kernel_says!(site.view(Trusted, &[&only, &empty]).names(""), "f");
}

#[test]
fn same_directory_twice_is_refused() {
    let site = Site::new();
    let (one, two) = (site.layer("one", ""), site.layer("two", ""));
    kernel_says!(
        overlay(Trusted, &[&one, &two, &one]).err(),
        Some(Errno::LOOP)
    );
    kernel_says!(overlay(Trusted, &[&one, &one]).err(), Some(Errno::LOOP));
}

#[test]
fn directory_inside_another_layer_is_refused() {
    let site = Site::new();
    let (outer, inner) = (site.layer("outer", ""), site.layer("outer/inner", ""));
    kernel_says!(overlay(Trusted, &[&outer, &inner]).err(), Some(Errno::LOOP));
}

#[test]
fn five_hundred_layers_mount_and_one_more_does_not() {
    let site = Site::new();
    let names = (0..501).map(|number: u32| number.to_string());
    let layers: Vec<Layer> = names.map(|name| site.layer(&name, &name)).collect();
    let layers: Vec<&Layer> = layers.iter().collect();
    let view = site.view(Trusted, &layers[..500]);
    kernel_says!(view.names("").split(' ').count(), 500);
    kernel_says!(overlay(Trusted, &layers).err(), Some(Errno::INVAL));
}

const ODD_NAME: &str = r"a:b,c\d e\:f";

#[test]
fn lowerdir_plus_takes_a_path_as_it_is() {
    let site = Site::new();
    let (odd, bottom) = (site.layer(ODD_NAME, "f"), site.layer("bottom", ""));
    kernel_says!(site.view(Trusted, &[&odd, &bottom]).names(""), "f");
}

#[test]
fn classic_lowerdir_takes_a_path_with_colon_comma_and_backslash_escaped() {
    let site = Site::new();
    let escape = |layer: Layer| {
        let path = layer.0.to_str().expect("UTF-8").replace('\\', r"\\");
        path.replace(':', r"\:").replace(',', r"\,")
    };
    let (odd, bottom) = (site.layer(ODD_NAME, "f"), site.layer("bottom", ""));
    let view = site.classic_view(&format!("lowerdir={}:{}", escape(odd), escape(bottom)));
    kernel_says!(view.names(""), "f");
}

/// Why a stack whose text fills a page must not be mounted this way.
#[test]
fn classic_options_are_cut_at_one_page_without_a_word() {
    let site = Site::new();
    let [top, bottom, lost] = ["top", "bottom", "lost"].map(|name| site.layer(name, name).0);
    let start = format!("lowerdir={}:", top.display());
    // Slashes in front of a path mean nothing and fill the page to its last usable byte.
    let width = 4095 - start.len();
    let page = format!("{start}{:/>width$}", bottom.to_str().expect("UTF-8"));
    let view = site.classic_view(&format!("{page}:{}", lost.display()));
    kernel_says!(view.names(""), "bottom top");
}

#[test]
fn lowerdir_plus_refuses_a_path_of_over_255_bytes_and_takes_a_descriptor() {
    let site = Site::new();
    let name = ["p".repeat(200), "l".repeat(200)].join("/");
    let (long, bottom) = (site.layer(&name, ""), site.layer("bottom", "f"));
    kernel_says!(
        overlay(Trusted, &[&long, &bottom]).err(),
        Some(Errno::INVAL)
    );
    if !since(6, 13, "lowerdir+ by descriptor") {
        return;
    }
    let context = context(Trusted).expect("a context");
    for layer in [&long, &bottom] {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = open(&layer.0, flags, Mode::empty()).expect("the layer");
        fsconfig_set_fd(&context, "lowerdir+", &descriptor).expect("a layer by descriptor");
    }
    finish(&context).expect("an overlay mount");
}
