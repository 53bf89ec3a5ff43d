// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::fault::Faults;
use crate::queue::fault::Fault;

fn broken(list: &[(Fault, u64)]) -> Bench {
    let mut faults = Faults::default();
    for &(fault, arg) in list {
        faults.set(fault, arg);
    }
    let bench = Bench::enabled(Config {
        faults,
        ..Bench::quick()
    });
    for queue in 0..64 {
        bench.context(queue, false);
    }
    bench
}

#[test]
fn all_ones() {
    let bench = broken(&[(Fault::AllOnes, 0)]);
    bench.begin_update(0, 1);
    bench.ring(0);
    bench.process();
    for offset in (0..0x1000).step_by(4) {
        assert_eq!(bench.get(offset), 0xffff_ffff, "{offset:#x}");
    }
    assert_eq!(bench.host.take(), []);
    let id = bench.get_in(Region::Config, 0);
    assert_eq!(id, 0x10f0_1af4, "configuration space is there");
}

#[test]
fn no_magic() {
    let bench = broken(&[(Fault::NoMagic, 0)]);
    assert_eq!((bench.get(MAGIC), bench.get(QUEUES)), (0, 64));
    assert_eq!(bench.update(0, 1), 0);
}

#[test]
fn update_never_completes() {
    let bench = broken(&[(Fault::UpdateNeverCompletes, 0)]);
    bench.begin_update(0, 1);
    bench.process();
    assert_eq!(bench.get(STATUS), BUSY);
    let later = Instant::now() + Duration::from_secs(100);
    {
        let mut device = bench.shared.device();
        assert_eq!(device.deadline(), None);
        assert!(!device.has_work(later));
        assert!(device.start(&*bench.host, later).is_empty());
    }
    assert_eq!(bench.host.take(), []);
    bench.ring(0);
    bench.process();
    assert_eq!(bench.host.take(), [status(0, 1)], "doorbells work");
    bench.put(CONTROL, 0);
    assert_eq!(bench.get(STATUS), 0);
}

#[test]
fn update_error() {
    for code in [1, 42, 255] {
        let bench = broken(&[(Fault::UpdateError, code)]);
        bench.begin_update(0, 64);
        assert_eq!(bench.get(STATUS), BUSY);
        bench.process();
        assert_eq!(bench.get(STATUS), (code as u32) << 8);
        assert_eq!(bench.update(0, 1), code as u32);
        assert_eq!(bench.host.take(), [], "nothing was read");
        bench.ring(0);
        bench.process();
        assert_eq!(bench.host.take(), [status(0, 1)], "nothing was taken");
        assert_eq!((bench.get(UPDATES), bench.get(CONTEXTS)), (2, 0));
    }
}

#[test]
fn update_error_after_some() {
    let after = (Fault::UpdateErrorAfter, 2);
    for (list, code) in [(vec![after], 4), (vec![after, (Fault::UpdateError, 9)], 9)] {
        let bench = broken(&list);
        bench.begin_update(64, 1); // no UPDATE that was begun
        assert_eq!(bench.update(0, 1), 0);
        assert_eq!(bench.update(1, 1), 0);
        assert_eq!(bench.update(2, 1), code);
        bench.put(CONTROL, 0);
        bench.put(CONTROL, 1);
        assert_eq!(bench.update(0, 1), code, "for good");
        assert_eq!((bench.get(UPDATES), bench.get(CONTEXTS)), (4, 2));
    }
    assert_eq!(broken(&[(Fault::UpdateErrorAfter, 0)]).update(0, 1), 4);
}

#[test]
fn an_imposed_error_takes_its_time() {
    let mut faults = Faults::default();
    faults.set(Fault::UpdateError, 7);
    let bench = Bench::enabled(Config {
        update: Duration::from_secs(1000),
        faults,
        ..Config::default()
    });
    bench.begin_update(0, 1);
    bench.process();
    assert_eq!(bench.get(STATUS), BUSY);
    let due = bench.shared.device().deadline().unwrap();
    let requests = bench.shared.device().start(&*bench.host, due);
    bench.finish(requests);
    assert_eq!(bench.get(STATUS), 0x700);
}
