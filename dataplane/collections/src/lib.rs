//! Collections that are small most of the time, and must not cost as if they were large.
//!
//! Both programs keep relations between tens of thousands of objects, and most of them relate to one or two others. A node of
//! a `BTreeSet` has room for eleven elements from the first one on, which was half of the control plane's memory.

mod small_set;
mod sorted_map;

pub use small_set::SmallSet;
pub use sorted_map::SortedMap;
