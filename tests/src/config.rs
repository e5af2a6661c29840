//! The configuration file that the demo and most tests run: two servers behind one address.

/// The example as a person writes it, with the spelling of the persistence line that one
/// vendor's guide uses.
pub const EXAMPLE: &str = "\
virtual_server 10.64.1.2 10000 {
  delay_loop 20
  lb_algo rr
  lb_kind NAT
  persistent_timeout 10
  protocol TCP
  real_server 192.168.1.100 8089 {
    weight 1
  }
  real_server 192.168.1.101 18089 {
    weight 1
  }
}
";

/// The example without its persistence line: requests in turn reach servers in turn.
#[must_use]
pub fn without_persistence() -> String {
    EXAMPLE.lines().filter(|line| !line.contains("persistent_timeout")).fold(
        String::new(),
        |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_persistence_line_goes() {
        assert_eq!(without_persistence().lines().count() + 1, EXAMPLE.lines().count());
        assert!(!without_persistence().contains("persist"));
    }
}
