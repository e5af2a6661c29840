//! A `real_server` block.

use super::{
    super::{
        model::RealServer,
        schema::{Keyword, Place},
        tree::Directive,
    },
    Context, keyword,
    setting::Setting,
    value,
};

/// IPVS keeps weights in an `int`.
const WEIGHT_LIMIT: u32 = i32::MAX.unsigned_abs();

/// keepalived's default.
const WEIGHT: u32 = 1;

/// Reads a real server; the whole block, even if its address is wrong.
pub(super) fn lower(directive: &Directive<'_>, context: &mut Context<'_>) -> Option<RealServer> {
    let endpoint = value::endpoint(directive, context.sink);
    let mut weight = Setting::default();
    for child in directive.block.iter().flat_map(|block| &block.children) {
        if keyword::visit(child, Place::RealServer, context.sink) == Some(Keyword::Weight) {
            keyword::refuse_block(child, context.sink);
            let number = value::args(child, 1..=1, "weight NUMBER", context.sink)
                .and_then(|args| args.first())
                .and_then(|word| value::number(child, word, 0..=WEIGHT_LIMIT, context.sink));
            weight.set(child, number, context.sink);
        }
    }
    let (address, port) = endpoint?;
    let line = context.line(directive.keyword.span);
    Some(RealServer {
        address,
        port,
        weight: weight.value().unwrap_or(WEIGHT),
        upper_threshold: 0,
        lower_threshold: 0,
        line,
    })
}
