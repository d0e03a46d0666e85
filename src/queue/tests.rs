use std::collections::BTreeSet;

use tokio::sync::mpsc;

use super::*;

/// A key of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item(&'static str, u32);

impl Key for Item {
    fn group(&self) -> Option<Arc<str>> {
        Some(self.0.into())
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Dirty(BTreeSet<u32>);

impl Work for Dirty {
    fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), limit: Duration::from_secs(8) };

fn dirty(numbers: impl IntoIterator<Item = u32>) -> Dirty {
    Dirty(numbers.into_iter().collect())
}

/// A queue whose work is handed to the test, which says how each ended.
struct Bench {
    queue: Arc<Queue<Item, Dirty>>,
    begun: mpsc::UnboundedReceiver<(Item, Dirty, tokio::sync::oneshot::Sender<Next>)>,
}

impl Bench {
    fn new(workers: usize) -> Self {
        let queue = Arc::new(Queue::new(workers, BACKOFF));
        let (send, begun) = mpsc::unbounded_channel();
        tokio::spawn(queue.clone().run(async {}, move |key, work| {
            let send = send.clone();
            async move {
                let (answer, answered) = tokio::sync::oneshot::channel();
                send.send((key, work, answer)).ok();
                answered.await.unwrap_or(Next::Done)
            }
        }));
        Self { queue, begun }
    }

    async fn next(&mut self) -> (Item, Dirty, tokio::sync::oneshot::Sender<Next>) {
        tokio::time::timeout(Duration::from_secs(3600), self.begun.recv()).await.expect("work").expect("open")
    }

    async fn rests(&mut self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.begun.recv()).await.is_err()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_added_many_times_is_done_once_and_merged() {
    let mut bench = Bench::new(1);
    bench.queue.add(Item("a", 0), Dirty::default());
    let (_, _, first) = bench.next().await;
    for n in 0..100 {
        bench.queue.add(Item("a", 1), dirty([n % 3]));
    }
    assert_eq!(bench.queue.depth(), 1);
    first.send(Next::Done).unwrap();
    let (key, work, done) = bench.next().await;
    assert_eq!((key, work), (Item("a", 1), dirty([0, 1, 2])));
    done.send(Next::Done).unwrap();
    assert!(bench.rests(Duration::from_secs(60)).await);
    assert!(bench.queue.state.read().is_empty(), "nothing is kept of what is done");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_never_worked_on_twice_at_once_and_comes_again() {
    let mut bench = Bench::new(8);
    bench.queue.add(Item("a", 1), dirty([1]));
    let (_, _, first) = bench.next().await;
    bench.queue.add(Item("a", 1), dirty([2]));
    assert!(bench.rests(Duration::from_secs(60)).await);
    first.send(Next::Done).unwrap();
    let (_, work, _) = bench.next().await;
    assert_eq!(work, dirty([2]));
}

#[tokio::test(start_paused = true)]
async fn a_group_takes_no_workers_of_another() {
    let mut bench = Bench::new(2);
    for n in 0..5 {
        bench.queue.add(Item("slow", n), Dirty::default());
    }
    let mut held = vec![bench.next().await, bench.next().await];
    assert!(bench.rests(Duration::from_secs(60)).await, "two workers");
    bench.queue.add(Item("quick", 0), Dirty::default());
    assert_eq!(bench.next().await.0, Item("quick", 0));
    held.pop().unwrap().2.send(Next::Done).unwrap();
    assert_eq!(bench.next().await.0, Item("slow", 2));
}

#[tokio::test(start_paused = true)]
async fn what_yields_goes_to_the_end_of_the_line() {
    let mut bench = Bench::new(1);
    bench.queue.add(Item("a", 0), Dirty::default());
    let (_, _, large) = bench.next().await;
    bench.queue.add(Item("a", 1), Dirty::default());
    bench.queue.add(Item("a", 2), Dirty::default());
    large.send(Next::Again).unwrap();
    for n in [1, 2, 0] {
        let (key, _, done) = bench.next().await;
        assert_eq!(key, Item("a", n));
        done.send(Next::Done).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_kept_cut_short_and_never_prolonged() {
    let mut bench = Bench::new(1);
    let begin = Instant::now();
    bench.queue.add_after(Item("a", 1), dirty([1]), Duration::from_secs(10));
    bench.queue.add_after(Item("a", 1), dirty([2]), Duration::from_secs(20));
    let (_, work, done) = bench.next().await;
    assert_eq!((work, begin.elapsed().as_secs()), (dirty([1, 2]), 10));
    done.send(Next::After(Duration::from_secs(30))).unwrap();
    bench.queue.add_after(Item("a", 1), Dirty::default(), Duration::from_secs(5));
    let (_, _, done) = bench.next().await;
    assert_eq!(begin.elapsed().as_secs(), 15, "the shorter one counts");
    done.send(Next::After(Duration::from_secs(30))).unwrap();
    bench.queue.add(Item("a", 1), Dirty::default());
    let (_, _, done) = bench.next().await;
    assert_eq!(begin.elapsed().as_secs(), 15, "and who is added comes at once");
    done.send(Next::Done).unwrap();
    assert!(bench.rests(Duration::from_secs(600)).await, "the delay is gone with it");
}

#[tokio::test(start_paused = true)]
async fn a_failing_key_backs_off_by_itself_and_starts_anew_after_success() {
    let mut bench = Bench::new(1);
    bench.queue.add(Item("a", 1), Dirty::default());
    let mut waits = Vec::new();
    for _ in 0..5 {
        let (_, _, done) = bench.next().await;
        let failed = Instant::now();
        done.send(Next::Retry).unwrap();
        bench.queue.add(Item("a", 2), Dirty::default());
        let (other, _, done) = bench.next().await;
        assert_eq!((other, failed.elapsed()), (Item("a", 2), Duration::ZERO), "others go on");
        done.send(Next::Done).unwrap();
        let (key, _, done) = bench.next().await;
        assert_eq!(key, Item("a", 1));
        waits.push(failed.elapsed());
        bench.queue.add(Item("a", 1), Dirty::default());
        done.send(Next::Retry).unwrap();
    }
    assert!(waits[0] >= Duration::from_millis(500) && waits[0] <= Duration::from_secs(1), "{waits:?}");
    assert!(waits[4] >= Duration::from_secs(4) && waits[4] <= Duration::from_secs(8), "{waits:?}");
    let (_, _, done) = bench.next().await;
    done.send(Next::Done).unwrap();
    bench.queue.add(Item("a", 1), Dirty::default());
    let (_, _, done) = bench.next().await;
    let failed = Instant::now();
    done.send(Next::Retry).unwrap();
    bench.next().await;
    assert!(failed.elapsed() <= Duration::from_secs(1), "it starts anew");
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_finishes_what_it_has_begun_and_begins_nothing() {
    let queue = Arc::new(Queue::<Item, Dirty>::new(1, BACKOFF));
    let (send, mut ended) = mpsc::unbounded_channel();
    let running = tokio::spawn(queue.clone().run(async {}, move |key, _| {
        let send = send.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            send.send(key).ok();
            Next::Again
        }
    }));
    queue.add(Item("a", 1), Dirty::default());
    queue.add(Item("a", 2), Dirty::default());
    tokio::time::sleep(Duration::from_secs(1)).await;
    queue.close();
    running.await.unwrap();
    assert_eq!(ended.recv().await, Some(Item("a", 1)));
    assert_eq!(ended.recv().await, None);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "on purpose")]
async fn a_panic_of_a_handler_is_one_of_the_queue() {
    let queue = Arc::new(Queue::<Item, Dirty>::new(1, BACKOFF));
    queue.add(Item("a", 1), Dirty::default());
    queue.run(async {}, |_, _| async { panic!("on purpose") }).await;
}
