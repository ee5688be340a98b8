//! Turns Kubernetes objects into what proxies are to have, what statuses say and what is to be deployed. No clock, no I/O.
//!
//! Use: make a [`Translator`], give it every object there is in one [`Translator::apply`], then each change as it comes. The
//! [`Output`] of a call holds what that call changed:
//!
//! - [`Output::snapshots`]: for each Gateway of our class whose resources changed, the whole new
//!   [`Snapshot`](agentgateway_proto::snapshot::Snapshot) (parts that did not change are shared with the last one), or
//!   `None` when the Gateway is gone or no longer ours. All changes of one call belong to one generation.
//! - [`Output::statuses`]: statuses that differ from what their objects hold, complete, with the conditions and entries of
//!   other controllers in them. A write that fails is repeated by the caller, or asked for again by
//!   [`Translator::pending_statuses`]; that is also what a replica writes when it becomes the leader.
//! - [`Output::workloads`]: what is to be deployed for a Gateway, when that changed.
//! - [`Output::references`]: Secrets and ConfigMaps that the caller must read and follow, or need not any more. Each that is
//!   added must be answered; until then what uses it is not translated ([`Translator::unread`]).
//!
//! Every input may be given again without harm; an object that arrives with nothing but a new status costs no translation.
//!
//! Addresses: a Gateway is Programmed when the Service that was deployed for it (named [`Workload::name`], in the Gateway's
//! namespace) has an address in `status.loadBalancer`. Without Kubernetes the caller gives such a Service itself.
//!
//! Order inside: gateways with their ListenerSets, then backends, then routes, then the Services that these use, then
//! policies, then statuses. A step reads what the steps before it made, never what comes after, so one pass suffices; but for
//! routes that lose a host name to an older one of another kind, which takes a second look at these routes. Each translated
//! object remembers what it looked at; a change re-translates only what had looked at it.
//!
//! Modules, in the order of the steps: `world` (the objects) and `view` (looking at them) -> `gateway`, `certificate` ->
//! `backend`, `service`, `backend_tls` -> `route` -> `policy` -> `statuses`; `translator` walks them, `made` keeps what they
//! give, `fact` who looked at what, `unit` what is translated as one piece.

mod backend;
mod backend_tls;
mod certificate;
mod conditions;
mod extension;
mod fact;
mod features;
mod gateway;
mod hostname;
mod inference;
mod installed;
mod made;
mod name;
mod names;
mod object;
mod output;
mod parameters;
mod policy;
mod rejected;
mod route;
mod selector;
mod service;
mod settings;
mod statuses;
mod translator;
mod unit;
mod view;
mod world;

pub use installed::{Installed, Release};
pub use name::Name;
pub use object::{Change, Object, ObjectKey, ObjectKind, Rejection, Secret, Unreadable};
pub use output::{Output, References, Status, StatusUpdate, Workload};
pub use settings::Settings;
pub use translator::{Counters, Translator};

/// The controller name of our GatewayClasses.
pub const CONTROLLER_NAME: &str = "kgateway.dev/agentgateway";
