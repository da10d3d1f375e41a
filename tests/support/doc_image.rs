// Included by examples in the documentation: writes an image for them. Its second layer deletes
// `etc/motd`, which the first one has.

fn doc_image(archive: &std::path::Path) -> std::io::Result<()> {
    fn add(tar: &mut tar::Builder<impl std::io::Write>, name: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).expect("it fits");
    }
    let layers = ["etc/motd", "etc/.wh.motd"].map(|name| {
        let mut layer = tar::Builder::new(Vec::new());
        add(&mut layer, name, b"");
        layer.into_inner().expect("memory takes it")
    });
    let diff_ids = layers.each_ref().map(|layer| {
        let digest = lowerdir::digest::Digest::of(layer);
        digest.to_string()
    });
    let config = serde_json::json!({ "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let manifest = serde_json::json!([{ "Config": "c.json", "Layers": ["1.tar", "2.tar"] }]);
    let mut image = tar::Builder::new(std::fs::File::create(archive)?);
    add(&mut image, "1.tar", &layers[0]);
    add(&mut image, "2.tar", &layers[1]);
    add(&mut image, "c.json", config.to_string().as_bytes());
    add(&mut image, "manifest.json", manifest.to_string().as_bytes());
    image.finish()
}
