//! The turns that servers have with rr and wrr, as IPVS goes through them: walk by walk, server by server.

/// Servers in the order of their turns, from a round's beginning on, for ever. They are numbered in the order in which
/// they were added, which is that of the weights; one of these at least is not 0.
pub(crate) fn of(scheduler: &str, weights: &[u32]) -> impl Iterator<Item = usize> {
    let weights: Vec<u32> = match scheduler {
        // For rr only whether there is a weight counts.
        "rr" => weights.iter().map(|weight| (*weight).min(1)).collect(),
        _ => weights.to_vec(),
    };
    let step = weights.iter().fold(0, |a, b| gcd(a, *b)).max(1);
    let most = weights.iter().copied().max().unwrap_or_default();
    let mut limit = most;
    // The newest server comes first.
    let mut place = weights.len();
    std::iter::from_fn(move || {
        loop {
            if place == 0 {
                place = weights.len();
                limit = if limit > step { limit - step } else { most };
            }
            place -= 1;
            if weights[place] >= limit {
                return Some(place);
            }
        }
    })
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
