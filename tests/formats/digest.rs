//! Digests: which texts are one, what they are of, and how they chain.

use std::io::Read;

use lowerdir::Digest;
use lowerdir::image::Algorithm;
use lowerdir::internals::{Hasher, HashingReader, chain_id};

const ABC_256: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
// FIPS 180-4 has both as examples.
const ABC_512: &str = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                       2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

#[test]
fn digests_are_well_formed_or_refused() {
    let digits = "0123456789abcdef".repeat(4);
    for text in [
        format!("sha256:{digits}"),
        format!("sha512:{digits}{digits}"),
    ] {
        assert_eq!(Digest::parse(&text).unwrap().to_string(), text);
    }
    for text in [
        "",
        ":",
        "sha256",
        "sha256:",
        &digits,
        &format!("sha256:{}", &digits[1..]),
        &format!("sha256:{digits}0"),
        &format!("sha256:{digits}\n"),
        &format!(" sha256:{digits}"),
        &format!("sha256::{}", &digits[1..]),
        &format!("sha256:{}", digits.to_uppercase()),
        &format!("SHA256:{digits}"),
        &format!("sha256:{}g", &digits[1..]),
        &format!("sha256:{}é", &digits[2..]),
        &format!("sha256:{digits}{digits}"),
        &format!("sha512:{digits}"),
        &format!("md5:{}", &digits[..32]),
        &format!("sha256+b64:{digits}"),
        &format!("sha256:../{}", &digits[3..]),
    ] {
        let kind = Digest::parse(text).map_err(|error| error.kind());
        assert_eq!(kind, Err(lowerdir::Kind::Refused), "{text}");
    }
}

#[test]
fn a_digest_is_of_all_bytes_that_were_read() {
    for (algorithm, expected) in [(Algorithm::Sha256, ABC_256), (Algorithm::Sha512, ABC_512)] {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish().to_string(), expected);
        let mut reader = HashingReader::new(&b"abc"[..], algorithm);
        reader.read_to_end(&mut Vec::new()).unwrap();
        let (digest, count) = reader.result();
        assert_eq!((digest.to_string().as_str(), count), (expected, 3));
    }
}

#[test]
fn a_chain_id_chains() {
    let digest = |digit: &str| Digest::parse(&format!("sha256:{}", digit.repeat(64))).unwrap();
    let (a, b) = (digest("a"), digest("b"));
    assert_eq!(chain_id(None, &a), a);
    // As sha256sum has it: of the two digests, written out, with a space between.
    let two = chain_id(Some(&a), &b);
    let expected = "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c";
    assert_eq!(two.to_string(), expected);
    let three = chain_id(Some(&two), &a);
    assert_eq!(three.to_string(), THREE);
    assert_ne!(chain_id(Some(&b), &a), two);
}

const THREE: &str = "sha256:406364a4bd8d39df8107071d4494fa73814420337124657ec5999b072e5d3352";
