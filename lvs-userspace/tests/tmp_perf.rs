//! t
use lvs_userspace::config::*;
#[test] fn t() {
    let m = 16*1024*1024;
    for p in ["a\n","{","}","a }\n","a { }\n","virtual_server\n","virtual_server x {\n","real_server 1.2.3.4 80 { }\n","\"\n","$","\u{a0}"," a","virtual_server 10.0.0.1 80 {\nlb_algo rr\n}\n","wieght 1\n", "virtual_server 10.0.0.1 80 {\nreal_server x {\n}\n"] {
        let text = p.repeat(m/p.len());
        let t = std::time::Instant::now();
        let r = parse("f", &text);
        let s = match r { Ok(l)=>l.notes.render(false).len(), Err(Failure::Invalid(r))=>{ let n = r.lines().count(); r.render(true).len()+n }, Err(_)=>0};
        let hwm = std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l|l.starts_with("VmHWM")).unwrap().to_owned();
        println!("{p:?} {:?} {s} {hwm}", t.elapsed());
    }
}
