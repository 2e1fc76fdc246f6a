//! A mirror proves what it keeps; the source's status counts it, and says what is wrong with it.

use super::*;

#[test]
fn status_counts_proved_copies_and_says_whose_proof_failed() {
    let place = Place::with_snapshot();
    let (a, b) = (place.home(), place.path("b"));
    let _at_a = Served::start(&a);
    let status = good(&a, &["status"]);
    assert!(status.contains("here, and no proved copy elsewhere (proofs are recorded since 2"), "{status}");
    let line = good(&a, &["invite", "--collections", "notes", "--role", "mirror"]).trim().to_owned();
    good(&b, &["clone", &line, "--name", "beta"]);

    let proved = json(&b, &["prove", "--peer", "alpha"])[0].clone();
    assert_eq!((&proved["claimed"], &proved["challenged"], &proved["lacking"]), (&1.into(), &1.into(), &0.into()));
    let status = good(&a, &["status"]);
    assert!(status.contains("here, and 1 proved copy elsewhere: beta just now, the newest snapshot"), "{status}");
    let status = json(&a, &["status"]);
    let (kept, live) = (&status["collections"][0], &status["live"]["collections"][0]);
    assert_eq!((&kept["proved_copies"], &live["proved_copies"]), (&1.into(), &1.into()));
    assert_eq!(kept["copies"][0]["sampled"], proved["sampled"]);
    assert_eq!(live["copies"], kept["copies"]);
    // Who only keeps it does not count copies, and whoever asks again at once is told when.
    let status = json(&b, &["status"]);
    assert_eq!(
        (&status["collections"][0]["proved_copies"], &status["collections"][0]["copies"]),
        (&Value::Null, &Value::Array(vec![]))
    );
    fails(&b, &["prove"], &["too early", "again in"]);
}
