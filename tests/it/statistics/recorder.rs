//! A metrics recorder that keeps all values in memory, for the whole test binary.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

struct Recorded {
    /// The kind of each name that has a description.
    described: BTreeMap<String, &'static str>,
    counters: BTreeMap<String, Arc<AtomicU64>>,
    /// The bits of the values.
    gauges: BTreeMap<String, Arc<AtomicU64>>,
}

static RECORDED: Mutex<Recorded> = Mutex::new(Recorded {
    described: BTreeMap::new(),
    counters: BTreeMap::new(),
    gauges: BTreeMap::new(),
});

struct MemoryRecorder;

/// Installs the recorder. Call it first in a test.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        metrics::set_global_recorder(MemoryRecorder).expect("the tests install no other")
    });
}

/// The value of `name{label=value,…}`, or `None` if it was never published.
pub fn value(name: &str) -> Option<f64> {
    let recorded = recorded();
    let counter = recorded.counters.get(name);
    let counter = counter.map(|count| count.load(Ordering::SeqCst) as f64);
    let gauge = || recorded.gauges.get(name);
    counter.or_else(|| gauge().map(|bits| f64::from_bits(bits.load(Ordering::SeqCst))))
}

/// All names with labels that contain this text.
pub fn names_with(text: &str) -> Vec<String> {
    let recorded = recorded();
    let names = recorded.counters.keys().chain(recorded.gauges.keys());
    names.filter(|name| name.contains(text)).cloned().collect()
}

pub fn is_described(name: &str) -> bool {
    let name = name
        .split('{')
        .next()
        .expect("split returns at least one part");
    recorded().described.contains_key(name)
}

/// The names that have a description, with their kinds.
pub fn described() -> BTreeMap<String, &'static str> {
    recorded().described.clone()
}

fn recorded() -> MutexGuard<'static, Recorded> {
    RECORDED
        .lock()
        .expect("no thread panics while it holds the lock")
}

fn full_name(key: &Key) -> String {
    let labels: Vec<_> = key
        .labels()
        .map(|label| format!("{}={}", label.key(), label.value()))
        .collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

fn describe(key: &KeyName, kind: &'static str, description: &SharedString) {
    assert!(!description.is_empty());
    let described = &mut recorded().described;
    described.insert(key.as_str().to_owned(), kind);
}

impl Recorder for MemoryRecorder {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        describe(&key, "counter", &description);
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, description: SharedString) {
        describe(&key, "gauge", &description);
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut recorded = recorded();
        let counter = recorded.counters.entry(full_name(key)).or_default();
        Counter::from_arc(Arc::clone(counter))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut recorded = recorded();
        let gauge = recorded.gauges.entry(full_name(key)).or_default();
        Gauge::from_arc(Arc::clone(gauge))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
