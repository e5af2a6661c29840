//! What the fuzzer knows, run again: the inputs of `tests/corpus/engine`, and some more at random.

use std::{fs, path::Path};

use lvs_common::host;
use proptest::prelude::*;

#[test]
fn every_input_of_the_corpus_is_survived() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/engine");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap();
        println!("{}\n{}", path.display(), host::describe(&data));
        host::fuzz(&data);
        count += 1;
    }
    assert!(count >= 10, "the corpus is there");
}

proptest! {
    #[test]
    fn any_steps_are_survived(data in prop::collection::vec(any::<u8>(), 0..400)) {
        host::fuzz(&data);
    }
}
