//! The resource model that travels over xDS, as generated messages, with the names and hashes both programs must agree on.

#![allow(missing_docs, reason = "generated messages carry their comments in the .proto files")]

pub mod capabilities;
pub mod key;
pub mod kind;
pub mod limits;
mod policy;
pub mod resource;
mod secret;
pub mod snapshot;

/// Resources and policies (`proto/agentgateway/resource/v1`).
pub mod v1 {
    #![allow(clippy::all, unreachable_pub)]
    tonic::include_proto!("agentgateway.resource.v1");
}

/// Envoy's discovery service, the part that is used here.
pub mod discovery {
    #![allow(clippy::all, unreachable_pub)]
    tonic::include_proto!("envoy.service.discovery.v3");
}

/// The encoded `FileDescriptorSet` of all messages here.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
