//! What text becomes of text. The expectations are what keepalived 2.2.7 made of the same lines, as its `-t` shows.

use super::{
    super::{
        source::{Position, Span},
        surroundings::Memory,
    },
    *,
};

/// The expanded lines, and the codes with the line that each is about.
fn expand_in(text: &str, memory: &Memory) -> (Vec<String>, Vec<(&'static str, usize)>) {
    let mut sink = Sink::default();
    let source = evaluate(Source::new("f", text), memory, &mut sink);
    let lines = source.text().lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.map(str::to_owned).collect();
    let (diagnostics, _) = sink.finish();
    for diagnostic in &diagnostics {
        assert!(source.get(diagnostic.primary.span).is_some());
    }
    let line = |span| source.line(source.locate(span));
    (lines, diagnostics.iter().map(|found| (found.code.id(), line(found.primary.span))).collect())
}

fn memory() -> Memory {
    Memory { config_id: "main".to_owned(), ..Memory::default() }
}

fn expand(text: &str) -> (Vec<String>, Vec<(&'static str, usize)>) {
    expand_in(text, &memory())
}

/// The lines, when nothing is wrong.
fn clean(text: &str) -> Vec<String> {
    let (lines, codes) = expand(text);
    assert!(codes.is_empty(), "{text}: {codes:?}");
    lines
}

#[test]
fn a_file_without_any_of_it_is_not_touched() {
    let text = "virtual_server A {\n  real_server B 1 { weight 1 }  # x\n}\n";
    let source = evaluate(Source::new("f", text), &memory(), &mut Sink::default());
    assert_eq!(source.text().as_ptr(), source.raw().as_ptr());
}

#[test]
fn plain_lines_stay_as_they_are() {
    let text = "a  b # a@b\n $X=1\n\tc\t{ \"d\" }\r\ne \\# f";
    let source = evaluate(Source::new("f", text), &memory(), &mut Sink::default());
    assert_eq!(source.text(), "a  b\n\tc\t{ \"d\" }\ne \\# f\n");
    for word in ["a", "c", "\"d\"", "f"] {
        let at = source.text().find(word).unwrap();
        let place = source.locate(Span::new(at, at + word.len()));
        assert_eq!(&text[place.start..place.end], word);
    }
}

#[test]
fn variables_are_replaced_when_they_are_used() {
    let table: &[(&str, &[&str])] = &[
        ("$W=7\ne1${W}{e2${W}}e3", &["e17 { e27 } e3"]),
        ("$V=f1{f2}f3\n$V", &["f1 { f2 } f3"]),
        ("$A=10.2.${B}\n$B=0\n${A}.1\n$B=5\n${A}.1", &["10.2.0.1", "10.2.5.1"]),
        ("$A=3\n\"$A \" $A,$A)", &["\"3 \" 3,3)"]),
        ("$A=\nx${A}y", &["xy"]),
        ("$A=  b  # c\nx$A", &["xb"]),
        ("$A=\"b c\"\nx $A", &["x \"b c\""]),
        ("$IF=@main\n$IF c1\n$NOT=@^main\n$NOT c2", &["c1"]),
        ("$S=~SEQ(i,1,2) b${i}\n$S", &["b1", "b2"]),
        ("$_HASH=q\na${_HASH}", &["aq"]),
        ("\"${_PWD} ${_INSTANCE} ${_RANDOM 5 5} ${_HASH}${_BANG}\"", &["\"/ main 5 #!\""]),
        ("{ $A=1\nb${A}", &["{", "b1"]),
    ];
    for (text, lines) in table {
        assert_eq!(&clean(text), lines, "{text}");
    }
}

#[test]
fn definitions_of_several_lines_go_on_while_lines_end_so() {
    let body = "$M= \\\n  i1_${Z} \\\n  @other i2 \\\n  \\\n  # comment\n  i3_${Z} { \\\n  i4 } \\\n  i5\n$Z=8\n";
    let table: &[(&str, &[&str])] = &[
        ("$M", &["i1_8", "i3_8 {", "i4 }", "i5"]),
        ("x1 ${M}", &["x1 i1_8", "i3_8 {", "i4 }", "i5"]),
        ("~SEQ(j,1,2) $M", &["i1_8", "i3_8 {", "i4 }", "i5", "i1_8", "i3_8 {", "i4 }", "i5"]),
        ("x { $M\ny }", &["x { i1_8", "i3_8 {", "i4 }", "i5", "y }"]),
        ("$N=j1 \\\n j2\nq${N}", &["qj1", "j2"]),
        ("$N= \\\n a \\\n $M \\\n b\n$N", &["a", "i1_8", "i3_8 {", "i4 }", "i5", "b"]),
        ("$K= \\\n u1\\\n\nv\n$K", &["v", "u1"]),
        ("$K= \\\n\nw\n$K", &["w"]),
        ("$K=a\\\nb\n$K", &["a", "b"]),
        ("$N= \\\n ~SEQ(i,1,2) s${i} \\\n $O=3 \\\n t${O}\n$N", &["s1", "s2", "t3"]),
    ];
    for (text, lines) in table {
        assert_eq!(&clean(&format!("{body}{text}")), lines, "{text}");
    }
    assert_eq!(expand(&format!("{body}$M x2")), (vec!["$M x2".into()], vec![("XLVS094", 10)]));
}

#[test]
fn a_condition_is_for_the_rest_of_its_line() {
    let table: &[(&str, &[&str])] = &[
        ("@main a\n@other b\n@^main c\n@^other d\n@MAIN e", &["a", "d"]),
        ("@main $Z=8\n@other $Z=9\ng${Z}", &["g8"]),
        ("@main h2 { @other h3 } @main h4", &["h2 {"]),
        ("@main @main i", &["@main i"]),
        ("a {\n@main b {\nc\n@main }\n}", &["a {", "b {", "c", "}", "}"]),
        ("@main ~SEQ(i,1,2) q${i}", &["q1", "q2"]),
    ];
    for (text, lines) in table {
        assert_eq!(&clean(text), lines, "{text}");
    }
    assert_eq!(expand("@main\n@main{h1}"), (vec![], vec![("XLVS007", 1), ("XLVS007", 2)]));
}

#[test]
fn sequences_repeat_the_rest_of_their_line() {
    let table: &[(&str, &[&str])] = &[
        ("~SEQ(i,1,2) { l${i} }", &["{ l1 }", "{ l2 }"]),
        (
            "~SEQ(a,1,2) ~LST(b,7,8) 10.4.${a}.$b 80",
            &["10.4.1.7 80", "10.4.1.8 80", "10.4.2.7 80", "10.4.2.8 80"],
        ),
        ("a {~SEQ(i,1,2) b${i}\n}", &["a {", "b1", "b2", "}"]),
        ("$N=2\n~SEQ(i, $N) a${i}", &["a1", "a2"]),
        // The old value goes in before the sequence is reached.
        ("~SEQ(i,1,2) a${i}\n{ ~SEQ(i,1,2) b${i}", &["a1", "a2", "{", "b2", "b2"]),
        ("~SEQ(i,1,2) a\nb${i}", &["a", "a", "b2"]),
    ];
    for (text, lines) in table {
        assert_eq!(&clean(text), lines, "{text}");
    }
    assert_eq!(expand("~SEQ(i) a\n~LST(i) b\nc").1, [("XLVS015", 1), ("XLVS015", 2)]);
    assert_eq!(expand("~FOO(i)\nc $"), (vec!["~FOO(i)".into(), "c $".into()], vec![]));
}

#[test]
fn what_is_left_of_variables_is_told() {
    let table: &[(&str, &[(&str, usize)])] = &[
        ("a ${X} {\n}", &[("XLVS013", 1)]),
        ("a $X", &[("XLVS094", 1)]),
        ("a \"$X ${X}\" ^a$", &[]),
        ("$X=1\na \"$X\"\na $X.1", &[("XLVS094", 2), ("XLVS094", 3)]),
        ("$X =1\n$1=2\n$A-B=3", &[("XLVS017", 1), ("XLVS017", 2), ("XLVS017", 3)]),
        ("$X=${X}1\na ${X}", &[("XLVS014", 2)]),
        ("$X=${Y}\n$Y=${X}\na ${X}", &[("XLVS014", 3)]),
        ("$X= \\\n a \\\n $X\n$X", &[("XLVS014", 3)]),
        ("a${_HASH}b", &[("XLVS019", 1)]),
        ("a ${_RANDOM x}\n${_ENV}", &[("XLVS018", 1), ("XLVS018", 2)]),
        ("a \"${_ENV NOT_THERE}\"", &[("XLVS075", 1)]),
    ];
    for (text, codes) in table {
        assert_eq!(&expand(text).1, codes, "{text}");
    }
    // The reference stays a word, so that its braces are none.
    assert_eq!(expand("a ${X} {").0, ["a ${X} {"]);
    let long = format!("$X={}\na ${{X}}${{X}}\nb", "x".repeat(600));
    let (lines, codes) = expand(&long);
    assert_eq!((lines.len(), codes), (2, vec![("XLVS016", 2)]));
}

fn files(files: &[(&str, &str)]) -> Memory {
    let mut memory = memory();
    memory.files =
        files.iter().map(|(path, text)| ((*path).into(), text.as_bytes().to_vec())).collect();
    memory
}

#[test]
fn files_are_included_where_they_are_named() {
    let memory = files(&[
        ("d/b.conf", "b1\ninclude e/*.conf\n$V=2"),
        ("d/a.conf", "a1 ${V}\n"),
        ("d/e/x.conf", "\"${_PWD}\""),
        ("d/.hidden.conf", "h"),
    ]);
    let text = "$V=1\ninclude d/*.conf\nz${V}\n  includea d/{a,b}.conf # so\n";
    let lines = ["a1 1", "b1", "\"/d/e\"", "z2", "a1 2", "b1", "\"/d/e\""];
    assert_eq!(expand_in(text, &memory), (lines.map(str::to_owned).to_vec(), vec![]));
    let text = "$D=d\ninclude ${D}/a.conf\n";
    assert_eq!(expand_in(text, &memory).1, [("XLVS013", 1)]);
}

#[test]
fn includes_that_fail_are_errors_if_it_is_asked_for() {
    let memory = files(&[("a", "1"), ("not-utf8", "x"), ("nul", "a\0")]);
    for (text, codes) in [
        ("include q", &["XLVS095"][..]),
        ("include q*", &[]),
        ("include q/*", &["XLVS095"]),
        ("includer q*", &[]),
        ("includer q", &["XLVS095"]),
        ("includem q", &["XLVS003"]),
        ("includem q*", &[]),
        ("includew q*", &["XLVS003"]),
        ("includeb {a,q}", &["XLVS003"]),
        ("include {a,q}", &["XLVS095"]),
        ("includea {a,q}", &["XLVS003"]),
        ("global_defs { include_check }\ninclude q*", &["XLVS003"]),
        ("include_check -read\ninclude q*", &[]),
        ("include \"a\"", &["XLVS095"]),
        ("include a a", &["XLVS095"]),
        ("include", &["XLVS040"]),
        ("include nul", &["XLVS002"]),
        ("@main include a", &["XLVS006"]),
        ("x { include a", &["XLVS006"]),
        ("$X=include a\n$X", &["XLVS006"]),
        ("~SEQ(i,1,2) include a", &["XLVS006"]),
        ("@other include a", &[]),
    ] {
        let found: Vec<_> = expand_in(text, &memory).1.into_iter().map(|(code, _)| code).collect();
        assert_eq!(found, codes, "{text}");
    }
}

#[test]
fn bombs_and_circles_end() {
    let bounds = Bounds { bytes: 20_000, steps: 1_000, files: 50, depth: 8 };
    let tight = |list: &[(&str, &str)]| Memory { bounds, ..files(list) };
    let bomb = tight(&[
        ("a", "include b\ninclude b\n"),
        ("b", "include c\ninclude c\n"),
        ("c", "include {d,d}{,}\n"),
        ("d", "x\n"),
    ]);
    let deep = tight(&[("a", "include [a]\n")]);
    let big = "x\n".repeat(3_000);
    let big = tight(&[("a", &big)]);
    let doubled = "$A= \\\n x \\\n y\n$B= \\\n ${A} \\\n ${A} \\\n ${A}\n$C= \\\n $B \\\n $B \\\n $B\n$D= \\\n $C \\\n $C\n";
    let none = tight(&[]);
    for (text, memory, code) in [
        ("include f", &tight(&[("f", "")]), "XLVS004"),
        ("include a\n", &tight(&[("a", "include b"), ("b", "include a")]), "XLVS004"),
        ("include a\n", &deep, "XLVS004"),
        ("include a\ninclude a\ninclude a\ninclude a\n", &bomb, "XLVS005"),
        ("include a\ninclude a\ninclude a\ninclude a\n", &big, "XLVS005"),
        ("~SEQ(i,1,1000000000000) x\n", &none, "XLVS005"),
        ("~SEQ(i,1,1000000000000)\n", &none, "XLVS005"),
        ("~SEQ(i,1,300) ~SEQ(j,1,300) abcdefghi${i}${j}\n", &none, "XLVS005"),
        (
            "~SEQ(a,1)~SEQ(a,1)~SEQ(a,1)~SEQ(a,1)~SEQ(a,1)~SEQ(a,1)~SEQ(a,1)~SEQ(a,1) x\n",
            &none,
            "XLVS005",
        ),
        (&format!("{doubled}~SEQ(i,1,99) $D"), &none, "XLVS005"),
    ] {
        let (lines, codes) = expand_in(text, memory);
        assert_eq!(codes.first().map(|(code, _)| *code), Some(code), "{text}");
        assert!(lines.iter().map(String::len).sum::<usize>() <= 2 * bounds.bytes, "{text}");
    }
    let (_, codes) = expand_in(&format!("{doubled}$D"), &none);
    assert_eq!(codes, []);
}

#[test]
fn a_place_has_its_ways() {
    let memory = files(&[("a", "\n  x $V 1\n")]);
    let mut sink = Sink::default();
    let text = "$V=10\n$B= \\\n  y\ninclude a\n$B\n";
    let source = evaluate(Source::new("f", text), &memory, &mut sink);
    let ways = |word: &str| {
        let at = source.text().find(word).unwrap();
        let span = Span::new(at, at + word.len());
        let ways =
            source.ways_to(span).map(|way| format!("{} {}", source.line(way.place), way.why));
        let place = source.locate(span);
        (source.file_name(place).to_owned(), source.position(place), ways.collect::<Vec<_>>())
    };
    let position = |line, column| Position { line, column };
    let included = "4 included from here".to_owned();
    assert_eq!(
        ways("10"),
        (
            "a".into(),
            position(2, 5),
            vec!["1 `$V` has its value from here".into(), included.clone()]
        )
    );
    assert_eq!(ways("x "), ("a".into(), position(2, 3), vec![included]));
    assert_eq!(ways("y"), ("f".into(), position(3, 3), vec!["5 `$B` is used here".into()]));
}
