//! How fast one server is asked.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;
use tracing::debug;

use super::http::Session;
use crate::{
    domain::{
        schedule::{
            MAX_PACED, MAX_RETRY_AFTER, REGISTRY_REQUESTS_AT_ONCE, REGISTRY_REQUESTS_PER_SECOND,
            REGISTRY_SILENT_PAUSE,
        },
        verification::{Answer, NoAnswer, Request, Server},
    },
    lock::Lock,
};

/// How fast one server is asked, whoever wants to know: a few requests at once, then so many a second (GCRA); and none
/// while it asks for a pause.
#[derive(Default)]
pub(super) struct Pace(Lock<HashMap<Key, Paced>>);

/// A server; and the registry that sends logins to it. Only the server itself gets a pause from everybody, as who sends
/// there chooses what is asked, and could have others fall silent.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    host: String,
    port: u16,
    sender: Option<Server>,
}

#[derive(Clone, Copy)]
struct Paced {
    /// When the next request were due if all kept the distance.
    due: Instant,
    /// Until when it is left alone, and why.
    paused: Option<(Instant, NoAnswer)>,
}

impl Paced {
    /// When the next request may be sent, which counts from now on.
    fn take_turn(&mut self) -> Instant {
        let now = Instant::now();
        let due = self.due.max(now);
        self.due = due + DISTANCE;
        due.checked_sub(DISTANCE * (REGISTRY_REQUESTS_AT_ONCE - 1)).unwrap_or(now)
    }

    /// Until when something is to be known of it.
    fn matters_until(&self) -> Instant {
        self.paused.map_or(self.due, |(until, _)| until.max(self.due))
    }
}

const DISTANCE: Duration = Duration::from_nanos(1_000_000_000 / REGISTRY_REQUESTS_PER_SECOND as u64);

impl Pace {
    /// Asks, when it is the turn of the request.
    pub async fn ask(&self, request: &Request, session: &mut Session<'_>) -> Result<Answer, NoAnswer> {
        let sender = session.sender(request);
        // A pause is passed on, and not renewed by whoever runs into it.
        self.turn_of(request, sender.as_ref()).await?;
        let answer = session.ask(request).await;
        debug!(server = %request.server, answer = ?answer.as_ref().map(|answer| answer.status), "asked");
        let asked = |answer: &Answer| answer.pause().map(NoAnswer::Throttled);
        if let Some(why) = answer.as_ref().map_or_else(|why| Some(*why), asked) {
            self.pause(request, sender, why);
        }
        answer
    }

    /// Waits for the turn of a request that is about an identity with pauses of its own: a cloud that has enough of one
    /// tenant has not of the others.
    pub async fn turn(&self, request: &Request) {
        let at = paced(&mut self.0.write(), key(request, None), Instant::now()).take_turn();
        tokio::time::sleep_until(at).await;
    }

    /// Waits for the turn of a request; or tells why the server, which a registry may have named, is left alone.
    async fn turn_of(&self, request: &Request, sender: Option<&Server>) -> Result<(), NoAnswer> {
        let now = Instant::now();
        let at = {
            let mut servers = self.0.write();
            let sent = sender.and_then(|sender| servers.get(&key(request, Some(sender.clone()))));
            let sent = sent.and_then(|sent| sent.paused);
            let server = paced(&mut servers, key(request, None), now);
            let paused = [server.paused, sent].into_iter().flatten().filter(|(until, _)| *until > now);
            if let Some((until, why)) = paused.max_by_key(|(until, _)| *until) {
                return Err(match why {
                    NoAnswer::Throttled(_) => NoAnswer::Throttled(until - now),
                    why => why,
                });
            }
            server.take_turn()
        };
        tokio::time::sleep_until(at).await;
        Ok(())
    }

    /// Leaves a server alone that has asked for it, or that did not answer: others would only wait for it, too.
    fn pause(&self, request: &Request, sender: Option<Server>, why: NoAnswer) {
        let pause = match why {
            NoAnswer::Throttled(pause) => pause.min(MAX_RETRY_AFTER),
            NoAnswer::TimedOut => REGISTRY_SILENT_PAUSE,
            _ => return,
        };
        let now = Instant::now();
        let until = now + pause;
        let mut servers = self.0.write();
        let server = paced(&mut servers, key(request, sender), now);
        if server.paused.is_none_or(|(before, _)| before < until) {
            server.paused = Some((until, why));
        }
    }
}

/// What is known of one server. A tenant may have any number of names that all ask for a pause.
fn paced(servers: &mut HashMap<Key, Paced>, key: Key, now: Instant) -> &mut Paced {
    if servers.len() >= MAX_PACED && !servers.contains_key(&key) {
        servers.retain(|_, server| server.matters_until() > now);
        while servers.len() >= MAX_PACED
            && let Some((first, _)) = servers.iter().min_by_key(|(_, server)| server.matters_until())
        {
            let first = first.clone();
            servers.remove(&first);
        }
    }
    servers.entry(key).or_insert(Paced { due: now, paused: None })
}

fn key(request: &Request, sender: Option<Server>) -> Key {
    Key { host: request.server.host.clone(), port: request.server.port(request.scheme), sender }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::{
        domain::verification::{Authorization, Method, Reach, Scheme},
        provider::http::{Http, Roots},
    };

    fn request(host: &str) -> Request {
        Request {
            scheme: Scheme::Https,
            server: Server::parse(host).unwrap(),
            reach: Reach::Public,
            method: Method::Get,
            path: "/v2/".to_owned(),
            authorization: Authorization::Nobody,
            headers: Vec::new(),
            body: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_server_is_asked_more_than_twenty_times_in_any_second() {
        let pace = Pace::default();
        let began = Instant::now();
        let (one, other) = (request("a.example.com"), request("b.example.com"));
        let turns = (0..100).map(|_| async {
            pace.turn_of(&one, None).await.unwrap();
            began.elapsed()
        });
        let (mut times, elsewhere) = tokio::join!(join_all(turns), async {
            pace.turn_of(&other, None).await.unwrap();
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
        // Those that mint tokens have their part of the same twenty, and pauses of their own.
        pace.pause(&one, None, NoAnswer::Throttled(Duration::from_secs(60)));
        let began = Instant::now();
        join_all((0..100).map(|_| pace.turn(&one))).await;
        assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_for_a_pause_is_left_alone() {
        let pace = Pace::default();
        let one = request("a.example.com");
        pace.turn_of(&one, None).await.unwrap();
        pace.pause(&one, None, NoAnswer::Throttled(Duration::from_secs(30)));
        // One that does not answer in time makes a longer pause no shorter.
        pace.pause(&one, None, NoAnswer::TimedOut);
        let left = |answer: Result<(), NoAnswer>| match answer {
            Err(NoAnswer::Throttled(left)) => left,
            answer => panic!("{answer:?}"),
        };
        assert!(left(pace.turn_of(&one, None).await) > Duration::from_secs(29));
        pace.turn_of(&request("b.example.com"), None).await.unwrap();
        tokio::time::advance(Duration::from_secs(31)).await;
        pace.turn_of(&one, None).await.unwrap();
        pace.pause(&one, None, NoAnswer::Throttled(Duration::MAX));
        assert!(left(pace.turn_of(&one, None).await) <= MAX_RETRY_AFTER);
    }

    #[tokio::test(start_paused = true)]
    async fn for_one_that_does_not_answer_nobody_else_waits() {
        let pace = Pace::default();
        let one = request("a.example.com");
        pace.turn_of(&one, None).await.unwrap();
        pace.pause(&one, None, NoAnswer::Broken);
        pace.turn_of(&one, None).await.unwrap();
        pace.pause(&one, None, NoAnswer::TimedOut);
        assert_eq!(pace.turn_of(&one, None).await, Err(NoAnswer::TimedOut));
        tokio::time::advance(REGISTRY_SILENT_PAUSE).await;
        pace.turn_of(&one, None).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_registry_has_asked_of_another_server_pauses_nobody_else() {
        let pace = Pace::default();
        let [evil, other] = ["evil.example.com", "r.example.com"].map(|host| Server::parse(host).unwrap());
        let realm = request("auth.example.com");
        let hour = NoAnswer::Throttled(Duration::from_secs(3_600));
        pace.turn_of(&realm, Some(&evil)).await.unwrap();
        pace.pause(&realm, Some(evil.clone()), hour);
        assert!(pace.turn_of(&realm, Some(&evil)).await.is_err());
        for sender in [Some(&other), None] {
            pace.turn_of(&realm, sender).await.unwrap();
        }
        // What the server says to its own logins is for all.
        pace.pause(&realm, None, hour);
        for sender in [Some(&other), None] {
            assert!(pace.turn_of(&realm, sender).await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_however_often_somebody_asks_meanwhile() {
        let (pace, http) = (Pace::default(), Http::new(Roots::default()));
        // Nothing is connected to: such an address is not asked.
        let one = request("127.0.0.1:1");
        let mut session = http.session(None, None);
        pace.turn_of(&one, None).await.unwrap();
        for why in [NoAnswer::TimedOut, NoAnswer::Throttled(REGISTRY_SILENT_PAUSE)] {
            pace.pause(&one, None, why);
            for _ in 1..REGISTRY_SILENT_PAUSE.as_secs() {
                tokio::time::advance(Duration::from_secs(1)).await;
                let answer = pace.ask(&one, &mut session).await.unwrap_err();
                assert!(matches!(answer, NoAnswer::TimedOut | NoAnswer::Throttled(_)), "{answer:?}");
            }
            tokio::time::advance(Duration::from_secs(1)).await;
            let answer = pace.ask(&one, &mut session).await.unwrap_err();
            assert_eq!(answer, NoAnswer::AddressNotAllowed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_number_of_names_makes_it_large() {
        let pace = Pace::default();
        for n in 0..3 * MAX_PACED {
            let one = request(&format!("h{n}.example.com"));
            pace.turn_of(&one, None).await.unwrap();
            pace.pause(&one, None, NoAnswer::Throttled(Duration::from_secs(3_600)));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(pace.0.read().len() <= MAX_PACED);
    }
}
