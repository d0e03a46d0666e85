//! How fast one server is asked.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::{
    domain::{
        schedule::{MAX_PACED, MAX_RETRY_AFTER, REGISTRY_REQUESTS_AT_ONCE, REGISTRY_REQUESTS_PER_SECOND},
        verification::Request,
    },
    lock::Lock,
};

/// How fast one server is asked, whoever wants to know: a few requests at once, then so many a second (GCRA); and none
/// while it asks for a pause.
#[derive(Default)]
pub(super) struct Pace(Lock<HashMap<(String, u16), Server>>);

#[derive(Clone, Copy)]
struct Server {
    /// When the next request were due if all kept the distance.
    due: Instant,
    paused: Option<Instant>,
}

const DISTANCE: Duration = Duration::from_nanos(1_000_000_000 / REGISTRY_REQUESTS_PER_SECOND as u64);

impl Pace {
    /// Waits for the turn of a request; or tells how long the server wants to be left alone.
    pub async fn turn(&self, request: &Request) -> Result<(), Duration> {
        let now = Instant::now();
        let at = {
            let mut servers = self.0.write();
            if servers.len() >= MAX_PACED {
                servers
                    .retain(|_, server| server.due > now || server.paused.is_some_and(|until| until > now));
            }
            let server = servers.entry(key(request)).or_insert(Server { due: now, paused: None });
            if let Some(until) = server.paused.filter(|until| *until > now) {
                return Err(until - now);
            }
            let due = server.due.max(now);
            server.due = due + DISTANCE;
            let ahead = DISTANCE * (REGISTRY_REQUESTS_AT_ONCE - 1);
            due.checked_sub(ahead).unwrap_or(now)
        };
        tokio::time::sleep_until(at).await;
        Ok(())
    }

    /// A server asks to be left alone.
    pub fn pause(&self, request: &Request, pause: Duration) {
        let until = Instant::now() + pause.min(MAX_RETRY_AFTER);
        if let Some(server) = self.0.write().get_mut(&key(request)) {
            server.paused = server.paused.max(Some(until));
        }
    }
}

fn key(request: &Request) -> (String, u16) {
    (request.server.host.clone(), request.server.port(request.scheme))
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::domain::verification::{Authorization, Method, Reach, Scheme, Server as Named};

    fn request(host: &str) -> Request {
        Request {
            scheme: Scheme::Https,
            server: Named::parse(host).unwrap(),
            reach: Reach::Public,
            method: Method::Get,
            path: "/v2/".to_owned(),
            authorization: Authorization::Nobody,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_server_is_asked_more_than_twenty_times_in_any_second() {
        let pace = Pace::default();
        let began = Instant::now();
        let (one, other) = (request("a.example.com"), request("b.example.com"));
        let turns = (0..100).map(|_| async {
            pace.turn(&one).await.unwrap();
            began.elapsed()
        });
        let (mut times, elsewhere) = tokio::join!(join_all(turns), async {
            pace.turn(&other).await.unwrap();
            began.elapsed()
        });
        times.sort();
        let within = |from: Duration| {
            times.iter().filter(|at| (from..from + Duration::from_secs(1)).contains(*at)).count()
        };
        let most = times.iter().map(|from| within(*from)).max();
        assert!(most <= Some(20), "{times:?}");
        assert!(times[5] < Duration::from_millis(1), "a handshake does not wait: {times:?}");
        assert!(times[99] < Duration::from_secs(9), "{times:?}");
        assert!(elsewhere < Duration::from_millis(1), "another server is not concerned");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_for_a_pause_is_left_alone() {
        let pace = Pace::default();
        let one = request("a.example.com");
        pace.turn(&one).await.unwrap();
        pace.pause(&one, Duration::from_secs(30));
        assert!(pace.turn(&one).await.unwrap_err() > Duration::from_secs(29));
        pace.turn(&request("b.example.com")).await.unwrap();
        tokio::time::advance(Duration::from_secs(31)).await;
        pace.turn(&one).await.unwrap();
        pace.pause(&one, Duration::MAX);
        assert!(pace.turn(&one).await.unwrap_err() <= MAX_RETRY_AFTER);
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_were_asked_once_are_forgotten() {
        let pace = Pace::default();
        for n in 0..3 * MAX_PACED {
            pace.turn(&request(&format!("h{n}.example.com"))).await.unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(pace.0.read().len() <= MAX_PACED);
    }
}
