//! Random numbers for spreading load: fast, seeded per thread, no secret.

use std::cell::Cell;

/// A number below `n`, which is not 0; uniform enough for balancing (xorshift64*).
pub fn random_below(n: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(ahash::RandomState::new().hash_one(std::thread::current().id()) | 1);
    }
    let x = STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    });
    let scaled = (u128::from(x) * n as u128) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}
