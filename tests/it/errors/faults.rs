//! An error or a panic anywhere between accept and close: the resources of the request are
//! released, the request is counted once and reported, and the next request is served.

use std::net::Shutdown;

use socketserver::dispatch::Inline;
use socketserver::{Builder, Dispatch, OverloadPolicy, Server, Stage, Statistics};

use support::concurrent::Concurrent;
use support::counts::{outcomes, reasons, settled};
use support::listener::FakeListener;
use support::{LONG, connect, eventually, exchange, read_all};

use super::fault::{Fault, FaultyPool, start};

/// The statistics after the request with the fault, and the reported error.
type Outcome = (Statistics, Option<(Stage, String)>);

fn serve_after<D: Dispatch>(
    builder: Builder<FakeListener, D>,
    fault: &Fault,
    is_reported: bool,
) -> Outcome {
    let (server, reports) = start(builder, fault);
    let client = connect(server.server_address());
    let _ = client.shutdown(Shutdown::Write);
    // Read to the end, so that the server has closed the connection.
    let received = read_all(client);
    assert!(received.is_empty() || received == "served\n");
    let lost = u64::from(fault.place == "accept");
    let after = settled(&server.handle(), 1 - lost);
    eventually("the fault", || fault.happened());
    let report = match is_reported {
        true => Some(reports.recv_timeout(LONG).expect("the error is reported")),
        false => reports.try_recv().ok(),
    };
    // Two more requests show that the fault has no lasting effect.
    for _ in 0..2 {
        let next = connect(server.server_address());
        assert_eq!(exchange(&next, ""), "served\n");
        next.shutdown(Shutdown::Write)
            .expect("the connection is open");
        assert_eq!(read_all(next), "");
        settled(&server.handle(), server.handle().statistics().accepted);
    }
    let drained = server.handle().shutdown_within(LONG);
    assert_eq!((drained.forced, drained.unfinished), (0, 0));
    let handle = server.handle();
    server.stop().expect("serving ends without an error");
    assert_eq!(handle.statistics().threads, 0);
    (after, report)
}

/// The same one after the other and concurrently. The dispatcher runs one request only, and must
/// run the next one.
fn next_is_served(
    fault: fn(&'static str) -> Fault,
    place: &'static str,
    reported: bool,
) -> Outcome {
    let inline = Server::<FakeListener, Inline>::builder();
    let (inline, report) = serve_after(inline, &fault(place), reported);
    let concurrent = Server::<FakeListener, Inline>::builder().dispatch(Concurrent::at_most(1));
    let (concurrent, same) = serve_after(concurrent, &fault(place), reported);
    assert_eq!(outcomes(&inline), outcomes(&concurrent));
    assert_eq!(reasons(&inline), reasons(&concurrent));
    assert_eq!(report, same);
    (inline, report)
}

const REFUSED: ([u64; 5], u64) = ([0; 5], 1);
const NOT_COUNTED: ([u64; 5], u64) = ([0; 5], 0);
const FINISHED: ([u64; 5], u64) = ([1, 0, 0, 0, 0], 0);
const FAILED: ([u64; 5], u64) = ([0, 1, 0, 0, 0], 0);
const PANICKED: ([u64; 5], u64) = ([0, 0, 1, 0, 0], 0);

macro_rules! faults {
    ($($name:ident: Fault::$kind:ident($place:literal), $counted:expr, $stage:expr;)*) => {
        $(#[test]
        fn $name() {
            let stage: Option<Stage> = $stage;
            let (counted, report) = next_is_served(Fault::$kind, $place, stage.is_some());
            let refused = reasons(&counted);
            assert_eq!((outcomes(&counted), refused[0]), $counted);
            assert_eq!(refused[1..], [0; 5]);
            let prefix = if stringify!($kind) == "panic" { "panicked: " } else { "" };
            let expected = stage.map(|stage| (stage, format!("{prefix}in {}", $place)));
            assert_eq!(report, expected);
        })*
    };
}

// Faults outside of a request, and in `handle_error` itself, are only logged.
faults! {
    a_panic_in_the_factory: Fault::panic("the factory"), PANICKED, Some(Stage::Setup);
    an_error_in_accept: Fault::error("accept"), NOT_COUNTED, None;
    a_panic_in_accept: Fault::panic("accept"), NOT_COUNTED, None;
    an_error_in_verify_request: Fault::error("verify_request"), REFUSED, Some(Stage::Verify);
    a_panic_in_verify_request: Fault::panic("verify_request"), REFUSED, Some(Stage::Verify);
    an_error_in_setup: Fault::error("setup"), FAILED, Some(Stage::Setup);
    a_panic_in_setup: Fault::panic("setup"), PANICKED, Some(Stage::Setup);
    an_error_in_handle: Fault::error("handle"), FAILED, Some(Stage::Handle);
    a_panic_in_handle: Fault::panic("handle"), PANICKED, Some(Stage::Handle);
    an_error_in_finish: Fault::error("finish"), FAILED, Some(Stage::Finish);
    a_panic_in_finish: Fault::panic("finish"), PANICKED, Some(Stage::Finish);
    a_panic_in_the_drop_of_the_handler:
        Fault::panic("drop of the handler"), PANICKED, Some(Stage::Finish);
    a_panic_in_the_drop_of_an_extension: Fault::panic("drop of an extension"), FINISHED, None;
    a_panic_in_handle_error: Fault::panic("handle_error"), FAILED, None;
    a_panic_in_service_actions: Fault::panic("service_actions"), FINISHED, None;
}

#[test]
fn a_fault_in_the_dispatcher() {
    for fault in [Fault::error("dispatch"), Fault::panic("dispatch")] {
        let pool = FaultyPool(Concurrent::default(), fault.clone());
        let builder = Server::<FakeListener, Inline>::builder().dispatch(pool);
        let (counted, report) = serve_after(builder, &fault, !fault.panics);
        assert_eq!(outcomes(&counted), [0; 5]);
        assert_eq!(reasons(&counted), [0, 0, 0, 0, 0, 1]);
        let expected = (Stage::Dispatch, "in dispatch".to_owned());
        assert_eq!(report, (!fault.panics).then_some(expected));
    }
}

/// The first client is served to its end, whatever happens to the rejected client.
#[test]
fn a_fault_in_reject_request() {
    for fault in [
        Fault::error("reject_request"),
        Fault::panic("reject_request"),
    ] {
        let builder = Server::<FakeListener, Concurrent>::builder();
        let (server, _reports) = start(builder.overload(OverloadPolicy::Reject), &fault);
        let first = connect(server.server_address());
        assert_eq!(exchange(&first, ""), "served\n");
        assert_eq!(read_all(connect(server.server_address())), "");
        assert!(fault.happened());
        drop(first);
        let counted = settled(&server.handle(), 2);
        assert_eq!((outcomes(&counted), reasons(&counted)[0]), FINISHED);
        assert_eq!(counted.rejected.total(), 1);
        let report = server.handle().shutdown_within(LONG);
        assert_eq!((report.forced, report.unfinished), (0, 0));
    }
}
