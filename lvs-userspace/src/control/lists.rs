//! The lists and tables that schedulers choose from, worked out before the data path needs them. Servers come newest
//! first, the order in which IPVS walks (a new server goes to the head of its list, `ip_vs_ctl.c`).

use std::net::IpAddr;

use lvs_common::{
    abi::{MEMBERS_EACH, Run, scheduler},
    scheduler::{dh, hash, mh, sh},
};

use crate::config::Scheduler;

/// A server as the lists see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its id.
    pub(super) id: u32,
    /// Its weight.
    pub(super) weight: u32,
    /// Its weight, or if that is 0 the last one that was not (`last_weight` in `ip_vs.h`).
    pub(super) last_weight: u32,
    /// Its address.
    pub(super) address: IpAddr,
    /// Its port.
    pub(super) port: u16,
    /// Its age: [`Place::order`](lvs_common::abi::Place::order).
    pub(super) order: u32,
}

/// The number of a scheduler.
pub(super) const fn number(scheduler: Scheduler) -> u8 {
    match scheduler {
        Scheduler::RoundRobin => scheduler::ROUND_ROBIN,
        Scheduler::WeightedRoundRobin => scheduler::WEIGHTED_ROUND_ROBIN,
        Scheduler::LeastConnections => scheduler::LEAST_CONNECTION,
        Scheduler::WeightedLeastConnections => scheduler::WEIGHTED_LEAST_CONNECTION,
        Scheduler::SourceHash => scheduler::SOURCE_HASHING,
        Scheduler::DestinationHash => scheduler::DESTINATION_HASHING,
        Scheduler::LocalityLeastConnections => scheduler::LOCALITY,
        Scheduler::LocalityLeastConnectionsReplicated => scheduler::LOCALITY_REPLICATED,
        Scheduler::ShortestExpectedDelay => scheduler::SHORTEST_EXPECTED_DELAY,
        Scheduler::NeverQueue => scheduler::NEVER_QUEUE,
        Scheduler::MaglevHash => scheduler::MAGLEV,
        Scheduler::Failover => scheduler::FAIL_OVER,
        Scheduler::Overflow => scheduler::OVERFLOW,
        Scheduler::TwoChoices => scheduler::TWO_RANDOM_CHOICES,
    }
}

/// The scheduler that has a number.
pub(super) fn scheduler(wanted: u8) -> Option<Scheduler> {
    Scheduler::ALL.into_iter().find(|one| number(*one) == wanted)
}

/// What a scheduler chooses from.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The scheduler's number.
    pub(super) scheduler: u8,
    /// Its lists: one, or with wrr one for each run.
    pub(super) lists: Vec<Vec<u32>>,
    /// wrr: the turn that each run begins with.
    pub(super) runs: Vec<u64>,
    /// wrr: turns in the whole round.
    pub(super) turns: u64,
}

impl Layout {
    /// For these servers.
    pub(super) fn of(scheduler: Scheduler, servers: &[Member]) -> Self {
        let number = number(scheduler);
        let list = match scheduler {
            Scheduler::WeightedRoundRobin => {
                let Round { runs, turns } = weighted_round(servers);
                let (runs, lists) = runs.into_iter().unzip();
                return Self { scheduler: number, lists, runs, turns };
            }
            Scheduler::SourceHash => source_hashing(servers),
            Scheduler::DestinationHash => destination_hashing(servers),
            Scheduler::MaglevHash => maglev(servers),
            _ => usable(servers),
        };
        Self { scheduler: number, lists: vec![list], runs: Vec::new(), turns: 0 }
    }

    /// The lists as elements of `MEMBERS`, one after the other; each begins with an element.
    pub(super) fn elements(&self) -> impl Iterator<Item = [u32; MEMBERS_EACH]> + '_ {
        self.lists.iter().flat_map(|list| {
            list.chunks(MEMBERS_EACH).map(|ids| {
                let mut element = [0; MEMBERS_EACH];
                for (place, id) in element.iter_mut().zip(ids) {
                    *place = *id;
                }
                element
            })
        })
    }
}

/// Those whose weight is not 0.
pub(super) fn usable(servers: &[Member]) -> Vec<u32> {
    servers.iter().filter(|server| server.weight > 0).map(|server| server.id).collect()
}

/// sh: each server takes as many buckets in a row as it weighs, but one at least, until all are taken
/// (`ip_vs_sh_reassign`).
pub(super) fn source_hashing(servers: &[Member]) -> Vec<u32> {
    let round = servers.iter().flat_map(|server| {
        std::iter::repeat_n(server.id, server.weight.clamp(1, sh::BUCKETS) as usize)
    });
    round.cycle().take(sh::BUCKETS as usize).collect()
}

/// dh: a bucket for each server, again and again (`ip_vs_dh_reassign`).
pub(super) fn destination_hashing(servers: &[Member]) -> Vec<u32> {
    servers.iter().map(|server| server.id).cycle().take(dh::BUCKETS as usize).collect()
}

/// mh: a server and its order of buckets.
struct Order {
    id: u32,
    next: u32,
    skip: u32,
    /// Buckets that it takes before the next server does.
    turns: u32,
}

/// mh: each server has an order of buckets of its own, and they take turns to have their next free one
/// (`ip_vs_mh_permutate`, `ip_vs_mh_populate`). Weights are the last that were not 0, so that a server that is drained
/// keeps its buckets. Empty if all are 0.
pub(super) fn maglev(servers: &[Member]) -> Vec<u32> {
    let step = servers.iter().fold(0, |step, server| gcd(step, server.last_weight));
    if step == 0 {
        return Vec::new();
    }
    let heaviest = servers.iter().map(|server| server.last_weight).max().unwrap_or_default() / step;
    // Six bits of the weights count.
    let shift = heaviest.checked_ilog2().map_or(0, |bits| bits + 1).saturating_sub(6);
    let orders = servers.iter().filter(|server| server.last_weight > 0).map(|server| {
        let mixed = match server.address {
            IpAddr::V4(address) => sh::mixed(address.octets(), server.port),
            IpAddr::V6(address) => sh::mixed(address.octets(), server.port),
        };
        Order {
            id: server.id,
            next: mh::bucket(mixed, 0),
            skip: hash::hsiphash(mixed, mh::SECOND_KEY) % (mh::BUCKETS - 1) + 1,
            turns: ((server.last_weight / step) >> shift).max(1),
        }
    });
    let mut orders: Vec<Order> = orders.collect();
    let mut buckets = vec![None; mh::BUCKETS as usize];
    let mut free = buckets.len();
    while free > 0 {
        for order in &mut orders {
            for _ in 0..order.turns {
                // There is a free one: the number of buckets is a prime, and so each order goes through all.
                while let Some(Some(_)) = buckets.get(order.next as usize) {
                    order.next = (order.next + order.skip) % mh::BUCKETS;
                }
                if free > 0
                    && let Some(bucket) = buckets.get_mut(order.next as usize)
                {
                    *bucket = Some(order.id);
                    free -= 1;
                }
                if free == 0 {
                    break;
                }
            }
            if free == 0 {
                break;
            }
        }
    }
    buckets.into_iter().flatten().collect()
}

/// wrr: a round, as [`Run`](lvs_common::abi::Run)s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// The turn that each run begins with, and its servers.
    pub(super) runs: Vec<(u64, Vec<u32>)>,
    /// Turns in the whole round.
    pub(super) turns: u64,
}

/// wrr: the walks over the servers with a falling limit (`ip_vs_wrr.c`).
pub(super) fn weighted_round(servers: &[Member]) -> Round {
    let (step, _) = Limit::of(servers);
    let mut round = Round::default();
    let weights = levels(servers, step);
    for (index, weight) in weights.iter().enumerate() {
        let ids: Vec<u32> = servers
            .iter()
            .filter(|server| server.weight / step >= *weight)
            .map(|server| server.id)
            .collect();
        let walks = u64::from(weight - weights.get(index + 1).copied().unwrap_or_default());
        let turns = walks * ids.len() as u64;
        round.runs.push((round.turns, ids));
        round.turns += turns;
    }
    round
}

/// wrr: the different weights in steps, the greatest first. A server that weighs two steps has a turn in the last two
/// walks.
fn levels(servers: &[Member], step: u32) -> Vec<u32> {
    let mut weights: Vec<u32> =
        servers.iter().map(|server| server.weight / step).filter(|weight| *weight > 0).collect();
    weights.sort_unstable_by(|a, b| b.cmp(a));
    weights.dedup();
    weights
}

/// wrr: the limit of the walk that goes on (`cw` in `ip_vs_wrr.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limit(pub(super) u32);

impl Limit {
    /// The step by which it falls, and the greatest weight.
    pub(super) fn of(servers: &[Member]) -> (u32, u32) {
        let step = servers.iter().fold(0, |step, server| gcd(step, server.weight)).max(1);
        (step, servers.iter().map(|server| server.weight).max().unwrap_or_default())
    }

    /// What the limit is after a server has come, gone, or changed its weight; the walk begins anew with it
    /// (`ip_vs_wrr_dest_changed`).
    pub(super) fn changed(self, servers: &[Member]) -> Self {
        let (step, heaviest) = Self::of(servers);
        let most = (heaviest + 1).saturating_sub(step);
        Self(match self.0 {
            0 => most,
            limit if limit > most => most,
            limit if step > 1 => limit / step * step + 1,
            limit => limit,
        })
    }

    /// What it was in this turn of a round of these runs and so many turns; as it is at the beginning if no server has a
    /// turn.
    pub(super) fn at(turn: u64, runs: &[Run], turns: u64, step: u32) -> Self {
        let turn = turn.checked_rem(turns).unwrap_or_default();
        // Walks from a run's end to that of the round.
        let (mut left, mut end) = (0, turns);
        for run in runs.iter().rev() {
            let walks = |turns: u64| turns.checked_div(run.members.into()).unwrap_or_default();
            let of_run = walks(end.saturating_sub(run.turn));
            if run.turn <= turn {
                let level = (left + of_run).saturating_sub(walks(turn - run.turn));
                return Self((level.saturating_sub(1) as u32).wrapping_mul(step).wrapping_add(1));
            }
            left += of_run;
            end = run.turn;
        }
        Self::default()
    }

    /// The turn of the round that the walk with this limit begins with.
    pub(super) fn turn(self, servers: &[Member]) -> u64 {
        let (step, _) = Self::of(servers);
        // The walk in which all servers take part that weigh more steps than this.
        let above = self.0.saturating_sub(1) / step;
        // Those before it: a server takes part in the walks down to this one as often as it weighs more.
        servers
            .iter()
            .map(|server| u64::from((server.weight / step).saturating_sub(above + 1)))
            .sum()
    }
}

const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers that were added in this order: A is number 0.
    fn servers(weights: &[u32]) -> Vec<Member> {
        let member = |(id, weight): (u32, &u32)| Member {
            id,
            weight: *weight,
            last_weight: *weight,
            address: [192, 168, 0, id as u8].into(),
            port: 80,
            order: id,
        };
        let mut members: Vec<Member> = (0..).zip(weights).map(member).collect();
        members.reverse();
        members
    }

    /// The limit after the servers have been added one after the other.
    fn after_adding(servers: &[Member]) -> Limit {
        (0..servers.len())
            .rev()
            .fold(Limit::default(), |limit, newest| limit.changed(&servers[newest..]))
    }

    /// The servers' letters in the order of a round, beginning with a turn.
    fn walk(round: &Round, from: u64, turns: u64) -> String {
        let letter = |turn: u64| {
            let turn = turn % round.turns;
            let (first, ids) = round.runs.iter().rev().find(|(first, _)| *first <= turn).unwrap();
            let place = ((turn - first) % ids.len() as u64) as usize;
            char::from(b'A' + ids[place] as u8)
        };
        (from..from + turns).map(letter).collect()
    }

    #[test]
    fn weighted_rounds_go_as_ipvs_goes() {
        for (weights, expected) in
            [(&[4, 3, 2][..], "ABACBACBA"), (&[5, 1, 1], "AAAACBA"), (&[10, 20, 40], "CCCBCBA")]
        {
            let round = weighted_round(&servers(weights));
            assert_eq!(round.turns, expected.len() as u64);
            assert_eq!(walk(&round, 0, round.turns), expected);
        }
    }

    #[test]
    fn a_round_begins_where_the_additions_have_left_it() {
        // With 5, 3 and 1 the step falls from 5 to 1 when the second one comes: the limit stays 1.
        let members = servers(&[5, 3, 1]);
        let limit = after_adding(&members);
        assert_eq!(limit, Limit(1));
        let round = weighted_round(&members);
        assert_eq!(walk(&round, limit.turn(&members), 12), "CBAAABABACBA");
        let equal = servers(&[1, 1, 1]);
        assert_eq!(after_adding(&equal).turn(&equal), 0);
    }

    #[test]
    fn the_limit_falls_with_the_turns() {
        let members = servers(&[40, 20, 10]);
        let Round { runs, turns } = weighted_round(&members);
        let runs: Vec<Run> = runs
            .iter()
            .map(|(turn, ids)| Run { turn: *turn, first_member: 0, members: ids.len() as u32 })
            .collect();
        let limits: Vec<u32> =
            (0..=turns).map(|turn| Limit::at(turn, &runs, turns, 10).0).collect();
        assert_eq!(limits, [31, 21, 11, 11, 1, 1, 1, 31]);
        for walk in [0, 2, 4] {
            assert_eq!(Limit::at(walk, &runs, turns, 10).turn(&members), walk);
        }
        assert_eq!(Limit::at(3, &[], 0, 1), Limit::default());
    }

    #[test]
    fn schedulers_have_numbers_of_their_own() {
        for wanted in 0..14 {
            assert_eq!(scheduler(wanted).map(number), Some(wanted));
        }
        assert_eq!(scheduler(14), None);
    }

    #[test]
    fn source_hashing_gives_a_bucket_to_weight_0() {
        let count = |weights: &[u32], id: u32| {
            source_hashing(&servers(weights)).iter().filter(|bucket| **bucket == id).count()
        };
        assert_eq!([0, 1, 2].map(|id| count(&[3, 2, 1], id)), [127, 86, 43]);
        assert_eq!([0, 1, 2].map(|id| count(&[1, 1, 0], id)), [85, 85, 86]);
        assert!(source_hashing(&[]).is_empty());
        let chosen = |client: [u8; 4]| {
            source_hashing(&servers(&[3, 2, 1]))[sh::bucket(sh::mixed(client, 0), 0) as usize]
        };
        assert_eq!(chosen([192, 168, 1, 1]), 0);
        assert_eq!(chosen([192, 168, 1, 2]), 2);
        assert_eq!(chosen([10, 0, 0, 2]), 0);
    }

    #[test]
    fn maglev_shares_by_weight_and_keeps_the_buckets_of_drained_servers() {
        let members = servers(&[1, 1, 2]);
        let buckets = maglev(&members);
        assert_eq!(buckets.len(), mh::BUCKETS as usize);
        let count = |id: u32| buckets.iter().filter(|bucket| **bucket == id).count();
        assert!((1..=1).contains(&count(0).abs_diff(count(1)).max(1)));
        assert!(count(2).abs_diff(2 * count(0)) <= 2);
        let mut drained = members.clone();
        drained[0].weight = 0;
        assert_eq!(maglev(&drained), buckets);
        assert!(maglev(&servers(&[0, 0])).is_empty());
    }

    #[test]
    fn destination_hashing_takes_no_notice_of_weights() {
        let buckets = destination_hashing(&servers(&[9, 0]));
        assert_eq!(buckets[..4], [1, 0, 1, 0]);
        assert_eq!(buckets.len(), 256);
    }
}
