//! What users write: the types of policies, of backends and of the YAML file, with their validation in the schema.
//!
//! The YAML file and the Kubernetes resources are made of these same types, so the two cannot drift apart. The types
//! ignore unknown fields, as objects read from Kubernetes need it (an API server prunes what its schema does not
//! know, and a newer release's field must not cost the whole object); [`strict`] is how the file loader refuses them.
//!
//! The limits of CRD schemas bind every type here: no recursion, no tagged or untagged enums, no flattening. A union
//! is a struct of optional members with a rule that exactly one is set; the rule is checked by the API server and by
//! `agentgateway-convert`. Everything that can repeat has a maximum.

pub mod backend;
pub mod duration;
pub mod file;
pub mod inference;
pub mod path;
pub mod policy;
pub mod size;
pub mod strict;

pub use duration::Duration;
pub use path::{Path, Segment};
pub use size::Size;
