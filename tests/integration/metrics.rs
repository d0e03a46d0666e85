//! `/metrics` for those only whose token the API server lets read it, also when somebody makes up tokens, or the API
//! server is down.

use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::{
    canary::{Canary, assert_absent},
    lab::Lab,
    scraper::{Scraper, create_role, scrape},
    support::{
        Operator, Result,
        environment::OPERATOR_NAMESPACE,
        http::{self, Response},
        http_proxy::{Action, HttpProxy, Request},
        wait_for,
    },
};

/// Who make up tokens.
const FORGERS: usize = 16;
const IMPATIENT: usize = 4;

const FLOOD: Duration = Duration::from_secs(4);

/// Of the operator: ten unknown tokens a second.
const REVIEWS_PER_SECOND: f64 = 10.0;

struct Guarded {
    lab: Lab,
    proxy: HttpProxy,
    operator: Operator,
    reader: Scraper,
    stranger: Scraper,
}

async fn guarded() -> Result<Guarded> {
    let lab = Lab::start().await?;
    let client = lab.control_plane.client().await?;
    create_role(&client, "metrics-reader").await?;
    let reader = Scraper::new(&client, OPERATOR_NAMESPACE, "reader").await?;
    reader.bind("metrics-reader").await?;
    let stranger = Scraper::new(&client, OPERATOR_NAMESPACE, "stranger").await?;
    let proxy = lab.control_plane.http_proxy().await?;
    let operator = lab.operator_at(&proxy.url())?.args(&["--metrics-authentication", "--log=trace"]);
    let operator = operator.start().await?;
    Ok(Guarded { lab, proxy, operator, reader, stranger })
}

impl Guarded {
    async fn scrape(&self, token: &str) -> Result<Response> {
        scrape(&self.operator, token).await
    }

    /// How many reviews there were.
    fn reviews(&self, resource: &str) -> usize {
        self.proxy.count(0, |request: &Request| request.resource == resource)
    }

    async fn assert_probes_pass(&self) -> Result<()> {
        let asked = Instant::now();
        assert_eq!((self.operator.healthz().await?, self.operator.readyz().await?), (200, 200));
        assert!(asked.elapsed() < Duration::from_secs(3), "the probes waited {:?}", asked.elapsed());
        Ok(())
    }
}

/// Attacks: to ask without a token, with one that is made up, and with one of a ServiceAccount that has no right to it.
#[tokio::test]
async fn only_who_may_read_the_metrics_gets_them() -> Result<()> {
    let test = guarded().await?;
    let (reader, stranger) = (test.reader.token().await?, test.stranger.token().await?);
    assert_eq!(test.operator.get("/metrics").await?.status, 401);
    let basic = http::get_with(test.operator.address(), "/metrics", "Authorization: Basic YTpi\r\n").await?;
    assert_eq!(basic.status, 401);
    assert_eq!(test.reviews("tokenreviews"), 0, "there is no token to ask about");
    // One that a signature does not go with.
    let forged = format!("{}x", reader.trim_end_matches(char::is_alphanumeric));
    for _ in 0..3 {
        assert_eq!(test.scrape("made-up").await?.status, 401);
        assert_eq!(test.scrape(&forged).await?.status, 401);
        assert_eq!(test.scrape(&stranger).await?.status, 403);
        let metrics = test.scrape(&reader).await?;
        assert!(metrics.status == 200 && metrics.body.ends_with("# EOF\n"), "{metrics:?}");
        test.assert_probes_pass().await?;
    }
    let asked = (test.reviews("tokenreviews"), test.reviews("subjectaccessreviews"));
    assert_eq!(asked, (4, 2), "a verdict holds for a while");
    let metrics = test.scrape(&reader).await?.body;
    assert!(metrics.contains("resource=\"tokenreviews\",code=\"201\"} 4\n"), "{metrics}");

    // Reviews end with the API server; who has shown a good token before is let in for its minute.
    let next = test.reader.token().await?;
    test.proxy.rule(|_| Action::Cut);
    assert_eq!(test.scrape(&next).await?.status, 503);
    test.proxy.rule(|request| match request.resource.as_str() {
        "subjectaccessreviews" => Action::Answer(500),
        _ => Action::Pass,
    });
    assert_eq!(test.scrape(&next).await?.status, 503, "nobody said that it may");
    assert_eq!(test.scrape(&reader).await?.status, 200);
    test.proxy.pass();
    assert_eq!(test.scrape(&next).await?.status, 200);
    wait_for(FLOOD * 5, "the operator to go on", async || {
        test.operator.readyz().await.is_ok_and(|code| code == 200)
    })
    .await?;
    test.operator.check_running()?;
    let logs = test.operator.logs();
    assert_eq!(logs.matches("does not say who may read the metrics").count(), 1, "once for an outage");
    let told = [("the logs".to_owned(), logs), ("the metrics".to_owned(), metrics)];
    let tokens = [("read", &reader), ("read later", &next), ("refused", &stranger)];
    assert_absent(&told, &tokens.map(|(name, token)| Canary::new(name, token)))?;
    drop(test.lab);
    Ok(())
}

/// Attack: tokens without end, each of which would cost the API server a review, and the scraper its turn.
#[tokio::test]
async fn made_up_tokens_are_no_load_on_the_api_server() -> Result<()> {
    let test = guarded().await?;
    let known = test.reader.token().await?;
    assert_eq!(test.scrape(&known).await?.status, 200);
    let fresh = test.reader.token().await?;
    let (before, start) = (test.reviews("tokenreviews"), Instant::now());
    let forge = async |forger: usize| -> Result<usize> {
        let mut count = 0;
        while start.elapsed() < FLOOD {
            let token = format!("forged-{forger}-{count}");
            // Some forgers do not wait for the answer, but go on with the next token.
            let patience = if forger < IMPATIENT { Duration::from_millis(20) } else { FLOOD };
            let asked = tokio::time::timeout(patience, test.scrape(&token)).await;
            if let Ok(Ok(answer)) = asked {
                assert!([401, 503].contains(&answer.status), "{answer:?}");
            }
            count += 1;
        }
        Ok(count)
    };
    let others = async {
        for _ in 0..5 {
            assert_eq!(test.scrape(&known).await?.status, 200);
            test.assert_probes_pass().await?;
        }
        // A token that is not known yet waits with all others: a scraper asks again.
        wait_for(FLOOD * 2, "a new token to be let in", async || {
            let answer = test.scrape(&fresh).await.map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.body) }
        })
        .await
    };
    let (forged, done) = tokio::join!(join_all((0..FORGERS).map(forge)), others);
    done?;
    let forged: usize = forged.into_iter().sum::<Result<usize>>()?;
    let (reviews, took) = (test.reviews("tokenreviews") - before, start.elapsed().as_secs_f64());
    assert!(forged > 2 * reviews, "{forged} tokens are no flood against {reviews} reviews");
    assert!(reviews as f64 <= took * REVIEWS_PER_SECOND + 2.0, "{reviews} reviews in {took:.1} s");
    test.operator.check_running()
}
