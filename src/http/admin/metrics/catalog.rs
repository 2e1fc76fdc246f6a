//! Every name that `/metrics` gives. Base units; moments are seconds since 1970. Peers and targets go by their names here.

use super::text::{Kind, Metric};

macro_rules! catalog {
    ($($metric:ident $kind:ident $name:literal $help:literal;)*) => {
        $(pub(super) const $metric: Metric = Metric { name: $name, kind: Kind::$kind, help: $help };)*

        /// All of them.
        pub(super) const ALL: &[Metric] = &[$($metric),*];
    };
}

catalog! {
    BUILD Gauge "bulbil_build_info" "1, for the program that runs: its version, and whether Tor is built in";
    STARTED Gauge "process_start_time_seconds" "When the server started";
    UPTIME Gauge "bulbil_uptime_seconds" "How long the server has been running";
    DEGRADED Gauge "bulbil_degraded" "1 if something is wrong that 'bulbil status' and /statusz tell";
    ALERTS Gauge "bulbil_alerts" "What is wrong now, by kind";

    STORE_BYTES Gauge "bulbil_store_bytes" "Stored bytes of all chunks and lists of chunks that are here";
    STORE_CHUNKS Gauge "bulbil_store_chunks" "Chunks and lists of chunks that are here";
    STORE_READY Gauge "bulbil_store_ready" "1 if the disks of chunks and manifests are there";
    DISK_SIZE Gauge "bulbil_disk_size_bytes" "Size of the disk of the home, of chunks/ and of manifests/";
    DISK_FREE Gauge "bulbil_disk_free_bytes" "Bytes of it that may be used";
    DISK_INODES Gauge "bulbil_disk_free_inodes" "Files that may still be made on it; none for a file system that does not count them";
    SCRUB_READ Gauge "bulbil_scrub_read_chunks" "Chunks that were read again since they were stored";
    SCRUB_LOST Gauge "bulbil_scrub_lost_chunks" "Chunks that are lost and were not brought back yet";
    SCRUB_SINCE Gauge "bulbil_scrub_all_read_since_timestamp_seconds" "Every chunk was read again since then";
    SCRUB_FINDING Gauge "bulbil_scrub_last_finding_timestamp_seconds" "When something was last found that was not what it was";

    VERIFIED Gauge "bulbil_last_verified_snapshot_timestamp_seconds" "When the newest verified snapshot was made";
    RPO Gauge "bulbil_rpo_seconds" "How old the newest verified snapshot may be";
    SNAPSHOTS Gauge "bulbil_snapshots" "Snapshots, by state: verified, unverified, suspect, incomplete, partial, beside";
    NEWEST Gauge "bulbil_newest_snapshot_timestamp_seconds" "When the newest whole snapshot was made, verified or not";
    NEWEST_BYTES Gauge "bulbil_newest_snapshot_bytes" "Stored bytes of the chunks of the newest whole snapshot";
    STORED Gauge "bulbil_collection_stored_bytes" "Stored bytes of all that the snapshots of a collection name, each chunk once";
    MISSING_CHUNKS Gauge "bulbil_missing_chunks" "Chunks of a collection that are not here";
    MISSING_BYTES Gauge "bulbil_missing_bytes" "Their bytes";
    RUN_ENDED Gauge "bulbil_run_ended_timestamp_seconds" "When the last run of something ended";
    RUN_TOOK Gauge "bulbil_run_duration_seconds" "How long it took";
    RUN_DONE Gauge "bulbil_run_done" "1 if all was well with it";
    RUN_STORED Gauge "bulbil_run_stored_bytes" "What it stored";
    RUNS Gauge "bulbil_runs" "Runs on record, by what came of them";
    RUNNING Gauge "bulbil_runs_open" "Runs that go on";
    DRILLED Gauge "bulbil_last_drill_timestamp_seconds" "When the last drill ended, whatever came of it";
    DRILLED_WELL Gauge "bulbil_last_good_drill_timestamp_seconds" "When the last drill ended in which everything came back as it was";
    DRILL_GOOD Gauge "bulbil_last_drill_good" "1 if everything came back as it was in the last drill";
    DRILL_TOOK Gauge "bulbil_last_drill_duration_seconds" "How long the last good drill took: restoring, comparing, checking";

    PROVED Gauge "bulbil_proved_copies" "Peers that proved lately that they keep a copy";
    COPY_PROVED Gauge "bulbil_peer_copy_proved" "1 if the peer's last proof is right and not old";
    COPY_AT Gauge "bulbil_peer_copy_proved_timestamp_seconds" "When the peer gave its last proof";
    COPY_BEHIND Gauge "bulbil_peer_copy_behind_snapshots" "Whole snapshots that are newer than the one of that proof";
    TARGET_COPIED Gauge "bulbil_target_copied_timestamp_seconds" "When a collection was last copied to a target";
    TARGET_VERIFIED Gauge "bulbil_target_verified_timestamp_seconds" "When the copy there was last found right";
    TARGET_FAILED Gauge "bulbil_target_failed" "1 if nothing comes of copying there, or the copy is wrong";

    PEERS Gauge "bulbil_peers" "Peers, by state";
    PEER_FOLLOWED Gauge "bulbil_peer_followed" "1 if a trusted peer is pulled from";
    PEER_CONTACT Gauge "bulbil_peer_last_contact_timestamp_seconds" "When it was last reached, or reached us";
    PEER_FAILURES Gauge "bulbil_peer_failures" "Visits to it in a row that failed";
    PEER_MISSING_SNAPSHOTS Gauge "bulbil_peer_missing_snapshots" "Snapshots that it leads and that are not whole here";
    PEER_MISSING_BYTES Gauge "bulbil_peer_missing_bytes" "Bytes of what it leads that are not here";
    PEER_LATENCY Gauge "bulbil_peer_latency_seconds" "How long it takes to answer, averaged";
    PEER_RATE Gauge "bulbil_peer_fetch_bytes_per_second" "How fast chunks came from it, lately";

    OPEN Gauge "bulbil_peers_can_come_in" "1 if peers can reach this instance";
    TOR_READY Gauge "bulbil_tor_ready" "1 if Tor is connected; none without Tor in this process";
    TOR_RATIO Gauge "bulbil_tor_bootstrap_ratio" "How much of the way to the Tor network is done, 0 to 1";
    ONION_REACHED Gauge "bulbil_onion_reached_timestamp_seconds" "When a test through Tor last reached the onion service";
    CLOCK_WRONG Gauge "bulbil_clock_wrong" "1 if Tor says that the clock of this machine is wrong";

    CONNECTIONS Gauge "bulbil_http_open_connections" "Connections that are open";
    REQUESTS Counter "bulbil_http_requests_total" "Answers, by plane, method, route and status";
    DURATION Histogram "bulbil_http_request_duration_seconds" "From a request to the head of its answer; waiting for news counts";
}
