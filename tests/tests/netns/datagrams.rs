//! UDP services: small datagrams, and such as go in many fragments; nothing is lost or damaged.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lvs_tests::config::{Protocol, Service};
use lvs_tests::topology::Plan;
use lvs_tests::udp;

use super::lab::{Case, Lab, for_each_case};

const LIMIT: Duration = Duration::from_secs(2);
const ECHO: u16 = 7;

for_each_case!(echoes, super::every_client_keeps_its_server_and_loses_nothing);
for_each_case!(fragments, super::large_datagrams_come_back);

fn every_client_keeps_its_server_and_loses_nothing(case: Case) -> Result<()> {
    let (lab, echoes) = lab(case)?;
    let service = service(&lab, case)?;
    let xlvs = lab.start(case.mode, &[service])?;
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
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn large_datagrams_come_back(case: Case) -> Result<()> {
    let (lab, _echoes) = lab(case)?;
    let service = service(&lab, case)?;
    let xlvs = lab.start(case.mode, &[service])?;
    let address = lab.virtual_at(case.family, ECHO);
    let mut client = udp::Client::new(lab.client(), address, LIMIT)?;
    // The first one of a connection may be cut already.
    for len in [3000, 100, 1472, 1473, 9000, udp::LARGEST] {
        client.exchange(len).with_context(|| format!("{case}: {len} bytes"))?;
    }
    let series = client.series(20, udp::LARGEST)?;
    assert_eq!(series, udp::Series { sent: 20, echoed: 20 }, "{case}");
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn lab(case: Case) -> Result<(Lab, Vec<udp::Echo>)> {
    let lab = Lab::for_mode(Plan::TWO_ARMED, case.mode)?;
    let echoes = [0, 1].into_iter().map(|index| {
        udp::Echo::start(lab.server(index)?, lab.server_at(index, case.family, ECHO)?)
    });
    let echoes = echoes.collect::<Result<_>>()?;
    Ok((lab, echoes))
}

fn service(lab: &Lab, case: Case) -> Result<Service> {
    let [first, second] = [0, 1].map(|index| lab.server_at(index, case.family, ECHO));
    let address = lab.virtual_at(case.family, ECHO);
    Ok(Service::new(Protocol::Udp, case.method, address, &[first?, second?]))
}
