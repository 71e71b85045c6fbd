//! Any payload under a good signature: what a careless platform can send.
#![no_main]

use cloud_sync::wire::command::Inbound;
use cloud_sync::wire::strict;
use forecourt::command::Ask;
use forecourt_edge_fuzz::{receive, sign};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let result = receive(&sign(payload));
    let plain = strict::parse(payload);
    let (opened, inbound) = match result {
        Ok(read) => read,
        Err(refusal) => {
            assert!(!refusal.detail.is_empty() && refusal.detail.len() < 1_024, "{refusal:?}");
            return;
        }
    };
    let plain = plain.expect("what is carried out is strict JSON");
    let again = serde_json::to_vec(&plain).expect("JSON");
    let (id, said_again) =
        receive(&sign(&again)).map(|(opened, inbound)| (opened.id().clone(), inbound)).expect("read");
    assert_eq!((opened.id(), &inbound), (&id, &said_again), "blanks and the order of members do not matter");
    if let Inbound::Site(command) = inbound
        && let Ask::Authorise(order) = command.ask
    {
        assert!(order.context.len() <= 2_048, "the context is bounded");
        assert_eq!(order.content_hash.len(), 64);
    }
});
