//! Bodies at the limit among small ones over a slow line: the small ones are not held up.

use tunnel_stories::World;
use tunnel_testkit::{AnswerMode, Proxy};

const BIG: usize = 1 << 20;
const BIGS: usize = 8;
const SMALLS: usize = 10;
/// What the line passes, in bytes a second: all the big ones together take some eight seconds.
const RATE: usize = 1 << 20;
/// What it passes before all are sent: little, however long a busy machine takes over that, and enough for a frame now and then.
const MEANWHILE: usize = 64 << 10;

#[test]
fn small_deliveries_overtake_big_ones() {
    let mut world = World::new(AnswerMode::Ack);
    let proxy = Proxy::start(world.relay.http());
    world.agent = world.stage.agent("agent").relay(&proxy.url(), &world.token).target(&world.handler.url());
    world.agent.start();
    proxy.limit(Some(MEANWHILE));
    let big = |n: usize| (0..BIG).map(|i| ((i * 7 + i / 251 + n) % 256) as u8).collect::<Vec<u8>>();
    let bigs: Vec<_> = (0..BIGS).map(|n| world.accepted("/big", &big(n))).collect();
    let smalls: Vec<_> = (0..SMALLS).map(|_| world.accepted("/small", b"{}")).collect();
    proxy.limit(Some(RATE));

    let came = world.agent.wait_lines("delivery", BIGS + SMALLS);
    let place = |id: &String| came.iter().position(|d| d["id"] == id.as_str()).expect("all came");
    let last_small = smalls.iter().map(place).max().unwrap();
    let bigs_after = bigs.iter().filter(|id| place(id) > last_small).count();
    // In the order in which they were sent none would. Those that were on their way already cannot be overtaken.
    assert!(bigs_after >= 2, "only {bigs_after} of {BIGS} big ones came after the last small one");
    for received in world.handler.wait_for(BIGS + SMALLS) {
        if received.message.target() == "/big" {
            assert!((0..BIGS).any(|n| received.message.body == big(n)), "a big body arrived changed");
        }
    }
}
