//! Generates the messages of the services that are asked.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = tonic_prost_build::Config::new();
    config.protoc_executable(protoc_bin_vendored::protoc_bin_path()?);
    config.btree_map(["."]);
    config.bytes(["."]);
    config.compile_protos(&["proto/external_auth.proto", "proto/rate_limit.proto"], &["proto"])?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
