//! Memory, CPU time and open files of this process, where `/proc` tells them.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Linux shows times to user space in this unit on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        // Elsewhere than on Linux the files are not there, and neither are the metrics.
        let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).ok();
        let mut put = |name, help, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        if let Some(bytes) = read("status").as_deref().and_then(resident_bytes) {
            let help = "Resident memory size in bytes";
            put("process_resident_memory_bytes", help, &ConstGauge::new(bytes))?;
        }
        if let Some(seconds) = read("stat").as_deref().and_then(cpu_seconds) {
            let help = "Total user and system CPU time spent in seconds";
            put("process_cpu_seconds", help, &ConstCounter::new(seconds))?;
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            put("process_open_fds", "Number of open file descriptors", &ConstGauge::new(files.count()))?;
        }
        Ok(())
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field, the command's name in parentheses, may itself hold spaces and parentheses.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t   20480 kB\n"), Some(20_971_520));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        let stat = "1 (a) b) S 0 1 1 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 1 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("1 (x"), None);
    }
}
