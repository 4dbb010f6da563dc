// Generates the stubs from the published protos. protox compiles them, so protoc is not needed.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=ORCHESTRA_PROTOS");
    let root = PathBuf::from(env::var("ORCHESTRA_PROTOS").unwrap_or("../../proto".into()));
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join("orchestra/v1"))? {
        files.push(entry?.path());
    }
    let descriptors = protox::compile(files, [root])?;
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    Ok(())
}
