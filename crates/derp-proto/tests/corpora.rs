//! Replays what fuzzing has found worth keeping, on any toolchain; `crates/fuzz/README.md` tells how it is found.
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[expect(unreachable_pub)]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

#[test]
fn the_corpora() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let names = |directory: &Path| -> BTreeSet<_> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    // derp-tls replays its own.
    let mut ours = names(&corpora);
    ours.retain(|name| !name.starts_with("tls_"));
    assert_eq!(ours, fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
    for (name, target) in fuzz::TARGETS {
        let corpus = corpora.join(name);
        let files = names(&corpus);
        assert!(!files.is_empty(), "{name}");
        for file in files {
            println!("{name}/{file}");
            target(&fs::read(corpus.join(file)).unwrap());
        }
    }
}
