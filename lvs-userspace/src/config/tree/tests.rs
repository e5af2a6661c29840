//! Braces: what is read of right ones, and what is said of wrong ones.

use super::*;

/// A text, its tree, and the spots of its diagnostics.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, usize)]);

/// A directive as one line: `keyword args{children}`.
fn show(directives: &[Directive<'_>]) -> String {
    let one = |directive: &Directive<'_>| {
        let words = std::iter::once(&directive.keyword).chain(&directive.args);
        let words: Vec<&str> = words.map(|word| &*word.text).collect();
        let block = directive.block.as_ref();
        words.join(" ")
            + &block.map_or(String::new(), |block| format!("{{{}}}", show(&block.children)))
    };
    directives.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The tree, and for each diagnostic its code and the line of the primary spot.
fn read(text: &str) -> (String, Vec<(&'static str, usize)>) {
    let source = Source::new("f", text);
    let mut sink = Sink::default();
    let tree = show(&build(&source, &mut sink));
    let (diagnostics, _) = sink.finish();
    let spots = diagnostics.iter().map(|d| (d.code.id(), source.line_of(d.primary.span.start())));
    (tree, spots.collect())
}

#[test]
fn right_braces_stand_where_they_like() {
    for text in [
        "virtual_server A {\n real_server X {\n  weight 1\n }\n real_server Y {\n }\n}\n",
        "virtual_server A { real_server X { weight 1 } real_server Y { } }",
        "virtual_server A\n{\n\n# so\nreal_server X\n{ weight 1\n}\nreal_server Y {}}",
    ] {
        assert_eq!(
            read(text),
            ("virtual_server A{real_server X{weight 1} real_server Y{}}".to_owned(), vec![]),
            "{text}"
        );
    }
}

#[test]
fn a_missing_close_is_reported_at_its_block_and_repaired() {
    let table: &[Case<'_>] = &[
        (
            "virtual_server A {\n real_server X {\n  weight 1\n real_server Y {\n  weight 2\n }\n}\n",
            "virtual_server A{real_server X{weight 1} real_server Y{weight 2}}",
            &[("XLVS020", 2)],
        ),
        (
            "virtual_server A {\n real_server X {\n }\nvirtual_server B {\n}\n",
            "virtual_server A{real_server X{}} virtual_server B{}",
            &[("XLVS020", 1)],
        ),
        (
            "virtual_server A {\n real_server X {\n }\n",
            "virtual_server A{real_server X{}}",
            &[("XLVS020", 1)],
        ),
        // The `}` of line 4 ends the real server, but is indented like the service.
        (
            "virtual_server A {\n real_server X {\n  weight 1\n}\nvirtual_server B {\n}\n",
            "virtual_server B{}",
            &[("XLVS020", 2)],
        ),
        ("virtual_server A {\n real_server X {\n  protocol TCP\n}\n", "", &[("XLVS020", 2)]),
        // An odd `}` that matches all the same accuses nobody.
        (
            "virtual_server A {\n real_server X {\n}\n real_server Y {\n }\n lb_algo rr\n",
            "virtual_server A{real_server X{} real_server Y{} lb_algo rr}",
            &[("XLVS020", 1)],
        ),
        ("virtual_server A {\n real_server X {\n", "", &[("XLVS020", 1), ("XLVS020", 2)]),
    ];
    for (text, tree, spots) in table {
        assert_eq!(read(text), ((*tree).to_owned(), spots.to_vec()), "{text}");
    }
}

#[test]
fn a_close_too_many_does_not_cut_its_block() {
    let text = "virtual_server A {\n real_server X {\n }\n }\n real_server Y {\n }\n}\n";
    let tree = "virtual_server A{real_server X{} real_server Y{}}".to_owned();
    assert_eq!(read(text), (tree, vec![("XLVS021", 7)]));
    assert_eq!(
        read("}\nvirtual_server A {\n}\n"),
        ("virtual_server A{}".into(), vec![("XLVS021", 1)])
    );
}

#[test]
fn a_missing_open_is_made_up_for() {
    let table: &[Case<'_>] = &[
        (
            "virtual_server A {\n real_server X\n  weight 1\n }\n real_server Y {\n }\n}\n",
            "virtual_server A{real_server X{weight 1} real_server Y{}}",
            &[("XLVS022", 2)],
        ),
        (
            "virtual_server A\nprotocol TCP\nreal_server X {\n}\n}\n",
            "virtual_server A{protocol TCP real_server X{}}",
            &[("XLVS022", 1)],
        ),
        (
            "virtual_server A {\n real_server X\n real_server Y { }\n}",
            "virtual_server A{real_server X real_server Y{}}",
            &[("XLVS022", 2)],
        ),
        (
            "virtual_server A {\n real_server X\n}\n",
            "virtual_server A{real_server X}",
            &[("XLVS022", 2)],
        ),
        ("virtual_server A", "virtual_server A", &[("XLVS022", 1)]),
    ];
    for (text, tree, spots) in table {
        assert_eq!(read(text), ((*tree).to_owned(), spots.to_vec()), "{text}");
    }
}

#[test]
fn an_open_without_a_keyword_takes_its_content_along() {
    assert_eq!(read("{ a { b } }\nc"), ("c".into(), vec![("XLVS023", 1)]));
    assert_eq!(read("a { } { b }\nc"), ("a{} c".into(), vec![("XLVS023", 1)]));
}

#[test]
fn depth_is_bounded() {
    let deep = |depth: usize| "a {".repeat(depth) + &"}".repeat(depth);
    assert_eq!(read(&deep(DEPTH_LIMIT)).1, vec![]);
    assert_eq!(read(&deep(DEPTH_LIMIT + 1)).1, vec![("XLVS024", 1)]);
    assert_eq!(read(&"{\n".repeat(100_000)).1.last(), Some(&("XLVS024", 17)));
}
