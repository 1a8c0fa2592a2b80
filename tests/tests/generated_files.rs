//! The committed schema and reference pages say what the components say.

use lyceum_components::COMPONENTS;
use std::path::Path;

#[test]
fn generated_files_are_current() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let stale = lyceum::schema::stale(&repository, COMPONENTS).unwrap();
    assert!(stale.is_empty(), "run `cargo run --release -- schema`: {stale:?}");
}
