//! What the tables say about keywords, for people: `xlvs config explain` and `docs/keywords.md`.

use std::fmt::Write as _;

use super::{
    schema::{self, Effect, Entry, Form, Place},
    suggest,
};

/// What a keyword means in each block that has it; the nearest keyword, if there is one, in place of an unknown one.
pub fn explain(keyword: &str) -> Result<String, Option<&'static str>> {
    let mut found: Vec<(&Entry, Vec<Place>)> = Vec::new();
    for place in Place::ALL {
        let Some(entry) = schema::find(place, keyword) else { continue };
        match found.iter_mut().find(|(known, _)| same(known, entry)) {
            Some((_, places)) => places.push(place),
            None => found.push((entry, vec![place])),
        }
    }
    if schema::foreign().contains(&keyword) {
        return Ok(format!(
            "{keyword}\n  Not for xlvs: it is skipped with its block, for keepalived to go on with.\n"
        ));
    }
    if schema::dpvs().contains(&keyword) {
        return Ok(format!(
            "{keyword}\n  DPVS's: xlvs has nothing like it, and skips it with a warning.\n"
        ));
    }
    if found.is_empty() {
        let all = Place::ALL.into_iter().flat_map(schema::entries).map(|entry| entry.name);
        return Err(suggest::nearest(keyword, all));
    }
    let parts: Vec<String> = found.iter().map(|(entry, places)| text(entry, places)).collect();
    Ok(parts.join("\n"))
}

fn same(one: &Entry, other: &Entry) -> bool {
    (one.form, one.default, one.about, one.effect)
        == (other.form, other.default, other.about, other.effect)
}

fn text(entry: &Entry, places: &[Place]) -> String {
    let mut out = String::new();
    let mut add = |name: &str, what: &str| {
        if !what.is_empty() {
            let _always_fits = writeln!(out, "  {name:<9}{what}");
        }
    };
    let places: Vec<&str> = places.iter().map(|place| place.name()).collect();
    add("stands in", &format!(" {}", places.join(", ")));
    add("type", &entry.form.kind());
    add("range", &entry.form.range().unwrap_or_default());
    add("default", entry.default);
    add("effect", effect(entry.effect));
    let today = schema::newer_spelling(entry.name).map(|new| format!("`{new}`"));
    add("today", &today.unwrap_or_default());
    format!("{}\n  {}.\n{out}", entry.form.usage(entry.name).trim_end_matches(" {"), entry.about)
}

const fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Acted => "",
        Effect::NotYet => "understood, not acted on by this version",
        Effect::Never => "none: it is for keepalived's own processes, or for old files",
    }
}

/// The manual of all keywords, in Markdown.
#[must_use]
pub fn manual() -> String {
    let mut out = String::from(
        "# Keywords of the configuration

Made from the tables that the parser goes by; `xlvs config explain KEYWORD` shows the same. Changes belong in
`lvs-userspace/src/config/schema/`; `UI_BLESS=1 cargo test -p lvs-userspace --test config_ui` writes this file again.

Effect: ● acted on · ○ checked and shown by `xlvs config show`, not acted on by this version · – for keepalived's own
processes, or for nothing at all. Times are in seconds and may have six decimals. Truth values are `on`, `true`, `yes`,
`off`, `false` and `no`.
",
    );
    for place in Place::ALL {
        let mut entries = schema::entries(place).peekable();
        if entries.peek().is_none() {
            continue;
        }
        let title = place.name().trim_start_matches("a ").trim_start_matches("an ");
        let title = title.trim_start_matches("the ").trim_end_matches(" block");
        let _always_fits = write!(
            out,
            "\n## {title}\n\n| Keyword | Means | Range | Default | |\n|---|---|---|---|---|\n"
        );
        for entry in entries {
            row(entry, &mut out);
        }
    }
    out.push_str("\n## Not for xlvs\n\nSkipped as whole blocks with one notice, for keepalived to go on with: `");
    out.push_str(&schema::foreign().join("`, `"));
    out.push_str("`; in `global_defs` whatever is VRRP's, BFD's or D-Bus's. Keywords of DPVS that are recognised and named as such: `");
    out.push_str(&schema::dpvs().join("`, `"));
    out.push_str("`.\n");
    out
}

fn row(entry: &Entry, out: &mut String) {
    let usage = entry.form.usage(entry.name).replace('|', "\\|");
    let range = match entry.form {
        // The form says it.
        Form::Choice(_) => String::new(),
        form => form.range().unwrap_or_default(),
    };
    let effect = match entry.effect {
        Effect::Acted => "●",
        Effect::NotYet => "○",
        Effect::Never => "–",
    };
    let about = entry.about.replace('|', "\\|");
    let _always_fits =
        writeln!(out, "| `{usage}` | {about} | {range} | {} | {effect} |", entry.default);
}
