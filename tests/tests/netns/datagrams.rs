//! UDP services: small datagrams, and such as go in many fragments; nothing is lost or damaged.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lvs_tests::config::{Protocol, Service};
use lvs_tests::topology::Plan;
use lvs_tests::udp;
use lvs_tests::xlvs::Xlvs;

use super::lab::{Case, Lab, for_each_method};

const LIMIT: Duration = Duration::from_secs(2);
const ECHO: u16 = 7;

for_each_method!(echoes, super::every_client_keeps_its_server_and_loses_nothing);
for_each_method!(fragments, super::large_datagrams_come_back);

fn every_client_keeps_its_server_and_loses_nothing(
    mode: &'static str,
    cases: &[Case],
) -> Result<()> {
    let (lab, xlvs) = started(mode, cases)?;
    for case in cases {
        let echoes = echoes(&lab, *case)?;
        let address = lab.virtual_at(case.family, ECHO);
        // All of them at once: no port is used twice.
        let clients = (0..20).map(|_| udp::Client::new(lab.client(), address, LIMIT));
        let mut clients = clients.collect::<Result<Vec<_>>>()?;
        for (number, client) in clients.iter_mut().enumerate() {
            let series = client.series(20, 10 + number * 60).with_context(|| case.to_string())?;
            assert_eq!(series, udp::Series { sent: 20, echoed: 20 }, "{case}, client {number}");
        }
        let seen = lab.seen(case.method, case.family);
        for record in echoes.iter().map(udp::Echo::record) {
            // Ten clients each, and each stays where it is.
            assert_eq!(record.datagrams, 200, "{case}: {record:?}");
            ensure!(record.clients.iter().eq([&seen]), "{case}: {record:?} should be from {seen}");
        }
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn large_datagrams_come_back(mode: &'static str, cases: &[Case]) -> Result<()> {
    let (lab, xlvs) = started(mode, cases)?;
    for case in cases {
        let _echoes = echoes(&lab, *case)?;
        let address = lab.virtual_at(case.family, ECHO);
        let mut client = udp::Client::new(lab.client(), address, LIMIT)?;
        // The first one of a connection may be cut already.
        for len in [3000, 100, 1472, 1473, 9000, udp::LARGEST] {
            client.exchange(len).with_context(|| format!("{case}: {len} bytes"))?;
        }
        let series = client.series(20, udp::LARGEST)?;
        assert_eq!(series, udp::Series { sent: 20, echoed: 20 }, "{case}");
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

/// A lab with a service for each case.
fn started(mode: &'static str, cases: &[Case]) -> Result<(Lab, Xlvs)> {
    let lab = Lab::for_mode(Plan::TWO_ARMED, mode)?;
    let services = cases.iter().map(|case| service(&lab, *case)).collect::<Result<Vec<_>>>()?;
    let xlvs = lab.start(mode, &services)?;
    Ok((lab, xlvs))
}

fn echoes(lab: &Lab, case: Case) -> Result<Vec<udp::Echo>> {
    let echoes = [0, 1].into_iter().map(|index| {
        udp::Echo::start(lab.server(index)?, lab.server_at(index, case.family, ECHO)?)
    });
    echoes.collect()
}

fn service(lab: &Lab, case: Case) -> Result<Service> {
    let [first, second] = [0, 1].map(|index| lab.server_at(index, case.family, ECHO));
    let address = lab.virtual_at(case.family, ECHO);
    Ok(Service::new(Protocol::Udp, case.method, address, &[first?, second?]))
}
