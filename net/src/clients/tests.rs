//! Who is one client, and that the table forgets.

use super::*;

fn client(address: &str) -> Client {
    Client::of(address.parse().expect("an address"))
}

#[test]
fn a_client_has_an_address_or_a_64_bit_prefix_to_itself() {
    let distinct = ["192.0.2.1", "192.0.2.2", "0.0.0.0", "255.255.255.255", "2001:db8::1", "2001:db8:0:1::1", "::1"];
    for (place, one) in distinct.iter().enumerate() {
        for other in &distinct[place + 1..] {
            assert_ne!(client(one), client(other), "{one} and {other}");
        }
    }
    for (one, other) in [
        ("2001:db8::1", "2001:db8::ffff:1:2:3"),
        // An IPv4 client on a socket for both.
        ("192.0.2.1", "::ffff:192.0.2.1"),
    ] {
        assert_eq!(client(one), client(other), "{one} and {other}");
    }
}

#[test]
fn a_client_enters_as_often_as_it_may_and_is_forgotten_when_it_has_left() {
    let clients = Clients::default();
    let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse::<IpAddr>().expect("an address"));
    let entered: Vec<Client> = (0..3).filter_map(|_| clients.enter(one, 2)).collect();
    assert_eq!(entered.len(), 2);
    assert!(clients.enter(other, 2).is_some(), "another has its own count");
    clients.leave(entered[0]);
    assert!(clients.enter(one, 2).is_some() && clients.enter(one, 2).is_none());
    clients.leave(entered[0]);
    clients.leave(entered[1]);
    assert_eq!(clients.0.borrow().len(), 1, "who is not connected is not in the table");
    assert!(clients.enter(one, 0).is_none() && clients.0.borrow().len() == 1, "nor who was refused");
}
