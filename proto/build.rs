//! Generates the messages and the discovery service, and the descriptor set that skew detection reads.

use std::path::PathBuf;

const SECRET: [&str; 5] =
    ["Certificate", "BasicUser", "BackendAuthentication.Key", "BackendAuthentication.Aws", "GlobalRateLimit.Redis"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut config = tonic_prost_build::Config::new();
    config.protoc_executable(protoc_bin_vendored::protoc_bin_path()?);
    config.btree_map(["."]);
    config.bytes(["."]);
    // They hold secrets; their Debug is written by hand.
    config.skip_debug(SECRET.map(|message| format!(".agentgateway.resource.v1.{message}")));
    tonic_prost_build::configure().file_descriptor_set_path(out.join("descriptors.bin")).compile_with_config(
        config,
        &["proto/agentgateway/resource/v1/resource.proto", "proto/envoy/service/discovery/v3/discovery.proto"],
        &["proto"],
    )?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
