//! Hash tables over endpoints: a ring (Karger et al. 1997, as Ketama places its points) and Maglev's lookup table
//! (Eisenbud et al. 2016, §3.4). Both give one endpoint for a hash in every proxy, and move few hashes when an endpoint
//! comes or goes.

/// Entries of a Maglev table: a prime, and large against the number of endpoints.
const MAGLEV_SIZE: usize = 65_537;

/// Gives the index of an endpoint for a hash.
#[derive(Debug)]
pub(super) enum Table {
    /// Points and whose they are, in order.
    Ring(Box<[(u64, u32)]>),
    Maglev(Box<[u32]>),
}

/// FNV-1a, then mixed: the same on every machine and in every release, which hashers of the standard library are not.
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    mix(fnv)
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Table {
    /// A ring of at least and at most so many points; each endpoint has the same number of them.
    pub(super) fn ring(names: &[String], least: usize, most: usize) -> Table {
        let count = names.len().max(1);
        // A power of two: with a number that changes whenever an endpoint comes or goes, points of all would, and keys with them.
        let each = least.div_ceil(count).next_power_of_two().min((most / count).max(1));
        let mut points: Vec<(u64, u32)> = (0_u32..)
            .zip(names)
            .flat_map(|(index, name)| {
                let own = hash(name.as_bytes());
                (0..each as u64).map(move |n| (mix(own ^ mix(n.wrapping_add(1))), index))
            })
            .collect();
        points.sort_unstable();
        Table::Ring(points.into())
    }

    /// A lookup table that endpoints fill in turn, each in an order of its own.
    pub(super) fn maglev(names: &[String]) -> Table {
        let size = MAGLEV_SIZE as u64;
        // Where an endpoint's order begins, and its step.
        let mut orders: Vec<(u64, u64)> = names
            .iter()
            .map(|name| {
                let own = hash(name.as_bytes());
                (own % size, mix(own) % (size - 1) + 1)
            })
            .collect();
        let mut table = vec![u32::MAX; MAGLEV_SIZE];
        let mut left = if names.is_empty() { 0 } else { MAGLEV_SIZE };
        while left > 0 {
            for (index, (next, step)) in (0_u32..).zip(orders.iter_mut()) {
                if left == 0 {
                    break;
                }
                loop {
                    let slot = table.get_mut(usize::try_from(*next).unwrap_or(0));
                    *next = (*next + *step) % size;
                    if let Some(slot @ &mut u32::MAX) = slot {
                        *slot = index;
                        left -= 1;
                        break;
                    }
                }
            }
        }
        Table::Maglev(table.into())
    }

    /// The endpoint of a hash. `nth` from 0: others for the same hash, when the first cannot be used.
    pub(super) fn find(&self, hash: u64, nth: usize) -> Option<usize> {
        match self {
            Table::Ring(points) => {
                let at = points.partition_point(|(point, _)| *point < hash);
                // The next endpoints round the ring.
                let mut seen: Vec<u32> = Vec::new();
                let (before, after) = points.split_at_checked(at)?;
                for (_, index) in after.iter().chain(before) {
                    if seen.contains(index) {
                        continue;
                    }
                    if seen.len() == nth {
                        return usize::try_from(*index).ok();
                    }
                    seen.push(*index);
                }
                None
            }
            Table::Maglev(table) => {
                let hash = (0..nth).fold(hash, |hash, _| mix(hash ^ 1));
                let at = usize::try_from(hash % table.len().max(1) as u64).ok()?;
                table.get(at).and_then(|index| usize::try_from(*index).ok())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u64 = 20_000;

    fn names(n: usize) -> Vec<String> {
        (1..=n).map(|i| format!("10.0.0.{i}:80")).collect()
    }

    fn places(table: &Table, names: &[String]) -> Vec<String> {
        let key = |n: u64| hash(format!("user-{n}").as_bytes());
        (0..KEYS).map(|n| names[table.find(key(n), 0).expect("one")].clone()).collect()
    }

    /// Of ten endpoints one goes: its keys must move, and hardly any other.
    fn moved(make: fn(&[String]) -> Table) -> (f64, f64) {
        let ten = names(10);
        let nine: Vec<_> = ten.iter().filter(|n| *n != "10.0.0.4:80").cloned().collect();
        let (before, after) = (places(&make(&ten), &ten), places(&make(&nine), &nine));
        let share = |count: usize| count as f64 / KEYS as f64;
        let moved = before.iter().zip(&after).filter(|(b, a)| b != a).count();
        let own = before.iter().filter(|b| *b == "10.0.0.4:80").count();
        (share(moved), share(own))
    }

    #[test]
    fn on_a_ring_only_the_keys_of_the_endpoint_that_goes_move() {
        let (moved, own) = moved(|names| Table::ring(names, 4096, 65_536));
        assert_eq!(moved, own);
        assert!((0.05..0.15).contains(&own), "{own}");
    }

    #[test]
    fn maglev_moves_few_other_keys_and_spreads_evenly() {
        let (moved, own) = moved(Table::maglev);
        assert!((0.09..0.11).contains(&own), "{own}");
        assert!(moved < own + 0.03, "{moved} {own}");
    }

    #[test]
    fn one_hash_has_other_endpoints_too() {
        let three = names(3);
        let ring = Table::ring(&three, 64, 64);
        let mut found: Vec<_> = (0..3).map(|nth| ring.find(99, nth).expect("one")).collect();
        found.sort_unstable();
        assert_eq!((found, ring.find(99, 3)), (vec![0, 1, 2], None));
        assert_eq!((Table::ring(&[], 8, 8).find(1, 0), Table::ring(&three, 8, 2).find(1, 0).is_some()), (None, true));
    }
}
