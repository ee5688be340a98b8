//! Generates the messages of the services that are asked.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = tonic_prost_build::Config::new();
    config.protoc_executable(protoc_bin_vendored::protoc_bin_path()?);
    config.btree_map(["."]);
    config.bytes(["."]);
    let protos = ["proto/external_auth.proto", "proto/external_processor.proto", "proto/rate_limit.proto"];
    config.compile_protos(&protos, &["proto"])?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
