//! Connections of the operator, as the kernel has them.

use std::{collections::HashSet, fs};

use crate::support::{Operator, Result};

/// Established, in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";

/// How many connections the operator has to each of these ports.
pub fn to_ports(operator: &Operator, ports: impl Iterator<Item = u16>) -> Result<Vec<f64>> {
    let pid = operator.pid();
    let mut own = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One may have been closed meanwhile.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy();
        own.extend(
            target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).map(str::to_owned),
        );
    }
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    let remote: Vec<u16> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, _, remote, state, ..] = fields.as_slice() else { return None };
            let is_ours = *state == ESTABLISHED && fields.get(9).is_some_and(|inode| own.contains(*inode));
            let (_, port) = remote.split_once(':')?;
            u16::from_str_radix(port, 16).ok().filter(|_| is_ours)
        })
        .collect();
    Ok(ports.map(|port| remote.iter().filter(|remote| **remote == port).count() as f64).collect())
}
